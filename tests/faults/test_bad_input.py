"""What people type and put into files by mistake: one sentence that names it and the mend, and nothing has changed.

Each row is a command of project.yml, run in this process with settings as they are typed, in a project with a data set,
a corpus and some pipelines. What is made well of odd input is in tests/data/test_handled.py and
tests/deploy/test_rough_texts.py; what machines have made, and is damaged, in test_damaged_inputs.py.
"""
# ruff: noqa: E501  (a row is a line)

import gzip
import re
import shutil
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import spacy
import srsly

from scripts.common.files import remove
from tests.conftest import ROOT, finish, snapshot
from tests.evaluation.test_thresholds import BOW
from tests.faults.contents import (
    BOMB,
    BOMB_OF_LINES,
    FOLDER,
    GOOD,
    LINK,
    NOTHING,
    PIPE,
    TABLE,
    classes,
    jsonl,
    labelled,
    parquet,
    put,
    record,
    table,
    task,
    workbook,
)
from tests.faults.steps import PROJECT, perform


class Case(NamedTuple):
    """Something done by mistake.

    Attributes:
        what: in words.
        command: of project.yml.
        says: part of what is said.
        files: what lies where in the project before.
        settings: as they are typed after `--vars.NAME`.
    """

    what: str
    command: str
    says: str
    files: dict
    settings: dict[str, str]


def data(what, files, says, **settings):
    """A data set `own` with some files; without any folder if these are None."""
    found = {"assets/own": FOLDER} if files == {} else {f"assets/own/{name}": files[name] for name in files or {}}
    return Case(what, "convert", says, found, {"dataset": "own"} | settings)


def texts(what, name, content, says, **settings):
    """A file to be labelled."""
    found = {"made": FOLDER, "made.csv": FOLDER, name: content}
    if settings.get("output") == "link.jsonl":
        found["link.jsonl"] = Path(name)
    return Case(what, "classify", says, found, {"dataset": "toy", "input": name, "output": "out.csv"} | settings)


def act(what, command, says, files=None, **settings):
    """A command on the data set `toy`, with files in the project."""
    return Case(what, command, says, files or {}, {"dataset": "toy"} | settings)


PIPELINES = {"bow": ("film", "money", "sport"), "cnn": ("film", "money", "sport"), "linear": ("film", "money", "sport"),
             "single": ("a", "b"), "vectors": ()}  # fmt: skip

