"""Label texts with a trained pipeline: JSON Lines, a table or plain text in, the same with labels and scores out.

Streams: memory does not grow with the input. Empty texts get no label.
"""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TextIO

import spacy
import typer
from spacy.cli._util import import_code
from spacy.language import Language
from tqdm import tqdm
from wasabi import msg

from scripts.common import UserError, run_cli, whole_file
from scripts.formats import AUTO, MAX_CHARS, TEXT_COLUMNS, column, find_delimiter, parse_json, table_records, text_lines
from scripts.threshold import COMPONENT

Record = dict[str, Any]


def input_records(path: Path, text_column: str = AUTO) -> Iterator[tuple[Record, str]]:
    """Stream the records of a file and their sources: JSON objects, rows of a table, or `{"text": line}`.

    A table is told by a delimiter and a text column in its first line; any other file that is not JSON is plain text.

    Raises:
        UserError: a line is broken.
    """
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


def classify(
    model: Annotated[str, typer.Argument(help="Trained pipeline: a folder, or the name of an installed package.")],
    source: Annotated[Path, typer.Argument(help="Texts: JSON Lines, CSV, TSV or plain text; gzip or not.")],
    output: Annotated[Path, typer.Argument(help="File to write: .jsonl, .csv or .tsv.")],
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = AUTO,
    n_process: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    code: Annotated[Path | None, typer.Option(help="File with the pipeline's registered functions.")] = None,
) -> None:
    """Write each text with its label (or labels) and the score of every label."""
    if output.suffix not in {".jsonl", ".csv", ".tsv"}:
        raise UserError(f"{output}: the name must end in .jsonl, .csv or .tsv.")
    import_code(code)
    try:
        nlp = spacy.load(model)
    except (OSError, ValueError) as error:
        raise UserError(f"{model}: no pipeline that can be loaded. Train it first. ({error!s:.200})") from None
    if COMPONENT not in nlp.pipe_names:
        raise UserError(
            f"{model}: this pipeline has no text classifier, only {', '.join(nlp.pipe_names) or 'nothing'}."
        )
    records = input_records(source, text_column)
    first = next(records, None)
    if first is None:
        raise UserError(f"{source}: there is no text in it.")
    count = 0
    with whole_file(output) as path, path.open("w", encoding="utf-8", newline="") as stream:
        labels = tuple(nlp.get_pipe(COMPONENT).labels)
        writer = (
            json_writer(stream)
            if output.suffix == ".jsonl"
            else table_writer(stream, labels, "\t" if output.suffix == ".tsv" else ",")
        )
        with writer as write:
            stream_in = pipe(nlp, chain([first], records), text_column, n_process)
            for count, record in enumerate(tqdm(stream_in, desc="classify", unit=" texts", leave=False), 1):  # noqa: B007
                write(record)
    msg.good(f"{output}: {count:,} texts labelled")


if __name__ == "__main__":
    run_cli(classify)
