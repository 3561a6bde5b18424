"""Show where each variant lands on size, speed and accuracy: a table here, report.md, report.svg and report.html.

Reads METRICS/*.json; variants of another data set in the same folder are left out, with a note. Shown beside them, if
they are there: METRICS/peers/*.json, other tools measured on the same split; what grids of runs say
(scripts.report.grids); and, on the page only, the logs and predictions in the training folder.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import altair as alt
import typer
import vl_convert
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import read_json, write_texts
from scripts.common.finished import is_of_another
from scripts.common.variants import variant_names
from scripts.forms.tables import markdown_table
from scripts.report.grids import SEEDS, comparison_markdown, read_comparison, read_tuning, tuning_chart, tuning_markdown
from scripts.report.page import learning_curves, make_page, read_seeds, task_mode

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
BEST_COSTS = ("size MB", "installed MB", "docs/s", "load s")  # in README
COST_SIGNS = (("size.pipeline_bytes", 1), ("speed.docs_per_s", -1))  # 1: less is better
LADDER = ("bow", "linear", "vectors", "transformer")  # steps that README shows, whether or not another beats them


@dataclass(frozen=True)
class Results:
    """All that there is to report on a data set.

    Attributes:
        variants: their metrics, smallest pipeline first.
        peers: metrics of other tools, most accurate first.
        comparison: what `compare` found, if anything.
        tuning: what tuning brought, if anything was tuned.
    """

    variants: list[dict[str, Any]]
    peers: list[dict[str, Any]]
    comparison: dict[str, Any] | None
    tuning: dict[str, Any] | None


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


def load_metrics(folder: Path, dataset: str) -> list[dict[str, Any]]:
    """Read and check the metrics of all variants trained on a data set, smallest pipeline first.

    Raises:
        UserError: there are none, or a file is broken or lacks a figure.
    """
    found = []
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
        found.append(metrics)
    if not found:
        raise UserError(
            f"{folder}: no metrics of data set {dataset!r}. Train and evaluate a variant first, for example "
            "python -m spacy project run bow"
        )
    return sorted(found, key=lambda metrics: metrics["size"]["pipeline_bytes"])


def load_peers(folder: Path, dataset: str) -> list[dict[str, Any]]:
    """Metrics of other tools on a data set, most accurate first; they may lack figures that only spaCy has."""
    found = [check_metrics(read_json(path), path, PEER_REQUIRED) for path in sorted(folder.glob("*.json"))]
    found = [metrics for metrics in found if metrics["dataset"] == dataset and "fold" not in metrics]
    return sorted(found, key=lambda metrics: -metrics["scores"]["macro_f1"])


def load_results(folder: Path, dataset: str) -> Results:
    """Read all that there is on a data set in a folder of metrics.

    Raises:
        UserError: there are no variants, or a file is broken.
    """
    variants = load_metrics(folder, dataset)
    return Results(
        variants=variants,
        peers=load_peers(folder / "peers", dataset),
        comparison=read_comparison(folder / SEEDS, dataset),
        tuning=read_tuning(folder, dataset, variants),
    )


def find_unfinished(runs: Path, variants: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the variants whose training was begun and that have no metrics, as after a failure."""
    measured = {metrics["variant"] for metrics in variants}
    return sorted({path.parent.name for path in runs.glob("*/config.cfg")} - measured)


