"""Fit the linear model of the variant `linear`, which `compact` uses, too: settings by cross-validation on train."""

from pathlib import Path
from typing import Annotated

import numpy as np
import spacy
import typer
from spacy.tokens import DocBin
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import read_json, whole_file
from scripts.linear.svm import fit_linear as fit


def fit_linear(
    train: Annotated[Path, typer.Argument(help="Training texts (.spacy).")],
    output: Annotated[Path, typer.Argument(help="Model to write (.npz).")],
    size: Annotated[int, typer.Option(min=0, help="Bytes of its table at most; 0 for 1.2 MB, or 20,000 rows.")] = 0,
    task: Annotated[Path, typer.Option(help="Task facts written by convert.")] = Path("corpus/task.json"),
) -> None:
    """Fit a linear model, and write it with the scores that it gives to training texts left out of it."""
    if not train.is_file():
        raise UserError(f"{train}: no training texts there. Make them with the command `convert`.")
    facts = read_json(task)
    docs = list(DocBin().from_disk(train).get_docs(spacy.blank(facts["lang"]).vocab))
    labels = facts["labels"]
    gold = np.array([[doc.cats[label] for label in labels] for doc in docs])
    found = fit(docs, gold, facts["exclusive"], size)
    with whole_file(output) as temporary, temporary.open("wb") as stream:
        # Compressed: most rows of the table are empty.
        arrays = found.arrays | {"labels": np.asarray(labels), "left_out": found.logits}
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    chosen = f"C = {found.info['strength']:g}, balance {found.info['balance']:g}"
    score = max(found.info["cv"].values())
    rows = f"{found.info['rows']:,} of {found.info['of']:,} rows"
    msg.good(f"{output}: {rows}, {chosen}; macro-F1 {score:.3f} in cross-validation on train")


if __name__ == "__main__":
    run_cli(fit_linear)
