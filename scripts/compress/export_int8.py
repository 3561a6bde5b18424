"""Make transformer-int8 of a trained transformer-trim: one file that ONNX Runtime can run, and the project can read."""

from pathlib import Path
from typing import Annotated

import numpy as np
import spacy
import typer
from spacy.language import Language
from spacy.training import Corpus
from spacy.util import get_lang_class
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.skipping import Unsuited, pass_on, skip
from scripts.compress.packing import (
    CHECKED_TEXTS,
    LEAST_AGREEMENT,
    Trained,
    agreement,
    describe_tokenizer,
    pack,
    packed_scores,
    write_packed,
)
from scripts.evaluation.thresholds import COMPONENT, decision_threshold
from scripts.linear.mixing import stored_bytes


def take_apart(nlp: Language, name: str) -> Trained:
    """Take out of a pipeline of the variants `transformer*` what is needed to run it without PyTorch.

    Raises:
        UserError: it is none of these.
    """
    config = nlp.config.interpolate()["components"]
    model = config.get("transformer", {}).get("model", {})
    pooling = config.get(COMPONENT, {}).get("model", {})
    pooling = pooling.get("model", pooling)  # beside the linear model
    spans = model.get("get_spans", {})
    if spans.get("@misc") != "textcat_ladder.first_words.v1" or pooling.get("@architectures") != (
        "spacy.TextCatReduce.v1"
    ):
        raise UserError(f"{name}: this pipeline is none of transformer, transformer-half and transformer-trim.")
    transformer, classifier = nlp.get_pipe("transformer").model, nlp.get_pipe(COMPONENT).model
    output = classifier.get_ref("output_layer")
    scale = next(node.attrs["scale"] for node in classifier.walk() if node.name == "first_rows")
    state, max_pieces = describe_tokenizer(transformer.transformer, transformer.tokenizer)
    return Trained(
        encoder=transformer.transformer.float().eval(),
        tokenizer=state,
        max_pieces=max_pieces,
        max_words=spans["max_words"],
        W=output.get_param("W") * scale,
        b=output.get_param("b"),
        labels=list(nlp.get_pipe(COMPONENT).labels),
    )


def compare(nlp: Language, arrays: dict[str, np.ndarray], path: Path) -> tuple[float, int]:
    """The share of decisions on labels that arrays and the pipeline that they are of have in common, and the texts."""
    pipe, threshold = nlp.get_pipe(COMPONENT), decision_threshold(nlp)
    blank = get_lang_class(nlp.lang)()
    docs = [example.predicted for example in Corpus(path, limit=CHECKED_TEXTS)(blank)]
    before = np.array([[doc.cats[label] for label in pipe.labels] for doc in nlp.pipe(doc.text for doc in docs)])
    return agreement(before, packed_scores(arrays, docs, threshold is None), threshold), len(docs)


def export_int8(
    model: Annotated[Path, typer.Argument(help="Trained pipeline of the variant transformer-trim.")],
    output: Annotated[Path, typer.Argument(help="File to write (.npz).")],
    text: Annotated[list[Path], typer.Option(help="Texts whose word pieces are kept first; training texts first.")],
    dev: Annotated[Path, typer.Option(help="Texts on which both are compared (.spacy).")],
    linear: Annotated[Path | None, typer.Option(help="Linear model (.npz) that the pipeline will carry.")] = None,
    size: Annotated[int, typer.Option(help="Bytes of the pipeline, at most.")] = 10_000_000,
) -> None:
    """Write a transformer for ONNX Runtime: matrices in 7 bits, word pieces in 4."""
    pass_on([model], files=[output])
    if not (model / "meta.json").is_file():
        raise UserError(f"{model}: no trained pipeline. Train it with the command `train-transformer-trim`.")
    if not dev.is_file():
        raise UserError(f"{dev}: no texts there. Make them with the command `convert`.")
    nlp = spacy.load(model)
    # The linear model is mixed in anew.
    nlp.get_pipe(COMPONENT).model.attrs["mixed"] = False
    trained = take_apart(nlp, model.as_posix())
    try:
        arrays, remark = pack(trained, size - (stored_bytes(linear) if linear else 0), text)
    except Unsuited as reason:
        skip(str(reason), files=[output])
    share, n_texts = compare(nlp, arrays, dev)
    if share < LEAST_AGREEMENT:
        msg.warn(f"{output}: only {share:.1%} of the labels on dev are as before. Prefer transformer-trim here.")
    remark += f"; {share:.1%} of the labels on {n_texts} texts of dev as before"
    write_packed(output, arrays, trained.labels, remark)


if __name__ == "__main__":
    run_cli(export_int8)
