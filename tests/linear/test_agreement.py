"""The pipeline computes the features that the model was fitted to; what is wrong with labels or copies is found."""

import multiprocessing
import pickle

import numpy as np
import pytest
import spacy

from scripts.components import (
    LINEAR_PARAMS,
    LINEAR_ROWS,
    LinearScores,
    TextCatCompact,
    linear_logits,
    read_linear,
    set_linear,
)
from scripts.linear.mixing import Mix, mix
from scripts.linear.svm import calibrate, featurize, fit_linear, fit_svm, quantize, weigh
from tests.conftest import DESKS, toy_records

LABELS = sorted(DESKS)
SCRIPTS = {
    "en": [record["text"] for record in toy_records()],
    "de": [f"Die {sign} {word} am {i}. Tag" for i in range(18) for sign, word in [
        [("Straßenbahn", "fährt"), ("Börsenkurse", "steigen"), ("Schauspieler", "spielen")][i % 3]]],
    "xx": [f"{sign} 番号{i}" for i in range(18) for sign in [
        ["サッカーの試合", "日本銀行の株価", "映画俳優の受賞"][i % 3]]],
}  # fmt: skip


def task(lang, kind):
    nlp = spacy.blank(lang)
    docs = [nlp.make_doc(text) for text in SCRIPTS[lang]]
    if lang == "en":
        gold = np.array([[float(record["label"] == label) for label in LABELS] for record in toy_records()])
    else:
        gold = np.eye(3)[np.arange(len(docs)) % 3]
    if kind == "multi":
        gold = np.maximum(gold, np.roll(gold, 1, axis=0) * (np.arange(len(gold)) % 5 == 0)[:, None])
    return docs, gold[:, :1] if kind == "binary" else gold


@pytest.fixture(scope="module")
def model():
    docs, gold = task("en", "single")
    scores = LinearScores()
    set_linear(scores, fit_linear(docs, gold, True).arrays)
    return scores


