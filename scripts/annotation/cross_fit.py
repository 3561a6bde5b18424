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
from scripts.components import LINEAR_ROWS
from scripts.linear.svm import BALANCES, STRENGTHS, calibrate, choose_rows, featurize, fit_svm, split_folds, weigh

FOLDS = 5
ROW_BYTES = 1_200_000  # of the table that `linear` would have; more rows than that are not looked at


def learn_table(docs: Sequence[Doc]) -> tuple[np.ndarray, np.ndarray]:
    """The rows of features that are looked at, and how much each tells, its idf. No label is looked at."""
    counts, parts, pairs = featurize(docs)
    df = np.bincount((counts @ parts + pairs).indices, minlength=LINEAR_ROWS)
    keys = choose_rows(df, 1, ROW_BYTES)
    return keys, np.log((1 + len(docs)) / (1 + df[keys])) + 1


def linear_features(docs: Sequence[Doc], table: tuple[np.ndarray, np.ndarray]) -> sp.csr_matrix:
    """The features of `linear`: words, pairs of words, pieces of words; shape (texts, rows).

    Args:
        docs: tokenized texts.
        table: what `learn_table` gives, of these texts or others.
    """
    return weigh(*featurize(docs), *table)


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
    folds = split_folds(Y, exclusive, min(FOLDS, len(Y)))
    for train, left_out in show_progress(folds, desc="cross-fit", unit=" folds"):
        W, b = fit_svm(X[train], Y[train], exclusive, STRENGTHS[0], BALANCES[0])
        scores[left_out] = X[left_out] @ W.T + b
    return scores


def cross_fit(X: sp.csr_matrix, Y: np.ndarray, exclusive: bool) -> np.ndarray:
    """Probabilities in the place of the scores of `left_out_scores`; same arguments."""
    scores = left_out_scores(X, Y, exclusive)
    factor, bias = calibrate(scores, Y, exclusive)
    return probabilities(factor * scores + bias, exclusive)
