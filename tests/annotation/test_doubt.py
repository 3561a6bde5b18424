"""Labels that were made wrong come first, for a person to look at; nothing is changed."""

import numpy as np
import pytest
import srsly

from scripts.annotation.confident import confident_joint, doubts, expected_errors
from tests.conftest import DESKS, message, toy_records
from tests.data.test_annotated import read_splits

OTHER = {"film": "money", "money": "sport", "sport": "film"}


def run_doubt(run, *more):
    assert run("convert", "toy", "corpus").returncode == 0
    return run("doubt", "toy", "doubt.jsonl", "doubt.json", *more)


def tasks_in(tmp_path):
    return list(srsly.read_jsonl(tmp_path / "doubt.jsonl"))


@pytest.fixture
def planted(toy_assets, run, tmp_path):
    """Five wrong labels in train and dev: each text with its line and its true label."""
    assert run("convert", "toy", "corpus").returncode == 0
    splits = read_splits(tmp_path / "corpus")
    texts = [*list(splits["train"])[::12][:4], next(iter(splits["dev"]))]
    records = toy_records()
    found = {}
    for number, record in enumerate(records, 1):
        if record["text"] in texts:
            found[record["text"]] = (number, record["label"])
            record["label"] = OTHER[record["label"]]
    srsly.write_jsonl(toy_assets / "train.jsonl", records)
    # A wrong label may move a text to another split; those of the test set are not looked at.
    assert run("convert", "toy", "corpus").returncode == 0
    tested = read_splits(tmp_path / "corpus")["test"]
    return {text: value for text, value in found.items() if text not in tested}


def test_wrong_labels_come_first(planted, toy_assets, run, tmp_path):
    assert len(planted) >= 4
    before = (toy_assets / "train.jsonl").read_bytes()
    process = run_doubt(run)
    assert process.returncode == 0, process.output
    tasks = tasks_in(tmp_path)
    assert {task["text"] for task in tasks[: len(planted)]} == set(planted)
    for task in tasks[: len(planted)]:
        line, label = planted[task["text"]]
        assert task["accept"] == [task["meta"]["given"]] == [OTHER[label]], "the given label is filled in"
        assert task["meta"]["suggested"] == label and 0.5 < task["meta"]["score"] <= 1
        assert task["meta"]["source"].endswith(f"train.jsonl, line {line}")
        assert [option["id"] for option in task["options"]] == sorted(DESKS)
        assert task["config"] == {"choice_style": "single"} and "answer" not in task
    scores = [task["meta"]["score"] for task in tasks]
    assert scores == sorted(scores, reverse=True)
    assert (toy_assets / "train.jsonl").read_bytes() == before
    facts = srsly.read_json(tmp_path / "doubt.json")
    assert facts["contradicted"] == len(tasks) and len(planted) <= facts["expected_wrong"] <= len(planted) + 3
    assert (
        f"Only {len(tasks)} of the 100 texts wanted: the model contradicts the labels of no others." in process.output
    )


def test_answers_come_back_and_are_not_doubted_again(planted, toy_assets, run, tmp_path):
    assert run_doubt(run).returncode == 0
    splits = read_splits(tmp_path / "corpus")
    first, second = tasks_in(tmp_path)[:2]
    answers = [
        first | {"accept": [first["meta"]["suggested"]], "answer": "accept", "_task_hash": 1, "_input_hash": 1},
        second | {"answer": "accept", "_task_hash": 2, "_input_hash": 2},  # the annotator keeps the given label
    ]
    srsly.write_jsonl(toy_assets / "annotated.jsonl", answers)
    assert run_doubt(run).returncode == 0
    after = read_splits(tmp_path / "corpus")
    assert {split: set(texts) for split, texts in after.items()} == {s: set(texts) for s, texts in splits.items()}
    labels = after["train"] | after["dev"]
    assert labels[first["text"]] == (planted[first["text"]][1],)
    assert labels[second["text"]] == (second["meta"]["given"],)
    assert not {first["text"], second["text"]} & {task["text"] for task in tasks_in(tmp_path)}


