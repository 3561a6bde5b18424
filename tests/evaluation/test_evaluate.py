"""Figures are right: compared with scikit-learn and with cases worked out by hand."""

import subprocess
import sys

import numpy as np
import pytest
import spacy
import srsly
from sklearn.metrics import f1_score
from spacy.training import Example

from scripts.evaluation.evaluate import torch_models
from scripts.evaluation.measure import measure_speed
from scripts.evaluation.scores import (
    calibration,
    macro_f1_interval,
    pack_answers,
    score_examples,
    unpack_answers,
)
from scripts.evaluation.thresholds import given_labels, macro_f1
from tests.conftest import ROOT, finish, message


def one_hot(classes, n_labels):
    return np.eye(n_labels, dtype=bool)[np.asarray(classes)]


def test_labels_that_do_not_occur_do_not_count():
    """As in the interval, the baseline and the paired tests. And a single text has an interval."""
    labels, nlp = list("abcd"), spacy.blank("en")
    examples = []
    for gold in "aab":
        example = Example(nlp.make_doc("x"), nlp.make_doc("x"))
        example.predicted.cats = example.reference.cats = {label: float(label == gold) for label in labels}
        examples.append(example)
    scores, _ = score_examples(examples, labels, True, 0.5)
    assert scores["macro_f1"] == 1.0 and scores["macro_f1_ci"] == [1.0, 1.0]
    assert score_examples(examples[:1], labels, True, 0.5)[0]["macro_f1_ci"] == [1.0, 1.0]


def test_macro_f1_equals_scikit_learn():
    rng = np.random.default_rng(0)
    gold, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    expected = f1_score(gold, predicted, average="macro")
    assert macro_f1(one_hot(gold, 4), one_hot(predicted, 4)) == pytest.approx(expected)
    several = rng.random((2, 50, 6)) < 0.3
    assert macro_f1(*several) == pytest.approx(f1_score(*several, average="macro"))


def test_macro_f1_leaves_out_labels_that_never_occur():
    assert macro_f1(one_hot([0, 1], 3), one_hot([0, 1], 3)) == 1.0


def test_answers_are_kept_without_the_texts():
    """In the order of the labels' names, whatever their order in the pipeline: it must be the same for all."""
    gold = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=bool)
    given = np.array([[0, 0, 1], [1, 1, 1], [0, 1, 0]], dtype=bool)
    answers = pack_answers(["one", "two", "three"], ["c", "a", "b"], gold, given)
    assert answers["labels"] == ["a", "b", "c"]
    assert (answers["gold"], answers["given"]) == ("2 0,2 -", "1 0,1,2 0")
    assert "one" not in str(answers)
    assert pack_answers(["one", "two", "thre"], ["c", "a", "b"], gold, given)["texts_md5"] != answers["texts_md5"]
    for found, expected in zip(unpack_answers(answers), (gold, given), strict=True):
        assert (found == expected[:, [1, 2, 0]]).all()
    with pytest.raises(ValueError, match="3 documents with labels, 2 with answers"):
        unpack_answers(answers | {"given": "1 0"})


def test_interval_holds_the_score_and_shrinks_with_more_documents():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, 400)
    predicted = np.where(rng.random(400) < 0.8, gold, rng.integers(0, 3, 400))
    widths = []
    for n in (100, 400):
        low, high = macro_f1_interval(one_hot(gold[:n], 3), one_hot(predicted[:n], 3))
        assert low < macro_f1(one_hot(gold[:n], 3), one_hot(predicted[:n], 3)) < high
        widths.append(high - low)
    assert widths[1] < widths[0]
    again = macro_f1_interval(one_hot(gold, 3), one_hot(predicted, 3))
    assert again == macro_f1_interval(one_hot(gold, 3), one_hot(predicted, 3))


def test_calibration_error():
    error, diagram = calibration(np.array([0.9] * 10 + [0.6] * 10), np.array([True] * 9 + [False] + [True] * 10))
    assert error == pytest.approx(0.5 * 0.0 + 0.5 * 0.4)
    assert [(bin_["count"], bin_["accuracy"]) for bin_ in diagram] == [(10, 1.0), (10, 0.9)]
    assert calibration(np.array([1.0]), np.array([True]))[0] == 0


def test_the_best_label_is_given_or_those_from_the_threshold_on():
    scores = np.array([[0.6, 0.4], [0.55, 0.7]])
    assert given_labels(scores, None).tolist() == [[True, False], [False, True]]
    assert given_labels(scores, 0.5).tolist() == [[True, False], [True, True]]


@pytest.fixture(scope="module")
def pipeline():
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "textcat",
        config={
            "model": {
                "@architectures": "spacy.TextCatBOW.v3",
                "length": 64,
                "exclusive_classes": True,
                "ngram_size": 1,
                "no_output_layer": False,
            }
        },
    )
    texts = {"a": "goal match", "b": "bank share"}
    examples = [
        Example.from_dict(nlp.make_doc(text), {"cats": {name: float(name == label) for name in texts}})
        for label, text in texts.items()
    ]
    nlp.initialize(lambda: examples)
    return nlp


def test_speed_figures_are_consistent(pipeline):
    speed = measure_speed(pipeline, ["goal match", "bank"], repeats=2)
    low, high = speed["docs_per_s_spread"]
    assert 0 < low <= speed["docs_per_s"] <= high
    assert speed["words_per_s"] == pytest.approx(1.5 * speed["docs_per_s"], rel=1e-3)
    assert speed["tokenizer_docs_per_s"] > speed["docs_per_s"]
    assert 0 < speed["latency_ms_p50"] <= speed["latency_ms_p95"]


def test_peak_memory_is_that_of_the_process():
    code = "from scripts.machines.machine import peak_rss_bytes as p; b = p(); x = b'x' * 10**8; print(p() - b, p())"
    ballast = b"x" * 10**9  # the parent's memory must not count
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    grown, peak = map(int, process.stdout.split())
    assert 0.9e8 < grown < 1.1e8
    assert peak < len(ballast)


def test_pipeline_without_torch(pipeline):
    assert torch_models(pipeline) == []


def test_missing_model_is_named(run):
    assert "model-best: no trained pipeline" in message(run("evaluate", "none", "metrics"))


def test_missing_task_is_named(run, tmp_path):
    (tmp_path / "training" / "run" / "model-best").mkdir(parents=True)
    srsly.write_json(tmp_path / "training" / "run" / "model-best" / "meta.json", {})
    finish(tmp_path / "training" / "run")
    assert "task.json: cannot be read" in message(run("evaluate", "run", "metrics"))
