"""Words that are near one another in a transformer's own table of word pieces.

Altered copies that are made of the training texts' words alone teach a student nothing of other words, of which the
transformer knows much. Jiao et al. 2020, "TinyBERT: distilling BERT for natural language understanding", therefore
replace words by near ones.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from scripts.common.cli import show_progress
from scripts.encoder.embed import spelt_pieces, unit_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NEAR = 10  # words near a word
# So much time and memory it takes at most: words that are looked at, and pieces among which their near ones are; the
# vocabularies are about in the order of frequency.
MAX_WORDS, MAX_PIECES, AT_ONCE = 10_000, 50_000, 500


def near_words(words: Iterable[str], tokenizer: "PreTrainedTokenizerFast", table: np.ndarray) -> dict[str, list[str]]:
    """For each word that is a word piece of its own, the words nearest to it among the pieces, the nearest first.

    Args:
        words: as they stand in texts; the most frequent are looked at.
        tokenizer: the transformer's.
        table: vectors of its word pieces, shape (pieces, width).

    Returns:
        Lower-cased; only words of letters, two or more.
    """
    pieces = {piece: i for piece, i in spelt_pieces(tokenizer).items() if is_word(piece)}
    names = [*pieces][:MAX_PIECES]
    numbers = {name: row for row, name in enumerate(names)}
    counts = Counter(word for word in map(str.lower, words) if word in numbers)
    frequent = [word for word, _ in counts.most_common(MAX_WORDS)]
    if len(names) <= NEAR or not frequent:
        return {}
    vectors = np.asarray(table, dtype="float32")[[pieces[name] for name in names]]
    vectors = unit_rows(vectors - vectors.mean(axis=0))
    result = {}
    with show_progress(total=len(frequent), desc="near words", unit=" words") as bar:
        for start in range(0, len(frequent), AT_ONCE):
            some = frequent[start : start + AT_ONCE]
            own = np.asarray([numbers[word] for word in some])
            likeness = vectors[own] @ vectors.T
            likeness[np.arange(len(own)), own] = -np.inf
            best = np.argpartition(-likeness, NEAR, axis=1)[:, :NEAR]
            for i, word in enumerate(some):
                result[word] = [names[j] for j in best[i][(-likeness[i, best[i]]).argsort(kind="stable")]]
            bar.update(len(some))
    return result


def is_word(piece: str) -> bool:
    """Whether a piece, as `spelt_pieces` writes it, is a word: letters, and marks, as vowels of Hindi are."""
    return len(piece) > 1 and piece[0].isalpha() and all(unicodedata.category(char)[0] in "LM" for char in piece)
