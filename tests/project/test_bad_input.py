"""What people put into a data set's folder by mistake: a clear message with place and mend, or handled and said.

`REFUSED` and `HANDLED` are the tables of it: what, the files, and what is said about it.
"""
# ruff: noqa: E501  (a row is a line)

import gzip
import io
import json
import os
import re
import zipfile
import zlib

import pytest
import srsly

from tests.conftest import message, snapshot, toy_records

GOOD = [json.dumps(record) for record in toy_records()]
TABLE = ["text,label", *(f"{record['text']},{record['label']}" for record in toy_records())]


def jsonl(*lines, end=b"\n"):
    """Good lines with other ones in places 3 and following."""
    middle = [line if isinstance(line, bytes) else line.encode() for line in lines]
    encoded = [line.encode() for line in GOOD]
    return end.join(encoded[:2] + middle + encoded[2:])


def record(text="a text", **values):
    return json.dumps({"text": text} | values)


def table(*lines, end="\n"):
    return end.join([*TABLE[:3], *lines, *TABLE[3:]]).encode()


def workbook():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("xl/workbook.xml", "<x/>")
    return stream.getvalue()


def labelled(label, count=9):
    return "\n".join(record(f"text {i}", label=label) for i in range(count)).encode()


def task(**values):
    """A line of an export of Prodigy."""
    return json.dumps({"text": "a", "label": "b", "answer": "accept"} | values).encode()


def parquet(rows, note=None):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.Table.from_pylist(rows)
    if note is not None:
        table = table.replace_schema_metadata({"huggingface": note})
    stream = io.BytesIO()
    parquet.write_table(table, stream)
    return stream.getvalue()


def classes(number, *names, **features):
    """A Parquet file of one row with a class number, and the names of the classes."""
    features = {"label": {"_type": "ClassLabel", "names": names}} | features
    return parquet([{"text": "a", "label": number}], json.dumps({"info": {"features": features}}))


LINK, PIPE, FOLDER = "link to itself", "pipe", "folder"  # in the place of a file's content
BOMB = gzip.compress(b"x" * 3_000_000, 9)
BOMB_OF_LINES = gzip.compress(b'{"text": "a", "label": "b"}\n' * 100_000, 9)

