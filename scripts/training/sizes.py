"""How large a model is: rules from the size of the task, named in a variant's config (`[variant] sizes`)."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scripts.common.files import read_json

# What learns from labelled texts by itself (bow, cnn, vectors, ...): words read in all passes (a quarter of an hour for
# a convolution on one core), unless so many passes want more; and the least share of a batch's texts, of long ones.
MAX_WORDS_ALONE, LEAST_PASSES, LEAST_BATCH_SHARE = 10_000_000, 5, 0.25

# A linear model stores 4 bytes for each label and row. This leaves the pipeline well below 10 MB.
LINEAR_MODEL_BYTES = 8_000_000
MAX_NGRAM_ROWS = 262_144  # spaCy's default; more rows than this brought nothing
# From so many training texts on, `compact` learns from the order of words, too: see configs/compact.cfg.
WORD_ORDER_TEXTS = 4000
# Units of its layer: many phrases need many; few texts teach no more than some.
HIDDEN_WIDTH, WORD_ORDER_WIDTH = 128, 512
# Units of layers that read (two of 192 take 1 MB), and of the one layer that learns from a teacher's many texts.
READING_WIDTH, TAUGHT_WIDTH = 192, 512
# Updates at least and at most, of texts up to so many words on average; of longer ones fewer, at most by the root of
# their length, or many long texts would hardly be seen once. And of few texts, which are soon known by heart, so many a
# text: down to the least.
COMPACT_UPDATES, LONG_TEXT, UPDATES_PER_TEXT, LEAST_UPDATES = (2500, 6000), 125, 2, 1000
# Passes and texts of a batch, of texts that are not long, and the least. To learn to read 594 German articles of 250
# words took some 13 minutes of a busy core in 40 passes and batches of 32.
COMPACT_PASSES, COMPACT_BATCH = (10, 40), (8, 32)


# Transformers: passes, texts of a batch, words of one at most (some 2 GB of memory while MiniLM trains), and the
# updates that a task wants, which grow with its labels. Where the passes are too few for them, batches are smaller: on
# cooking, 11 labels and 1,712 texts of 112 words, three passes in batches of 18 texts gave .477 on test, in batches of
# 8 texts .580, and six passes in batches of 16 texts .637; linear has .678.
PASSES, BATCH_TEXTS, MAX_BATCH_WORDS = (3, 20), (8, 32), 2048
MIN_UPDATES, UPDATES_PER_LABEL = 500, 20
MAX_WORDS_READ = 1_200_000  # in all passes, unless PASSES[0] want more: half an hour for MiniLM on two cores
# The highest learning rate, for an encoder as wide as MiniLM; wider ones want less.
LEARN_RATE, WIDTH = 1.5e-4, 384
WIDTH_NAMES = ("hidden_size", "dim", "d_model")  # in config.json; the second is DistilBERT's
LAYERS, LAYERS_NAMES = 6, ("num_hidden_layers", "n_layers", "num_layers")


def ngram_rows(n_labels: int) -> int:
    """Rows of the hashed table of `TextCatBOW.v3`, a power of two (it would round up to one anyway)."""
    rows = MAX_NGRAM_ROWS
    while rows > 1 and rows * n_labels * 4 > LINEAR_MODEL_BYTES:
        rows //= 2
    return rows


def length_sizes(facts: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Of what learns from the labelled texts alone: the config's passes, batches and patience, or less of long texts.

    Long texts come in smaller batches, with so many fewer updates at the least; of many there are fewer passes.
    """
    texts, mean, task = facts["examples"]["train"], max(1.0, facts["words"]["train"]["mean"]), config["task"]
    share = max(LEAST_BATCH_SHARE, min(1.0, LONG_TEXT / mean))
    passes = round(min(task["passes"], max(LEAST_PASSES, MAX_WORDS_ALONE / (texts * mean))))
    sizes = {name: round(task[name] * share) for name in ("batch_texts", "min_updates", "min_patience")}
    most = round(MAX_WORDS_ALONE / (sizes["batch_texts"] * mean))  # updates; of texts of thousands of words
    return sizes | {
        "passes": passes,
        "patience_epochs": math.ceil(task["patience_epochs"] * passes / task["passes"]),
        "min_updates": max(1, min(sizes["min_updates"], most)),
    }


