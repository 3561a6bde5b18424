"""Read labelled examples and raw text in the forms people have them, and tell which form a file is in by its content.

`FORMATS` names the forms. Whatever a user can mend is a `UserError` with file, line and mend; what is mended here
instead (repeated annotations, control characters, …) is counted in `Notes` and said at the end.
"""

import ast
import json
import math
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

from scripts.common.cli import UserError, show_progress
from scripts.forms.lines import CONTROL, check_file, is_blank, text_lines
from scripts.forms.records import (
    AUTO,
    FASTTEXT,
    FORMS,
    MAX_CHARS,
    NONE,
    TEXT_COLUMNS,
    Record,
    TextColumn,
    as_objects,
    column,
    detect_file,
    fasttext_records,
    json_records,
    jsonl_records,
    moved,
    open_arrow,
    read_docs,
    rows_of,
    table_records,
)

LABEL_COLUMNS = (
    "cats", "labels", "label", "category", "categories", "intent", "class", "tags", "tag", "topic", "sentiment",
    "emotion", "target", "rating", "stars", "overall", "class index",
)  # fmt: skip
SINGULAR = {"labels": "label", "categories": "category", "tags": "tag"}  # one column, where some have several
SPLITS = ("train", "dev", "test")
RAW = "raw."  # begins the names of files of text without labels
ANNOTATED = "annotated"  # begins the names of files with answers that were given after the split
SPLIT_NAMES = {"train": "train", "test": "test"} | dict.fromkeys(
    ("dev", "validation", "valid", "val", "eval", "evaluation"), "dev"
)
MODES = (AUTO, "single", "multi", "binary")
# An item of a list, as Python, JSON or NumPy, which has no commas, writes it.
ITEM = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?\d+)"""
LIST = re.compile(rf"\s*\[\s*(?:{ITEM}(?:(?:\s*,\s*|\s+){ITEM})*\s*,?\s*)?\]\s*")
WITHOUT_LABELS = {"unsup", "unlabelled", "unlabeled"}  # folders beside those of labels, the first in aclImdb
PART = re.compile(r"-\d+-of-\d+\b")  # how the hub names the parts of a split: train-00000-of-00002.jsonl
TASK_KEYS = {"_task_hash", "_input_hash", "options"}  # of a task of Prodigy; others may have an `answer`, too
NO_ANSWERS = ("reject", "ignore")  # of an annotated task of Prodigy, among records that are none
UNLABELLED = "a row without a label, left out"
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"  # white space, too, where it stands around a label

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


def count_labels(examples: Iterable[Example]) -> Counter[str]:
    """How many examples each label has, in the order in which the labels come."""
    return Counter(label for example in examples for label in example.labels)


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


class LabelMissing(UserError):
    """A record has no label where it should have one."""


class Notes:
    """What was mended or left out while reading: how often, and where first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.formats: dict[str, str] = {}
        self.columns: dict[str, dict[str, str]] = {}  # of each file's text and label, where their names told

    def add(self, kind: str, source: str) -> None:
        """Count one more of a kind."""
        self.counts[kind] += 1
        self.first.setdefault(kind, source)

    def lines(self) -> list[str]:
        """One line for each kind."""
        return [f"{count:,} × {kind} (first: {self.first[kind]})" for kind, count in self.counts.items()]


# One record -> one example


def clean(text: str, source: str, notes: Notes) -> str:
    """Strip a text and replace control characters and half characters by spaces; the latter is noted."""
    cleaned = CONTROL.sub(" ", text)
    if cleaned != text:
        notes.add("control characters or half characters, replaced by spaces", source)
    return cleaned.strip()


def read_text(record: Record, source: str, options: Options, notes: Notes) -> str:
    """The text of a record.

    Raises:
        UserError: it is missing, empty, too long or not a string.
    """
    name = column(record, options.text_column, TEXT_COLUMNS, "text_column", source)
    text = record.get(name)
    if text is not None and not isinstance(text, str):
        raise UserError(f"{source}: `{name}` is not text but {text!r:.60}. Put it in quotes, or remove the line.")
    text = clean(text or "", source, notes)
    if is_blank(text):
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


def unquote(item: str) -> str:
    """The text of an item of a list."""
    if item[0] not in "'\"":
        return item
    if "\\" not in item:
        return item[1:-1]
    if item[0] == '"':
        try:
            return str(json.loads(item, strict=False))
        except ValueError:
            pass
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that Python does not have
            return str(ast.literal_eval(item))
    except (SyntaxError, ValueError):
        return item[1:-1]


