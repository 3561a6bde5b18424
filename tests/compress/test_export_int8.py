"""transformer-int8: the trainer's probabilities before quantization, its labels after; a pipeline like any other."""

import copy
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email import message_from_bytes

import numpy as np
import pytest
import spacy
import srsly
from packaging.requirements import Requirement
from scipy.special import expit
from spacy.lang.en import English
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.util import load_config

pytest.importorskip("onnx", reason="the variant transformer-int8 needs requirements.txt")
pytest.importorskip("spacy_transformers", reason="the transformer variants need requirements.txt")

import onnxruntime
from tokenizers import Tokenizer

from scripts.common.cli import UserError
from scripts.common.files import read_json
from scripts.common.skipping import MARK
from scripts.components import (
    ONNX_BATCH,
    OnnxScores,
    TextCatOnnx,
    batch_windows,
    cut_up,
    encode_windows,
    first_words,
    linear_logits,
    onnx_logits,
    read_onnx,
    set_onnx,
)
from scripts.compress.export_int8 import compare, take_apart
from scripts.compress.graph import export_graph
from scripts.compress.packing import (
    OTHER_BYTES,
    PIECE_BYTES,
    fit_pieces,
    group_width,
    keep_pieces,
    pack,
    pack_table,
    piece_order,
    pieces_within,
)
from scripts.compress.pieces import always_kept, count_pieces, read_texts
from scripts.encoder.encoders import load_encoder, save_encoder
from scripts.evaluation.thresholds import best_threshold, gold_and_scores
from scripts.linear.mixing import logits_of, stored_bytes
from scripts.training.config import write_config
from scripts.training.fitting import fit
from tests.conftest import DESKS, ROOT, message, toy_records
from tests.encoder.test_transformer import make_encoder

# Windows, spaces that no piece is of, words cut otherwise than spaCy's, unknown scripts, more pieces than fit.
ODD = [
    "The goal and coach of day 3", "", "   ", "\n goal \t\t bank  ", "10am, don't! e.g. x-y(z)", "Straßenbahn über",
    "日本語のテキスト и кириллица", "🙂🙂 goal 🙂", "a" * 3000, "goal " * 300, "unbelievable hjklxwq " * 90,
    "İstanbul ﬁlm",
]  # fmt: skip


def compose(folder, name, facts, **settings):
    """Write the complete config of a variant of the project, and import what it names."""
    srsly.write_json(folder / "task.json", facts)
    output = folder / name / "config.cfg"
    write_config(ROOT / "configs" / f"{name}.cfg", output, folder, folder, seed=0, settings=settings)
    return output


def without_linear(path):
    """Take the linear model out of a complete config."""
    config = load_config(path)
    config["components"]["textcat"]["model"] = config["components"]["textcat"]["model"]["model"]
    config["paths"]["linear"] = None
    config.to_disk(path)
    return path


