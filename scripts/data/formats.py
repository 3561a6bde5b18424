"""Read labelled examples and raw text in the forms people have them, and tell which form a file is in by its content.

`FORMATS` names the forms. Whatever a user can mend is a `UserError` with file, line and mend; what is mended here
instead (repeated annotations, control characters, …) is counted in `Notes` and said at the end.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

import spacy
from spacy.tokens import DocBin
from tqdm import tqdm

from scripts.common.cli import UserError

AUTO = "auto"
NONE = "none"  # a setting cannot be empty: it would vanish from the command line
TEXT_COLUMNS = (
    "text", "sentence", "content", "document", "utterance", "query", "question", "review", "tweet", "comment",
    "message", "body", "headline", "title", "description",
)  # fmt: skip
LABEL_COLUMNS = ("cats", "labels", "label", "category", "intent", "class")
SPLITS = ("train", "dev", "test")
SPLIT_NAMES = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}
MODES = (AUTO, "single", "multi", "binary")
MAX_CHARS = 1_000_000  # of one text; spaCy's own limit (nlp.max_length)
HEAD_BYTES = 1 << 16  # enough of a file to tell its form
FASTTEXT = "__label__"  # before each label in fastText's form
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

Splits = dict[str, list["Example"]]


@dataclass(frozen=True)
class Example:
    """One labelled text.

    Attributes:
        text: what is classified.
        labels: its labels; exactly one in a single-label task.
        source: file and line, for error messages.
        raw: further text of the same document, for training without labels.
        group: examples of one group are never split; empty for none.
    """

    text: str
    labels: tuple[str, ...]
    source: str
    raw: tuple[str, ...] = field(default=(), repr=False)
    group: str = ""


@dataclass(frozen=True)
class Options:
    """How to read: `auto` leaves it to the content.

    Attributes:
        format: a name of `FORMATS`.
        text_column: column or key of the text.
        label_column: column or key of the label(s), or several columns of 0 and 1, joined by commas.
        label_separator: what stands between the labels of one field; `none` if a field is one label.
        mode: one of `MODES`.
    """

    format: str = AUTO
    text_column: str = AUTO
    label_column: str = AUTO
    label_separator: str = NONE
    mode: str = AUTO


class Notes:
    """What was mended or left out while reading: how often, and where first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.formats: dict[str, str] = {}

    def add(self, kind: str, source: str) -> None:
        """Count one more of a kind."""
        self.counts[kind] += 1
        self.first.setdefault(kind, source)

    def lines(self) -> list[str]:
        """One line for each kind."""
        return [f"{count:,} × {kind} (first: {self.first[kind]})" for kind, count in self.counts.items()]


# Bytes and lines


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, unpacked if it is gzip (whatever its name).

    Raises:
        UserError: the file is missing.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Run `python -m spacy project assets . --extra`, or put it there.")
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path) if packed else path.open("rb"))


