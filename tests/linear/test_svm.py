"""The linear model: what it learns, that the pipeline gives what was fitted, odd texts, threads and storage."""

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from string import ascii_lowercase

import numpy as np
import pytest
import spacy
import srsly

from scripts import components
from scripts.components import LINEAR_PARAMS, LinearScores, linear_logits, set_linear, split_pieces
from scripts.evaluation.scores import score_dev
from scripts.linear.svm import calibrate, choose_rows, fit_linear, is_large, most_rows
from tests.conftest import DESKS, toy_records

LABELS = sorted(DESKS)


@pytest.fixture(scope="module")
def toy():
    """Texts, gold labels of the three kinds of tasks, and the vocabulary they belong to."""
    nlp = spacy.blank("en")
    records = toy_records()
    single = np.array([[float(record["label"] == label) for label in LABELS] for record in records])
    multi = np.maximum(single, np.roll(single, 1, axis=0) * (np.arange(len(single)) % 9 == 0)[:, None])
    return nlp, [nlp.make_doc(record["text"]) for record in records], {"single": single, "multi": multi}


@pytest.fixture(scope="module")
def fitted(toy):
    _, docs, gold = toy
    return fit_linear(docs, gold["single"], True)


def layer(fit):
    model = LinearScores()
    set_linear(model, fit.arrays)
    return model


def test_it_learns_what_it_can_of_labels_that_exclude_each_other(toy, fitted):
    _, docs, gold = toy
    assert (linear_logits(layer(fitted), docs).argmax(1) == gold["single"].argmax(1)).all()
    assert (fitted.logits.argmax(1) == gold["single"].argmax(1)).mean() > 0.9, "texts that were left out, too"


@pytest.mark.parametrize("columns", [slice(0, 1), slice(None)], ids=["binary", "multi"])
def test_it_learns_any_number_of_labels(toy, columns):
    _, docs, gold = toy
    Y = gold["multi"][:, columns] if columns.stop is None else gold["single"][:, columns]
    fit = fit_linear(docs, Y, False)
    probabilities = 1 / (1 + np.exp(-linear_logits(layer(fit), docs)))
    assert ((probabilities > 0.5) == (Y > 0)).mean() > 0.9


def test_it_learns_from_four_texts(toy):
    nlp, _, _ = toy
    docs, Y = [nlp.make_doc(text) for text in ("a goal", "a match", "a film", "a song")], np.eye(2)[[0, 0, 1, 1]]
    assert (linear_logits(layer(fit_linear(docs, Y, True)), docs).argmax(1) == Y.argmax(1)).all()


def test_no_word_is_stored_and_rows_keep_within_the_bytes(toy):
    _, docs, gold = toy
    small = fit_linear(docs, gold["single"], True, size=2000)
    table = sum(small.arrays[name].nbytes for name in ("keys", "weights", "idf"))
    assert table <= 2000 and len(small.arrays["keys"]) == 2000 // 8
    assert not any(array.dtype.kind in "UO" for array in small.arrays.values())


def test_the_most_frequent_rows_are_kept_in_order():
    df = np.array([0, 5, 1, 9, 2, 0])
    assert choose_rows(df, most_rows(5, size=20)).tolist() == [1, 3]
    assert choose_rows(df, most_rows(5, size=1000)).tolist() == [1, 2, 3, 4]


def random_texts(nlp, *, labels_told):
    """400 texts of 20 words of 200, any as frequent as the next, and a label of two, by a rarer word or by none."""
    rng = np.random.default_rng(0)
    gold, words = rng.integers(2, size=400), rng.integers(200, size=(400, 20))
    telling = ["".join(row) for row in rng.choice(list(ascii_lowercase), size=(80, 6))]
    texts = [" ".join(f"w{word:03}" for word in row) for row in words]
    if labels_told:
        texts = [f"{text} {telling[i % 40 * 2 + gold[i]]}" for i, text in enumerate(texts)]
    return [nlp.make_doc(text) for text in texts], np.eye(2)[gold]


def test_rows_are_kept_that_tell_the_label(toy):
    docs, Y = random_texts(toy[0], labels_told=True)
    fit = fit_linear(docs, Y, True, size=2100)
    assert fit.info["rows"] == 300 < fit.info["of"] / 10
    assert (linear_logits(layer(fit), docs).argmax(1) == Y.argmax(1)).mean() > 0.95
    assert (fit.logits.argmax(1) == Y.argmax(1)).mean() > 0.8, "texts that were left out, too"


def test_rows_are_not_chosen_by_texts_that_are_left_out(toy):
    """Where nothing tells the label, nothing is learned of texts that were left out."""
    docs, Y = random_texts(toy[0], labels_told=False)
    fit = fit_linear(docs, Y, True, size=2100)
    assert abs((fit.logits.argmax(1) == Y.argmax(1)).mean() - 0.5) < 0.1


def test_calibration_gives_probabilities_near_the_frequencies():
    rng = np.random.default_rng(0)
    truth = rng.random((4000, 2)) < [0.1, 0.5]
    scores = 3 * (truth + rng.normal(0, 1, truth.shape)) - 5
    factor, bias = calibrate(scores, truth.astype(float), exclusive=False)
    probabilities = 1 / (1 + np.exp(-(factor * scores + bias)))
    assert probabilities.mean(0) == pytest.approx(truth.mean(0), abs=0.02)