def split_field(text: str, separator: str) -> list[str]:
    """The labels in one field: a list as Python, JSON or NumPy writes it, or joined by a separator, or one label."""
    if LIST.fullmatch(text):
        return list(map(unquote, re.findall(ITEM, text)))
    return [text] if separator == NONE else [part for part in text.split(separator) if part.strip()]


def label_column(record: Record, source: str, options: Options) -> str:
    """The key of a record that holds its label or labels: not `cats`, where that is no mapping and another is there.

    Raises:
        UserError: there is not the one that is wanted.
    """
    name = column(record, options.label_column, LABEL_COLUMNS, "label_column", source)
    if options.label_column == AUTO and name == "cats" and not isinstance(record[name], dict):
        others = {key: value for key, value in record.items() if key != name}
        other = column(others, AUTO, LABEL_COLUMNS, "label_column", source)
        name = other if other in others else name
    return name


def read_labels(record: Record, source: str, options: Options, notes: Notes) -> tuple[str, ...]:
    """The labels of a record, sorted.

    Raises:
        LabelMissing: there are none.
        UserError: they are of a wrong type, or no column holds them.
    """
    if "," in options.label_column and options.label_column not in record:
        names = [name.strip() for name in options.label_column.split(",")]
        flags = {name: record[column(record, name, (), "label_column", source)] for name in names}
        if not all(map(is_flag, flags.values())):
            raise UserError(f"{source}: the columns {', '.join(names)} must hold 0 or 1, found {flags!r:.80}.")
        found: Any = [name for name, value in flags.items() if str(value).strip().casefold() in {"1", "1.0", "true"}]
        return tuple(sorted(found))
    name = label_column(record, source, options)
    found = record.get(name)
    if isinstance(found, dict):
        if any(value not in (0, 1) for value in found.values()):
            raise UserError(f"{source}: `{name}` must map each label to 0 or 1, found {found!r:.60}.")
        found = [label for label, value in found.items() if value]
    elif name == "cats":
        raise UserError(f"{source}: `cats` must map each label to 0 or 1, found {found!r:.60}.")
    elif isinstance(found, str):
        found = split_field(found, options.label_separator)
    elif not isinstance(found, list):
        found = [found]
    if odd := [label for label in found if label is not None and not isinstance(label, str | int | float | Decimal)]:
        raise UserError(f"{source}: `{name}` holds {odd[0]!r:.60}, which is no label. Write its name, as text.")
    labels = [clean_label(label, source, notes) for label in found]
    if not all(labels):
        flags = [str(key) for key, value in record.items() if is_flag(value)]
        several = f" If each label has a column of 0 and 1: --vars.label_column {','.join(flags)}." if flags[1:] else ""
        mend = (
            "Fill it in, or remove the line. If one field may hold any number of labels: --vars.label_separator"
            if name in record
            else f"Add it; if it has another name, set label_column (found: {', '.join(map(str, record)):.100})."
            f"{several} Texts without labels must not be named train, dev or test."
        )
        raise LabelMissing(f"{source}: `{name}` is missing or empty (found {record.get(name)!r:.60}). {mend}")
    return tuple(sorted(set(labels)))


def clean_label(label: Any, source: str, notes: Notes) -> str:
    """A label as text, without what cannot be seen around it; empty if it is none, or nothing of it can be seen."""
    if isinstance(label, Decimal):
        label = float(label)
    if isinstance(label, float) and label.is_integer():
        label = int(label)  # pandas makes 1.0 of 1 where another row has none
    if isinstance(label, int) or (isinstance(label, float) and math.isfinite(label)):
        return str(label)
    if not isinstance(label, str):
        return ""
    text = clean(label, source, notes).strip(f"{ZERO_WIDTH} ")
    return "" if is_blank(text) else text


def to_example(record: object, source: str, options: Options, notes: Notes) -> Example:
    """Make an example of one JSON object or table row.

    Raises:
        UserError: there is no text, no label, or they have the wrong type.
    """
    if not isinstance(record, dict):
        raise UserError(f'{source}: expected an object like {{"text": "…", "label": "…"}}, found {record!r:.60}.')
    annotated = options.format == AUTO or not TASK_KEYS.isdisjoint(record)
    own = (options.text_column, options.label_column)
    if annotated and record.get("answer") in NO_ANSWERS and "answer" not in own:
        raise UserError(
            f"{source}: the answer is {record['answer']!r}, so that the label is none. Put what Prodigy exported into "
            "a file of its own, or remove the line."
        )
    text = read_text(record, source, options, notes)
    return Example(text, read_labels(record, source, options, notes), source)