def find_strangers(runs: Path | None, variants: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the variants whose metrics are of another pipeline than the trained one that is there."""
    return [metrics["variant"] for metrics in variants if runs and is_of_another(metrics, runs / metrics["variant"])]


def pareto_front(variants: Sequence[dict[str, Any]], *costs: tuple[str, int]) -> set[str]:
    """Names of the variants that no other beats: none is as good in every respect and better in one.

    Args:
        variants: their metrics.
        costs: dotted names beside macro-F1, each with 1 if less is better, -1 if more is.
    """

    def point(metrics: dict[str, Any]) -> tuple[float, ...]:
        return -metrics["scores"]["macro_f1"], *(sign * get(metrics, name) for name, sign in costs)

    points = {metrics["variant"]: point(metrics) for metrics in variants}
    return {
        name
        for name, own in points.items()
        if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in points.values())
    }


def columns(variants: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The heads of the table: which scores, after the kind of the task."""
    f1 = {"binary": "F1 of the label [95 % CI]"}.get(mode := task_mode(variants[0]), "macro-F1 [95 % CI]")
    return ("variant", f1, *(("micro-F1", "whole set right") if mode == "multi" else ("accuracy",)), *COSTS)


def format_scores(metrics: dict[str, Any], mode: str) -> tuple[str, ...]:
    """The cells with scores: F1 with its interval, if any, and accuracy, or, of several labels, micro-F1 as well."""
    scores = metrics["scores"]
    low, high = scores.get("macro_f1_ci") or (None, None)
    others = ("micro_f1", "accuracy") if mode == "multi" else ("accuracy",)
    return (
        f"{scores['macro_f1']:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]"),
        *("" if scores.get(name) is None else f"{scores[name]:.3f}" for name in others),
    )


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


def format_row(metrics: dict[str, Any], mode: str, best: Iterable[str] = ()) -> tuple[str, ...]:
    """The cells of a variant's row, or of another tool's, in which figures may be missing."""
    star = " ★" if metrics["variant"] in best else ""
    return (metrics["variant"] + star, *format_scores(metrics, mode), *format_costs(metrics).values())


def peer_rows(peers: Sequence[dict[str, Any]], mode: str) -> list[tuple[str, ...]]:
    """The rows of other tools below a heading, in italics; none if there are none."""
    rows = [tuple(cell and f"*{cell}*" for cell in format_row(metrics, mode)) for metrics in peers]
    return [("**other tools**", *[""] * (len(rows[0]) - 1)), *rows] if rows else []


