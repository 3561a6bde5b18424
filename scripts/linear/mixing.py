"""How much say the linear model in a pipeline gets, and how much rare labels are favoured by what both say together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from spacy.language import Language
from spacy.tokens import DocBin
from thinc.api import Model
from wasabi import msg

from scripts.common.cli import UserError
from scripts.components import LINEAR_PARAMS, linear_logits, linear_part, mix_linear, set_linear
from scripts.evaluation.thresholds import (
    COMPONENT,
    best_adjustment,
    best_threshold,
    given_labels,
    gold_and_scores,
    gold_of,
    label_thresholds,
    macro_f1,
)

START = (0.3, 0.5)  # factors of the trained logits, which are too sure of themselves, and of the calibrated linear ones
FINAL = "final_"  # before the names of the arrays of the model that has learned from dev, too
LEFT_OUT = "left_out"  # the logits that it gave to texts by cross-validation; with FINAL, to train and dev
STRENGTH = 3.0  # of the pull to them, in texts: a dev set of fifty alone would choose by chance


def logits_of(scores: np.ndarray, exclusive: bool) -> np.ndarray:
    """The logits of probabilities, up to what does not matter to softmax; same shape."""
    clipped = np.clip(scores.astype("float64"), 1e-12, 1 - 1e-12)
    return np.log(clipped) - (0 if exclusive else np.log1p(-clipped))


def choose_weights(
    own: np.ndarray, linear: np.ndarray, gold: np.ndarray, exclusive: bool
) -> tuple[float, float, float]:
    """The factors of two classifiers' logits, and a common bias, with the least log loss, drawn to `START`.

    That is stacking (Wolpert 1992, "Stacked generalization") with a prior; the bias is 0 where labels exclude each
    other.

    Args:
        own: logits on dev, shape (texts, labels).
        linear: those of the linear model, same shape.
        gold: bool, same shape.
        exclusive: whether each text has exactly one label.
    """
    start = np.array([*np.log(START), 0.0])

    def loss(x: np.ndarray) -> float:
        logits = np.exp(x[0]) * own + np.exp(x[1]) * linear
        if exclusive:
            value = -log_softmax(logits, axis=1)[gold].sum()
        else:
            value = np.logaddexp(0, np.where(gold, -1, 1) * (logits + x[2])).sum()
        return float(value + STRENGTH / 2 * np.square(x - start).sum())

    x = minimize(loss, start, method="Nelder-Mead").x
    return float(np.exp(x[0])), float(np.exp(x[1])), 0.0 if exclusive else float(x[2])


def store(nlp: Language, model: Path) -> None:
    """Write the classifier of a pipeline to where it was loaded from, without the words that it has met since."""
    nlp.get_pipe(COMPONENT).to_disk(model / COMPONENT, exclude=["vocab"])


class Mix(NamedTuple):
    """What was chosen on dev for a pipeline with a linear model.

    Attributes:
        weight: factor of the linear model's logits.
        alone: macro-F1 on dev of what was trained, and of the linear model; empty for a pipeline that is nothing else.
        trained: the logits on dev of what was trained, (texts, labels); None for such a pipeline.
        own: their factor.
        bias: added to all logits.
    """

    weight: float = 1.0
    alone: dict[str, float] = {}
    trained: np.ndarray | None = None
    own: float = 1.0
    bias: float = 0.0


def score_alone(gold: np.ndarray, logits: np.ndarray, exclusive: bool) -> float:
    """Macro-F1 of logits, at the best threshold where a text may have several labels; shapes (texts, labels)."""
    scores = logits if exclusive else expit(logits)
    return float(macro_f1(gold, given_labels(scores, None if exclusive else best_threshold(gold, scores))))


def mix(nlp: Language, dev: Path) -> Mix:
    """Give the linear model in a pipeline its weight, chosen on dev; changed in place."""
    pipe = nlp.get_pipe(COMPONENT)
    if linear_part(pipe.model) is None:
        return Mix()
    exclusive = not pipe.model.attrs["multi_label"]
    gold, scores = gold_and_scores(nlp, dev)
    own, theirs = logits_of(scores, exclusive), linear_on(nlp, dev)
    factor, weight, bias = choose_weights(own, theirs, gold, exclusive)
    mix_linear(pipe.model, factor, weight, bias)
    trained, linear = (round(score_alone(gold, logits, exclusive), 4) for logits in (own, theirs))
    msg.info(
        f"{factor:.2f} of what was trained (alone {trained:.3f} on dev), {weight:.2f} of the linear model "
        f"({linear:.3f}), chosen on dev"
    )
    return Mix(weight, {"trained": trained, "linear": linear}, own, factor, bias)


def linear_layer(model: Model) -> Model:
    """The linear model of a TextCatLinear, or of what carries one."""
    return linear_part(model) or model.get_ref("scores")


def favour(gold: np.ndarray, logits: np.ndarray, learned: np.ndarray) -> tuple[float, np.ndarray]:
    """How much rare labels are to be favoured, see `best_adjustment`, and what that adds to the logits.

    Args:
        gold: bool (texts, labels).
        logits: float, same shape.
        learned: gold labels of the texts that were learned from, by which the labels' shares are counted.

    Returns:
        The adjustment, and float32 (labels,).
    """
    prior = np.log(learned.sum(axis=0).clip(0.5) / len(learned))
    found = best_adjustment(gold, logits, prior)
    return found, (found * (prior.mean() - prior)).astype("float32")


def adjust(nlp: Language, path: Path, train: Path, dev: Path) -> tuple[float, np.ndarray]:
    """Let a pipeline, in place, give rare labels as often as macro-F1 wants; see `best_adjustment`.

    With few texts of a label in dev, those of train count as well, as the linear model scores them in cross-validation.

    Args:
        nlp: has a linear model, and labels that exclude each other.
        path: the linear model (.npz).
        train: the texts that it was fitted to (.spacy).
        dev: texts that it has not seen (.spacy).

    Returns:
        The adjustment, and what it adds to the logits, float32 (labels,).
    """
    pipe = nlp.get_pipe(COMPONENT)
    dev_gold, scores = gold_and_scores(nlp, dev)
    train_gold, left_out = left_out_logits(path, train, list(pipe.labels))
    gold = np.concatenate([dev_gold, train_gold])
    found, added = favour(gold, np.concatenate([logits_of(scores, True), left_out]), train_gold)
    if found:
        layer = linear_layer(pipe.model)
        layer.set_param("bias", layer.get_param("bias") + layer.ops.asarray1f(added))
        msg.info(f"Rare labels are favoured: {found:.1f} of the log frequencies, chosen on {len(gold):,} texts")
    return found, added


class Choice(NamedTuple):
    """What was chosen for the pipeline that is shipped.

    Attributes:
        own: factor of the logits of what was trained.
        weight: that of the linear model's.
        bias: added to all logits.
        threshold: from which score on a label is given; None where labels exclude each other.
        added: to the linear model's logits, to favour rare labels, float32 (labels,); None if they are not.
        adjustment: by how much of their log frequencies they are favoured.
        thresholds: the best one of each label.
    """

    own: float
    weight: float
    bias: float
    threshold: float | None = None
    added: np.ndarray | None = None
    adjustment: float | None = None
    thresholds: dict[str, float] | None = None


def choose_again(nlp: Language, path: Path, train: Path, dev: Path, mixed: Mix) -> Choice | None:
    """Choose anew, for the linear model that has learned from dev, too, what was chosen with that of train.

    Where dev is large beside train, it knows so much more that the weights, the threshold and what favours rare labels
    would not fit it. They are chosen by the scores that it gives in cross-validation on both.

    Args:
        nlp: the pipeline.
        path: the linear models (.npz).
        train: texts (.spacy).
        dev: texts (.spacy).
        mixed: what `mix` chose.

    Returns:
        None where dev is not large.
    """
    pipe = nlp.get_pipe(COMPONENT)
    with np.load(path, allow_pickle=False) as arrays:
        if FINAL + LEFT_OUT not in arrays:
            return None
        left_out = read_left_out(arrays, FINAL + LEFT_OUT, pipe.labels)
    exclusive = nlp.get_pipe_meta(COMPONENT).factory == "textcat"
    train_gold, dev_gold = (gold_of(texts, pipe.labels) for texts in (train, dev))
    on_train, on_dev = left_out[: len(train_gold)], left_out[len(train_gold) :]
    weights = (mixed.own, mixed.weight, mixed.bias)
    if mixed.trained is not None:
        weights = choose_weights(mixed.trained, on_dev, dev_gold, exclusive)
        on_dev = weights[0] * mixed.trained + weights[1] * on_dev + weights[2]
    gold, logits = np.concatenate([dev_gold, train_gold]), np.concatenate([on_dev, on_train])
    said = f"Dev is large beside train. Chosen anew for the linear model of both: {weights[1]:.2f} of it"
    if exclusive:
        found, added = favour(gold, logits, gold)
        msg.info(f"{said}, and {found:.1f} of the log frequencies")
        return Choice(*weights, added=added, adjustment=found)
    threshold, each = best_threshold(gold, expit(logits)), label_thresholds(dev_gold, expit(on_dev))
    msg.info(f"{said}, and a threshold of {threshold:.2f}")
    return Choice(*weights, threshold=threshold, thresholds=dict(zip(pipe.labels, each, strict=True)))


def stored_bytes(path: Path) -> int:
    """What the linear model (.npz) that has learned from dev takes in a pipeline."""
    return sum(array.nbytes for array in final_arrays(path).values())


def final_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the linear model (.npz) that has learned from dev, see `LinearScores`."""
    with np.load(path, allow_pickle=False) as arrays:
        if FINAL + "keys" not in arrays:
            raise UserError(f"{path}: an earlier version has made it. Make it again with the command `fit-linear`.")
        return {name: arrays[FINAL + name] for name in LINEAR_PARAMS}


