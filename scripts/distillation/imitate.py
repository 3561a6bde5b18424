"""Teach a smaller encoder what the fine-tuned transformer says of tens of thousands of texts; round it to few bits.

The student has half of the layers, matrices of few bits, and as many word pieces as then fit into the pipeline's bytes.
It learns with rounded matrices, and without the other pieces, from the start. It learns the teacher's logits, as
`compact-distilled` does, of the sentences of the raw text and of the training texts with altered copies of them
(scripts.distillation.teach). In these the copies do most: Jiao et al. 2020, "TinyBERT: distilling BERT for natural
language understanding".
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Corpus
from spacy.util import get_lang_class, load_config
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import one_at_a_time, read_json
from scripts.common.skipping import Unsuited, pass_on, skip
from scripts.compress.packing import (
    CHECKED_TEXTS,
    LEAST_AGREEMENT,
    Trained,
    agreement,
    describe_tokenizer,
    fit_pieces,
    pack,
    packed_scores,
    write_packed,
)
from scripts.distillation.student import MAX_WORDS, Student, prepare
from scripts.encoder.encoders import is_weights_folder, load_encoder
from scripts.evaluation.thresholds import DEFAULT
from scripts.linear.mixing import stored_bytes
from scripts.machines.machine import check_gpu
from scripts.training.sizes import transformer_rate

LEVELS = 15  # of a weight, on either side of 0: 5 bits. With 7 there is room for a third fewer word pieces.
# Share of the word pieces in the training texts, counted as often as they occur, that are kept at the least: without
# the others the student learns to read, too.
LEAST_PIECES = 0.95


def read_taught(paths: Sequence[Path], nlp: Language, labels: Sequence[str]) -> Iterator[tuple[Doc, list[float]]]:
    """The texts of DocBins, split by a pipeline, with a teacher's logits in the order of labels."""
    for example in chain.from_iterable(Corpus(path)(nlp) for path in paths):
        yield example.predicted, [example.reference.cats[label] for label in labels]


def words_read(teacher: Path) -> int:
    """How many words a trained transformer reads of a text; 0 for all.

    Raises:
        UserError: it is no transformer.
    """
    config = load_config(teacher / "config.cfg", interpolate=True)
    if "transformer" not in config["components"]:
        raise UserError(
            f"{teacher}: is no transformer with PyTorch; transformer-distilled learns from one. Name it: --vars.teacher"
        )
    return config["components"]["transformer"]["model"]["get_spans"]["max_words"]


def imitate(
    encoder: Annotated[Path, typer.Argument(help="Folder of the encoder with fewer layers, made by `shrink-half`.")],
    teacher: Annotated[Path, typer.Argument(help="Trained pipeline, the teacher: it says how much of a text is read.")],
    output: Annotated[Path, typer.Argument(help="File to write (.npz).")],
    taught: Annotated[list[Path], typer.Option(help="Texts with the teacher's logits (.spacy), made by `teach`.")],
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    linear: Annotated[Path | None, typer.Option(help="Linear model (.npz) that the pipeline will carry.")] = None,
    size: Annotated[int, typer.Option(help="Bytes of the pipeline, at most.")] = 8_000_000,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    max_epochs: Annotated[int, typer.Option(help="Passes over the texts; 0 for 2, or more of few texts.")] = 0,
    gpu_id: Annotated[int, typer.Option(help="GPU to use; -1 for the CPU.")] = -1,
) -> None:
    """Train an encoder on a teacher's logits, and write it for ONNX Runtime: matrices in 5 bits, word pieces in 4."""
    pass_on([encoder, teacher, *taught], files=[output])
    if not is_weights_folder(encoder):
        raise UserError(f"{encoder}: no encoder there. Make it with the command `shrink-half`.")
    for path in taught:
        if not path.is_file():
            raise UserError(f"{path}: no such file. Make it with the command `teach`.")
    check_gpu(gpu_id)
    from tokenizers import Tokenizer

    facts = read_json(corpus / "task.json")
    nlp, labels, exclusive = get_lang_class(facts["lang"])(), facts["labels"], facts["exclusive"]
    with one_at_a_time(output):
        # The usual attention is slow at learning from numbers of 16 bits on the CPU.
        model, tokenizer = load_encoder(encoder.as_posix(), attn_implementation="eager")
        state, max_pieces = describe_tokenizer(model, tokenizer)
        width = model.config.hidden_size
        nothing = np.zeros((len(labels), width), dtype="float32")
        trained = Trained(model, state, max_pieces, words_read(teacher), nothing, nothing[:, 0], labels, LEVELS)
        texts, room = [corpus / "train.spacy", corpus / "raw.jsonl"], size - (stored_bytes(linear) if linear else 0)
        try:
            fit_pieces(trained, room, texts, LEAST_PIECES)
        except Unsuited as reason:
            skip(str(reason), files=[output])
        cutter = Tokenizer.from_str(json.dumps(state))
        lessons = prepare(read_taught(taught, nlp, labels), cutter, max_pieces)
        student = Student(model, len(labels), f"cuda:{gpu_id}" if gpu_id >= 0 else "cpu", trained.levels)
        error = student.learn(lessons, exclusive, transformer_rate(width), seed, max_epochs)
        msg.info(f"{len(lessons.numbers):,} texts: {1 - error:.1%} of the variance of the teacher's logits is learned")
        dev = [
            example.predicted[:MAX_WORDS].as_doc() for example in Corpus(corpus / "dev.spacy", limit=CHECKED_TEXTS)(nlp)
        ]
        before = student.probabilities(prepare(((doc, [0.0]) for doc in dev), cutter, max_pieces), exclusive)
        W, b = student.layer()
        trained = replace(trained, encoder=model.cpu(), W=W, b=b)  # the student's own encoder: it computes no more
        arrays, remark = pack(trained, room, texts, LEAST_PIECES)
        share = agreement(before, packed_scores(arrays, dev, exclusive), None if exclusive else DEFAULT)
        if share < LEAST_AGREEMENT:
            msg.warn(f"{output}: rounding keeps only {share:.1%} of the labels on dev.")
        write_packed(output, arrays, labels, f"{remark}; rounding keeps {share:.1%} of the labels on dev")


if __name__ == "__main__":
    run_cli(imitate)
