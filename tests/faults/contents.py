"""What stands in files that people put somewhere: good, and near to it."""

import gzip
import io
import json
import os
import zipfile
from enum import Enum
from pathlib import Path

import pytest

from tests.conftest import toy_records

GOOD = [json.dumps(record) for record in toy_records()]
TABLE = ["text,label", *(f"{record['text']},{record['label']}" for record in toy_records())]
BOMB = gzip.compress(b"x" * 3_000_000, 9)  # for a limit of 2 MB
BOMB_OF_LINES = gzip.compress((b'{"text": "%s", "label": "b"}\n' % (b"a" * 1_000)) * 3_000, 9)


class Kind(Enum):
    """What may stand in the place of a file."""

    LINK = "a link to itself"
    PIPE = "a pipe"
    FOLDER = "a folder"
    NOTHING = "nothing"


LINK, PIPE, FOLDER, NOTHING = Kind


def put(path, content):
    """Write a file, or what stands in its place; a path is what a link leads to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is LINK:
        path.symlink_to(path.name)
    elif isinstance(content, Path):
        path.symlink_to(content)
    elif content is PIPE:
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes in folders here")
        os.mkfifo(path)
    elif content is FOLDER:
        path.mkdir()
    elif content is not NOTHING:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


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