def finish(nlp: Language, path: Path, choice: Choice, before: Mix | None = None) -> None:
    """Give a pipeline, in place, what was chosen for it, and the linear model that has learned from dev, too.

    Args:
        nlp: has a linear model.
        path: the linear models (.npz).
        choice: for what is shipped.
        before: the weights that it has already; None if it was trained just now.
    """
    pipe, final = nlp.get_pipe(COMPONENT), final_arrays(path)
    if linear_part(pipe.model) is not None:
        own, bias = (before.own, before.bias) if before else (1.0, 0.0)
        mix_linear(pipe.model, choice.own / own, 1.0, choice.bias - bias * choice.own / own)
    if choice.threshold is not None:
        pipe.cfg["threshold"] = choice.threshold
    for name in ("scales", "bias"):
        final[name] = final[name] * np.float32(choice.weight)
    if choice.added is not None:
        final["bias"] = final["bias"] + choice.added
    set_linear(linear_layer(pipe.model), final)


def linear_on(nlp: Language, path: Path) -> np.ndarray:
    """The logits of the linear model in a pipeline on the texts of a DocBin, shape (texts, labels)."""
    linear = linear_part(nlp.get_pipe(COMPONENT).model)
    docs = [nlp.make_doc(doc.text) for doc in DocBin().from_disk(path).get_docs(nlp.vocab)]
    return np.concatenate([linear_logits(linear, docs[i : i + 64]) for i in range(0, len(docs), 64)])


def read_left_out(arrays: Mapping[str, np.ndarray], name: str, labels: Sequence[str]) -> np.ndarray:
    """Logits by cross-validation among the arrays of a linear model, float64 (texts, labels), of these labels."""
    known = arrays["labels"].tolist()
    return arrays[name].astype("float64")[:, [known.index(label) for label in labels]]


def left_out_logits(path: Path, train: Path, labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Gold labels of training texts, bool, and the linear model's logits by cross-validation: (texts, labels).

    Args:
        path: the linear model (.npz).
        train: the texts that it was fitted to (.spacy).
        labels: in the order of the columns wanted.
    """
    with np.load(path, allow_pickle=False) as arrays:
        return gold_of(train, labels), read_left_out(arrays, LEFT_OUT, labels)


def left_out_scores(path: Path, train: Path, labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The same with probabilities, each label by itself."""
    gold, logits = left_out_logits(path, train, labels)
    return gold, expit(logits)
