"""Records of a file, whatever its form: JSON objects, rows of a table, documents of spaCy, lines of plain text.

`convert` makes labelled examples of them (scripts/data/formats.py), `classify` labels them. Whatever a user can mend is
a `UserError` with file, line and mend.
"""

import csv
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc, DocBin

from scripts.common.cli import UserError
from scripts.forms.lines import MAX_WHOLE_BYTES, Watch, read_head, text_lines
from scripts.forms.quotes import OpenQuotes

AUTO = "auto"
FASTTEXT = "__label__"  # before each label in fastText's form
NONE = "none"  # a setting cannot be empty: it would vanish from the command line
TEXT_COLUMNS = (
    "text", "sentence", "content", "document", "utterance", "query", "question", "review", "tweet", "comment",
    "message", "body", "description", "headline", "title",
)  # fmt: skip
NO_TEXT = {"label", "labels", "category", "class", "intent"}  # begin a name that ends as one of a text
NAME_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+")
MAX_CHARS = 1_000_000  # of one text; spaCy's own limit (nlp.max_length)
MAX_DEPTH = 100  # of JSON in JSON
MAX_FIELD = 100_000_000  # characters of a field; csv's default refuses texts of more than 128 kB
ARROW_ROWS = 1_000  # at a time
MAX_SEEN = 1_000  # keys, and sets of keys, that are remembered
TABLE_ROWS = 20  # that are looked at to tell a table from plain text
COLUMN_NAME = re.compile(r"\w[\w .()/#%:&-]{0,39}")

Record = dict[str, Any]
Records = Iterator[tuple[Any, str]]  # each with its source, for error messages


# JSON


