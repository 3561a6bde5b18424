"""Altered copies of texts, for an encoder or a teacher to say something about where there is no more text of the kind.

Four alterations, after Tang et al. 2019, "Distilling task-specific knowledge from BERT into simple neural networks",
who mask words, replace them, and take runs of words. Nobody looks at a text's label: an altered text may mean something
else.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

Words = Sequence[str]  # of a text, each with the spaces that follow it
OMITTED = 0.2  # of the words of a text
SWAPPED = 1 / 7
SHORTEST, LONGEST = 0.2, 0.9  # of a text, for a run of its words


def run_of(words: Words, texts: Sequence[Words], rng: np.random.Generator) -> list[str]:
    """A run of a text's words."""
    length = max(1, round(rng.uniform(SHORTEST, LONGEST) * len(words)))
    start = int(rng.integers(len(words) - length + 1))
    return list(words[start : start + length])


def swap_words(words: Words, texts: Sequence[Words], rng: np.random.Generator) -> list[str]:
    """A text with some words in the place of others, taken from any text."""
    result = list(words)
    for i in np.flatnonzero(rng.random(len(words)) < SWAPPED).tolist():
        other = texts[int(rng.integers(len(texts)))]
        word = other[int(rng.integers(len(other)))]
        result[i] = word.rstrip() + result[i][len(result[i].rstrip()) :]
    return result


def omit_words(words: Words, texts: Sequence[Words], rng: np.random.Generator) -> list[str]:
    """A text without some of its words."""
    keep = rng.random(len(words)) >= OMITTED
    return [word for word, kept in zip(words, keep, strict=True) if kept]


def join_texts(words: Words, texts: Sequence[Words], rng: np.random.Generator) -> list[str]:
    """The beginning of a text and the end of another."""
    other = texts[int(rng.integers(len(texts)))]
    begin = words[: int(rng.integers(1, len(words) + 1))]
    return [*begin[:-1], f"{begin[-1].rstrip()} ", *other[int(rng.integers(len(other))) :]]


# How to alter a text, and which share of the copies is altered so.
KINDS: dict[str, tuple[Callable[[Words, Sequence[Words], np.random.Generator], list[str]], float]] = {
    "run": (run_of, 0.35),
    "swap": (swap_words, 0.30),
    "omit": (omit_words, 0.15),
    "join": (join_texts, 0.20),
}


def altered_copies(texts: Sequence[Words], rng: np.random.Generator, max_words: int) -> Iterator[str]:
    """Copies without end, of texts chosen at random; they may be empty, and repeat one another.

    Args:
        texts: those with words.
        rng: what chooses.
        max_words: of a copy: of a longer text some run of so many is taken first.
    """
    functions, shares = zip(*KINDS.values(), strict=True)
    while True:
        words = texts[int(rng.integers(len(texts)))]
        if len(words) > max_words:
            start = int(rng.integers(len(words) - max_words + 1))
            words = words[start : start + max_words]
        alter = functions[int(rng.choice(len(functions), p=shares))]
        yield "".join(alter(words, texts, rng)[:max_words]).strip()
