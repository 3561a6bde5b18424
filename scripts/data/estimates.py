"""How long the variants will take on this data and this machine, by a short timed probe of some of them.

Some updates and predictions of a variant are timed on a sample of the texts; the updates of the whole training are
counted from its own config. What prepares a training (word vectors, an encoder's pass over raw text) is not in it.
"""

import contextlib
import io
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from spacy.cli._util import import_code
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.util import get_lang_class, minibatch, registry, resolve_dot_names
from spacy.vocab import Vocab

from scripts.common.cli import show_progress
from scripts.common.variants import config_chain, merge_configs
from scripts.components import quantize_rows, word_key
from scripts.machines.machine import peak_rss_bytes, products_by_numpy
from scripts.training.config import compose_config, set_values, size_settings, task_settings

# A variant that is timed, the one of its candidates, and what others cost, as a share of its time. What is said of a
# variant more than once is added up. The shares of `cnn` are medians of the published trainings of five tasks, of which
# vectors took 0.11 to 0.84 of it.
READING = ("compact", "compact-domain", "compact-pretrained")
HALF = ("transformer-half", "transformer-trim", "transformer-int8")
AGAIN = 2.2  # what is trained on train, and then on train and dev
PRETRAINED = {"pretrain-chars": 1.3, "pretrain-vectors": 1.0}
PROBED: tuple[tuple[str, str | None, dict[str, float]], ...] = (
    ("bow", None, {"bow": 1.0}),
    ("cnn", None, {"cnn": 1.0, "ensemble": 1.0, "vectors": 0.3, "pruned": 0.3, "floret": 0.4} | PRETRAINED),
    ("compact", "words", dict.fromkeys(READING, 1.0) | {"compact-small": AGAIN}),
    ("compact", "reads", dict.fromkeys(READING, AGAIN)),
    ("transformer", None, {"transformer": 1.0} | dict.fromkeys(HALF, 0.5)),
)
WITHOUT_ENCODER = ("bow", "cnn", "ensemble", "vectors", "pruned", "floret", *PRETRAINED, "compact-domain")
TABLE_WIDTH = 228  # values of a word in the table of `compact`: 128 of the encoder, 100 of the raw text
SAMPLE = "sample.spacy"
SAMPLE_TEXTS = 128  # of it, that are learned from
MAX_TEXTS = 2_000  # at least in it, of so many: a pipeline is initialized with all of them
PROBE_SECONDS = 5.0  # for the updates of a variant; at least one is made


class Estimate(NamedTuple):
    """What a variant will take: minutes at most (early stopping may end it), and the memory seen in the probe."""

    variant: str
    minutes: float
    memory_bytes: int


def write_sample(source: Path, labels: Sequence[str], path: Path) -> None:
    """Write a sample from all over the texts of a split, with the first text of each label.

    Args:
        source: the split (.spacy).
        labels: of the task.
        path: file to write (.spacy).
    """
    vocab, missing = Vocab(), set(labels)
    docs = DocBin().from_disk(source)
    sample, step = DocBin(), max(1, len(docs) // MAX_TEXTS)
    for number, doc in enumerate(docs.get_docs(vocab)):
        new = {label for label in missing if doc.cats.get(label)}
        missing -= new
        if number % step == 0 or new:
            sample.add(doc)
    sample.to_disk(path)


def stand_in_table(sample: Path, lang: str, path: Path) -> None:
    """Write a table for `compact` that costs as much to look up as a real one, of random vectors."""
    docs = DocBin().from_disk(sample).get_docs(get_lang_class(lang)().vocab)
    keys = np.unique([word_key(word) for word in {token.lower_ for doc in docs for token in doc}]).astype("uint32")
    codes, scales = quantize_rows(np.random.default_rng(0).normal(size=(len(keys), TABLE_WIDTH)).astype("float32"))
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, keys=keys, codes=codes, scales=scales, weights=np.ones_like(scales))