# name: (files, options, what the message says)
REFUSED = {
    "broken JSON": ({"train.jsonl": jsonl('{"text": "half')}, [], "train.jsonl, line 3: broken JSON"),
    "broken JSON list": ({"train.json": b'[{"text": "a", "label": "b"},]'}, [], "train.json: broken JSON"),
    "deeply nested JSON": ({"train.jsonl": jsonl(b'{"text":' + b"[" * 100_000)}, [], "train.jsonl, line 3: broken JSON"),
    "a line that is no object": ({"train.jsonl": jsonl('"text"')}, [], "line 3: expected an object like"),
    "wrong keys": ({"train.jsonl": b'{"sentance": "a", "label": "b"}'}, [], "line 1: no column with a known name of texts; there are 'sentance', 'label'. Set text_column"),
    "wrong columns": ({"train.csv": b"tekst,label\na,b\n"}, [], "line 2: no column with a known name of texts; there are 'tekst', 'label'. Set text_column to the one that holds the text (known: text, sentence"),
    "no header": ({"train.csv": "\n".join(TABLE[1:]).encode()}, [], "line 2: no column with a known name of texts; there are 'The goal and match"),
    "a column that is not there": ({"train.csv": table()}, ["--label-column", "desk"], "no column 'desk'; there are 'text', 'label'"),
    "two columns of one name": ({"train.csv": b"text,label,label\na,b,c\n"}, [], "line 1: more than one column is named 'label'"),
    "too many fields": ({"train.csv": table("one, two, three")}, [], "train.csv, line 4: the number of fields differs"),
    "open quote": ({"train.csv": table('"open,sport')}, [], "broken CSV"),
    "text after a quote": ({"train.csv": table('"a"b,sport')}, [], "train.csv, line 4: broken CSV"),
    "columns of 0 and 1 with words": ({"train.csv": table()}, ["--label-column", "text,label"], "must hold 0 or 1"),
    "empty file": ({"train.jsonl": b""}, [], "train.jsonl: the file holds no examples"),
    "blank lines only": ({"train.jsonl": b"\n\r\n  \n"}, [], "train.jsonl: the file holds no examples"),
    "header only": ({"train.csv": b"text,label\n"}, [], "train.csv: the file holds no examples"),
    "empty folder": ({}, [], "no training data (found: nothing)"),
    "no data set": (None, [], "There is no data set"),
    "no train": ({"test.jsonl": jsonl()}, [], "no training data (found: test.jsonl). Name it train.jsonl"),
    "train twice": ({"train.jsonl": jsonl(), "train.csv": table()}, [], "train comes twice. Keep one"),
    "plain text without labels": ({"train.txt": b"just some words\nand more\n"}, [], "line 1: neither JSON, nor a table with a line of column names, nor a text with fastText's labels"),
    "fastText's labels without a text": ({"train.txt": b"__label__a text\n__label__b\n"}, [], "train.txt, line 2: labels without a text"),
    "workbook": ({"train.xlsx": workbook()}, [], "a workbook such as .xlsx. Unpack it, or save the sheet as CSV"),
    "broken gzip": ({"train.jsonl.gz": gzip.compress(jsonl())[:-20]}, [], "broken gzip file"),
    "broken DocBin": ({"train.spacy": b"\x78\x9cnonsense"}, [], "train.spacy: not a DocBin"),
    "broken Parquet": ({"train.parquet": b"PAR1nonsensePAR1"}, [], "train.parquet: broken Parquet or Arrow file"),
    "unknown format": ({"train.csv": table()}, ["--format", "xml"], "format 'xml' is unknown. Choose auto, jsonl"),
    "wrong format": ({"train.csv": table()}, ["--format", "jsonl"], "train.csv, line 1: broken JSON"),
    "one label only": ({"train.jsonl": labelled("a")}, [], "all examples have the same label, ['a']; a classifier needs two"),
    "a label with one example": ({"train.jsonl": jsonl(record(label="spot"))}, [], "line 3: label 'spot' has 1 example"),
    "labels that differ in case": ({"train.jsonl": jsonl(record(label="Sport"))}, [], "line 3: label 'Sport' is spelt 'sport' in assets/own/train.jsonl, line 1. Make them the same"),
    "labels that differ in white space": ({"train.jsonl": labelled("a b") + b"\n" + labelled("a  b")}, [], "line 10: label 'a b' is spelt 'a b' in"),
    "empty label": ({"train.jsonl": jsonl(record(label=" "))}, [], "line 3: `label` is missing or empty"),
    "no label": ({"train.jsonl": jsonl(record())}, [], "line 3: `label` is missing or empty"),
    "soft categories": ({"train.jsonl": jsonl(record(cats={"sport": 0.4}))}, [], "line 3: `cats` must map each label to 0 or 1"),
    "two labels in a single-label task": ({"train.jsonl": jsonl(record(labels=["film", "sport"]))}, ["--mode", "single"], "line 3: 2 labels (film, sport), but the mode is single"),
    "binary with three labels": ({"train.jsonl": jsonl()}, ["--mode", "binary"], "the mode is binary, but there are 3 labels"),
    "unknown mode": ({"train.jsonl": jsonl()}, ["--mode", "multilabel"], "mode 'multilabel' is unknown. Choose auto, single"),
    "a label in dev that train lacks": ({"train.jsonl": jsonl(), "dev.jsonl": record(label="weather").encode()}, [], "dev.jsonl, line 1: label 'weather' does not occur in train"),
    "a text that is a number": ({"train.jsonl": jsonl('{"text": 7, "label": "sport"}')}, [], "line 3: `text` is not text but 7. Put it in quotes"),
    "an empty text": ({"train.jsonl": jsonl(record(" \t", label="sport"))}, [], "line 3: `text` is missing or empty"),
    "a text of 10 MB": ({"train.jsonl": jsonl(record("ten words " * 1_000_000, label="sport"))}, [], "line 3: a text of 9,999,999 characters; at most 1,000,000 are possible. Split it"),
    "a text of 10 MB in a table": ({"train.csv": table("ten words " * 1_000_000 + ",sport")}, [], "line 4: a text of 9,999,999 characters"),
    "NUL bytes": ({"train.csv": table("a\0b,sport")}, [], "train.csv, line 4: a NUL byte"),
    "mixed encodings": ({"train.jsonl": jsonl('{"text": "café", "label": "film"}', b'{"text": "caf\xe9", "label": "film"}')}, [], "train.jsonl, line 4: byte 0xe9 is not UTF-8"),
    "Windows-1252 in a table": ({"train.csv": table() + b"\ncaf\xe9,film"}, [], "byte 0xe9 is not UTF-8 (an older encoding such as Windows-1252?). Save"),
    "cut UTF-16": ({"train.csv": table().decode().encode("utf-16")[:-1]}, [], "marked as UTF-16 but broken"),
    "raw text without text": ({"train.jsonl": jsonl(), "raw.jsonl": b'{"text": "a"}\n{"body": "b"}\n'}, [], "raw.jsonl, line 2: expected {\"text\""),
    "raw text not UTF-8": ({"train.jsonl": jsonl(), "raw.txt": b"fine\ncaf\xe9\n"}, [], "raw.txt, line 2: byte 0xe9"),
    "unknown answer": ({"train.jsonl": b'{"text": "a", "label": "b", "answer": "maybe"}'}, [], "line 1: `answer` is 'maybe'; it must be accept"),
    "unknown language": ({"train.jsonl": jsonl()}, ["--lang", "klingon"], "lang 'klingon'"),
    "JSON of 200,000 levels": ({"train.jsonl": b"[" * 200_000}, [], "train.jsonl: broken JSON (nested too deeply)"),
    "JSON lines of 200,000 levels": ({"train.jsonl": b'{"a":' * 200_000}, [], "train.jsonl, line 1: broken JSON (nested too deeply)"),
    "JSON of 500 levels that is whole": ({"train.jsonl": jsonl('{"text": ' + "[" * 500 + "]" * 500 + "}")}, [], "line 3: broken JSON (nested too deeply)"),
    "raw text of 200,000 levels": ({"train.jsonl": jsonl(), "raw.jsonl": b'{"text":' * 200_000}, [], "raw.jsonl, line 1: expected"),
    "a number of 5,000 digits": ({"train.jsonl": jsonl('{"text": "a", "label": ' + "1" * 5000 + "}")}, [], "line 3: broken JSON"),
    "a label that is no number": ({"train.jsonl": jsonl('{"text": "a", "label": NaN}')}, [], "line 3: `label` is missing or empty (found nan)"),
    "a label in a label": ({"train.jsonl": jsonl(record(label=[["a"]]))}, [], "line 3: `label` is missing or empty"),
    "a label of NUL": ({"train.jsonl": jsonl(record(label="\0"))}, [], "line 3: `label` is missing or empty"),
    "a label of a zero-width space": ({"train.jsonl": jsonl(record(label="\u200b"))}, [], "line 3: `label` is missing or empty"),
    "a label of a filler": ({"train.jsonl": jsonl(record(label="\u3164"))}, [], "line 3: `label` is missing or empty"),
    "a label of half a character": ({"train.jsonl": jsonl(record(label="\ud800"))}, [], "line 3: `label` is missing or empty"),
    "an invisible text": ({"train.jsonl": jsonl(record("\u200b\u2060", label="sport"))}, [], "line 3: `text` is missing or empty"),
    "labels that differ in what cannot be seen": ({"train.jsonl": jsonl(record(label="spo\u200brt"))}, [], "is spelt 'sport' in"),
    "labels that differ in width": ({"train.jsonl": jsonl(record(label="ｓport"))}, [], "is spelt 'sport' in"),
    "a broken note of class names": ({"train.parquet": parquet([{"text": "a", "label": 1}], "{")}, [], "train.parquet: its note for Hugging Face `datasets` (schema metadata `huggingface`) is broken"),
    "a note that is a list": ({"train.parquet": parquet([{"text": "a", "label": 1}], "[]")}, [], "`huggingface`) is broken"),
    "features as a list": ({"train.parquet": parquet([{"text": "a", "label": 1}], '{"info": {"features": ["label"]}}')}, [], "`huggingface`) is broken"),
    "features as a list of names": ({"train.parquet": parquet([{"text": "a", "label": 1}], '{"info": {"features": {"label": []}}}')}, [], "`huggingface`) is broken"),
    "class names that are a number": ({"train.parquet": parquet([{"text": "a", "label": 1}], '{"info": {"features": {"label": {"_type": "ClassLabel", "names": 3}}}}')}, [], "`huggingface`) is broken"),
    "a class number beyond the names": ({"train.parquet": classes(7, "x", "y")}, [], "train.parquet, row 1: 7 is none of the 2 class numbers"),
    "a class number below zero": ({"train.parquet": classes(-2, "x", "y")}, [], "row 1: -2 is none of the 2 class numbers"),
    "a class number that is text": ({"train.parquet": classes("x", "x", "y")}, [], "row 1: 'x' is none of the 2 class numbers"),
    "Parquet cut off": ({"train.parquet": parquet([{"text": "a", "label": "b"}])[:-20]}, [], "broken Parquet or Arrow file"),
    "Arrow cut off": ({"train.arrow": b"ARROW1\0\0nonsense"}, [], "broken Parquet or Arrow file"),
    "folders that are a file": ({"train.jsonl": jsonl()}, ["--format", "folders"], "train.jsonl: the format is folders, but this is a file"),
    "a file that is folders": ({"train/sport/1.txt": b"goal", "train/film/1.txt": b"star"}, ["--format", "jsonl"], "train: is a folder; a file is needed here"),
    "a DocBin that is a folder": ({"train/sport/1.txt": b"goal", "train/film/1.txt": b"star"}, ["--format", "spacy"], "train: is a folder"),
    "a task hash that is a list": ({"train.jsonl": task(_task_hash=[1])}, [], "line 1: `_task_hash` must be a number, found [1]"),
    "an input hash that is an object": ({"train.jsonl": task(_input_hash={})}, [], "line 1: `_input_hash` must be a number"),
    "an answer that is a list": ({"train.jsonl": task(answer=["accept"])}, [], "line 1: `answer` is ['accept']; it must be accept"),
    "a config that is text": ({"train.jsonl": task(config="multiple", options=[], accept=["a"])}, [], "line 1: `config` must be an object"),
    "options accepted as text": ({"train.jsonl": task(options=[], accept="a")}, [], "line 1: `accept` must be a list of options"),
    "a gzip bomb": ({"train.jsonl.gz": BOMB}, [], "unpacks to more than 2 MB, 100 times its size or more"),
    "a gzip bomb of lines": ({"train.jsonl.gz": BOMB_OF_LINES}, [], "unpacks to more than 2 MB"),
    "a gzip bomb of raw text": ({"train.jsonl": jsonl(), "raw.txt.gz": BOMB}, [], "raw.txt.gz: unpacks to more than 2 MB"),
    "a DocBin that is a bomb": ({"train.spacy": zlib.compress(b"x" * 3_000_000, 9)}, [], "train.spacy: unpacks to more than 2 MB"),
    "UTF-32 that is cut": ({"train.csv": table().decode().encode("utf-32")[:-1]}, [], "marked as UTF-32 but broken"),
    "UTF-16 without a mark": ({"train.csv": table().decode().encode("utf-16-le")}, [], "line 1: a NUL byte; the file is damaged, binary, or UTF-16 without a mark"),
    "a link to itself": ({"train.jsonl": LINK}, [], "train.jsonl: is a link that leads nowhere, or in a circle"),
    "a pipe": ({"train.jsonl": PIPE}, [], "train.jsonl: is a pipe or device, not a file"),
    "a folder in place of a file": ({"train.jsonl": FOLDER}, [], "train.jsonl: the folder holds neither Arrow nor Parquet files nor folders of texts"),
    "a folder in place of raw text": ({"train.jsonl": jsonl(), "raw.jsonl": FOLDER}, [], "raw.jsonl: is a folder; a file is needed here"),
    "raw text that is a link to itself": ({"train.jsonl": jsonl(), "raw.jsonl": LINK}, [], "raw.jsonl: is a link that leads nowhere"),
    "raw text that is a pipe": ({"train.jsonl": jsonl(), "raw.txt": PIPE}, [], "raw.txt: is a pipe"),
    "test equal to train": ({"train.jsonl": jsonl(), "test.jsonl": jsonl()}, [], "each of the 72 texts of train also stands in dev or test. What is scored must not be trained on"),
    "dev equal to test": ({"train.jsonl": jsonl(), "dev.jsonl": jsonl(), "test.jsonl": jsonl()}, [], "each of the 72 texts of dev also stands in test"),
    "a label whose texts are all in test": ({"train.jsonl": jsonl(), "test.jsonl": "\n".join(GOOD[:24]).encode()}, [], "label 'sport': no text of train with it is left"),
    "too few texts": ({"train.jsonl": labelled("a", 4) + b"\n" + labelled("b", 4).replace(b"text ", b"other ")}, [], "The dev set is empty: too few examples"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_bombs(monkeypatch):
    """The limit that bombs of a few megabytes go beyond."""
    monkeypatch.setattr("scripts.forms.lines.FREE_BYTES", 2_000_000)


def convert(run, tmp_path, files, options):
    folder = tmp_path / "assets" / "own"
    if files is not None:
        folder.mkdir(parents=True)
    (tmp_path / "project.yml").write_text("assets: []\n", encoding="utf-8")
    for name, content in (files or {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == LINK:
            path.symlink_to(name)
        elif content == PIPE:
            os.mkfifo(path)
        elif content == FOLDER:
            path.mkdir()
        else:
            path.write_bytes(content)
    return run("convert", "own", "corpus", *options)


@pytest.mark.parametrize(("files", "options", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused_with_one_message(run, tmp_path, files, options, expected):
    if PIPE in (files or {}).values() and not hasattr(os, "mkfifo"):
        pytest.skip("no pipes in folders here")
    found = message(convert(run, tmp_path, files, options))
    assert expected in found and found.count("✘") == 1
    assert len(re.sub(r"\S+: \d+ \w+ \[.*?\]", "", found)) < 500, "a message, not a dump of the file"
    assert not (tmp_path / "corpus").exists() or not list((tmp_path / "corpus").iterdir())


NAMES = ["..", ".", "../..", "../../etc", "/etc", "a/b", "", "-x", "a b", "own\\..", "$(own)", "~", "own\0"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verb", ["convert", "check"])
def test_a_data_set_is_a_folder_of_the_assets(run, toy_assets, tmp_path, name, verb):
    before = snapshot(tmp_path)
    process = run(verb, "--", name, "made")
    assert process.returncode == 1 and "must be the name of a folder in assets/" in process.output
    assert snapshot(tmp_path) == before


# name: (files, options, what is said, number of texts)
HANDLED = {
    "Windows line ends": ({"train.jsonl": jsonl(end=b"\r\n")}, [], "read as jsonl", 72),
    "byte-order mark": ({"train.csv": b"\xef\xbb\xbf" + table()}, [], "read as table", 72),
    "UTF-32": ({"train.csv": table().decode().encode("utf-32")}, [], "read as table", 72),
    "an empty hash of a task": ({"train.jsonl": b"\n".join(task(text=f"text {i}", label="ab"[i % 2], accept=None, config=None, _task_hash=None) for i in range(80))}, [], "read as prodigy", 80),
    "what cannot be seen around labels": ({"train.jsonl": jsonl(record(label="\ufeffsport\u200b"))}, [], "3 labels", 73),
    "white space around labels": ({"train.jsonl": jsonl(record(label=" sport "))}, [], "3 labels", 73),
    "control characters": ({"train.jsonl": jsonl(record("bell \u0007 and \u0000 nul", label="sport"))}, [], "1 × control characters or half characters, replaced by spaces (first: assets/own/train.jsonl, line 3)", 73),
    "half of a surrogate pair": ({"train.jsonl": jsonl('{"text": "half \\ud83d smile", "label": "sport"}')}, [], "1 × control characters or half characters", 73),
    "duplicate ids": ({"train.jsonl": jsonl(record("one", label="sport", id=1), record("two", label="film", id=1))}, [], "an id that an earlier, different text has as well", 74),
    "repeated texts": ({"train.jsonl": jsonl(GOOD[0], GOOD[0].upper().replace("TEXT", "text").replace("LABEL", "label").replace('"SPORT"', '"sport"'))}, [], "2 repeated or leaking texts left out", 72),
    "conflicting labels": ({"train.jsonl": jsonl(record("same", label="sport"), record("SAME", label="film"))}, [], "2 repeated or leaking texts left out", 72),
    "numbers as labels": ({"train.jsonl": b"\n".join(json.dumps({"text": f"text {i}", "label": i % 2}).encode() for i in range(80))}, [], "2 labels", 80),
    "a text that is a number, in a table": ({"train.csv": table("42,sport")}, [], "3 labels", 73),
    "one slip makes it multi-label": ({"train.jsonl": jsonl(record(labels=["film", "sport"]))}, [], "Mode multi: assets/own/train.jsonl, line 3 has 2 labels", 73),
    "fastText's form": ({"cooking.train": "\n".join(f"__label__{r['label']} {r['text']}" for r in toy_records()).encode()}, [], "cooking.train: read as fasttext", 72),
    "documents beside the data": ({"train.jsonl": jsonl(), "README.md": b"# about", "LICENSE": b"x"}, [], "read as jsonl", 72),
    "a column named with a comma": ({"train.csv": b'text,"label, final"\n' + "\n".join(TABLE[1:]).encode()}, ["--label-column", "label, final"], "3 labels", 72),
}  # fmt: skip


@pytest.mark.parametrize(("files", "options", "expected", "texts"), HANDLED.values(), ids=HANDLED)
def test_handled_and_said(run, tmp_path, files, options, expected, texts):
    process = convert(run, tmp_path, files, options)
    assert process.returncode == 0, process.output
    assert expected in process.output
    assert sum(srsly.read_json(tmp_path / "corpus" / "task.json")["examples"].values()) == texts


def test_there_are_enough_kinds():
    assert len(REFUSED) + len(HANDLED) >= 25
