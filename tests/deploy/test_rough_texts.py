"""What people give `classify` to label: the wrong thing is never labelled, nothing of it is lost, nothing written over.

`REFUSED` and `KEPT` are the tables of it.
"""
# ruff: noqa: E501  (a row is a line)

import csv
import datetime
import gzip
import io
import json
import os
from itertools import pairwise

import pytest
import srsly

from scripts.forms.records import import_pyarrow
from tests.conftest import message, snapshot
from tests.deploy.test_classify import models  # noqa: F401  a fixture


def parquet(rows):
    pa = import_pyarrow()
    stream = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def docbin():
    import spacy
    from spacy.tokens import DocBin

    nlp = spacy.blank("en")
    return DocBin(docs=[nlp("A goal"), nlp("A bank")]).to_bytes()


LINK, PIPE, FOLDER = "link to itself", "pipe", "folder"  # in the place of a file's content

# name: (input file, its content, output, options, what the message says)
REFUSED = {
    "a table of unknown columns": ("in.csv", b"id,titel\n1,Goal\n2,Bank\n", "out.csv", [], "in.csv, line 2: no column with a known name of texts; there are 'id', 'titel'. Set text_column"),
    "a table of unknown columns, of another name": ("in.dat", b"id,titel\n1,Goal\n2,Bank\n", "out.csv", [], "there are 'id', 'titel'"),
    "a table with one unknown column": ("in.csv", b"titel\nGoal\nBank\n", "out.csv", [], "there are 'titel'"),
    "a table without a header": ("in.csv", b"1,Goal of the day\n2,Bank\n", "out.csv", [], "there are '1', 'Goal of the day'"),
    "an unknown column of tabs": ("in.tsv", b"id\ttitel\n1\tGoal\n", "out.csv", [], "there are 'id', 'titel'"),
    "objects of unknown keys": ("in.jsonl", b'{"id": 1, "titel": "Goal"}', "out.csv", [], "in.jsonl, line 1: no column with a known name of texts; there are 'id', 'titel'"),
    "an unknown column of Parquet": ("in.parquet", parquet([{"id": 1, "titel": "a"}]), "out.csv", [], "in.parquet, row 1: no column with a known name of texts; there are 'id', 'titel'"),
    "a named column that is not there": ("in.csv", b"id,titel\n1,Goal\n", "out.csv", ["--text-column", "body"], "no column 'body'; there are 'id', 'titel'"),
    "a column of plain text": ("in.txt", b"Goal of the day\n", "out.csv", ["--text-column", "body"], "in.txt, line 1: no column 'body'; this is plain text, 'Goal of the day'"),
    "a form that does not exist": ("in.txt", b"Goal\n", "out.csv", ["--format", "xml"], "format 'xml' is unknown. Choose auto, jsonl"),
    "plain text as JSON lines": ("in.txt", b"Goal\n", "out.csv", ["--format", "jsonl"], "in.txt, line 1: broken JSON"),
    "formulas of another kind": ("in.txt", b"Goal\n", "out.csv", ["--formulas", "maybe"], "formulas 'maybe' is unknown. Choose neutral or raw"),
    "a broken JSON list": ("in.json", b'[{"text": "a"},', "out.csv", [], "in.json: broken JSON"),
    "numbers in a JSON list": ("in.json", b"[1, 2]", "out.csv", [], "in.json, item 1: expected an object"),
    "a JSON list of lists": ("in.json", b'[["a"]]', "out.csv", [], "in.json, item 1: expected an object"),
    "JSON of 200,000 levels": ("in.jsonl", b'{"a":' * 200_000, "out.csv", [], "line 1: broken JSON (nested too deeply)"),
    "a JSON list of 200,000 levels": ("in.json", b"[" * 200_000, "out.csv", [], "in.json: broken JSON (nested too deeply)"),
    "a text that is a number": ("in.jsonl", b'{"text": 7}', "out.csv", [], "line 1: `text` is missing or not text, found 7"),
    "a text that is null": ("in.jsonl", b'{"text": null}', "out.csv", [], "line 1: `text` is missing or not text, found None"),
    "a later line without a text": ("in.jsonl", b'{"text": "a"}\n{"id": 1}', "out.csv", [], "line 2: no column with a known name"),
    "a later line that is no object": ("in.jsonl", b'{"text": "a"}\n[1]', "out.csv", [], "line 2: expected an object"),
    "a text of 10 MB": ("in.txt", b"word " * 2_000_001, "out.csv", [], "line 1: a text of 10,000,005 characters; at most 1,000,000 are possible"),
    "too many fields": ("in.csv", b"id,text\n1,a\n2,b,c\n", "out.csv", [], "line 3: the number of fields differs"),
    "an open quote": ("in.csv", b'id,text\n1,"a\n2,b\n', "out.csv", [], "broken CSV"),
    "two columns of one name": ("in.csv", b"text,text\na,b\n", "out.csv", [], "more than one column is named 'text'"),
    "a NUL byte": ("in.txt", b"a\0b\n", "out.csv", [], "line 1: a NUL byte"),
    "Windows-1252": ("in.txt", b"caf\xe9\n", "out.csv", [], "line 1: byte 0xe9 is not UTF-8"),
    "UTF-16 without a mark": ("in.txt", "Goal\n".encode("utf-16-le"), "out.csv", [], "line 1: a NUL byte"),
    "UTF-16 that is cut": ("in.txt", "Goal".encode("utf-16")[:-1], "out.csv", [], "marked as UTF-16 but broken"),
    "a workbook": ("in.xlsx", b"PK\x03\x04rest", "out.csv", [], "a workbook such as .xlsx. Unpack it"),
    "Parquet cut off": ("in.parquet", parquet([{"text": "a"}])[:-9], "out.csv", [], "broken Parquet or Arrow file"),
    "gzip cut off": ("in.txt.gz", gzip.compress(b"Goal of the day" * 99)[:-9], "out.csv", [], "broken gzip file"),
    "a gzip bomb": ("in.txt.gz", gzip.compress(b"x" * 3_000_000, 9), "out.csv", [], "unpacks to more than 2 MB"),
    "a broken DocBin": ("in.spacy", b"\x78\x9cnonsense", "out.csv", [], "in.spacy: not a DocBin"),
    "nothing": ("in.txt", b"", "out.csv", [], "in.txt: there is no text in it"),
    "a header only": ("in.csv", b"id,text\n", "out.csv", [], "in.csv: there is no text in it"),
    "an empty list": ("in.json", b"[]", "out.csv", [], "in.json: there is no text in it"),
    "a link to itself": ("in.txt", LINK, "out.csv", [], "in.txt: is a link that leads nowhere"),
    "a pipe": ("in.txt", PIPE, "out.csv", [], "in.txt: is a pipe or device"),
    "an empty folder": ("in", FOLDER, "out", [], "in: there is no file in it"),
    "no such file": ("in.txt", None, "out.csv", [], "in.txt: no such file"),
    "no form of output": ("in.txt", b"Goal\n", "out.xml", [], "out.xml: the name must end in .jsonl"),
    "no ending": ("in.txt", b"Goal\n", "out", [], "out: the name must end in .jsonl"),
    "the input as output": ("in.csv", b"id,text\n1,a\n", "in.csv", [], "in.csv: is the input; its labels would be written over it"),
    "the input as output, by another path": ("in.jsonl", b'{"text": "a"}', "made/../in.jsonl", [], "in.jsonl: is the input"),
    "the input as output, by a link": ("in.jsonl", b'{"text": "a"}', "link.jsonl", [], "link.jsonl: is the input"),
    "a folder as output": ("in.txt", b"Goal\n", "made.csv", [], "made.csv: is a folder. Give the name of a file"),
    "an output below a file": ("in.txt", b"Goal\n", "in.txt/out.csv", [], "in.txt"),
    "values of several types for Parquet": ("in.jsonl", b'{"text": "a", "id": 1}\n{"text": "b", "id": "x"}', "out.parquet", [], "a column holds values of different types"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_bombs(monkeypatch):
    """The limit that bombs of a few megabytes go beyond."""
    monkeypatch.setattr("scripts.forms.lines.FREE_BYTES", 2_000_000)


def put(path, content):
    if content == LINK:
        path.symlink_to(path.name)
    elif content == PIPE:
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes in folders here")
        os.mkfifo(path)
    elif content == FOLDER:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize(("name", "content", "output", "options", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused_with_one_message(run, tmp_path, models, name, content, output, options, expected):  # noqa: F811
    (tmp_path / "made").mkdir()
    (tmp_path / "made.csv").mkdir()
    put(tmp_path / name, content)
    if output == "link.jsonl":
        (tmp_path / output).symlink_to(name)
    before = snapshot(tmp_path)
    found = message(run("classify", models / "single", name, output, *options))
    assert expected in found and found.count("✘") == 1 and len(found) < 700
    assert snapshot(tmp_path) == before


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
    assert "a.csv: is the input" in message(run("classify", models / "single", "in", "in"))
    assert snapshot(tmp_path) == before


def test_labels_below_the_texts_are_not_labelled_again(run, tmp_path, models):  # noqa: F811
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a\n", encoding="utf-8")
    for done in (0, 1):
        process = run("classify", models / "single", "in/**/*", "in/labels")
        assert f"1 files, {done} labelled already" in process.output