def read_head(path: Path) -> bytes:
    """The first bytes of a file, unpacked."""
    try:
        with open_bytes(path) as stream:
            return stream.read(HEAD_BYTES)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path}: broken gzip file ({error}). Fetch or pack it again.") from None


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet does, whatever its name."""
    return read_head(path)[:4] == b"PAR1"


def text_lines(path: Path) -> Iterator[str]:
    r"""Stream the lines of a UTF-8 (or marked UTF-16) file without their ends, be those \n, \r\n or \r.

    Raises:
        UserError: a line is not UTF-8 or holds a NUL byte, or the file is missing or a broken gzip file.
    """
    number = 0
    try:
        with open_bytes(path) as stream:
            start = stream.read(3)
            stream.seek(0)
            if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
                yield from (line.removesuffix("\n") for line in io.TextIOWrapper(stream, encoding="utf-16"))
                return
            if start == b"\xef\xbb\xbf":
                stream.seek(3)
            for chunk in stream:
                chunk = chunk.removesuffix(b"\n").removesuffix(b"\r")
                for line in chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
                    number += 1
                    yield decode(line, f"{path}, line {number}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: broken gzip file after line {number} ({error}). Fetch or pack it again.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: marked as UTF-16 but broken ({error.reason}). Save the file as UTF-8.") from None


def decode(line: bytes, source: str) -> str:
    """Decode one line.

    Raises:
        UserError: it is not UTF-8, or holds a NUL byte.
    """
    if b"\0" in line:
        raise UserError(
            f"{source}: a NUL byte; the file is damaged, binary, or UTF-16 without a mark. Save it as UTF-8 text."
        )
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{source}: byte {error.object[error.start]:#04x} is not UTF-8 (an older encoding such as Windows-1252?). "
            "Save the file as UTF-8."
        ) from None


# One record -> one example


def clean(text: str, source: str, notes: Notes) -> str:
    """Strip a text and replace control characters and half characters by spaces; the latter is noted."""
    cleaned = CONTROL.sub(" ", text)
    if cleaned != text:
        notes.add("control characters or half characters, replaced by spaces", source)
    return cleaned.strip()


def column(record: dict[str, Any], wanted: str, candidates: Sequence[str], setting: str, source: str) -> str:
    """The key of a record that holds what is wanted.

    Raises:
        UserError: there is none.
    """
    if wanted != AUTO:
        if wanted not in record:
            raise UserError(
                f"{source}: no column {wanted!r}; there are {', '.join(map(repr, record))}. "
                f"Correct the setting {setting}."
            )
        return wanted
    by_name = {str(name).strip().casefold(): name for name in reversed(record)}
    for name in candidates:
        if name in by_name:
            return by_name[name]
    if setting == "text_column":
        raise UserError(
            f"{source}: no column with a known name of texts; there are {', '.join(map(repr, record)) or 'none'}. "
            f"Set text_column to the one that holds the text (known: {', '.join(candidates)})."
        )
    return "label"


def read_text(record: dict[str, Any], source: str, options: Options, notes: Notes) -> str:
    """The text of a record.

    Raises:
        UserError: it is missing, empty, too long or not a string.
    """
    name = column(record, options.text_column, TEXT_COLUMNS, "text_column", source)
    text = record.get(name)
    if text is not None and not isinstance(text, str):
        raise UserError(f"{source}: `{name}` is not text but {text!r:.60}. Put it in quotes, or remove the line.")
    text = clean(text or "", source, notes)
    if not text:
        raise UserError(
            f"{source}: `{name}` is missing or empty. Fill it in, or remove the line; if the text has another name, "
            f"set text_column (found: {', '.join(map(str, record)):.100})."
        )
    if len(text) > MAX_CHARS:
        raise UserError(f"{source}: a text of {len(text):,} characters; at most {MAX_CHARS:,} are possible. Split it.")
    return text


def is_flag(value: Any) -> bool:
    """Whether a value says yes or no: 0, 1, true, false, or the same as text."""
    return str(value).strip().casefold() in {"0", "1", "0.0", "1.0", "true", "false"}


def read_labels(record: dict[str, Any], source: str, options: Options, notes: Notes) -> tuple[str, ...]:
    """The labels of a record, sorted.

    Raises:
        UserError: they are missing or of a wrong type.
    """
    if "," in options.label_column and options.label_column not in record:
        names = [name.strip() for name in options.label_column.split(",")]
        flags = {name: record[column(record, name, (), "label_column", source)] for name in names}
        if not all(map(is_flag, flags.values())):
            raise UserError(f"{source}: the columns {', '.join(names)} must hold 0 or 1, found {flags!r:.80}.")
        found: Any = [name for name, value in flags.items() if str(value).strip().casefold() in {"1", "1.0", "true"}]
        return tuple(sorted(found))
    name = column(record, options.label_column, LABEL_COLUMNS, "label_column", source)
    found = record.get(name)
    if isinstance(found, dict):
        if any(value not in (0, 1) for value in found.values()):
            raise UserError(f"{source}: `{name}` must map each label to 0 or 1, found {found!r:.60}.")
        found = [label for label, value in found.items() if value]
    elif name == "cats":
        raise UserError(f"{source}: `cats` must map each label to 0 or 1, found {found!r:.60}.")
    elif isinstance(found, str) and options.label_separator != NONE:
        found = [part for part in found.split(options.label_separator) if part.strip()]
    elif not isinstance(found, list):
        found = [found]
    labels = [str(label) if isinstance(label, int) else label for label in found]
    if not all(isinstance(label, str) and label.strip() for label in labels):
        raise UserError(
            f"{source}: `{name}` is missing or empty (found {record.get(name)!r:.60}). Add it; if the label has "
            f"another name, set label_column (found: {', '.join(map(str, record)):.100})."
        )
    return tuple(sorted({clean(label, source, notes) for label in labels}))


def to_example(record: object, source: str, options: Options, notes: Notes) -> Example:
    """Make an example of one JSON object or table row.

    Raises:
        UserError: there is no text, no label, or they have the wrong type.
    """
    if not isinstance(record, dict):
        raise UserError(f'{source}: expected an object like {{"text": "…", "label": "…"}}, found {record!r:.60}.')
    text = read_text(record, source, options, notes)
    return Example(text, read_labels(record, source, options, notes), source)


def examples_of(records: Iterable[tuple[object, str]], options: Options, notes: Notes) -> Iterator[Example]:
    """Make examples of records with their sources; an id that stands for two texts is noted."""
    texts: dict[str, str] = {}
    for record, source in records:
        example = to_example(record, source, options, notes)
        name = str(record.get("id") or "") if isinstance(record, dict) else ""
        if name and texts.setdefault(name, example.text) != example.text:
            notes.add("an id that an earlier, different text has as well; ids are not used", source)
        yield example


# Files of records


def parse_json(line: str, source: str) -> Any:
    """Parse one JSON value.

    Raises:
        UserError: it is broken.
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise UserError(f"{source}: broken JSON ({reason}). Mend or remove the line.") from None