def make_task(folder, multi=False, encoder=None):
    """Write toy texts as train and dev, some raw text, and an encoder; return the facts of the task."""
    folder.mkdir(parents=True)
    save_encoder(*load_encoder(str(encoder or make_encoder(folder / "tiny"))), folder / "encoder")
    labels, nlp = sorted(DESKS), spacy.blank("en")
    docs = []
    for i, record in enumerate(toy_records()):
        given = {record["label"], *(["film"] if multi and i % 4 == 0 else [])}
        docs.append(nlp.make_doc(record["text"]))
        docs[-1].cats = {label: float(label in given) for label in labels}
    for name, part in (("train", docs[::2]), ("dev", docs[1::2])):
        DocBin(docs=part, store_user_data=True).to_disk(folder / f"{name}.spacy")
    srsly.write_jsonl(folder / "raw.jsonl", [{"text": "zebra striker"}])
    counts = {"examples": {"train": len(docs) // 2}, "words": {"train": {"mean": 9.0}}}
    return {"lang": "en", "exclusive": not multi, "labels": labels, **counts}


def add_classifier(nlp):
    """Add a text classifier of the variant transformer-int8 that has no transformer yet."""
    model = {"@architectures": "textcat_ladder.TextCatOnnx.v1", "exclusive_classes": True}
    return nlp.add_pipe("textcat", config={"model": model})


@pytest.fixture(scope="module", params=["single", "multi"])
def task(request, tmp_path_factory):
    """A folder with a transformer that is sure of most labels, and what has been made of it; the facts of the task."""
    folder = tmp_path_factory.mktemp("int8") / request.param
    facts = make_task(folder, request.param == "multi")
    values = {"paths.weights": (folder / "encoder").as_posix(), "training.max_epochs": 60}
    values |= {"training.optimizer.learn_rate.initial_rate": 0.003}
    fit([compose(folder, "transformer", facts, **values)], folder / "transformer")
    nlp = spacy.load(folder / "transformer" / "model-best")
    arrays, _ = pack(take_apart(nlp, "toy"), 10**7, [folder / "train.spacy"])
    (folder / "transformer-int8").mkdir()
    np.savez(folder / "transformer-int8" / "model.npz", labels=np.asarray(facts["labels"]), **arrays)
    values = {"paths.onnx": (folder / "transformer-int8" / "model.npz").as_posix()}
    fit([without_linear(compose(folder, "transformer-int8", facts, **values))], folder / "transformer-int8")
    return folder, facts


@pytest.fixture(scope="module")
def before(task):
    return spacy.load(task[0] / "transformer" / "model-best")


@pytest.fixture
def after(task):
    return spacy.load(task[0] / "transformer-int8" / "model-best")


def scores(nlp, texts, **options):
    return np.array([list(doc.cats.values()) for doc in nlp.pipe(texts, **options)])


def texts_of(task):
    return [record["text"] for record in toy_records()]


def make_untrained(folder, scale, **options):
    """A pipeline of the variant transformer with an output layer at random, and the folder of its task."""
    facts = make_task(folder, **options)
    config = compose(folder, "transformer", facts, **{"paths.weights": (folder / "encoder").as_posix()})
    nlp = init_nlp(load_config(config, interpolate=True))
    # Trained with numbers of 16 bits, where the processor can; a stored pipeline does not know of it.
    vars(nlp.get_pipe("transformer").model.transformer).pop("forward", None)
    output = nlp.get_pipe("textcat").model.get_ref("output_layer")
    output.set_param("W", np.random.default_rng(0).normal(0, scale, output.get_param("W").shape).astype("float32"))
    return nlp, folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    return make_untrained(tmp_path_factory.mktemp("untrained") / "task", 1)


def apart(nlp):
    """What is taken of a pipeline, its table of word pieces, its graph and its tokenizer, all in single precision."""
    trained = take_apart(nlp, "toy")
    table = trained.encoder.get_input_embeddings().weight.detach().numpy()
    session = onnxruntime.InferenceSession(export_graph(trained.encoder).SerializeToString())
    return trained, table, session, Tokenizer.from_str(json.dumps(trained.tokenizer))


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("limit", [0, 128, 150])
def test_before_quantization_it_gives_the_trainers_probabilities(untrained, limit):
    nlp, _ = untrained
    nlp.get_pipe("transformer").model.attrs["get_spans"] = first_words(limit)
    for node in nlp.get_pipe("textcat").model.walk():
        if node.name == "first_rows":
            node.attrs["max_rows"] = limit
    trained, table, session, tokenizer = apart(nlp)
    docs = [nlp.make_doc(text) for text in ODD]
    windows = cut_up(docs, tokenizer, limit, trained.max_pieces)
    assert max(map(len, windows[0])) == trained.max_pieces, "a window was cut off"
    assert (len(windows[2]) > len(ODD)) == (limit != 128), "some texts have several windows"
    features = encode_windows(session, lambda ids: table[ids], *windows, len(docs))
    found = softmax(features @ trained.W.T + trained.b)
    assert found == pytest.approx(scores(nlp, ODD), abs=1e-4)


def test_shares_of_a_text_have_a_sum_of_one(untrained):
    nlp, _ = untrained
    *_, tokenizer = apart(nlp)
    docs = [nlp.make_doc(text) for text in ("goal and bank", "goal  bank", "the goal " * 200)]
    _, weights, texts = cut_up(docs, tokenizer, 0, 160)
    sums = np.bincount(texts, [window.sum() for window in weights])
    # The second text has a token of a space, of which no piece is.
    assert sums == pytest.approx([1, 2 / 3, 1])
    assert texts == [0, 1, 2, 2, 2, 2]


def test_windows_of_like_length_come_together_within_bounds():
    lengths = [5, 300, 7, 6, 5, 512, 700, 200]
    batches = list(batch_windows(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert [batch for batch in batches if len(batch) > 1] == [[0, 4, 3, 2]]
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= ONNX_BATCH for batch in batches)
    assert list(batch_windows([])) == []


@pytest.mark.parametrize(("width", "group"), [(384, 32), (768, 32), (48, 24), (100, 20), (62, 2)])
def test_groups_divide_the_width(width, group):
    assert group_width(width) == group
    table = np.random.default_rng(0).normal(size=(20, width)).astype("float32")
    packed = pack_table(table)
    assert packed["codes"].shape == (20, width // group, group // 2) and packed["scales"].shape == (20, width // group)


def test_frequent_pieces_of_the_training_texts_are_kept_first():
    train, raw = Counter({"goal": 1, "bank": 5}), Counter({"goal": 9, "zebra": 100, "quark": 1})
    pieces = ["day", "bank", "goal", "quark", "zebra", "star"]
    assert piece_order(pieces, [train, raw]) == ["goal", "bank", "zebra", "quark", "day", "star"]


# Bytes


def test_the_budget_decides_how_many_pieces_stay(untrained, capsys):
    nlp, folder = untrained
    files = [folder / "train.spacy", folder / "raw.jsonl"]
    whole, remark = pack(take_apart(nlp, "toy"), 10**7, files)
    n_all = len(whole["codes"])
    assert remark == f"all {n_all} word pieces"
    fixed = sum(whole[name].nbytes for name in ("graph", "W", "b")) + OTHER_BYTES
    size = fixed + (24 + 2 * 2 + PIECE_BYTES) * (n_all - 2)
    less, remark = pack(take_apart(nlp, "toy"), size, files)
    assert remark == f"{n_all - 2} of {n_all} word pieces" and len(less["codes"]) == n_all - 2
    pieces = json.loads(zlib.decompress(less["tokenizer"].tobytes()))["model"]["vocab"]
    assert {"goal", "[CLS]", "z", "##z", "zebra", "striker"} <= pieces.keys()
    assert not {"quark", "##bra"} & pieces.keys(), "they occur nowhere"
    assert sum(array.nbytes for array in less.values()) < size
    assert int(whole["parameters"]) - int(less["parameters"]) == 2 * 48
    capsys.readouterr()
    more, _ = pack(take_apart(nlp, "toy"), fixed, files)
    assert len(more["codes"]) == n_all
    assert "cannot be reached" in " ".join(capsys.readouterr().out.split())
    # What has yet to learn can do without some of the training texts' pieces, the rarest first.
    state = take_apart(nlp, "toy").tokenizer
    counts = count_pieces(Tokenizer.from_str(json.dumps(state)), read_texts(files[:1]))
    spare = min(counts.keys() - always_kept(state), key=counts.__getitem__)
    room = len(pieces_within(state, counts, n_all)) - 1
    assert keep_pieces(state, room, files) is None and len(state["model"]["vocab"]) == n_all
    enough = 1 - counts[spare] / counts.total()
    assert keep_pieces(state, room, files, enough + 1e-6) is None
    assert len(keep_pieces(state, room, files, enough)) == room
    left = state["model"]["vocab"].keys()
    assert counts.keys() - left == {min(counts.keys() - left, key=counts.__getitem__)}
    assert counts[(counts.keys() - left).pop()] == counts[spare]


def test_what_has_yet_to_learn_keeps_some_pieces_where_there_is_room_for_none(untrained, monkeypatch):
    nlp, folder = untrained
    files = [folder / "train.spacy", folder / "raw.jsonl"]

    def left(size, most):
        monkeypatch.setattr("scripts.compress.packing.WITHOUT_ROOM", most)
        trained = take_apart(nlp, "toy")
        n_all = len(trained.encoder.get_input_embeddings().weight)
        trained = replace(trained, encoder=copy.deepcopy(trained.encoder), tokenizer=copy.deepcopy(trained.tokenizer))
        fit_pieces(trained, size, files, 0.95)
        n_left = len(trained.encoder.get_input_embeddings().weight)
        assert n_left == len(trained.tokenizer["model"]["vocab"])
        return n_all - n_left

    assert left(10**7, 10) == 0, "there is room for all"
    assert left(1000, 10**6) == 0
    assert left(1000, len(take_apart(nlp, "toy").tokenizer["model"]["vocab"]) - 2) == 2


# Errors


def good_arrays():
    return {
        "graph": np.zeros(3, "uint8"), "tokenizer": np.zeros(3, "uint8"), "codes": np.zeros((5, 2, 4), "uint8"),
        "scales": np.zeros((5, 2), "float16"), "W": np.zeros((3, 8), "float32"), "b": np.zeros(3, "float32"),
        "max_words": 128, "max_pieces": 160, "parameters": 99,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"codes": np.zeros((5, 8), "uint8")}, "'codes' must be uint8, 3-dimensional"),
        ({"W": None}, "'W' must be float32"),
        ({"b": np.zeros(2, "float32")}, "must fit one another"),
        ({"scales": np.zeros((4, 2), "float16")}, "must fit one another"),
    ],
)
def test_wrong_arrays_are_refused(change, expected):
    set_onnx(OnnxScores(), good_arrays())
    with pytest.raises(ValueError, match=expected):
        set_onnx(OnnxScores(), good_arrays() | change)
    with pytest.raises(ValueError, match="'max_pieces' is missing"):
        set_onnx(OnnxScores(), {name: value for name, value in good_arrays().items() if name != "max_pieces"})


def test_a_broken_graph_is_a_message():
    model = OnnxScores()
    set_onnx(model, good_arrays())
    with pytest.raises(ValueError, match="transformer is broken or too new"):
        model.predict([spacy.blank("en").make_doc("goal")])


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers"])
def test_a_missing_package_is_named(package, monkeypatch):
    model = OnnxScores()
    set_onnx(model, good_arrays())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match="pip install onnxruntime tokenizers"):
        model.predict([spacy.blank("en").make_doc("goal")])


