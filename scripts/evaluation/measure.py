"""Measure what a pipeline costs where it runs: load time, speed, latency, memory, packages to install.

Meant to be a process of its own.

Throughput counts raw strings to labels, tokenization included. The bare tokenizer on the same texts is the limit that
no pipeline on top of it can pass.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.common.cli import UserError, import_factories_late, run_cli
from scripts.common.files import write_json
from scripts.evaluation.installed import SPACY, loaded_packages
from scripts.evaluation.speed import latency, spread, throughput
from scripts.machines.machine import peak_rss_bytes

if TYPE_CHECKING:
    from spacy.language import Language


def hide_torch() -> None:
    """Let spaCy start as on a machine without PyTorch and spacy-transformers.

    Both are imported by every `spacy.load` once they are installed, which takes seconds and hundreds of megabytes.
    A pipeline that does without them is deployed without them, so it is measured without them.
    """
    sys.modules["torch"] = None  # type: ignore[assignment]  # the import system takes None for "not there"
    import_factories_late()


def measure_speed(nlp: "Language", texts: Sequence[str], repeats: int) -> dict[str, float | int | list[float]]:
    """Throughput and latency of a loaded pipeline on `texts`.

    Returns:
        docs/s and words/s (medians over the passes, with the spread of docs/s), the bare tokenizer's docs/s, and the
        50th and 95th percentile of the milliseconds for one document at a time.
    """

    def classify(batch: Iterable[str]) -> None:
        for _ in nlp.pipe(batch):
            pass

    def tokenize(batch: Iterable[str]) -> None:
        for text in batch:
            nlp.make_doc(text)

    words = sum(len(nlp.make_doc(text)) for text in texts) / len(texts)
    docs_per_s = throughput(classify, texts, repeats, "pipeline")
    tokenizer = throughput(tokenize, texts, repeats, "tokenizer")
    return {
        "docs_per_s": round(median(docs_per_s), 1),
        "docs_per_s_spread": spread(docs_per_s),
        "words_per_s": round(median(docs_per_s) * words, 1),
        "tokenizer_docs_per_s": round(median(tokenizer), 1),
        "tokenizer_docs_per_s_spread": spread(tokenizer),
        **latency(nlp, texts),
        "repeats": repeats,
    }


def measure(
    model: Annotated[Path, typer.Argument(help="Pipeline folder.")],
    texts: Annotated[Path, typer.Argument(help="DocBin whose texts are classified.")],
    output: Annotated[Path, typer.Argument(help="JSON file to write.")],
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes.")] = 5,
    code: Annotated[Path | None, typer.Option(help="File with the pipeline's registered functions.")] = None,
    package: Annotated[list[str], typer.Option(help="A package that the pipeline needs besides spaCy.")] = [],  # noqa: B006
    with_torch: Annotated[bool, typer.Option(help="The pipeline needs PyTorch; else it is hidden.")] = False,
) -> None:
    """Measure load time, up to the first answer, throughput, latency, peak memory and the packages of a pipeline."""
    if not with_torch:
        hide_torch()
    import spacy
    from spacy.cli._util import import_code
    from spacy.tokens import DocBin

    import_code(code)
    start = time.perf_counter()
    nlp = spacy.load(model)
    nlp("Some pipelines open what they need when a text comes.")
    load_s = time.perf_counter() - start
    if not (strings := [doc.text for doc in DocBin().from_disk(texts).get_docs(nlp.vocab)]):
        raise UserError(f"{texts}: holds no texts.")
    speed = {"load_s": round(load_s, 3), **measure_speed(nlp, strings, repeats)}
    memory = {"peak_rss_bytes": peak_rss_bytes()}  # before the packages are looked up, which takes some itself
    packages = loaded_packages([SPACY, *package])
    installed = {"bytes": sum(packages.values()), "packages": packages}
    write_json(output, {"speed": speed, "memory": memory, "installed": installed})


if __name__ == "__main__":
    run_cli(measure)
