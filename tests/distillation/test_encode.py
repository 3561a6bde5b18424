"""scripts/distillation/encode.py and the objective that learns from it: texts, vectors, and weights that arrive."""

import logging

import numpy as np
import pytest
import spacy
import srsly
from spacy.cli._util import import_code
from spacy.strings import get_string_id
from spacy.training.initialize import init_nlp
from spacy.util import load_config
from thinc.api import Adam, fix_random_seed

from scripts.components import TextCatCompact, create_pretrain_sentences, set_word_table
from scripts.data.splits import normalize
from scripts.distillation.encode import COPIES, collect, cut_run
from tests.conftest import ROOT, message
from tests.test_components import make_table

TRAIN = ["Bank profits fall sharply", "Late goal wins cup", "Film star dies"]
RAW = ["The striker scored a late goal. The coach was very happy with the team!", "Profits at the bank fell again."]
WIDTH = 5


def encode_letters(folder, texts, cache=None):
    """In place of an encoder: unit vectors that depend on the text's letters."""
    counts = np.asarray([[text.lower().count(letter) + 0.1 for letter in "aeiot"] for text in texts], dtype="float32")
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def write_vectors(path, texts):
    """Vectors of texts as scripts.distillation.encode writes them."""
    keys = np.asarray([get_string_id(text) for text in texts], dtype="uint64")
    order = keys.argsort()
    np.savez(path, keys=keys[order], vectors=encode_letters(None, texts)[order].astype("float16"))


def test_texts_are_training_texts_sentences_and_parts_of_them():
    texts = collect(TRAIN, iter(RAW), set(), "en", 9)
    assert texts[:3] == TRAIN and len(texts) == len(set(texts)) == 9
    sentences = ["The striker scored a late goal.", "The coach was very happy with the team!", RAW[1]]
    assert set(sentences) < set(texts)
    assert all(any(text in sentence for sentence in sentences) for text in texts[3:])
    assert collect(TRAIN, iter(RAW), set(), "en", 9) == texts


def test_runs_are_as_long_as_training_texts():
    raw = [f"one two three four five six seven eight nine ten number {i}." for i in range(100)]
    texts = collect(["a b", "c d e"], iter(raw), set(), "en", 100)
    runs = [text for text in texts if not text.endswith(".") and len(text.split()[0]) > 1]
    assert len(runs) > 20 and {len(run.split()) for run in runs} == {2, 3}


def test_few_sentences_are_joined_by_altered_training_texts():
    train = [f"word{i} of text number {i} is here" for i in range(20)]
    texts = collect(train, iter(train), set(), "en", 70)
    assert texts[:20] == train and len(texts) == 70
    words = {word for text in train for word in text.split()}
    assert all(set(text.split()) <= words for text in texts)
    assert len(collect(train, iter(train), set(), "en", 1000)) <= (1 + 1 + COPIES) * 20
    some = collect(train, iter(train), set(), "en", 10)
    assert some == train[::2], "more training texts than that come from all over"
    assert len(collect(["w " * 1000], iter([]), set(), "en", 10)[0].split()) == 256, "an encoder reads no more"


@pytest.mark.parametrize("limit", [25, 40, 60])
def test_the_limit_holds_for_any_amount_of_raw_text(limit):
    train = [f"word{i} of text number {i} is here" for i in range(20)]
    raw = [f"one two three four five six seven eight nine ten number {i}." for i in range(200)]
    texts = collect(train, iter(raw), set(), "en", limit)
    assert texts[:20] == train and len(texts) == limit


def test_no_text_is_a_held_out_one():
    train = [f"word{i} of text number {i} is here" for i in range(20)]
    raw = [f"One two three number {i}." for i in range(20)]
    free = collect(train, iter(raw), set(), "en", 100)
    unwanted = {"one two three number 7", *(normalize(text) for text in free[45:70])}
    texts = collect(train, iter(raw), unwanted, "en", 100)
    assert raw[7] in free and not unwanted & {normalize(text) for text in texts} and len(texts) > 70


def test_a_run_of_a_short_text_is_the_text():
    rng = np.random.default_rng(0)
    assert cut_run(["late ", "goal"], 5, rng) == "late goal"
    assert cut_run([], 2, rng) == ""


def test_command_writes_each_texts_vector(tmp_path, toy_assets, run, monkeypatch):
    assert run("convert", "toy", "corpus").returncode == 0
    monkeypatch.setattr("scripts.distillation.encode.embed", encode_letters)
    (tmp_path / "encoder").mkdir()
    command = ("encode", "corpus", "texts.jsonl", "sentences.npz")
    process = run(*command, "--encoder", "encoder", "--limit", 90)
    assert process.returncode == 0, process.output
    texts = [line["text"] for line in srsly.read_jsonl(tmp_path / "texts.jsonl")]
    assert f"{len(texts)} texts × 5" in process.output
    arrays = np.load(tmp_path / "sentences.npz")
    for text, vector in zip(texts, encode_letters(None, texts), strict=True):
        row = arrays["keys"].searchsorted(np.uint64(get_string_id(text)))
        np.testing.assert_allclose(arrays["vectors"][row], vector, atol=1e-3)
    assert "none: no encoder there" in message(run(*command, "--encoder", "none"))
    assert "gone/train.spacy: no such file. Make it with the command `convert`" in message(
        run("encode", "gone", "t", "v")
    )


