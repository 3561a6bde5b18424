"""What the playground says is what the pipelines say, and bad texts and files get a message."""

import json
import os

import pytest
import spacy
import srsly
from spacy.training import Example

from scripts import answers
from scripts.answers import Answer, classify, find_variants, group_answers, label_rows, leave_one_out, read_upload
from scripts.common import UserError

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
    variants, missing = find_variants(tmp_path / "training", tmp_path / "project.yml")
    assert [variant.name for variant in variants] == ["b", "a", "mine"] and missing == ["absent"]
    assert variants[0].megabytes == 1.0
    os.utime(variants[0].path / "meta.json", ns=(1, 1))
    assert find_variants(tmp_path / "training", tmp_path / "project.yml")[0][0] != variants[0]
    assert [v.name for v in find_variants(tmp_path / "training", tmp_path / "none.yml")[0]] == ["a", "b", "mine"]


def test_classify(nlp):
    answer = classify(nlp, "a goal in the match")
    assert answer.label == "sport" and answer.milliseconds > 0
    assert answer.cats == dict(nlp("a goal in the match").cats)


def test_words_do_not_stay_in_memory(nlp):
    before = len(nlp.vocab.strings)
    classify(nlp, "neverseenbefore1 neverseenbefore2")
    leave_one_out(nlp, "neverseenbefore3 neverseenbefore4", "sport")
    list(label_rows(nlp, [{"text": "neverseenbefore5"}]))
    assert len(nlp.vocab.strings) == before


def test_several_labels_and_none(tmp_path):
    nlp = train_pipeline(tmp_path / "model", factory="textcat_multilabel")
    assert classify(nlp, "goal in the match").labels == ("sport",)
    nlp.get_pipe("textcat").cfg["threshold"] = 0.999
    assert classify(nlp, "goal").label == "none"
    (row,) = label_rows(nlp, [{"text": "goal"}])
    assert row["predicted"] == "" and 0 < row["probability"] < 0.999


def test_left_out_words(nlp):
    text = "Goal,  in the bank !"
    pieces = leave_one_out(nlp, text, "money")
    assert "".join(piece for piece, _ in pieces) == text
    change = {piece.strip(): change for piece, change in pieces}
    assert change["bank"] > 0.02 > change["the"] and change["Goal"] < 0.02
    assert change["!"] == change[","] == 0
    without = nlp("Goal,  in the  !").cats["money"]
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
    with pytest.raises(UserError, match="broken: cannot be loaded"):
        answers.load_pipeline(tmp_path / "broken")
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(UserError, match="blank: has no component 'textcat'"):
        answers.load_pipeline(tmp_path / "blank")
    assert answers.load_pipeline(model[1]).pipe_names == ["textcat"]


def test_label_a_csv_file(nlp):
    data = '\ufeffid,text\n7,"goal, in the\nmatch"\n8,\n9,bank profit\n'.encode()
    rows = list(label_rows(nlp, read_upload("a.csv", data)))
    assert [(row["id"], row["predicted"]) for row in rows] == [("7", "sport"), ("8", ""), ("9", "money")]
    written = answers.write_rows("a.csv", rows)
    assert written.startswith(b"id,text,predicted,probability\r\n") and b'"goal, in the\nmatch"' in written
    assert [row["text"] for row in read_upload("b.csv", written)] == ["goal, in the\nmatch", "", "bank profit"]


def test_label_a_jsonl_file_of_more_than_a_batch(nlp):
    data = "".join(json.dumps({"id": i, "text": ("goal \u2028 match", "bank")[i % 2]}) + "\n\n" for i in range(300))
    rows = list(label_rows(nlp, read_upload("a.JSONL", data.encode())))
    assert [row["id"] for row in rows] == list(range(300))
    assert {(row["id"] % 2, row["predicted"]) for row in rows} == {(0, "sport"), (1, "money")}
    assert [json.loads(line) for line in answers.write_rows("a.jsonl", rows).splitlines()] == rows


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.xlsx", b"PK", "expected .csv or .jsonl"),
        ("a.csv", b"text\n" + b"x" * 11_000_000, "11.0 MB; at most 10 MB"),
        ("a.csv", b"text\n\xff\xfe", r"not UTF-8 text \(byte 5\)"),
        ("a.csv", b"title\nx\n", "line 2: no `text`"),
        ("a.csv", b"text\na,b\n", "line 2: more cells"),
        ("a.csv", b'text\n"a"b\n', "broken CSV"),
        ("a.csv", b"text\n" + b"x" * 200_000, "after line 1: broken CSV .field larger"),
        ("a.csv", b"text\n" + b"x" * 30_000, "line 2: a text of more than 20,000 characters"),
        ("a.csv", b"", "holds no texts"),
        ("a.csv", b"text\n" + b"x\n" * 20_001, "more than 20,000 texts"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2: broken JSON"),
        ("a.jsonl", b"[" * 100_000, "line 1: broken JSON"),
        ("a.jsonl", b'{"text": 1}', "line 1: no `text`"),
        ("a.jsonl", b"[1]", "line 1: no `text`"),
        ("a.jsonl", b"\n\n", "holds no texts"),
    ],
)
def test_files_that_are_refused(name, data, expected):
    with pytest.raises(UserError, match=expected):
        read_upload(name, data)