def jsonl_records(path: Path) -> Iterator[tuple[Any, str]]:
    """Stream the JSON value of each line and its source; blank lines are passed over."""
    for number, line in enumerate(text_lines(path), 1):
        if line.strip():
            yield parse_json(line, f"{path}, line {number}"), f"{path}, line {number}"


def json_records(path: Path) -> Iterator[tuple[Any, str]]:
    """The members of a JSON list (or of the only list in a JSON object), with their sources."""
    try:
        data = json.loads("\n".join(text_lines(path)))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: broken JSON ({error}). Mend it, or export JSON Lines.") from None
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        data = lists[0] if len(lists) == 1 else [data]
    for number, record in enumerate(data, 1):
        yield record, f"{path}, item {number}"


def find_delimiter(header: str) -> str | None:
    """The most frequent of tab, comma, semicolon and bar outside quotes in the first line; None if there is none."""
    bare = re.sub(r'"[^"]*"', "", header)
    best = max("\t,;|", key=bare.count)
    return best if best in bare else None


def table_records(path: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Stream the rows of a delimited table whose first line names the columns, with their sources.

    Raises:
        UserError: the table is broken, or two columns have one name.
    """
    csv.field_size_limit(100_000_000)  # the default refuses texts of more than 128 kB
    lines = text_lines(path)
    first = next(lines, "")
    reader = csv.reader(
        (line + "\n" for line in chain([first], lines)), delimiter=find_delimiter(first) or ",", strict=True
    )
    header: list[str] = []
    try:
        for row in reader:
            source = f"{path}, line {reader.line_num}"
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
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: broken CSV ({error}). Mend the line.") from None


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


def class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Label names of the columns that hold class numbers, as Hugging Face `datasets` notes them in the schema."""
    features = json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    names = {}
    for name, feature in features.items():
        inner = feature[0] if isinstance(feature, list) else feature.get("feature", feature)
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel":
            names[name] = inner["names"]
    return names


def arrow_batches(path: Path) -> Iterator[Any]:
    """Stream the record batches of a Parquet, Arrow or Feather file.

    Raises:
        UserError: the file is broken, or pyarrow is missing.
    """
    pyarrow = import_pyarrow()
    try:
        if is_parquet(path):
            yield from pyarrow.parquet.ParquetFile(path).iter_batches()
            return
        with pyarrow.OSFile(str(path)) as stream:
            try:
                yield from pyarrow.ipc.open_stream(stream)
            except pyarrow.ArrowInvalid:
                reader = pyarrow.ipc.open_file(str(path))
                yield from map(reader.get_batch, range(reader.num_record_batches))
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: broken Parquet or Arrow file ({error}). Export or fetch it again.") from None


def arrow_records(path: Path, notes: Notes) -> Iterator[tuple[dict[str, Any], str]]:
    """Stream the rows of a Parquet or Arrow file or a folder of them; class numbers become names."""
    paths = sorted(p for p in path.rglob("*") if p.suffix in {".arrow", ".parquet"}) if path.is_dir() else [path]
    for file in paths:
        number = 0
        for batch in arrow_batches(file):
            names = class_names(batch.schema.metadata)
            for record in batch.to_pylist():
                number += 1
                source = f"{file}, row {number}"
                if any(record[name] in (-1, None) for name in names):
                    notes.add("a row without a label, left out", source)
                    continue
                for name, labels in names.items():
                    value = record[name]
                    record[name] = [labels[i] for i in value] if isinstance(value, list) else labels[value]
                yield record, source


# Forms with rules of their own


def read_docbin(path: Path, options: Options, notes: Notes) -> Iterator[Example]:
    """Read spaCy's binary form.

    Raises:
        UserError: the file is broken, or a doc has no or soft categories.
    """
    try:
        docs = list(DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab))
    except Exception as error:  # zlib's, msgpack's and spaCy's own
        raise UserError(f"{path}: not a DocBin of spaCy 3 ({error!s:.80}). Export it again.") from None
    for number, doc in enumerate(docs, 1):
        if not doc.cats:
            raise UserError(f"{path}, doc {number}: no categories (doc.cats). Set them, or leave the doc out.")
        yield to_example({"text": doc.text, "cats": doc.cats}, f"{path}, doc {number}", Options(), notes)


