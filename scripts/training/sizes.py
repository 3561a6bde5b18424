"""How large a model is: rules from the size of the task, named in a variant's config (`[variant] sizes`)."""

from collections.abc import Callable
from typing import Any

# A linear model stores 4 bytes for each label and row. This leaves the pipeline well below 10 MB.
LINEAR_MODEL_BYTES = 8_000_000
MAX_NGRAM_ROWS = 262_144  # spaCy's default; more rows than this brought nothing
# From so many training texts on, `compact` learns from the order of words, too: see configs/compact.cfg.
WORD_ORDER_TEXTS = 4000
WORD_ORDER_ROWS = 8192  # for 77 labels 2.5 MB
# Units of its layer: many phrases need many; few texts teach no more than some.
HIDDEN_WIDTH, WORD_ORDER_WIDTH = 128, 512


def ngram_rows(n_labels: int) -> int:
    """Rows of the hashed table of `TextCatBOW.v3`, a power of two (it would round up to one anyway)."""
    rows = MAX_NGRAM_ROWS
    while rows > 1 and rows * n_labels * 4 > LINEAR_MODEL_BYTES:
        rows //= 2
    return rows


def linear_sizes(facts: dict[str, Any]) -> dict[str, Any]:
    """Of linear models on hashed words: the rows that keep the table within its bytes, given so many labels."""
    return {"ngram_rows": ngram_rows(len(facts["labels"]))}


def compact_sizes(facts: dict[str, Any]) -> dict[str, Any]:
    """Of `compact`: what thousands of training texts allow."""
    word_order = facts["examples"]["train"] >= WORD_ORDER_TEXTS
    return {
        "hidden_width": WORD_ORDER_WIDTH if word_order else HIDDEN_WIDTH,
        "window_size": int(word_order),
        "ngram_rows": min(ngram_rows(len(facts["labels"])), WORD_ORDER_ROWS) if word_order else 0,
        "learn_rate": 0.002 if word_order else 0.001,
    }


# Each gives values of the section [task] from the task facts that convert wrote (corpus/task.json).
SIZES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"linear": linear_sizes, "compact": compact_sizes}
