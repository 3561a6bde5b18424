"""Label texts with a trained pipeline: JSON Lines, a table, Parquet or plain text in, with labels and scores out.

Streams: memory does not grow with the input. Empty texts get no label. Of a folder or pattern of files (shards), those
that are labelled already are left alone, so that a killed run goes on where it was. Texts are labelled here, or by the
machines of a Ray cluster, with the same results in the same order.
"""

import os
import pickle
import tempfile
from collections.abc import Generator, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import closing
from dataclasses import asdict
from functools import cache, partial
from itertools import chain, groupby
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from spacy.cli._util import import_code
from spacy.language import Language
from wasabi import msg
from weasel.util import get_checksum

from scripts.common.cli import UserError, run_cli, show_progress
from scripts.common.files import read_json, write_json
from scripts.deploy.labelling import SUFFIXES, Reading, column_in, load, pipe, text_of, write_file
from scripts.forms.records import AUTO, FORMS, Record
from scripts.forms.tables import FORMULAS
from scripts.machines.cluster import LOCAL, check_engine, connect, pack, unpack
from scripts.machines.processes import start_processes

MADE_BY = ".classify.json"  # in a folder of labelled shards: by which model
# What travels to a worker at once, at most: small enough to spread, large enough for the overhead not to matter.
PIECE_TEXTS = 2_000
PIECE_CHARS = 500_000

Piece = list[tuple[Record, str]]


# Shards


def find_shards(source: Path, output: Path) -> dict[Path, Path]:
    """The files of a folder or pattern, each with the file to write for it below the folder `output`.

    Files below the output folder are none of them: they are what an earlier run wrote.

    Raises:
        UserError: there are none.
    """
    if source.is_dir():
        base, pattern = source, "*"
    else:
        fixed = next(i for i, part in enumerate(source.parts) if any(sign in part for sign in "*?["))
        base, pattern = Path(*source.parts[:fixed]), "/".join(source.parts[fixed:])
    files = sorted(path for path in base.glob(pattern) if path.is_file() and not path.name.startswith("."))
    if output.resolve() != base.resolve():
        files = [path for path in files if output.resolve() not in path.resolve().parents]
    if not files:
        raise UserError(f"{source}: there is no file in it.")
    names = [path.relative_to(base) for path in files]
    ends = ["" if name.suffix in SUFFIXES else ".jsonl" for name in names]
    return {path: output / f"{name}{end}" for path, name, end in zip(files, names, ends, strict=True)}


def check_outputs(targets: dict[Path, Path]) -> None:
    """Make sure that no input would be written over, and no output twice.

    Raises:
        UserError: one would.
    """
    made_of: dict[Path, Path] = {}
    for source, target in targets.items():
        if (other := made_of.setdefault(target, source)) is not source:
            raise UserError(f"{other}, {source}: the labels of both would be written to {target}. Rename one.")
    sources = {os.path.realpath(source) for source in targets}
    for source, target in targets.items():
        if os.path.realpath(target) in sources or (target.exists() and target.samefile(source)):
            raise UserError(f"{target}: is the input; its labels would be written over it. Give another output.")


def unfinished(shards: dict[Path, Path], output: Path, made_by: Record) -> dict[Path, Path]:
    """The shards without a label file that is newer than they are; note in the output folder what labels them.

    Raises:
        UserError: what is there was labelled in another way.
    """
    note = output / MADE_BY
    if note.exists() and read_json(note) != made_by:
        raise UserError(
            f"{output}: holds labels by another model, or by other settings. Remove it, or set another output."
        )
    if not note.exists() and (there := [target for target in shards.values() if target.exists()]):
        raise UserError(f"{there[0]}: nothing says what has labelled it. Remove it, or set another output.")
    write_json(note, made_by)
    return {
        source: target
        for source, target in shards.items()
        if not target.exists() or target.stat().st_mtime_ns < source.stat().st_mtime_ns
    }


# Engines: each gives, for each source in turn, its place in the list and its labelled records


