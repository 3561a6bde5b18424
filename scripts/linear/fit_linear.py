"""Fit the linear model of the variant `linear`, which most others carry, too: settings by cross-validation on train.

It is stored twice: fitted to train, by which all that needs dev is chosen; and then to train and dev, which is shipped.
"""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import read_json
from scripts.linear.svm import fit_both


def fit_linear(
    train: Annotated[Path, typer.Argument(help="Training texts (.spacy).")],
    dev: Annotated[Path, typer.Argument(help="Texts that are learned from at the end (.spacy).")],
    output: Annotated[Path, typer.Argument(help="Model to write (.npz).")],
    size: Annotated[int, typer.Option(min=0, help="Bytes of its table at most; 0 for 1.2 MB, or 20,000 rows.")] = 0,
    task: Annotated[Path, typer.Option(help="Task facts written by convert.")] = Path("corpus/task.json"),
) -> None:
    """Fit a linear model, and write it with the scores that it gives to training texts left out of it."""
    for path in (train, dev):
        if not path.is_file():
            raise UserError(f"{path}: no texts there. Make them with the command `convert`.")
    info = fit_both(train, dev, output, read_json(task), size)
    chosen = f"C = {info['strength']:g}, balance {info['balance']:g}"
    score = max(info["cv"].values())
    rows = f"{info['rows']:,} of {info['of']:,} rows"
    msg.good(f"{output}: {rows}, {chosen}; macro-F1 {score:.3f} in cross-validation on {info['texts']:,} texts")


if __name__ == "__main__":
    run_cli(fit_linear)
