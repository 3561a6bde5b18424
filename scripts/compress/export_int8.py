"""Make transformer-int8 of a trained transformer-trim: one file that ONNX Runtime can run, and the project can read.

Matrices get 7 bits a value, the table of word pieces gets 4, in groups of 32 values with a scale of their own. What is
then larger than it may be loses its rarest word pieces; words that had them are spelt with shorter ones.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import spacy
import typer
from spacy.language import Language
from spacy.training import Corpus
from spacy.util import get_lang_class
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import whole_file
from scripts.common.skipping import Unsuited, pass_on, skip
from scripts.components import ONNX_PARAMS, TextCatOnnx, quantize_rows, set_onnx
from scripts.compress.graph import export_graph, to_integers
from scripts.compress.pieces import always_kept, count_pieces, part_finder, piece_numbers, read_texts, trim_tokenizer
from scripts.encoder.encoders import max_pieces
from scripts.evaluation.thresholds import COMPONENT

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUP = 32  # values of a piece's vector that share a scale, at most
PIECE_BYTES = 8  # of a piece in the compressed tokenizer, about
OTHER_BYTES = 60_000  # of a pipeline: vocabulary, config, labels
CHECKED_TEXTS = 500  # of dev
LEAST_AGREEMENT = 0.97  # of the labels on dev, below which a warning is given


@dataclass(frozen=True)
class Trained:
    """What is taken of a trained pipeline: the encoder in single precision, its tokenizer, what its users set.

    Attributes:
        encoder: in single precision.
        tokenizer: the parsed tokenizer.json, without padding and truncation.
        max_pieces: of a window.
        max_words: that are read of a text; 0 for all.
        W: weights of the linear layer, (labels, width).
        b: its bias, (labels,).
        labels: in this order.
    """

    encoder: "PreTrainedModel"
    tokenizer: dict[str, Any]
    max_pieces: int
    max_words: int
    W: np.ndarray
    b: np.ndarray
    labels: list[str]


def take_apart(nlp: Language, name: str) -> Trained:
    """Take out of a pipeline of the variants `transformer*` what is needed to run it without PyTorch.

    Raises:
        UserError: it is none of these.
    """
    config = nlp.config.interpolate()["components"]
    model = config.get("transformer", {}).get("model", {})
    pooling = config.get(COMPONENT, {}).get("model", {})
    spans = model.get("get_spans", {})
    if spans.get("@misc") != "textcat_ladder.first_words.v1" or pooling.get("@architectures") != (
        "spacy.TextCatReduce.v1"
    ):
        raise UserError(f"{name}: this pipeline is none of transformer, transformer-half and transformer-trim.")
    transformer, classifier = nlp.get_pipe("transformer").model, nlp.get_pipe(COMPONENT).model
    output = classifier.get_ref("output_layer")
    scale = next(node.attrs["scale"] for node in classifier.walk() if node.name == "first_rows")
    tokenizer = transformer.tokenizer
    state = json.loads(tokenizer.backend_tokenizer.to_str()) | {"padding": None, "truncation": None}
    return Trained(
        encoder=transformer.transformer.float().eval(),
        tokenizer=state,
        max_pieces=max_pieces(transformer.transformer, tokenizer),
        max_words=spans["max_words"],
        W=output.get_param("W") * scale,
        b=output.get_param("b"),
        labels=list(nlp.get_pipe(COMPONENT).labels),
    )


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
    """Bytes, compressed by zlib, as an array."""
    return np.frombuffer(zlib.compress(data, 9), dtype="uint8")


def room_for_pieces(size: int, graph: np.ndarray, trained: Trained, width: int) -> int:
    """How many word pieces a pipeline of so many bytes can have."""
    rest = size - OTHER_BYTES - graph.nbytes - trained.W.nbytes - trained.b.nbytes
    return rest // (width // 2 + 2 * width // group_width(width) + PIECE_BYTES)


def pack(trained: Trained, size: int, texts: Sequence[Path]) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of an OnnxScores layer, and a remark on its word pieces.

    Args:
        trained: see `take_apart`.
        size: bytes of the pipeline, at most.
        texts: files whose word pieces are kept before others, the training texts first.
    """
    from tokenizers import Tokenizer

    encoder, state = trained.encoder, trained.tokenizer
    table = encoder.get_input_embeddings().weight.detach().numpy()
    graph = compress(to_integers(export_graph(encoder)).SerializeToString())
    room, n_pieces = room_for_pieces(size, graph, trained, table.shape[1]), len(table)
    remark = f"all {n_pieces:,} word pieces"
    if room < n_pieces:
        tokenizer = Tokenizer.from_str(json.dumps(state))
        counts = [count_pieces(tokenizer, read_texts([path])) for path in texts]
        if room < len(pieces_within(state, counts[0], n_pieces)):
            msg.warn(
                f"{size / 1e6:.1f} MB cannot be reached: matrices of {graph.nbytes / 1e6:.1f} MB leave no room for the "
                "training texts' word pieces, and all pieces are kept. Choose a smaller encoder (--vars.transformer), "
                "fewer layers (--vars.transformer_layers), or more bytes (--vars.int8_bytes)."
            )
        else:
            table = table[trim_tokenizer(state, pieces_within(state, piece_order(piece_numbers(state), counts), room))]
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