def test_without_a_transformer_the_mend_is_named(tmp_path):
    with pytest.raises(ValueError, match="make its file with export-int8 or imitate"):
        TextCatOnnx(True).initialize()
    nlp = spacy.blank("en")
    add_classifier(nlp)
    with pytest.raises(ValueError, match="none.npz: no such file. `export-int8` or `imitate` makes it"):
        read_onnx(tmp_path / "none.npz")(nlp)


def test_it_is_not_trained_by_itself(tmp_path, toy_assets, run, make_variant):
    run("convert", "toy", "corpus")
    make_variant("unused", "transformer-int8")
    text = message(run("train", "transformer-int8"))
    assert (
        "training/transformer-int8/model.npz: no such file" in text and "made of a transformer that has learned" in text
    )


def test_other_pipelines_are_not_exported():
    nlp = spacy.blank("en")
    nlp.add_pipe("textcat")
    with pytest.raises(UserError, match="toy: this pipeline is none of transformer"):
        take_apart(nlp, "toy")


def test_mistakes_are_named_and_what_was_skipped_is_passed_on(tmp_path, run):
    options = ("--text", "train.spacy", "--dev", "dev.spacy")
    assert "none: no trained pipeline. Train it with" in message(run("export_int8", "none", "out.npz", *options))
    (tmp_path / "skipped").mkdir()
    (tmp_path / "skipped" / "skipped.txt").write_text(f"{MARK}no encoder for this language", encoding="utf-8")
    process = run("export_int8", "skipped", "out.npz", *options)
    assert process.returncode == 0 and "no encoder for this language" in process.output
    assert (tmp_path / "out.npz").read_text(encoding="utf-8").startswith(MARK)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "meta.json").write_text("{}", encoding="utf-8")
    assert "dev.spacy: no texts there" in message(run("export_int8", "model", "out.npz", *options))


