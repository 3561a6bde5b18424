"""What a pipeline costs that computes nothing: the part of `compact`'s time that no better layer can save.

    python -m benchmarks.overhead training/bbc/compact/model-best corpus/bbc/test.spacy

prints documents per CPU second of one thread, the median of five passes: the tokenizer alone, `nlp.pipe` without a
component, `nlp.pipe` with a textcat whose model gives zeros at once (in batches of the pipeline's size, and in large
ones with and without Python's garbage collector), the pipeline as it is, and as it is if NumPy multiplies its matrices
and not BLIS.
"""

import gc
import sys
from collections.abc import Callable, Iterable
from functools import partial
from statistics import median

from scripts.evaluation.measure import hide_torch
from scripts.evaluation.speed import throughput
from scripts.machines.machine import products_by_numpy

hide_torch()

import numpy  # noqa: E402
import spacy  # noqa: E402
from spacy.cli._util import import_code  # noqa: E402
from spacy.tokens import DocBin  # noqa: E402
from thinc.api import Model  # noqa: E402

PASSES = 5
LARGE = 1024


def main(folder: str, texts: str) -> None:
    """Print the table for a pipeline and the texts of a DocBin."""
    import_code("scripts/components.py")
    nlp = spacy.load(folder)
    strings = [doc.text for doc in DocBin().from_disk(texts).get_docs(nlp.vocab)]
    textcat = nlp.get_pipe("textcat")
    trained, n_labels = textcat.model, len(textcat.labels)
    zeros = Model("zeros", lambda model, docs, is_train: (numpy.zeros((len(docs), n_labels), "float32"), None))

    def rate(name: str, consume: Callable[[Iterable[str]], None]) -> float:
        return median(throughput(consume, strings, PASSES, name))

    def pipe(batch: Iterable[str], size: int | None = None) -> None:
        for _ in nlp.pipe(batch, batch_size=size):
            pass

    pipe_large = partial(pipe, size=LARGE)

    def tokenize(batch: Iterable[str]) -> None:
        for text in batch:
            nlp.make_doc(text)

    rates = {"the tokenizer alone": rate("tokenizer", tokenize)}
    with nlp.select_pipes(disable=nlp.pipe_names):
        rates["`nlp.pipe` without a component"] = rate("empty", pipe)
    textcat.model = zeros
    rates[f"a textcat that gives zeros, {nlp.batch_size} texts a batch"] = rate("zeros", pipe)
    rates[f"the same, {LARGE:,} texts a batch"] = rate("large", pipe_large)
    gc.disable()
    rates["the same, without the garbage collector"] = rate("no gc", pipe_large)
    gc.enable()
    textcat.model = trained
    rates[f"`{folder}`"] = rate("whole", pipe)
    with products_by_numpy(-1):
        nlp = spacy.load(folder)
        rates["the same, products by NumPy"] = rate("numpy", pipe)
    base = next(iter(rates.values()))
    print("| what runs | docs/s | of the tokenizer |\n|:--|--:|--:|")
    for name, value in rates.items():
        print(f"| {name} | {value:,.0f} | {value / base:.0%} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
