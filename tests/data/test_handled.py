"""What people put into a data set's folder that is odd, and made well of: it is said, and no text is lost.

What is refused is in tests/faults/test_bad_input.py.
"""
# ruff: noqa: E501  (a row is a line)

import json

import pytest
import srsly

from tests.conftest import toy_records
from tests.faults.contents import GOOD, TABLE, jsonl, put, record, table, task

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
    "empty rows of a spreadsheet": ({"train.csv": table(",", ",")}, [], "2 × an empty row, left out (first: assets/own/train.csv, line 4)", 72),
    "labels that are others joined": ({"train.csv": table(*(f"more {i},film|sport" for i in range(4)))}, [], "The label 'film|sport' is others joined, and counts as one of its own. If it is several in one field: --vars.label_separator", 76),
    "labels that look like lists": ({"train.csv": table(*(f'more {i},"[film, sport]"' for i in range(4)))}, [], "The label '[film, sport]' looks like a list, and counts as one label.", 76),
    "texts of several lines, after their labels": ({"train.csv": b"label,text\n" + "\n".join(f'{r["label"]},"Dear Sir, \n{r["text"]}\nfilm, yours"' if i % 2 else f'{r["label"]},{r["text"]}' for i, r in enumerate(toy_records())).encode()}, [], "3 labels", 72),
    "texts of several lines, before their labels": ({"train.csv": b"text,label\n" + "\n".join(f'"Dear Sir, or\n{r["text"]}, sport\nyours",{r["label"]}' if i % 2 else f'{r["text"]},{r["label"]}' for i, r in enumerate(toy_records())).encode()}, [], "3 labels", 72),
    "lines of a text that are short texts, too": ({"train.csv": table("ok,film", "ok,film", "yes,film", "yes,film", '"Hi, ok\nyes, ok\nok, bye",film')}, [], "3 labels", 75),
    "the same, after the labels": ({"train.csv": "\n".join(["label,text", *["sport,ok", "sport,yes"] * 2, 'film,"well, ok\nyes, yes\nfine, bye"', *(",".join(line.split(",")[::-1]) for line in TABLE[1:])]).encode()}, [], "3 labels", 75),
    "a column that Prodigy has, too, where the form is named": ({"train.jsonl": jsonl(*(record(f"a question {i}", label="film", answer="reject") for i in range(4)))}, ["--format", "jsonl"], "3 labels", 76),
    "parts of a split": ({f"train-{i:05}-of-00002.jsonl": b"\n".join(line.encode() for line in GOOD[i::2]) for i in range(2)}, [], "3 labels", 72),
    "the unlabelled half of the IMDB": ({f"train/{label}/{i}.TXT": f"a {label} film of day {i}".encode() for label in ("pos", "neg", "unsup") for i in range(20)}, [], "1 × a folder of texts without labels, left out (first: assets/own/train/unsup)", 40),
    "a note of Windows beside the folders": ({"desktop.ini": b"x"} | {f"{label}/{i}.txt": f"a {label} film of day {i}".encode() for label in ("pos", "neg") for i in range(20)}, [], "2 labels", 40),
    "a first text in brackets": ({"train.csv": b"[text],label\n" + "\n".join(TABLE[1:]).encode()}, ["--text-column", "[text]"], "3 labels", 72),
    "a folder beside the one file": ({"mine.jsonl": jsonl(), "_old/mine.jsonl": b"{", "licenses/a.txt": b"x"}, [], "read as jsonl", 72),
    "folders named as other files are": ({f"{name}/{i}.txt": f"a {name} of day {i}".encode() for name in ("licensing", "readme questions", "_misc") for i in range(20)}, [], "3 labels", 60),
    "JSON that begins on one line": ({"train.json": b'{"data": [\n' + b",\n".join(line.encode() for line in GOOD) + b"]}"}, [], "read as json", 72),
    "columns that are found": ({"train.csv": table()}, [], "read as table, text from `text`, label from `label`", 72),
    "fastText's form": ({"cooking.train": "\n".join(f"__label__{r['label']} {r['text']}" for r in toy_records()).encode()}, [], "cooking.train: read as fasttext", 72),
    "documents beside the data": ({"train.jsonl": jsonl(), "README.md": b"# about", "LICENSE": b"x"}, [], "read as jsonl", 72),
    "a column named with a comma": ({"train.csv": b'text,"label, final"\n' + "\n".join(TABLE[1:]).encode()}, ["--label-column", "label, final"], "3 labels", 72),
}  # fmt: skip


@pytest.mark.parametrize(("files", "options", "expected", "texts"), HANDLED.values(), ids=HANDLED)
def test_handled_and_said(run, tmp_path, files, options, expected, texts):
    (tmp_path / "project.yml").write_text("assets: []\n", encoding="utf-8")
    for name, content in files.items():
        put(tmp_path / "assets" / "own" / name, content)
    process = run("convert", "own", "corpus", *options)
    assert process.returncode == 0, process.output
    assert expected in process.output
    assert sum(srsly.read_json(tmp_path / "corpus" / "task.json")["examples"].values()) == texts