def linear_sizes(facts: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Of linear models on hashed words: the rows that keep the table within its bytes, given so many labels, too."""
    return length_sizes(facts, config) | {"ngram_rows": ngram_rows(len(facts["labels"]))}


def compact_sizes(facts: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Of `compact`: what thousands of training texts allow, and updates that fit their number and their length."""
    reads, texts = config["task"]["depth"] > 0, facts["examples"]["train"]
    word_order = texts >= WORD_ORDER_TEXTS
    share = min(1.0, LONG_TEXT / min(facts["words"]["train"]["mean"], config["task"]["max_words"]))
    return {
        "hidden_width": READING_WIDTH if reads else WORD_ORDER_WIDTH if word_order else HIDDEN_WIDTH,
        "window_size": int(word_order),
        "passes": max(COMPACT_PASSES[0], round(COMPACT_PASSES[1] * share)),
        "batch_texts": max(COMPACT_BATCH[0], round(COMPACT_BATCH[1] * share)),
        "min_updates": round(max(LEAST_UPDATES, min(COMPACT_UPDATES[0], UPDATES_PER_TEXT * texts) * share)),
        "max_updates": round(COMPACT_UPDATES[1] * share**0.5),
    }


def taught_sizes(facts: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Of what has a teacher, whose texts are many, whatever the number of labelled ones: `compact`'s layers."""
    if "depth" not in config["task"]:
        return {}  # distilled: its layers have one size
    return {"hidden_width": READING_WIDTH if config["task"]["depth"] else TAUGHT_WIDTH, "window_size": 1}


def transformer_sizes(facts: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Of a transformer that is fine-tuned: passes and batches by the number of texts and of labels, and the length.

    A batch is learned from in as many parts as the memory wants.
    """
    texts, limit = facts["examples"]["train"], config["task"]["max_words"]
    mean = min(facts["words"]["train"]["mean"], limit or facts["words"]["train"]["mean"])
    wanted = MIN_UPDATES + UPDATES_PER_LABEL * len(facts["labels"])
    passes = max(PASSES[0], min(PASSES[1], wanted * BATCH_TEXTS[1] / texts, MAX_WORDS_READ / (texts * mean)))
    batch_texts = min(BATCH_TEXTS[1], max(BATCH_TEXTS[0], texts * passes / wanted))
    batch_words = round(min(MAX_BATCH_WORDS, batch_texts * max(1.0, mean)))
    width, layers = encoder_shape(Path(config["paths"]["weights"]))
    # What a word takes while an encoder learns goes with its layers and their width: MPNet took 15 GB for 1,667.
    parts = math.ceil(batch_words * layers * width / (MAX_BATCH_WORDS * LAYERS * WIDTH))
    return {
        "batch_words": batch_words,
        "batch_parts": max(1, parts),
        "passes": round(passes),
        "learn_rate": transformer_rate(width),
    }


def transformer_rate(width: int) -> float:
    """The highest learning rate. It falls with the width to the power of 1.5: 1.5e-4 for 384 values, 5e-5 for 768."""
    return round(LEARN_RATE * min(1.0, WIDTH / width) ** 1.5, 7)


def encoder_shape(folder: Path) -> tuple[int, int]:
    """Values of an encoder's output for a word piece, and its layers; those of MiniLM if the folder does not tell."""
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}

    def first(names: Sequence[str], default: int) -> int:
        return int(next((config[name] for name in names if name in config), default))

    return first(WIDTH_NAMES, WIDTH), first(LAYERS_NAMES, LAYERS)


# Each gives values of the section [task] from the task facts that convert wrote (task.json) and the merged config.
SIZES: dict[str, Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]] = {
    "length": length_sizes,
    "linear": linear_sizes,
    "compact": compact_sizes,
    "taught": taught_sizes,
    "transformer": transformer_sizes,
}