def read_fasttext(path: Path, options: Options, notes: Notes) -> Iterator[Example]:
    """Read fastText's form: the text and its labels on a line, `__label__positive A fine film`.

    Any word that begins so is a label, wherever it stands, as fastText has it
    (https://fasttext.cc/docs/en/supervised-tutorial.html).

    Raises:
        UserError: a line has no text, or a label no name.
    """
    for number, line in enumerate(text_lines(path), 1):
        words, source = line.split(), f"{path}, line {number}"
        labels = [word.removeprefix(FASTTEXT) for word in words if word.startswith(FASTTEXT)]
        text = " ".join(word for word in words if not word.startswith(FASTTEXT))
        if not words:
            continue
        if "" in labels:
            raise UserError(f"{source}: {FASTTEXT} without a name. Write the label right after it: {FASTTEXT}positive")
        if not text:
            raise UserError(f"{source}: labels without a text. Add it, or remove the line.")
        yield to_example({"text": text, "labels": labels}, source, Options(), notes)


def read_label_folders(path: Path, options: Options, notes: Notes) -> Iterator[Example]:
    """Read a folder for each label, a text in each file of it."""
    for folder in sorted(p for p in path.iterdir() if p.is_dir() and is_data(p)):
        for file in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
            if file.suffix not in {".txt", ".gz", ""}:
                notes.add("a file that is not text (.txt), left out", str(file))
                continue
            record = {"text": "\n".join(text_lines(file)), "label": folder.name}
            yield to_example(record, str(file), Options(), notes)


@dataclass
class Answers:
    """What annotators said about one text: labels accepted and rejected, and whether they chose among options."""

    text: str
    source: str
    accepted: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    chosen: bool = False

    def choose(self, picked: set[str]) -> None:
        """Add the answer to a choice task; another choice than an earlier one contradicts that."""
        if self.chosen and picked != self.accepted:
            self.rejected |= self.accepted | picked
        self.accepted |= picked
        self.chosen = True


def prodigy_tasks(path: Path, notes: Notes) -> Iterator[tuple[dict[str, Any], str]]:
    """Stream the answered tasks of an export, without those ignored or answered before in the same way.

    Raises:
        UserError: a line is not an annotated task.
    """
    seen: dict[Any, Any] = {}
    for record, source in jsonl_records(path):
        if not isinstance(record, dict):
            raise UserError(f"{source}: expected an annotated task of Prodigy, found {record!r:.60}.")
        answer, picked = record.get("answer", "accept"), record.get("accept", [])
        if answer not in {"accept", "reject", "ignore"}:
            raise UserError(f"{source}: `answer` is {answer!r:.40}; it must be accept, reject or ignore.")
        if not isinstance(picked, list):
            raise UserError(f"{source}: `accept` must be a list of options, found {picked!r:.40}.")
        task, given = record.get("_task_hash"), (answer, *picked)
        if task is not None and seen.get(task) == given:
            notes.add("a task answered twice in the same way, read once", source)
        elif answer == "ignore":
            notes.add("an ignored task, left out", source)
        elif answer == "reject" and "options" in record:
            notes.add("a rejected choice, left out", source)
        else:
            yield record, source
        seen[task] = given


