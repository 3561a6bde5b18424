"""Complete a table written by `spacy init vectors`: `Profit` and `PROFIT` find the vector of `profit`."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from scripts.common.cli import run_cli
from scripts.vectors.words import add_spellings


def load_vectors(
    table: Annotated[Path, typer.Argument(help="Folder written by `spacy init vectors`; it is changed.")],
    spellings: Annotated[Path, typer.Argument(help="JSON: word -> its other spellings (learn_vectors writes it).")],
) -> None:
    """Add the other spellings of the words to a vectors table."""
    msg.good(f"{table}: {add_spellings(table, spellings)}")


if __name__ == "__main__":
    run_cli(load_vectors)
