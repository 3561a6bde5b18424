"""Encoders of every family of models and tokenizers: what each step makes of them is what the encoder itself says."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
import spacy
import srsly

pytest.importorskip("onnx", reason="the variant transformer-int8 needs requirements.txt")
pytest.importorskip("spacy_transformers", reason="the transformer variants need requirements.txt")

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, AutoTokenizer

from scripts import components
from scripts.common.cli import UserError
from scripts.common.files import read_json
from scripts.common.skipping import MARK
from scripts.components import (
    TextCatOnnx,
    cut_up,
    encode_windows,
    set_onnx,
    split_word,
    unpack_rows,
    use_bfloat16,
    word_key,
)
from scripts.compress.packing import pack, pieces_within
from scripts.compress.pieces import trim_tokenizer
from scripts.distillation.student import Student, prepare
from scripts.distillation.teach import ask
from scripts.encoder.embed import Encoder, text_encoder
from scripts.encoder.encoders import check_encoder, load_encoder
from scripts.encoder.languages import shattered
from scripts.encoder.quantize import build_table, principal_axes, unit_rows
from scripts.training.sizes import encoder_shape
from tests.compress.test_export_int8 import apart, make_untrained, scores, softmax
from tests.conftest import fit_linear_model, toy_records
from tests.encoder.families import FAMILIES, POSITIONS, WIDTH, make_family

# One of each kind of tokenizer, and what is peculiar. The others are run on demand.
CHEAP = ("bert-cased", "own-roberta", "albert")
FROM_PADDING = dict.fromkeys(("mpnet", "roberta", "roberta-prefix", "xlm-roberta", "own-roberta"), 2)
DOMAIN = ["The goal and coach of day 3", "bank  and shares; don't!", "naïve Überraschung, e.g. at 10am"]
ODD = [
    *DOMAIN, "", "   ", "\n goal \t\t bank  ", "日本語のテキスト и кириллица", "🙂🙂 goal 🙂", "x" * 300, "goal " * 200,
]  # fmt: skip


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=() if name in CHEAP else pytest.mark.long) for name in FAMILIES]
)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def source(family, tmp_path_factory):
    return make_family(tmp_path_factory.mktemp("families") / family, family)


def run_encoder(folder, text):
    """What an encoder gives for a text, loaded and called as its publishers say."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=POSITIONS - 4)
    with torch.inference_mode():
        return model(**{name: inputs[name] for name in ("input_ids", "attention_mask")}, output_hidden_states=True)


def states_of(folder, text):
    """Its outputs for each word piece."""
    return run_encoder(folder, text).last_hidden_state[0]


def fetched(source, tmp_path, run):
    process = run("weights", source, "encoder")
    assert process.returncode == 0, process.output
    return tmp_path / "encoder"


def test_weights_gives_the_same_encoder_which_knows_its_longest_text(family, source, tmp_path, run):
    folder = fetched(source, tmp_path, run)
    for text in ODD[:3]:
        assert torch.allclose(states_of(source, text), states_of(folder, text), atol=1e-5)
    model, tokenizer = load_encoder(folder.as_posix())
    assert tokenizer.model_max_length == POSITIONS - FROM_PADDING.get(family, 0)
    # Long texts are cut off; beside others, each gets what it gets alone.
    vectors = text_encoder(model, tokenizer)(["goal " * 300, *DOMAIN])
    for text, vector in zip(DOMAIN, vectors[1:], strict=True):
        assert vector == pytest.approx(unit_rows(states_of(source, text).mean(dim=0)[None].numpy())[0], abs=1e-4)
    assert encoder_shape(folder)[0] == WIDTH


