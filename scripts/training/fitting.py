"""Run `spacy train` with a clock, in a clean folder, with clear messages for what a user can mend.

Where a text may have several labels, the decision threshold is then chosen on dev. And the trained pipeline forgets the
words of the training texts.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from spacy.cli.train import train as spacy_train
from spacy.language import Language
from spacy.strings import StringStore
from spacy.util import dot_to_object, get_lang_class, load_config
from wasabi import msg

from scripts.common.files import md5_folder, put, whole_file, workspace, write_json
from scripts.common.finished import BEST, CONFIG, FACTS, LOG, MODEL_MD5
from scripts.evaluation.thresholds import tune_threshold
from scripts.linear.mixing import left_out_scores, mix
from scripts.machines.machine import THREADS
from scripts.training.config import set_values
from scripts.training.half_precision import store_half
from scripts.training.inputs import check_inputs, open_config

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


def judge_training(log: Path) -> str | None:
    """Whether a training was long enough, by the score on dev of each evaluation; None if it had too few of them.

    A sentence is returned, and said: good or, if the score still rose in the last third, a warning with its mend.
    """
    scores = [line["scores"]["cats_score"] for line in srsly.read_jsonl(log) if line["scores"]]
    if len(scores) < MIN_EVALUATIONS:
        return None
    third = len(scores) // 3
    # The mean of several evaluations: a single one jumps on a small dev set.
    earlier, last = np.mean(scores[-2 * third : -third]), np.mean(scores[-third:])
    if last > earlier + STILL_RISING:
        text = (
            f"Not converged: the score on dev still rose by {last - earlier:.1f} points in the last third of the "
            "training. More passes may bring more: --vars.max_epochs"
        )
        msg.warn(text)
    else:
        text = f"Converged: the score on dev moved by {last - earlier:+.1f} points in the last third of the training"
        msg.info(text)
    return text


def fit(config: Path, output: Path, gpu_id: int = -1, half_precision: bool = False) -> None:
    """Train a pipeline beside the one that is there, and put it in its place when all is done.

    What says that it is whole comes last: train.json, with how long it took and the checksum of the pipeline.

    Args:
        config: complete spaCy config; the registered functions that it names have been imported.
        output: folder for model-best, log.jsonl, train.json and, if it comes from elsewhere, config.cfg.
        gpu_id: GPU to use; -1 for the CPU.
        half_precision: store the pipeline's transformer so.
    """
    settings = open_config(config, gpu_id)
    check_inputs(output / CONFIG, settings)
    with workspace(output / "training") as work:
        model, log, dev = work / BEST, work / LOG, Path(settings["paths"]["dev"])
        start = time.perf_counter()
        # Where this run logs is no part of what is trained: afterwards the stored config is as it was given.
        here: dict[str, Any] = {"paths.log": log.as_posix()}
        if not sys.stderr.isatty():
            here["training.logger.progress_bar"] = None
        spacy_train(config, work, use_gpu=gpu_id, overrides=here)
        seconds = time.perf_counter() - start
        restore(model, config, here)
        others = None
        if linear := settings["paths"].get("linear"):
            mix(model, dev)
            # With few positives in dev, those of train count as well, as the linear model scores them in
            # cross-validation.
            others = partial(left_out_scores, Path(linear), Path(settings["paths"]["train"]))
        tune_threshold(model, dev, others)
        forget_words(model)
        if half_precision:
            store_half(model, dev)
        # Unset, a library takes all cores; how many that are is among the facts of the machine.
        threads = {name: os.environ[name] for name in THREADS if name in os.environ}
        facts = {"seconds": round(seconds, 2), "gpu_id": gpu_id, "threads": threads}
        write_json(work / FACTS, facts | {"judgement": judge_training(log), MODEL_MD5: md5_folder(model)})
        shutil.copyfile(config, work / CONFIG)
        (output / FACTS).unlink(missing_ok=True)
        for name in (CONFIG, LOG, BEST, FACTS):
            put(work / name, output / name)


def restore(model: Path, config: Path, names: Iterable[str]) -> None:
    """Give values of a stored pipeline's config, by their dotted names, as they stand in the config given."""
    path = model / CONFIG
    stored, given = (load_config(file, interpolate=False) for file in (path, config))
    set_values(stored, {name: dot_to_object(given, name) for name in names})
    stored.to_disk(path)
