"""Run a frozen encoder: vectors of texts, and of words or word pieces alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.common.cli import show_progress
from scripts.common.files import md5_folder
from scripts.encoder.batches import Cache, fill_rows
from scripts.encoder.encoders import load_encoder, max_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BATCH = 64  # texts of about the same length that go through the encoder together
BATCH_PIECES = 8192
SPACE_BYTE = "Ġ"  # how tokenizers of bytes write a space


Encode = Callable[[Sequence[str]], np.ndarray]  # texts -> vectors (texts, width)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Scale each row to length 1; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-8)


# Vectors of texts


def mean_encoder(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", all_layers: bool = False, cache: Cache | None = None
) -> Encode:
    """A function that gives the mean of an encoder's outputs over each text's word pieces.

    The vectors are float32, shape (texts, width). What is longer than the encoder can read is cut off.

    Args:
        model: the encoder.
        tokenizer: its tokenizer.
        all_layers: take the mean of all layers, what goes into the first among them, instead of the last.
        cache: for long work: what is done so far.
    """
    import torch

    model.eval()
    limit = max_pieces(model, tokenizer)
    options = {"padding": True, "truncation": True, "max_length": limit, "return_tensors": "pt"}

    def encode(texts: Sequence[str]) -> np.ndarray:
        @torch.inference_mode()
        def mean_outputs(batch: list[int]) -> np.ndarray:
            inputs = tokenizer([texts[i] for i in batch], **options)
            mask = inputs["attention_mask"]
            given = model(input_ids=inputs["input_ids"], attention_mask=mask, output_hidden_states=all_layers)
            outputs = sum(given.hidden_states) / len(given.hidden_states) if all_layers else given.last_hidden_state
            mask = mask[:, :, None]
            return ((outputs * mask).sum(dim=1) / mask.sum(dim=1)).numpy()

        return fill_rows(texts, BATCH, model.config.hidden_size, mean_outputs, cache, "encode texts")

    return encode


def text_encoder(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast") -> Encode:
    """A function that gives texts' vectors as sentence encoders are meant to: `mean_encoder`'s, scaled to length 1."""
    encode = mean_encoder(model, tokenizer)
    return lambda texts: unit_rows(encode(texts))


def embed(folder: Path, texts: Sequence[str], cache: Path | None = None) -> np.ndarray:
    """What the encoder in a folder knows of texts: of all its layers, each value with a mean of 0 and a variance of 1.

    The last layer was made for the encoder's own task. Those below tell more of other things, such as feelings. And
    what all texts have in common tells nothing of any; as the mean of all layers comes, half of it is that.

    Args:
        folder: the encoder.
        texts: what to encode.
        cache: file for what is done so far, if the work is long; for the caller to remove.

    Returns:
        float32, shape (texts, width), each row scaled to length 1.
    """
    known = Cache(cache, f"{md5_folder(folder)}, all layers", texts) if cache else None
    vectors = mean_encoder(*load_encoder(str(folder)), all_layers=True, cache=known)(texts)
    return unit_rows((vectors - vectors.mean(axis=0)) / np.maximum(vectors.std(axis=0), 1e-6))


def spelt_pieces(tokenizer: "PreTrainedTokenizerFast") -> dict[str, int]:
    """A tokenizer's word pieces in their own order, written as in WordPiece (`##` inside a word), lower-cased.

    Returns:
        The numbers of the pieces.
    """
    from tokenizers.decoders import ByteLevel

    vocabulary, bytes_decoder = tokenizer.get_vocab(), ByteLevel()
    special = set(tokenizer.all_special_ids)
    ids = sorted((i, piece) for piece, i in vocabulary.items() if i not in special)
    # Other tokenizers mark the beginning of a word, not what is inside.
    marker = next((m for m in ("▁", SPACE_BYTE) if any(piece.startswith(m) for _, piece in ids)), None)
    result: dict[str, int] = {}
    for i, piece in ids:
        if marker:
            begins = piece.startswith(marker)
            piece = piece.removeprefix(marker)
            if marker == SPACE_BYTE and "\N{REPLACEMENT CHARACTER}" in (piece := bytes_decoder.decode([piece])):
                continue  # part of a character
            piece = piece if begins else f"##{piece}"
        if piece.strip() and piece != "##":
            result.setdefault(piece.lower(), i)
    return result


class Encoder:
    """A pretrained encoder, used to give a vector to a word or a word piece alone."""

    def __init__(self, folder: str) -> None:
        self.model, self.tokenizer = load_encoder(folder)
        self.model.eval()
        tokenizer = self.tokenizer.backend_tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        # Some tokenizers cut up a word otherwise where no space stands before it, as at the start of a text.
        self.space = " " if tokenizer.encode(" a").ids != tokenizer.encode("a").ids else ""
        inside = tokenizer.encode(f"{self.space}a", add_special_tokens=False).ids
        ids = tokenizer.encode(f"{self.space}a").ids
        start = next(i for i in range(len(ids)) if ids[i : i + len(inside)] == inside)
        self.before, self.after = ids[:start], ids[start + len(inside) :]

    def pieces(self) -> dict[str, int]:
        """See `spelt_pieces`."""
        return spelt_pieces(self.tokenizer)

    def encode_words(self, words: Sequence[str]) -> np.ndarray:
        """The vectors of words, each encoded alone; float32, shape (words, width)."""
        return self._encode(self.tokenizer([f"{self.space}{word}" for word in words])["input_ids"] if words else [])

    def encode_ids(self, ids: Sequence[int]) -> np.ndarray:
        """The vectors of word pieces, each encoded alone; float32, shape (pieces, width)."""
        return self._encode([[*self.before, i, *self.after] for i in ids])

    def _encode(self, sequences: Sequence[list[int]]) -> np.ndarray:
        """The mean of what all layers give, over each sequence, padding left out; of too long ones, over the start.

        What words mean alone is spread over the layers: Vulić et al. 2020, "Probing pretrained language models for
        lexical semantics".
        """
        import torch

        limit = max_pieces(self.model, self.tokenizer)
        sequences = [ids if len(ids) <= limit else ids[: limit - len(self.after)] + self.after for ids in sequences]
        result = np.zeros((len(sequences), self.model.config.hidden_size), dtype="float32")
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
        with show_progress(total=len(order), desc="encode words", unit=" words") as bar, torch.inference_mode():
            while order:
                size = max(1, BATCH_PIECES // len(sequences[order[-1]]))
                batch, order = order[-size:], order[:-size]
                longest = max(len(sequences[i]) for i in batch)
                ids = torch.full((len(batch), longest), self.tokenizer.pad_token_id or 0)
                mask = torch.zeros_like(ids)
                for row, i in enumerate(batch):
                    ids[row, : len(sequences[i])] = torch.tensor(sequences[i])
                    mask[row, : len(sequences[i])] = 1
                layers = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
                outputs = sum(layers) / len(layers) * mask[:, :, None]
                result[batch] = (outputs.sum(dim=1) / mask.sum(dim=1, keepdim=True)).numpy()
                bar.update(len(batch))
        return result
