"""The labelled texts that `convert` wrote."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import spacy
from spacy.tokens import Doc, DocBin

from scripts.common.cli import UserError
from scripts.common.files import read_json


class Labelled(NamedTuple):
    """Documents of some splits; their labels, 0 or 1, shape (texts, labels); all labels; if they are exclusive."""

    docs: list[Doc]
    Y: np.ndarray
    labels: list[str]
    exclusive: bool


def read_labelled(corpus: Path, *splits: str) -> Labelled:
    """The texts of some splits.

    Raises:
        UserError: there are none.
    """
    if not (corpus / "task.json").is_file():
        raise UserError(f"{corpus}: no data set there. Make it with the command `convert`.")
    facts = read_json(corpus / "task.json")
    vocab = spacy.blank(facts["lang"]).vocab
    docs = [doc for split in splits for doc in DocBin().from_disk(corpus / f"{split}.spacy").get_docs(vocab)]
    Y = np.array([[doc.cats[label] for label in facts["labels"]] for doc in docs])
    return Labelled(docs, Y, facts["labels"], facts["exclusive"])
