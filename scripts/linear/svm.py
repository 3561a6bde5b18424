"""A linear support vector machine on the features of `textcat_ladder.TextCatLinear.v1`, calibrated, in 8 bits."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import spacy
from scipy.optimize import minimize, minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.svm import LinearSVC
from spacy.tokens import Doc, DocBin

from scripts.common.cli import show_progress
from scripts.common.files import whole_file
from scripts.components import DENSE_CHARACTERS, LINEAR_ROWS, count_words, cut_words, hash_rows, split_pieces
from scripts.evaluation.thresholds import given_labels, macro_f1
from scripts.linear.mixing import FINAL, LEFT_OUT

STRENGTHS = (1.0, 0.3, 3.0)  # C of the support vector machine; the first of equals is taken
BALANCES = (1.0, 0.5)  # exponents of the weight that rare labels get
MARGIN = 0.003  # of F1 by which another setting must be better than the first
SIZE, MIN_ROWS = 1_200_000, 20_000  # bytes of the table at most, unless many labels want more for so many rows
ROW_BYTES = 5  # key and idf
CANDIDATES, WEIGHTS = 16, 100_000_000  # a first fit chooses among so many times the rows, of so many weights at most
PASSES = 5  # of the first fit over the texts; enough to tell which weights are large
MANY = 40_000  # texts times labels: from here on settings are compared by one fold of three
DF_TEXTS = 2_000  # counted at a time: memory would else grow with the words of all texts
CHARACTERS = 0.9  # of the words, from which on they count as characters
SLOPE = 2.0  # of a sigmoid on a support vector machine's scores; of cooking 2.1
THRESHOLDS = np.arange(0.05, 0.96, 0.05)


def count_folds(texts: int, labels: int) -> int:
    """Of cross-validation: fewer where there is much to fit."""
    return 3 if texts * labels > MANY else 5


def is_large(dev: int, train: int, labels: int) -> bool:
    """Whether dev has so many texts that what cross-validation on both fits learns from as many as train has."""
    return (1 - 1 / count_folds(train + dev, labels)) * (train + dev) >= train


class LinearFit(NamedTuple):
    """A model fitted to some texts, and what was chosen by cross-validation over them.

    Attributes:
        arrays: for `set_linear`.
        logits: of the texts, calibrated, each by a model that was not fitted to it; float32, shape (texts, labels).
        setting: strength and balance, as for `fit_svm`.
        calibration: factor, and bias, shape (labels,), of the scores.
        info: all of it, for people.
    """

    arrays: dict[str, np.ndarray]
    logits: np.ndarray
    setting: tuple[float, float]
    calibration: tuple[float, np.ndarray]
    info: dict[str, Any]


Counted = tuple[sp.csr_matrix, sp.csr_matrix, sp.csr_matrix]  # what `featurize` gives


class Table(NamedTuple):
    """Weighted features of texts, shape (texts, rows); the rows, sorted; their idf in 8 bits."""

    X: sp.csr_matrix
    keys: np.ndarray
    idf: np.ndarray


class Features(NamedTuple):
    """What texts are described by, chosen without a look at their labels.

    Attributes:
        counted: what `featurize` gives.
        df: how many texts fall on each row, shape (`LINEAR_ROWS`,).
        table: of the rows that come into question.
        most: how many rows are kept.
    """

    counted: Counted
    df: np.ndarray
    table: Table
    most: int


def featurize(docs: Sequence[Doc]) -> Counted:
    """The counts behind the features that the pipeline computes.

    Returns:
        The words of the texts, 1 + the log of their counts, shape (texts, words); what rows a word and its pieces fall
        on, shape (words, LINEAR_ROWS); and the pairs of words of the texts, shape (texts, LINEAR_ROWS).
    """
    words, (texts, index, values), (pair_texts, pairs, pair_values) = count_words(docs)
    n, n_words = len(docs), len(words)
    strings = [docs[0].vocab.strings[word] for word in words.tolist()]
    parts = [sp.csr_matrix((0, LINEAR_ROWS), dtype="f4")]
    for part in cut_words(strings):
        own, (pieces, owners) = hash_rows(words[part]), split_pieces(strings[part])
        rows, owners = np.concatenate([own, pieces]), np.concatenate([np.arange(len(own)), owners])
        parts.append(sp.csr_matrix((np.ones(len(rows), "f4"), (owners, rows)), shape=(len(own), LINEAR_ROWS)))
    counts = sp.csr_matrix((values, (texts, index)), shape=(n, n_words))
    two = sp.csr_matrix((pair_values, (pair_texts, pairs)), shape=(n, LINEAR_ROWS))
    return counts, sp.vstack(parts, format="csr"), two


def most_rows(n_labels: int, size: int = 0) -> int:
    """How many rows some bytes hold (0: of `SIZE`, or `MIN_ROWS`): a row takes a byte for each label, and 5 more."""
    return max(1, (size or max(SIZE, MIN_ROWS * (ROW_BYTES + n_labels))) // (ROW_BYTES + n_labels))


def choose_rows(df: np.ndarray, most: int) -> np.ndarray:
    """The rows that most texts fall on, sorted.

    Args:
        df: texts that fall on each row.
        most: how many to choose.
    """
    used = np.flatnonzero(df)
    if len(used) > most:
        used = np.sort(used[np.argsort(-df[used], kind="stable")[:most]])
    return used


def weigh(
    counts: sp.csr_matrix, parts: sp.csr_matrix, pairs: sp.csr_matrix, keys: np.ndarray, idf: np.ndarray
) -> sp.csr_matrix:
    """The features of `featurize`, weighted and scaled as in the pipeline: shape (texts, kept rows).

    A text's words and pairs have a length of 1 together, and so have its pieces.
    """
    parts, pairs = (matrix[:, keys] @ sp.diags(idf.astype("float32")) for matrix in (parts, pairs))
    middle = int(keys.searchsorted(LINEAR_ROWS // 2))
    own, pieces = parts[:, :middle], parts[:, middle:]
    squares = counts.power(2)
    word_length = squares @ np.asarray(own.power(2).sum(1)) + np.asarray(pairs.power(2).sum(1))
    piece_length = squares @ np.asarray(pieces.power(2).sum(1))
    first, second = (sp.diags(1 / np.sqrt(x).clip(1e-6).ravel()) for x in (word_length, piece_length))
    both = [first @ (counts @ own + pairs[:, :middle]), second @ (counts @ pieces)]
    return sp.hstack(both).tocsr().astype("float32")


def fit_svm(
    X: sp.csr_matrix, Y: np.ndarray, exclusive: bool, strength: float, balance: float, passes: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """Weights, float32 (labels, features), and bias of one-vs-rest L2 support vector machines.

    The weight of a class is (texts / (classes * its texts)) ** balance. A label that all or no text has gets a bias.
    After so many passes over the texts it ends, whether it has converged or not.
    """

    def fit(gold: np.ndarray, n_classes: int) -> LinearSVC:
        found, counts = np.unique(gold, return_counts=True)
        weight = dict(zip(found.tolist(), ((len(gold) / (n_classes * counts)) ** balance).tolist(), strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return LinearSVC(C=strength, class_weight=weight, random_state=0, max_iter=passes).fit(X, gold)

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
    """Folds, stratified by the label where there is only one; a text each, where there are no more texts."""
    n_folds = min(n_folds, len(Y))
    gold = Y.argmax(1) if exclusive else Y[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of labels with fewer texts than folds
        if (exclusive or Y.shape[1] == 1) and max(np.bincount(gold.astype(int))) >= n_folds:
            return list(StratifiedKFold(n_folds, shuffle=True, random_state=0).split(gold, gold))
        return list(KFold(n_folds, shuffle=True, random_state=0).split(gold))


def calibrate(scores: np.ndarray, Y: np.ndarray, exclusive: bool, prior: float = 3.0) -> tuple[float, np.ndarray]:
    """Factor and bias (labels,) with the least log loss: logits = factor * scores + bias.

    Exclusive: a temperature (Guo et al. 2017, "On calibration of modern neural networks"). Else Platt's sigmoid with
    one slope for all labels, and a bias for each that `prior` draws to the common one: rare labels keep near to it. The
    slope is positive, and drawn to `SLOPE`: by cross-validation of a few dozen texts it would be negative now and then,
    since a label is rarer in the folds that are learned from where it is more frequent in the one that is left out.
    """
    scores = scores.astype("float64")
    if exclusive:
        gold = Y.argmax(1)

        def loss(log_factor: float) -> float:
            logits = scores * np.exp(log_factor)
            return float((np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(gold)), gold]).mean())

        return float(np.exp(minimize_scalar(loss, bounds=(-3, 4), method="bounded").x)), np.zeros(Y.shape[1])

    def loss_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        slope, pulled = np.exp(x[0]), np.concatenate([[x[0] - np.log(SLOPE), 0.0], x[2:]])
        logits = slope * scores + x[1] + x[2:]
        error = 1 / (1 + np.exp(-logits)) - Y
        value = (np.logaddexp(0, logits) - Y * logits).sum() + prior / 2 * np.square(pulled).sum()
        gradient = np.concatenate([[slope * (error * scores).sum(), error.sum()], error.sum(0)])
        return value, gradient + prior * pulled

    start = np.concatenate([[np.log(SLOPE), 0.0], np.zeros(Y.shape[1])])
    x = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B").x
    return float(np.exp(x[0])), x[1] + x[2:]


def rate(logits: np.ndarray, Y: np.ndarray, exclusive: bool) -> float:
    """Macro-F1 of the best label; else of the common threshold that suits best."""
    if exclusive:
        return float(macro_f1(Y > 0, given_labels(logits, None)))
    return max(float(macro_f1(Y > 0, logits > np.log(t / (1 - t)))) for t in THRESHOLDS)


def quantize(W: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round weights to 8 bits: of words and pairs, and of pieces, each in units of the label's largest / 127.

    Args:
        W: shape (labels, kept rows).
        keys: the rows, sorted.

    Returns:
        int8, shape (kept rows, labels), and float32 scales, shape (2, labels).
    """
    weights, scales = np.zeros(W.shape[::-1], "int8"), np.zeros((2, len(W)), "float32")
    middle = int(keys.searchsorted(LINEAR_ROWS // 2))
    for half, part in enumerate((slice(0, middle), slice(middle, None))):
        scales[half] = np.maximum(np.abs(W[:, part]).max(axis=1, initial=0), 1e-8) / 127
        weights[part] = np.rint(W[:, part].T / scales[half]).astype("int8")
    return weights, scales


def count_texts(counts: sp.csr_matrix, parts: sp.csr_matrix, pairs: sp.csr_matrix) -> np.ndarray:
    """How many texts fall on each row, of what `featurize` gives; shape (`LINEAR_ROWS`,)."""
    df = np.zeros(LINEAR_ROWS, dtype=np.int64)
    for start in range(0, counts.shape[0], DF_TEXTS):
        some = slice(start, start + DF_TEXTS)
        df += np.bincount((counts[some] @ parts + pairs[some]).indices, minlength=LINEAR_ROWS)
    return df


def are_characters(docs: Sequence[Doc]) -> bool:
    """Whether words are single characters, as spaCy's tokenizer has it for Chinese: their pieces say nothing else."""
    words = [word.text for doc in docs[:DF_TEXTS] for word in doc if word.is_alpha]
    first, end = DENSE_CHARACTERS
    return sum(len(word) == 1 and first <= ord(word) < end for word in words) > CHARACTERS * len(words)


def make_table(counted: Counted, df: np.ndarray, keys: np.ndarray) -> Table:
    """The features of some rows, of what `featurize` and `count_texts` give."""
    full = np.log((1 + counted[0].shape[0]) / (1 + df[keys])) + 1
    idf = np.rint(full * (255 / full.max())).astype("uint8")
    return Table(weigh(*counted, keys, idf), keys, idf)


def choose_features(docs: Sequence[Doc], n_labels: int, size: int) -> Features:
    """The features of texts, of the rows that most texts fall on, more than are kept; see `keep_rows`."""
    counted, most = featurize(docs), most_rows(n_labels, size)
    df = count_texts(*counted)
    if are_characters(docs):
        df[LINEAR_ROWS // 2 :] = 0
    keys = choose_rows(df, max(most, min(CANDIDATES * most, WEIGHTS // n_labels)))
    return Features(counted, df, make_table(counted, df, keys), most)


def keep_rows(features: Features, texts: np.ndarray | slice, Y: np.ndarray, exclusive: bool) -> Table:
    """The rows with the largest weights of a first fit, as many as are kept, or all if there are no more.

    Long texts have many more rows than the table holds, and the most frequent of them tell little (docs/variants.md).

    Args:
        features: of all texts.
        texts: which of them may be looked at, with their labels.
        Y: 0 or 1, shape (all texts, labels).
        exclusive: whether each text has exactly one label.
    """
    table = features.table
    if len(table.keys) <= features.most:
        return table
    W, _ = fit_svm(table.X[texts], Y[texts], exclusive, STRENGTHS[0], BALANCES[0], PASSES)
    largest = np.argsort(-np.abs(W).max(axis=0), kind="stable")[: features.most]
    return make_table(features.counted, features.df, np.sort(table.keys[largest]))


def fit_arrays(
    features: Features, Y: np.ndarray, exclusive: bool, setting: tuple[float, float], calibration: tuple
) -> dict[str, np.ndarray]:
    """Fit to all texts, and quantize: the arrays for `set_linear`."""
    X, keys, idf = keep_rows(features, slice(None), Y, exclusive)
    W, b = fit_svm(X, Y, exclusive, *setting)
    (weights, scales), (factor, bias) = quantize(W, keys), calibration
    return {
        "keys": keys.astype("uint32"),
        "weights": weights,
        "idf": idf,
        "scales": (scales * factor).astype("float32"),
        "bias": (b * factor + bias).astype("float32"),
    }


def fit_linear(docs: Sequence[Doc], Y: np.ndarray, exclusive: bool, size: int = 0) -> LinearFit:
    """Choose the settings by cross-validation, calibrate by the held-out scores, fit to all texts and quantize.

    Args:
        docs: tokenized training texts, at least 4, of one vocabulary.
        Y: 0 or 1, shape (texts, labels).
        exclusive: whether each text has exactly one label.
        size: bytes of the table, at most; 0 for `SIZE`, or what `MIN_ROWS` take.
    """
    features, many = choose_features(docs, Y.shape[1], size), Y.size > MANY
    folds = split_folds(Y, exclusive, count_folds(*Y.shape))
    settings = [(strength, balance) for strength in STRENGTHS for balance in BALANCES]
    held = {setting: np.zeros(Y.shape, "float32") for setting in settings}
    rates: dict[tuple[float, float], float] = {}

    def choose(texts: np.ndarray | slice) -> tuple[float, float]:
        best = settings[0]
        for setting in settings:
            scores = held[setting][texts]
            factor, bias = calibrate(scores, Y[texts], exclusive)
            rates[setting] = rate(factor * scores + bias, Y[texts], exclusive)
            if rates[setting] > rates[best] + MARGIN:
                best = setting
        return best

    tried = settings
    with show_progress(
        total=len(settings) * (1 if many else len(folds)) + (len(folds) - 1) * many + 1, desc="linear"
    ) as bar:
        for train, test in folds:
            X = keep_rows(features, train, Y, exclusive).X
            for setting in tried:
                W, b = fit_svm(X[train], Y[train], exclusive, *setting)
                held[setting][test] = X[test] @ W.T + b
                bar.update()
            if many and len(tried) > 1:
                tried = [choose(test)]
        best = tried[0] if many else choose(slice(None))
        scores = held[best]
        factor, bias = calibrate(scores, Y, exclusive)
        arrays = fit_arrays(features, Y, exclusive, best, (factor, bias))
        bar.update()
    info = {
        "texts": len(docs),
        "strength": best[0],
        "balance": best[1],
        "rows": len(arrays["keys"]),
        "of": int((features.df > 0).sum()),
        "cv": {str(k): round(v, 4) for k, v in rates.items()},
    }
    return LinearFit(arrays, (scores * factor + bias).astype("float32"), best, (factor, bias), info)


def fit_both(train: Path, dev: Path, output: Path, facts: dict[str, Any], size: int = 0) -> dict[str, Any]:
    """Write the model that is fitted to train, with the scores of `LinearFit`, and the one fitted to train and dev.

    The settings and the calibration that suit train suit both, unless dev is large. Then they are found anew, and the
    scores of cross-validation on both are written, too.

    Args:
        train: texts (.spacy).
        dev: texts (.spacy).
        output: file to write (.npz).
        facts: of the task, as convert writes them.
        size: bytes of the table, at most; see `fit_linear`.

    Returns:
        What was chosen for the latter.
    """
    labels, vocab = facts["labels"], spacy.blank(facts["lang"]).vocab
    docs = list(DocBin().from_disk(train).get_docs(vocab))
    n_train = len(docs)
    docs += DocBin().from_disk(dev).get_docs(vocab)
    gold = np.array([[doc.cats[label] for label in labels] for doc in docs])
    found = fit_linear(docs[:n_train], gold[:n_train], facts["exclusive"], size)
    arrays = found.arrays | {"labels": np.asarray(labels), LEFT_OUT: found.logits}
    info = found.info
    if is_large(len(docs) - n_train, n_train, len(labels)):
        fit = fit_linear(docs, gold, facts["exclusive"], size)
        final, info = fit.arrays | {LEFT_OUT: fit.logits}, fit.info
    else:
        features = choose_features(docs, len(labels), size)
        final = fit_arrays(features, gold, facts["exclusive"], found.setting, found.calibration)
    arrays |= {FINAL + name: array for name, array in final.items()}
    with whole_file(output) as temporary, temporary.open("wb") as stream:
        # Compressed: most rows of the table are empty.
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    return info