def parse_json(text: str) -> Any:
    """Parse one JSON value.

    Raises:
        ValueError: it is broken, or nested so deeply that Python could not write it again.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        level = [value]
        for _ in range(MAX_DEPTH):
            level = [
                inner
                for item in level
                for inner in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
            ]
        if level:
            raise ValueError("nested too deeply")
    return value


def jsonl_records(path: Path) -> Records:
    """Stream the JSON value of each line; blank lines are passed over.

    Raises:
        UserError: a line is broken.
    """
    for number, line in enumerate(text_lines(path), 1):
        if line.strip():
            source = f"{path}, line {number}"
            try:
                yield parse_json(line), source
            except ValueError as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise UserError(f"{source}: broken JSON ({reason}). Mend or remove the line.") from None


def json_records(path: Path) -> Records:
    """The members of a JSON list, or of the only list in a JSON object.

    Raises:
        UserError: the file is broken or too large.
    """
    lines, size = [], 0
    for line in text_lines(path, MAX_WHOLE_BYTES):
        lines.append(line)
        size += len(line)
        if size > MAX_WHOLE_BYTES:
            raise UserError(f"{path}: more than {MAX_WHOLE_BYTES / 1e6:,.0f} MB of JSON. Export JSON Lines.")
    try:
        data = parse_json("\n".join(lines))
    except ValueError as error:
        raise UserError(f"{path}: broken JSON ({error}). Mend it, or export JSON Lines.") from None
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        data = lists[0] if len(lists) == 1 else [data]
    for number, record in enumerate(data if isinstance(data, list) else [data], 1):
        yield record, f"{path}, item {number}"


# Tables


def find_delimiter(header: str) -> str | None:
    """The most frequent of tab, comma, semicolon and bar outside quotes in the first line; None if there is none."""
    bare = re.sub(r'"[^"]*"', "", header)
    best = max("\t,;|", key=bare.count)
    return best if best in bare else None


def table_reader(lines: Iterator[str]) -> Any:
    """A csv.reader of lines, the first of which tells the delimiter."""
    csv.field_size_limit(MAX_FIELD)
    first = next(lines, "")
    return csv.reader(
        (line + "\n" for line in chain([first], lines)), delimiter=find_delimiter(first) or ",", strict=True
    )


def table_records(path: Path) -> Records:
    """Stream the rows of a delimited table whose first line names the columns.

    Raises:
        UserError: the table is broken, or two columns have one name.
    """
    quotes = OpenQuotes(text_lines(path))
    reader = table_reader(iter(quotes))
    header: list[str] = []
    try:
        for row in reader:
            source = f"{path}, line {reader.line_num}"
            quotes.add(row, reader.line_num, reader.dialect.delimiter)
            if not row:
                continue
            if not header:
                header = [name.strip() for name in row]
                if repeated := [name for name, count in Counter(header).items() if count > 1]:
                    raise UserError(f"{source}: more than one column is named {repeated[0]!r}. Rename one.")
                continue
            if len(row) != len(header):
                raise UserError(
                    f"{source}: the number of fields differs from the header's ({len(row)}, not {len(header)}). "
                    "Mend the line; a field with a delimiter or a line break in it needs double quotes."
                )
            yield dict(zip(header, row, strict=True)), source
        quotes.check(path)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: broken CSV ({error}). Mend the line.") from None


def looks_like_table(path: Path, text_column: str) -> bool:
    """Whether a file with a delimiter in its first line is a table, and not plain text.

    It is if that is the ending of its name, if a column of a known name is there, or if the first line has the looks of
    column names and all that follow have as many fields.
    """
    if {suffix.casefold() for suffix in path.suffixes} & {".csv", ".tsv"}:
        return True
    try:
        rows = [row for row in islice(table_reader(text_lines(path)), TABLE_ROWS) if row]
    except csv.Error:
        rows = [row for row in csv.reader(islice(text_lines(path), 1)) if row]
    names = [name.strip().casefold() for name in rows[0]] if rows else []
    if set(names) & ({*TEXT_COLUMNS} if text_column == AUTO else {text_column.casefold()}):
        return True
    fields = {len(row) for row in rows}
    return len(rows) > 1 and len(fields) == 1 and fields != {1} and all(map(COLUMN_NAME.fullmatch, rows[0]))


# Parquet, Arrow


def import_pyarrow() -> Any:
    """The packages for Parquet and Arrow.

    Raises:
        UserError: they are not installed.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            "Parquet files and Hugging Face data sets need pyarrow. Install it: pip install -r requirements.txt"
        ) from None
    return pyarrow


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet does, whatever its name."""
    return read_head(path)[:4] == b"PAR1"


@contextmanager
def open_arrow(path: Path) -> Iterator[tuple[Any, Iterable[Any]]]:
    """Give the columns of a Parquet, Arrow or Feather file, with their types, and its record batches, streamed.

    Raises:
        UserError: the file is broken, or pyarrow is missing.
    """
    pyarrow = import_pyarrow()
    try:
        if is_parquet(path):
            file = pyarrow.parquet.ParquetFile(path)
            yield file.schema_arrow, file.iter_batches(ARROW_ROWS)
            return
        with pyarrow.OSFile(str(path)) as stream:
            try:
                batches = reader = pyarrow.ipc.open_stream(stream)
            except pyarrow.ArrowInvalid:
                reader = pyarrow.ipc.open_file(str(path))
                batches = map(reader.get_batch, range(reader.num_record_batches))
            yield reader.schema, batches
    except (pyarrow.ArrowException, OSError) as error:
        raise broken_arrow(path, error) from None


def broken_arrow(path: Path, error: Exception) -> UserError:
    """What to say of a file that pyarrow cannot read."""
    return UserError(f"{path}: broken Parquet or Arrow file ({error!s:.200}). Export or fetch it again.")


def rows_of(batch: Any, path: Path) -> list[Record]:
    """The rows of a record batch.

    Raises:
        UserError: a value is none that Python can hold.
    """
    try:
        return batch.to_pylist()
    except (OSError, OverflowError, ValueError) as error:  # pyarrow's own errors are such, too
        raise broken_arrow(path, error) from None


def arrow_rows(path: Path) -> Records:
    """Stream the rows of a Parquet, Arrow or Feather file as they are."""
    with open_arrow(path) as (_, batches):
        rows = chain.from_iterable(rows_of(batch, path) for batch in batches)
        yield from ((row, f"{path}, row {number}") for number, row in enumerate(rows, 1))


# spaCy's binary form


def read_docs(path: Path) -> list[Doc]:
    """The documents of a DocBin.

    Raises:
        UserError: the file is broken.
    """
    watch, engine = Watch(path), zlib.decompressobj()
    try:
        with path.open("rb") as stream:
            while block := engine.unconsumed_tail or stream.read(1 << 16):
                watch.add(len(engine.decompress(block, 1 << 20)))
        return list(DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab))
    except UserError:
        raise
    except Exception as error:  # zlib's, msgpack's and spaCy's own
        raise UserError(f"{path}: not a DocBin of spaCy 3 ({error!s:.80}). Export it again.") from None


# fastText's form


def fasttext_records(path: Path) -> Records:
    """Stream the texts of fastText's form, and their labels: `__label__positive A fine film`.

    Any word that begins so is a label, wherever it stands, as fastText has it
    (https://fasttext.cc/docs/en/supervised-tutorial.html).
    """
    for number, line in enumerate(text_lines(path), 1):
        if words := line.split():
            labels = [word.removeprefix(FASTTEXT) for word in words if word.startswith(FASTTEXT)]
            text = " ".join(word for word in words if not word.startswith(FASTTEXT))
            yield {"text": text, "labels": labels}, f"{path}, line {number}"


# Which form


def looks_like_prodigy(line: str) -> bool:
    """Whether a JSON line is an annotated task."""
    try:
        record = parse_json(line)
    except ValueError:
        return False
    keys = set(record) if isinstance(record, dict) else set()
    return bool({"answer", "_task_hash"} & keys) or {"options", "accept"} <= keys


def holds_one_list(line: str, text_column: str) -> bool:
    """Whether a JSON line is an object that is no record, but holds a list of them: a whole file on one line."""
    try:
        record = parse_json(line)
    except ValueError:
        return False
    if not isinstance(record, dict) or {str(name).casefold() for name in record} & {*TEXT_COLUMNS}:
        return False
    if text_column in record:
        return False
    lists = [value for value in record.values() if isinstance(value, list)]
    return len(lists) == 1 and bool(lists[0]) and all(isinstance(item, dict) for item in lists[0])


def is_json_text(line: str) -> bool:
    """Whether a line is one text in JSON, that is, in quotes."""
    try:
        return isinstance(parse_json(line), str)
    except ValueError:
        return False


JSON_LIST = re.compile(r"\[\s*(?:[\[{\"\]]|$)")  # and no text such as `[Urgent] The server is down`
MAGIC = {b"PAR1": "parquet", b"ARROW1": "datasets", b"\xff\xff\xff\xff": "datasets"} | {
    b"\x78" + level: "spacy" for level in (b"\x01", b"\x9c", b"\xda")
}  # a DocBin is packed with zlib


def detect_file(path: Path, text_column: str = AUTO) -> tuple[str, str]:
    """Tell the form of a file by its content: a name of `FORMS`, and the first line that is not blank, if it has lines.

    A delimiter in the first line makes a table. An empty file is plain text without a first line.

    Args:
        path: the file.
        text_column: of the texts, if it has been named: an object that has it is a record.

    Raises:
        UserError: it is of a form that cannot be read.
    """
    head = read_head(path)
    for start, name in MAGIC.items():
        if head.startswith(start):
            return name, ""
    if head.startswith(b"PK\x03\x04"):
        raise UserError(
            f"{path}: a zip file, or a workbook such as .xlsx. Unpack it, or save the sheet as CSV (UTF-8)."
        )
    lines = (line.strip() for line in text_lines(path, MAX_WHOLE_BYTES) if line.strip())
    line = next(lines, "")
    named = ".json" in path.name.casefold()
    if line.startswith("[") and (named or JSON_LIST.match(line)):
        return "json", line
    if line.startswith("{") and line.endswith(("{", "[", ",")):
        return "json", line
    if line.startswith("{"):
        if holds_one_list(line, text_column) and next(lines, None) is None:
            return "json", line
        return "prodigy" if looks_like_prodigy(line) else "jsonl", line
    if named and is_json_text(line):
        return "jsonl", line
    if re.search(rf"(?:^|\s){FASTTEXT}", line):
        return "fasttext", line
    return "table" if find_delimiter(line) else "text", line


FORMS: dict[str, Callable[[Path], Records]] = {
    "jsonl": jsonl_records,
    "json": json_records,
    "table": table_records,
    "parquet": arrow_rows,
    "datasets": arrow_rows,
    "prodigy": jsonl_records,
    "fasttext": fasttext_records,
    "spacy": lambda path: (({"text": doc.text}, f"{path}, doc {i}") for i, doc in enumerate(read_docs(path), 1)),
    "text": lambda path: (({"text": line}, f"{path}, line {i}") for i, line in enumerate(text_lines(path), 1)),
}


def detect_texts(path: Path, form: str = AUTO, text_column: str = AUTO) -> str:
    """The form of a file of texts without labels.

    Args:
        path: the file; it may be plain text.
        form: a name of `FORMS`, or `auto`, which goes by the content.
        text_column: of the text, which tells a table from plain text; or `auto`.

    Raises:
        UserError: it has none, or there is no such form.
    """
    if form != AUTO and form not in FORMS:
        raise UserError(f"format {form!r} is unknown. Choose auto, {', '.join(FORMS)}.")
    found = form
    if form == AUTO:
        found, line = detect_file(path, text_column)
        if found in ("table", "text"):
            found = "table" if line and looks_like_table(path, text_column) else "text"
    if found == "text" and text_column != AUTO:
        first = next(text_lines(path), "")
        raise UserError(f"{path}, line 1: no column {text_column!r}; this is plain text, {first!r:.60}.")
    return found


# What of a record is the text


@lru_cache(MAX_SEEN)  # asked for each record, and the same for all of a table
def words_of(name: str) -> tuple[str, ...]:
    """The words of a column's name: `comment_text` and `reviewText` have two; none if it has spaces, as texts have."""
    return () if " " in name else tuple(word.casefold() for word in NAME_WORD.findall(name))


def column(record: Record, wanted: str, candidates: Sequence[str], setting: str, source: str) -> str:
    """The key of a record that holds what is wanted: of a known name, else the only one that ends with such a word.

    Raises:
        UserError: there is none.
    """
    if wanted != AUTO:
        if wanted not in record:
            raise UserError(
                f"{source}: no column {wanted!r}; there are {', '.join(map(repr, record)):.300}. "
                f"Correct the setting {setting}."
            )
        return wanted
    by_name = {str(name).strip().casefold(): name for name in reversed(record)}
    for name in candidates:
        if name in by_name:
            return by_name[name]
    of_text = setting == "text_column"
    ending = [
        name
        for name in record
        if len(words := words_of(str(name))) > 1
        and words[-1] in candidates
        and not (of_text and words[0] in NO_TEXT)  # label_text is the name of a label
    ]
    if len(ending) == 1:
        return ending[0]
    if of_text:
        raise UserError(
            f"{source}: no column with a known name of texts; there are {', '.join(map(repr, record)) or 'none':.300}. "
            f"Set text_column to the one that holds the text (known: {', '.join(candidates)}); if these are no names, "
            "but the first text already, put a line with names above it."
        )
    return "label"


def moved(what: str, here: str, before: str, source: str, first: str) -> UserError:
    """What to say where text or label stands in another column than in the first record."""
    return UserError(
        f"{source}: the {what} stands in `{here}` here, but in `{before}` in {first}. Mend or remove the line, or name "
        f"the column of all: --vars.{what}_column {before}"
    )


class TextColumn:
    """Finds the column of the texts of a file: the same in all records, so that none is read for want of another.

    Args:
        wanted: the column, or `auto`.
        if_there: whether `auto` will do, if the first record does not have it.
    """

    def __init__(self, wanted: str = AUTO, if_there: bool = False) -> None:
        self.wanted, self.if_there, self.name, self.first = wanted, if_there, "", ""
        self.seen: dict[tuple[str, ...], str] = {}  # by the keys of a record: all of a table have the same

    def of(self, record: Record, source: str) -> str:
        """The key of a record that holds its text.

        Raises:
            UserError: there is none, or it is another one than in the first record.
        """
        if not self.first and self.if_there and self.wanted not in record:
            self.wanted = AUTO
        if (name := self.seen.get(keys := tuple(record))) is None:
            name = column(record, self.wanted, TEXT_COLUMNS, "text_column", source)
            if not self.first:
                self.name, self.first = name, source
            elif name.strip().casefold() != self.name.strip().casefold():
                raise moved("text", name, self.name, source, self.first)
            if len(self.seen) < MAX_SEEN:
                self.seen[keys] = name
        return name


def as_objects(records: Iterable[tuple[Any, str]]) -> Iterator[tuple[Record, str]]:
    """Make sure that records are objects; a text alone becomes one.

    Raises:
        UserError: one is neither.
    """
    for record, source in records:
        if isinstance(record, str):
            yield {"text": record}, source
        elif isinstance(record, dict):
            yield record, source
        else:
            raise UserError(f'{source}: expected an object like {{"text": "…"}}, found {record!r:.60}.')
