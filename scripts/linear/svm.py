"""A linear support vector machine on the features of `textcat_ladder.TextCatLinear.v1`, calibrated, in 8 bits."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize, minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.svm import LinearSVC
from spacy.tokens import Doc
from tqdm import tqdm

from scripts.components import count_words, hash_rows, split_pieces
from scripts.training.thresholds import macro_f1

STRENGTHS = (1.0, 0.3, 3.0)  # C of the support vector machine; the first of equals is taken
BALANCES = (1.0, 0.5)  # exponents of the weight that rare labels get
MARGIN = 0.003  # of F1 by which another setting must be better than the first
MAX_ROWS = 1 << 18
SMALL, LARGE = 4_000_000, 8_000_000  # bytes, up to 20 labels and above
MANY = 100_000  # texts times labels: from here on settings are compared by one fold of three
THRESHOLDS = np.arange(0.05, 0.96, 0.05)


class LinearFit(NamedTuple):
    """Arrays for `set_linear`; calibrated out-of-fold logits, float32 (texts, labels); and what was chosen."""

    arrays: dict[str, np.ndarray]
    logits: np.ndarray
    info: dict[str, Any]


def choose_rows(n_labels: int) -> int:
    """The largest power of two, at most 2^18, within 4 MB (8 MB with more than 20 labels): a byte a weight and idf."""
    budget = SMALL if n_labels <= 20 else LARGE
    return min(MAX_ROWS, 1 << ((budget // (n_labels + 1)).bit_length() - 1))


def featurize(docs: Sequence[Doc], rows: int, idf: np.ndarray | None = None) -> tuple[sp.csr_matrix, np.ndarray]:
    """The features that the pipeline computes: shape (texts, rows); and the idf, uint8, made from the texts if None."""
    words, (texts, index, values), (pair_texts, pairs, pair_values) = count_words(docs, rows)
    n = len(docs)
    counts = sp.csr_matrix((values, (texts, index)), shape=(n, len(words)))
    own = sp.csr_matrix(
        (np.ones(len(words), "f4"), (np.arange(len(words)), hash_rows(words, rows))), (len(words), rows)
    )
    pieces, owners = split_pieces([docs[0].vocab.strings[word] for word in words.tolist()] or [""], rows)
    pieces, owners = (pieces, owners) if len(words) else (pieces[:0], owners[:0])
    parts = sp.csr_matrix((np.ones(len(pieces), "f4"), (owners, pieces)), shape=(len(words), rows))
    pair = sp.csr_matrix((pair_values, (pair_texts, pairs)), shape=(n, rows))
    if idf is None:
        present = counts @ (own + parts) + pair
        df = np.bincount(present.indices, minlength=rows)
        full = np.where(df > 0, np.log((1 + n) / (1 + df)) + 1, 0)
        idf = np.rint(full * (255 / full.max())).astype("uint8")
    scale = sp.diags(idf.astype("float32"))
    own, parts, pair = own @ scale, parts @ scale, pair @ scale
    squares = counts.power(2)
    word_length = squares @ np.asarray(own.power(2).sum(1)) + np.asarray(pair.power(2).sum(1))
    piece_length = squares @ np.asarray(parts.power(2).sum(1))
    first, second = (sp.diags(1 / np.sqrt(x).clip(1e-6).ravel()) for x in (word_length, piece_length))
    return (first @ (counts @ own + pair) + second @ (counts @ parts)).tocsr().astype("float32"), idf


def fit_svm(X: sp.csr_matrix, Y: np.ndarray, exclusive: bool, strength: float, balance: float) -> tuple:
    """Weights, float32 (labels, features), and bias of one-vs-rest L2 support vector machines.

    The weight of a class is (texts / (classes * its texts)) ** balance. A label that all or no text has gets a bias.
    """

    def fit(gold: np.ndarray, n_classes: int) -> LinearSVC:
        found, counts = np.unique(gold, return_counts=True)
        weight = dict(zip(found.tolist(), ((len(gold) / (n_classes * counts)) ** balance).tolist(), strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return LinearSVC(C=strength, class_weight=weight, random_state=0).fit(X, gold)

    n_labels = Y.shape[1]
    W, b = np.zeros((n_labels, X.shape[1]), "float32"), np.full(n_labels, -1.0, "float32")
    if exclusive and len(found := np.unique(Y.argmax(1))) > 1:
        svm = fit(Y.argmax(1), len(found))
        both = len(found) == 2
        W[found] = np.concatenate([-svm.coef_, svm.coef_]) if both else svm.coef_
        b[found] = np.concatenate([-svm.intercept_, svm.intercept_]) if both else svm.intercept_
        return W, b
    for label in range(n_labels):
        if 0 < Y[:, label].sum() < len(Y):
            svm = fit(Y[:, label].astype(int), 2)
            W[label], b[label] = svm.coef_[0], svm.intercept_[0]
        elif Y[:, label].any():
            b[label] = 1.0
    return W, b


def split_folds(Y: np.ndarray, exclusive: bool, n_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds, stratified by the label where there is only one."""
    gold = Y.argmax(1) if exclusive else Y[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of labels with fewer texts than folds
        if (exclusive or Y.shape[1] == 1) and max(np.bincount(gold.astype(int))) >= n_folds:
            return list(StratifiedKFold(n_folds, shuffle=True, random_state=0).split(gold, gold))
        return list(KFold(n_folds, shuffle=True, random_state=0).split(gold))


def calibrate(scores: np.ndarray, Y: np.ndarray, exclusive: bool, prior: float = 3.0) -> tuple[float, np.ndarray]:
    """Factor and bias (labels,) with the least log loss: logits = factor * scores + bias.

    Exclusive: a temperature (Guo et al. 2017, "On calibration of modern neural networks"). Else Platt's sigmoid with
    one slope for all labels, and a bias for each that `prior` draws to the common one: rare labels keep near to it.
    """
    scores = scores.astype("float64")
    if exclusive:
        gold = Y.argmax(1)

        def loss(log_factor: float) -> float:
            logits = scores * np.exp(log_factor)
            return float((np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(gold)), gold]).mean())

        return float(np.exp(minimize_scalar(loss, bounds=(-3, 4), method="bounded").x)), np.zeros(Y.shape[1])

    def loss_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x[0] * scores + x[1] + x[2:]
        error = 1 / (1 + np.exp(-logits)) - Y
        value = (np.logaddexp(0, logits) - Y * logits).sum() + prior / 2 * np.square(x[2:]).sum()
        return value, np.concatenate([[(error * scores).sum(), error.sum()], error.sum(0) + prior * x[2:]])

    x = minimize(loss_and_gradient, np.concatenate([[2.0, 0.0], np.zeros(Y.shape[1])]), jac=True, method="L-BFGS-B").x
    return float(x[0]), x[1] + x[2:]


