"""Let a frozen encoder label the training texts themselves, for a smaller pipeline to learn from.

A teacher that has seen a text's label only repeats it. So the texts are cut into parts, and each part is labelled by a
linear layer that has learned from the other parts (cross-fitting, Chernozhukov et al. 2018, "Double/debiased machine
learning"). The layer is a logistic regression on the mean of the encoder's outputs: it takes seconds, where to
fine-tune the encoder for each part would take hours without a GPU.
"""

from collections.abc import Sequence

import numpy as np

from scripts.common.cli import show_progress

FOLDS = 8
STRENGTHS = (3.0, 10.0, 30.0, 100.0)  # values of C; the one with the least loss on the parts left out is taken
MIN_PROBABILITY = 1e-6


def regress(vectors: np.ndarray, classes: np.ndarray, others: np.ndarray, strength: float, n: int) -> np.ndarray:
    """Logistic regression learned on `vectors` and their `classes`; probabilities of `others`, (texts, n).

    A class that does not occur has probability 0.
    """
    from sklearn.linear_model import LogisticRegression

    probabilities = np.zeros((len(others), n))
    found = np.unique(classes)
    if len(found) == 1:
        probabilities[:, found[0]] = 1.0
        return probabilities
    model = LogisticRegression(C=strength, max_iter=1000).fit(vectors, classes)
    probabilities[:, model.classes_] = model.predict_proba(others)
    return probabilities


def label_left_out(
    vectors: np.ndarray, gold: np.ndarray, exclusive: bool, strength: float, folds: Sequence[tuple]
) -> np.ndarray:
    """The probabilities of each text by a regression that has not seen it: float, (texts, labels)."""
    result = np.zeros(gold.shape)
    for known, left_out in folds:
        if exclusive:
            classes, n_labels = gold[known].argmax(axis=1), gold.shape[1]
            result[left_out] = regress(vectors[known], classes, vectors[left_out], strength, n_labels)
        else:
            for column, values in enumerate(gold.T):
                found = regress(vectors[known], values[known].astype(int), vectors[left_out], strength, 2)
                result[left_out, column] = found[:, 1]
    return result


def log_loss(gold: np.ndarray, probabilities: np.ndarray, exclusive: bool) -> float:
    """Mean cross-entropy of a text, in nats."""
    clipped = probabilities.clip(MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    others = 0 if exclusive else ((1 - gold) * np.log(1 - clipped)).sum(axis=1)
    return float(-((gold * np.log(clipped)).sum(axis=1) + others).mean())


def crossfit(vectors: np.ndarray, gold: np.ndarray, exclusive: bool) -> np.ndarray:
    """Probabilities of texts by regressions that have not seen them.

    Args:
        vectors: float, (texts, width).
        gold: labels as 0 and 1, (texts, labels).
        exclusive: whether each text has exactly one label.

    Returns:
        float, (texts, labels).
    """
    from sklearn.model_selection import KFold

    folds = list(KFold(min(FOLDS, len(gold)), shuffle=True, random_state=0).split(vectors))
    best, least = np.zeros(gold.shape), np.inf
    for strength in show_progress(STRENGTHS, desc="cross-fit"):
        probabilities = label_left_out(vectors, gold, exclusive, strength, folds)
        loss = log_loss(gold, probabilities, exclusive)
        if loss < least:
            best, least = probabilities, loss
    return best