# A trained pipeline


@pytest.mark.slow
def test_labels_are_as_before(task, before, after):
    texts = texts_of(task)
    one, other = scores(before, texts), scores(after, texts)
    assert one.max(axis=1).mean() > 0.8, "it has learned, so there is something to lose"
    if task[1]["exclusive"]:
        agree = one.argmax(axis=1) == other.argmax(axis=1)
        assert other.sum(axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)
    else:
        threshold = before.get_pipe("textcat").cfg["threshold"]
        agree = (one >= threshold) == (other >= threshold)
        best = best_threshold(*gold_and_scores(after, task[0] / "dev.spacy"))
        assert after.get_pipe("textcat").cfg["threshold"] == pytest.approx(best), "chosen anew"
    assert agree.mean() >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("task", ["single"], indirect=True)
def test_the_step_says_so_too(task, tmp_path, run):
    folder, facts = task
    options = ("--text", folder / "train.spacy", "--text", folder / "raw.jsonl", "--dev", folder / "dev.spacy")
    process = run("export_int8", folder / "transformer" / "model-best", "model.npz", *options)
    assert process.returncode == 0 and "% of the labels on 36 texts of dev as before" in process.output
    with np.load(tmp_path / "model.npz") as made, np.load(folder / "transformer-int8" / "model.npz") as same:
        assert made["labels"].tolist() == facts["labels"]
        assert all(np.array_equal(made[name], same[name]) for name in same.files), "it is the same whenever it is made"