def label_here(
    nlp: Language, model: str, code: Path | None, sources: list[Path], reading: Reading, n_process: int
) -> Generator[tuple[int, Iterator[Record]]]:
    """Label files one after another, in this process or in some others, which load the pipeline `model` themselves."""
    if n_process == 1:
        for number, source in enumerate(sources):
            yield number, pipe(nlp, reading.records(source), reading.text_column)
        return
    with start_processes(n_process) as spread:
        for number, source in enumerate(sources):
            label = partial(label_piece, model, code, reading.text_column)
            yield number, records_in(spread(label, cut(source, reading)))


def records_in(pieces: Iterator[list[Record]]) -> Iterator[Record]:
    """The records of pieces that other processes label.

    Raises:
        UserError: one of the processes has ended.
    """
    try:
        yield from chain.from_iterable(pieces)
    except BrokenExecutor:
        raise UserError(
            "One of the processes that label has ended: was there memory enough? Take fewer: --vars.processes 1."
        ) from None


load_once = cache(load)


def label_piece(model: str, code: Path | None, text_column: str, piece: Piece) -> list[Record]:
    """Label some records, in another process than the one that reads them."""
    return list(pipe(load_once(model, code), iter(piece), text_column))


def cut(path: Path, reading: Reading) -> Iterator[Piece]:
    """Cut a file into lists of records with their sources.

    Raises:
        UserError: there is a mistake in the file.
    """
    piece: Piece = []
    chars = 0
    for record, source in reading.records(path):
        piece.append((record, source))
        chars += len(text_of(record, source, reading.text_column))
        if len(piece) == PIECE_TEXTS or chars > PIECE_CHARS:
            yield piece
            piece, chars = [], 0
    if piece:
        yield piece


def read_pieces(batch: dict[str, Any], reading: Reading) -> Iterator[dict[str, list[Any]]]:
    """The pieces of a file, pickled, and an empty one, so that no file is forgotten.

    A mistake in the file comes as the last piece: the files before it shall be finished.
    """
    (number,), (path,) = batch["number"], batch["path"]

    def row(piece: Piece | UserError) -> dict[str, list[Any]]:
        return {"number": [number], "piece": [pickle.dumps(piece)]}

    try:
        yield from map(row, cut(Path(path), reading))
    except UserError as error:
        yield row(error)
    else:
        yield row([])


def records_of(rows: Iterator[dict[str, Any]]) -> Iterator[Record]:
    """The labelled records of the pieces of a file.

    Raises:
        UserError: that of `read_pieces`.
    """
    for row in rows:
        piece = pickle.loads(row["piece"])
        if isinstance(piece, UserError):
            raise piece
        yield from piece