def examples_of(path: Path, records: Iterable[tuple[Any, str]], options: Options, notes: Notes) -> Iterator[Example]:
    """Make examples of a file's records with their sources; an id that stands for two texts is noted.

    Raises:
        UserError: a record is broken, or has its text or label in another column than those before it.
    """
    texts: dict[str, str] = {}
    text_column = TextColumn(options.text_column)
    columns: dict[str, tuple[str, str]] = {}
    keys: set[tuple[str, ...]] = set()  # of records: all of a table have the same
    for record, source in records:
        if isinstance(record, dict) and len(record) > 1 and all(value in ("", None) for value in record.values()):
            notes.add("an empty row, left out", source)
            continue
        try:
            example = to_example(record, source, options, notes)
        except LabelMissing as error:
            if not (more := sum(lacks_label(record, source, options) for record, source in records)):
                raise
            raise UserError(
                f"{str(error).rstrip('.')}. {more:,} after it have no label either: move texts that nobody "
                "has labelled yet to a file raw.jsonl or raw.txt beside this one, from which much is learned, too."
            ) from None
        if (own := tuple(record)) not in keys:
            columns.setdefault("text", (text_column.of(record, source), source))
            check_label_column(record, source, options, columns)
            keys.add(own)
        name = str(record.get("id") or "")
        if name and texts.setdefault(name, example.text) != example.text:
            notes.add("an id that an earlier, different text has as well; ids are not used", source)
        yield example
    told = {"text": options.text_column == AUTO, "label": options.label_column == AUTO}
    notes.columns[path.as_posix()] = {what: name for what, (name, _) in columns.items() if told[what]}


def lacks_label(record: object, source: str, options: Options) -> bool:
    """Whether a record has a text, but no label."""
    try:
        to_example(record, source, options, Notes())
    except LabelMissing:
        return True
    except UserError:
        pass
    return False


def check_label_column(record: Record, source: str, options: Options, seen: dict[str, tuple[str, str]]) -> None:
    """Make sure that the label stands where it stood in the records before: a rating is no label for want of one.

    Raises:
        UserError: it stands elsewhere than where `seen`, which the first record fills, says.
    """
    if options.label_column != AUTO:
        return
    here = label_column(record, source, options)
    before, first = seen.setdefault("label", (here, source))
    same, as_before = (SINGULAR.get(name.strip().casefold(), name.strip().casefold()) for name in (here, before))
    if same != as_before:
        raise moved("label", here, before, source, first)


# Rows of Parquet and Arrow files


