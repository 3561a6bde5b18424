"""Texts in, labels out: every form of input, streaming, and the same answer from several processes."""

import csv
import gzip
import itertools
import json

import pytest
import spacy
import srsly

from scripts.classify import answer, input_records, pipe
from tests.conftest import message
from tests.test_threshold import BOW


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """An untrained pipeline of each kind: folders `single` and `multi`."""
    folder = tmp_path_factory.mktemp("models")
    for name, factory in (("single", "textcat"), ("multi", "textcat_multilabel")):
        nlp = spacy.blank("en")
        model = BOW | {"exclusive_classes": name == "single"}
        pipe = nlp.add_pipe(factory, name="textcat", config={"model": model})
        for label in ("a", "b"):
            pipe.add_label(label)
        nlp.initialize()
        nlp.to_disk(folder / name)
    spacy.blank("en").to_disk(folder / "blank")
    return folder


TEXTS = ["The goal, and match", 'a "quoted" bank', "", "Zwölf"]
INPUTS = {
    "texts.txt": "\n".join(TEXTS).encode(),
    "texts.txt.gz": gzip.compress("\r\n".join(TEXTS).encode()),
    "texts.jsonl": "\n".join(json.dumps({"text": text, "id": i}) for i, text in enumerate(TEXTS)).encode(),
    "texts.csv": ("id,text\n" + "\n".join('1,"{}"'.format(text.replace('"', '""')) for text in TEXTS)).encode(),
    "texts.tsv": b"\xef\xbb\xbf" + ("text\tid\n" + "\n".join(f"{text}\t1" for text in TEXTS)).replace('"', "").encode(),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs(tmp_path, run, models, name):
    (tmp_path / name).write_bytes(INPUTS[name])
    process = run("classify", models / "single", name, "out/labelled.jsonl")
    assert process.returncode == 0 and "4 texts labelled" in process.output
    records = list(srsly.read_jsonl(tmp_path / "out" / "labelled.jsonl"))
    assert [r["text"].replace('"', "") for r in records] == [text.replace('"', "") for text in TEXTS]
    assert [r["label"] for r in records][2] is None and records[2]["cats"] == {}
    for record in (records[0], records[1], records[3]):
        assert record["cats"][record["label"]] == max(record["cats"].values())
        assert sum(record["cats"].values()) == pytest.approx(1, abs=1e-3)


def test_table_out_and_several_labels(tmp_path, run, models):
    (tmp_path / "in.jsonl").write_bytes(INPUTS["texts.jsonl"])
    assert run("classify", models / "multi", "in.jsonl", "out.csv").returncode == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8", newline="")))
    assert list(rows[0]) == ["text", "id", "labels", "score a", "score b"]
    assert [row["text"] for row in rows] == TEXTS
    for row in rows:
        expected = [label for label in "ab" if row[f"score {label}"] and float(row[f"score {label}"]) >= 0.5]
        assert row["labels"] == "|".join(expected)


def test_answers():
    assert answer({"a": 0.2, "b": 0.8}, None) == {"label": "b", "cats": {"a": 0.2, "b": 0.8}}
    assert answer({"a": 0.2, "b": 0.8}, 0.1)["labels"] == ["a", "b"]
    assert answer({}, None) == {"label": None, "cats": {}}


def test_streams_an_endless_input(models):
    endless = (({"text": f"text {i}"}, "x") for i in itertools.count())
    labelled = pipe(spacy.load(models / "single"), endless, "auto", 1)
    assert [record["text"] for record in itertools.islice(labelled, 3)] == ["text 0", "text 1", "text 2"]


def test_a_plain_text_may_hold_commas(tmp_path):
    (tmp_path / "in.txt").write_text("one, two\nthree\n", encoding="utf-8")
    assert [record for record, _ in input_records(tmp_path / "in.txt")] == [{"text": "one, two"}, {"text": "three"}]


@pytest.mark.slow
def test_several_processes_give_the_same(tmp_path, run, models):
    (tmp_path / "in.txt").write_text("\n".join(f"text {i} of many" for i in range(300)), encoding="utf-8")
    for n in (1, 2):
        assert run("classify", models / "single", "in.txt", f"{n}.jsonl", "--n-process", n).returncode == 0
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()


def test_mistakes_are_named(tmp_path, run, models):
    (tmp_path / "in.txt").write_text("text\n", encoding="utf-8")
    (tmp_path / "in.jsonl").write_text('{"text": "fine"}\n{"txt": "x"}\n', encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": \n', encoding="utf-8")
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    cases = {
        (models / "single", "in.txt", "out.xml"): "must end in .jsonl, .csv, .tsv or .parquet",
        (models / "none", "in.txt", "out.csv"): "no pipeline that can be loaded",
        (models / "blank", "in.txt", "out.csv"): "has no text classifier",
        (models / "single", "none.txt", "out.csv"): "none.txt: no such file",
        (models / "single", "empty.txt", "out.csv"): "there is no text in it",
        (models / "single", "in.jsonl", "out.csv"): "in.jsonl, line 2: `text` is missing or not text",
        (models / "single", "bad.jsonl", "out.csv"): "bad.jsonl, line 2: broken JSON",
        (models / "single", "in.txt", "out.csv", "--text-column", "body"): "no column 'body'",
    }
    for arguments, expected in cases.items():
        assert expected in message(run("classify", *arguments))
        assert not (tmp_path / "out.csv").exists()
