"""Choose on dev from which score on a label is given, where a text may have any number of labels."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.training import Corpus
from wasabi import msg

from scripts.common.files import write_json

COMPONENT = "textcat"  # its name in every config, whatever its factory
DEFAULT = 0.5
RESAMPLES = 100
CANDIDATES = np.round(np.arange(0.01, 1.0, 0.01), 2)
AS_GOOD = 0.01  # of F1, below the best: see `best_threshold`
ADJUSTMENTS = np.round(np.arange(0.0, 1.01, 0.1), 1)
GAIN = 0.005  # of F1, that must be gained at least: see `best_adjustment`


def decision_threshold(nlp: Language) -> float | None:
    """From which score on a pipeline gives a label; None if only the best one is given."""
    if nlp.get_pipe_meta(COMPONENT).factory == "textcat":
        return None
    return float(nlp.get_pipe(COMPONENT).cfg["threshold"])


def macro_f1(gold: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Macro-averaged F1 of label indicators.

    Args:
        gold: bool (..., documents, labels).
        predicted: bool, same shape.

    Returns:
        float (...): the mean over the labels that are present in gold or predicted.
    """
    return mean_f1((gold & predicted).sum(-2), gold.sum(-2) + predicted.sum(-2))


def mean_f1(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    """F1 averaged over the labels that are present, from counts.

    Args:
        hits: documents that have a label and were given it, (..., labels).
        total: documents that have it plus documents that were given it, same shape.

    Returns:
        float (...).
    """
    present = total > 0
    f1 = np.divide(2 * hits, total, out=np.zeros(total.shape), where=present)
    return f1.sum(-1) / np.maximum(present.sum(-1), 1)


def resamples(n_docs: int) -> np.ndarray:
    """How often each document counts in resamples, and in the documents as they are: (RESAMPLES + 1, documents)."""
    uses = np.random.default_rng(0).multinomial(n_docs, np.full(n_docs, 1 / n_docs), RESAMPLES)
    return np.concatenate([np.ones((1, n_docs)), uses])


def best_threshold(gold: np.ndarray, scores: np.ndarray) -> float:
    """The threshold for all labels with the best macro-F1, averaged over resamples of the documents.

    A dev set with twenty positives has a jagged curve, whose highest point is chance: the mean over resamples is
    smooth (bagging, Breiman 1996). It is also flat around its best. Of the middle half of the widest range that is as
    good, that one is taken which is nearest to half of the best F1: the best one for true probabilities (Lipton, Elkan
    and Naryanaswamy 2014, "Optimal thresholding of classifiers to maximize F1 measure").

    Args:
        gold: bool (documents, labels).
        scores: float, same shape, from 0 to 1.

    Returns:
        The threshold; `DEFAULT` where no label occurs.
    """
    if not gold.any():
        return DEFAULT
    uses = resamples(len(gold))
    positives = uses @ gold
    f1 = np.zeros(len(CANDIDATES))
    for i, threshold in enumerate(CANDIDATES):
        given = scores >= threshold
        f1[i] = mean_f1(uses @ (gold & given), positives + uses @ given).mean()
    good = np.flatnonzero(f1 >= f1.max() - AS_GOOD)
    widest = max(np.split(good, np.flatnonzero(np.diff(good) > 1) + 1), key=len)
    half = CANDIDATES[widest[len(widest) // 4 : len(widest) - len(widest) // 4]]
    return float(half[np.abs(half - f1.max() / 2).argmin()])


def best_adjustment(gold: np.ndarray, logits: np.ndarray, prior: np.ndarray) -> float:
    """How much of the labels' log frequencies to take from logits, so that the best label has the best macro-F1.

    A classifier gives a rare label too seldom for macro-F1, in which it counts as much as a frequent one: Menon et al.
    2021, "Long-tail learning via logit adjustment". Averaged over resamples, as in `best_threshold`; the least is
    taken that is as good as the best, or nearly so.

    Args:
        gold: bool (documents, labels), one label each.
        logits: float, same shape.
        prior: logarithms of the labels' shares, (labels,).

    Returns:
        From 0, where labels are as frequent as one another or nothing is gained, to 1.
    """
    uses = resamples(len(gold))
    positives = uses @ gold
    f1 = np.zeros(len(ADJUSTMENTS))
    for i, adjustment in enumerate(ADJUSTMENTS):
        given = given_labels(logits - adjustment * prior, None)
        f1[i] = mean_f1(uses @ (gold & given), positives + uses @ given).mean()
    return float(ADJUSTMENTS[np.flatnonzero(f1 >= f1.max() - GAIN)[0]])


def given_labels(scores: np.ndarray, threshold: float | None) -> np.ndarray:
    """Which labels scores give: those from a threshold on; the best one only, if there is none.

    Args:
        scores: float (documents, labels).
        threshold: None where labels exclude each other.

    Returns:
        bool, same shape.
    """
    if threshold is None:
        return np.eye(scores.shape[1], dtype=bool)[scores.argmax(axis=1)]
    return scores >= threshold


def label_thresholds(gold: np.ndarray, scores: np.ndarray) -> list[float]:
    """The best threshold for each label by itself, same arguments."""
    return [best_threshold(gold[:, [i]], scores[:, [i]]) for i in range(gold.shape[1])]


def gold_of(path: Path, labels: Sequence[str]) -> np.ndarray:
    """Gold labels of the texts of a DocBin: bool (documents, labels)."""
    docs = DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab)
    return np.array([[doc.cats[label] for label in labels] for doc in docs], dtype=bool)


def gold_and_scores(nlp: Language, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Gold labels, bool, and scores, float, of a DocBin: both (documents, labels of the pipeline)."""
    examples = list(Corpus(path)(nlp))
    labels = nlp.get_pipe(COMPONENT).labels
    docs = nlp.pipe(example.text for example in examples)
    gold = np.array([[example.reference.cats[label] for label in labels] for example in examples], dtype=bool)
    return gold, np.array([[doc.cats[label] for label in labels] for doc in docs])


def tune_threshold(
    model: Path, dev: Path, others: Callable[[list[str]], tuple[np.ndarray, np.ndarray]] | None = None
) -> float | None:
    """Write the threshold that is best on dev into a stored pipeline, and return it.

    None, and nothing is written, for labels that exclude each other: there the best label wins, whatever its score.

    Args:
        model: the pipeline.
        dev: texts that it has not seen (.spacy).
        others: given the labels, gives gold and scores of further texts, by a like model that has not seen them.
    """
    nlp = spacy.load(model)
    if nlp.get_pipe_meta(COMPONENT).factory != "textcat_multilabel":
        return None
    found = [gold_and_scores(nlp, dev)]
    if others:
        found.append(others(list(nlp.get_pipe(COMPONENT).labels)))
    gold, scores = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    threshold = best_threshold(gold, scores)
    # Only the settings of the component are rewritten: saving the pipeline again could change more than that.
    path = model / COMPONENT / "cfg"
    settings: dict[str, Any] = json.loads(path.read_bytes()) | {"threshold": threshold}
    write_json(path, settings)
    msg.info(f"Labels are given from a score of {threshold:.2f} on, chosen on {len(gold)} texts")
    return threshold
