"""Published data sets whose files have a form of their own; all others are read by the form of their files.

Where each comes from, and its licence: assets/NAME/README.md and project.yml.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.common.cli import UserError
from scripts.data.bbc import read_bbc, read_bbc_articles
from scripts.data.formats import Example, Splits

SENTIMENT = {"0": "negative", "1": "positive"}


def numbered_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[str, str]]:
    """The lines of a file that hold something, each with its source.

    Raises:
        UserError: there is no such file, or it is in another encoding.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Fetch it: python -m spacy project assets . --extra")
    try:
        lines = path.read_text(encoding=encoding).split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not {encoding} ({error}). Remove it, and fetch it again.") from None
    return ((line.strip(), f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip())


def broken(source: str, expected: str, line: str) -> UserError:
    """The error of a line that is not as published."""
    return UserError(f"{source}: expected {expected}, found {line!r:.60}. Remove the file, and fetch it again.")


def read_sst2(folder: Path) -> Splits:
    """Stanford Sentiment Treebank, binary: `0 text` or `1 text` a line, official splits."""
    splits: Splits = {}
    for split in ("train", "dev", "test"):
        splits[split] = []
        for line, source in numbered_lines(folder / f"stsa.binary.{split}"):
            digit, _, text = line.partition(" ")
            if digit not in SENTIMENT or not text:
                raise broken(source, "0 or 1, a space and a text", line)
            splits[split].append(Example(text, (SENTIMENT[digit],), source))
    return splits


def read_trec(folder: Path) -> Splits:
    """TREC's questions: `COARSE:fine question` a line, in ISO-8859-1; the coarse class is the label."""
    splits: Splits = {}
    for split in ("train", "test"):
        splits[split] = []
        for line, source in numbered_lines(folder / f"TREC.{split}", "iso-8859-1"):
            classes, _, text = line.partition(" ")
            coarse, colon, _ = classes.partition(":")
            if not (coarse and colon and text):
                raise broken(source, "CLASS:subclass, a space and a question", line)
            splits[split].append(Example(text, (coarse,), source))
    return splits


def read_gnad(folder: Path) -> Splits:
    """10kGNAD's test part: `section;text` a line, quoted by ' where the text holds a semicolon. To be split."""
    path = folder / "test.csv"
    lines = [line for line, _ in numbered_lines(path)]
    examples = []
    for number, row in enumerate(csv.reader(lines, delimiter=";", quotechar="'"), 1):
        if len(row) != 2:
            raise broken(f"{path}, record {number}", "a section, a semicolon and a text", ";".join(row))
        examples.append(Example(row[1].strip(), (row[0],), f"{path}, record {number}"))
    return {"train": examples}


READERS: dict[str, Callable[[Path], Splits]] = {
    "bbc": read_bbc,
    "bbc-articles": read_bbc_articles,
    "sst2": read_sst2,
    "trec": read_trec,
    "gnad": read_gnad,
}
