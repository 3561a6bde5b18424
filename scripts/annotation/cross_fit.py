"""What the linear model of `linear` says of texts that it has not learned from, without an encoder and in seconds.

The features, the support vector machine and its calibration are those of scripts/linear, with the settings that are
tried first there: a search among them would take six times as long.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, softmax
from spacy.tokens import Doc

from scripts.common.cli import show_progress
from scripts.linear.svm import (
    BALANCES,
    STRENGTHS,
    calibrate,
    choose_rows,
    count_texts,
    featurize,
    fit_svm,
    most_rows,
    split_folds,
    weigh,
)

FOLDS = 5


def learn_table(counts: sp.csr_matrix, parts: sp.csr_matrix, pairs: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """The rows of features, as `featurize` gives them, that are looked at, and how much each tells, its idf."""
    df = count_texts(counts, parts, pairs)
    keys = choose_rows(df, most_rows(1))
    return keys, np.log((1 + counts.shape[0]) / (1 + df[keys])) + 1


def text_features(docs: Sequence[Doc]) -> sp.csr_matrix:
    """The features of `linear` of texts, with a table learned from these alone; shape (texts, rows)."""
    counted = featurize(docs)
    return weigh(*counted, *learn_table(*counted))


def probabilities(logits: np.ndarray, exclusive: bool) -> np.ndarray:
    """Of each label, from logits of shape (texts, labels)."""
    return softmax(logits, axis=1) if exclusive else expit(logits)


def left_out_scores(X: sp.csr_matrix, Y: np.ndarray, exclusive: bool) -> np.ndarray:
    """Scores of all labels for each text, by a support vector machine that was fitted without it: (texts, labels).

    Args:
        X: features, shape (texts, features).
        Y: 0 or 1, shape (texts, labels).
        exclusive: whether each text has exactly one label.
    """
    scores = np.zeros(Y.shape)
    for train, left_out in show_progress(split_folds(Y, exclusive, FOLDS), desc="cross-fit", unit=" folds"):
        W, b = fit_svm(X[train], Y[train], exclusive, STRENGTHS[0], BALANCES[0])
        scores[left_out] = X[left_out] @ W.T + b
    return scores


def cross_fit(X: sp.csr_matrix, Y: np.ndarray, exclusive: bool) -> np.ndarray:
    """Probabilities in the place of the scores of `left_out_scores`; same arguments."""
    scores = left_out_scores(X, Y, exclusive)
    factor, bias = calibrate(scores, Y, exclusive)
    return probabilities(factor * scores + bias, exclusive)
