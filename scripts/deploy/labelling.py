"""Read texts in any common form, label them, and write them with labels and scores.

Streams: memory does not grow with the input. Empty texts get no label.
"""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from spacy.language import Language

from scripts.common.cli import UserError
from scripts.common.files import whole_file
from scripts.common.thresholds import COMPONENT
from scripts.data.formats import (
    AUTO,
    MAX_CHARS,
    TEXT_COLUMNS,
    arrow_batches,
    column,
    find_delimiter,
    import_pyarrow,
    is_parquet,
    parse_json,
    table_records,
    text_lines,
)

Record = dict[str, Any]
SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
PARQUET_ROWS = 10_000  # of a row group


def input_records(path: Path, text_column: str = AUTO) -> Iterator[tuple[Record, str]]:
    """Stream the records of a file and their sources: JSON objects, rows of a table, or `{"text": line}`.

    A table is told by a delimiter and a text column in its first line; any other file that is neither JSON nor Parquet
    is plain text.

    Raises:
        UserError: a line is broken.
    """
    if is_parquet(path):
        rows = (row for batch in arrow_batches(path) for row in batch.to_pylist())
        yield from ((row, f"{path}, row {number}") for number, row in enumerate(rows, 1))
        return
    first = next((line for line in text_lines(path) if line.strip()), "")
    if first.lstrip().startswith("{"):
        for number, line in enumerate(text_lines(path), 1):
            if line.strip():
                source = f"{path}, line {number}"
                record = parse_json(line, source)
                if not isinstance(record, dict):
                    raise UserError(f'{source}: expected an object like {{"text": "…"}}, found {record!r:.60}.')
                yield record, source
        return
    delimiter = find_delimiter(first) or ","
    names = [name.strip().strip('"') for name in first.split(delimiter)]
    wanted = TEXT_COLUMNS if text_column == AUTO else (text_column,)
    if {name.casefold() for name in names} & {name.casefold() for name in wanted}:
        yield from table_records(path)
    elif text_column != AUTO:
        raise UserError(f"{path}, line 1: no column {text_column!r}; there are {', '.join(map(repr, names))}.")
    else:
        for number, line in enumerate(text_lines(path), 1):
            yield {"text": line}, f"{path}, line {number}"


def text_of(record: Record, source: str, text_column: str = AUTO) -> str:
    """The text of a record; it may be empty.

    Raises:
        UserError: there is none, or it is not text or too long.
    """
    name = column(record, text_column, TEXT_COLUMNS, "text_column", source)
    text = record.get(name)
    if not isinstance(text, str):
        raise UserError(f"{source}: `{name}` is missing or not text, found {text!r:.60}. Mend the line.")
    if len(text) > MAX_CHARS:
        raise UserError(f"{source}: a text of {len(text):,} characters; at most {MAX_CHARS:,} are possible. Split it.")
    return text


def answer(cats: dict[str, float], threshold: float | None) -> Record:
    """Label and scores in the form of the output.

    Args:
        cats: score of each label; empty for an empty text.
        threshold: from which score on a label is given; None if only the best one is.
    """
    scores = {label: round(score, 4) for label, score in cats.items()}
    if threshold is None:
        return {"label": max(cats, key=lambda label: cats[label]) if cats else None, "cats": scores}
    return {"labels": [label for label, score in cats.items() if score >= threshold], "cats": scores}


def pipe(nlp: Language, records: Iterator[tuple[Record, str]], text_column: str, n_process: int) -> Iterator[Record]:
    """Stream the records with label and scores added; these replace entries of the same name."""
    exclusive = nlp.get_pipe_meta(COMPONENT).factory == "textcat"
    threshold = None if exclusive else nlp.get_pipe(COMPONENT).cfg["threshold"]

    def inputs() -> Iterator[tuple[str, tuple[Record, bool]]]:
        for record, source in records:
            text = text_of(record, source, text_column)
            # Some architectures cannot pool over no words at all, so that empty texts do not reach them as such.
            yield text if text.strip() else "-", (record, bool(text.strip()))

    for doc, (record, full) in nlp.pipe(inputs(), as_tuples=True, n_process=n_process):
        yield record | answer(doc.cats if full else {}, threshold)


@contextmanager
def json_writer(stream: TextIO) -> Iterator[Any]:
    """Give a function that writes one record a line."""
    yield lambda record: stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def flat(record: Record, labels: tuple[str, ...]) -> Record:
    """A record as a table row: labels in one field, a column for the score of each label."""
    row = {name: value for name, value in record.items() if name != "cats"}
    if "labels" in row and isinstance(row["labels"], list):
        row["labels"] = "|".join(row["labels"])
    return row | {f"score {label}": record["cats"].get(label, "") for label in labels}


@contextmanager
def table_writer(stream: TextIO, labels: tuple[str, ...], delimiter: str) -> Iterator[Any]:
    """Give a function that writes one record a row; the first one decides on the columns."""
    writer: csv.DictWriter | None = None

    def write(record: Record) -> None:
        nonlocal writer
        row = flat(record, labels)
        if writer is None:
            writer = csv.DictWriter(stream, list(row), delimiter=delimiter, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)

    yield write


@contextmanager
def parquet_writer(path: Path, labels: tuple[str, ...], source: Path) -> Iterator[Any]:
    """Give a function that writes one record a row; columns of a Parquet source keep their types.

    Raises:
        UserError: a column holds values of different types.
    """
    pyarrow = import_pyarrow()
    text, score = pyarrow.string(), pyarrow.float64()
    added = {"label": text, "labels": pyarrow.list_(text)} | {f"score {label}": score for label in labels}
    parquet = pyarrow.parquet.ParquetFile(source).schema_arrow if is_parquet(source) else pyarrow.schema([])
    known = {field.name: field.type for field in parquet} | added
    rows: list[Record] = []
    writer = None

    def flush() -> None:
        nonlocal writer
        try:
            if writer is None:
                guessed = pyarrow.Table.from_pylist(rows).schema
                fields = [(field.name, known.get(field.name, field.type)) for field in guessed]
                writer = pyarrow.parquet.ParquetWriter(path, pyarrow.schema(fields))
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=writer.schema))
        except pyarrow.ArrowException as error:
            raise UserError(
                f"{source}: a column holds values of different types, which Parquet cannot hold. Write .jsonl. "
                f"({error!s:.200})"
            ) from None
        rows.clear()

    def write(record: Record) -> None:
        row = {name: value for name, value in record.items() if name != "cats"}
        rows.append(row | {f"score {label}": record["cats"].get(label) for label in labels})
        if len(rows) == PARQUET_ROWS:
            flush()

    try:
        yield write
        if rows or writer is None:
            flush()
    finally:
        if writer is not None:
            writer.close()


def write_file(output: Path, source: Path, labels: tuple[str, ...], records: Iterator[Record]) -> int:
    """Write labelled records in the form that the output's name says, whole or not at all; return how many."""
    count = 0
    with whole_file(output) as path:
        if output.suffix == ".parquet":
            with parquet_writer(path, labels, source) as write:
                for count, record in enumerate(records, 1):  # noqa: B007
                    write(record)
            return count
        with path.open("w", encoding="utf-8", newline="") as stream:
            delimiter = "\t" if output.suffix == ".tsv" else ","
            is_json = output.suffix == ".jsonl"
            with json_writer(stream) if is_json else table_writer(stream, labels, delimiter) as write:
                for count, record in enumerate(records, 1):  # noqa: B007
                    write(record)
    return count