@pytest.mark.parametrize("kind", ["single", "multi", "binary"])
@pytest.mark.parametrize("lang", SCRIPTS)
def test_eight_bits_give_what_floats_give(lang, kind):
    docs, gold = task(lang, kind)
    exclusive = kind == "single"
    fit = fit_linear(docs, gold, exclusive)
    keys, idf = fit.arrays["keys"].astype("int64"), fit.arrays["idf"]
    X = weigh(*featurize(docs), keys, idf)
    W, _ = fit_svm(X, gold, exclusive, fit.info["strength"], fit.info["balance"])
    factor = (fit.arrays["scales"] / quantize(W, keys)[1])[0]
    floats = X @ W.T * factor + fit.arrays["bias"]
    scores = LinearScores()
    set_linear(scores, fit.arrays)
    bits = linear_logits(scores, docs)
    # Features are equal, up to the order of sums; what remains is the rounding of the weights.
    rounded = np.zeros_like(floats)
    middle = int(keys.searchsorted(LINEAR_ROWS // 2))
    for half, part in enumerate((slice(0, middle), slice(middle, None))):
        rounded += X[:, part] @ (fit.arrays["weights"][part] * fit.arrays["scales"][half])
    assert bits == pytest.approx(rounded + fit.arrays["bias"], abs=1e-3)
    assert np.abs(bits - floats).max() < 0.3
    if exclusive:
        assert (bits.argmax(1) == floats.argmax(1)).all() and (bits.argmax(1) == gold.argmax(1)).all()
    else:
        sure = np.abs(floats) > 0.3
        assert sure.mean() > 0.8 and ((bits > 0) == (floats > 0))[sure].all()


@pytest.mark.parametrize("n_labels", [1, 4])
def test_a_label_that_all_or_no_text_has_gets_a_bias(n_labels):
    docs, _ = task("en", "single")
    docs = docs[:12]
    gold = np.zeros((12, n_labels))
    gold[:, 0] = 1
    W, b = fit_svm(weigh(*featurize(docs), np.array([1, 5]), np.ones(2, "uint8")), gold, False, 1.0, 1.0)
    assert b.tolist() == [1.0] + [-1.0] * (n_labels - 1) and not W.any()


def test_labels_that_exclude_each_other_get_a_temperature():
    rng = np.random.default_rng(0)
    gold = np.eye(3)[rng.integers(3, size=3000)]
    scores = 0.5 * (gold * 2 + rng.normal(0, 1, gold.shape))
    factor, bias = calibrate(scores, gold, exclusive=True)
    odds = np.exp(factor * scores)
    best = (odds / odds.sum(1, keepdims=True)).max(1)
    assert best.mean() == pytest.approx((scores.argmax(1) == gold.argmax(1)).mean(), abs=0.03)
    assert not bias.any()


def logits_there(model, texts):
    nlp = spacy.blank("en")
    return linear_logits(model, [nlp.make_doc(text) for text in texts]), len(model.attrs["cache"].rows)


def test_another_process_starts_with_nothing_and_gives_the_same(model):
    texts = SCRIPTS["en"][:9]
    expected, known = logits_there(model, texts)
    assert known > 0
    again = pickle.loads(pickle.dumps(model.attrs["cache"]))
    assert (again.rows, again.parts.size, again.weights) == ({}, 0, None)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found, theirs = pool.apply(logits_there, (model, texts))
    assert np.array_equal(found, expected) and 0 < theirs <= known


def test_one_word_more_than_the_cache_holds_changes_nothing(model, monkeypatch):
    docs = task("en", "single")[0]
    expected = linear_logits(model.copy(), docs)
    monkeypatch.setattr("scripts.components.MAX_CACHED_WORDS", 1)
    small = model.copy()
    found = np.concatenate([linear_logits(small, [doc]) for doc in docs])
    assert found == pytest.approx(expected, abs=1e-5)
    assert len(small.attrs["cache"].parts) <= max(len({token.lower for token in doc}) for doc in docs)


def test_what_is_fetched_from_a_gpu_is_fetched_once_and_again_where_it_changed(model, monkeypatch):
    fetched = []

    def fetch(array):
        fetched.append(array)
        return np.array(array)

    monkeypatch.setattr("scripts.components._on_cpu", fetch)
    docs, own = task("en", "single")[0][:3], model.copy()
    first = linear_logits(own, docs)
    rows = own.attrs["cache"].parts
    assert np.array_equal(linear_logits(own, docs), first) and own.attrs["cache"].parts is rows
    assert len(fetched) == len(LINEAR_PARAMS)
    own.set_param("bias", own.get_param("bias") + 1)
    assert linear_logits(own, docs) == pytest.approx(first + 1)


@pytest.fixture
def linear_file(tmp_path):
    docs, gold = task("en", "single")
    with (tmp_path / "linear.npz").open("wb") as stream:
        np.savez(stream, **fit_linear(docs, gold, True).arrays, labels=np.asarray(LABELS))
    return tmp_path / "linear.npz"


@pytest.mark.parametrize("there", [[], LABELS[:1], LABELS])
def test_the_component_gets_the_labels_of_the_file(linear_file, there):
    nlp = pipeline(there)
    read_linear(linear_file)(nlp)
    assert list(nlp.get_pipe("textcat").labels) == LABELS
    assert nlp.get_pipe("textcat").model.get_ref("scores").get_dim("nO") == 3


@pytest.mark.parametrize("there", [LABELS[::-1], ["other"]])
def test_labels_in_another_order_are_refused(linear_file, there):
    with pytest.raises(ValueError, match=r"linear.npz: its labels are not those of 'textcat', or in another order"):
        read_linear(linear_file)(pipeline(there))


def pipeline(labels):
    nlp = spacy.blank("en")
    config = {"model": {"@architectures": "textcat_ladder.TextCatLinear.v1", "exclusive_classes": True}}
    pipe = nlp.add_pipe("textcat", config=config)
    for label in labels:
        pipe.add_label(label)
    return nlp


def test_other_labels_than_the_files_are_refused_when_it_is_initialized(linear_file):
    nlp = read_linear(linear_file)(pipeline([]))
    with pytest.raises(ValueError, match="fitted to 3 labels, here are 2"):
        nlp.get_pipe("textcat").model.get_ref("scores").initialize(Y=np.zeros((1, 2), "float32"))


def test_a_pipeline_without_a_linear_model_is_left_as_it_is(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("textcat").add_label("a")
    nlp.get_pipe("textcat").add_label("b")
    nlp.initialize()
    before = nlp.to_bytes()
    assert mix(nlp, tmp_path / "no-dev.spacy") == Mix()
    assert nlp.to_bytes() == before
    assert TextCatCompact(True).maybe_get_ref("linear") is None