def test_trimmed_pieces_give_the_same_vectors(family, source, tmp_path, run):
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": text} for text in DOMAIN])
    process = run("shrink", source, "out", "--text", "raw.jsonl")
    assert process.returncode == 0, process.output
    old, new = (AutoTokenizer.from_pretrained(folder) for folder in (source, tmp_path / "out"))
    for text in DOMAIN:
        assert new.tokenize(text) == old.tokenize(text)
        assert torch.allclose(states_of(tmp_path / "out", text), states_of(source, text), atol=1e-5)
    assert (new.unk_token in new.tokenize("stars shriek")) == (old.unk_token in old.tokenize("stars shriek"))
    rows = len(AutoModel.from_pretrained(tmp_path / "out").get_input_embeddings().weight)
    assert max(new.get_vocab().values()) + 1 == rows < len(old)
    if family in FROM_PADDING:
        assert new.pad_token_id == old.pad_token_id
    # What is stored is what is needed: no vocabulary of before.
    assert not {path.name for path in (tmp_path / "out").iterdir()} & {"spiece.model", "sentencepiece.bpe.model"}


def test_fewer_layers_are_the_first_of_the_old_ones(family, source, tmp_path, run):
    process = run("shrink", source, "out", "--layers", 2)
    assert process.returncode == 0 and "2 layers" in process.output, process.output
    old, new = (AutoModel.from_pretrained(folder).state_dict() for folder in (source, tmp_path / "out"))
    assert new.keys() <= old.keys()
    for name, weights in new.items():
        assert torch.equal(weights, old[name]), name


def test_words_of_the_table_are_as_within_a_text(family, source):
    encoder = Encoder(source.as_posix())
    words = ["goal", "bank", "naïve", "striking", "don't", "coach", "shares", "actor", "award", "movie", "match", "cup"]
    before = "" if encoder.tokenizer.tokenize("goal") == encoder.tokenizer.tokenize(" goal") else " "
    layers = [torch.stack(run_encoder(source, before + word).hidden_states)[:, 0] for word in words]
    expected = np.stack([of_word.mean(dim=(0, 1)).numpy() for of_word in layers])
    assert encoder.encode_words(words) == pytest.approx(expected, abs=1e-4)
    assert np.isfinite(encoder.encode_words(["x" * 5000])).all(), "longer than the encoder can read"
    pieces = encoder.pieces()
    assert "goal" in pieces and any(piece.startswith("##") for piece in pieces)
    assert not {"[CLS]", "<s>", "<pad>", "[PAD]"} & pieces.keys()
    if family == "roberta":
        assert split_word("naïve", lambda piece: pieces.get(piece, -1)) == [pieces["naïve"]]
    assert encoder.encode_ids([pieces["goal"]])[0] == pytest.approx(expected[0], abs=1e-4)
    # Four bits a value.
    table = build_table(Counter(dict.fromkeys(words, 5)), {}, encoder, 10, 10**6, 1.0)
    mean, axes = principal_axes(expected, 10)
    vectors = np.empty((len(table["keys"]), 10), dtype="float32")
    unpack_rows(table["codes"], table["scales"].astype("float32"), vectors)
    rows = [table["keys"].tolist().index(word_key(word)) for word in words]
    assert (unit_rows(vectors[rows]) * unit_rows((expected - mean) @ axes)).sum(axis=1).min() > 0.98


def test_words_are_judged_as_within_a_text(source):
    """Words stand behind a space: tokenizers of bytes would else look as if they did not know them."""
    tokenizer = load_encoder(source.as_posix())[1].backend_tokenizer
    text = "goal coach bank shares actor movie"
    within = tokenizer.encode(f" {text}", add_special_tokens=False).ids
    assert shattered(tokenizer, [text]) == (len(within) / 6, 0)


@pytest.fixture(scope="module")
def untrained(source, tmp_path_factory):
    return make_untrained(tmp_path_factory.mktemp("untrained") / "task", 0.3, encoder=source)


