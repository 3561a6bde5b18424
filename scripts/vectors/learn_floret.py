"""Train floret vectors on the raw text: hashed subwords, so that every word has a vector and the table stays small.

floret 0.10.5 fills only a tenth of its table with start values for each thread; the rest begins as zeros and learns
badly (macro-F1 of a linear model on CBOW vectors: 0.56 with one thread, 0.73 with ten). So ten threads are the least,
on any number of cores. They race for the table, so two runs give slightly different vectors: what is bit-identical
from run to run for the other variants is not for those that use floret. The saved table is reused as long as its
inputs do not change.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import floret
import numpy as np
import spacy
import typer
from spacy.training.initialize import convert_vectors
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import read_json, whole_file, whole_folder
from scripts.common.skipping import Unsuited, skip
from scripts.vectors.words import MIN_COUNT, lower_counts, refuse_few_words

MIN_THREADS = 10


class FloretModel(StrEnum):
    """What predicts what: the word its neighbours (skipgram), or they the word (cbow)."""

    skipgram = "skipgram"
    cbow = "cbow"


def check_settings(buckets: int, hashes: int, min_n: int, max_n: int, threads: int) -> None:
    """Refuse settings that floret would accept, and spoil the vectors with.

    Raises:
        UserError: one of them is out of range.
    """
    if threads < MIN_THREADS:
        raise UserError(
            f"floret needs {MIN_THREADS} threads or more to fill its table (on any number of cores), not {threads}. "
            f"Set `--vars.floret_threads {MIN_THREADS}`."
        )
    if not 1 <= hashes <= 4:
        raise UserError(f"floret hashes each subword 1 to 4 times, not {hashes}. Set `--vars.floret_hashes 2`.")
    if not 1 <= min_n <= max_n:
        raise UserError(
            f"Subwords of {min_n} to {max_n} letters make no sense. "
            "Set `--vars.floret_min_n 3 --vars.floret_max_n 5`, or the like."
        )
    if buckets < 1:
        raise UserError(f"A table of {buckets} rows cannot hold vectors. Set `--vars.floret_buckets 20000`.")


def zero_rows(path: Path) -> int:
    """How many rows of a floret table in text format are zero from end to end."""
    with path.open(encoding="utf-8") as lines:
        next(lines)
        return sum(not np.fromstring(line.rstrip().partition(" ")[2], sep=" ").any() for line in lines)


def check_whole(path: Path, rows: int) -> None:
    """Make sure that floret has written all rows: it says nothing of a full disk.

    Raises:
        OSError: it has not, as the system tells when asked.
        UserError: it has not, and the system does not say why.
    """
    with path.open("rb") as stream:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(2**20), b""))
    if lines == rows + 1:  # one of them is the header
        return
    with path.open("ab") as stream:
        stream.write(b"\n")
    raise UserError(f"floret has written {lines - 1} of {rows} rows. Run it again.")


def learn_floret(
    tokens: Annotated[Path, typer.Argument(help="Words of the raw text, one text a line.")],
    counts: Annotated[Path, typer.Argument(help="How often each spelling occurs, JSON.")],
    output: Annotated[Path, typer.Argument(help="Vectors to write, in floret's text format.")],
    table: Annotated[Path, typer.Argument(help="Folder to write them to as spaCy's table.")],
    model: Annotated[FloretModel, typer.Option(help="What to learn.")] = FloretModel.skipgram,
    dim: Annotated[int, typer.Option(help="Length of a vector.", min=1)] = 100,
    buckets: Annotated[int, typer.Option(help="Rows of the table.")] = 10_000,
    hashes: Annotated[int, typer.Option(help="Rows that each word or subword is the sum of.")] = 2,
    min_n: Annotated[int, typer.Option(help="Letters of the shortest subword.")] = 3,
    max_n: Annotated[int, typer.Option(help="Letters of the longest subword.")] = 5,
    window: Annotated[int, typer.Option(help="Words looked at on each side.", min=1)] = 5,
    epochs: Annotated[int, typer.Option(help="Passes over the text.", min=1)] = 15,
    min_count: Annotated[int, typer.Option(help="Rarer words are not learned from.", min=1)] = MIN_COUNT,
    threads: Annotated[int, typer.Option(help="Threads; ten or more.")] = MIN_THREADS,
    task: Annotated[Path, typer.Option(help="Task facts written by convert.")] = Path("corpus/task.json"),
) -> None:
    """Train floret vectors on raw text."""
    check_settings(buckets, hashes, min_n, max_n, threads)
    words, lang = lower_counts(counts), read_json(task)["lang"]
    try:
        if not any(count >= min_count for count in words.values()):
            refuse_few_words("None of the raw text's words occurs", min_count)
    except Unsuited as reason:
        skip(str(reason), files=[output], folders=[table])
    trained = floret.train_unsupervised(
        str(tokens), mode="floret", model=model.value, dim=dim, bucket=buckets, hashCount=hashes, minn=min_n,
        maxn=max_n, ws=window, epoch=epochs, minCount=min_count, thread=threads,
    )  # fmt: skip
    with whole_file(output) as temporary:
        trained.save_floret_vectors(str(temporary))
        check_whole(temporary, buckets)
        if empty := zero_rows(temporary):
            raise UserError(
                f"{empty} of floret's {buckets} rows are zero: fewer rows suffice for this text. "
                f"Set `--vars.floret_buckets {buckets // 2}`."
            )
    nlp = spacy.blank(lang)
    convert_vectors(nlp, output, truncate=-1, prune=-1, mode="floret", attr="LOWER")
    with whole_folder(table) as folder:
        nlp.to_disk(folder)
    msg.good(f"{output}: {buckets:,} rows of {dim} dimensions, from {words.total():,} words of text")


if __name__ == "__main__":
    run_cli(learn_floret)
