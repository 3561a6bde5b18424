"""Altered copies of texts, for an encoder or a teacher to say something about where there is no more text of the kind.

Alterations after Tang et al. 2019, "Distilling task-specific knowledge from BERT into simple neural networks", who mask
words, replace them, and take runs of words. Nobody looks at a text's label: an altered text may mean something else.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import spacy
from spacy.tokens import DocBin

from scripts.common.cli import UserError
from scripts.data.splits import normalize

Words = Sequence[str]  # of a text, each with the spaces that follow it
Alter = Callable[[Words, Sequence[Words], np.random.Generator], list[str]]  # a text, all texts, what chooses
OMITTED = 0.2  # of the words of a text
SWAPPED = 1 / 7
SHORTEST, LONGEST = 0.2, 0.9  # of a text, for a run of its words
REPLACED = 0.3  # of the words of a text that have near ones


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


def spelt_like(word: str, model: str) -> str:
    """A lower-cased word with the capitals of another one: of its first letter, or of all."""
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[0].upper() + word[1:] if model[0].isupper() else word


def replace_words(near: Mapping[str, Sequence[str]]) -> Alter:
    """An alteration: near words in the place of some, which may be words that none of the texts has.

    Args:
        near: for lower-cased words, others that are near to them; see `near_words`.
    """

    def alter(words: Words, texts: Sequence[Words], rng: np.random.Generator) -> list[str]:
        result = list(words)
        for i in np.flatnonzero(rng.random(len(words)) < REPLACED).tolist():
            word = words[i].rstrip()
            if others := near.get(word.lower()):
                result[i] = spelt_like(others[int(rng.integers(len(others)))], word) + words[i][len(word) :]
        return result

    return alter


NEAR_SHARE = 0.35  # of the copies, where near words are known
# How to alter a text, and which share of the other copies is altered so.
KINDS: dict[str, tuple[Alter, float]] = {
    "run": (run_of, 0.35),
    "swap": (swap_words, 0.30),
    "omit": (omit_words, 0.15),
    "join": (join_texts, 0.20),
}


def altered_copies(
    texts: Sequence[Words], rng: np.random.Generator, max_words: int, near: Mapping[str, Sequence[str]] | None = None
) -> Iterator[list[str]]:
    """The words of copies without end, of texts chosen at random; they may be empty, and repeat one another.

    Args:
        texts: those with words.
        rng: what chooses.
        max_words: of a copy: of a longer text some run of so many is taken first.
        near: words that are near to words, if they are known; see `replace_words`.
    """
    kinds = [*KINDS.values()]
    if near:
        kinds = [(replace_words(near), NEAR_SHARE), *((alter, (1 - NEAR_SHARE) * share) for alter, share in kinds)]
    functions, shares = zip(*kinds, strict=True)
    while texts:
        words = texts[int(rng.integers(len(texts)))]
        if len(words) > max_words:
            start = int(rng.integers(len(words) - max_words + 1))
            words = words[start : start + max_words]
        alter = functions[int(rng.choice(len(functions), p=shares))]
        yield alter(words, texts, rng)[:max_words]


def read_texts(path: Path) -> list[str]:
    """The texts of a DocBin.

    Raises:
        UserError: there is no such file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Make it with the command `convert`.")
    return [doc.text for doc in DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab)]


def held_out_texts(corpus: Path) -> set[str]:
    """The texts of dev and test, normalized: what an alteration must not happen to make.

    Raises:
        UserError: a file is missing.
    """
    return {normalize(text) for name in ("dev", "test") for text in read_texts(corpus / f"{name}.spacy")}
