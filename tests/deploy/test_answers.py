"""What the playground says is what the pipelines say, and bad texts and files get a message."""

import csv
import json
import os

import pytest
import spacy
import srsly
from spacy.training import Example

from scripts.common.cli import UserError
from scripts.deploy import answers
from scripts.deploy.answers import Answer, ask, find_variants, group_answers, label_upload, leave_one_out
from scripts.deploy.labelling import load

TEXTS = {"sport": ["goal in the match", "the coach wins"], "money": ["shares of the bank", "the profit falls"]}


def train_pipeline(path, labels=TEXTS, factory="textcat"):
    """A linear model of a few words that it has learned by heart."""
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy.TextCatBOW.v3", "exclusive_classes": factory == "textcat", "length": 4096}
    nlp.add_pipe(factory, name="textcat", config={"model": model | {"ngram_size": 1, "no_output_layer": False}})
    examples = [
        Example.from_dict(nlp.make_doc(text), {"cats": {other: float(other == label) for other in labels}})
        for label, texts in labels.items()
        for text in texts
    ]
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.05
    for _ in range(10):
        nlp.update(examples, sgd=optimizer)
    path.parent.mkdir(parents=True, exist_ok=True)
    nlp.to_disk(path)
    return nlp


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "linear" / "model-best"
    return train_pipeline(path), path


@pytest.fixture
def nlp(model):
    return model[0]


def test_variants_are_found_in_the_project_s_order(tmp_path):
    commands = [{"name": f"{verb}-{name}"} for name in ("b", "absent", "a") for verb in ("train", "evaluate")]
    srsly.write_yaml(tmp_path / "project.yml", {"commands": [*commands, {"name": "train-curve"}]})
    for name in ("a", "b", "mine", "broken"):
        (tmp_path / "training" / name / "model-best").mkdir(parents=True)
    for name in ("a", "b", "mine"):
        (tmp_path / "training" / name / "model-best" / "meta.json").write_text("{}" * 500_000)
    variants, missing = find_variants(tmp_path / "training", tmp_path)
    assert [variant.name for variant in variants] == ["b", "a", "mine"] and missing == ["absent"]
    assert variants[0].megabytes == 1.0
    os.utime(variants[0].path / "meta.json", ns=(1, 1))
    assert find_variants(tmp_path / "training", tmp_path)[0][0] != variants[0]
    assert [v.name for v in find_variants(tmp_path / "training", tmp_path / "none")[0]] == ["a", "b", "mine"]


def test_ask(nlp):
    answer = ask(nlp, "a goal in the match")
    assert answer.label == "sport" and answer.milliseconds > 0
    assert answer.cats == dict(nlp("a goal in the match").cats)


def test_words_do_not_stay_in_memory(nlp):
    before = len(nlp.vocab.strings)
    ask(nlp, "neverseenbefore1 neverseenbefore2")
    leave_one_out(nlp, "neverseenbefore3 neverseenbefore4", "sport")
    label_upload(nlp, "a.csv", b"text\nneverseenbefore5")
    assert len(nlp.vocab.strings) == before


def test_several_labels_and_none(tmp_path):
    nlp = train_pipeline(tmp_path / "model", factory="textcat_multilabel")
    assert ask(nlp, "goal in the match").labels == ("sport",)
    nlp.get_pipe("textcat").cfg["threshold"] = 0.999
    assert ask(nlp, "goal").label == "none"
    labelled, (shown,) = label_upload(nlp, "a.jsonl", b'{"text": "goal"}')
    assert json.loads(labelled)["labels"] == [] and shown["label"] == "" and 0 < float(shown["score"]) < 0.999


