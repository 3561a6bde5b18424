"""Choose the data set that the following commands are for: its record of what was done becomes project.lock.

First in every workflow, so that several data sets live side by side in one clone, and going back to one of them runs
only what has changed since.
"""

from pathlib import Path
from typing import Annotated

import typer

from scripts.common.cli import run_cli
from scripts.common.locks import check_dataset, use_lock


def select(
    dataset: Annotated[str, typer.Argument(help="Name of the data set: a folder of --assets.")],
    assets: Annotated[Path, typer.Option(help="Folder that holds the data sets.")] = Path("assets"),
) -> None:
    """Put the record of a data set in its place."""
    check_dataset(dataset, assets)
    use_lock(dataset)


if __name__ == "__main__":
    run_cli(select)