def majority_cells(variants: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The name and the scores of always giving the most frequent label (or none)."""
    majority = variants[0]["baseline"]["majority"]
    scores = [f"{majority['macro_f1']:.3f}", f"{majority['accuracy']:.3f}"]
    if task_mode(variants[0]) == "multi":
        scores.insert(1, "")
    name = "majority class" if majority.get("label", "") is not None else "majority: never the label"
    return (name, *scores)


def make_table(variants: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The table's rows: the majority-class baseline, then the variants, those on the Pareto front with a star."""
    best, mode = pareto_front(variants, *COST_SIGNS), task_mode(variants[0])
    return [
        (*majority_cells(variants), *[""] * len(COSTS)),
        *(format_row(metrics, mode, best) for metrics in variants),
    ]


def make_best_table(variants: Sequence[dict[str, Any]]) -> str:
    """README's table as Markdown: what no other variant beats, and the steps of the ladder."""
    shown = pareto_front(variants, *COST_SIGNS) | {*LADDER}
    heads = columns(variants)
    rows = [(*majority_cells(variants)[:2], *[""] * len(BEST_COSTS))]
    for metrics in variants:
        if metrics["variant"] in shown:
            costs = format_costs(metrics)
            f1, *_ = format_scores(metrics, task_mode(metrics))
            rows.append((metrics["variant"], f1, *(costs[name] for name in BEST_COSTS)))
    return markdown_table((*heads[:2], *BEST_COSTS), rows)


def describe_machines(variants: Sequence[dict[str, Any]]) -> str:
    """One sentence on where the figures were measured; a warning if not all on one machine."""
    machines = sorted(
        {
            f"{env.get('cpu', '?')}, {env.get('cores', '?')} cores, Python {env.get('python', '?')}, "
            f"spaCy {get(env, 'packages.spacy') or '?'}"
            for env in (metrics.get("env", {}) for metrics in variants)
        }
    )
    if len(machines) == 1:
        return f"Measured on: {machines[0]}."
    return "Measured on different machines, so compare speed with care: " + "; ".join(machines) + "."


def make_markdown(results: Results, folder: str) -> str:
    """The report's tables, plots and notes; `folder` is where the plots are, as seen from the Markdown file."""
    variants = results.variants
    repeats = sorted({metrics["speed"].get("repeats", 0) for metrics in variants})
    seeds = ", ".join(map(str, sorted({metrics["seed"] for metrics in variants})))
    lines = [
        markdown_table(columns(variants), [*make_table(variants), *peer_rows(results.peers, task_mode(variants[0]))]),
        f"![Macro-F1 against size on disk; colour shows documents per second]({folder}report.svg)",
        "",
        f"Data set {variants[0]['dataset']}, {get(variants[0], 'scores.documents') or '?'} test texts, seed {seeds}. "
        "★: no other variant is as small, as fast and as accurate. Intervals: bootstrap over the test "
        "documents; they do not cover the seed. Speed: documents per CPU second of one thread, tokenization included, "
        f"median of {' or '.join(map(str, repeats))} passes; “of tokenizer” compares with tokenizing alone. Memory: "
        "peak of the process that measures. Installed: the packages that this process needed, spaCy among them. "
        + ("Other tools: settings chosen on dev too, measured in the same way (`baselines`). " if results.peers else "")
        + describe_machines([*variants, *(peer for peer in results.peers if "env" in peer)]),
    ]
    if doubts := [doubt for metrics in variants for doubt in metrics.get("doubts", ())]:
        lines += ["", "**Doubts**", "", *(f"- {doubt}" for doubt in doubts)]
    if results.comparison:
        lines += ["", comparison_markdown(results.comparison).rstrip()]
    if results.tuning:
        lines += ["", tuning_markdown(results.tuning, f"{folder}tuning.svg").rstrip()]
    return "\n".join(lines) + "\n"


def make_chart(variants: Sequence[dict[str, Any]], peers: Sequence[dict[str, Any]] = ()) -> alt.LayerChart:
    """Macro-F1 with its interval against size (log axis), coloured by docs/s; a line joins the Pareto front.

    Other tools are grey and without intervals.
    """
    front = pareto_front(variants, ("size.pipeline_bytes", 1))
    points = [
        {
            "variant": metrics["variant"],
            "size": metrics["size"]["pipeline_bytes"] / 1e6,
            "f1": metrics["scores"]["macro_f1"],
            "low": metrics["scores"]["macro_f1_ci"][0],
            "high": metrics["scores"]["macro_f1_ci"][1],
            "speed": metrics["speed"]["docs_per_s"],
            "front": metrics["variant"] in front,
        }
        for metrics in variants
    ]
    others = [
        {"variant": peer["variant"], "size": peer["size"]["pipeline_bytes"] / 1e6, "f1": peer["scores"]["macro_f1"]}
        for peer in peers
    ]
    sizes = [point["size"] for point in points + others]
    x = alt.X(
        "size:Q", title="size on disk, MB", scale=alt.Scale(type="log", domain=[min(sizes) / 1.6, max(sizes) * 2])
    )
    y = alt.Y("f1:Q", title="macro-F1 on test", scale=alt.Scale(zero=False))
    base = alt.Chart(alt.Data(values=points))
    line = base.transform_filter("datum.front").mark_line(color="#999", strokeDash=[4, 3]).encode(x=x, y=y)
    interval = base.mark_rule(color="#888").encode(
        x=x, y=alt.Y("low:Q", title="macro-F1 on test", scale=alt.Scale(zero=False)), y2="high:Q"
    )
    dots = base.mark_circle(size=160, opacity=1).encode(
        x=x,
        y=y,
        color=alt.Color("speed:Q", title="docs/s", scale=alt.Scale(type="log", scheme="viridis", reverse=True)),
        stroke=alt.condition("datum.front", alt.value("black"), alt.value("white")),
    )
    names = base.mark_text(align="left", dx=10, dy=-6, fontSize=12).encode(x=x, y=y, text="variant:N")
    layers = [line, interval, dots, names]
    if others:
        base = alt.Chart(alt.Data(values=others)).encode(x=x, y=y)
        grey = base.mark_circle(size=110, color="#aaa", opacity=1)
        layers = [grey, base.mark_text(dy=15, color="#888").encode(text="variant:N"), *layers]
    return alt.layer(*layers).properties(
        width=640, height=380, background="white", title=f"Accuracy and size, {variants[0]['dataset']}"
    )


def update_block(page: Path, kind: str, dataset: str, markdown: str) -> str | None:
    """The text of a page with what stands between a data set's markers replaced; None if it has no such markers."""
    start, end = f"<!-- {kind} {dataset}: generated by `report` -->", f"<!-- {kind} {dataset}: end -->"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if start not in text or end not in text:
        return None
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n{markdown}{end}{after}"


def unmeasured(project: Path, variants: Sequence[dict[str, Any]]) -> list[str]:
    """Variants that project.yml can evaluate and of which there are no metrics."""
    return [name for name in variant_names(project) if name not in {metrics["variant"] for metrics in variants}]


def report(
    metrics: Annotated[Path, typer.Argument(help="Folder with a JSON file for each variant; report.* go there too.")],
    dataset: Annotated[str, typer.Option(help="Data set to report on.")] = "bbc",
    readme: Annotated[Path | None, typer.Option(help="Page whose table of the best to bring up to date.")] = None,
    page: Annotated[Path | None, typer.Option(help="Page whose tables of all to bring up to date.")] = None,
    training: Annotated[Path, typer.Option(help="Folder of its logs and predictions, if any.")] = Path("training"),
    project: Annotated[Path | None, typer.Option(help="Folder of a project.yml whose other variants to name.")] = None,
) -> None:
    """Write METRICS/report.md, METRICS/report.svg and METRICS/report.html, and print the table."""
    results = load_results(metrics, dataset)
    variants = results.variants
    for name in find_strangers(training, variants):
        msg.warn(
            f"{metrics / name}.json: is not of the pipeline in {training / name}. Measure that one: "
            f"python -m spacy project run evaluate-{name}"
        )
    svg = vl_convert.vegalite_to_svg(make_chart(variants, results.peers).to_json())
    tuning_svg = vl_convert.vegalite_to_svg(tuning_chart(results.tuning, dataset).to_json()) if results.tuning else None
    html = make_page(
        variants,
        best=pareto_front(variants, *COST_SIGNS),
        machines=describe_machines(variants),
        peers=results.peers,
        seeds=read_seeds(metrics, dataset),
        comparison=results.comparison,
        tuning=results.tuning,
        tuning_svg=tuning_svg,
        curves=learning_curves(metrics / "curve"),
        missing=find_unfinished(training, variants),
        runs=training,
    )
    texts = {
        metrics / "report.svg": svg,
        metrics / "tuning.svg": tuning_svg,
        metrics / "report.md": f"# Results: {dataset}\n\n{make_markdown(results, '')}",
        metrics / "report.html": html,
    }
    if readme:
        texts[readme] = update_block(readme, "BEST", dataset, make_best_table(variants))
    if page:
        texts[page] = update_block(page, "RESULTS", dataset, make_markdown(results, f"../{metrics.as_posix()}/"))
    write_texts({path: text for path, text in texts.items() if text is not None})
    mode, heads = task_mode(variants[0]), columns(variants)
    table = make_table(variants) + [format_row(peer, mode) for peer in results.peers]
    msg.table(table, header=heads, divider=True, aligns=("l",) + ("r",) * (len(heads) - 1))
    if project and (others := unmeasured(project, variants)):
        msg.warn(f"Not measured, because skipped or not run yet: {', '.join(others)}")
    for path in (readme, page):
        if path and texts[path] is not None:
            msg.good(f"{path}: results of {dataset} brought up to date")
    msg.good(f"{metrics / 'report.html'}, report.md, report.svg: {len(variants)} variant(s)")


if __name__ == "__main__":
    run_cli(report)