@pytest.mark.slow
def test_with_the_linear_model_both_have_their_say_within_the_bytes(task, after, tmp_path, run):
    folder, facts = task
    linear = tmp_path / "linear" / "linear.npz"
    texts = [folder / "train.spacy", folder / "dev.spacy"]
    assert run("fit_linear", *texts, linear, "--task", folder / "task.json").returncode == 0
    values = {"paths.linear": linear.as_posix()}
    values |= {"paths.onnx": (folder / "transformer-int8" / "model.npz").as_posix()}
    fit([compose(folder, "transformer-int8", facts, **values)], tmp_path / "both")
    both = spacy.load(tmp_path / "both" / "model-best")
    model, docs = both.get_pipe("textcat").model, [both.make_doc(text) for text in ODD if text.strip()]
    own = logits_of(after.get_pipe("textcat").model.predict(docs), facts["exclusive"])
    logits = model.attrs["own"] * own + model.attrs["bias"] + linear_logits(model.get_ref("linear"), docs)
    expected = softmax(logits) if facts["exclusive"] else expit(logits)
    assert model.predict(docs) == pytest.approx(expected, abs=1e-4)
    # A pipeline that carries it is taken apart without it, and it counts among the bytes.
    model = folder / "transformer" / "model-best"
    options = ("--text", texts[0], "--text", folder / "raw.jsonl", "--dev", texts[1])
    for name, more in (("without", ()), ("with", ("--linear", linear))):
        size = OTHER_BYTES + 30_000 + stored_bytes(linear) * (name == "with")
        assert run("export_int8", model, f"{name}.npz", *options, "--size", size, *more).returncode == 0
    with np.load(tmp_path / "without.npz") as one, np.load(tmp_path / "with.npz") as other:
        assert all(np.array_equal(one[name], other[name]) for name in one.files)


@pytest.mark.slow
def test_agreement_counts_labels(task, before):
    folder, facts = task
    with np.load(folder / "transformer-int8" / "model.npz") as arrays:
        good = {name: arrays[name] for name in arrays.files}
    share, n_texts = compare(before, good, folder / "dev.spacy")
    assert n_texts == 36 and share >= 0.97
    assert compare(before, good | {"W": -good["W"]}, folder / "dev.spacy")[0] < 0.5


