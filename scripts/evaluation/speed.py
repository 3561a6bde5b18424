"""Time a classifier on one thread: throughput, latency, memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from scripts.common.cli import UserError, show_progress
from scripts.common.files import read_json

MIN_SECONDS = 1.0  # of one timed pass; shorter ones are mostly noise
MAX_SECONDS = 10.0  # of one timed pass: of a slow pipeline and long texts, a part must do
PROBE_DOCS = 64
TICK = 1e-4  # seconds: a probe counts as so long at the least
MAX_DOCS = 20_000  # of one timed pass
LATENCY_DOCS = 300
LATENCY_SECONDS = 20.0


def run_measure(script: str, model: Path, texts: Path, repeats: int, *options: str) -> dict[str, Any]:
    """Run a measuring module as a process with a single thread, and return what it wrote.

    Raises:
        UserError: it failed; its own message has been printed.
    """
    libraries = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "BLIS", "RAYON")
    threads = {f"{library}_NUM_THREADS": "1" for library in libraries}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "cost.json"
        command = [sys.executable, "-m", script, str(model), str(texts), str(output), "--repeats", str(repeats)]
        if subprocess.run([*command, *options], env=os.environ | threads, check=False).returncode:
            raise UserError(f"{model}: measuring its speed failed, see the message above.")
        return read_json(output)


def seconds_for(consume: Callable[[Iterable[str]], None], texts: Sequence[str], n_docs: int) -> float:
    """CPU seconds to consume `n_docs` texts, taken in turn from `texts`.

    On an idle machine that is the wall time of a single thread; on a busy one it still is what the work takes.
    """
    batch = list(islice(cycle(texts), n_docs))
    start = time.process_time()
    consume(batch)
    return time.process_time() - start


def throughput(consume: Callable[[Iterable[str]], None], texts: Sequence[str], repeats: int, name: str) -> list[float]:
    """Documents per second of each of `repeats` passes, after a warm-up that also sets the length of a pass.

    A pass takes each text at least once, unless that takes more than `MAX_SECONDS`: then it takes the first of them.
    """
    probe = texts[:PROBE_DOCS]
    # A clock may stand still for 16 ms (Windows).
    rate = len(probe) / max(TICK, min(seconds_for(consume, probe, len(probe)) for _ in range(2)))
    n_docs = min(MAX_DOCS, max(len(texts), int(rate * MIN_SECONDS)), max(len(probe), int(rate * MAX_SECONDS)))
    passes = show_progress(range(repeats), desc=name, unit=" passes")
    return [n_docs / seconds_for(consume, texts, n_docs) for _ in passes]


def spread(rates: Sequence[float]) -> list[float]:
    """Lowest and highest rate."""
    return [round(min(rates), 1), round(max(rates), 1)]


def latency(classify: Callable[[str], Any], texts: Sequence[str]) -> dict[str, float]:
    """The 50th and 95th percentile of the milliseconds that one text at a time takes."""
    milliseconds: list[float] = []
    end = time.perf_counter() + LATENCY_SECONDS
    for text in show_progress(list(islice(cycle(texts), LATENCY_DOCS)), desc="latency", unit=" docs"):
        start = time.perf_counter()
        classify(text)
        milliseconds.append((time.perf_counter() - start) * 1000)
        if time.perf_counter() > end:
            break
    p50, p95 = np.percentile(milliseconds, [50, 95])
    return {"latency_ms_p50": round(float(p50), 3), "latency_ms_p95": round(float(p95), 3)}