@pytest.mark.parametrize("mode", ["binary", "multi"])
def test_other_modes(toy_assets, run, tmp_path, mode):
    records = [{"text": r["text"], "labels": [r["label"]]} for r in toy_records()]
    for number, record in enumerate(records):
        if mode == "binary":
            record["labels"] = ["film"] if record["labels"] == ["film"] else []
        elif number % 2:
            record["labels"].append("odd")
            record["text"] += " strange uneven curious"
    wrong = records[-3]
    wrong["labels"] = [] if mode == "binary" else ["odd", "sport"]
    srsly.write_jsonl(toy_assets / "train.jsonl", records)
    process = run_doubt(run)
    assert process.returncode == 0, process.output
    if wrong["text"] in read_splits(tmp_path / "corpus")["test"]:
        pytest.fail("choose another text")
    task = tasks_in(tmp_path)[0]
    assert task["text"] == wrong["text"] and sorted(task["accept"]) == wrong["labels"]
    assert task["config"] == {"choice_style": "multiple"} and "film" in task["meta"]["suggested"]
    # What Prodigy would make of it is read again, with no label, too.
    answers = [task | {"accept": [], "answer": "accept"}]
    srsly.write_jsonl(toy_assets / "annotated.jsonl", answers)
    assert run("convert", "toy", "corpus").returncode == 0
    splits = read_splits(tmp_path / "corpus")
    assert (splits["train"] | splits["dev"])[wrong["text"]] == ()


def test_fewer_are_given_if_fewer_are_wanted(planted, run, tmp_path):
    assert run_doubt(run, "--texts", 2).returncode == 0
    assert len(tasks_in(tmp_path)) == 2


def test_no_corpus(toy_assets, run):
    assert "corpus: no data set there. Make it with the command `convert`" in message(
        run("doubt", "toy", "doubt.jsonl", "doubt.json")
    )
    assert "nothing" in message(run("doubt", "nothing", "doubt.jsonl", "doubt.json"))


# The estimates


def test_doubt_is_the_log_of_how_much_likelier_another_label_is():
    P = np.array([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.0, 0.5, 0.5]])
    Y = np.eye(3)[[1, 0, 0]]
    found = doubts(P, Y, True)
    assert found[:2] == pytest.approx(np.log([1 / 8, 8])) and np.isfinite(found[2]) and found[2] > found[1]
    P = np.array([[0.9, 0.2], [0.9, 0.2], [0.9, 0.2]])
    found = doubts(P, np.array([[1, 0], [0, 0], [1, 1]]), False)
    assert found == pytest.approx(np.log([0.25, 9, 4]))


def test_confident_joint_by_hand():
    """Mean probability of each label among the texts given it: 0.6 and 0.6."""
    P = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.45, 0.55], [0.3, 0.7], [0.35, 0.65]])
    gold = np.array([0, 0, 0, 1, 1, 1])
    # Of label 0: two count for 0, one for 1; of label 1: two count for 1, the other for none.
    assert confident_joint(P, gold) == pytest.approx(np.array([[2, 1], [0, 3]]))
    assert expected_errors(P, np.eye(2)[gold], True) == 1


def test_the_number_of_wrong_labels_is_found_by_a_good_model():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 2000)
    P = np.eye(4)[truth] * 0.9 + 0.025
    given = np.where(rng.random(2000) < 0.1, (truth + 1) % 4, truth)
    assert expected_errors(P, np.eye(4)[given], True) == (given != truth).sum()
    assert expected_errors(P, np.eye(4)[truth], True) == 0
    flags = np.eye(4)[given]
    assert expected_errors(P, flags, False) == 2 * (given != truth).sum(), "one label too many, and one too few"


def test_a_label_without_texts():
    P = np.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2]])
    assert expected_errors(P, np.eye(3)[[0, 1]], True) == 0