def probe(
    name: str, candidate: str | None, facts: dict[str, Any], corpus: Path, configs: Path, encoder: str
) -> tuple[float, int]:
    """Seconds that training a variant takes, evaluations included, and the memory in use after the probe.

    Args:
        name: the variant.
        candidate: the one of its candidates; None if it has none.
        facts: those that convert wrote, task.json.
        corpus: folder that convert wrote, with a sample, see `write_sample`.
        configs: folder of the configs.
        encoder: folder of the pretrained encoder.
    """
    overlay = configs / f"{name}.cfg"
    merged, variant = merge_configs(config_chain(overlay))
    import_code(variant.get("code"))
    values: dict[str, Any] = {"paths.corpus": corpus.as_posix()}
    if "weights" in merged["paths"]:
        values["paths.weights"] = merged["paths"]["weights"] = encoder
    if "table" in merged["paths"]:
        stand_in_table(corpus / SAMPLE, facts["lang"], corpus / "table.npz")
        values |= {"paths.table": (corpus / "table.npz").as_posix(), "paths.linear": None}
        values["components.textcat.model.linear"] = False
    chosen = variant["candidates"][candidate] if candidate else {}
    set_values(merged, chosen)
    values = task_settings(facts) | size_settings(facts, variant.get("sizes"), merged) | values | chosen
    config = compose_config(overlay, values)
    # The schedule is that of all texts; what is read from here on is the sample.
    config["paths"]["train"] = (corpus / SAMPLE).as_posix()
    config = config.interpolate()
    nlp = init_nlp(config)
    (reader,) = resolve_dot_names(config, [config["training"]["train_corpus"]])
    batcher = registry.resolve({"batcher": config["training"]["batcher"]})["batcher"]
    sample = list(reader(nlp))
    times = facts["examples"]["train"] / len(sample)  # as many texts as the sample has
    a_pass = times * sum(1 for _ in batcher(sample))
    updates = a_pass * config["training"]["max_epochs"]
    if config["training"]["max_steps"]:
        updates = min(updates, config["training"]["max_steps"])
    evaluations = updates / config["training"]["eval_frequency"]

    def count_words(examples: Iterable[Example]) -> int:
        limit = config["task"].get("max_words") or sys.maxsize
        return sum(min(len(example.reference), limit) for example in examples)

    examples = sample[:: max(1, len(sample) // SAMPLE_TEXTS)]
    batches = [list(batch) for batch in batcher(examples)]
    optimizer = nlp.resume_training()
    nlp.update(batches[0], sgd=optimizer)  # the first one loads and allocates
    seconds, done, start = 0.0, 0, time.perf_counter()
    while done < len(batches) and seconds < PROBE_SECONDS:
        nlp.update(batches[done], sgd=optimizer)
        done, seconds = done + 1, time.perf_counter() - start
    # What was learned from may have shorter texts than the others.
    seconds *= times * count_words(sample) / max(1, sum(map(count_words, batches[:done])))
    texts = [example.text for example in examples[: len(examples) // 4 + 1]]
    start = time.perf_counter()
    for batch in minibatch(texts, 32):
        list(nlp.pipe(batch))
    per_text = (time.perf_counter() - start) / len(texts)
    return updates / a_pass * seconds + evaluations * facts["examples"]["dev"] * per_text, peak_rss_bytes()


def estimate(facts: dict[str, Any], corpus: Path, configs: Path, encoder: str | None) -> list[Estimate]:
    """What the trainings will take.

    Args:
        facts: those that convert wrote, task.json.
        corpus: folder that convert wrote.
        configs: folder of the configs.
        encoder: folder of the pretrained encoder; None leaves out what needs one.
    """
    write_sample(corpus / "train.spacy", facts["labels"], corpus / SAMPLE)
    found: dict[str, Estimate] = {}
    probed = [(*what, like) for *what, like in PROBED if encoder or any(name in WITHOUT_ENCODER for name in like)]
    for name, candidate, like in show_progress(probed, desc="probe", unit=" variants"):
        with contextlib.redirect_stdout(io.StringIO()), products_by_numpy(-1):
            seconds, memory = probe(name, candidate, facts, corpus, configs, encoder or "")
        for variant, share in like.items():
            if encoder or variant in WITHOUT_ENCODER:
                before = found.get(variant, Estimate(variant, 0.0, 0))
                minutes = before.minutes + seconds * share / 60
                found[variant] = Estimate(variant, minutes, max(memory, before.memory_bytes))
    return list(found.values())