def read_prodigy(path: Path, options: Options, notes: Notes) -> Iterator[Example]:
    """Read an export of the annotation tool Prodigy.

    Binary tasks have `label` and `answer`, choice tasks `options` and `accept`. Answers on one text (`_input_hash`) are
    put together; texts on which they contradict each other are left out, and so are, where each text has one label,
    those of which only a rejected label is known.
    """
    found: dict[Any, Answers] = {}
    several = options.mode in {"multi", "binary"}
    for record, source in prodigy_tasks(path, notes):
        text = read_text(record, source, options, notes)
        answers = found.setdefault(record.get("_input_hash", text), Answers(text, source))
        if "options" in record:
            several |= record.get("config", {}).get("choice_style") == "multiple" or len(record.get("accept", [])) > 1
            answers.choose(set(map(str, record.get("accept", []))))
        else:
            labels = read_labels(record, source, Options(label_column="label"), notes)
            (answers.accepted if record.get("answer") != "reject" else answers.rejected).update(labels)
    names = set().union(*(answers.accepted | answers.rejected for answers in found.values()))
    chosen = any(answers.chosen for answers in found.values())
    several |= (len(names) == 1 and not chosen) or any(len(answers.accepted) > 1 for answers in found.values())
    for answers in found.values():
        if answers.accepted & answers.rejected:
            notes.add("a text with contradicting answers, left out", answers.source)
        elif not answers.accepted and not several:
            notes.add("a text of which only is known what it is not, left out", answers.source)
        else:
            yield Example(answers.text, tuple(sorted(answers.accepted)), answers.source)


Reader = Callable[[Path, Options, Notes], Iterator[Example]]
FORMATS: dict[str, Reader] = {
    "jsonl": lambda path, options, notes: examples_of(jsonl_records(path), options, notes),
    "json": lambda path, options, notes: examples_of(json_records(path), options, notes),
    "table": lambda path, options, notes: examples_of(table_records(path), options, notes),
    "parquet": lambda path, options, notes: examples_of(arrow_records(path, notes), options, notes),
    "datasets": lambda path, options, notes: examples_of(arrow_records(path, notes), options, notes),
    "prodigy": read_prodigy,
    "folders": read_label_folders,
    "spacy": read_docbin,
    "fasttext": read_fasttext,
}


def looks_like_prodigy(line: str) -> bool:
    """Whether a JSON line is an annotated task."""
    try:
        record = json.loads(line)
    except ValueError:
        return False
    keys = set(record) if isinstance(record, dict) else set()
    return bool({"answer", "_task_hash"} & keys) or {"options", "accept"} <= keys


MAGIC = {b"PAR1": "parquet", b"ARROW1": "datasets", b"\xff\xff\xff\xff": "datasets"} | {
    b"\x78" + level: "spacy" for level in (b"\x01", b"\x5e", b"\x9c", b"\xda")
}  # a DocBin is packed with zlib


def detect_folder(path: Path) -> str:
    """Tell the form of a folder by what is in it.

    Raises:
        UserError: it is empty or of no known form.
    """
    inside = [p for p in path.rglob("*") if p.is_file()]
    for suffix, name in ((".arrow", "datasets"), (".parquet", "parquet")):
        if any(p.suffix == suffix for p in inside):
            return name
    if any(p.parent != path for p in inside):
        return "folders"
    raise UserError(f"{path}: the folder holds neither Arrow nor Parquet files nor folders of texts.")


def detect(path: Path) -> str:
    """Tell the form of a file or folder by its content.

    Raises:
        UserError: it is empty or of no known form.
    """
    if path.is_dir():
        return detect_folder(path)
    head = read_head(path)
    for start, name in MAGIC.items():
        if head.startswith(start):
            return name
    if head.startswith(b"PK"):
        raise UserError(
            f"{path}: a zip file, or a workbook such as .xlsx. Unpack it, or save the sheet as CSV (UTF-8)."
        )
    line = next((line.strip() for line in text_lines(path) if line.strip()), "")
    if not line:
        raise UserError(f"{path}: the file holds no examples. Fill it, or remove it.")
    if line.startswith("[") or line == "{":
        return "json"
    if line.startswith("{"):
        return "prodigy" if looks_like_prodigy(line) else "jsonl"
    if any(word.startswith(FASTTEXT) for word in line.split()):
        return "fasttext"
    if find_delimiter(line):
        return "table"
    raise UserError(
        f"{path}, line 1: neither JSON, nor a table with a line of column names, nor a text with fastText's "
        f"labels, found {line!r:.60}. If that is wrong, name the format ({', '.join(FORMATS)})."
    )


def read_input(path: Path, options: Options, notes: Notes) -> list[Example]:
    """Read one file or folder.

    Raises:
        UserError: it is broken or empty, or there is no such format.
    """
    if options.format != AUTO and options.format not in FORMATS:
        raise UserError(f"format {options.format!r} is unknown. Choose auto, {', '.join(FORMATS)}.")
    name = detect(path) if options.format == AUTO else options.format
    notes.formats[path.as_posix()] = name
    examples = list(tqdm(FORMATS[name](path, options, notes), desc=path.name, unit=" texts", leave=False))
    if not examples:
        raise UserError(f"{path}: the file holds no examples (read as {name}).")
    return examples


