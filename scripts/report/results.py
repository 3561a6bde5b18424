"""What has been measured on a data set: the files of metrics, checked, and what was found by comparing them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wasabi import msg

from scripts.common.cli import UserError
from scripts.common.files import read_any, read_json
from scripts.evaluation.paired import (
    as_good_as_best,
    find_ends,
    find_worse,
    has_answers,
    label_matrices,
    mean_and_std,
)
from scripts.evaluation.provenance import labelled, labelled_now
from scripts.evaluation.scores import constant_f1, even_documents
from scripts.experiments.curves import read_curves
from scripts.experiments.pairs import SEEDS, Runs, compare_variants, find_runs, is_run
from scripts.report.grids import read_comparison, read_tuning
from scripts.report.page import flatten

REQUIRED = {
    "variant": str,
    "dataset": str,
    "seed": int,
    "scores.macro_f1": float,
    "scores.accuracy": float,
    "scores.macro_f1_ci": list,
    "baseline.majority.macro_f1": float,
    "baseline.majority.accuracy": float,
    "size.pipeline_bytes": int,
    "size.vectors_bytes": int,
    "speed.docs_per_s": float,
    "speed.tokenizer_docs_per_s": float,
    "speed.load_s": float,
    "speed.latency_ms_p50": float,
    "speed.latency_ms_p95": float,
    "memory.peak_rss_bytes": int,
    "train.seconds": float,
}
PEER_REQUIRED = {name: REQUIRED[name] for name in ("variant", "dataset", "scores.macro_f1", "size.pipeline_bytes")}
COSTS = (
    "size MB", "installed MB", "docs/s", "of tokenizer", "latency ms p50 / p95", "load s", "memory MB", "training s",
)  # fmt: skip
COST_SIGNS = (("size.pipeline_bytes", 1), ("speed.docs_per_s", -1))  # 1: less is better


@dataclass(frozen=True)
class Results:
    """All that there is to report on a data set.

    Attributes:
        variants: their metrics, smallest pipeline first.
        peers: metrics of other tools, most accurate first.
        comparison: what `compare` found, if anything.
        tuning: what tuning brought, if anything was tuned.
        pairs: the paired tests of all variants, if there are any (scripts.experiments.pairs).
        new_pairs: whether these are to be written.
        runs: that stand for each variant, see `find_runs`.
        doubts: about each variant, see `find_doubts`.
        curves: what `train-curve` has written.
    """

    variants: list[dict[str, Any]]
    peers: list[dict[str, Any]]
    comparison: dict[str, Any] | None
    tuning: dict[str, Any] | None
    pairs: dict[str, Any] | None = None
    new_pairs: bool = False
    runs: Runs = field(default_factory=dict)
    doubts: dict[str, list[str]] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)

    @property
    def compared(self) -> dict[str, Any] | None:
        """What has differences to show: the paired tests of all, unless what they are to has been measured anew."""
        return self.pairs if self.pairs and self.pairs["reference"] else self.comparison


def get(metrics: dict[str, Any], name: str) -> Any:
    """The value of a dotted name, or None."""
    value: Any = metrics
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def check_metrics(metrics: dict[str, Any], path: Path, required: dict[str, type]) -> dict[str, Any]:
    """The contents of a metrics file, once it holds what is required.

    Raises:
        UserError: it was renamed, or lacks a figure.
    """
    for name, kind in required.items():
        value = get(metrics, name)
        numeric = kind is float and isinstance(value, int) and not isinstance(value, bool)
        finite = not isinstance(value, float) or math.isfinite(value)
        if not (isinstance(value, kind) or numeric) or not finite:
            raise UserError(
                f"{path}: `{name}` is missing or not of type {kind.__name__}. "
                f"Measure again: python -m spacy project run evaluate-{path.stem}"
            )
    if metrics["variant"] != path.stem:
        raise UserError(f"{path}: holds the metrics of {metrics['variant']!r}. The file was renamed; undo that.")
    return metrics


def load_metrics(folder: Path, dataset: str, corpus: Path | None = None) -> list[dict[str, Any]]:
    """Read and check the metrics of all variants trained on a data set, smallest pipeline first.

    Those that were measured on other labelled texts than are in its corpus now, if that is named, are left out, unless
    there are no others.

    Raises:
        UserError: there are none, or a file is broken or lacks a figure.
    """
    found, earlier = [], list[dict[str, Any]]()
    now = labelled_now(corpus) if corpus else {}
    for path in sorted(folder.glob("*.json")):
        metrics = read_json(path)
        if reason := metrics.get("skipped"):
            msg.info(f"{path.stem}: skipped. {reason}")
            continue
        check_metrics(metrics, path, REQUIRED)
        if metrics["dataset"] != dataset:
            msg.warn(f"{path}: left out, it was measured on {metrics['dataset']}, not on {dataset}.")
            continue
        if fold := metrics.get("fold"):
            msg.warn(
                f"{path}: left out, it was measured on fold {fold['number']} of {fold['of']}, not on the test set."
            )
            continue
        if now and labelled(metrics.get("env", {}).get("corpus_md5", now)) != now:
            earlier.append(metrics)
            continue
        found.append(metrics)
    if earlier:
        names = ", ".join(metrics["variant"] for metrics in earlier)
        left_out = "left out, " if found else ""
        msg.warn(
            f"{folder}: {left_out}measured before the texts of the data set were changed: {names}. "
            f"Measure them anew: python -m spacy project run {earlier[0]['variant']} . --vars.dataset {dataset}"
        )
        found = found or earlier
    if not found:
        raise UserError(
            f"{folder}: no metrics of data set {dataset!r}. Train and evaluate a variant first, for example "
            "python -m spacy project run bow"
        )
    return sorted(found, key=lambda metrics: metrics["size"]["pipeline_bytes"])


def find_doubts(variants: Sequence[dict[str, Any]], runs: Runs) -> dict[str, list[str]]:
    """What says that a variant has not learned what it could, by variant; none of what there is no doubt about.

    Args:
        variants: their metrics, with the sentences that `evaluate` wrote.
        runs: of the grid with several seeds, if any: of these, those that have learned nothing.
    """
    found = {metrics["variant"]: list(metrics.get("doubts", ())) for metrics in variants}
    for name, own in runs.items():
        said = found.setdefault(name, [])
        failed = [run for run in own.values() if run["scores"]["macro_f1"] <= constant_f1(run)]
        if len(own) > 1 and failed:
            seeds = ", ".join(f"{run['seed']} ({run['scores']['macro_f1']:.3f})" for run in failed)
            said.append(f"{name} has learned nothing with {len(failed)} of {len(own)} seeds: {seeds}.")
    return {name: said for name, said in found.items() if said}


def load_peers(folder: Path, dataset: str) -> list[dict[str, Any]]:
    """Metrics of other tools on a data set, most accurate first; they may lack figures that only spaCy has."""
    found = [check_metrics(read_json(path), path, PEER_REQUIRED) for path in sorted(folder.glob("*.json"))]
    found = [metrics for metrics in found if metrics["dataset"] == dataset and "fold" not in metrics]
    return sorted(found, key=lambda metrics: -metrics["scores"]["macro_f1"])


def load_results(folder: Path, dataset: str, anew: bool = False, corpus: Path | None = None) -> Results:
    """Read all that there is on a data set in a folder of metrics.

    Args:
        folder: of the metrics.
        dataset: its name.
        anew: whether to make the paired tests that there are not yet.
        corpus: of the data set; what was measured on other texts than are in it now does not count.

    Raises:
        UserError: there are no variants, or a file is broken.
    """
    variants = load_metrics(folder, dataset, corpus)
    runs = find_runs(folder, dataset, variants, quiet=not anew)
    pairs, new = compare_variants(folder, dataset, runs, anew)
    return Results(
        variants=variants,
        peers=load_peers(folder / "peers", dataset),
        comparison=read_comparison(folder / SEEDS, dataset),
        tuning=read_tuning(folder, dataset, variants),
        pairs=pairs,
        new_pairs=new,
        runs=runs,
        doubts=find_doubts(variants, runs),
        curves=read_curves(folder / "curve", labelled_now(corpus) if corpus else {}),
    )


@dataclass(frozen=True)
class Task:
    """A data set with all that stands for each of its variants: over the seeds, where several were run.

    Attributes:
        name: of the data set.
        runs: metrics of the runs that count, by variant, smallest pipeline first.
        costs: the figures of each variant, of the single run if there is one; `f1` is the mean over its runs.
        worse: names of those that a variant is worse than, by more than chance.
        pairs: the paired tests, if there are any.
        gap: from what labels alone give to the best transformer, see `find_gap`; untested, without `low` and `high`,
            where there are no paired tests.
        shares: of the gap, see `find_share`; an untested one has no interval.
        skipped: why, by variant.
    """

    name: str
    runs: dict[str, list[dict[str, Any]]]
    costs: dict[str, dict[str, Any]]
    worse: dict[str, list[str]]
    pairs: dict[str, Any] | None
    gap: dict[str, Any]
    shares: dict[str, dict[str, Any]]
    skipped: dict[str, str]

    @property
    def documents(self) -> int:
        """Test texts."""
        return next(iter(self.runs.values()))[0]["scores"].get("documents", 0)

    @property
    def even_documents(self) -> float:
        """Test texts that, evenly spread over the labels, would tell as much; all, if the answers are not known."""
        run = next(iter(self.runs.values()))[0]
        return even_documents(label_matrices(run)[0].sum(0).tolist()) if has_answers(run) else self.documents

    @property
    def scores(self) -> dict[str, float]:
        """Macro-F1 on test by variant."""
        return {name: cost["f1"] for name, cost in self.costs.items()}

    def is_paired(self) -> bool:
        """Whether there are paired tests of all variants."""
        return {row["name"] for row in self.pairs["rows"]} >= self.runs.keys() if self.pairs else False

    def best(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The most accurate variant, and all that are as good, smallest first."""
        return as_good_as_best(list(self.costs.values()), self.scores, self.worse)


