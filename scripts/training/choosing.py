"""Choose on dev: one of several trained pipelines, and how much of what a transformer has learned."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import spacy
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax
from spacy.language import Language
from wasabi import msg

from scripts.common.cli import show_progress
from scripts.evaluation.thresholds import COMPONENT, gold_and_scores
from scripts.linear.mixing import logits_of

MARGIN = 0.5  # see `choose`
LEAST_GAIN = 0.001  # of the mean log loss: less is none, however steady
ENCODER = "transformer"  # its name in every config
SHARES = (0.6, 0.8, 0.4, 1.0)  # of what a transformer has learned: the first, unless another is clearly better
FACTORS = (np.log(0.05), np.log(5.0))  # of logits, that are tried


def dev_losses(model: Path, dev: Path) -> np.ndarray:
    """The log loss of each text of dev: the sum over the labels where a text may have several; shape (texts,)."""
    nlp = spacy.load(model)
    gold, scores = gold_and_scores(nlp, dev)
    right = np.clip(np.where(gold, scores, 1 - scores), 1e-6, 1)
    exclusive = nlp.get_pipe_meta(COMPONENT).factory == "textcat"
    return -np.log(right[gold]) if exclusive else -np.log(right).sum(axis=1)


def choose(losses: Sequence[np.ndarray]) -> int:
    """The candidate with the least loss on dev, but an earlier one, which costs less, unless the gain is clear.

    Args:
        losses: of each candidate, those of the same texts. It must be better than an earlier one by `MARGIN` standard
            errors of the mean difference, and by `LEAST_GAIN`.
    """
    best = 0
    for i, loss in enumerate(losses):
        gain = losses[best] - loss
        if gain.mean() > max(MARGIN * gain.std() / np.sqrt(len(gain)), LEAST_GAIN):
            best = i
    return best


class Numbers(NamedTuple):
    """Of a pipeline's transformer, PyTorch's arrays by name, and of the linear layer on top, thinc's."""

    encoder: dict[str, Any]
    layer: dict[str, Any]


def read_numbers(nlp: Language) -> Numbers:
    """Copies of what can be averaged."""
    encoder = nlp.get_pipe(ENCODER).model.transformer.state_dict()
    layer = nlp.get_pipe(COMPONENT).model.get_ref("output_layer")
    return Numbers(
        {name: value.clone() for name, value in encoder.items() if value.is_floating_point()},
        {name: layer.get_param(name).copy() for name in layer.param_names},
    )


def write_numbers(nlp: Language, before: Numbers, after: Numbers, share: float, factor: float = 1.0) -> None:
    """Give a pipeline, in place, a share of one's numbers, and for the rest another's.

    Args:
        nlp: the pipeline.
        before: its numbers once.
        after: its numbers later.
        share: of `after`, from 0 to 1; above 1 goes on beyond it.
        factor: of the logits.
    """
    encoder, layer = (
        {name: old[name] + share * (value - old[name]) for name, value in new.items()}
        for old, new in zip(before, after, strict=True)
    )
    nlp.get_pipe(ENCODER).model.transformer.load_state_dict(encoder, strict=False)
    for name, value in layer.items():
        nlp.get_pipe(COMPONENT).model.get_ref("output_layer").set_param(name, factor * value)


def log_losses(gold: np.ndarray, logits: np.ndarray, exclusive: bool) -> np.ndarray:
    """The log loss of each text, (texts,): the sum over the labels where it may have several.

    Args:
        gold: bool, (texts, labels).
        logits: float, same shape.
        exclusive: whether each text has exactly one label.
    """
    if exclusive:
        return -log_softmax(logits, axis=1)[gold]
    return -log_expit(np.where(gold, logits, -logits)).sum(axis=1)


def calibrate(gold: np.ndarray, logits: np.ndarray, exclusive: bool) -> tuple[float, np.ndarray]:
    """The factor of logits with the least log loss (Guo et al. 2017, "On calibration of modern neural networks").

    Returns:
        The factor, and the loss of each text with it; arguments and losses as of `log_losses`.
    """

    def loss(x: float) -> float:
        return float(log_losses(gold, np.exp(x) * logits, exclusive).mean())

    factor = float(np.exp(minimize_scalar(loss, bounds=FACTORS, method="bounded").x))
    return factor, log_losses(gold, factor * logits, exclusive)


def average(nlp: Language, before: Numbers, dev: Path) -> dict[str, float]:
    """Average what a pipeline with a transformer has learned, in place, with what it started from; and calibrate it.

    An encoder that learns from some hundred or thousand texts also forgets, and half-way back it knows both. The
    weights are averaged, not the answers, so it costs nothing later (Wortsman et al. 2022, "Robust fine-tuning of
    zero-shot models"; there the layer on top starts as a good one, here at nothing, so that its share scales it).

    Args:
        nlp: the pipeline, trained.
        before: what it started from.
        dev: texts by whose log loss the share is chosen, once each is calibrated.

    Returns:
        The `share` of what was learned, and the `factor` of the logits that calibrates.
    """
    after, exclusive = read_numbers(nlp), nlp.get_pipe_meta(COMPONENT).factory == "textcat"
    factors, losses = [], []
    for share in show_progress(SHARES, desc="averaging"):
        write_numbers(nlp, before, after, share)
        gold, scores = gold_and_scores(nlp, dev)
        factor, loss = calibrate(gold, logits_of(scores, exclusive), exclusive)
        factors.append(factor)
        losses.append(loss)
    best = choose(losses)
    write_numbers(nlp, before, after, SHARES[best], factors[best])
    msg.info(
        f"{SHARES[best]:.1f} of what the transformer has learned, {1 - SHARES[best]:.1f} of what it started from, "
        "chosen on dev"
    )
    return {"share": SHARES[best], "factor": round(factors[best], 4)}