# A folder with a data set


def is_data(path: Path) -> bool:
    """Whether an entry of a data set's folder is to be read: not a hidden file, document, or note of another tool."""
    name = path.name.casefold()
    return not name.startswith((".", "_", "license", "readme", "raw.")) and name not in {
        "dataset_infos.json",
        "dataset_dict.json",
        "source.json",
    }


def split_of(path: Path) -> str | None:
    """The split that a name tells: `train.jsonl.gz`, `validation/`, `test-00000-of-00001.parquet`, `reviews.train`."""
    name = path.name.casefold().removesuffix(".gz")
    return SPLIT_NAMES.get(re.split(r"[.-]", name)[0]) or SPLIT_NAMES.get(Path(name).suffix.removeprefix("."))


def data_entries(folder: Path) -> list[Path]:
    """What is to be read in a data set's folder, or, where that names no split, in the folder `data` in it.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such data set. Put train.jsonl, train.csv or another form of it there (docs/own-task.md), "
            "or fetch it with `python -m spacy project assets . --extra`."
        )
    entries = sorted(path for path in folder.iterdir() if is_data(path))
    if (folder / "data").is_dir() and not any(map(split_of, entries)):
        entries = sorted(path for path in (folder / "data").iterdir() if is_data(path))
    return entries


def find_inputs(folder: Path) -> dict[str, list[Path]]:
    """The files or folders of each split; a folder with one file, or with a folder for each label, is train.

    Raises:
        UserError: there is no train, or a split comes in two forms.
    """
    entries = data_entries(folder)
    found: dict[str, list[Path]] = defaultdict(list)
    for path in entries:
        if split := split_of(path):
            found[split].append(path)
    others = [path for path in entries if not split_of(path)]
    one_folder = any(path.suffix == ".arrow" for path in others) or (
        len(others) > 1 and all(p.is_dir() for p in others)
    )
    if not found and one_folder:
        return {"train": [folder]}
    if "train" not in found and len(others) == 1 and others[0].is_file():
        found["train"] = others
    if "train" not in found:
        names = ", ".join(path.name for path in entries) or "nothing"
        raise UserError(
            f"{folder}: no training data (found: {names}). Name it train.jsonl, train.csv or the like, or fetch it "
            "with `python -m spacy project assets . --extra`."
        )
    for split, paths in found.items():
        if len(paths) > 1 and {path.suffix for path in paths} != {".parquet"}:
            raise UserError(f"{paths[0]}, {paths[1].name}: {split} comes twice. Keep one.")
    return dict(found)


def read_folder(folder: Path, options: Options, notes: Notes) -> Splits:
    """Read `train`, `dev` and `test` of a data set's folder; absent ones are absent from the result."""
    inputs = find_inputs(folder)
    return {
        split: [example for path in inputs[split] for example in read_input(path, options, notes)]
        for split in SPLITS
        if split in inputs
    }


# Raw text


def raw_texts(path: Path) -> Iterator[str]:
    """Stream the texts of one raw file: `{"text": …}` a line, or plain text, a text a line; gzip or not.

    Raises:
        UserError: a line is broken.
    """
    as_json: bool | None = None
    for number, line in enumerate(tqdm(text_lines(path), desc=path.name, unit=" lines", leave=False), 1):
        if not line.strip():
            continue
        if as_json is None:
            as_json = line.lstrip().startswith("{") or ".json" in path.name
        text: Any = line
        if as_json:
            try:
                text = json.loads(line)["text"]
            except (ValueError, KeyError, TypeError, RecursionError):
                text = None
            if not isinstance(text, str):
                raise UserError(f'{path}, line {number}: expected {{"text": "…"}} in UTF-8. Mend or remove the line.')
        if text := CONTROL.sub(" ", text).strip():
            if len(text) > MAX_CHARS:
                raise UserError(
                    f"{path}, line {number}: a text of {len(text):,} characters; at most {MAX_CHARS:,} are possible. "
                    "Put its paragraphs on lines of their own."
                )
            yield text


def read_raw(folder: Path) -> Iterator[str]:
    """Stream the raw text of a data set: its files `raw.*`, if there are any."""
    for path in sorted(folder.glob("raw.*")):
        yield from raw_texts(path)