CASES = [
    # convert: what stands in a data set's folder
    data("broken JSON", {"train.jsonl": jsonl('{"text": "half')}, "train.jsonl, line 3: broken JSON"),
    data("broken JSON list", {"train.json": b'[{"text": "a", "label": "b"},]'}, "train.json: broken JSON"),
    data("deeply nested JSON", {"train.jsonl": jsonl(b'{"text":' + b"[" * 100_000)}, "train.jsonl, line 3: broken JSON"),
    data("a line that is no object", {"train.jsonl": jsonl('"text"')}, "line 3: expected an object like"),
    data("wrong keys", {"train.jsonl": b'{"sentance": "a", "label": "b"}'}, "line 1: no column with a known name of texts; there are 'sentance', 'label'. Set text_column"),
    data("wrong columns", {"train.csv": b"tekst,label\na,b\n"}, "line 2: no column with a known name of texts; there are 'tekst', 'label'. Set text_column to the one that holds the text (known: text, sentence"),
    data("two columns that may be the text", {"train.jsonl": b'{"news_title": "a", "news_text": "b", "label": "c"}'}, "line 1: no column with a known name of texts; there are 'news_title', 'news_text', 'label'"),
    data("two columns that may be the label", {"train.jsonl": b'{"text": "a", "first_label": "b", "second_label": "c"}'}, "line 1: `label` is missing or empty (found None). Add it; if it has another name, set label_column (found: text, first_label, second_label). Texts"),
    data("a column for each label", {"train.csv": b"id,text,toxic,insult\n9,a,1,0\n"}, "line 2: `label` is missing or empty (found None). Add it; if it has another name, set label_column (found: id, text, toxic, insult). If each label has a column of 0 and 1: --vars.label_column toxic,insult. Texts"),
    data("no header but a text that ends as a name", {"train.csv": b"a fine review,pos\na bore,neg\n"}, "but the first text already, put a line with names above it"),
    data("no header", {"train.csv": "\n".join(TABLE[1:]).encode()}, "line 2: no column with a known name of texts; there are 'The goal and match"),
    data("a column that is not there", {"train.csv": table()}, "no column 'desk'; there are 'text', 'label'", label_column="desk"),
    data("two columns of one name", {"train.csv": b"text,label,label\na,b,c\n"}, "line 1: more than one column is named 'label'"),
    data("too many fields", {"train.csv": table("one, two, three")}, "train.csv, line 4: the number of fields differs"),
    data("open quote", {"train.csv": table('"open,sport')}, "broken CSV"),
    data("a quote without a partner, and one more later", {"train.csv": table('"one,sport', 'two,film', 'three",film')}, "train.csv, line 4: a quote opens here and closes 2 lines later, with other rows between. Remove it"),
    data("the same, after the labels", {"train.csv": "\n".join(["label,text", 'sport,"one', "film,two", 'film,three"', *(f"{line.split(',')[1]},{line.split(',')[0]}" for line in TABLE[1:])])}, "train.csv, line 2: a quote opens here and closes 2 lines later"),
    data("what Prodigy rejected, among plain lines", {"train.jsonl": jsonl(record("one", label="sport", answer="reject"))}, "train.jsonl, line 3: the answer is 'reject', so that the label is none. Put what Prodigy exported into a file"),
    data("each text with a label of its own", {"train.jsonl": "".join(f'{{"text": "text {i}", "label": "{i}"}}\n' for i in range(30)).encode()}, "line 1: label '0' has 1 example(s); 29 more are rare: '1', '2', '3', '4', '5', '6', '7', '8', '9', …. At least 4 are needed of the labels of most texts. Add some, or name the column of the labels: --vars.label_column"),
    data("text after a quote", {"train.csv": table('"a"b,sport')}, "train.csv, line 4: broken CSV"),
    data("columns of 0 and 1 with words", {"train.csv": table()}, "must hold 0 or 1", label_column="text,label"),
    data("empty file", {"train.jsonl": b""}, "train.jsonl: the file holds no examples"),
    data("blank lines only", {"train.jsonl": b"\n\r\n  \n"}, "train.jsonl: the file holds no examples"),
    data("header only", {"train.csv": b"text,label\n"}, "train.csv: the file holds no examples"),
    data("empty folder", {}, "no training data (found: nothing)"),
    data("no data set", None, "There is no data set"),
    data("no train", {"test.jsonl": jsonl()}, "no training data (found: test.jsonl). Name it train.jsonl"),
    data("folders of files that are no text by their names", {f"{name}/1.eml": b"x" for name in "ab"}, "1.eml: is no text by its name. In a folder for each label they end in .txt"),
    data("train twice", {"train.jsonl": jsonl(), "train.csv": table()}, "train comes twice. Keep one"),
    data("plain text without labels", {"train.txt": b"just some words\nand more\n"}, "line 1: neither JSON, nor a table with a line of column names, nor a text with fastText's labels"),
    data("fastText's labels without a text", {"train.txt": b"__label__a text\n__label__b\n"}, "train.txt, line 2: labels without a text"),
    data("workbook", {"train.xlsx": workbook()}, "a workbook such as .xlsx. Unpack it, or save the sheet as CSV"),
    data("broken gzip", {"train.jsonl.gz": gzip.compress(jsonl())[:-20]}, "broken gzip file"),
    data("broken DocBin", {"train.spacy": b"\x78\x9cnonsense"}, "train.spacy: not a DocBin"),
    data("broken Parquet", {"train.parquet": b"PAR1nonsensePAR1"}, "train.parquet: broken Parquet or Arrow file"),
    data("unknown format", {"train.csv": table()}, "format 'xml' is unknown. Choose auto, jsonl", format="xml"),
    data("wrong format", {"train.csv": table()}, "train.csv, line 1: broken JSON", format="jsonl"),
    data("one label only", {"train.jsonl": labelled("a")}, "all examples have the same label, ['a']; a classifier needs two"),
    data("a label with one example", {"train.jsonl": jsonl(record(label="spot"))}, "line 3: label 'spot' has 1 example(s), and looks like 'sport'. Correct it; if it is another label, at least 4 are needed."),
    data("labels that differ in case", {"train.jsonl": jsonl(record(label="Sport"))}, "line 3: label 'Sport' is spelt 'sport' in assets/own/train.jsonl, line 1. Make them the same"),
    data("labels that differ in white space", {"train.jsonl": labelled("a b") + b"\n" + labelled("a  b")}, "line 10: label 'a b' is spelt 'a b' in"),
    data("empty label", {"train.jsonl": jsonl(record(label=" "))}, "line 3: `label` is missing or empty"),
    data("no label", {"train.jsonl": jsonl(record())}, "line 3: `label` is missing or empty"),
    data("a test set without labels", {"train.csv": table(), "test.csv": b"id,text\n1,a\n"}, "test.csv, line 2: `label` is missing or empty (found None). Add it; if it has another name, set label_column (found: id, text). Texts without labels must not be named train, dev or test"),
    data("a label that is empty", {"train.csv": table("a text,")}, "line 4: `label` is missing or empty (found ''). Fill it in, or remove the line. If one field may hold any number of labels: --vars.label_separator"),
    data("half a table without labels", {"train.csv": table("a text,", "b text,", "c text,d", "d text,")}, "line 4: `label` is missing or empty (found ''). Fill it in, or remove the line. If one field may hold any number of labels: --vars.label_separator. 2 after it have no label either: move texts that nobody has labelled yet to a file raw.jsonl or raw.txt beside this one"),
    data("a table without names", {"train.tsv": b"a visionary marvel\tpos\na bore\tneg\n"}, "but the first text already, put a line with names above it"),
    data("a rating for want of a label", {"train.jsonl": jsonl('{"text": "x", "stars": 4}')}, "train.jsonl, line 3: the label stands in `stars` here, but in `label` in"),
    data("a title for want of a text", {"train.jsonl": jsonl('{"title": "x", "label": "film"}')}, "train.jsonl, line 3: the text stands in `title` here, but in `text` in"),
    data("soft categories", {"train.jsonl": jsonl(record(cats={"sport": 0.4}))}, "line 3: `cats` must map each label to 0 or 1"),
    data("two labels in a single-label task", {"train.jsonl": jsonl(record(labels=["film", "sport"]))}, "line 3: 2 labels (film, sport), but the mode is single", mode="single"),
    data("binary with three labels", {"train.jsonl": jsonl()}, "the mode is binary, but there are 3 labels", mode="binary"),
    data("unknown mode", {"train.jsonl": jsonl()}, "vars.mode 'multilabel': must be 'auto', 'single', 'multi' or 'binary'", mode="multilabel"),
    data("a label in dev that train lacks", {"train.jsonl": jsonl(), "dev.jsonl": record(label="weather").encode()}, "dev.jsonl, line 1: label 'weather' does not occur in train"),
    data("a text that is a number", {"train.jsonl": jsonl('{"text": 7, "label": "sport"}')}, "line 3: `text` is not text but 7. Put it in quotes"),
    data("an empty text", {"train.jsonl": jsonl(record(" \t", label="sport"))}, "line 3: `text` is missing or empty"),
    data("a text of a million characters", {"train.jsonl": jsonl(record("ten words " * 110_000, label="sport"))}, "line 3: a text of 1,099,999 characters; at most 1,000,000 are possible. Split it"),
    data("a text of a million characters in a table", {"train.csv": table("ten words " * 110_000 + ",sport")}, "line 4: a text of 1,099,999 characters"),
    data("NUL bytes", {"train.csv": table("a\0b,sport")}, "train.csv, line 4: a NUL byte"),
    data("mixed encodings", {"train.jsonl": jsonl('{"text": "café", "label": "film"}', b'{"text": "caf\xe9", "label": "film"}')}, "train.jsonl, line 4: byte 0xe9 is not UTF-8"),
    data("Windows-1252 in a table", {"train.csv": table() + b"\ncaf\xe9,film"}, "byte 0xe9 is not UTF-8 (an older encoding such as Windows-1252?). Save"),
    data("cut UTF-16", {"train.csv": table().decode().encode("utf-16")[:-1]}, "marked as UTF-16 but broken"),
    data("raw text without text", {"train.jsonl": jsonl(), "raw.jsonl": b'{"text": "a"}\n{"body": "b"}\n'}, "raw.jsonl, line 2: the text stands in `body` here, but in `text` in"),
    data("raw text that is a number", {"train.jsonl": jsonl(), "raw.jsonl": b'{"text": "a"}\n{"text": 7}\n'}, "raw.jsonl, line 2: `text` is not text, found 7. Mend or remove the line"),
    data("raw text that is no JSON", {"train.jsonl": jsonl(), "raw.jsonl": b"some words\n"}, "raw.jsonl, line 1: broken JSON"),
    data("raw text in an unknown column", {"train.jsonl": jsonl(), "raw.csv": b"id,titel\n1,Goal\n"}, "raw.csv, line 2: no column with a known name of texts"),
    data("labels that are objects", {"train.jsonl": b'{"text": "a", "label": {"name": "b"}}\n'}, "must map each label to 0 or 1"),
    data("labels in objects of a list", {"train.jsonl": b'{"text": "a", "label": [{"name": "b"}]}\n'}, "line 1: `label` holds {'name': 'b'}, which is no label. Write its name, as text"),
    data("raw text not UTF-8", {"train.jsonl": jsonl(), "raw.txt": b"fine\ncaf\xe9\n"}, "raw.txt, line 2: byte 0xe9"),
    data("unknown answer", {"train.jsonl": b'{"text": "a", "label": "b", "answer": "maybe"}'}, "line 1: `answer` is 'maybe'; it must be accept"),
    data("unknown language", {"train.jsonl": jsonl()}, "lang 'klingon'", lang="klingon"),
    data("JSON of 200,000 levels", {"train.jsonl": b"[" * 200_000}, "train.jsonl: broken JSON (nested too deeply)"),
    data("JSON lines of 200,000 levels", {"train.jsonl": b'{"a":' * 200_000}, "train.jsonl, line 1: broken JSON (nested too deeply)"),
    data("JSON of 500 levels that is whole", {"train.jsonl": jsonl('{"text": ' + "[" * 500 + "]" * 500 + "}")}, "line 3: broken JSON (nested too deeply)"),
    data("raw text of 200,000 levels", {"train.jsonl": jsonl(), "raw.jsonl": b'{"text":' * 200_000}, "raw.jsonl, line 1: broken JSON (nested too deeply)"),
    data("a number of 5,000 digits", {"train.jsonl": jsonl('{"text": "a", "label": ' + "1" * 5000 + "}")}, "line 3: broken JSON"),
    data("a label that is no number", {"train.jsonl": jsonl('{"text": "a", "label": NaN}')}, "line 3: `label` is missing or empty (found nan)"),
    data("a label in a label", {"train.jsonl": jsonl(record(label=[["a"]]))}, "line 3: `label` holds ['a'], which is no label. Write its name"),
    data("a label of NUL", {"train.jsonl": jsonl(record(label="\0"))}, "line 3: `label` is missing or empty"),
    data("a label of a zero-width space", {"train.jsonl": jsonl(record(label="\u200b"))}, "line 3: `label` is missing or empty"),
    data("a label of a filler", {"train.jsonl": jsonl(record(label="\u3164"))}, "line 3: `label` is missing or empty"),
    data("a label of half a character", {"train.jsonl": jsonl(record(label="\ud800"))}, "line 3: `label` is missing or empty"),
    data("an invisible text", {"train.jsonl": jsonl(record("\u200b\u2060", label="sport"))}, "line 3: `text` is missing or empty"),
    data("labels that differ in what cannot be seen", {"train.jsonl": jsonl(record(label="spo\u200brt"))}, "is spelt 'sport' in"),
    data("labels that differ in width", {"train.jsonl": jsonl(record(label="ｓport"))}, "is spelt 'sport' in"),
    data("a broken note of class names", {"train.parquet": parquet([{"text": "a", "label": 1}], "{")}, "train.parquet: its note for Hugging Face `datasets` (schema metadata `huggingface`) is broken"),
    data("a note that is a list", {"train.parquet": parquet([{"text": "a", "label": 1}], "[]")}, "`huggingface`) is broken"),
    data("features as a list", {"train.parquet": parquet([{"text": "a", "label": 1}], '{"info": {"features": ["label"]}}')}, "`huggingface`) is broken"),
    data("features as a list of names", {"train.parquet": parquet([{"text": "a", "label": 1}], '{"info": {"features": {"label": []}}}')}, "`huggingface`) is broken"),
    data("class names that are a number", {"train.parquet": parquet([{"text": "a", "label": 1}], '{"info": {"features": {"label": {"_type": "ClassLabel", "names": 3}}}}')}, "`huggingface`) is broken"),
    data("a class number beyond the names", {"train.parquet": classes(7, "x", "y")}, "train.parquet, row 1: 7 is none of the 2 class numbers"),
    data("a class number below zero", {"train.parquet": classes(-2, "x", "y")}, "row 1: -2 is none of the 2 class numbers"),
    data("a class number that is text", {"train.parquet": classes("x", "x", "y")}, "row 1: 'x' is none of the 2 class numbers"),
    data("Parquet cut off", {"train.parquet": parquet([{"text": "a", "label": "b"}])[:-20]}, "broken Parquet or Arrow file"),
    data("Arrow cut off", {"train.arrow": b"ARROW1\0\0nonsense"}, "broken Parquet or Arrow file"),
    data("folders that are a file", {"train.jsonl": jsonl()}, "train.jsonl: the format is folders, but this is a file", format="folders"),
    data("a file that is folders", {"train/sport/1.txt": b"goal", "train/film/1.txt": b"star"}, "train: is a folder; a file is needed here", format="jsonl"),
    data("a DocBin that is a folder", {"train/sport/1.txt": b"goal", "train/film/1.txt": b"star"}, "train: is a folder", format="spacy"),
    data("a task hash that is a list", {"train.jsonl": task(_task_hash=[1])}, "line 1: `_task_hash` must be a number, found [1]"),
    data("an input hash that is an object", {"train.jsonl": task(_input_hash={})}, "line 1: `_input_hash` must be a number"),
    data("an answer that is a list", {"train.jsonl": task(answer=["accept"])}, "line 1: `answer` is ['accept']; it must be accept"),
    data("a config that is text", {"train.jsonl": task(config="multiple", options=[], accept=["a"])}, "line 1: `config` must be an object"),
    data("options accepted as text", {"train.jsonl": task(options=[], accept="a")}, "line 1: `accept` must be a list of options"),
    data("a gzip bomb", {"train.jsonl.gz": BOMB}, "unpacks to more than 2 MB, 100 times its size or more"),
    data("a gzip bomb of lines", {"train.jsonl.gz": BOMB_OF_LINES}, "unpacks to more than 2 MB"),
    data("a gzip bomb of raw text", {"train.jsonl": jsonl(), "raw.txt.gz": BOMB}, "raw.txt.gz: unpacks to more than 2 MB"),
    data("a DocBin that is a bomb", {"train.spacy": zlib.compress(b"x" * 3_000_000, 9)}, "train.spacy: unpacks to more than 2 MB"),
    data("UTF-32 that is cut", {"train.csv": table().decode().encode("utf-32")[:-1]}, "marked as UTF-32 but broken"),
    data("UTF-16 without a mark", {"train.csv": table().decode().encode("utf-16-le")}, "line 1: a NUL byte; the file is damaged, binary, or UTF-16 without a mark"),
    data("a link to itself", {"train.jsonl": LINK}, "train.jsonl: is a link that leads nowhere, or in a circle"),
    data("a pipe", {"train.jsonl": PIPE}, "train.jsonl: is a pipe or device, not a file"),
    data("a folder in place of a file", {"train.jsonl": FOLDER}, "train.jsonl: the folder holds neither Arrow nor Parquet files nor folders of texts"),
    data("a folder in place of raw text", {"train.jsonl": jsonl(), "raw.jsonl": FOLDER}, "raw.jsonl: is a folder; a file is needed here"),
    data("raw text that is a link to itself", {"train.jsonl": jsonl(), "raw.jsonl": LINK}, "raw.jsonl: is a link that leads nowhere"),
    data("raw text that is a pipe", {"train.jsonl": jsonl(), "raw.txt": PIPE}, "raw.txt: is a pipe"),
    data("test equal to train", {"train.jsonl": jsonl(), "test.jsonl": jsonl()}, "each of the 72 texts of train also stands in dev or test. What is scored must not be trained on"),
    data("dev equal to test", {"train.jsonl": jsonl(), "dev.jsonl": jsonl(), "test.jsonl": jsonl()}, "each of the 72 texts of dev also stands in test"),
    data("a label whose texts are all in test", {"train.jsonl": jsonl(), "test.jsonl": "\n".join(GOOD[:24]).encode()}, "label 'sport' does not occur in train, once repeated texts and those of dev and test are left out; 24 of 24 texts of test have such labels. Correct it, or add"),
    data("too few texts", {"train.jsonl": b'{"text": "one", "label": "a"}\n{"text": "other", "label": "b"}\n' * 4}, "The dev set is empty: too few examples"),
    # classify: what shall be labelled
    texts("a table of unknown columns", "in.csv", b"id,titel\n1,Goal\n2,Bank\n", "in.csv, line 2: no column with a known name of texts; there are 'id', 'titel'. Set text_column"),
    texts("a table of unknown columns, of another name", "in.dat", b"id,titel\n1,Goal\n2,Bank\n", "there are 'id', 'titel'"),
    texts("a table with one unknown column", "in.csv", b"titel\nGoal\nBank\n", "there are 'titel'"),
    texts("a table without a header", "in.csv", b"1,Goal of the day\n2,Bank\n", "there are '1', 'Goal of the day'"),
    texts("an unknown column of tabs", "in.tsv", b"id\ttitel\n1\tGoal\n", "there are 'id', 'titel'"),
    texts("objects of unknown keys", "in.jsonl", b'{"id": 1, "titel": "Goal"}', "in.jsonl, line 1: no column with a known name of texts; there are 'id', 'titel'"),
    texts("an unknown column of Parquet", "in.parquet", parquet([{"id": 1, "titel": "a"}]), "in.parquet, row 1: no column with a known name of texts; there are 'id', 'titel'"),
    texts("a named column that is not there", "in.csv", b"id,titel\n1,Goal\n", "no column 'body'; there are 'id', 'titel'", text_column="body"),
    texts("a column of plain text", "in.txt", b"Goal of the day\n", "in.txt, line 1: no column 'body'; this is plain text, 'Goal of the day'", text_column="body"),
    texts("a form that does not exist", "in.txt", b"Goal\n", "format 'xml' is unknown. Choose auto, jsonl", input_format="xml"),
    texts("plain text as JSON lines", "in.txt", b"Goal\n", "in.txt, line 1: broken JSON", input_format="jsonl"),
    texts("formulas of another kind", "in.txt", b"Goal\n", "vars.formulas 'maybe': must be 'neutral' or 'raw'", formulas="maybe"),
    texts("a broken JSON list", "in.json", b'[{"text": "a"},', "in.json: broken JSON"),
    texts("numbers in a JSON list", "in.json", b"[1, 2]", "in.json, item 1: expected an object"),
    texts("a JSON list of lists", "in.json", b'[["a"]]', "in.json, item 1: expected an object"),
    texts("JSON of 200,000 levels", "in.jsonl", b'{"a":' * 200_000, "line 1: broken JSON (nested too deeply)"),
    texts("a JSON list of 200,000 levels", "in.json", b"[" * 200_000, "in.json: broken JSON (nested too deeply)"),
    texts("a text that is a number", "in.jsonl", b'{"text": 7}', "line 1: `text` is not text, found 7"),
    texts("a later line without a text", "in.jsonl", b'{"text": "a"}\n{"id": 1}', "line 2: no column with a known name"),
    texts("a later line with its text elsewhere", "in.jsonl", b'{"id": 4, "text": "a", "title": "q"}\n{"id": 5, "title": "b"}', "line 2: the text stands in `title` here, but in `text` in"),
    texts("a later line that is no object", "in.jsonl", b'{"text": "a"}\n[1]', "line 2: expected an object"),
    texts("a text of a million characters", "in.txt", b"word " * 200_001, "line 1: a text of 1,000,005 characters; at most 1,000,000 are possible"),
    texts("too many fields", "in.csv", b"id,text\n1,a\n2,b,c\n", "line 3: the number of fields differs"),
    texts("an open quote", "in.csv", b'id,text\n1,"a\n2,b\n', "broken CSV"),
    texts("two columns of one name", "in.csv", b"text,text\na,b\n", "more than one column is named 'text'"),
    texts("a NUL byte", "in.txt", b"a\0b\n", "line 1: a NUL byte"),
    texts("Windows-1252", "in.txt", b"caf\xe9\n", "line 1: byte 0xe9 is not UTF-8"),
    texts("UTF-16 without a mark", "in.txt", "Goal\n".encode("utf-16-le"), "line 1: a NUL byte"),
    texts("UTF-16 that is cut", "in.txt", "Goal".encode("utf-16")[:-1], "marked as UTF-16 but broken"),
    texts("a workbook", "in.xlsx", b"PK\x03\x04rest", "a workbook such as .xlsx. Unpack it"),
    texts("Parquet cut off", "in.parquet", parquet([{"text": "a"}])[:-9], "broken Parquet or Arrow file"),
    texts("gzip cut off", "in.txt.gz", gzip.compress(b"Goal of the day" * 99)[:-9], "broken gzip file"),
    texts("a gzip bomb", "in.txt.gz", BOMB, "unpacks to more than 2 MB"),
    texts("a broken DocBin", "in.spacy", b"\x78\x9cnonsense", "in.spacy: not a DocBin"),
    texts("nothing", "in.txt", b"", "in.txt: there is no text in it"),
    texts("a header only", "in.csv", b"id,text\n", "in.csv: there is no text in it"),
    texts("an empty list", "in.json", b"[]", "in.json: there is no text in it"),
    texts("a link to itself", "in.txt", LINK, "in.txt: is a link that leads nowhere"),
    texts("a pipe", "in.txt", PIPE, "in.txt: is a pipe or device"),
    texts("an empty folder", "in", FOLDER, "in: there is no file in it", output="out"),
    texts("no such file", "in.txt", NOTHING, "in.txt: there is no such file"),
    texts("no form of output", "in.txt", b"Goal\n", "out.xml: the name must end in .jsonl", output="out.xml"),
    texts("no ending", "in.txt", b"Goal\n", "out: the name must end in .jsonl", output="out"),
    texts("the input as output", "in.csv", b"id,text\n1,a\n", "in.csv: is the input; its labels would be written over it", output="in.csv"),
    texts("the input as output, by another path", "in.jsonl", b'{"text": "a"}', "in.jsonl: is the input", output="made/../in.jsonl"),
    texts("the input as output, by a link", "in.jsonl", b'{"text": "a"}', "link.jsonl: is the input", output="link.jsonl"),
    texts("a folder as output", "in.txt", b"Goal\n", "made.csv: is a folder. Give the name of a file", output="made.csv"),
    texts("an output below a file", "in.txt", b"Goal\n", "in.txt", output="in.txt/out.csv"),
    texts("values of several types for Parquet", "in.jsonl", b'{"text": "a", "id": 1}\n{"text": "b", "id": "x"}', "a column holds values of different types", output="out.parquet"),
    # what a data set is
    *(act(f"a data set named {name!r}", "select", "vars.dataset", dataset=name) for name in ("..", "/etc", "a/b", " ", "a b", "$(x)", "-x")),
    act("a data set that is not there", "select", "There is no data set 'none' in assets/, only bbc, toy", dataset="none"),
    act("a data set that is a file", "select", "There is no data set 'own'", {"assets/own": "x"}, dataset="own"),
    act("a data set that is a link to itself", "convert", "There is no data set 'own'", {"assets/own": LINK}, dataset="own"),
    act("a corpus that is a file", "convert", "corpus/own: File exists. A file stands where a folder is needed. Move it", {"assets/own/train.jsonl": jsonl(), "corpus/own": "x"}, dataset="own"),
    act("a folder in place of a file of the corpus", "convert", "task.json: is a folder", {"assets/own/train.jsonl": jsonl(), "corpus/own/task.json": FOLDER}, dataset="own"),
    act("a corpus that is a link to itself", "convert", "corpus/own: ", {"assets/own/train.jsonl": jsonl(), "corpus/own": LINK}, dataset="own"),
    act("more folds than texts", "convert", "too few for 90 folds", fold="0", folds="90"),
    act("a fold that there is not", "convert", "vars.fold", fold="4"),
    # settings
    act("a seed below zero", "train-bow", "vars.seed -1: must be 0 or more", seed="-1"),
    act("epochs below zero", "train-bow", "vars.max_epochs -3: must be 0 or more", max_epochs="-3"),
    act("no rows", "prune-vectors", "vars.pruned_rows 0: must be 1 or more", pruned_rows="0"),
    act("rows below zero", "prune-vectors", "vars.pruned_rows -4: must be 1 or more", pruned_rows="-4"),
    act("a table of ten bytes", "quantize-compact", "vars.compact_bytes 10: must be 10000 or more", compact_bytes="10"),
    act("no layers", "shrink-trim", "vars.transformer_layers 0: must be 1 or more", transformer_layers="0"),
    act("no passes", "pretrain-compact", "vars.encoded_epochs 0: must be 1 or more", encoded_epochs="0"),
    act("a setting that is not there", "convert", "There is no setting vars.sed. Do you mean vars.seed?", sed="7"),
    act("a setting that is like no other", "convert", "There is no setting vars.xyzzy. Those that there are stand in project.yml", xyzzy="7"),
    act("a value that would be several words", "train-curve", "vars.variant 'a b --code evil.py': must be a name", variant="a b --code evil.py"),
    act("a variant outside", "package", "vars.variant '../../bow': must be a name", variant="../../bow"),
    act("a line break", "classify", "vars.output", output="a\nb.csv"),
    act("an input that begins with a dash", "classify", "must not begin with a dash", input="-x"),
    act("a number for text", "classify", "vars.input True: must be text", input="true"),
    act("two mistakes at once", "train-bow", "vars.max_epochs -1", seed="-1", max_epochs="-1"),
    act("subwords that end before they begin", "learn-floret", "vars.floret_min_n 9: must not be more than", floret_min_n="9"),
    act("a GPU that is not there", "train-linear", "GPU 7 cannot be used", gpu_id="7"),
    act("a number of another kind", "train-bow", "vars.seed 1.5: must be a whole number", seed="1.5"),
    # classify, package: pipelines
    act("a variant that is not trained", "classify", "training/toy/floret/model-best: no pipeline that can be loaded. Train it first", {"in.txt": "Goal"}, input="in.txt", variant="floret"),
    act("a variant that there is not", "classify", "training/toy/bwo/model-best: no pipeline", {"in.txt": "Goal"}, input="in.txt", variant="bwo"),
    act("a pipeline whose training has not ended", "classify", "training/toy/cnn/model-best: its training has not come to its end. Train it again", {"in.txt": "Goal"}, input="in.txt", variant="cnn"),
    act("a pipeline that was changed", "classify", "is not what its training ended with; something has changed it", {"in.txt": "Goal", "training/toy/bow/model-best/more": "x"}, input="in.txt", variant="bow"),
    act("a pipeline without a classifier", "classify", "this pipeline has no text classifier, only nothing", {"in.txt": "Goal"}, input="in.txt", variant="vectors"),
    act("a folder as output of one file", "classify", "the name must end in", {"in.txt": "Goal", "out": FOLDER}, input="in.txt", output="out"),
    act("many files into a file", "classify", "out.csv: is a file; many files need a folder", {"in/a.txt": "Goal", "out.csv": "x"}, input="in", output="out.csv"),
    act("a pattern that nothing fits", "classify", "*.xyz: there is no file in it", input="*.xyz", output="out"),
    act("a path with a space that is not there", "classify", "a b.txt: there is no such file", input="a b.txt", output="out.csv"),
    act("an engine that is not there", "classify", "vars.engine 'dask': must be", engine="dask"),
    act("a cluster that is not there", "classify", "127.0.0.1:1: no Ray cluster answers there", {"in.txt": "Goal"}, input="in.txt", output="out.csv", engine="ray", address="127.0.0.1:1"),
    act("an address without a port", "classify", "nowhere: no Ray cluster answers there", {"in.txt": "Goal"}, input="in.txt", output="out.csv", engine="ray", address="nowhere"),
    act("no processes", "classify", "vars.processes 0: must be 1 or more", processes="0"),
    act("a variant that is not trained", "package", "training/toy/floret/model-best: no trained pipeline. Train it first", variant="floret"),
    act("a pipeline whose training has not ended", "package", "its training has not come to its end. Train it again", variant="cnn"),
    act("a pipeline without metrics", "package", "metrics/toy/vectors.json: cannot be read", variant="vectors"),
    act("metrics of another pipeline", "package", "holds the figures of another pipeline than", variant="linear"),
    act("metrics of another variant", "package", "holds the metrics of bow, not of single", variant="single"),
    act("metrics in conflict", "package", "metrics/toy/bow.json: is not valid JSON", {"metrics/toy/bow.json": "<<<<<<< HEAD"}, variant="bow"),
    act("metrics that are a list", "package", "metrics/toy/bow.json: holds no JSON object, but []. Make it again, or restore it from git", {"metrics/toy/bow.json": "[]"}, variant="bow"),
    act("metrics without figures", "package", "metrics/toy/bow.json: lacks dataset, scores, size, speed, env", {"metrics/toy/bow.json": '{"variant": "bow"}'}, variant="bow"),
    act("a version that is a word", "package", "vars.version 'new': must be numbers such as 1.0.0", version="new"),
    act("a version that reads as a number", "package", "vars.version 0.1: reads as a number", version="0.1"),
    act("packages that are a file", "package", "packages: File exists. A file stands where a folder is needed", {"packages": "x"}, variant="bow"),
    act("a README that is not UTF-8", "package", "assets/toy/README.md, line 1: byte 0xe9 is not UTF-8", {"assets/toy/README.md": b"caf\xe9"}, variant="bow"),
    # annotation
    act("a corpus that is not there", "doubt", "corpus/own: no data set there. Make it with the command `convert`", {"assets/own/train.jsonl": jsonl()}, dataset="own"),
    act("a data set that is not there", "doubt", "There is no data set 'none'", dataset="none"),
    act("a member that is not trained", "suggest", "'floret' is not trained. Train it (python -m spacy project run floret)", {"in.txt": "Goal"}, input="in.txt", committee="bow,floret"),
    act("a member without a name", "suggest", "vars.committee 'bow,': must be names, joined by commas", {"in.txt": "Goal"}, input="in.txt", committee="bow,"),
    act("a member of other labels", "suggest", "was trained on other labels than the data set has now", {"in.txt": "Goal"}, input="in.txt", committee="single"),
    act("a member outside", "suggest", "vars.committee '../toy/bow': must be names", {"in.txt": "Goal"}, input="in.txt", committee="../toy/bow"),
    act("no file", "suggest", "in.txt: there is no such file", input="in.txt", committee="bow"),
    act("a folder", "suggest", "in.txt", {"in.txt": FOLDER}, input="in.txt", committee="bow"),
    act("a file without texts", "suggest", "in.txt: there is no text in it", {"in.txt": ""}, input="in.txt", committee="bow"),
    act("nothing but what is known", "suggest", "nothing new in it: 72 of its 72 texts are in train, dev or test", {"in.jsonl": jsonl()}, input="in.jsonl", committee="bow"),
    act("a broken line", "suggest", "in.jsonl, line 3: broken JSON", {"in.jsonl": jsonl("{")}, input="in.jsonl", committee="bow"),
    act("no texts wanted", "suggest", "vars.annotate_texts 0: must be 1 or more", annotate_texts="0"),
    # push, pull
    *(
        case
        for command in ("push", "pull")
        for case in (
            act("a cache that is a file", command, "cache: is a file. The cache is a folder", {"cache": "x"}, remote="cache"),
            act("a cache below a file", command, "cache: is a file. The cache is a folder", {"cache": "x"}, remote="cache/below"),
            act("a cache of another kind", command, "ftp://host/x: expected a folder, or a URL", remote="ftp://host/x"),
            act("a cache that is a link to itself", command, "cache: Its symbolic links lead in a circle", {"cache": LINK}, remote="cache"),
            act("a data set that is not there", command, "There is no data set 'none'", remote="cache", dataset="none"),
        )
    ),
    act("nothing that was made by a command", "push", "There is nothing to push. Run a workflow first", remote="cache"),
    act("a cache that is not there", "pull", "nothing: there is no such folder. Name the one that `push` has filled", remote="nothing"),
    # grids
    *(
        act(f"a grid that is {what}", "experiment", says, {"configs/grids/mine.yml": content}, grid="mine")
        for what, content, says in (
            ("not there", NOTHING, "configs/grids/mine.yml: cannot be read"),
            ("a folder", FOLDER, "configs/grids/mine.yml"),
            ("a link to itself", LINK, "configs/grids/mine.yml"),
            ("no YAML", "a: [", "configs/grids/mine.yml: cannot be read as YAML"),
            ("not UTF-8", b"variants: [caf\xe9]", "configs/grids/mine.yml"),
            ("empty", "", "mine.yml: expected the keys `variants`, `seeds`"),
            ("a list", "[bow]", "mine.yml: expected the keys"),
            ("of an unknown key", "{variants: [bow], seeds: [0], seed: 1}", "mine.yml: expected the keys"),
            ("without seeds", "{variants: [bow], seeds: []}", "`seeds` must be a list of different whole numbers"),
            ("of a seed below zero", "{variants: [bow], seeds: [-1]}", "seed -1: vars.seed -1: must be 0 or more"),
            ("of a seed twice", "{variants: [bow], seeds: [0, 0]}", "`seeds` must be a list of different whole numbers"),
            ("without variants", "{variants: [], seeds: [0]}", "`variants` must be a list of names, or `all`"),
            ("of a variant that is a list", "{variants: [[bow]], seeds: [0]}", "`variants` must be a list of names"),
            ("of an unknown variant", "{variants: [bwo], seeds: [0]}", "there is no variant 'bwo'"),
            ("of an unknown setting", "{variants: [bow], seeds: [0], settings: {a: {vars.sed: 1}}}", "mine.yml: There is no setting vars.sed. Do you mean vars.seed?"),
            ("of a setting out of range", "{variants: [bow], seeds: [0], settings: {a: {vars.max_epochs: -1}}}", "vars.max_epochs -1: must be 0 or more"),
            ("of an unknown section", "{variants: [bow], seeds: [0], settings: {a: {trainning.dropout: 1}}}", "setting 'a', seed 0: trainning.dropout: the config has no section trainning"),
            ("of a setting that leads out", "{variants: [bow], seeds: [0], settings: {'../a': {}}}", "setting '../a': must be a name"),
            ("of variants that are text", "{variants: [bow], seeds: [0], settings: {a: {only: bow}}}", "`only` must be a list of variants"),
            ("of the data set", "{variants: [bow], seeds: [0], settings: {a: {vars.dataset: x}}}", "vars.dataset cannot be in `settings`"),
        )
    ),
    act("a cluster that is not there", "experiment", "no Ray cluster answers there", {"configs/grids/mine.yml": "{variants: [bow], seeds: [0]}"}, grid="mine", engine="ray", address="127.0.0.1:1"),
    act("results that are a file", "experiment", "metrics/toy/mine: is a file, where the folder of the results shall stand", {"configs/grids/mine.yml": "{variants: [bow], seeds: [0]}", "metrics/toy/mine": "x"}, grid="mine"),
    act("a data set that is not there", "experiment", "There is no data set 'none'", dataset="none", grid="seeds"),
    act("a grid without results", "compare", "metrics/toy/seeds: no results. Run the experiment first"),
    act("a result that is broken", "compare", "bow--default--0.json: is not valid JSON", {"metrics/toy/seeds/bow--default--0.json": "{"}),
    act("a result that is a list", "compare", "bow--default--0.json: holds no JSON object", {"metrics/toy/seeds/bow--default--0.json": "[]"}),
    act("a result without figures", "compare", "bow--default--0.json: lacks variant, seed, experiment", {"metrics/toy/seeds/bow--default--0.json": "{}"}),
    act("a result of an earlier version", "compare", "bow--default--0.json: an earlier version has made it, which did not keep the answers", {"metrics/toy/seeds/bow--default--0.json": '{"variant": "bow", "seed": 0, "experiment": {}, "scores": {}, "dev": {}, "size": {}}'}),
    act("a variant that there is not", "train-curve", "variant 'bwo' is unknown. Choose one of linear, bow", variant="bwo"),
    act("a variant without a curve", "train-curve", "transformer-int8 has learned from all training texts", variant="transformer-int8"),
    act("a curve without texts", "train-curve", "corpus/own/train.spacy: No such file or directory. Run the command that makes it", variant="bow", dataset="own"),
    # configs
    act("a config that is not there", "compose", "configs/bwo.cfg: no such config", variant="bwo"),
    *(
        act(f"a config {what}", "compose", says, {"configs/mine.cfg": content}, variant="mine")
        for what, content, says in (
            ("that is a folder", FOLDER, "configs/mine.cfg: no such config"),
            ("that is no config", "nonsense", "configs/mine.cfg: not a valid spaCy config"),
            ("that is not UTF-8", b"[variant]\n# caf\xe9\n", "configs/mine.cfg"),
            ("whose parents lead back", '[variant]\nparents = ["mine"]\n', "its [variant] parents lead back to"),
            ("whose parent is not there", '[variant]\nparents = ["yours"]\n', "configs/yours.cfg: no such config"),
            ("whose parents are text", '[variant]\nparents = "bow"\n', "parents must be of type list"),
            ("with an unknown key", '[variant]\nparent = ["bow"]\n', "[variant] parent is unknown"),
            ("with an unknown rule of sizes", '[variant]\nparents = ["bow"]\nsizes = "huge"\n', "sizes = 'huge' is unknown"),
            ("with code that is not there", '[variant]\nparents = ["bow"]\ncode = "mine.py"\n', "mine.py"),
            ("with a misspelt setting", '[variant]\nparents = ["bow"]\n\n[training]\ndropuot = 0.1\n', "spaCy does not know training.dropuot"),
            ("with a value of another type", '[variant]\nparents = ["bow"]\n\n[training]\ndropout = "much"\n', "configs/mine.cfg: not a valid spaCy config"),
            ("with an unknown architecture", '[variant]\nparents = ["bow"]\n\n[components]\n\n[components.textcat]\n\n[components.textcat.model]\n@architectures = "mine.v1"\n', "configs/mine.cfg: not a valid spaCy config"),
            ("with a reference to nothing", '[variant]\nparents = ["bow"]\n\n[training]\ndropout = ${nothing.at_all}\n', "configs/mine.cfg"),
        )
    ),
    act("a config for a corpus that is not there", "compose", "corpus/own/task.json: cannot be read", dataset="own"),
    # encoders
    act("an encoder's folder without one", "weights", "mine: the folder holds no encoder. It needs config.json", {"mine/readme": "x"}, transformer="mine"),
    act("an encoder that is a file", "weights", "mine: is a file. An encoder is a folder with config.json", {"mine": "x"}, transformer="mine"),
    act("an encoder that is broken", "weights", "mine: the encoder in this folder cannot be loaded", {"mine/config.json": "{}", "mine/model.safetensors": "x"}, transformer="mine"),
    act("an encoder that is where it shall go", "weights", "source and output are the same folder", {"training/toy/weights/transformer/config.json": "{}", "training/toy/weights/transformer/model.safetensors": "x"}, transformer="training/toy/weights/transformer"),
    # raw text and vectors
    act("raw text without words", "tokenize-raw", "corpus/toy/raw.jsonl: holds no words", {"corpus/toy/raw.jsonl": '{"text": " "}'}),
    act("too few words", "learn-vectors", "occur 100000 times or more, too few to learn vectors", vectors_min_count="100000"),
    act("too few words", "learn-floret", "100000 times or more", vectors_min_count="100000"),
    # report
    act("nothing measured", "report", "metrics/own: no metrics of data set 'own'", dataset="own"),
    act("metrics that are broken", "report", "metrics/toy/bow.json: is not valid JSON", {"metrics/toy/bow.json": "{"}),
    act("metrics that are a list", "report", "metrics/toy/bow.json: holds no JSON object", {"metrics/toy/bow.json": "[]"}),
    act("metrics that were renamed", "report", "metrics/toy/mine.json: holds the metrics of 'bow'. The file was renamed", {"metrics/toy/mine.json": Path("bow.json")}),
    act("nothing measured", "recommend", "metrics/own: no metrics of data set 'own'", dataset="own"),
    act("nothing measured", "board", "metrics", {"metrics/toy": NOTHING}),
    act("a tool that there is not", "train-baselines", "there is no 'naive-bayes'. Choose from", baselines="naive-bayes"),
    act("a corpus that is not there", "train-baselines", "corpus/own", dataset="own", baselines="tfidf-svm"),
    act("nothing to rebuild", "reproduce", "metrics/toy/floret.json: cannot be read", variant="floret"),
    act("metrics that are a list", "reproduce", "metrics/toy/bow.json: holds no JSON object", {"metrics/toy/bow.json": "[]"}, variant="bow"),
    act("metrics without an environment", "reproduce", "metrics/toy/bow.json: lacks dataset, seed, scores, dev, size, train, env", {"metrics/toy/bow.json": '{"variant": "bow"}'}, variant="bow"),
    act("a commit that there is not", "reproduce", "not a git repository", commit="abc"),
    act("nothing trained", "playground", "training/own: no trained variant. Train one first", dataset="own"),
    act("a port that there is not", "playground", "vars.play_port 70000: must be 65535 or less", play_port="70000"),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a corpus, and pipelines: finished, measured, unfinished, of other labels, without a classifier."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("project.yml", "scripts/components.py", "assets/bbc/README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "configs", folder / "configs")
    put(folder / "assets" / "toy" / "train.jsonl", jsonl())
    with pytest.MonkeyPatch.context() as patch:
        assert perform("convert", folder, patch, {"dataset": "toy"}) == 0
        assert perform("tokenize-raw", folder, patch, {"dataset": "toy"}) == 0
        assert perform("select", folder, patch, {"dataset": "toy"}) == 0
    for name in PROJECT["directories"]:
        (folder / name).mkdir(exist_ok=True)  # weasel would
    training = folder / "training" / "toy"
    for name, labels in PIPELINES.items():
        nlp = spacy.blank("en")
        if labels:
            pipe = nlp.add_pipe("textcat", config={"model": BOW})
            for label in labels:
                pipe.add_label(label)
            nlp.initialize()
        (training / name).mkdir(parents=True)
        nlp.to_disk(training / name / "model-best")
        finish(training / name)
    metrics = srsly.read_json(ROOT / "metrics" / "bbc" / "bow.json") | {"dataset": "toy"}
    for name, variant in {"bow": "bow", "linear": "linear", "single": "bow"}.items():
        md5 = "another" if name == "linear" else srsly.read_json(training / name / "train.json")["model_md5"]
        of_it = metrics | {"variant": variant, "train": metrics["train"] | {"model_md5": md5}}
        put(folder / "metrics" / "toy" / f"{name}.json", srsly.json_dumps(of_it))
    (training / "cnn" / "train.json").rename(training / "cnn" / "config.cfg")
    return folder


