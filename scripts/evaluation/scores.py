"""Score predictions: F1 with its interval, accuracy, AUC, calibration, confusions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.training import Corpus, Example

from scripts.common.cli import show_progress
from scripts.common.files import md5_bytes
from scripts.evaluation.thresholds import (
    COMPONENT,
    DEFAULT,
    decision_threshold,
    given_labels,
    gold_of,
    label_thresholds,
    macro_f1,
    mean_f1,
)

BOOTSTRAP_RESAMPLES = 2000
DISAGREEMENT = 0.1  # of the texts, on which of two like classifiers one is right; 6 to 12 % on BBC headlines
SHUFFLES = 1000
CALIBRATION_BINS = 15  # as in Guo et al. 2017, "On calibration of modern neural networks"


def macro_f1_interval(gold: np.ndarray, predicted: np.ndarray) -> list[float]:
    """95 % percentile bootstrap interval of macro-F1 over documents: [low, high]. It does not cover the seed.

    A single document has none: both ends are its macro-F1.
    """
    n_docs, n_labels = gold.shape
    if n_docs < 2:
        return [float(macro_f1(gold, predicted))] * 2
    result = bootstrap(
        (np.arange(n_docs),),
        lambda sample, axis=-1: macro_f1(gold[sample], predicted[sample]),
        n_resamples=BOOTSTRAP_RESAMPLES,
        batch=max(1, 20_000_000 // (n_docs * n_labels)),
        vectorized=True,
        method="percentile",
        rng=0,
    )
    return [float(result.confidence_interval.low), float(result.confidence_interval.high)]


def calibration(confidence: np.ndarray, correct: np.ndarray) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error, and the reliability diagram's bins.

    Args:
        confidence: float (n,), probabilities between 0 and 1.
        correct: bool (n,), whether what they stand for came true.
    """
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    error, diagram = 0.0, []
    for index in np.unique(bins):
        inside = bins == index
        mean, share = float(confidence[inside].mean()), float(correct[inside].mean())
        error += inside.mean() * abs(mean - share)
        diagram.append({"count": int(inside.sum()), "confidence": round(mean, 4), "accuracy": round(share, 4)})
    return float(error), diagram


def macro_average_precision(gold: np.ndarray, scores: np.ndarray) -> float | None:
    """Average precision of each label, averaged over those that occur: a measure for rare labels, without thresholds.

    Args:
        gold: bool (documents, labels).
        scores: float, same shape.

    Returns:
        From 0 to 1; None if no label occurs.
    """
    from sklearn.metrics import average_precision_score

    present = gold.any(axis=0)
    found = [average_precision_score(*columns) for columns in zip(gold.T[present], scores.T[present], strict=True)]
    return float(np.mean(found)) if found else None


