"""imitate: the student says what the teacher says, in the pipeline too; what is learned in which batches; mistakes."""

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import DocBin

pytest.importorskip("onnx", reason="the variant transformer-distilled needs requirements.txt")
pytest.importorskip("spacy_transformers", reason="the transformer variants need requirements.txt")

import torch
from tokenizers import Tokenizer

from scripts.common.skipping import MARK
from scripts.components import onnx_logits
from scripts.compress import graph
from scripts.compress.packing import OTHER_BYTES, PIECE_BYTES, describe_tokenizer
from scripts.distillation.student import (
    BATCH_PIECES,
    BATCH_TEXTS,
    MAX_PASSES,
    MAX_WORDS,
    MIN_UPDATES,
    PASSES,
    Student,
    make_batches,
    plan,
    prepare,
)
from scripts.distillation.teach import write_taught
from scripts.encoder.encoders import load_encoder, save_encoder
from scripts.linear.mixing import stored_bytes
from tests.conftest import DESKS, ROOT, fit_linear_model, message, toy_records
from tests.encoder.test_transformer import make_encoder

LABELS = sorted(DESKS)


def logits_of(text, exclusive):
    """What the toy teacher says: it counts the words of each label."""
    row = np.array([sum(word in DESKS[label] for word in text.split()) * 2.0 for label in LABELS])
    return row - row.mean() if exclusive else row - 1.5


def make_task(folder, exclusive):
    """Write all that the step reads: the task, an encoder, the config of a teacher, and what it says of texts."""
    nlp = spacy.blank("en")
    texts = [record["text"] for record in toy_records()]
    (folder / "corpus").mkdir()
    docs = list(nlp.pipe(texts))
    for doc in docs:
        row = logits_of(doc.text, exclusive)
        doc.cats = {label: float(i == row.argmax() if exclusive else row[i] > 0) for i, label in enumerate(LABELS)}
    for name, part in (("train", docs[::2]), ("dev", docs[1::2])):
        DocBin(docs=part, store_user_data=True).to_disk(folder / "corpus" / f"{name}.spacy")
    srsly.write_jsonl(folder / "corpus" / "raw.jsonl", [{"text": "zebra striker"}])
    facts = {"lang": "en", "exclusive": exclusive, "labels": LABELS, "examples": {"train": 36}}
    srsly.write_json(folder / "corpus" / "task.json", facts | {"words": {"train": {"mean": 9.0}}})
    save_encoder(*load_encoder(str(make_encoder(folder / "tiny"))), folder / "encoder")
    (folder / "teacher").mkdir()
    spans = "[components.transformer.model.get_spans]\nmax_words = 128\n"
    sections = "[components]\n\n[components.transformer]\n\n[components.transformer.model]\n\n"
    (folder / "teacher" / "config.cfg").write_text(sections + spans, encoding="utf-8")
    write_taught(folder / "sentences.spacy", [], np.zeros((0, 3)), LABELS)
    rng = np.random.default_rng(0)
    copies = [" ".join(rng.permutation(text.split())[: rng.integers(3, 9)]) for text in texts[::2] * 4]
    taught = np.stack([logits_of(text, exclusive) for text in copies])
    # The file has the labels in an order of its own.
    write_taught(folder / "copies.spacy", copies, taught[:, ::-1], LABELS[::-1])


STEP = ("imitate", "encoder", "teacher", "training/transformer-distilled/model.npz", "--corpus", "corpus",
        "--taught", "sentences.spacy", "--taught", "copies.spacy")  # fmt: skip
LINEAR = "training/linear/linear.npz"


@pytest.mark.slow
@pytest.mark.parametrize("exclusive", [True, False], ids=["single", "multi"])
def test_the_pipeline_says_what_the_teacher_says(tmp_path, run, exclusive):
    make_task(tmp_path, exclusive)
    fit_linear_model(run)
    process = run(*STEP, "--max-epochs", 60, "--linear", LINEAR)
    assert process.returncode == 0, process.output
    assert "144 texts" in process.output and "rounding keeps" in process.output
    assert run("train", "transformer-distilled", "--configs", ROOT / "configs").returncode == 0
    nlp = spacy.load(tmp_path / "training" / "transformer-distilled" / "model-best")
    texts = [record["text"] for record in toy_records()][1::2]
    found = np.array([[doc.cats[label] for label in LABELS] for doc in nlp.pipe(texts)])
    taught = np.array([logits_of(text, exclusive) for text in texts])
    assert nlp.pipe_names == ["textcat"]
    if exclusive:
        assert (found.argmax(axis=1) == taught.argmax(axis=1)).mean() > 0.9
        assert found.sum(axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)
    else:
        assert ((found >= nlp.get_pipe("textcat").cfg["threshold"]) == (taught > 0)).mean() > 0.9
    model = nlp.get_pipe("textcat").model
    docs = [nlp.make_doc(text) for text in ("the goal of day 3", "the goal coach final of day 3")]
    one, three = onnx_logits(model.get_ref("scores"), docs).max(axis=1)
    assert one < three - 0.5, "how sure the teacher is, is learned too"
    assert model.attrs["mixed"], "the linear model has a say"