def test_scores_of_few_texts_are_not_turned_round():
    """In cross-validation of some dozen texts the scores often run against the labels, which is no knowledge."""
    rng = np.random.default_rng(0)
    truth = rng.random((20, 3)) < 0.4
    factor, bias = calibrate(rng.normal(0, 1, truth.shape) - truth, truth.astype(float), exclusive=False)
    assert 0 < factor < 1 and np.isfinite(bias).all()
    parted, _ = calibrate(np.where(truth, 1.0, -1.0), truth.astype(float), exclusive=False)
    assert 1 < parted < 20, "nor is one sure of all, since these were parted"


def test_empty_texts_get_the_bias_alone_and_among_others(toy, fitted):
    nlp, docs, _ = toy
    model = layer(fitted)
    empty, space = nlp.make_doc(""), nlp.make_doc("   \n ")
    alone = linear_logits(model, [docs[0]])
    mixed = linear_logits(model, [empty, docs[0], space])
    assert mixed[1] == pytest.approx(alone[0], abs=1e-5)
    assert mixed[[0, 2]] == pytest.approx(np.tile(fitted.arrays["bias"], (2, 1)))
    assert linear_logits(model, []).shape == (0, 3)


def test_a_text_of_sixty_thousand_words_takes_seconds(toy, fitted):
    nlp, _, _ = toy
    long = spacy.tokens.Doc(nlp.vocab, words=[f"goal{i % 20_000}" for i in range(60_000)])
    start = time.process_time()
    assert np.isfinite(linear_logits(layer(fitted), [long])).all()
    assert time.process_time() - start < 10


@pytest.mark.parametrize(("word", "least"), [("Straßenbahn", 20), ("日本語", 6), ("a", 1), ("x" * 50_000, 29_990)])
def test_words_of_any_script_have_pieces(word, least):
    pieces, owners = split_pieces([word])
    assert least <= len(pieces) < 30_100 and not owners.any()


def test_threads_and_copies_predict_the_same(toy, fitted, monkeypatch):
    monkeypatch.setattr(components, "MAX_CACHED_WORDS", 50)  # so that the threads empty it for one another
    _, docs, _ = toy
    model = layer(fitted)
    expected = linear_logits(layer(fitted), docs)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: linear_logits(model, docs), range(12)))
    assert all(np.allclose(result, expected, atol=1e-5) for result in results)
    twin = copy.deepcopy(model)
    assert not twin.attrs["cache"].rows
    again = LinearScores()
    again.from_bytes(model.to_bytes())
    assert np.array_equal(linear_logits(again, docs), linear_logits(twin, docs))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((3, 2), "float32")}, "'weights' must be int8"),
        ({"bias": np.zeros(9, "float32")}, "must fit one another"),
        ({"keys": np.array([3, 1, 2], "uint32")}, "sorted and distinct"),
    ],
)
def test_wrong_arrays_are_refused(change, message):
    good = {
        "keys": np.array([1, 2, 3], "uint32"), "weights": np.zeros((3, 2), "int8"), "idf": np.ones(3, "uint8"),
        "scales": np.ones((2, 2), "float32"), "bias": np.zeros(2, "float32"),
    }  # fmt: skip
    set_linear(LinearScores(), good)
    with pytest.raises(ValueError, match=message):
        set_linear(LinearScores(), good | change)


def test_without_a_model_the_mend_is_named():
    with pytest.raises(ValueError, match=r"Fit it \(scripts.linear.fit_linear\)"):
        LinearScores().initialize()


def test_a_dev_set_is_large_where_cross_validation_on_both_knows_as_much_as_train():
    assert is_large(25, 100, 2) and not is_large(24, 100, 2)
    assert is_large(8000, 16_000, 2) and not is_large(7999, 16_000, 2), "of many texts there are three folds"


def test_the_step_and_the_variant(toy_assets, run, tmp_path, make_variant):
    assert run("convert", "toy", "corpus").returncode == 0
    output = run("fit_linear", "corpus/train.spacy", "corpus/dev.spacy", "linear.npz").output
    assert f"in cross-validation on {len(LABELS) * 16} texts" in output
    make_variant("own", "linear", values={"paths.linear": "linear.npz"})
    assert run("train", "own").returncode == 0
    nlp = spacy.load(tmp_path / "training" / "own" / "model-best")
    cats = nlp("The coach praised the striker and the team").cats
    assert max(cats, key=cats.get) == "sport" and sum(cats.values()) == pytest.approx(1)
    # What is shipped knows dev; the scores on dev are those of the model that did not.
    known = np.load(tmp_path / "linear.npz")
    used = nlp.get_pipe("textcat").model.get_ref("scores").get_param("keys")
    assert used.tolist() == known["final_keys"].tolist() != known["keys"].tolist()
    set_linear(nlp.get_pipe("textcat").model.get_ref("scores"), {name: known[name] for name in LINEAR_PARAMS})
    facts = srsly.read_json(tmp_path / "training" / "own" / "train.json")
    assert facts["dev"] == score_dev(nlp, tmp_path / "corpus" / "dev.spacy")
    assert "no texts there" in run("fit_linear", "none.spacy", "corpus/dev.spacy", "x.npz").output