@pytest.mark.slow
def test_a_text_gets_the_same_in_any_company(task, after):
    texts = [*texts_of(task), *ODD]
    expected = scores(after, texts)
    assert np.isfinite(expected).all()
    assert scores(after, texts[::-1], batch_size=7)[::-1] == pytest.approx(expected, abs=1e-5)
    for text, row in zip(texts, expected, strict=True):
        # Alone, spaCy gives an empty text no scores at all.
        assert not text or list(after(text).cats.values()) == pytest.approx(row, abs=1e-5)


@pytest.mark.slow
def test_it_survives_storage_copies_processes_and_threads(task, after, tmp_path):
    texts = [*texts_of(task), *ODD]
    expected = scores(after, texts)
    after.to_disk(tmp_path / "again")
    assert scores(spacy.load(tmp_path / "again"), texts) == pytest.approx(expected, abs=1e-6)
    twin = English.from_config(after.config).from_bytes(after.to_bytes())
    assert scores(twin, texts) == pytest.approx(expected, abs=1e-6)
    model = after.get_pipe("textcat").model
    engine = copy.deepcopy(model).get_ref("scores").attrs["engine"]
    assert engine.opened == (None, None, None, None)
    # This process has a session already, which its forks must not use.
    assert scores(after, texts, n_process=2, batch_size=20) == pytest.approx(expected, abs=1e-5)
    docs = [after.make_doc(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: model.predict(docs), range(16)))
    assert all(result == pytest.approx(model.predict(docs), abs=1e-6) for result in results)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.parametrize("task", ["single"], indirect=True)
def test_forks_do_not_wait_for_threads_that_they_do_not_have(after, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    texts = ["The goal and coach of day 3", "bank and shares"]
    expected, engine = scores(after, texts), after.get_pipe("textcat").model.get_ref("scores").attrs["engine"]

    def predict():
        assert scores(after, texts) == pytest.approx(expected, abs=1e-5)

    def forget():
        engine.opened = (None, None, None, None)

    for target in (predict, forget):
        process = multiprocessing.get_context("fork").Process(target=target, daemon=True)
        process.start()
        process.join(60)
        if process.is_alive():
            process.kill()
        assert process.exitcode == 0
    assert engine.opened[0] == os.getpid()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["single"], indirect=True)
def test_a_million_characters_and_many_words(after):
    long = "goal " * 200_000
    word = "a" * 1_000_000
    found = scores(after, [long, word])
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(scores(after, ["goal " * 128])[0], abs=1e-5), "only the start is read"


@pytest.mark.slow
@pytest.mark.parametrize("task", ["single"], indirect=True)
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_broken_model_file_is_a_message(task, tmp_path, run, damage):
    shutil.copytree(task[0] / "transformer-int8" / "model-best", tmp_path / "model")
    path = tmp_path / "model" / "textcat" / "model"
    data = bytearray(path.read_bytes())
    place = data.index(zlib.compress(b"", 9)[:2]) + 1000  # inside of what is compressed
    data[place : place + 50] = bytes(50)
    path.write_bytes(data if damage == "changed" else data[: len(data) // 2])
    (tmp_path / "in.txt").write_text("The goal\n", encoding="utf-8")
    process = run("classify", "model", "in.txt", "out.csv", "--code", ROOT / "scripts" / "components.py")
    assert "model: no pipeline that can be loaded" in message(process) and not (tmp_path / "out.csv").exists()
    assert ("transformer is broken" in process.output) == (damage == "changed")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["single"], indirect=True)
def test_classify_names_the_package_that_is_missing(task, tmp_path, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "in.txt").write_text("The goal\n", encoding="utf-8")
    model = task[0] / "transformer-int8" / "model-best"
    text = message(run("classify", model, "in.txt", "out.csv", "--code", ROOT / "scripts" / "components.py"))
    assert "python -m pip install onnxruntime tokenizers" in text and "Train it first" not in text


@pytest.mark.slow
def test_training_changes_nothing(task, after):
    texts = texts_of(task)
    expected = scores(after, texts)
    wrong = {"cats": dict.fromkeys(task[1]["labels"], 0.0) | {"film": 1.0}}
    examples = [Example.from_dict(after.make_doc(text), wrong) for text in texts]
    after.update(examples, sgd=after.resume_training())
    assert scores(after, texts) == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["single"], indirect=True)
