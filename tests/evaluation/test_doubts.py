"""What says that a variant has not learned; and measures for tasks where accuracy tells little."""

import numpy as np
import pytest
import spacy
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from spacy.tokens import DocBin
from spacy.training import Example

from scripts.evaluation.evaluate import find_doubts
from scripts.evaluation.scores import (
    baselines,
    constant_f1,
    even_documents,
    guessing,
    macro_average_precision,
    majority_baseline,
    pack_answers,
    score_examples,
)


def metrics(**changes):
    found = {
        "variant": "compact", "scores": {"macro_f1": 0.8}, "dev": {"macro_f1": 0.8, "even_documents": 1000},
        "train": {"judgement": "Converged: all is well"}, "baseline": {"majority": {"macro_f1": 0.2}},
    }  # fmt: skip
    return found | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"dev": {"macro_f1": 0.7, "even_documents": 1000}}, ["compact scores 0.700 on dev, `linear` 0.790"]),
        ({"scores": {"macro_f1": 0.8, "thresholds": {"all_labels": 0.04}}}, ["from a score of 0.04 on"]),
        ({"dev": {"macro_f1": 0.77, "even_documents": 100}}, []),  # may be chance
        ({"scores": {"macro_f1": 0.71}}, ["compact scores 0.710 on test, `linear` 0.730"]),
        (
            {"scores": {"macro_f1": 0.71}, "dev": {"macro_f1": 0.7, "even_documents": 1000}},
            ["compact scores 0.700 on dev, `linear` 0.790, and 0.710 on test, `linear` 0.730"],
        ),
        ({"scores": {"macro_f1": 0.2}}, ["has learned nothing", "compact scores 0.200 on test"]),
        ({"train": {"judgement": "Not converged: …"}}, ["Not converged"]),
        ({"variant": "linear", "dev": {"macro_f1": 0.1}}, []),
    ],
)
def test_doubts_are_said(changes, said):
    doubts = find_doubts(metrics(**changes), {"dev": {"macro_f1": 0.79}, "scores": {"macro_f1": 0.73}})
    assert len(doubts) == len(said) and all(part in doubt for part, doubt in zip(said, doubts, strict=True))


def test_guesses_are_told_by_the_area_under_the_curve():
    rng = np.random.default_rng(0)
    gold = rng.random((200, 3)) < [0.5, 0.2, 0.1]
    areas = np.mean([[roc_auc_score(gold[:, i], rng.random(200)) for i in range(3)] for _ in range(400)], axis=1)
    assert np.mean(areas < guessing(gold)) == pytest.approx(0.95, abs=0.03)
    answers = pack_answers([str(i) for i in range(200)], ["a", "b", "c"], gold, gold)
    scores = {"macro_f1": 0.5, "thresholds": {"all_labels": 0.3}, "answers": answers}
    for area, said in ((0.5, ["may be that of guessing"]), (0.7, [])):
        doubts = find_doubts(metrics(scores=scores | {"macro_auc": area}), None)
        assert len(doubts) == len(said) and all(part in doubts[0] for part in said)