def test_int8_is_what_the_trainer_gives(untrained):
    nlp, folder = untrained
    trained, table, session, tokenizer = apart(nlp)
    docs, expected = [nlp.make_doc(text) for text in ODD], scores(nlp, ODD)
    windows = cut_up(docs, tokenizer, trained.max_words, trained.max_pieces)
    assert max(map(len, windows[0])) == trained.max_pieces, "a window was cut off"
    features = encode_windows(session, lambda ids: table[ids], *windows, len(docs))
    logits = features @ trained.W.T + trained.b
    assert softmax(logits) == pytest.approx(expected, abs=1e-4)
    # On numbers of few bits; what is not in the texts can go.
    arrays, _ = pack(trained, 10**7, [folder / "train.spacy"])
    model = TextCatOnnx(exclusive_classes=True)
    set_onnx(model.get_ref("scores"), arrays)
    found = model.get_ref("scores").predict(docs)
    assert np.linalg.norm(found - logits) < 0.15 * np.linalg.norm(logits)
    state = json.loads(json.dumps(trained.tokenizer))
    train = [record["text"] for record in toy_records()]
    used = Counter(piece for text in train for piece in tokenizer.encode(text, add_special_tokens=False).tokens)
    kept = pieces_within(state, used, 10**6)
    assert kept < tokenizer.get_vocab().keys()
    assert len(pieces_within(state, used, len(kept) - 3)) <= max(len(kept) - 3, len(pieces_within(state, [], 0)))
    rows = trim_tokenizer(state, kept)
    small = Tokenizer.from_str(json.dumps(state))
    assert [rows[i] for text in train for i in small.encode(text).ids] == [
        i for text in train for i in tokenizer.encode(text).ids
    ]


def test_it_says_nearly_the_same_in_half_of_the_bits(untrained, monkeypatch):
    monkeypatch.setattr(components, "has_bfloat16", lambda: True)  # others calculate so, too, but slowly
    nlp, _ = untrained
    texts = [record["text"] for record in toy_records()][:12]
    encoder, exact = nlp.get_pipe("transformer").model.transformer, ask(nlp, texts)
    assert use_bfloat16(encoder) == (encoder.config.model_type != "deberta")
    if encoder.config.model_type != "deberta":
        quick = ask(nlp, texts)
        encoder(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state.square().mean().backward()
        gradients = [weights.grad for weights in encoder.parameters() if weights.grad is not None]
        assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients), "it can learn so, too"
        encoder.zero_grad()
        del encoder.forward
        assert not np.array_equal(exact, quick) and np.abs(exact - quick).mean() < 0.1 * exact.std()
    assert np.array_equal(ask(nlp, texts), exact), "all is as before"


def test_a_student_of_it_learns_logits(source):
    model, tokenizer = load_encoder(source.as_posix(), attn_implementation="eager")
    docs, nlp = toy_records()[:12], spacy.blank("en")
    taught = [(nlp.make_doc(record["text"]), [2.0, -1.0] if i % 2 else [-2.0, 1.0]) for i, record in enumerate(docs)]
    lessons = prepare(taught, Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), POSITIONS - 4)
    student = Student(model, 2)
    assert student.learn(lessons, True, 0.003, passes=20) < 0.9
    assert student.probabilities(lessons, True).shape == (12, 2)
    assert student.layer()[0].shape == (2, WIDTH)


def test_padding_of_zeros_stays_a_number(tmp_path, run):
    """spacy-transformers rounds the config's numbers: 1e-12 is 0 when a pipeline is loaded again."""
    source = make_family(tmp_path / "mpnet", "mpnet", layers=1)
    assert read_json(source / "config.json")["layer_norm_eps"] == 1e-12
    config = read_json(fetched(source, tmp_path, run) / "config.json")
    stored = json.loads(srsly.json_dumps(config))
    model = AutoModel.from_config(AutoConfig.for_model(**stored)).eval()
    with torch.inference_mode():
        states = model(input_ids=torch.tensor([[0, 9, 2], [0, 2, 1]])).last_hidden_state
    assert torch.isfinite(states).all()


# What is no encoder


