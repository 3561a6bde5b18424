"""Write the word vectors as spaCy's table, in which `Profit` and `PROFIT` find the vector of `profit`, too."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from scripts.common.cli import run_cli
from scripts.common.files import read_json
from scripts.common.skipping import pass_on
from scripts.vectors.words import make_table


def load_vectors(
    words: Annotated[Path, typer.Argument(help="Vectors in word2vec's text format, most frequent word first.")],
    spellings: Annotated[Path, typer.Argument(help="JSON: word -> its other spellings (learn_vectors writes it).")],
    table: Annotated[Path, typer.Argument(help="Folder to write.")],
    task: Annotated[Path, typer.Option(help="Task facts written by convert.")] = Path("corpus/task.json"),
) -> None:
    """Write a vectors table."""
    pass_on([words], folders=[table])
    vectors = make_table(words, read_json(spellings), read_json(task)["lang"], table).vectors
    msg.good(f"{table}: {vectors.shape[0]:,} rows; {vectors.n_keys:,} words and spellings")


if __name__ == "__main__":
    run_cli(load_vectors)
