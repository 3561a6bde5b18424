"""What people give `classify` to label: nothing of it is lost, nothing written over.

What is refused is in tests/faults/test_bad_input.py.
"""
# ruff: noqa: E501  (a row is a line)

import csv
import datetime
import json
from itertools import pairwise

import pytest
import srsly

from scripts.forms.records import import_pyarrow
from tests.conftest import message, snapshot
from tests.deploy.test_classify import models  # noqa: F401  a fixture
from tests.faults.contents import parquet, put


def docbin():
    import spacy
    from spacy.tokens import DocBin

    nlp = spacy.blank("en")
    return DocBin(docs=[nlp("A goal"), nlp("A bank")]).to_bytes()


def labelled(path):
    """The records of an output file."""
    if path.suffix == ".jsonl":
        return list(srsly.read_jsonl(path))
    if path.suffix == ".parquet":
        return import_pyarrow().parquet.read_table(path).to_pylist()
    delimiter = "\t" if path.suffix == ".tsv" else ","
    return list(csv.DictReader(path.open(encoding="utf-8", newline=""), delimiter=delimiter))


WHEN = datetime.datetime(2024, 2, 29, 12)
# name: (input file, its content, output, options, what the records hold besides labels)
KEPT = {
    "a JSON list": ("in.json", b'[{"text": "a"}, {"text": "b"}]', "out.jsonl", [], [{"text": "a"}, {"text": "b"}]),
    "a JSON list of texts": ("in.json", b'["a", "b"]', "out.csv", [], [{"text": "a"}, {"text": "b"}]),
    "a list in an object": ("in.json", b'{"data": [\n{"text": "a"}]}', "out.jsonl", ["--format", "json"], [{"text": "a"}]),
    "a DocBin": ("in.spacy", docbin(), "out.csv", [], [{"text": "A goal"}, {"text": "A bank"}]),
    "an export of Prodigy": ("in.jsonl", b'{"text": "a", "answer": "accept", "_task_hash": 1}', "out.jsonl", [], [{"text": "a", "answer": "accept", "_task_hash": 1}]),
    "plain text with commas": ("in.txt", b"Hello, world\nGood, bye\n", "out.csv", [], [{"text": "Hello, world"}, {"text": "Good, bye"}]),
    "plain text that looks like a table": ("in.txt", b"a,b\nc,d\n", "out.csv", ["--format", "text"], [{"text": "a,b"}, {"text": "c,d"}]),
    "plain text that looks like JSON": ("in.txt", b"[1] a note\n", "out.csv", ["--format", "text"], [{"text": "[1] a note"}]),
    "a known column in any file": ("in.txt", b"id,headline\n1,Goal\n", "out.csv", [], [{"id": "1", "headline": "Goal"}]),
    "a column by its name": ("in.txt", b"id,titel\n1,Goal\n", "out.csv", ["--text-column", "titel"], [{"id": "1", "titel": "Goal"}]),
    "a field that comes late, to CSV": ("in.jsonl", b'{"text": "a"}\n{"text": "b", "late": 1}', "out.csv", [], [{"text": "a", "late": ""}, {"text": "b", "late": "1"}]),
    "a field that comes late, to Parquet": ("in.jsonl", b'{"text": "a"}\n{"text": "b", "late": 1}', "out.parquet", [], [{"text": "a", "late": None}, {"text": "b", "late": 1}]),
    "numbers that become broken ones, to Parquet": ("in.jsonl", b'{"text": "a", "n": 1}\n{"text": "b", "n": 1.5}', "out.parquet", [], [{"text": "a", "n": 1.0}, {"text": "b", "n": 1.5}]),
    "a formula": ("in.jsonl", b'{"text": "=1+1", "id": "+1", "n": -1}', "out.csv", [], [{"text": "'=1+1", "id": "'+1", "n": "-1"}]),
    "a formula, to TSV": ("in.jsonl", b'{"text": "@SUM(A1)", "=x": "a"}', "out.tsv", [], [{"text": "'@SUM(A1)", "'=x": "a"}]),
    "a formula, raw": ("in.csv", b"text,n\n=1+1,-1\n", "out.csv", ["--formulas", "raw"], [{"text": "=1+1", "n": "-1"}]),
    "a formula, to JSON": ("in.csv", b"text,n\n=1+1,-1\n", "out.jsonl", [], [{"text": "=1+1", "n": "-1"}]),
    "nested values": ("in.jsonl", b'{"text": "a", "tags": ["x", {"y": null}], "ok": true}', "out.csv", [], [{"text": "a", "tags": '["x", {"y": null}]', "ok": "true"}]),
    "a NUL in JSON": ("in.jsonl", b'{"text": "a\\u0000b"}', "out.csv", [], [{"text": "a b"}]),
    "half a character": ("in.jsonl", b'{"text": "a\\ud800b"}', "out.csv", [], [{"text": "a b"}]),
    "half a character, to JSON": ("in.jsonl", b'{"text": "a\\ud800b"}', "out.jsonl", [], [{"text": "a\ud800b"}]),
    "half a character, to Parquet": ("in.jsonl", b'{"text": "a\\ud800b"}', "out.parquet", [], [{"text": "a b"}]),
    "a lone carriage return": ("in.jsonl", b'{"text": "a\\rb"}', "out.csv", [], [{"text": "a\rb"}]),
    "dates and bytes, to JSON": ("in.parquet", parquet([{"text": "a", "when": WHEN, "raw": b"\0"}]), "out.jsonl", [], [{"text": "a", "when": "2024-02-29T12:00:00", "raw": "AA=="}]),
    "dates, to CSV": ("in.parquet", parquet([{"text": "a", "when": WHEN}]), "out.csv", [], [{"text": "a", "when": "2024-02-29T12:00:00"}]),
    "what is no number, to JSON": ("in.jsonl", b'{"text": "a", "n": NaN}', "out.jsonl", [], [{"text": "a", "n": None}]),
    "UTF-32": ("in.txt", "Zwölf\n".encode("utf-32"), "out.jsonl", [], [{"text": "Zwölf"}]),
    "a text that is null": ("in.jsonl", b'{"text": null, "n": 1}', "out.jsonl", [], [{"text": None, "n": 1}]),
    "a text that is null, in Parquet": ("in.parquet", parquet([{"text": "a"}, {"text": None}]), "out.csv", [], [{"text": "a"}, {"text": ""}]),
    "labels that were given": ("in.jsonl", b'{"text": "a", "label": "x", "cats": {"x": 1}, "labels": []}', "out.jsonl", [], [{"text": "a", "given label": "x", "given cats": {"x": 1}, "labels": []}]),
    "labels that were given, to CSV": ("in.csv", b"label,text,score a,cats\nx,a,y,z\n", "out.csv", [], [{"given label": "x", "text": "a", "given score a": "y", "given cats": "z"}]),
    "labels that were given, to Parquet": ("in.parquet", parquet([{"label": 7, "text": "a"}]), "out.parquet", [], [{"given label": 7, "text": "a"}]),
    "labels that were given twice": ("in.csv", b"text,label,given label\na,x,y\n", "out.tsv", [], [{"text": "a", "given given label": "x", "given label": "y"}]),
    "an invisible text": ("in.jsonl", '{"text": "\u200b"}'.encode(), "out.jsonl", [], [{"text": "\u200b"}]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "output", "options", "expected"), KEPT.values(), ids=KEPT)