def score(nlp: Language, path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Scores of a pipeline on a DocBin, by spaCy's own scorer, and the predictions behind them."""
    examples = list(Corpus(path)(nlp))
    texts = (example.text for example in examples)
    docs = show_progress(nlp.pipe(texts), total=len(examples), desc=f"scoring {path.stem}", unit=" docs")
    for example, doc in zip(examples, docs, strict=True):
        example.predicted = doc
    labels, threshold = list(nlp.get_pipe(COMPONENT).labels), decision_threshold(nlp)
    return score_examples(examples, labels, threshold is None, DEFAULT if threshold is None else threshold)


def score_examples(
    examples: list[Example], labels: list[str], exclusive: bool, threshold: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Scores of examples whose predicted documents have scores for each label in `cats`, and the predictions.

    Args:
        examples: what was predicted beside what is true.
        labels: all of them.
        exclusive: whether each text has exactly one label.
        threshold: from which score on a label is given, if not.
    """
    result = Scorer.score_cats(examples, "cats", labels=labels, multi_label=not exclusive, threshold=threshold)
    gold = np.array([[example.reference.cats[label] for label in labels] for example in examples], dtype=bool)
    cats = [example.predicted.cats for example in examples]
    probabilities = np.array([[doc[label] for label in labels] for doc in cats])
    predicted = given_labels(probabilities, None if exclusive else threshold)
    if exclusive:
        error, diagram = calibration(probabilities.max(1), (gold & predicted).any(1))
    else:
        error, diagram = calibration(probabilities.ravel(), gold.ravel())
    scores = {
        # Over the labels that occur: spaCy's counts one that is in no text, and is given to none, as 0.
        "macro_f1": float(macro_f1(gold, predicted)),
        "micro_f1": result["cats_micro_f"],
        "accuracy": float((gold == predicted).all(1).mean()),
        "macro_f1_ci": macro_f1_interval(gold, predicted),
        "macro_auc": result["cats_macro_auc"],
        "macro_ap": macro_average_precision(gold, probabilities),
        "calibration_error": error,
        "calibration": diagram,
        "per_label": result["cats_f_per_type"],
        "documents": len(examples),
    }
    scores["answers"] = pack_answers([example.text for example in examples], labels, gold, predicted)
    if exclusive:
        confusion = gold.T.astype(int) @ predicted.astype(int)
        scores["confusion"] = {"labels": labels, "rows_are_gold": confusion.tolist()}
    predictions = [
        {
            "text": example.text,
            "gold": [label for label in labels if example.reference.cats[label]],
            "cats": {label: round(float(doc[label]), 6) for label in labels},
        }
        for example, doc in zip(examples, cats, strict=True)
    ]
    return scores, predictions


def pack_answers(texts: Sequence[str], labels: Sequence[str], gold: np.ndarray, given: np.ndarray) -> dict[str, Any]:
    """Which labels each document has and was given, in a form that does not quote it: what paired tests need.

    Args:
        texts: of the documents.
        labels: all of them.
        gold: bool (documents, labels).
        given: likewise.

    Returns:
        `labels`, sorted; `gold` and `given`, a word for each document: its labels' numbers there, joined by commas, or
        a dash for none; and `texts_md5`, which tells whether two runs were on the same texts.
    """
    order = sorted(range(len(labels)), key=lambda number: labels[number])

    def words(matrix: np.ndarray) -> str:
        return " ".join(",".join(map(str, np.flatnonzero(row))) or "-" for row in matrix[:, order])

    return {
        "labels": [labels[number] for number in order],
        "gold": words(gold),
        "given": words(given),
        "texts_md5": md5_bytes(["\0".join(texts).encode()]),
    }


def unpack_answers(answers: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Gold and given labels, bool (documents, labels) each, of what `pack_answers` made.

    Raises:
        ValueError: they are broken.
    """

    def matrix(words: Sequence[str]) -> np.ndarray:
        found = np.zeros((len(words), len(answers["labels"])), dtype=bool)
        for row, word in zip(found, words, strict=True):
            if word != "-":
                numbers = [int(number) for number in word.split(",")]
                if min(numbers) < 0:
                    raise ValueError(f"{word}: there is no such label")
                row[numbers] = True
        return found

    gold, given = (answers[name].split() for name in ("gold", "given"))
    if len(gold) != len(given):
        raise ValueError(f"{len(gold)} documents with labels, {len(given)} with answers")
    return matrix(gold), matrix(given)


def arrays(predictions: list[dict[str, Any]], labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Gold labels, bool, and scores, float, both (documents, labels), of what `score` returned as predictions."""
    gold = np.array([[label in prediction["gold"] for label in labels] for prediction in predictions])
    return gold, np.array([[prediction["cats"][label] for label in labels] for prediction in predictions])


def even_documents(counts: Sequence[int]) -> float:
    """Texts, as many of each label, on which the mean of the labels' F1 would vary as much as on these.

    The variance of a label's F1 goes with 1 / its texts, that of the mean with their sum: it is the number of labels
    times the harmonic mean of the counts.

    Args:
        counts: texts of each label; of none as of one.
    """
    return len(counts) ** 2 / sum(1 / max(1, count) for count in counts) if counts else 0.0


def chance(documents: float) -> float:
    """What a difference of two like classifiers' macro-F1 may be by chance: a standard error, from 0 to 1.

    Args:
        documents: on which they were compared; see `even_documents`.
    """
    return math.sqrt(DISAGREEMENT / max(1.0, documents))


def detectable(texts: float) -> float:
    """The smallest difference in accuracy of two variants that so many test texts can tell from chance.

    The half width of the 95 % interval of a paired difference near zero, 1.96 · sqrt(disagreement / texts): only texts
    on which exactly one of the two is right count (McNemar 1947; Connor 1987, "Sample size for testing differences in
    proportions for the paired-sample design"). Card et al. 2020, "With little power comes great responsibility", use it
    for classifiers of text.

    Args:
        texts: of the test set; see `even_documents`.
    """
    return 1.96 * chance(texts)


def score_dev(nlp: Language, path: Path) -> dict[str, Any]:
    """What is reported of a pipeline's scores on dev: macro-F1, accuracy, documents.

    And `even_documents`: how many, evenly spread over the labels, would tell macro-F1 as well. Where a text may have
    several labels, also the best threshold of each, by label: `thresholds`.
    """
    scores, predictions = score(nlp, path)
    found = {key: scores[key] for key in ("macro_f1", "accuracy", "documents")}
    labels = list(nlp.get_pipe(COMPONENT).labels)
    gold, cats = arrays(predictions, labels)
    found["even_documents"] = even_documents(gold.sum(axis=0).tolist())
    if nlp.get_pipe_meta(COMPONENT).factory != "textcat":
        found["thresholds"] = dict(zip(labels, label_thresholds(gold, cats), strict=True))
    return found


def threshold_scores(nlp: Language, each: dict[str, float], test: list[dict[str, Any]]) -> dict[str, Any]:
    """The thresholds of a multi-label pipeline: that for all labels, which the other scores use, and one for each.

    Args:
        nlp: the pipeline.
        each: the best one of each label on dev.
        test: its predictions on test.
    """
    labels = list(nlp.get_pipe(COMPONENT).labels)
    gold, scores = arrays(test, labels)
    return {
        "all_labels": nlp.get_pipe(COMPONENT).cfg["threshold"],
        "per_label": {label: each[label] for label in labels},
        "macro_f1_with_per_label": float(macro_f1(gold, scores >= np.array([each[label] for label in labels]))),
    }


def constant_f1(metrics: dict[str, Any]) -> float:
    """Macro-F1 of the best answer that is the same for all texts, above which learning begins; 0 if not measured."""
    return float(max((known["macro_f1"] for known in metrics.get("baseline", {}).values()), default=0.0))


def baselines(corpus: Path, labels: list[str], exclusive: bool) -> dict[str, Any]:
    """Test scores of answers that are the same for all texts: `majority`, and `every_label` if there may be several."""
    found = {"majority": majority_baseline(corpus, labels)}
    if not exclusive:
        gold = gold_of(corpus / "test.spacy", labels)
        found["every_label"] = {"macro_f1": float(macro_f1(gold, np.ones_like(gold)))}
    return found


def guessing(gold: np.ndarray) -> float:
    """The mean area under the ROC curve that 95 % of all guesses do not reach, taking the labels for independent.

    The variance is that of the Mann-Whitney statistic (Mann and Whitney 1947). As in spaCy's mean, a label that all
    documents have, or none, counts as 0.

    Args:
        gold: bool (documents, labels).
    """
    positives, negatives = gold.sum(0), (~gold).sum(0)
    pairs = (positives * negatives)[positives * negatives > 0]
    return float((0.5 * len(pairs) + 1.645 * np.sqrt(((len(gold) + 1) / (12 * pairs)).sum())) / len(positives))


def shuffled_f1(gold: np.ndarray, given: np.ndarray) -> float:
    """The macro-F1 that 95 % of the ways to deal the same answers to the documents at random do not reach.

    A permutation test (Fisher 1935): guesses that are spread over the labels are better than one answer for all.

    Args:
        gold: bool (documents, labels), one label each.
        given: likewise.
    """
    rng, (true, answers), labels = np.random.default_rng(0), (gold.argmax(1), given.argmax(1)), gold.shape[1]
    total, found = gold.sum(0) + given.sum(0), []
    for _ in range(SHUFFLES):
        hits = true[true == rng.permutation(answers)]
        found.append(mean_f1(np.bincount(hits, minlength=labels), total))
    return float(np.quantile(found, 0.95))


def majority_baseline(corpus: Path, labels: list[str]) -> dict[str, Any]:
    """Test scores of always giving the label that is most frequent in train, or none, if more texts have none."""
    gold = {split: gold_of(corpus / f"{split}.spacy", labels) for split in ("train", "test")}
    counts = gold["train"].sum(0)
    best = int(counts.argmax())
    none = counts[best] < (~gold["train"].any(1)).sum()
    predicted = np.zeros_like(gold["test"])
    predicted[:, best] = not none
    return {
        "label": None if none else labels[best],
        "macro_f1": float(macro_f1(gold["test"], predicted)),
        "accuracy": float((gold["test"] == predicted).all(1).mean()),
    }
