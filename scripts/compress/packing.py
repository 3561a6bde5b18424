"""Numbers of 4 to 7 bits for ONNX Runtime: an encoder, its tokenizer and a linear layer become one file.

Matrices get 7 bits a value, or as many as an encoder has learned with, the table of word pieces gets 4, in groups of 32
values with a scale of their own. What is
then larger than it may be loses its rarest word pieces; words that had them are spelt with shorter ones.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.tokens import Doc
from wasabi import msg

from scripts.common.files import whole_file
from scripts.components import ONNX_PARAMS, TextCatOnnx, quantize_rows, set_onnx
from scripts.compress.graph import WEIGHT_LEVELS, export_graph, to_integers
from scripts.compress.pieces import (
    always_kept,
    count_pieces,
    keep_rows,
    part_finder,
    piece_numbers,
    read_texts,
    trim_tokenizer,
)
from scripts.encoder.encoders import max_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# Text repeats itself; rounded weights do not, but some are far more frequent than others.
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY)
GROUP = 32  # values of a piece's vector that share a scale, at most
PIECE_BYTES = 8  # of a piece in the compressed tokenizer, about
WITHOUT_ROOM = 20_000  # pieces at most, of an encoder whose matrices alone are too large: some have 250,000
OTHER_BYTES = 80_000  # of a pipeline: vocabulary, config, labels; and what an estimate may be wrong by
CHECKED_TEXTS = 500  # of dev, on which the labels before and after are compared
LEAST_AGREEMENT = 0.97  # of these labels, below which a warning is given


@dataclass(frozen=True)
class Trained:
    """A trained transformer with a linear layer on top: the encoder, its tokenizer, what its users set.

    Attributes:
        encoder: in single precision.
        tokenizer: the parsed tokenizer.json, without padding and truncation.
        max_pieces: of a window.
        max_words: that are read of a text; 0 for all.
        W: weights of the linear layer, (labels, width).
        b: its bias, (labels,).
        labels: in this order.
        levels: of a weight of the encoder's matrices, on either side of 0.
    """

    encoder: "PreTrainedModel"
    tokenizer: dict[str, Any]
    max_pieces: int
    max_words: int
    W: np.ndarray
    b: np.ndarray
    labels: list[str]
    levels: int = WEIGHT_LEVELS


def describe_tokenizer(encoder: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast") -> tuple[dict[str, Any], int]:
    """A parsed tokenizer.json, without padding and truncation, and the most pieces that an encoder takes."""
    state = json.loads(tokenizer.backend_tokenizer.to_str()) | {"padding": None, "truncation": None}
    return state, max_pieces(encoder, tokenizer)


def piece_order(pieces: Iterable[str], counts: Sequence[Counter[str]]) -> list[str]:
    """Pieces by their use: those of the first texts, then those of the others; in both the frequent ones first.

    Args:
        pieces: in the order of their numbers, which decides where their use does not.
        counts: of the pieces in texts; the first are the training texts.
    """
    total = sum(counts, Counter())
    return sorted(pieces, key=lambda piece: (piece not in counts[0], -total[piece]))


def pieces_within(state: dict[str, Any], order: Iterable[str], room: int) -> set[str]:
    """The first pieces of an order, with all that must stay, as many as there is room for.

    Args:
        state: the parsed tokenizer.json.
        order: pieces.
        room: how many there may be; what must stay may be more.
    """
    parts = part_finder(state)
    found = set().union(*map(parts, always_kept(state)))
    for piece in order:
        more = parts(piece) - found
        if len(found) + len(more) <= room:
            found |= more
    return found


def group_width(width: int) -> int:
    """The largest even number up to GROUP that divides a width."""
    return next(size for size in range(GROUP, 0, -2) if width % size == 0)


def pack_table(table: np.ndarray) -> dict[str, np.ndarray]:
    """The vectors of word pieces in 4 bits a value, see `quantize_rows`."""
    codes, scales = quantize_rows(table.reshape(-1, group_width(table.shape[1])))
    n = len(table)
    return {"codes": codes.reshape(n, -1, codes.shape[1]), "scales": scales.reshape(n, -1)}


def compress(data: bytes) -> np.ndarray:
    """Bytes, compressed by zlib in the way that suits them best, as an array."""

    def deflate(strategy: int) -> bytes:
        stream = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
        return stream.compress(data) + stream.flush()

    return np.frombuffer(min(map(deflate, STRATEGIES), key=len), dtype="uint8")


def compress_graph(trained: Trained) -> np.ndarray:
    """An encoder's layers on integers, compressed."""
    return compress(to_integers(export_graph(trained.encoder), trained.levels).SerializeToString())


def room_for_pieces(size: int, graph: np.ndarray, trained: Trained, width: int) -> int:
    """How many word pieces a pipeline of so many bytes can have."""
    rest = size - OTHER_BYTES - graph.nbytes - trained.W.nbytes - trained.b.nbytes
    return rest // (width // 2 + 2 * width // group_width(width) + PIECE_BYTES)