def untested_gap(runs: dict[str, list[dict[str, Any]]], costs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The gap where there is no paired test: real if the lower end lies below the interval of the upper one."""
    gap = find_ends(runs)
    if "missing" in gap:
        return gap
    return gap | {"real": gap["points"] > 0 and costs[gap["blank"]]["f1"] < costs[gap["transformer"]]["low"]}


def load_task(folder: Path, dataset: str, anew: bool = False, corpus: Path | None = None) -> tuple[Task, Results]:
    """A data set, from its folder of metrics; see `load_results` for arguments and errors."""
    results = load_results(folder, dataset, anew, corpus)
    runs = results.runs
    single = {metrics["variant"]: metrics for metrics in results.variants}
    costs = {}
    for name, own in runs.items():
        flat = flatten(single.get(name) or next(iter(own.values())))
        costs[name] = flat | {"f1": mean_and_std([run["scores"]["macro_f1"] for run in own.values()])[0]}
    order = sorted(costs, key=lambda name: costs[name]["size"])
    lists = {name: list(runs[name].values()) for name in order}
    pairs = results.pairs
    gap = pairs["gap"] if pairs and "missing" not in pairs["gap"] else untested_gap(lists, costs)
    shares = {row["name"]: row["share"] for row in pairs["rows"] if row["share"]} if pairs else {}
    if gap.get("real"):
        base = costs[gap["blank"]]["f1"]
        shares |= {n: {"value": (costs[n]["f1"] - base) / gap["points"]} for n in order if n not in shares}
    task = Task(
        name=dataset,
        runs=lists,
        costs={name: costs[name] for name in order},
        worse=find_worse(list(costs.values()), pairs),
        pairs=pairs,
        gap=gap,
        shares=shares,
        skipped={
            path.stem: metrics["skipped"]
            for path in sorted(folder.glob("*.json"))
            if (metrics := read_json(path)).get("skipped")
        },
    )
    return task, results


def find_tasks(root: Path) -> list[str]:
    """Names of the data sets that have metrics in a folder of their own, METRICS/NAME."""
    return sorted({path.parent.name for path in root.glob("*/*.json") if is_run(read_any(path), path.parent.name)})


def unbeaten(points: dict[str, tuple[float, ...]]) -> set[str]:
    """Names of the points that no other beats: none is as low in every respect and lower in one."""
    return {
        name
        for name, own in points.items()
        if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in points.values())
    }


def pareto_front(variants: Sequence[dict[str, Any]], *costs: tuple[str, int]) -> set[str]:
    """Names of the variants that no other beats: none is as good in every respect and better in one.

    Args:
        variants: their metrics.
        costs: dotted names beside macro-F1, each with 1 if less is better, -1 if more is.
    """

    def point(metrics: dict[str, Any]) -> tuple[float, ...]:
        return -metrics["scores"]["macro_f1"], *(sign * get(metrics, name) for name, sign in costs)

    return unbeaten({metrics["variant"]: point(metrics) for metrics in variants})


def format_costs(metrics: dict[str, Any]) -> dict[str, str]:
    """The cells with costs by their column's head; empty where a figure is missing."""

    def cell(form: str, *names: str, divisor: float = 1) -> str:
        values = [get(metrics, name) for name in names]
        return "" if None in values else form.format(*(value / divisor for value in values))

    speed, tokenizer = (get(metrics, f"speed.{name}") for name in ("docs_per_s", "tokenizer_docs_per_s"))
    return {
        "size MB": cell("{:.1f}", "size.pipeline_bytes", divisor=1e6),
        "installed MB": cell("{:,.0f}", "installed.bytes", divisor=1e6),
        "docs/s": cell("{:,.0f}", "speed.docs_per_s"),
        "of tokenizer": f"{100 * speed / tokenizer:.2g} %" if speed and tokenizer else "",
        "latency ms p50 / p95": cell("{:.2f} / {:.2f}", "speed.latency_ms_p50", "speed.latency_ms_p95"),
        "load s": cell("{:.2f}", "speed.load_s"),
        "memory MB": cell("{:.0f}", "memory.peak_rss_bytes", divisor=1e6),
        "training s": cell("{:.0f}", "train.seconds"),
    }


def update_block(
    page: Path, kind: str, dataset: str, markdown: str, command: str = "report", text: str | None = None
) -> str | None:
    """The text of a page with what stands between a data set's markers replaced; None if it has no such markers.

    Args:
        page: its file.
        kind: what the markers begin with.
        dataset: the name in the markers.
        markdown: what to put between them.
        command: that in the markers.
        text: of the page, if it is not the file's any more.
    """
    start, end = f"<!-- {kind} {dataset}: generated by `{command}` -->", f"<!-- {kind} {dataset}: end -->"
    if text is None:
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if start not in text or end not in text:
        return None
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n{markdown}{end}{after}"
