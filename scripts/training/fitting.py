"""Run `spacy train` with a clock, in a clean folder, with clear messages for what a user can mend.

Where a text may have several labels, the decision threshold is then chosen on dev (and, beside a linear model, on the
scores that it gave the training texts in cross-validation). And the trained pipeline forgets the words of the training
texts.
"""

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import spacy
import srsly
from spacy.cli.train import train as spacy_train
from spacy.language import Language
from spacy.strings import StringStore
from spacy.tokens import DocBin
from spacy.training.initialize import init_nlp
from spacy.util import dot_to_object, get_lang_class, load_config
from thinc.api import Config
from wasabi import msg

from scripts.common.files import md5_folder, put, whole_file, workspace, write_json
from scripts.common.finished import BEST, CONFIG, DEV, FACTS, LOG, MODEL_MD5
from scripts.evaluation.scores import chance, even_documents, score_dev
from scripts.evaluation.thresholds import COMPONENT, decision_threshold, tune_threshold
from scripts.linear.mixing import Choice, Mix, adjust, choose_again, finish, left_out_scores, mix, store
from scripts.machines.machine import THREADS, products_by_numpy
from scripts.training.choosing import average, choose, dev_losses, read_numbers
from scripts.training.config import set_values
from scripts.training.half_precision import forget_training, store_half
from scripts.training.inputs import check_inputs, open_config

LAST = "model-last"  # what spaCy has trained in the end
MIN_EVALUATIONS = 6
STILL_RISING = 1.0  # points of the score on dev, which is macro-F1, or the macro-average of AUC


def forget_words(folder: Path) -> None:
    """Remove from a trained pipeline the strings that a blank one of its language does not have.

    spaCy stores every word that it has met. Nothing looks them up: features and keys of vectors are hashes, and the
    words of a new text are added as they come. They take up to a tenth of the size, and tell what stood in the training
    texts.
    """
    blank: Language = get_lang_class(load_config(folder / "config.cfg")["nlp"]["lang"])()
    with whole_file(folder / "vocab" / "strings.json") as temporary:
        StringStore(blank.vocab.strings).to_disk(temporary)


def judge_training(log: Path, documents: float) -> str | None:
    """Whether a training was long enough, by the score on dev of each evaluation; None if it had too few of them.

    A sentence is returned, and said: good or, if the score still rose in the last third, and by more than chance, a
    warning with its mend.

    Args:
        log: of the training.
        documents: of dev; see `even_documents`.
    """
    scores = [line["scores"]["cats_score"] for line in srsly.read_jsonl(log) if line["scores"]]
    if len(scores) < MIN_EVALUATIONS:
        return None
    third = len(scores) // 3
    # The mean of several evaluations: a single one jumps on a small dev set.
    earlier, last = np.mean(scores[-2 * third : -third]), np.mean(scores[-third:])
    if last - earlier > max(STILL_RISING, 100 * chance(documents)):
        text = (
            f"Not converged: the score on dev still rose by {last - earlier:.1f} points in the last third of the "
            "training. More passes may bring more: --vars.max_epochs"
        )
        msg.warn(text)
    else:
        text = f"Converged: the score on dev moved by {last - earlier:+.1f} points in the last third of the training"
        msg.info(text)
    return text


def fit(
    candidates: Sequence[Path],
    output: Path,
    gpu_id: int = -1,
    half_precision: bool = False,
    averaged: bool = False,
    again: Sequence[Path] = (),
) -> None:
    """Train pipelines beside the one that is there, and put the best on dev in its place when all is done.

    What says that it is whole comes last: train.json, with how long it took and the checksum of the pipeline.

    Args:
        candidates: complete spaCy configs; the registered functions that they name have been imported.
        output: folder for model-best, log.jsonl, train.json and config.cfg.
        gpu_id: GPU to use; -1 for the CPU.
        half_precision: store the pipeline's transformer so.
        averaged: average what the transformer has learned with what it started from.
        again: configs of the candidates to train the chosen one once more, on train and dev, when all has been chosen;
            none to leave it at that. For what takes nothing from dev while it is trained.
    """
    opened = [open_config(config, gpu_id) for config in candidates]
    for settings in opened:
        check_inputs(output / CONFIG, settings)
    with workspace(output / "training") as work:
        fitted, losses = list[Fitted](), list[np.ndarray]()
        for config, settings in zip(candidates, opened, strict=True):
            folder, dev = work / config.stem, Path(settings["paths"]["dev"])
            fitted.append(fit_one(config, settings, folder, gpu_id, averaged))
            if half_precision:
                store_half(folder / BEST, dev)
            if len(candidates) > 1:
                losses.append(dev_losses(folder / BEST, dev))
        best = choose(losses) if losses else 0
        folder, seconds = work / candidates[best].stem, sum(one.seconds for one in fitted)
        # Unset, a library takes all cores; how many that are is among the facts of the machine.
        threads = {name: os.environ[name] for name in THREADS if name in os.environ}
        facts = {"seconds": round(seconds, 2), "gpu_id": gpu_id, "threads": threads}
        if losses:
            tried = {config.stem: round(float(loss.mean()), 4) for config, loss in zip(candidates, losses, strict=True)}
            facts |= {"chosen": candidates[best].stem, "dev_loss": tried}
            msg.info(f"{candidates[best].stem}, chosen by the log loss on dev: {tried}")
        if fitted[best].averaged:
            facts["averaged"] = fitted[best].averaged
        if mixed := fitted[best].mixed:
            facts |= {"dev_alone": mixed.alone} if mixed.alone else {}
            second = None
            if again:
                msg.info("Trained once more, on train and dev: what follows are scores on texts that it learns from")
                facts["seconds"] = round(seconds + spacy_training(again[best], folder / "again", gpu_id), 2)
                second = folder / "again" / LAST
            facts |= complete(folder / BEST, opened[best]["paths"], mixed, second)
        judgement = judge_training(folder / LOG, even_documents(count_labels(Path(opened[best]["paths"]["dev"]))))
        facts |= {"judgement": judgement, MODEL_MD5: md5_folder(folder / BEST)}
        write_json(folder / FACTS, facts)
        shutil.copyfile(candidates[best], folder / CONFIG)
        (output / FACTS).unlink(missing_ok=True)
        for name in (CONFIG, LOG, BEST, FACTS):
            put(folder / name, output / name)


