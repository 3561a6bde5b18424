"""Labels worth checking, by what a model says of texts that it was fitted without (confident learning).

Source: Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", JAIR 70: the
confident joint. Texts are ordered by how much likelier the best other label is than the given one, which finds more of
the labels that were made wrong than margins between probabilities do (docs/annotation.md).
"""

import numpy as np

TINY = 1e-9


def doubts(P: np.ndarray, Y: np.ndarray, exclusive: bool) -> np.ndarray:
    """How much is against the labels of each text: the log of the ratio of two probabilities, shape (texts,).

    It is positive where the model says something else. Exclusive labels: the best other label against the given one;
    else the worst case among the labels: that it is not as given, against that it is.

    Args:
        P: probabilities by a model fitted without the text, shape (texts, labels).
        Y: 0 or 1, same shape.
        exclusive: whether each text has exactly one label.
    """
    log_p = np.log(np.clip(P, TINY, 1))
    if exclusive:
        return np.where(Y > 0, -np.inf, log_p).max(1) - np.where(Y > 0, log_p, -np.inf).max(1)
    against = log_p - np.log(np.clip(1 - P, TINY, 1))
    return np.where(Y > 0, -against, against).max(1)


def confident_joint(P: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """How many texts of each given label (row) are in truth of each label (column), estimated: shape (labels, labels).

    A text counts for the most probable of the labels whose probability is at least the mean that texts given that label
    have. The rows are scaled to the numbers of texts that were given the label.

    Args:
        P: probabilities by a model fitted without the text, shape (texts, labels).
        gold: number of the given label, shape (texts,).
    """
    n_labels = P.shape[1]
    counts = np.bincount(gold, minlength=n_labels)
    sums = np.bincount(gold, weights=P[np.arange(len(gold)), gold], minlength=n_labels)
    least = np.divide(sums, counts, out=np.full(n_labels, np.inf), where=counts > 0)
    sure = np.where(least <= P, P, -1.0)
    counted = sure.max(1) >= 0
    joint = np.zeros((n_labels, n_labels))
    np.add.at(joint, (gold[counted], sure.argmax(1)[counted]), 1)
    empty = joint.sum(1) == 0
    joint[empty, empty] = 1  # nothing speaks against a label of which no text counts
    return joint / joint.sum(1, keepdims=True) * counts[:, None]


def expected_errors(P: np.ndarray, Y: np.ndarray, exclusive: bool) -> int:
    """How many labels are wrong at most, by the confident joint; arguments as of `doubts`.

    Texts that are hard for the model count, too: the weaker it is, the more the number is above the truth.
    """
    if exclusive:
        joints = [confident_joint(P, Y.argmax(1))]
    else:
        joints = [confident_joint(np.stack([1 - P[:, i], P[:, i]], 1), Y[:, i].astype(int)) for i in range(Y.shape[1])]
    return round(sum(float(joint.sum() - np.trace(joint)) for joint in joints))