@pytest.fixture(autouse=True)
def small_bombs(monkeypatch):
    """The limit that bombs of a few megabytes go beyond."""
    monkeypatch.setattr("scripts.forms.lines.FREE_BYTES", 2_000_000)


@contextmanager
def placed(folder, files):
    """Have files in a folder for a while; what they take the place of comes back."""
    done = []
    try:
        for number, (name, content) in enumerate(files.items()):
            path = folder / name
            before = path.rename(folder.with_name(f"kept-{number}")) if path.exists() else None
            top = next((parent for parent in reversed(path.parents) if not parent.exists()), path)
            done.append((path, top, before))
            put(path, content)
        yield
    finally:
        for path, top, before in reversed(done):
            remove(top)
            if before:
                before.rename(path)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.command}: {case.what}" for case in CASES])
def test_refused_with_one_sentence(made, monkeypatch, capfd, case):
    if case.settings.get("engine") == "ray":
        pytest.importorskip("ray", reason="needs requirements-ray.txt")
    with placed(made, case.files):
        before = snapshot(made)
        code = perform(case.command, made, monkeypatch, case.settings)
        after = snapshot(made)
        for name in sorted(after.keys() - before.keys(), key=len):
            remove(made / name)
    captured = capfd.readouterr()
    output = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", captured.out + captured.err).split())
    assert code == 1, output
    assert case.says in output and output.count("✘") == 1 and "Traceback" not in output, output
    assert len(output) < 700, "a message, not a dump of the file"
    assert after == before


def test_there_are_enough_cases():
    assert len(CASES) >= 150