def class_names(path: Path, metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Label names of the columns that hold class numbers, as Hugging Face `datasets` notes them in the schema.

    Raises:
        UserError: the note is broken.
    """
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        names = {}
        for name, feature in features.items():
            inner = feature[0] if isinstance(feature, list) else feature.get("feature", feature)
            if isinstance(inner, dict) and inner.get("_type") == "ClassLabel":
                names[name] = list(map(str, inner["names"]))
        return names
    except (ValueError, AttributeError, KeyError, IndexError, TypeError, RecursionError):
        raise UserError(
            f"{path}: its note for Hugging Face `datasets` (schema metadata `huggingface`) is broken, so that class "
            "numbers have no names. Export it again, or as CSV with names."
        ) from None


def name_classes(value: Any, labels: list[str], source: str) -> Any:
    """The name of a class number, or the names of a list of them.

    Raises:
        UserError: there is no such class.
    """
    if isinstance(value, list):
        return [name_classes(item, labels, source) for item in value]
    if not isinstance(value, int) or not 0 <= value < len(labels):
        raise UserError(f"{source}: {value!r:.40} is none of the {len(labels)} class numbers. Export it again.")
    return labels[value]


def arrow_files(folder: Path) -> list[Path]:
    """The Parquet and Arrow files in a folder, without what `datasets` has kept there of its own work."""
    found = (path for path in folder.rglob("*") if path.suffix in {".arrow", ".parquet"} and path.is_file())
    return sorted(path for path in found if not path.name.startswith("cache-"))


def arrow_records(path: Path, options: Options, notes: Notes) -> Iterator[tuple[dict[str, Any], str]]:
    """Stream the rows of a Parquet or Arrow file or a folder of them; class numbers become names."""
    for file in arrow_files(path) if path.is_dir() else [path]:
        with open_arrow(file) as (schema, batches):
            names = class_names(file, schema.metadata)
            rows = chain.from_iterable(rows_of(batch, file) for batch in batches)
            for number, record in enumerate(rows, 1):
                source = f"{file}, row {number}"
                for name in names:
                    record[name] = None if record[name] in (-1, None) else record[name]
                if names and (label := label_column(record, source, options)) in names and record[label] is None:
                    notes.add(UNLABELLED, source)
                    continue
                for name, labels in names.items():
                    if record[name] is not None:
                        record[name] = name_classes(record[name], labels, source)
                yield record, source


# Forms with rules of their own


def read_docbin(path: Path, options: Options, notes: Notes) -> Iterator[Example]:
    """Read spaCy's binary form.

    Raises:
        UserError: the file is broken, or a doc has no or soft categories.
    """
    for number, doc in enumerate(read_docs(path), 1):
        if not doc.cats:
            raise UserError(f"{path}, doc {number}: no categories (doc.cats). Set them, or leave the doc out.")
        yield to_example({"text": doc.text, "cats": doc.cats}, f"{path}, doc {number}", Options(), notes)


def read_fasttext(path: Path, options: Options, notes: Notes) -> Iterator[Example]:
    """Read fastText's form.

    Raises:
        UserError: a line has no text, or a label no name.
    """
    for record, source in fasttext_records(path):
        if "" in record["labels"]:
            raise UserError(f"{source}: {FASTTEXT} without a name. Write the label right after it: {FASTTEXT}positive")
        if not record["text"]:
            raise UserError(f"{source}: labels without a text. Add it, or remove the line.")
        yield to_example(record, source, Options(), notes)


def read_label_folders(path: Path, options: Options, notes: Notes) -> Iterator[Example]:
    """Read a folder for each label, a text in each file of it.

    Raises:
        UserError: a text is broken, or no file is one by its name.
    """
    texts: list[tuple[Path, str]] = []  # with their labels
    strange: list[Path] = []
    for folder in sorted(p for p in path.iterdir() if is_label(p)):
        if folder.name.casefold() in WITHOUT_LABELS:
            notes.add("a folder of texts without labels, left out", str(folder))
            continue
        for file in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
            if file.suffix.casefold() in {".txt", ".gz", ""}:
                texts.append((file, folder.name))
            else:
                strange.append(file)
    if strange and not texts:
        raise UserError(
            f"{strange[0]}: is no text by its name. In a folder for each label they end in .txt, .gz, or nothing."
        )
    for file in strange:
        notes.add("a file that is not text (.txt), left out", str(file))
    for file, label in texts:
        yield to_example({"text": "\n".join(text_lines(file)), "label": label}, str(file), Options(), notes)


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


# Of an annotated task, besides `answer`: what may stand there
PRODIGY_TYPES = (
    ("accept", list, "a list of options"),
    ("config", dict, "an object"),
    ("_task_hash", int | str, "a number"),
    ("_input_hash", int | str, "a number"),
)


def prodigy_tasks(path: Path, notes: Notes) -> Iterator[tuple[dict[str, Any], str]]:
    """Stream the answered tasks of an export, without those ignored or answered before in the same way.

    Raises:
        UserError: a line is not an annotated task.
    """
    seen: dict[Any, Any] = {}
    for record, source in jsonl_records(path):
        if not isinstance(record, dict):
            raise UserError(f"{source}: expected an annotated task of Prodigy, found {record!r:.60}.")
        answer, picked = record.get("answer", "accept"), record.get("accept") or []
        if answer not in ("accept", "reject", "ignore"):
            raise UserError(
                f"{source}: `answer` is {answer!r:.40}; it must be accept, reject or ignore. If this is no export of "
                "Prodigy: --vars.format jsonl"
            )
        for key, kinds, what in PRODIGY_TYPES:
            if not isinstance(record.get(key), kinds | None):
                raise UserError(f"{source}: `{key}` must be {what}, found {record[key]!r:.40}.")
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
        answers = found.setdefault(record.get("_input_hash") or text, Answers(text, source))
        if "options" in record:
            picked = set(map(str, record.get("accept") or ()))
            several |= (record.get("config") or {}).get("choice_style") == "multiple" or len(picked) > 1
            answers.choose(picked)
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
    "jsonl": lambda path, options, notes: examples_of(path, jsonl_records(path), options, notes),
    "json": lambda path, options, notes: examples_of(path, json_records(path), options, notes),
    "table": lambda path, options, notes: examples_of(path, table_records(path), options, notes),
    "parquet": lambda path, options, notes: examples_of(path, arrow_records(path, options, notes), options, notes),
    "datasets": lambda path, options, notes: examples_of(path, arrow_records(path, options, notes), options, notes),
    "prodigy": read_prodigy,
    "folders": read_label_folders,
    "spacy": read_docbin,
    "fasttext": read_fasttext,
}
OF_FOLDERS = ("folders", "datasets", "parquet")  # may be a folder


def detect_folder(path: Path) -> str:
    """Tell the form of a folder by what is in it.

    Raises:
        UserError: it is empty or of no known form.
    """
    suffixes = {p.suffix for p in arrow_files(path)}
    for suffix, name in ((".arrow", "datasets"), (".parquet", "parquet")):
        if suffix in suffixes:
            return name
    if any(p.is_file() and p.parent != path for p in path.rglob("*")):
        return "folders"
    raise UserError(f"{path}: the folder holds neither Arrow nor Parquet files nor folders of texts.")


def detect(path: Path, text_column: str = AUTO) -> str:
    """Tell the form of a file or folder of labelled texts by its content.

    Raises:
        UserError: it is empty or of no known form.
    """
    if path.is_dir():
        return detect_folder(path)
    name, line = detect_file(path, text_column)
    if name != "text":
        return name
    if not line:
        raise UserError(f"{path}: the file holds no examples. Fill it, or remove it.")
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
    name = detect(path, options.text_column) if options.format == AUTO else options.format
    if name == "folders" and not path.is_dir():
        raise UserError(f"{path}: the format is folders, but this is a file. Set format to auto.")
    if name not in OF_FOLDERS:
        check_file(path)
    unlabelled = notes.counts[UNLABELLED]
    examples = list(show_progress(FORMATS[name](path, options, notes), desc=path.name, unit=" texts"))
    if not examples and notes.counts[UNLABELLED] > unlabelled:
        raise UserError(f"{path}: no row has a label. Name it otherwise: train, dev and test must have labels.")
    if not examples:
        raise UserError(f"{path}: the file holds no examples (read as {name}).")
    notes.formats[path.as_posix()] = name
    return examples


# A folder with a data set


def is_data(path: Path) -> bool:
    """Whether an entry of a data set's folder is to be read: not a hidden file, document, or note of another tool."""
    name = path.name.casefold()
    return not name.startswith((".", "_", "license", "readme", RAW)) and name not in {
        "dataset_infos.json",
        "dataset_dict.json",
        "source.json",
        "desktop.ini",
        "thumbs.db",
    }


def is_label(path: Path) -> bool:
    """Whether an entry may be the folder of a label, which may be called as a document is: `licensing`."""
    return path.is_dir() and not path.name.startswith((".", "__"))


def split_of(path: Path) -> str | None:
    """The split that a name tells: `train.jsonl.gz`, `validation/`, `test_set.csv`, `reviews.train`."""
    name = path.name.casefold().removesuffix(".gz")
    return SPLIT_NAMES.get(re.split(r"[._-]", name)[0]) or SPLIT_NAMES.get(Path(name).suffix.removeprefix("."))


def is_annotated(path: Path) -> bool:
    """Whether an entry of a data set's folder holds answers that were given after the split."""
    return path.is_file() and is_data(path) and path.name.casefold().startswith(ANNOTATED)


def data_entries(folder: Path) -> list[Path]:
    """What is to be read in a data set's folder, or, where that names no split, in the folder `data` in it."""

    def entries_of(place: Path) -> list[Path]:
        entries = sorted(path for path in place.iterdir() if is_data(path))
        if all(path.is_dir() for path in entries):
            entries = sorted(path for path in place.iterdir() if is_label(path))
        # A file of that name alone is the data set itself.
        return [path for path in entries if not is_annotated(path)] or entries

    entries = entries_of(folder)
    if (folder / "data").is_dir() and not any(map(split_of, entries)):
        return entries_of(folder / "data")
    return entries


def annotated_files(folder: Path) -> list[Path]:
    """The files `annotated*` of a data set's folder and of the folder `data` in it, but for what is the data itself."""
    data = data_entries(folder)
    places = [place for place in (folder, folder / "data") if place.is_dir()]
    found = [path for place in places for path in sorted(filter(is_annotated, place.iterdir()))]
    return [path for path in found if path not in data]


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
        parts = {path.suffix for path in paths} == {".parquet"} or all(PART.search(path.name) for path in paths)
        if len(paths) > 1 and not parts:
            raise UserError(f"{paths[0]}, {paths[1].name}: {split} comes twice. Keep one.")
    return dict(found)


def read_folder(folder: Path, options: Options, notes: Notes) -> Splits:
    """Read `train`, `dev` and `test` of a data set's folder; absent ones are absent from the result."""
    inputs = find_inputs(folder)
    read = {path for paths in inputs.values() for path in paths}
    for path in data_entries(folder):
        if read.isdisjoint((path, path.parent)):
            notes.add("a file or folder that is not train, dev or test by its name, not read", path.as_posix())
    return {
        split: [example for path in inputs[split] for example in read_input(path, options, notes)]
        for split in SPLITS
        if split in inputs
    }


def for_file(path: Path, options: Options) -> Options:
    """The options for a file that may have another form and other columns than the training texts: what it has of
    these is as they say.
    """
    name = detect(path, options.text_column)
    first = next((record for record, _ in as_objects(FORMS[name](path))), {})
    labels = [label.strip() for label in options.label_column.split(",")]
    return replace(
        options,
        format=name,
        text_column=options.text_column if options.text_column in first else AUTO,
        label_column=options.label_column if options.label_column in first or first.keys() >= set(labels) else AUTO,
    )


def read_annotated(files: Iterable[Path], options: Options, notes: Notes) -> Iterator[list[Example]]:
    """Read files of answers, one after another; columns that a setting names count where they are there.

    Raises:
        UserError: one is broken, or holds a task of `doubt` or `suggest` that nobody has answered.
    """
    for path in files:
        own = for_file(path, options)
        if own.format == "prodigy":
            for record, source in jsonl_records(path):
                if isinstance(record, dict) and "options" in record and "answer" not in record:
                    raise UserError(
                        f"{source}: nobody has answered this task (it has no `answer`). Annotate the file in Prodigy, "
                        "and put here what `prodigy db-out` gives."
                    )
        yield read_input(path, own, notes)


# Raw text


def raw_form(path: Path, text_column: str) -> str:
    """The form of a file of raw text: of lines, unless its name or its content says that it is another.

    Raises:
        UserError: it is of a form that cannot be read.
    """
    name, (form, line) = path.name.casefold(), detect_file(path, text_column)
    if form in ("parquet", "datasets", "spacy") or (form == "fasttext" and ".txt" not in name):
        return form
    if {".csv", ".tsv"} & {suffix.casefold() for suffix in path.suffixes}:
        return "table"
    if ".json" in name:
        return form if form == "json" else "jsonl"
    return "jsonl" if line.startswith("{") else "text"


def raw_texts(path: Path, text_column: str = AUTO) -> Iterator[str]:
    """Stream the texts of one raw file: lines of plain text, or the records of any other form; gzip or not.

    Args:
        path: the file.
        text_column: of labelled texts; where it is there, it holds the raw texts, too.

    Raises:
        UserError: a record is broken.
    """
    columns = TextColumn(text_column, if_there=True)
    records = as_objects(FORMS[raw_form(path, text_column)](path))
    for record, source in show_progress(records, desc=path.name, unit=" texts"):
        name = columns.of(record, source)
        if (text := record[name]) is None:
            continue
        if not isinstance(text, str):
            raise UserError(f"{source}: `{name}` is not text, found {text!r:.60}. Mend or remove the line.")
        if text := CONTROL.sub(" ", text).strip():
            if len(text) > MAX_CHARS:
                raise UserError(
                    f"{source}: a text of {len(text):,} characters; at most {MAX_CHARS:,} are possible. "
                    "Put its paragraphs on lines of their own."
                )
            yield text


def read_raw(folder: Path, text_column: str = AUTO) -> Iterator[str]:
    """Stream the raw text of a data set: its files `raw.*`, if any, beside the others or in the folder `data`."""
    for place in (folder, folder / "data"):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.name.casefold().startswith(RAW):
                yield from raw_texts(path, text_column)
