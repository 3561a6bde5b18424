"""Measure what another tool's classifier costs where it runs. Meant to be a process of its own."""

import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Annotated

import srsly
import typer

from scripts.baselines.classifiers import BATCH, MODULES, load_peer
from scripts.common.cli import UserError, run_cli
from scripts.common.files import read_json, write_json
from scripts.evaluation.speed import latency, spread, throughput
from scripts.machines.machine import peak_rss_bytes


def measure_baseline(
    model: Annotated[Path, typer.Argument(help="Folder of the classifier.")],
    texts: Annotated[Path, typer.Argument(help='Texts to label, {"text": …} a line.')],
    output: Annotated[Path, typer.Argument(help="JSON file to write.")],
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes.")] = 5,
) -> None:
    """Measure load time, throughput, latency and peak memory of another tool's classifier."""
    strings = [line["text"] for line in srsly.read_jsonl(texts)]
    if not strings:
        raise UserError(f"{texts}: holds no texts.")
    # The clock of scripts.evaluation.measure starts after the import of spaCy, too.
    for module in MODULES[read_json(model / "peer.json")["kind"]]:
        import_module(module)
    start = time.perf_counter()
    predict = load_peer(model, best_only=True)
    predict(["A first answer, as of spaCy's pipelines."])
    load_s = time.perf_counter() - start

    def classify(batch: Iterable[str]) -> None:
        batch = list(batch)
        for first in range(0, len(batch), BATCH):
            predict(batch[first : first + BATCH])

    docs_per_s = throughput(classify, strings, repeats, model.parent.name)
    speed = {
        "load_s": round(load_s, 3),
        "docs_per_s": round(median(docs_per_s), 1),
        "docs_per_s_spread": spread(docs_per_s),
        **latency(lambda text: predict([text]), strings),
        "repeats": repeats,
    }
    write_json(output, {"speed": speed, "memory": {"peak_rss_bytes": peak_rss_bytes()}})


if __name__ == "__main__":
    run_cli(measure_baseline)
