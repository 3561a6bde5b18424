"""Write records: as JSON Lines, as a table that spreadsheets open without harm, as Parquet; and tables as Markdown."""

import base64
import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

from scripts.common.cli import UserError
from scripts.forms.lines import CONTROL
from scripts.forms.records import Record, import_pyarrow

Write = Callable[[Record], None]
PARQUET_ROWS = 10_000  # of a row group
FORMULAS = ("neutral", "raw")
# What a spreadsheet takes for a formula, also in full width; a plain negative number is none.
FORMULA = re.compile(r"[\s']*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
HALF = re.compile("[\ud800-\udfff]")  # of a pair of surrogates: JSON can name it, UTF-8 cannot hold it


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table whose first column is text and whose others are numbers, with a line break at its end."""
    lines = [header, (":--", *["--:"] * (len(header) - 1)), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |\n" for line in lines)


# Values


def plain(value: Any) -> Any:
    """A value as JSON has it: dates in ISO 8601, bytes in base64, what is no number as null, other things as text."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def printable(value: Any) -> Any:
    """A value without control characters and half characters in its texts: spaces stand in their places."""
    if isinstance(value, str):
        return CONTROL.sub(" ", value)
    if isinstance(value, dict):
        return {printable(key): printable(inner) for key, inner in value.items()}
    return [printable(inner) for inner in value] if isinstance(value, list) else value


def to_json(value: Any) -> str:
    """JSON on one line, which UTF-8 can hold."""
    return HALF.sub(lambda half: f"\\u{ord(half.group()):04x}", json.dumps(plain(value), ensure_ascii=False))


def to_cell(value: Any, formulas: str) -> Any:
    """A value as a field of a table.

    Args:
        value: what is nested becomes JSON.
        formulas: `neutral` puts an apostrophe before what a spreadsheet would run as a formula; `raw` leaves it.
    """
    if isinstance(value, bool | dict | list | tuple):
        value = to_json(value)
    value = printable(plain(value))
    if formulas == "neutral" and isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


# Writers


def json_writer(stream: TextIO) -> Write:
    """A function that writes one record a line."""

    def write(record: Record) -> None:
        stream.write(to_json(record) + "\n")

    return write


def table_writer(stream: TextIO, names: Sequence[str], delimiter: str, formulas: str = FORMULAS[0]) -> Write:
    """A function that writes one record a row, below a row with the names of the columns.

    Args:
        stream: where to, opened with newline="".
        names: of all columns; a record may lack some.
        delimiter: between fields.
        formulas: see `to_cell`.
    """
    # csv quotes a line break if its kind is among those that end a line, so each line ends with both kinds at first.
    lines = SimpleNamespace(write=lambda line: stream.write(line.removesuffix("\r\n") + "\n"))
    writer = csv.writer(lines, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow([to_cell(name, formulas) for name in names])

    def write(record: Record) -> None:
        writer.writerow([to_cell(record.get(name), formulas) for name in names])

    return write


def schema_of(source: Path, records: Iterator[tuple[Record, str]]) -> Any:
    """The columns of records, and the types of Arrow that hold all their values.

    Args:
        source: where they come from, for error messages.
        records: each with its source.

    Raises:
        UserError: a column holds values of different types.
    """
    pyarrow = import_pyarrow()
    schemas = [pyarrow.schema([])]
    try:
        while chunk := [printable(record) for record, _ in islice(records, PARQUET_ROWS)]:
            names = dict.fromkeys(key for record in chunk for key in record)
            schemas.append(pyarrow.table({name: [record.get(name) for record in chunk] for name in names}).schema)
        return pyarrow.unify_schemas(schemas, promote_options="permissive")
    except (pyarrow.ArrowException, OverflowError) as error:
        raise mixed_types(source, error) from None


def mixed_types(source: Path, error: Exception) -> UserError:
    """What to say where Parquet cannot hold a column."""
    return UserError(
        f"{source}: a column holds values of different types, or nothing, which Parquet cannot hold. Write .jsonl. "
        f"({' '.join(str(error).split()):.200})"
    )


@contextmanager
def parquet_writer(path: Path, source: Path, schema: Any) -> Iterator[Write]:
    """Give a function that writes one record a row.

    Args:
        path: file to write.
        source: where the records come from, for error messages.
        schema: columns and their types; records may lack some.

    Raises:
        UserError: a column holds values of different types.
    """
    pyarrow = import_pyarrow()
    rows: list[Record] = []

    def flush() -> None:
        try:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
        except (pyarrow.ArrowException, OverflowError) as error:
            raise mixed_types(source, error) from None
        rows.clear()

    def write(record: Record) -> None:
        rows.append(printable(record))
        if len(rows) == PARQUET_ROWS:
            flush()

    try:
        writer = pyarrow.parquet.ParquetWriter(path, schema)
    except pyarrow.ArrowException as error:
        raise mixed_types(source, error) from None
    with writer:
        yield write
        flush()
