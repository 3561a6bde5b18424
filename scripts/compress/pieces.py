"""Word pieces: count them in texts, and leave only some in a tokenizer."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import spacy
import srsly
from spacy.tokens import DocBin
from spacy.util import minibatch

from scripts.common.cli import UserError, show_progress
from scripts.common.skipping import Unsuited

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

UNUSED = re.compile(r"\[.+\]")  # special pieces, and places for some
TEXTS_AT_ONCE = 1000  # that the tokenizer gets; bounds the memory
TRIMMED = ("WordPiece", "BPE", "Unigram")
BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # a piece for what no other piece can spell


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


def piece_numbers(state: dict[str, Any]) -> dict[str, int]:
    """The numbers of a tokenizer's pieces, from the parsed `tokenizer.json`; without those that are added to them."""
    vocabulary = state["model"]["vocab"]
    return vocabulary if isinstance(vocabulary, dict) else {piece: i for i, (piece, _) in enumerate(vocabulary)}


def prefix_of(state: dict[str, Any]) -> str:
    """What pieces within a word begin with."""
    return state["model"].get("continuing_subword_prefix") or ""


def part_finder(state: dict[str, Any]) -> Callable[[str], set[str]]:
    """A function that gives the pieces that a piece is put together of, and itself: none can go without the others.

    Only byte pair encoding puts pieces together.
    """
    prefix = prefix_of(state)
    made_of: dict[str, list[str]] = defaultdict(list)
    for first, second in state["model"].get("merges", ()):
        made_of[first + second.removeprefix(prefix)] += (first, second)

    def parts(piece: str) -> set[str]:
        found, new = set(), {piece}
        while new:
            found |= new
            new = {part for name in new for part in made_of.get(name, ())} - found
        return found

    return parts


def always_kept(state: dict[str, Any]) -> set[str]:
    """The pieces without which a tokenizer does not work, or could not spell each word: special ones and characters."""
    model, prefix = state["model"], prefix_of(state)
    kept = {token["content"] for token in state["added_tokens"]}
    kept |= {piece for piece in piece_numbers(state) if is_character(piece, prefix) or BYTE.fullmatch(piece)}
    if model.get("unk_id") is not None:
        kept.add(model["vocab"][model["unk_id"]][0])
    return kept | ({model["unk_token"]} if model.get("unk_token") else set())


def trim_tokenizer(state: dict[str, Any], wanted: set[str]) -> list[int]:
    """Leave only some pieces in a tokenizer, in place, and renumber them in their old order.

    A text whose pieces are all kept is cut up as before. With WordPiece and Unigram that is so since what goes was not
    chosen when it could have been; with byte pair encoding, since what these pieces are put together of is kept, too.

    Args:
        state: the parsed `tokenizer.json`.
        wanted: the pieces to keep; those that are `always_kept` are kept besides.

    Returns:
        The old number of each kept piece, in the new order.

    Raises:
        Unsuited: the tokenizer is of another kind.
    """
    model = state["model"]
    if model["type"] not in TRIMMED:
        raise Unsuited(
            f"Vocabularies of the kinds {', '.join(TRIMMED)} can be trimmed; that of this encoder is {model['type']}. "
            "Take another encoder."
        )
    numbers, parts = piece_numbers(state), part_finder(state)
    names = set().union(*map(parts, wanted | always_kept(state)))
    kept = sorted((number, piece) for piece, number in numbers.items() if piece in names)
    new = {piece: i for i, (_, piece) in enumerate(kept)}
    # What is not among the pieces of the model follows them.
    for token in sorted(state["added_tokens"], key=lambda token: token["id"]):
        if token["content"] not in numbers:
            kept.append((token["id"], token["content"]))
            new[token["content"]] = len(new)
    for token in state["added_tokens"]:
        token["id"] = new[token["content"]]
    if model["type"] == "Unigram":
        if model["unk_id"] is not None:
            model["unk_id"] = new[model["vocab"][model["unk_id"]][0]]
        model["vocab"] = [pair for pair in model["vocab"] if pair[0] in new]
    else:
        model["vocab"] = {piece: i for piece, i in new.items() if piece in numbers}
    if "merges" in model:
        prefix = prefix_of(state)
        model["merges"] = [
            [first, second]
            for first, second in model["merges"]
            if {first, second, first + second.removeprefix(prefix)} <= new.keys()
        ]
    renumber_processor(state.get("post_processor") or {}, new)
    return [number for number, _ in kept]


def keep_rows(model: "PreTrainedModel", rows: Sequence[int]) -> None:
    """Leave only some vectors in an encoder's table of word pieces, in place, in the order of their numbers here."""
    import torch

    table = model.get_input_embeddings().weight.detach()[torch.tensor(rows)]
    model.set_input_embeddings(torch.nn.Embedding.from_pretrained(table, freeze=False))
    model.config.vocab_size = len(rows)


def renumber_processor(processor: dict[str, Any], new: dict[str, int]) -> None:
    """Give the special pieces that a tokenizer puts around a text their new numbers, in place."""
    for inner in processor.get("processors", ()):  # Sequence
        renumber_processor(inner, new)
    for token in processor.get("special_tokens", {}).values():  # TemplateProcessing
        token["ids"] = [new[piece] for piece in token["tokens"]]
    for place in ("cls", "sep"):  # BertProcessing, RobertaProcessing
        if place in processor:
            processor[place][1] = new[processor[place][0]]
