"""Fit the linear model of the variant `linear`, which `compact` uses, too: settings by cross-validation on train.

It is stored twice: fitted to train, by which all that needs dev is chosen; and then to train and dev, which is shipped.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import spacy
import typer
from spacy.tokens import Doc, DocBin
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import read_json, whole_file
from scripts.linear.mixing import FINAL
from scripts.linear.svm import fit_again
from scripts.linear.svm import fit_linear as fit


def fit_linear(
    train: Annotated[Path, typer.Argument(help="Training texts (.spacy).")],
    dev: Annotated[Path, typer.Argument(help="Texts that are learned from at the end (.spacy).")],
    output: Annotated[Path, typer.Argument(help="Model to write (.npz).")],
    size: Annotated[int, typer.Option(min=0, help="Bytes of its table at most; 0 for 1.2 MB, or 20,000 rows.")] = 0,
    task: Annotated[Path, typer.Option(help="Task facts written by convert.")] = Path("corpus/task.json"),
) -> None:
    """Fit a linear model, and write it with the scores that it gives to training texts left out of it."""
    facts = read_json(task)
    labels, vocab = facts["labels"], spacy.blank(facts["lang"]).vocab
    docs, n_train = list[Doc](), 0
    for path in (train, dev):
        if not path.is_file():
            raise UserError(f"{path}: no texts there. Make them with the command `convert`.")
        n_train = len(docs)
        docs += DocBin().from_disk(path).get_docs(vocab)
    gold = np.array([[doc.cats[label] for label in labels] for doc in docs])
    found = fit(docs[:n_train], gold[:n_train], facts["exclusive"], size)
    final = fit_again(docs, gold, facts["exclusive"], found, size)
    with whole_file(output) as temporary, temporary.open("wb") as stream:
        # Compressed: most rows of the table are empty.
        arrays = found.arrays | {"labels": np.asarray(labels), "left_out": found.logits}
        arrays |= {FINAL + name: array for name, array in final.items()}
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    chosen = f"C = {found.info['strength']:g}, balance {found.info['balance']:g}"
    score = max(found.info["cv"].values())
    rows = f"{found.info['rows']:,} of {found.info['of']:,} rows"
    msg.good(f"{output}: {rows}, {chosen}; macro-F1 {score:.3f} in cross-validation on train")


if __name__ == "__main__":
    run_cli(fit_linear)