def answered(right, texts=100, labels=2, seed=0):
    """Scores of a variant that knows the label of a share of the texts, and guesses the others."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(labels, size=texts)
    given = np.where(rng.random(texts) < right, gold, rng.integers(labels, size=texts))
    one_hot = np.eye(labels, dtype=bool)
    answers = pack_answers([str(i) for i in range(texts)], ["a", "b", "c"][:labels], one_hot[gold], one_hot[given])
    return {"macro_f1": f1_score(gold, given, average="macro"), "answers": answers, "documents": texts}


def test_guesses_among_labels_that_exclude_each_other_are_told_by_shuffling():
    said = [find_doubts(metrics(scores=answered(0, seed=seed)), None) for seed in range(100)]
    found = [doubts for doubts in said if doubts]
    assert len(found) >= 88, "one in twenty guesses better than 95 % of all"
    assert all("learned nothing that can be seen: its macro-F1 on test" in doubt for (doubt,) in found)
    assert not any(find_doubts(metrics(scores=answered(0.6, seed=seed)), None) for seed in range(20))


@pytest.mark.parametrize(("texts", "said"), [(100, "that may be chance"), (10_000, "prefer `linear` here")])
def test_what_is_below_linear_by_chance_is_not_advised_against(texts, said):
    scores = answered(0.6, texts)
    linear = {"dev": {"macro_f1": 0.8}, "scores": {"macro_f1": scores["macro_f1"] + 0.02}}
    (doubt,) = find_doubts(metrics(scores=scores), linear)
    assert said in doubt


def test_a_low_threshold_is_right_where_labels_are_hard_to_tell():
    scores = {"macro_f1": 0.28, "thresholds": {"all_labels": 0.09}}
    assert not find_doubts(metrics(scores=scores), None)
    (doubt,) = find_doubts(metrics(scores=scores | {"macro_f1": 0.52}), None)
    assert "from a score of 0.09 on" in doubt


def test_a_label_that_no_text_of_test_has_is_not_held_against_a_variant():
    nlp = spacy.blank("en")
    rng = np.random.default_rng(0)
    examples, labels = [], ["a", "b", "c", "d"]
    for i in range(100):
        cats = {"a": float(i % 2), "b": float(i % 3 == 0), "c": 0.0, "d": 0.0}
        doc = nlp.make_doc(f"text {i}")
        doc.cats = {label: 0.4 * value + 0.6 * rng.random() for label, value in cats.items()}
        examples.append(Example.from_dict(doc, {"cats": cats}))
    scores, _ = score_examples(examples, labels, exclusive=False, threshold=0.5)
    assert scores["macro_auc"] < 0.5, "spaCy counts two of the four as 0"
    assert not find_doubts(metrics(scores=scores | {"macro_f1": 0.5, "thresholds": {"all_labels": 0.5}}), None)


def test_to_give_every_label_is_no_knowledge(tmp_path):
    nlp = spacy.blank("en")
    for split in ("train", "test"):
        docs = [nlp(f"text {i}") for i in range(10)]
        for i, doc in enumerate(docs):
            doc.cats = {"a": float(i < 5), "b": float(i > 5)}
        DocBin(docs=docs).to_disk(tmp_path / f"{split}.spacy")
    found = baselines(tmp_path, ["a", "b"], exclusive=False)
    assert found["every_label"]["macro_f1"] == pytest.approx((2 / 3 + 8 / 14) / 2) == constant_f1({"baseline": found})
    assert set(baselines(tmp_path, ["a", "b"], exclusive=True)) == {"majority"}


def test_rare_labels_tell_little():
    assert even_documents([50, 50]) == pytest.approx(100)
    assert even_documents([95, 5]) == pytest.approx(19)
    assert even_documents([7]) == pytest.approx(7)
    assert even_documents([95, 0]) == even_documents([95, 1])
    rng = np.random.default_rng(0)
    even, uneven = (np.repeat([0, 1], counts) for counts in ([95, 95], [950, 50]))  # of even_documents 190 both
    spread = []
    for gold in (even, uneven):
        wrong = rng.random((4000, len(gold))) < 0.1
        found = np.where(wrong, 1 - gold, gold)
        recall = [(found == gold)[:, gold == label].mean(axis=1) for label in (0, 1)]
        spread.append(np.mean(recall, axis=0).std())
    assert spread[1] == pytest.approx(spread[0], rel=0.05), "of the mean over the labels"


def test_average_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    gold, scores = rng.random((200, 4)) < 0.1, rng.random((200, 4)).round(1)  # many ties
    expected = np.mean([average_precision_score(gold[:, i], scores[:, i]) for i in range(4)])
    assert macro_average_precision(gold, scores) == pytest.approx(expected)
    assert macro_average_precision(gold[:, :0], scores[:, :0]) is None


def test_the_majority_of_a_binary_task_may_be_no(tmp_path):
    nlp = spacy.blank("en")
    for split in ("train", "test"):
        docs = [nlp(f"text {i}") for i in range(9)]
        for i, doc in enumerate(docs):
            doc.cats = {"SPAM": float(i % 3 == 0)}
        DocBin(docs=docs).to_disk(tmp_path / f"{split}.spacy")
    found = majority_baseline(tmp_path, ["SPAM"])
    assert found["label"] is None and found["accuracy"] == pytest.approx(2 / 3) and found["macro_f1"] == 0


def test_the_majority_of_several_labels_may_be_none(tmp_path):
    nlp = spacy.blank("en")
    for split in ("train", "test"):
        docs = [nlp(f"text {i}") for i in range(10)]
        for i, doc in enumerate(docs):
            doc.cats = {"a": float(i < 2), "b": float(i == 2), "c": float(i == 1)}
        DocBin(docs=docs).to_disk(tmp_path / f"{split}.spacy")
    found = majority_baseline(tmp_path, ["a", "b", "c"])
    assert found["label"] is None and found["accuracy"] == pytest.approx(0.7)
