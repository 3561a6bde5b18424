"""Show the nearest neighbours of some words in a vectors table: a look at whether the vectors make sense.

A floret table has a vector for every word, seen or not, and no list of words; the neighbours are looked for among the
most frequent words of the raw text.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import spacy
import typer
from spacy.vocab import Vocab
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import write_json
from scripts.common.skipping import pass_on
from scripts.vectors.words import lower_counts

DEFAULT_WORDS = 4  # shown when none are asked for


def unit_vectors(vocab: Vocab, words: list[str]) -> np.ndarray:
    """The words' vectors at length 1, shape (words, dimensions); zeros for a word without a vector."""
    vectors = np.stack([vocab.get_vector(word) for word in words])
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest(vocab: Vocab, words: list[str], candidates: list[str], n: int) -> dict[str, list[tuple[str, float]]]:
    """The `n` candidates most similar to each word, but for itself, with the cosine; words without a vector have none.

    Args:
        vocab: holds the vectors.
        words: what to look up.
        candidates: lower-cased words to choose from.
        n: how many.
    """
    table = unit_vectors(vocab, candidates)
    result = {}
    for word, similarities in zip(words, unit_vectors(vocab, words) @ table.T, strict=True):
        order = [i for i in np.argsort(-similarities, kind="stable") if candidates[i] != word.lower()]
        result[word] = [(candidates[i], round(float(similarities[i]), 3)) for i in order[:n] if similarities[i] != 0]
    return result


def neighbours(
    table: Annotated[Path, typer.Argument(help="Folder of a vectors table.")],
    counts: Annotated[Path, typer.Argument(help="Counts of the raw text's words, the candidates, JSON.")],
    output: Annotated[Path, typer.Argument(help="JSON file to write.")],
    words: Annotated[
        list[str] | None, typer.Argument(help="Words to look up; without any, some frequent ones.")
    ] = None,
    n: Annotated[int, typer.Option(help="Neighbours shown of each word.", min=1)] = 5,
    among: Annotated[int, typer.Option(help="How many of the most frequent words are candidates.", min=2)] = 10_000,
) -> None:
    """List the nearest neighbours of words."""
    pass_on([table], files=[output])
    if not (table / "config.cfg").is_file():
        raise UserError(f"{table}: no vectors table. Make it with the command `learn-floret`.")
    nlp = spacy.load(table)
    seen = lower_counts(counts)
    common = (word for word, _ in seen.most_common(among) if any(map(str.isalpha, word)))
    frequent = [word for word in common if not nlp.vocab[word].is_stop]
    if not frequent:
        raise UserError(f"{counts}: of the {among:,} most frequent words none is more than a stop word or a sign.")
    # Without words of the user's: some topical ones, and a word made up of one of them, which no list can hold.
    asked = list(words or [*frequent[:DEFAULT_WORDS], f"un{frequent[0]}ish"])
    found = nearest(nlp.vocab, asked, frequent, n)
    write_json(output, found)
    for word, hits in found.items():
        note = "" if word.lower() in seen else " (not in the raw text)"
        msg.text(f"{word}{note}: " + (", ".join(f"{hit} {cosine:.2f}" for hit, cosine in hits) or "no vector"))
    msg.good(f"{output}: neighbours of {len(found)} words")


if __name__ == "__main__":
    run_cli(neighbours)