def test_labels_of_another_task_are_refused(task):
    folder, _ = task
    nlp = spacy.blank("en")
    add_classifier(nlp).add_label("other")
    with pytest.raises(ValueError, match="its labels are not those of 'textcat'"):
        read_onnx(folder / "transformer-int8" / "model.npz")(nlp)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["single"], indirect=True)
def test_a_wheel_runs_where_there_is_no_torch(task, tmp_path, run):
    """The wheel is unpacked beside the packages of this environment; PyTorch and transformers cannot be imported."""
    folder, facts = task
    shutil.copytree(folder / "transformer-int8", tmp_path / "training" / "transformer-int8")
    per_label = {label: {"p": 1.0, "r": 1.0, "f": 1.0} for label in facts["labels"]}
    figures = {"macro_f1": 1.0, "macro_f1_ci": [1.0, 1.0], "accuracy": 1.0, "documents": 36, "per_label": per_label}
    metrics = {"variant": "transformer-int8", "dataset": "toy", "scores": figures, "env": {"cpu": "?"}}
    metrics |= {"size": {"pipeline_bytes": 1}, "speed": {"docs_per_s": 1.0}}
    metrics |= {"train": srsly.read_json(folder / "transformer-int8" / "train.json")}
    srsly.write_json(tmp_path / "metrics.json", metrics)
    code = ROOT / "scripts" / "components.py"
    process = run("package", "training/transformer-int8", "packages", "--metrics", "metrics.json", "--code", code)
    assert process.returncode == 0, process.output
    (wheel,) = (tmp_path / "packages").glob("*/dist/*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        required = message_from_bytes(archive.read(name)).get_all("Requires-Dist")
        archive.extractall(tmp_path / "site")
    assert {Requirement(line).name for line in required} == {"spacy", "onnxruntime", "tokenizers"}
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "site")!r})
for name in ("torch", "transformers", "spacy_transformers"):
    sys.modules[name] = None
from spacy.util import registry
registry._entry_point_factories.entry_points = False
import spacy
nlp = spacy.load("en_toy_transformer_int8")
cats = nlp("The goal and coach of day 3").cats
assert max(cats, key=cats.get) == "sport", cats
assert not [name for name in sys.modules if name.split(".")[0] in ("torch", "transformers") and sys.modules[name]]
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["single"], indirect=True)
def test_what_must_be_installed_is_measured(task, tmp_path):
    folder, _ = task
    files = (folder / "transformer-int8" / "model-best", folder / "dev.spacy", tmp_path / "cost.json")
    options = ["--repeats", 1, "--code", "scripts/components.py", "--package", "onnxruntime", "--package", "tokenizers"]
    command = [sys.executable, "-m", "scripts.evaluation.measure", *map(str, (*files, *options))]
    subprocess.run(command, cwd=ROOT, check=True)
    installed = read_json(tmp_path / "cost.json")["installed"]
    assert {"spacy", "numpy", "onnxruntime", "tokenizers"} <= installed["packages"].keys()
    assert not {"torch", "transformers", "spacy-transformers", "pytest"} & installed["packages"].keys()
    assert installed["bytes"] == sum(installed["packages"].values()) < 500e6


def test_logits_of_nothing():
    model = OnnxScores()
    set_onnx(model, good_arrays() | {"b": np.ones(3, "float32")})
    model.attrs["engine"].open = lambda graph, tokenizer: (None, None)
    assert onnx_logits(model, []).shape == (0, 3)
    empty = spacy.blank("en").make_doc("")
    assert onnx_logits(model, [empty, empty]).tolist() == [[1, 1, 1]] * 2
