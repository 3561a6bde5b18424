"""Load a classifier of another tool and measure what it costs where it runs. Meant to be a process of its own.

A classifier is a folder that `train_baselines` made: `peer.json` (its kind, the labels, whether they exclude each
other) and the files of its kind. Only what the kind needs is imported, since no more would be deployed.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.common.files import read_json
from scripts.encoder.embed import text_encoder
from scripts.encoder.encoders import load_encoder

BATCH = 1000  # texts labelled at a time, as by spaCy's nlp.pipe
FASTTEXT_WORDS = re.compile(r"\w+|[^\w\s]")

Encode = Callable[[Sequence[str]], Any]  # texts -> matrix (texts, features)
Predict = Callable[[Sequence[str]], np.ndarray]  # texts -> scores from 0 to 1 (texts, labels)


def load_tfidf(folder: Path) -> Encode:
    """The fitted scikit-learn vectorizer of a folder."""
    import joblib

    return joblib.load(folder / "tfidf.joblib").transform


def load_model2vec(folder: Path) -> Encode:
    """The mean of the static vectors of a text's word pieces."""
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(folder / "static", force_download=False)
    return lambda texts: model.encode(list(texts), use_multiprocessing=False)


def load_frozen_encoder(folder: Path) -> Encode:
    """The mean of the vectors that a transformer gives to a text's word pieces, of length 1."""
    return text_encoder(*load_encoder((folder / "encoder").as_posix()))


def squash(logits: np.ndarray, exclusive: bool) -> np.ndarray:
    """Scores from 0 to 1, same shape: softmax where labels exclude each other, else the logistic function of each."""
    if not exclusive:
        return 1 / (1 + np.exp(-logits))
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def load_linear(encode: Encode, folder: Path, exclusive: bool) -> Predict:
    """The linear layer of a folder, on the features of a text."""
    with np.load(folder / "head.npz") as head:
        weights, bias = head["weights"], head["bias"]
    return lambda texts: squash(encode(texts) @ weights + bias, exclusive)


def fasttext_line(text: str) -> str:
    """Lower-cased words and punctuation marks, with spaces between: fastText itself only splits at spaces."""
    return " ".join(FASTTEXT_WORDS.findall(text.lower()))


def load_fasttext(folder: Path, n_labels: int, best_only: bool = False) -> Predict:
    """A fastText model, quantized or not, whose labels are numbers; `n_labels` itself stands for none of them.

    Args:
        folder: where it is.
        n_labels: how many labels there are.
        best_only: leave the scores of all labels but the best one at 0, as fastText does unless it is told otherwise.
    """
    import fasttext

    (path,) = folder.glob("model.*")
    model = fasttext.load_model(str(path))

    def predict(texts: Sequence[str]) -> np.ndarray:
        names, values = model.predict([fasttext_line(text) for text in texts], k=1 if best_only else -1)
        rows = np.repeat(np.arange(len(names)), [len(labels) for labels in names])
        columns = [int(label.removeprefix("__label__")) for labels in names for label in labels]
        scores = np.zeros((len(names), n_labels + 1), dtype=np.float32)
        scores[rows, columns] = np.concatenate(values)
        return np.minimum(scores[:, :n_labels], 1.0)  # fastText adds 1e-5 to each

    return predict


ENCODERS: dict[str, tuple[Callable[[Path], Encode], tuple[str, ...]]] = {
    "tfidf": (load_tfidf, ("joblib", "sklearn.feature_extraction.text", "sklearn.pipeline")),
    "model2vec": (load_model2vec, ("model2vec",)),
    "encoder": (load_frozen_encoder, ("torch", "transformers.models.auto")),
}
MODULES = {"fasttext": ("fasttext",)} | {kind: modules for kind, (_, modules) in ENCODERS.items()}


def load_peer(folder: Path, best_only: bool = False) -> Predict:
    """The classifier in a folder; with `best_only` it may give no score to any label but the best one."""
    facts = read_json(folder / "peer.json")
    if facts["kind"] == "fasttext":
        return load_fasttext(folder, len(facts["labels"]), best_only and facts["exclusive"])
    load, _ = ENCODERS[facts["kind"]]
    return load_linear(load(folder), folder, facts["exclusive"])