@pytest.mark.slow
def test_the_linear_models_bytes_are_left_free(tmp_path, run):
    make_task(tmp_path, True)
    fit_linear_model(run)

    def made(size, *more):
        assert run(*STEP, "--max-epochs", 1, "--size", size, *more).returncode == 0
        with np.load(tmp_path / STEP[3]) as arrays:
            return {name: arrays[name] for name in arrays.files}

    whole = made(10**7)
    n = len(whole["codes"])
    per_piece = (whole["codes"].nbytes + whole["scales"].nbytes) // n + PIECE_BYTES
    # Two pieces occur in no text.
    size = OTHER_BYTES + sum(whole[name].nbytes for name in ("graph", "W", "b")) + per_piece * (n - 2)
    both = made(size + stored_bytes(tmp_path / LINEAR), "--linear", LINEAR)
    assert len(made(size)["codes"]) == len(both["codes"]) < n


def test_a_text_is_learned_as_the_pipeline_reads_it(tmp_path):
    model, tokenizer = load_encoder(str(make_encoder(tmp_path / "tiny")))
    tokenizer.backend_tokenizer.no_padding()
    state, limit = describe_tokenizer(model, tokenizer)
    nlp = spacy.blank("en")
    texts = ["The goal and coach", "", "goal " * 300, "a  bank"]
    rows = [[float(i), -float(i)] for i in range(4)]
    cutter = Tokenizer.from_str(srsly.json_dumps(state))
    lessons = prepare(zip(map(nlp.make_doc, texts), rows, strict=True), cutter, limit)
    assert lessons.logits.tolist() == [rows[0], rows[2], rows[3]], "a text without words teaches nothing"
    assert [len(window) for window in lessons.numbers] == [6, MAX_WORDS + 2, 4]
    assert [share.sum() for share in lessons.shares] == pytest.approx([1, 1, 2 / 3])
    student = Student(model, 2)
    together = student.logits(lessons, [0, 1, 2]).detach().numpy()
    assert together == pytest.approx(np.zeros((3, 2))), "it starts at nothing"


def test_rounding_changes_nothing_in_what_has_learned_with_it(tmp_path):
    model, tokenizer = load_encoder(str(make_encoder(tmp_path / "tiny")), attn_implementation="eager")
    tokenizer.backend_tokenizer.no_padding()
    state, limit = describe_tokenizer(model, tokenizer)
    texts = [(spacy.blank("en")(text), [1.0, -1.0]) for text in ("The goal and coach", "a bank")]
    student = Student(model, 2, levels=3)
    before = {name: layer.weight.detach().clone() for name, layer in linear_layers(model)}
    student.learn(prepare(texts, Tokenizer.from_str(srsly.json_dumps(state)), limit), True, 1e-2, passes=20)
    assert not [name for name in model.state_dict() if "parametrizations" in name]
    for name, layer in linear_layers(model):
        matrix = layer.weight.detach().numpy().T
        integers, scales = graph.round_columns(matrix, 3)
        assert integers * scales == pytest.approx(matrix, rel=1e-5, abs=1e-9), name
    used = [name for name, layer in linear_layers(model) if "pooler" not in name]
    # All have learned: with so few levels a rounded number moves seldom, but the scales do always.
    assert used and all((before[name].abs().amax(1) != layer.weight.abs().amax(1)).any()
                        for name, layer in linear_layers(model) if name in used)  # fmt: skip


def linear_layers(model):
    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)]


def test_each_pass_has_all_texts_in_batches_within_bounds():
    lengths = np.random.default_rng(1).integers(3, 130, 1500)
    batches = list(make_batches(lengths, np.random.default_rng(0)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1500))
    assert max(map(len, batches)) == BATCH_TEXTS
    assert max(len(batch) * lengths[batch].max() for batch in batches) <= BATCH_PIECES
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.15 * lengths.sum(), "texts of like length come together"
    assert [len(batch) for batch in make_batches(np.array([BATCH_PIECES + 1] * 3), np.random.default_rng(0))] == [1] * 3


@pytest.mark.parametrize(
    ("texts", "given", "passes"),
    [
        (BATCH_TEXTS * MIN_UPDATES, 0, PASSES),
        (BATCH_TEXTS * 100, 0, MIN_UPDATES // 100),
        (10, 0, MAX_PASSES),
        (10, 3, 3),
    ],
)
def test_few_texts_are_repeated(texts, given, passes):
    batches = plan(np.full(texts, 5), np.random.default_rng(0), given)
    assert sum(map(len, batches)) == passes * texts


def test_mistakes_are_named_and_what_was_skipped_is_passed_on(tmp_path, run):
    make_task(tmp_path, True)
    assert "none: no encoder there. Make it with the command `shrink-half`" in message(run(STEP[0], "none", *STEP[2:]))
    (tmp_path / "copies.spacy").unlink()
    assert "copies.spacy: no such file. Make it with the command `teach`" in message(run(*STEP))
    (tmp_path / "copies.spacy").write_text(f"{MARK}no encoder for this language\n", encoding="utf-8")
    process = run(*STEP)
    assert process.returncode == 0 and "no encoder for this language" in process.output
    assert (tmp_path / STEP[3]).read_text(encoding="utf-8").startswith(MARK)


def test_an_encoder_that_cannot_be_exported_is_skipped_before_it_learns(tmp_path, run, monkeypatch):
    make_task(tmp_path, True)
    monkeypatch.setattr(graph, "run_graph", lambda graph, inputs: np.zeros(1, "float32"))
    monkeypatch.setattr(Student, "learn", lambda *_: pytest.fail("it should not have begun"))
    process = run(*STEP)
    assert process.returncode == 0 and "this kind of encoder changes" in process.output
    assert (tmp_path / STEP[3]).read_text(encoding="utf-8").startswith(MARK)