class Worker:
    """A process of a Ray cluster that loads the pipeline once and labels pieces."""

    def __init__(self, parts: list[Any], name: str, code: str | None, text_column: str) -> None:
        import ray

        with tempfile.TemporaryDirectory(prefix="classify-") as folder:
            for part in ray.get(parts):
                unpack(part, Path(folder))
            import_code(Path(folder) / code if code else None)
            self.nlp = spacy.load(Path(folder) / name)
        self.text_column = text_column

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Label the one piece of a batch."""
        (number,), (piece,) = batch["number"], batch["piece"]
        records = pickle.loads(piece)
        if not isinstance(records, UserError):
            piece = pickle.dumps(list(pipe(self.nlp, iter(records), self.text_column)))
        return {"number": [number], "piece": [piece]}


def label_on_ray(
    model: Path, code: Path | None, sources: list[Path], reading: Reading, n_process: int, address: str
) -> Generator[tuple[int, Iterator[Record]]]:
    """Label files on a Ray cluster, through Ray Data. This machine alone reads and writes; pipeline and texts travel.

    Source: https://docs.ray.io/en/latest/data/execution-configurations.html (order, size of blocks).
    """
    with connect(address) as ray:
        from ray.data import ActorPoolStrategy, DataContext

        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.target_max_block_size = 1  # byte: each piece is a block of its own, so that workers can share a file
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        parts = [ray.put(pack(path.parent, [path.name])) for path in (model, code) if path]
        items = [{"number": number, "path": str(path.resolve())} for number, path in enumerate(sources)]
        pieces = (
            ray.data.from_items(items, override_num_blocks=len(items))
            .map_batches(
                read_pieces,
                batch_size=1,
                num_cpus=0,
                label_selector=here,
                fn_kwargs={"reading": reading},
            )
            .map_batches(
                Worker,
                batch_size=1,
                num_cpus=1,
                compute=ActorPoolStrategy(min_size=1, max_size=n_process),
                fn_constructor_args=(parts, model.name, code.name if code else None, reading.text_column),
            )
        )
        for number, rows in groupby(pieces.iter_rows(), key=lambda row: row["number"]):
            yield number, records_of(rows)


def classify(
    model: Annotated[str, typer.Argument(help="Trained pipeline: a folder, or the name of an installed package.")],
    source: Annotated[
        Path, typer.Argument(help="Texts: JSON Lines, CSV, TSV, Parquet or plain text; or many of them.")
    ],
    output: Annotated[Path, typer.Argument(help="File to write: .jsonl, .csv, .tsv or .parquet; or folder, for many.")],
    form: Annotated[str, typer.Option("--format", help=f"auto, {', '.join(FORMS)}.")] = AUTO,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = AUTO,
    n_process: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    code: Annotated[Path | None, typer.Option(help="File with the pipeline's registered functions.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray: a cluster does the work.")] = "local",
    address: Annotated[str, typer.Option(help="Of a Ray cluster: HOST:PORT or auto; local starts Ray here.")] = LOCAL,
    formulas: Annotated[
        str, typer.Option(help="In CSV and TSV: neutral gets an apostrophe before it, raw does not.")
    ] = (FORMULAS[0]),
) -> None:
    """Write each text with its label (or labels) and the score of every label."""
    check_engine(engine)
    if formulas not in FORMULAS:
        raise UserError(f"formulas {formulas!r} is unknown. Choose {' or '.join(FORMULAS)}.")
    many = source.is_dir() or (not source.is_file() and any(sign in str(source) for sign in "*?["))
    if not many and not source.exists() and not source.is_symlink():
        raise UserError(f"{source}: there is no such file. Name one: --vars.input new.jsonl")
    reading = Reading(form, column_in(source, text_column), formulas)
    if not many and output.suffix not in SUFFIXES:
        raise UserError(f"{output}: the name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    if many and (output.is_file() or (output.suffix in SUFFIXES and not output.is_dir())):
        raise UserError(f"{output}: is a file; many files need a folder to be written to: --vars.output labelled")
    if source.is_dir() and output.resolve() == source.resolve():
        raise UserError(f"{output}: is the input. Name another folder for what is labelled: --vars.output labelled")
    nlp = load(model, code)
    if many:
        shards = find_shards(source, output)
        check_outputs(shards)
        made_by = {"model": get_checksum(nlp.path)} | asdict(reading)
        todo = unfinished(shards, output, made_by)
        msg.info(f"{source}: {len(shards)} files, {len(shards) - len(todo)} labelled already")
    else:
        todo = {source: output}
        check_outputs(todo)
        if next(reading.records(source), None) is None:
            raise UserError(f"{source}: there is no text in it.")
    sources = list(todo)
    if engine == "local" or not todo:
        outcomes = label_here(nlp, model, code, sources, reading, n_process)
    else:
        outcomes = label_on_ray(nlp.path, code, sources, reading, n_process, address)
    count = 0
    # Closing leaves Ray in good order, whatever happens.
    with closing(outcomes), show_progress(desc="classify", unit=" texts") as bar:
        for number, records in outcomes:
            counted = (record for record in records if bar.update() or True)
            count += write_file(todo[sources[number]], sources[number], nlp, counted, reading)
    msg.good(f"{output}: {count:,} texts labelled")


if __name__ == "__main__":
    run_cli(classify)