def save(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    return make_family(tmp_path_factory.mktemp("roberta") / "roberta", "roberta", layers=1)


def test_a_decoder_is_refused(roberta, tmp_path, run):
    size = {"vocab_size": 460, "d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    tokenizer = AutoTokenizer.from_pretrained(roberta)
    save(tmp_path / "t5", AutoModel.from_config(AutoConfig.for_model("t5", **size)), tokenizer)
    process = run("weights", "t5", "out")
    assert process.returncode == 1 and "t5: T5Model is no encoder" in process.output
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_without_padding_is_refused(roberta):
    model, tokenizer = load_encoder(roberta.as_posix())
    tokenizer.pad_token = None
    with pytest.raises(UserError, match="x: its tokenizer has no piece for padding"):
        check_encoder(model, tokenizer, "x")


def test_a_tokenizer_of_another_model_is_refused(roberta):
    model, tokenizer = load_encoder(roberta.as_posix())
    model.set_input_embeddings(torch.nn.Embedding(100, WIDTH))
    with pytest.raises(UserError, match="x: the tokenizer has 460 word pieces, the model vectors for 100"):
        check_encoder(model, tokenizer, "x")


def test_what_a_family_cannot_is_skipped_with_a_sentence(roberta, tmp_path, run, monkeypatch):
    monkeypatch.setattr("scripts.compress.shrink.layer_stack", lambda model: (model, "pooler", [None] * 2))
    process = run("shrink", roberta, "out", "--layers", 1)
    assert process.returncode == 0, process.output
    said = (tmp_path / "out" / "skipped.txt").read_text(encoding="utf-8")
    assert said.startswith(f"{MARK}roberta: of this kind of encoder no layers can be left out")


# The whole way


@pytest.mark.long
def test_the_whole_way(family, source, tmp_path, run, toy_assets, make_variant):
    rate = {"training.optimizer.learn_rate.initial_rate": 0.003}
    for name in ("", "-half", "-trim"):
        make_variant(f"quick{name}", f"transformer{name}", values=rate)

    def do(verb, *arguments):
        process = run(verb, *arguments)
        assert process.returncode == 0 and "Skipped" not in process.output, process.output
        return process.output

    do("convert", "toy", "corpus")
    fit_linear_model(run)
    do("tokenize_raw", "corpus/raw.jsonl", "corpus/tokens.txt", "corpus/counts.json")
    encoder = "training/weights/transformer"
    do("weights", source, encoder, "--task", "corpus/task.json")
    do("shrink", encoder, f"{encoder}-half", "--layers", 2)
    do("shrink", encoder, f"{encoder}-trim", "--layers", 2, "--text", "corpus/train.spacy")
    for name, passes in (("quick", 12), ("quick-half", 2), ("quick-trim", 20)):
        do("train", name, "--max-epochs", passes)
    said = do(
        "export_int8", "training/quick-trim/model-best", "training/transformer-int8/model.npz", "--text",
        "corpus/train.spacy", "--dev", "corpus/dev.spacy",
    )  # fmt: skip
    do("train", "transformer-int8")
    do(
        "quantize",
        "corpus/counts.json",
        "training/compact-small/table.npz",
        "--encoder",
        encoder,
        "--encoder-width",
        16,
    )
    do("encode", "corpus", "texts.jsonl", "vectors.npz", "--encoder", encoder, "--limit", 90)
    do("teach", "training/quick/model-best", "corpus", "s.spacy", "c.spacy", "--limit", 20, "--texts", 80)
    do("train", "compact-small", "--max-epochs", 5)
    shutil.rmtree(tmp_path / "training" / "weights")
    texts = [record["text"] for record in toy_records()]
    found = {
        name: scores(spacy.load(tmp_path / "training" / name / "model-best"), texts)
        for name in ("quick", "quick-half", "quick-trim", "transformer-int8", "compact-small")
    }
    labels = [sorted({record["label"] for record in toy_records()}).index(record["label"]) for record in toy_records()]
    right = {name: (rows.argmax(axis=1) == labels).mean() for name, rows in found.items()}
    print(family, right, said[-90:])
    assert min(right[name] for name in ("quick", "quick-trim", "transformer-int8")) > 0.5
    assert (found["quick-trim"].argmax(axis=1) == found["transformer-int8"].argmax(axis=1)).mean() > 0.9