def test_left_out_words(nlp):
    text = "Goal,  in the bank !"
    pieces = leave_one_out(nlp, text, "money")
    assert "".join(piece for piece, _ in pieces) == text
    change = {piece.strip(): change for piece, change in pieces}
    assert change["bank"] > 0.02 > change["the"] and change["Goal"] < 0.02
    assert change["!"] == change[","] == 0
    without = nlp("Goal,  in the !").cats["money"]
    assert change["bank"] == pytest.approx(nlp(text).cats["money"] - without, abs=1e-6)
    assert leave_one_out(nlp, "goal", "sport") == [("goal", 0.0)]
    assert len([change for _, change in leave_one_out(nlp, "bank " * 100, "money")]) >= 100


def test_what_most_say_comes_first():
    said = {name: Answer((label,), {label: 1.0}, 1.0) for name, label in (("a", "x"), ("b", "y"), ("c", "y"))}
    assert list(group_answers(said).items()) == [("y", ["b", "c"]), ("x", ["a"])]


def test_texts_that_are_refused():
    for text, expected in (("", "empty"), (" \n\t", "empty"), ("x" * 100_000, "100,000 characters; at most 20,000")):
        with pytest.raises(UserError, match=expected):
            answers.check_text(text)


def test_pipelines_that_are_refused(tmp_path, model):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "meta.json").write_text("{")
    with pytest.raises(UserError, match="broken: no pipeline that can be loaded"):
        load(str(tmp_path / "broken"), None)
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(UserError, match="blank: this pipeline has no text classifier"):
        load(str(tmp_path / "blank"), None)
    assert load(str(model[1]), None).pipe_names == ["textcat"]


def test_label_a_csv_file(nlp):
    labelled, shown = label_upload(nlp, "a.CSV", '\ufeffid,text\n7,"goal, in the match"\n8,\n9,bank profit\n'.encode())
    rows = list(csv.DictReader(labelled.decode().splitlines()))
    assert [(row["id"], row["text"], row["label"]) for row in rows] == [
        ("7", "goal, in the match", "sport"), ("8", "", ""), ("9", "bank profit", "money"),
    ]  # fmt: skip
    assert float(rows[0]["score sport"]) == pytest.approx(nlp("goal, in the match").cats["sport"], abs=1e-4)
    assert [(row["label"], row["score"] == "") for row in shown] == [("sport", False), ("", True), ("money", False)]


def test_label_a_jsonl_file_of_more_than_a_batch(nlp):
    data = "".join(json.dumps({"id": i, "text": ("goal \u2028 match", "bank")[i % 2]}) + "\n\n" for i in range(300))
    shares = []
    labelled, shown = label_upload(nlp, "a.jsonl", data.encode(), shares.append)
    rows = [json.loads(line) for line in labelled.decode().split("\n") if line]
    assert [row["id"] for row in rows] == list(range(300)) and len(shown) == 100
    assert {(row["id"] % 2, row["label"]) for row in rows} == {(0, "sport"), (1, "money")}
    assert shares[-1] == 1.0 and len(shares) == 3


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.xlsx", b"PK", "a.xlsx: expected a name that ends in .csv, .tsv, .jsonl"),
        ("a.csv", b"text\n" + b"x" * 11_000_000, "11.0 MB; at most 10 MB"),
        ("a.csv", b"text\n\xff\xfe\xfa", "^a.csv"),
        ("a.csv", b"text,b\na,b,c\n", "^a.csv, line 2"),
        ("a.csv", b"text\n" + b"x" * 30_000, "^a.csv, line 2: a text of more than 20,000 characters"),
        ("a.csv", b"", "^a.csv: there is no text in it"),
        ("a.csv", b"text\n" + b"x\n" * 20_001, "more than 20,000 texts"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "^a.jsonl, line 2"),
        ("a.jsonl", b'{"text": 1}', "^a.jsonl, line 1: `text` is not text"),
        ("a.jsonl", b"\n\n", "no text in it"),
    ],
)
def test_files_that_are_refused(nlp, name, data, expected):
    with pytest.raises(UserError, match=expected):
        label_upload(nlp, name, data)
