"""Measure what a pipeline costs where it runs: load time, speed, latency, memory. Meant to be a process of its own.

Throughput counts raw strings to labels, tokenization included. The bare tokenizer on the same texts is the limit that
no pipeline on top of it can pass.
"""

import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from tqdm import tqdm

from scripts.common import UserError, run_cli, write_json

if TYPE_CHECKING:  # spaCy itself is imported only after hide_torch
    from spacy.language import Language

MIN_SECONDS = 1.0  # of one timed pass; shorter ones are mostly noise
MAX_DOCS = 20_000  # of one timed pass
LATENCY_DOCS = 300


def peak_rss_bytes() -> int:
    """The most memory this process has held so far, in bytes."""
    if sys.platform == "linux":
        # ru_maxrss survives exec and would count the parent's memory; the kernel's VmHWM does not.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if platform.system() == "Windows":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def seconds_for(consume: Callable[[Iterable[str]], None], texts: Sequence[str], n_docs: int) -> float:
    """CPU seconds to consume `n_docs` texts, taken in turn from `texts`.

    On an idle machine that is the wall time of a single thread; on a busy one it still is what the work takes.
    """
    batch = list(islice(cycle(texts), n_docs))
    start = time.process_time()
    consume(batch)
    return time.process_time() - start


def throughput(consume: Callable[[Iterable[str]], None], texts: Sequence[str], repeats: int, name: str) -> list[float]:
    """Documents per second of each of `repeats` passes, after a warm-up that also sets the length of a pass."""
    seconds = seconds_for(consume, texts, len(texts))
    seconds = min(seconds, seconds_for(consume, texts, len(texts)))
    n_docs = min(MAX_DOCS, max(len(texts), int(len(texts) * MIN_SECONDS / seconds)))
    passes = tqdm(range(repeats), desc=name, unit=" passes", leave=False)
    return [n_docs / seconds_for(consume, texts, n_docs) for _ in passes]


def spread(rates: Sequence[float]) -> list[float]:
    """Lowest and highest rate."""
    return [round(min(rates), 1), round(max(rates), 1)]


def latency(classify: Callable[[str], Any], texts: Sequence[str]) -> dict[str, float]:
    """The 50th and 95th percentile of the milliseconds that one text at a time takes."""
    milliseconds = []
    for text in tqdm(list(islice(cycle(texts), LATENCY_DOCS)), desc="latency", unit=" docs", leave=False):
        start = time.perf_counter()
        classify(text)
        milliseconds.append((time.perf_counter() - start) * 1000)
    p50, p95 = np.percentile(milliseconds, [50, 95])
    return {"latency_ms_p50": round(float(p50), 3), "latency_ms_p95": round(float(p95), 3)}


def hide_torch() -> None:
    """Let spaCy start as on a machine without PyTorch and spacy-transformers.

    Both are imported by every `spacy.load` once they are installed, which takes seconds and hundreds of megabytes.
    A pipeline that does without them is deployed without them, so it is measured without them.
    """
    sys.modules["torch"] = None
    from spacy.util import registry

    registry._entry_point_factories.entry_points = False


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
    with_torch: Annotated[bool, typer.Option(help="The pipeline needs PyTorch; else it is hidden.")] = False,
) -> None:
    """Measure load time, throughput, latency and peak memory of a pipeline."""
    if not with_torch:
        hide_torch()
    import spacy
    from spacy.cli._util import import_code
    from spacy.tokens import DocBin

    import_code(code)
    start = time.perf_counter()
    nlp = spacy.load(model)
    load_s = time.perf_counter() - start
    if not (strings := [doc.text for doc in DocBin().from_disk(texts).get_docs(nlp.vocab)]):
        raise UserError(f"{texts}: holds no texts.")
    speed = measure_speed(nlp, strings, repeats)
    write_json(output, {"speed": {"load_s": round(load_s, 3), **speed}, "memory": {"peak_rss_bytes": peak_rss_bytes()}})


if __name__ == "__main__":
    run_cli(measure)
