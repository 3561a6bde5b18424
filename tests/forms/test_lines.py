"""scripts/forms/lines.py: encodings, line ends, what is no file, and what must not be unpacked."""

import gzip
import os

import pytest

from scripts.common.cli import UserError
from scripts.forms import lines
from scripts.forms.lines import is_blank, text_lines

TEXT = "Zwölf Monkeys\nгол, 進球\n\nlast"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
def test_encodings_and_line_ends(tmp_path, encoding, end, pack):
    path = tmp_path / "x"
    path.write_bytes(pack(TEXT.replace("\n", end).encode(encoding)))
    assert list(text_lines(path)) == TEXT.split("\n")


def test_big_endian_with_a_mark(tmp_path):
    for encoding in ("utf-16-be", "utf-32-be"):
        (tmp_path / "x").write_bytes(("\ufeff" + TEXT).encode(encoding))
        assert list(text_lines(tmp_path / "x")) == TEXT.split("\n")


def test_lines_are_counted_from_one_whatever_the_encoding(tmp_path):
    (tmp_path / "x").write_bytes("a\nb\nc\0d\n".encode("utf-16"))
    with pytest.raises(UserError, match="x, line 3: a NUL byte"):
        list(text_lines(tmp_path / "x"))


def test_a_line_without_end_is_not_read_to_its_end(tmp_path):
    (tmp_path / "x").write_bytes(b"short\n" + b"long " * 100)
    with pytest.raises(UserError, match="x, line 2: has no end within"):
        list(text_lines(tmp_path / "x", longest=100))


@pytest.mark.parametrize("content", [b"x" * 1_000_000, b"a label and a text"], ids=["long lines", "short lines"])
def test_gzip_bombs_stop_at_a_limit(tmp_path, monkeypatch, content):
    monkeypatch.setattr(lines, "FREE_BYTES", 1_000_000)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress((content + b"\n") * (60_000_000 // len(content)), 9))
    found = 0
    with pytest.raises(UserError, match="bomb.gz: unpacks to more than"):
        for found, _ in enumerate(text_lines(path)):  # noqa: B007
            pass
    assert found * len(content) < 30_000_000


def test_text_that_packs_well_is_no_bomb(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"the same line again and again\n" * 100_000))
    assert sum(1 for _ in text_lines(tmp_path / "x.gz")) == 100_000


def test_what_is_no_file_is_called_by_its_name(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nowhere").symlink_to("none")
    cases = {"folder": "is a folder", "circle": "or in a circle", "nowhere": "leads nowhere", "none": "no such file"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        cases["pipe"] = "is a pipe or device"
    for name, expected in cases.items():
        with pytest.raises(UserError, match=f"{name}: .*{expected}"):
            list(text_lines(tmp_path / name))


@pytest.mark.parametrize("text", ["", " \t\n", "\u200b", "\ufeff\u2060", "\u3164", "\0", "\u00a0\u3000", "\ufe0f"])
def test_nothing_to_see(text):
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", "\u200ba", "進", "-", "1", "\U0001f600"])
def test_something_to_see(text):
    assert not is_blank(text)
