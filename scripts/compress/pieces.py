"""Word pieces: count them in texts, and leave only some in a tokenizer."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import spacy
import srsly
from spacy.tokens import DocBin
from spacy.util import minibatch

from scripts.common.cli import UserError, show_progress

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNUSED = re.compile(r"\[.+\]")  # special pieces, and places for some
TEXTS_AT_ONCE = 1000  # that the tokenizer gets; bounds the memory


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """Stream the texts of .jsonl (`{"text": …}` a line) and .spacy files."""
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such file. Make it with the command `convert`.")
        if path.suffix == ".spacy":
            for doc in DocBin().from_disk(path).get_docs(spacy.blank("en").vocab):
                yield doc.text
        else:
            for record in srsly.read_jsonl(path):
                yield record["text"]


def count_pieces(tokenizer: "Tokenizer", texts: Iterable[str]) -> Counter[str]:
    """How often each word piece occurs in the texts; memory does not grow with them."""
    counts: Counter[str] = Counter()
    with show_progress(desc="word pieces", unit=" texts") as progress:
        for batch in minibatch(texts, TEXTS_AT_ONCE):
            for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                counts.update(encoding.ids)
            progress.update(len(batch))
    return Counter({tokenizer.id_to_token(i): count for i, count in counts.items()})


def unseen_share(own: Counter[str], others: Counter[str]) -> float:
    """How much of a further text like the known ones is pieces that none of the texts has.

    It is the share of those that occur once (Good 1953, "The population frequencies of species and the estimation of
    population parameters").

    Args:
        own: counts of pieces in texts of the kind.
        others: in further texts of any kind.
    """
    words = Counter({piece: n for piece, n in own.items() if not UNUSED.fullmatch(piece)})
    return sum(n for piece, n in words.items() if n + others[piece] == 1) / max(1, words.total())


def add_frequent(wanted: set[str], vocabulary: Sequence[str], prefix: str, least: int) -> set[str]:
    """The wanted pieces, and the first of a vocabulary besides, until they and all characters are `least` in number.

    Vocabularies of word pieces are about in the order of their frequency in the language.
    """
    result = {*wanted, *(piece for piece in vocabulary if is_character(piece, prefix))}
    usual = (piece for piece in vocabulary if piece not in result and not UNUSED.fullmatch(piece))
    return result.union(islice(usual, max(0, least - len(result))))


def is_character(piece: str, prefix: str) -> bool:
    """Whether a piece is one character, at the start of a word or within: these keep every word spellable."""
    return len(piece.removeprefix(prefix)) == 1


def trim_tokenizer(state: dict[str, Any], wanted: set[str]) -> list[int]:
    """Leave only some pieces in a tokenizer, in place, and renumber them in their old order.

    Args:
        state: the parsed `tokenizer.json`.
        wanted: the pieces to keep; special tokens and single characters are kept besides.

    Returns:
        The old number of each kept piece, in the new order.

    Raises:
        UserError: the tokenizer is not a WordPiece tokenizer.
    """
    model = state["model"]
    if model["type"] != "WordPiece":
        raise UserError(
            f"Only WordPiece vocabularies can be trimmed; this one is {model['type']}. Leave out --text, "
            "or take another encoder."
        )
    prefix = model["continuing_subword_prefix"]
    special = {token["content"] for token in state["added_tokens"]}
    kept = sorted(
        (number, piece)
        for piece, number in model["vocab"].items()
        if piece in wanted or piece in special or is_character(piece, prefix)
    )
    new = {piece: i for i, (_, piece) in enumerate(kept)}
    model["vocab"] = new
    for token in state["added_tokens"]:
        token["id"] = new[token["content"]]
    processor = state.get("post_processor") or {}
    for token in processor.get("special_tokens", {}).values():  # TemplateProcessing
        token["ids"] = [new[piece] for piece in token["tokens"]]
    for place in ("cls", "sep"):  # BertProcessing, RobertaProcessing
        if place in processor:
            processor[place][1] = new[processor[place][0]]
    return [number for number, _ in kept]