def rate(logits: np.ndarray, Y: np.ndarray, exclusive: bool) -> float:
    """Macro-F1 of the best label; else of the common threshold that suits best."""
    if exclusive:
        return float(macro_f1(Y > 0, np.eye(Y.shape[1], dtype=bool)[logits.argmax(1)]))
    return max(float(macro_f1(Y > 0, logits > np.log(t / (1 - t)))) for t in THRESHOLDS)


def quantize(W: np.ndarray, used: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Round weights to 8 bits: of words and pairs, and of pieces, each in units of the label's largest / 127.

    Args:
        W: shape (labels, used features).
        used: the features' rows, sorted.
        rows: of the table.

    Returns:
        int8, shape (rows, labels), and float32 scales, shape (2, labels).
    """
    weights, scales = np.zeros((rows, len(W)), "int8"), np.zeros((2, len(W)), "float32")
    middle = int(used.searchsorted(rows // 2))
    for half, part in enumerate((slice(0, middle), slice(middle, None))):
        scales[half] = np.maximum(np.abs(W[:, part]).max(axis=1, initial=0), 1e-8) / 127
        weights[used[part]] = np.rint(W[:, part].T / scales[half]).astype("int8")
    return weights, scales


def fit_linear(docs: Sequence[Doc], Y: np.ndarray, exclusive: bool) -> LinearFit:
    """Choose the settings by cross-validation, calibrate by the held-out scores, fit to all texts and quantize.

    Args:
        docs: tokenized training texts, at least 4, of one vocabulary.
        Y: 0 or 1, shape (texts, labels).
        exclusive: whether each text has exactly one label.
    """
    rows = choose_rows(Y.shape[1])
    full, idf = featurize(docs, rows)
    used = np.unique(full.indices)
    X = full[:, used]
    many = Y.size > MANY
    folds = split_folds(Y, exclusive, 3 if many else 5)
    settings = [(strength, balance) for strength in STRENGTHS for balance in BALANCES]
    best, rates, held = settings[0], {}, {}
    with tqdm(total=len(settings) * (1 if many else len(folds)) + len(folds) * many + 1, desc="linear") as bar:

        def cross_fit(setting: tuple, part: list) -> np.ndarray:
            scores = np.zeros(Y.shape, "float32")
            for train, test in part:
                W, b = fit_svm(X[train], Y[train], exclusive, *setting)
                scores[test] = X[test] @ W.T + b
                bar.update()
            return scores

        for setting in settings:
            part = folds[:1] if many else folds
            scores = held[setting] = cross_fit(setting, part)
            rows_held = np.concatenate([test for _, test in part])
            factor, bias = calibrate(scores[rows_held], Y[rows_held], exclusive)
            rates[setting] = rate(factor * scores[rows_held] + bias, Y[rows_held], exclusive)
            if rates[setting] > rates[best] + MARGIN:
                best = setting
        scores = cross_fit(best, folds) if many else held[best]
        factor, bias = calibrate(scores, Y, exclusive)
        W, b = fit_svm(X, Y, exclusive, *best)
        bar.update()
    weights, scales = quantize(W, used, rows)
    arrays = {"weights": weights, "idf": idf, "scales": (scales * factor).astype("float32")}
    arrays["bias"] = (b * factor + bias).astype("float32")
    info = {
        "strength": best[0],
        "balance": best[1],
        "rows": rows,
        "cv": {str(k): round(v, 4) for k, v in rates.items()},
    }
    return LinearFit(arrays, (scores * factor + bias).astype("float32"), info)