@pytest.fixture
def features():
    """The layers of a small `compact` that are pretrained."""
    fix_random_seed(0)
    model = TextCatCompact(True, hidden_width=8, word_dropout=0.0)
    set_word_table(model.get_ref("table"), make_table())
    return model.get_ref("features")


def test_the_features_learn_to_give_the_vectors(tmp_path, features):
    nlp = spacy.blank("en")
    texts = ["shares fall", "goal in the match", "film star", "gold"]
    write_vectors(tmp_path / "v.npz", texts)
    docs = list(nlp.pipe(texts))
    features.initialize(docs)
    model = create_pretrain_sentences(tmp_path / "v.npz")(nlp.vocab, features)
    model.initialize(docs)
    assert model.get_ref("tok2vec") is features
    optimizer, losses = Adam(0.01), []
    for _ in range(200):
        predictions, backprop = model.begin_update(docs)
        assert predictions.shape == (4, WIDTH)
        loss, gradient = model.attrs["loss"](model.ops, docs, predictions)
        backprop(gradient)
        model.finish_update(optimizer)
        losses.append(float(loss))
    assert losses[0] > 0.2 and losses[-1] < 0.05
    with pytest.raises(ValueError, match="no vector of the text 'other'. Encode the texts again"):
        model.attrs["loss"](model.ops, [nlp("other")], predictions[:1])


CODE = ROOT / "scripts" / "components.py"


@pytest.fixture
def make_pretrained(tmp_path, toy_assets, run, make_variant):
    """A function that makes the variant `toy`, a `compact-pretrained`, and all that it reads but its weights."""

    def make(weights):
        assert run("convert", "toy", "corpus").returncode == 0
        np.savez(tmp_path / "table.npz", **make_table())
        texts = ["shares fall", "goal in the match", "film star", "gold"]
        srsly.write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in texts])
        write_vectors(tmp_path / "v.npz", texts)
        assert run("fit_linear", "corpus/train.spacy", "corpus/dev.spacy", "linear.npz").returncode == 0
        paths = {"table": "table.npz", "linear": "linear.npz", "sentences": "v.npz", "raw": "texts.jsonl"}
        values = {f"paths.{name}": path for name, path in (paths | {"init_tok2vec": weights}).items()}
        make_variant("toy", "compact-pretrained", code=CODE, values=values)

    return make


def test_each_depth_is_pretrained_and_the_best_on_dev_is_trained(tmp_path, run, make_pretrained):
    make_pretrained("${paths.training}/toy/depth-${task.depth}.bin")
    assert "depth-0.bin: no pretrained weights" in message(run("train", "toy", "--max-epochs", 1))
    process = run("pretrain", "toy", "--epochs", 2)
    assert process.returncode == 0, process.output
    folder = tmp_path / "training" / "toy"
    made = {f"depth-{depth}{suffix}" for depth in (0, 2) for suffix in (".bin", ".cfg", ".jsonl")}
    assert {path.name for path in folder.iterdir()} == made
    for depth in (0, 2):
        config = load_config(folder / f"depth-{depth}.cfg", interpolate=True)
        assert config["components"]["textcat"]["model"]["depth"] == depth
    process = run("train", "toy", "--max-epochs", 1)
    assert process.returncode == 0, process.output
    facts = srsly.read_json(folder / "train.json")
    assert facts["dev_loss"].keys() == {"words", "reads"} and facts["chosen"] in facts["dev_loss"]
    assert made < {path.name for path in folder.iterdir()}
    config = load_config(folder / "config.cfg", interpolate=True)
    depth = {"words": 0, "reads": 2}[facts["chosen"]]
    assert config["initialize"]["init_tok2vec"] == f"training/toy/depth-{depth}.bin"


def test_pretrained_weights_arrive(tmp_path, run, make_variant, make_pretrained, caplog):
    weights = "training/toy/weights.bin"
    make_pretrained(weights)

    def compose(output, *settings):
        process = run("compose", "toy", output, "--max-epochs", 1, *settings)
        assert process.returncode == 0, process.output

    assert run("pretrain", "toy").returncode == 0
    compose("train.cfg")
    compose("blank.cfg", "--set", "paths.init_tok2vec=null")
    with caplog.at_level(logging.ERROR):
        import_code(CODE)
        trained, blank = (
            init_nlp(load_config(tmp_path / name, interpolate=False)).get_pipe("textcat").model
            for name in ("train.cfg", "blank.cfg")
        )
    before = blank.get_ref("hidden").get_param("W").copy()
    blank.get_ref("features").from_bytes((tmp_path / weights).read_bytes())
    arrived = trained.get_ref("hidden").get_param("W")
    np.testing.assert_array_equal(arrived, blank.get_ref("hidden").get_param("W"))
    assert (arrived != before).any()
    make_variant("narrow", "toy", values={"components.textcat.model.hidden_width": 8})
    refused = message(run("train", "narrow", "--max-epochs", 1))
    assert "pretrained for other layers" in refused and "[components.textcat.model] must be equal" in refused