def agreement(nlp: Language, arrays: dict[str, np.ndarray], path: Path) -> tuple[float, int]:
    """The share of decisions on labels that arrays and the pipeline that they are of have in common, and the texts."""
    model = TextCatOnnx(exclusive_classes=nlp.get_pipe_meta(COMPONENT).factory == "textcat")
    set_onnx(model.get_ref("scores"), arrays)
    pipe = nlp.get_pipe(COMPONENT)
    blank = get_lang_class(nlp.lang)()
    docs = [example.predicted for example in Corpus(path, limit=CHECKED_TEXTS)(blank)]
    before = np.array([[doc.cats[label] for label in pipe.labels] for doc in nlp.pipe(doc.text for doc in docs)])
    after = model.predict(docs)
    if model.attrs["multi_label"]:
        threshold = pipe.cfg.get("threshold") or 0.5
        return float(((before >= threshold) == (after >= threshold)).mean()), len(docs)
    return float((before.argmax(axis=1) == after.argmax(axis=1)).mean()), len(docs)


def export_int8(
    model: Annotated[Path, typer.Argument(help="Trained pipeline of the variant transformer-trim.")],
    output: Annotated[Path, typer.Argument(help="File to write (.npz).")],
    text: Annotated[list[Path], typer.Option(help="Texts whose word pieces are kept first; training texts first.")],
    dev: Annotated[Path, typer.Option(help="Texts on which both are compared (.spacy).")],
    size: Annotated[int, typer.Option(help="Bytes of the pipeline, at most.")] = 10_000_000,
) -> None:
    """Write a transformer for ONNX Runtime: matrices in 7 bits, word pieces in 4."""
    pass_on([model], files=[output])
    if not (model / "meta.json").is_file():
        raise UserError(f"{model}: no trained pipeline. Train it with the command `train-transformer-trim`.")
    if not dev.is_file():
        raise UserError(f"{dev}: no texts there. Make them with the command `convert`.")
    nlp = spacy.load(model)
    trained = take_apart(nlp, model.as_posix())
    try:
        arrays, remark = pack(trained, size, text)
    except Unsuited as reason:
        skip(str(reason), files=[output])
    share, n_texts = agreement(nlp, arrays, dev)
    with whole_file(output) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, labels=np.asarray(trained.labels), **arrays)
    if share < LEAST_AGREEMENT:
        msg.warn(f"{output}: only {share:.1%} of the labels on dev are as before. Prefer transformer-trim here.")
    n_bytes = sum(arrays[name].nbytes for name in ONNX_PARAMS)
    msg.good(
        f"{output}: {n_bytes / 1e6:.1f} MB, {remark}; {share:.1%} of the labels on {n_texts} texts of dev as before"
    )


if __name__ == "__main__":
    run_cli(export_int8)
