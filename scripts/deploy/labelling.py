"""Read texts in any common form, label them, and write them with labels and scores.

Streams: memory does not grow with the input. Empty texts get no label.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import spacy
from spacy.cli._util import import_code
from spacy.language import Language

from scripts.common.cli import UserError
from scripts.common.files import whole_file
from scripts.common.finished import check_model
from scripts.evaluation.thresholds import COMPONENT, decision_threshold
from scripts.forms.lines import CONTROL, is_blank
from scripts.forms.records import (
    AUTO,
    FORMS,
    MAX_CHARS,
    TEXT_COLUMNS,
    Record,
    TextColumn,
    as_objects,
    column,
    detect_texts,
    import_pyarrow,
    open_arrow,
)
from scripts.forms.tables import FORMULAS, Write, json_writer, parquet_writer, schema_of, table_writer

SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
BAR = "|"  # between the labels of a text, in a table
BATCH = 1000  # texts after which spaCy forgets their words


@dataclass(frozen=True)
class Reading:
    """How to read and write: the form of the input, its column of texts, and what becomes of formulas in tables."""

    form: str = AUTO
    text_column: str = AUTO
    formulas: str = FORMULAS[0]

    def form_of(self, path: Path) -> str:
        """The form of a file, a name of `FORMS`.

        Raises:
            UserError: it has none that can be read.
        """
        return detect_texts(path, self.form, self.text_column)

    def records(self, path: Path) -> Iterator[tuple[Record, str]]:
        """Stream the records of a file and their sources.

        Raises:
            UserError: it is broken, or the text stands now in this column, now in that.
        """
        text_column = TextColumn(self.text_column)
        for record, source in as_objects(FORMS[self.form_of(path)](path)):
            text_column.of(record, source)
            yield record, source

    def columns(self, path: Path, typed: bool) -> dict[str, Any]:
        """The names of all columns of a file's records, and, if asked for, their types in Arrow.

        Raises:
            UserError: it is broken, or a column holds values of different types.
        """
        form = self.form_of(path)
        if form in ("parquet", "datasets"):
            with open_arrow(path) as (schema, _):
                return {field.name: field.type for field in schema}
        if typed:
            return {field.name: field.type for field in schema_of(path, self.records(path))}
        # A table has the same columns in each row.
        records = islice(self.records(path), 1) if form in ("table", "text", "spacy") else self.records(path)
        return dict.fromkeys(key for record, _ in records for key in record)


def column_in(source: Path, text_column: str) -> str:
    """The setting of the column for a file: the raw text that `convert` wrote has its own, whatever it was before."""
    return AUTO if source.name == "raw.jsonl" and (source.parent / "task.json").is_file() else text_column


def load(model: str, code: Path | None) -> Language:
    """Load a pipeline that classifies.

    Raises:
        UserError: there is none, it is not finished, or it does not classify.
    """
    check_model(Path(model))
    import_code(code)
    try:
        nlp = spacy.load(model)
        nlp("Some pipelines open what they need when a text comes.")
    except ImportError as error:
        raise UserError(f"{model}: {error}") from None
    except Exception as error:  # of any kind: the readers of its files, once they are broken, share no class
        raise UserError(f"{model}: no pipeline that can be loaded. Train it first. ({error!s:.300})") from None
    if COMPONENT not in nlp.pipe_names:
        raise UserError(
            f"{model}: this pipeline has no text classifier, only {', '.join(nlp.pipe_names) or 'nothing'}."
        )
    return nlp


def text_of(record: Record, source: str, text_column: str = AUTO) -> str:
    """The text of a record, without control characters; it may be empty.

    Raises:
        UserError: there is none, or it is not text or too long.
    """
    name = column(record, text_column, TEXT_COLUMNS, "text_column", source)
    text = "" if record[name] is None else record[name]  # an empty cell of pandas or Parquet
    if not isinstance(text, str):
        raise UserError(f"{source}: `{name}` is not text, found {text!r:.60}. Mend the line.")
    if len(text) > MAX_CHARS:
        raise UserError(f"{source}: a text of {len(text):,} characters; at most {MAX_CHARS:,} are possible. Split it.")
    return CONTROL.sub(" ", text)


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


def added_names(nlp: Language) -> frozenset[str]:
    """What is added to a record: in JSON Lines, and in a table."""
    scores = (f"score {label}" for label in nlp.get_pipe(COMPONENT).labels)
    return frozenset({*answer({}, decision_threshold(nlp)), *scores})


def set_aside(entries: Record, added: frozenset[str]) -> Record:
    """The entries of the input, in their order; `label` is `given label`, where a label is added."""
    if added.isdisjoint(entries):
        return entries
    taken, found = added.union(entries), {}
    for name, value in entries.items():
        other = name
        while name in added and other in taken:
            other = f"given {other}"
        found[other] = value
        taken |= {other}
    return found


def pipe(nlp: Language, records: Iterator[tuple[Record, str]], text_column: str) -> Iterator[Record]:
    """Stream the records with label and scores added; entries of the same name are set aside."""
    threshold, added = decision_threshold(nlp), added_names(nlp)

    def inputs() -> Iterator[tuple[str, tuple[Record, bool]]]:
        for record, source in records:
            text = text_of(record, source, text_column)
            # Some architectures cannot pool over no words at all, so that empty texts do not reach them as such.
            full = not is_blank(text)
            yield text if full else "-", (record, full)

    waiting = inputs()
    while batch := list(islice(waiting, BATCH)):
        # So that spaCy forgets the words that it has not met before: a million new ones take gigabytes.
        with nlp.memory_zone():
            labelled = [
                set_aside(record, added) | answer(doc.cats if full else {}, threshold)
                for doc, (record, full) in nlp.pipe(batch, as_tuples=True)
            ]
        yield from labelled


def flat(record: Record, labels: tuple[str, ...], joined: bool = False) -> Record:
    """A labelled record with a column for the score of each label, instead of `cats`.

    Args:
        record: with label and scores.
        labels: all of the pipeline.
        joined: put the labels that were given into one text.
    """
    row = {name: value for name, value in record.items() if name != "cats"}
    found = row.get("labels")
    if joined and isinstance(found, list) and all(isinstance(label, str) for label in found):
        # As JSON if a label has the bar in it: nobody could tell them apart again.
        barred = any(BAR in label for label in labels)
        row["labels"] = json.dumps(found, ensure_ascii=False) if barred else BAR.join(found)
    return row | {f"score {label}": record["cats"].get(label) for label in labels}


def write_file(output: Path, source: Path, nlp: Language, records: Iterator[Record], reading: Reading) -> int:
    """Write records that a pipeline has labelled in the form that the output's name says, whole or not at all.

    Columns and their types are those of the whole source, so that nothing is lost that comes late in it.

    Returns:
        How many records.
    """
    labels = tuple(nlp.get_pipe(COMPONENT).labels)
    with whole_file(output) as path:
        if output.suffix == ".jsonl":
            with path.open("w", encoding="utf-8", newline="\n") as stream:
                return write_all(records, json_writer(stream))
        added = added_names(nlp)
        known = set_aside(reading.columns(source, typed=output.suffix == ".parquet"), added)
        first = next(records, None)
        rest = chain([] if first is None else [first], records)
        names = list(dict.fromkeys((*known, *(flat(first, labels) if first else ()))))
        if output.suffix == ".parquet":
            pyarrow = import_pyarrow()
            text, score = pyarrow.string(), pyarrow.float64()
            if first:
                types = {"label": text, "labels": pyarrow.list_(text)} | {f"score {label}": score for label in labels}
                known |= {name: kind for name, kind in types.items() if name in added}
            with parquet_writer(path, source, pyarrow.schema([(name, known[name]) for name in names])) as write:
                return write_all((flat(record, labels) for record in rest), write)
        with path.open("w", encoding="utf-8", newline="") as stream:
            write = table_writer(stream, names, "\t" if output.suffix == ".tsv" else ",", reading.formulas)
            return write_all((flat(record, labels, joined="labels" in added) for record in rest), write)


def write_all(records: Iterable[Record], write: Write) -> int:
    """Write records; how many."""
    count = 0
    for count, record in enumerate(records, 1):  # noqa: B007
        write(record)
    return count