def complete(model: Path, paths: dict[str, str], mixed: Mix, again: Path | None = None) -> dict[str, Any]:
    """Give a chosen pipeline with a linear model the last that is chosen on dev, and let it learn from dev as well.

    Args:
        model: stored; changed in place.
        paths: of the config: `linear`, `train`, `dev`.
        mixed: what `mix` chose.
        again: the same trained on train and dev, which takes its place; if not, the linear model alone learns from dev.

    Returns:
        What is kept of it: scores on dev of the pipeline that had not learned from it, and what was chosen.
    """
    linear, train, dev = (Path(paths[name]) for name in ("linear", "train", "dev"))
    facts, added, nlp = dict[str, Any](), None, spacy.load(model)
    if nlp.get_pipe_meta(COMPONENT).factory == "textcat":
        facts["logit_adjustment"], added = adjust(nlp, linear, train, dev)
    facts[DEV] = score_dev(nlp, dev)
    choice = Choice(mixed.own, mixed.weight, mixed.bias, decision_threshold(nlp), added)
    if found := choose_again(nlp, linear, train, dev, mixed):
        choice = found
        if found.thresholds is None:
            facts["logit_adjustment"] = found.adjustment
        else:
            facts[DEV]["thresholds"] = found.thresholds
    if again:
        nlp, before = spacy.load(again), nlp
        if nlp.get_pipe(COMPONENT).labels != before.get_pipe(COMPONENT).labels:
            raise ValueError(f"{again}: the labels have another order than those of {model}")
    finish(nlp, linear, choice, None if again else mixed)
    store(nlp, model)
    return facts


class Fitted(NamedTuple):
    """What is to be said of a trained pipeline.

    Attributes:
        seconds: that it took.
        mixed: how the linear model was mixed in, if there is one.
        averaged: see `average`, if it was.
    """

    seconds: float
    mixed: Mix | None
    averaged: dict[str, float] | None


def fit_one(config: Path, settings: Config, output: Path, gpu_id: int, averaged: bool) -> Fitted:
    """Train one pipeline into a new folder, and tune what is tuned on dev."""
    model, dev, linear = output / BEST, Path(settings["paths"]["dev"]), settings["paths"].get("linear")
    seconds = spacy_training(config, output, gpu_id)
    others = mixed = shares = None
    if averaged:
        start = time.perf_counter()
        with products_by_numpy(gpu_id):
            before = read_numbers(init_nlp(load_config(config), use_gpu=gpu_id))
        nlp = spacy.load(model)
        shares = average(nlp, before, dev)
        forget_training(nlp)
        nlp.to_disk(model)
        seconds += time.perf_counter() - start
    if linear:
        nlp = spacy.load(model)
        mixed = mix(nlp, dev)
        store(nlp, model)
        # With few positives in dev, those of train count as well, as the linear model scores them in cross-validation.
        others = partial(left_out_scores, Path(linear), Path(settings["paths"]["train"]))
    tune_threshold(model, dev, others)
    forget_words(model)
    return Fitted(seconds, mixed, shares)


def spacy_training(config: Path, output: Path, gpu_id: int) -> float:
    """Run `spacy train` into a new folder; the seconds that it took."""
    start = time.perf_counter()
    # Where this run logs is no part of what is trained: afterwards the stored config is as it was given.
    here: dict[str, Any] = {"paths.log": (output / LOG).as_posix()}
    if not sys.stderr.isatty():
        here["training.logger.progress_bar"] = None
    output.mkdir()
    with products_by_numpy(gpu_id):
        spacy_train(config, output, use_gpu=gpu_id, overrides=here)
    seconds = time.perf_counter() - start
    restore(output / BEST, config, here)
    return seconds


def count_labels(path: Path) -> list[int]:
    """How many texts of a DocBin have each label that one of them has."""
    docs = DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab)
    return list(Counter(label for doc in docs for label, value in doc.cats.items() if value).values())


def restore(model: Path, config: Path, names: Iterable[str]) -> None:
    """Give values of a stored pipeline's config, by their dotted names, as they stand in the config given."""
    path = model / CONFIG
    stored, given = (load_config(file, interpolate=False) for file in (path, config))
    set_values(stored, {name: dot_to_object(given, name) for name in names})
    stored.to_disk(path)
