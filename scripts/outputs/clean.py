"""Remove what the project's commands have produced."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import remove

KEEP = ".gitkeep"  # keeps an empty folder in the repository


def clean(paths: Annotated[list[Path], typer.Argument(help="Files and folders below the working folder.")]) -> None:
    """Remove files and folders, but not the folders that belong to the repository; absent ones are passed over."""
    here = Path.cwd().resolve()
    for path in paths:
        if here not in path.resolve().parents:
            raise UserError(f"{path}: lies outside {here} and is not removed.")
    for path in paths:
        keep = path / KEEP
        for inner in path.iterdir() if keep.is_file() else [path]:
            if inner != keep:
                remove(inner)
    msg.good(f"Removed {', '.join(map(str, paths))}")


if __name__ == "__main__":
    run_cli(clean)