def keep_pieces(state: dict[str, Any], room: int, texts: Sequence[Path], least: float = 1.0) -> list[int] | None:
    """Leave as many word pieces in a tokenizer as there is room for, in place.

    Args:
        state: the parsed tokenizer.json.
        room: pieces, fewer than there are.
        texts: files whose word pieces are kept before others, the training texts first.
        least: the share of the word pieces in the training texts, counted as often as they occur, that must be kept.

    Returns:
        The old number of each kept piece, in the new order; None, and nothing is changed, if there is no room for
        so many.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(state))
    counts = [count_pieces(tokenizer, read_texts([path])) for path in texts]
    kept = pieces_within(state, piece_order(piece_numbers(state), counts), room)
    if len(kept) > room or sum(counts[0][piece] for piece in kept) < least * counts[0].total():
        return None
    return trim_tokenizer(state, kept)


def fit_pieces(trained: Trained, size: int, texts: Sequence[Path], least: float) -> None:
    """Leave in an encoder, in place, only the word pieces for which `pack` has room, so that it learns without others.

    Where there is no room for what the texts need, it keeps `WITHOUT_ROOM`.

    Args:
        trained: the encoder has yet to learn.
        size: bytes of the pipeline, at most.
        texts: see `keep_pieces`.
        least: likewise.
    """
    encoder = trained.encoder
    n_pieces, width = encoder.get_input_embeddings().weight.shape
    room = room_for_pieces(size, compress_graph(trained), trained, width)
    if room >= n_pieces:
        return
    for most in (room, WITHOUT_ROOM):
        if most < n_pieces and (rows := keep_pieces(trained.tokenizer, most, texts, least)):
            keep_rows(encoder, rows)
            return


def pack(trained: Trained, size: int, texts: Sequence[Path], least: float = 1.0) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of an OnnxScores layer, and a remark on its word pieces.

    Args:
        trained: its tokenizer is changed where there are too many pieces.
        size: bytes of the pipeline, at most.
        texts: see `keep_pieces`.
        least: likewise.
    """
    encoder, state = trained.encoder, trained.tokenizer
    table = encoder.get_input_embeddings().weight.detach().numpy()
    graph = compress_graph(trained)
    room, n_pieces = room_for_pieces(size, graph, trained, table.shape[1]), len(table)
    remark = f"all {n_pieces:,} word pieces"
    if room < n_pieces:
        if (rows := keep_pieces(state, room, texts, least)) is None:
            msg.warn(
                f"{size / 1e6:.1f} MB cannot be reached: matrices of {graph.nbytes / 1e6:.1f} MB leave no room for the "
                "training texts' word pieces, and all pieces are kept. Choose a smaller encoder (--vars.transformer), "
                "fewer layers (--vars.transformer_layers), or more bytes (--vars.int8_bytes; of transformer-distilled "
                "--vars.distilled_bytes)."
            )
        else:
            table = table[rows]
            remark = f"{len(table):,} of {n_pieces:,} word pieces"
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    left_out = (n_pieces - len(table)) * table.shape[1]
    arrays = {
        "graph": graph,
        "tokenizer": compress(json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode("utf-8")),
        **pack_table(table),
        "W": np.asarray(trained.W, dtype="float32"),
        "b": np.asarray(trained.b, dtype="float32"),
        "max_words": np.asarray(trained.max_words),
        "max_pieces": np.asarray(trained.max_pieces),
        "parameters": np.asarray(weights - left_out + trained.W.size + trained.b.size),
    }
    return arrays, remark


def packed_scores(arrays: dict[str, np.ndarray], docs: Sequence[Doc], exclusive: bool) -> np.ndarray:
    """The probabilities that arrays give to texts: float32, shape (texts, labels)."""
    model = TextCatOnnx(exclusive_classes=exclusive)
    set_onnx(model.get_ref("scores"), arrays)
    return model.ops.to_numpy(model.predict(docs))  # the current backend may be a GPU's


def agreement(before: np.ndarray, after: np.ndarray, threshold: float | None) -> float:
    """The share of decisions on labels that two arrays of probabilities have in common.

    Args:
        before: shape (texts, labels).
        after: likewise.
        threshold: from which a label is given; None where labels exclude each other.
    """
    if threshold is None:
        return float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
    return float(((before >= threshold) == (after >= threshold)).mean())


def write_packed(path: Path, arrays: dict[str, np.ndarray], labels: Sequence[str], remark: str) -> None:
    """Write the arrays of a transformer for ONNX Runtime, and say what they are.

    Args:
        path: file to write (.npz).
        arrays: see `pack`.
        labels: in the order of the linear layer.
        remark: what more to say.
    """
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, labels=np.asarray(labels), **arrays)
    n_bytes = sum(arrays[name].nbytes for name in ONNX_PARAMS)
    msg.good(f"{path}: {n_bytes / 1e6:.1f} MB, {remark}")
