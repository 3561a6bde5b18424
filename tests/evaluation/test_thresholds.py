"""The threshold of multi-label pipelines is the best on dev, and spaCy uses it."""

import json

import numpy as np
import pytest
import spacy
import srsly
from sklearn.metrics import f1_score
from spacy.tokens import DocBin

from scripts.evaluation.scores import score, score_dev, threshold_scores
from scripts.evaluation.thresholds import (
    CANDIDATES,
    best_adjustment,
    best_threshold,
    label_thresholds,
    macro_f1,
    tune_threshold,
)

BOW = {
    "@architectures": "spacy.TextCatBOW.v3",
    "exclusive_classes": False,
    "ngram_size": 1,
    "no_output_layer": False,
    "length": 256,
}


def test_best_threshold_is_the_best_and_in_the_middle():
    gold = np.array([[1], [1], [0], [0]], dtype=bool)
    # All from 0.2 to 0.41 are right, and half of the best F1 is 0.5: the upper end of the middle half.
    assert best_threshold(gold, np.array([[0.9], [0.41], [0.19], [0.1]])) == pytest.approx(0.36, abs=0.011)
    assert best_threshold(gold, np.array([[0.99], [0.98], [0.03], [0.01]])) == pytest.approx(0.5, abs=0.011)
    rng = np.random.default_rng(0)
    gold = rng.random((80, 4)) < 0.3
    scores = np.clip(gold * 0.2 + rng.random((80, 4)) * 0.6, 0, 1)
    best = max(f1_score(gold, scores >= t, average="macro", zero_division=0) for t in CANDIDATES)
    assert macro_f1(gold, scores >= best_threshold(gold, scores)) >= best - 0.02


def test_where_many_thresholds_are_as_good_the_likely_one_is_taken():
    """Probabilities that are true, and few positives: the best threshold in expectation is half of its F1."""
    rng = np.random.default_rng(0)
    chosen, expected = [], []
    for _ in range(20):
        scores = rng.beta(0.5, 2, (200, 3))
        gold = rng.random(scores.shape) < scores
        chosen.append(best_threshold(gold, scores))
        expected.append(max(macro_f1(gold, scores >= t) for t in CANDIDATES) / 2)
    assert np.abs(np.array(chosen) - expected).mean() < 0.06


def test_each_label_has_its_own_threshold():
    gold = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.3, 0.6], [0.8, 0.1, 0.7], [0.6, 0.3, 0.8], [0.5, 0.1, 0.9]])
    low, high, absent = (label_thresholds(gold, scores)[i] for i in (1, 0, 2))
    assert 0.1 < low <= 0.3 and 0.6 < high <= 0.8 and absent == 0.5
    assert (scores >= np.array(label_thresholds(gold, scores)))[:, :2].tolist() == gold[:, :2].tolist()


@pytest.fixture
def stored(tmp_path):
    """An untrained multi-label pipeline whose scores are all near 0.5, and a dev set in which `a` is in every text."""
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("textcat_multilabel", name="textcat", config={"model": BOW})
    for label in ("a", "b"):
        pipe.add_label(label)
    nlp.initialize()
    nlp.to_disk(tmp_path / "model")
    docs = DocBin()
    for i in range(12):
        doc = nlp.make_doc(f"text number {i}")
        doc.cats = {"a": 1.0, "b": float(i % 4 == 0)}
        docs.add(doc)
    docs.to_disk(tmp_path / "dev.spacy")
    return tmp_path


def test_spacy_scores_with_the_tuned_threshold(stored):
    cfg = stored / "model" / "textcat" / "cfg"
    cfg.write_text(json.dumps(srsly.read_json(cfg) | {"threshold": 0.99}))
    before, _ = score(spacy.load(stored / "model"), stored / "dev.spacy")
    threshold = tune_threshold(stored / "model", stored / "dev.spacy")
    nlp = spacy.load(stored / "model")
    after, predictions = score(nlp, stored / "dev.spacy")
    assert nlp.get_pipe("textcat").cfg["threshold"] == threshold < 0.6
    assert before["micro_f1"] == 0 and after["per_label"]["a"]["f"] == 1.0
    each = score_dev(nlp, stored / "dev.spacy")["thresholds"]
    thresholds = threshold_scores(nlp, each, predictions)
    assert thresholds["all_labels"] == threshold and set(thresholds["per_label"]) == {"a", "b"}
    assert thresholds["macro_f1_with_per_label"] >= after["macro_f1"]


def test_labels_that_exclude_each_other_need_none(stored):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("textcat", config={"model": BOW | {"exclusive_classes": True}})
    for label in ("a", "b"):
        pipe.add_label(label)
    nlp.initialize()
    nlp.to_disk(stored / "single")
    before = (stored / "single" / "textcat" / "cfg").read_bytes()
    assert tune_threshold(stored / "single", stored / "dev.spacy") is None
    assert (stored / "single" / "textcat" / "cfg").read_bytes() == before


def imbalanced(shares, seed=0, n=3000):
    """Gold labels of such shares, and the logits of a classifier that is right about its uncertainty."""
    rng = np.random.default_rng(seed)
    gold = np.eye(len(shares), dtype=bool)[rng.choice(len(shares), n, p=shares)]
    evidence = np.where(gold, 1.0, 0.0) * 1.5 + rng.normal(0, 1, gold.shape)
    return gold, 1.5 * evidence + np.log(shares), np.log(shares)


def test_rare_labels_are_favoured_as_far_as_macro_f1_gains():
    gold, logits, prior = imbalanced([0.9, 0.06, 0.04])
    found = best_adjustment(gold, logits, prior)
    assert 0.2 <= found <= 0.8

    def rate(logits, gold):
        return macro_f1(gold, np.eye(3, dtype=bool)[logits.argmax(axis=1)])

    other, fresh, _ = imbalanced([0.9, 0.06, 0.04], seed=1)
    assert rate(fresh - found * prior, other) > rate(fresh, other) + 0.01


def test_labels_as_frequent_as_one_another_are_left_alone():
    assert best_adjustment(*imbalanced([0.34, 0.33, 0.33])) == 0
