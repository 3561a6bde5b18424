"""Run a frozen encoder: vectors of texts, and of words or word pieces alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.common.cli import show_progress
from scripts.common.files import md5_bytes, md5_folder, room_for
from scripts.encoder.encoders import load_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BATCH = 64  # texts of about the same length that go through the encoder together
BATCH_PIECES = 8192


Encode = Callable[[Sequence[str]], np.ndarray]  # texts -> vectors (texts, width)


class Cache:
    """Vectors in a file, batch after batch, so that interrupted work goes on where it was, with the same result.

    It belongs to certain texts and one encoder: its first line names them.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.head = f"{key}\n".encode()

    def read(self, sizes: Sequence[int], width: int) -> list[np.ndarray]:
        """The batches that are whole in it; what follows them is cut off.

        Args:
            sizes: texts of each batch.
            width: values of a vector.
        """
        found = []
        with room_for(self.path), self.path.open("a+b") as stream:
            stream.seek(0)
            if stream.read(len(self.head)) != self.head:
                stream.truncate(0)
                stream.write(self.head)
                return []
            for size in sizes:
                data = stream.read(4 * size * width)
                if len(data) < 4 * size * width:
                    break
                found.append(np.frombuffer(data, dtype="float32").reshape(size, width))
            stream.truncate(len(self.head) + sum(batch.nbytes for batch in found))
        return found

    def append(self, vectors: np.ndarray) -> None:
        """Add a batch."""
        with room_for(self.path), self.path.open("ab") as stream:
            stream.write(vectors.tobytes())


def cache_for(path: Path, folder: Path, texts: Sequence[str]) -> Cache:
    """The cache of some texts' vectors by the encoder in a folder."""
    return Cache(path, md5_bytes([md5_folder(folder).encode(), *(f"{text}\0".encode() for text in texts)]))


def text_encoder(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", cache: Cache | None = None) -> Encode:
    """A function that gives the mean of an encoder's outputs over each text's word pieces, scaled to length 1.

    The vectors are float32, shape (texts, width). What is longer than the encoder can read is cut off.
    """
    import torch

    model.eval()
    limit = min(tokenizer.model_max_length, model.config.max_position_embeddings)
    options = {"padding": True, "truncation": True, "max_length": limit, "return_tensors": "pt"}

    def encode(texts: Sequence[str]) -> np.ndarray:
        width = model.config.hidden_size
        vectors = np.zeros((len(texts), width), dtype="float32")
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        known = cache.read([len(batch) for batch in batches], width) if cache else []
        for batch, found in zip(batches, known, strict=False):
            vectors[batch] = found
        done = sum(map(len, known))
        with (
            show_progress(total=len(texts), initial=done, desc="encode texts", unit=" texts") as bar,
            torch.inference_mode(),
        ):
            for batch in batches[len(known) :]:
                inputs = tokenizer([texts[i] for i in batch], **options)
                mask = inputs["attention_mask"]
                outputs = model(input_ids=inputs["input_ids"], attention_mask=mask).last_hidden_state
                mask = mask[:, :, None]
                vectors[batch] = ((outputs * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
                if cache:
                    cache.append(vectors[batch])
                bar.update(len(batch))
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-8)

    return encode


def embed(folder: Path, texts: Sequence[str], cache: Path | None = None) -> np.ndarray:
    """The vectors that the encoder in a folder gives to texts, see `text_encoder`.

    Args:
        folder: the encoder.
        texts: what to encode.
        cache: file for what is done so far, if the work is long; for the caller to remove.
    """
    return text_encoder(*load_encoder(str(folder)), cache_for(cache, folder, texts) if cache else None)(texts)


class Encoder:
    """A pretrained encoder, used to give a vector to a word or a word piece alone."""

    def __init__(self, folder: str) -> None:
        self.model, self.tokenizer = load_encoder(folder)
        self.model.eval()
        self.tokenizer.backend_tokenizer.no_padding()
        self.tokenizer.backend_tokenizer.no_truncation()

    def pieces(self) -> dict[str, int]:
        """The encoder's word pieces in their own order, written as in WordPiece (`##` inside a word), lower-cased."""
        vocabulary = self.tokenizer.get_vocab()
        special = set(self.tokenizer.all_special_ids)
        ids = sorted((i, piece) for piece, i in vocabulary.items() if i not in special)
        # Other tokenizers mark the beginning of a word, not what is inside.
        marker = next((m for m in ("▁", "Ġ") if any(piece.startswith(m) for _, piece in ids)), None)
        result: dict[str, int] = {}
        for i, piece in ids:
            if marker:
                piece = piece[1:] if piece.startswith(marker) else f"##{piece}"
            if piece.strip() and piece != "##":
                result.setdefault(piece.lower(), i)
        return result

    def encode_words(self, words: Sequence[str]) -> np.ndarray:
        """The vectors of words, each encoded alone; float32, shape (words, width)."""
        return self._encode(self.tokenizer(list(words))["input_ids"] if words else [])

    def encode_ids(self, ids: Sequence[int]) -> np.ndarray:
        """The vectors of word pieces, each encoded alone; float32, shape (pieces, width)."""
        build = self.tokenizer.build_inputs_with_special_tokens
        return self._encode([build([i]) for i in ids])

    def _encode(self, sequences: Sequence[list[int]]) -> np.ndarray:
        """The mean of the encoder's outputs over each sequence, padding left out."""
        import torch

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
                output = self.model(input_ids=ids, attention_mask=mask).last_hidden_state * mask[:, :, None]
                result[batch] = (output.sum(dim=1) / mask.sum(dim=1, keepdim=True)).numpy()
                bar.update(len(batch))
        return result
