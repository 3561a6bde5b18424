"""How long the variants will take on this data and this machine, by a short timed probe of some of them.

Some updates and predictions of a variant are timed on a sample of the texts; the updates of the whole training are
counted from its own config. What prepares a training (word vectors, an encoder's pass over raw text) is not in it.
"""

import contextlib
import io
import time
from pathlib import Path
from typing import Any, NamedTuple

from spacy.cli._util import import_code
from spacy.training.initialize import init_nlp
from spacy.util import minibatch, registry, resolve_dot_names

from scripts.common.cli import show_progress
from scripts.common.variants import config_chain, merge_configs
from scripts.machines.machine import peak_rss_bytes
from scripts.training.config import compose_config, count_updates, task_settings

# A variant that is timed, and those that cost about as much, as a share of its time.
PROBED = {
    "bow": {"bow": 1.0},
    "cnn": {"cnn": 1.0, "ensemble": 1.2, "vectors": 0.8, "pruned": 0.8, "floret": 1.0, "pretrain-chars": 1.0},
    "transformer": {"transformer": 1.0, "transformer-half": 0.5, "transformer-trim": 0.5},
}
SAMPLE_TEXTS = 128
PROBE_SECONDS = 5.0  # for the updates of a variant; at least one is made


class Estimate(NamedTuple):
    """What a variant will take: minutes at most (early stopping may end it), and the memory seen in the probe."""

    variant: str
    minutes: float
    memory_bytes: int


def probe(name: str, facts: dict[str, Any], corpus: Path, configs: Path, encoder: str) -> tuple[float, int]:
    """Seconds that training a variant takes, evaluations included, and the memory in use after the probe.

    Args:
        name: the variant.
        facts: those that convert wrote, task.json.
        corpus: folder that convert wrote.
        configs: folder of the configs.
        encoder: folder of the pretrained encoder.
    """
    overlay = configs / f"{name}.cfg"
    merged, variant = merge_configs(config_chain(overlay))
    import_code(variant.get("code"))
    paths = {"paths.corpus": corpus.as_posix()}
    if "weights" in merged["paths"]:
        paths["paths.weights"] = merged["paths"]["weights"] = encoder
    config = compose_config(overlay, task_settings(facts, variant.get("sizes"), merged) | paths).interpolate()
    updates = count_updates(config) * config["training"]["max_epochs"]
    if config["training"]["max_steps"]:
        updates = min(updates, config["training"]["max_steps"])
    evaluations = updates / config["training"]["eval_frequency"]
    nlp = init_nlp(config)
    (reader,) = resolve_dot_names(config, [config["training"]["train_corpus"]])
    batcher = registry.resolve({"batcher": config["training"]["batcher"]})["batcher"]
    examples = list(reader(nlp))[:: max(1, facts["examples"]["train"] // SAMPLE_TEXTS)]
    batches = list(batcher(examples))
    optimizer = nlp.resume_training()
    nlp.update(list(batches[0]), sgd=optimizer)  # the first one loads and allocates
    seconds, done, start = 0.0, 0, time.perf_counter()
    while done < len(batches) and seconds < PROBE_SECONDS:
        nlp.update(list(batches[done]), sgd=optimizer)
        done, seconds = done + 1, time.perf_counter() - start
    texts = [example.text for example in examples[: len(examples) // 4 + 1]]
    start = time.perf_counter()
    for batch in minibatch(texts, 32):
        list(nlp.pipe(batch))
    per_text = (time.perf_counter() - start) / len(texts)
    return updates * seconds / done + evaluations * facts["examples"]["dev"] * per_text, peak_rss_bytes()


def estimate(facts: dict[str, Any], corpus: Path, configs: Path, encoder: str | None) -> list[Estimate]:
    """What the trainings will take.

    Args:
        facts: those that convert wrote, task.json.
        corpus: folder that convert wrote.
        configs: folder of the configs.
        encoder: folder of the pretrained encoder; None leaves out what needs one.
    """
    found = []
    names = [name for name in PROBED if encoder or name != "transformer"]
    for name in show_progress(names, desc="probe", unit=" variants"):
        with contextlib.redirect_stdout(io.StringIO()):
            seconds, memory = probe(name, facts, corpus, configs, encoder or "")
        found += [Estimate(like, seconds * share / 60, memory) for like, share in PROBED[name].items()]
    return found
