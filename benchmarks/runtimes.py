"""What runs a fine-tuned transformer, and in how many bits: speed, size, and what becomes of its labels.

    python -m benchmarks.runtimes training/bbc/transformer-trim/model-best corpus/bbc/dev.spacy

prints two tables. The first has one encoder in PyTorch (single precision, bfloat16, PyTorch's dynamic int8) and in
ONNX Runtime (single precision, its dynamic int8, and what transformer-int8 does), with the same tokenizer, windows and
batches: texts per CPU second of one thread, the best of five passes, taken in turns; megabytes; and, compared with
single precision, the share of labels that stay, how much the probabilities move, and the share of labels that change
when each text comes alone. The second has the same with matrices and table in more and fewer bits.
"""

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

for library in ("OMP", "OPENBLAS", "MKL", "RAYON"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import spacy  # noqa: E402
import torch  # noqa: E402
from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: E402
from spacy.cli._util import import_code  # noqa: E402
from spacy.tokens import DocBin  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

from scripts.components import CLIPPING, cut_up, encode_windows  # noqa: E402
from scripts.compress.export_int8 import take_apart  # noqa: E402
from scripts.compress.graph import export_graph, to_integers  # noqa: E402
from scripts.compress.packing import GROUP  # noqa: E402
from scripts.evaluation.speed import seconds_for  # noqa: E402

PASSES = 5
MIN_TEXTS = 1000  # of a pass


class InTorch:
    """A PyTorch encoder with the interface of a session of ONNX Runtime."""

    def __init__(self, encoder: Any, dtype: Any = torch.float32) -> None:
        self.encoder, self.dtype = encoder.to(dtype), dtype

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """As a session's."""
        vectors, mask, shares = map(torch.from_numpy, inputs.values())
        with torch.inference_mode():
            states = self.encoder(inputs_embeds=vectors.to(self.dtype), attention_mask=mask).last_hidden_state
            return [(states.float() * shares[:, :, None]).sum(dim=1).numpy()]


def open_session(graph: bytes | str) -> onnxruntime.InferenceSession:
    """A session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def round_groups(table: np.ndarray, bits: int, group: int) -> np.ndarray:
    """A table as `quantize_rows` rounds it, but in any number of bits."""
    rows, half = table.reshape(-1, group), 2 ** (bits - 1) - 0.5
    best, result = np.full(len(rows), np.inf), np.zeros_like(rows)
    for share in CLIPPING:
        steps = np.maximum((np.abs(rows).max(axis=1) * (share / half)).astype("float16").astype("float32"), 1e-8)[
            :, None
        ]
        rounded = (np.clip(np.rint(rows / steps + half), 0, 2**bits - 1) - half) * steps
        errors = np.square(rounded - rows).sum(axis=1)
        better = errors < best
        best[better], result[better] = errors[better], rounded[better]
    return result.reshape(table.shape)


def torch_bytes(encoder: Any) -> int:
    """Bytes of an encoder as PyTorch stores it."""
    with tempfile.TemporaryFile() as stream:
        torch.save(encoder.state_dict(), stream)
        return stream.tell()


def main(folder: str, texts: str) -> None:
    """Print both tables for a trained pipeline and the texts of a DocBin."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    import_code("scripts/components.py")
    trained = take_apart(spacy.load(folder), folder)
    encoder, table = trained.encoder, trained.encoder.get_input_embeddings().weight.detach().numpy().copy()
    tokenizer, blank = Tokenizer.from_str(json.dumps(trained.tokenizer)), spacy.blank("xx")
    strings = [doc.text for doc in DocBin().from_disk(texts).get_docs(blank.vocab)]

    def probabilities(session: Any, vectors: np.ndarray, batch: list[str]) -> np.ndarray:
        docs = list(map(blank.make_doc, batch))
        windows = cut_up(docs, tokenizer, trained.max_words, trained.max_pieces)
        logits = encode_windows(session, lambda ids: vectors[ids], *windows, len(docs)) @ trained.W.T + trained.b
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    graph = export_graph(encoder)
    plain = graph.SerializeToString()
    size = torch_bytes(encoder)
    by_rows = to_integers(graph)
    with tempfile.TemporaryDirectory() as temporary:
        path, dynamic = Path(temporary, "graph.onnx"), Path(temporary, "dynamic.onnx")
        path.write_bytes(plain)
        quantize_dynamic(path, dynamic, weight_type=QuantType.QInt8, per_channel=True)
        packed = dynamic.read_bytes()
    in_torch = torch.ao.quantization.quantize_dynamic(encoder, {torch.nn.Linear}, dtype=torch.qint8)
    with tempfile.TemporaryDirectory() as temporary:
        encoder.save_pretrained(temporary)
        half = type(encoder).from_pretrained(temporary).eval()
    rounded = round_groups(table, 4, GROUP)
    table_bytes = table.size // 2 + 2 * table.size // GROUP
    ways: dict[str, tuple[Any, np.ndarray, int]] = {
        "PyTorch, single precision": (InTorch(encoder), table, size),
        "PyTorch, bfloat16": (InTorch(half, torch.bfloat16), table, size // 2),
        "PyTorch, dynamic int8": (InTorch(in_torch), table, torch_bytes(in_torch)),
        "ONNX Runtime, single precision": (open_session(plain), table, len(plain) + table.nbytes),
        "ONNX Runtime, its dynamic int8": (open_session(packed), table, len(packed) + table.nbytes),
        "transformer-int8": (open_session(by_rows.SerializeToString()), rounded, by_rows.ByteSize() + table_bytes),
    }
    expected = probabilities(*ways["PyTorch, single precision"][:2], strings)

    def compare(session: Any, vectors: np.ndarray) -> list[str]:
        together = probabilities(session, vectors, strings)
        alone = np.concatenate([probabilities(session, vectors, [text]) for text in strings])
        labels = together.argmax(axis=1)
        return [
            f"{(labels == expected.argmax(axis=1)).mean():.1%}",
            f"{np.abs(together - expected).mean():.5f}",
            f"{(labels != alone.argmax(axis=1)).mean():.1%}",
        ]

    n_texts = max(MIN_TEXTS, len(strings))
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(PASSES):
        for name, (session, vectors, _) in ways.items():
            consume: Callable = lambda batch, s=session, v=vectors: probabilities(s, v, list(batch))  # noqa: E731
            seconds[name] = min(seconds[name], seconds_for(consume, strings, n_texts))
    heads = "labels as before | probabilities move by | labels that change alone"
    print(f"{len(strings)} texts\n\n| one thread | texts/s | MB | {heads} |\n|:--|--:|--:|--:|--:|--:|")
    for name, (session, vectors, n_bytes) in ways.items():
        cells = [name, f"{n_texts / seconds[name]:,.0f}", f"{n_bytes / 1e6:.1f}", *compare(session, vectors)]
        print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\n| bits of matrices | bits of the table, values of a group | {heads} |\n|:--|:--|--:|--:|--:|")
    width = table.shape[1]
    choices = [(8, 32, width), (7, 32, width), (6, 32, width), (7, 8, width), (7, 6, width), (7, 5, GROUP)]
    choices += [(7, 4, width), (7, 4, 64), (7, 4, GROUP), (7, 4, 16), (7, 3, 16)]
    for bits, table_bits, group in choices:
        session = open_session(to_integers(graph, 2 ** (bits - 1) - 1).SerializeToString())
        vectors = table if table_bits == 32 else round_groups(table, table_bits, group)
        name = f"{table_bits}, {group}" if table_bits < 32 else "32"
        print(f"| {' | '.join([str(bits), name, *compare(session, vectors)])} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
