"""Which of many texts are worth annotating next: uncertain, no near-copies, and of all labels.

Uncertain is where the two best labels are near to each other (Scheffer, Decomain and Wrobel 2001, "Active hidden Markov
models for information extraction"). What else was tried, and what it brings: docs/annotation.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

SPARE = 10  # candidates for each text wanted, so that near-copies can be passed over
RARE_SHARE = 0.2  # of the texts wanted that go round the labels, the rarest first
NEAR = 0.8  # cosine of the features, from which on two texts say nearly the same


def uncertainty(P: np.ndarray, threshold: float | None) -> np.ndarray:
    """From 0, sure, to 1, undecided; shape (texts,).

    Args:
        P: probabilities, shape (texts, labels).
        threshold: from which probability on a label is given; None if only the best one is.
    """
    if threshold is None:
        best = np.sort(P, axis=1)[:, -2:]
        return 1 - (best[:, 1] - best[:, 0])
    # The label nearest to the threshold, in units of the way to 0 or 1
    return 1 - (np.abs(P - threshold) / np.where(threshold > P, threshold, 1 - threshold)).min(1)


@dataclass(frozen=True)
class Candidate:
    """A text that may be chosen.

    Attributes:
        score: how uncertain it is.
        label: number of the label that is nearest to being given.
        text: the text.
        source: where it stands.
        scores: probability of each label.
    """

    score: float
    label: int
    text: str
    source: str
    scores: tuple[float, ...] = field(repr=False)


class Pool:
    """The most uncertain of a stream of texts, and of each label; a number that does not grow with the stream."""

    def __init__(self, size: int, n_labels: int) -> None:
        self.size, self.of_label = size, -(-size // n_labels)
        self.found: dict[str, Candidate] = {}

    def add(self, key: str, candidate: Candidate) -> None:
        """Add one; of those with one key the first is kept."""
        self.found.setdefault(key, candidate)
        if len(self.found) > 4 * self.size:
            self.prune()

    def prune(self) -> None:
        """Drop what is sure, but for some of each label."""
        kept: dict[str, Candidate] = {}
        of_label: dict[int, int] = {}
        for key, candidate in sorted(self.found.items(), key=lambda item: -item[1].score):
            of_label[candidate.label] = of_label.get(candidate.label, 0) + 1
            if len(kept) < self.size or of_label[candidate.label] <= self.of_label:
                kept[key] = candidate
        self.found = kept

    def candidates(self) -> list[Candidate]:
        """What is left."""
        self.prune()
        return list(self.found.values())


def reading_order(scores: np.ndarray, labels: np.ndarray, frequency: np.ndarray, wanted: int) -> list[int]:
    """The order in which texts are considered: a share of them round the labels, the rarest first; then the uncertain.

    Args:
        scores: how uncertain each text is.
        labels: number of its likeliest label.
        frequency: labelled texts of each label.
        wanted: how many texts are to be chosen.
    """
    order = np.argsort(-scores, kind="stable")
    rows = {label: order[labels[order] == label].tolist() for label in np.argsort(frequency, kind="stable").tolist()}
    first: list[int] = []
    share = min(int(RARE_SHARE * wanted), len(order))
    while len(first) < share:
        for row in rows.values():
            if row and len(first) < share:
                first.append(row.pop(0))
    taken = set(first)
    return first + [i for i in order.tolist() if i not in taken]


def choose(X: sp.csr_matrix, known: sp.csr_matrix, order: Sequence[int], wanted: int) -> list[int]:
    """The first texts in an order that are near-copies neither of known texts nor of one another.

    Args:
        X: features of the texts.
        known: features of the labelled texts.
        order: numbers of texts.
        wanted: how many, at most.
    """
    X, known = (sp.diags(1 / np.sqrt(np.asarray(m.power(2).sum(1)).ravel()).clip(1e-6)) @ m for m in (X, known))
    near = np.zeros(X.shape[0], bool)
    chosen: list[int] = []
    for i in order:
        if len(chosen) == wanted:
            break
        if not near[i] and (known @ X[i].T).max() < NEAR:
            chosen.append(i)
            near |= (X @ X[i].T).toarray().ravel() >= NEAR
    return chosen