def test_labelled_with_all_that_was_there(run, tmp_path, models, name, content, output, options, expected):  # noqa: F811
    put(tmp_path / name, content)
    process = run("classify", models / "single", name, output, *options)
    assert process.returncode == 0, process.output
    added = {"label", "cats", "score a", "score b"}
    found = [{key: row[key] for key in row if key not in added} for row in labelled(tmp_path / output)]
    assert found == expected
    assert (tmp_path / name).read_bytes() == content
    if json.loads(json.dumps(expected)) == [{"text": "\u200b"}]:
        assert labelled(tmp_path / output)[0]["label"] is None


def test_what_was_written_can_be_labelled_again(run, tmp_path, models):  # noqa: F811
    texts = ["a\nb", 'a,"b"\t;|', "=1", " spaces ", "\u2028"]
    srsly.write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    files = ["in.jsonl", "1.csv", "2.tsv", "3.parquet", "4.jsonl"]
    for source, output in pairwise(files):
        assert run("classify", models / "single", source, output, "--formulas", "raw").returncode == 0
        assert [row["text"] for row in labelled(tmp_path / output)] == texts


def test_a_folder_cannot_be_labelled_into_itself(run, tmp_path, models):  # noqa: F811
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("text\na\n", encoding="utf-8")
    before = snapshot(tmp_path)
    assert "in: is the input" in message(run("classify", models / "single", "in", "in"))
    assert snapshot(tmp_path) == before


def test_labels_below_the_texts_are_not_labelled_again(run, tmp_path, models):  # noqa: F811
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a\n", encoding="utf-8")
    for done in (0, 1):
        process = run("classify", models / "single", "in/**/*", "in/labels")
        assert f"1 files, {done} labelled already" in process.output
