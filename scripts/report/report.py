"""Show where each variant lands on size, speed and accuracy: a table here, report.md, report.svg and report.html.

Reads METRICS/*.json; variants of another data set in the same folder are left out, with a note. Shown beside them, if
they are there: METRICS/peers/*.json, other tools measured on the same split; what grids of runs say
(scripts.report.grids); and, on the page only, the logs and predictions in the training folder.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import altair as alt
import typer
import vl_convert
from wasabi import msg
from weasel.util.config import load_project_config

from scripts.common.cli import UserError, run_cli
from scripts.common.files import format_json, write_texts
from scripts.common.finished import is_of_another
from scripts.common.variants import in_all
from scripts.evaluation.paired import has_answers
from scripts.experiments.pairs import COMPARISON, PAIRED, Runs
from scripts.forms.tables import markdown_table
from scripts.linear.svm import is_large
from scripts.report.grids import comparison_markdown, tuning_chart, tuning_markdown
from scripts.report.page import learning_curves, make_page, task_mode
from scripts.report.results import (
    COST_SIGNS,
    COSTS,
    Results,
    find_tasks,
    format_costs,
    get,
    load_results,
    pareto_front,
    update_block,
)


def find_unfinished(runs: Path, variants: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the variants whose training was begun and that have no metrics, as after a failure."""
    measured = {metrics["variant"] for metrics in variants}
    return sorted({path.parent.name for path in runs.glob("*/config.cfg")} - measured)


def find_strangers(runs: Path, variants: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the variants whose metrics are of another pipeline than the trained one that is there."""
    return [metrics["variant"] for metrics in variants if is_of_another(metrics, runs / metrics["variant"])]


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


def describe_dev(metrics: dict[str, Any]) -> str:
    """What a large dev set means for comparisons; empty for a usual one, or of metrics that do not say."""
    texts = metrics.get("examples", {"train": 1, "dev": 0})
    if not is_large(texts["dev"], texts["train"], len(metrics["scores"].get("per_label", ()))):
        return ""
    train, both = texts["train"], texts["train"] + texts["dev"]
    return (
        f"Dev is large: `linear`, and what carries it, has learned from {both:,} texts, the rest from the {train:,} of "
        "train, so that differences to linear, the gap among them, are not of the models alone. "
    )


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
        + describe_dev(variants[0])
        + describe_machines([*variants, *(peer for peer in results.peers if "env" in peer)]),
    ]
    if doubts := [(name, doubt) for name, said in results.doubts.items() for doubt in said]:
        lines += ["", "**Doubts**: what says that a variant has not learned what it could", ""]
        lines += [f"- {doubt if doubt.startswith(name) else f'{name}: {doubt}'}" for name, doubt in doubts]
    if results.compared:
        lines += ["", comparison_markdown(results.compared).rstrip()]
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


def unmeasured(project: Path, variants: Sequence[dict[str, Any]]) -> list[str]:
    """Variants that the workflow `all` evaluates and of which there are no metrics."""
    names = in_all(load_project_config(project, interpolate=False))
    return [name for name in names if name not in {metrics["variant"] for metrics in variants}]


def draw_tuning(results: Results, dataset: str) -> str | None:
    """The plot of what tuning brings, if anything was tuned."""
    return vl_convert.vegalite_to_svg(tuning_chart(results.tuning, dataset).to_json()) if results.tuning else None


def scores_by_seed(runs: Runs) -> dict[str, dict[int, float]]:
    """Macro-F1 of each variant by seed, of the runs that stand for it."""
    return {name: {run["seed"]: run["scores"]["macro_f1"] for run in own.values()} for name, own in runs.items()}


def write_page(results: Results, dataset: str, training: Path, tuning_svg: str | None, tasks: Sequence[str]) -> str:
    """The page of a data set, with what lies beside its metrics and in its training folder."""
    return make_page(
        results.variants,
        best=pareto_front(results.variants, *COST_SIGNS),
        machines=describe_machines(results.variants),
        peers=results.peers,
        seeds=scores_by_seed(results.runs),
        comparison=results.compared,
        pairs=results.pairs,
        doubts=results.doubts,
        tuning=results.tuning,
        tuning_svg=tuning_svg,
        curves=learning_curves(results.curves),
        missing=find_unfinished(training, results.variants),
        runs=training,
        tasks=tasks if dataset in tasks else (),
    )


def other_pages(metrics: Path, dataset: str, training: Path, tasks: Sequence[str]) -> dict[Path, str | None]:
    """The pages of the other data sets, by their places: each page leads to all others, so they are rewritten, too."""
    texts: dict[Path, str | None] = {}
    for task in tasks if dataset in tasks else ():
        folder = metrics.parent / task
        if task == dataset:
            continue
        try:
            results = load_results(folder, task)
        except UserError as error:
            msg.warn(f"The page of {task} is left as it is. {error}")
            continue
        plot = draw_tuning(results, task)
        texts[folder / "report.html"] = write_page(results, task, training.parent / task, plot, tasks)
    return texts


def report(
    metrics: Annotated[Path, typer.Argument(help="Folder with a JSON file for each variant; report.* go there too.")],
    dataset: Annotated[str, typer.Option(help="Data set to report on.")] = "bbc",
    page: Annotated[Path | None, typer.Option(help="Page whose tables of all to bring up to date.")] = None,
    training: Annotated[Path, typer.Option(help="Folder of its logs and predictions, if any.")] = Path("training"),
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote, if it is there.")] = Path("corpus"),
    project: Annotated[Path | None, typer.Option(help="Folder of a project.yml whose other variants to name.")] = None,
) -> None:
    """Write METRICS/report.md, METRICS/report.svg and METRICS/report.html, and print the table."""
    results = load_results(metrics, dataset, anew=True, corpus=corpus)
    variants = results.variants
    tasks = find_tasks(metrics.parent)
    for name in find_strangers(training, variants):
        msg.warn(
            f"{metrics / name}.json: is not of the pipeline in {training / name}. Measure that one: "
            f"python -m spacy project run evaluate-{name}"
        )
    svg = vl_convert.vegalite_to_svg(make_chart(variants, results.peers).to_json())
    tuning_svg = draw_tuning(results, dataset)
    texts = {
        metrics / "report.svg": svg,
        metrics / "tuning.svg": tuning_svg,
        metrics / "report.md": f"# Results: {dataset}\n\n{make_markdown(results, '')}",
        metrics / "report.html": write_page(results, dataset, training, tuning_svg, tasks),
    }
    tested = {row["name"] for row in results.pairs["rows"]} if results.pairs else set()
    lacking = [one for one in variants if tested and one["variant"] not in tested]
    if old := [one["variant"] for one in lacking if not has_answers(one)]:
        msg.info(
            f"Without paired tests, since an earlier version measured them: {', '.join(old)}. Measure them anew: "
            f"python -m spacy project run evaluate-{old[0]}"
        )
    if new := [one["variant"] for one in lacking if has_answers(one)]:
        msg.info(
            f"Without paired tests with those that an earlier version measured: {', '.join(new)}. They come in once "
            "more variants have been measured anew than were compared before."
        )
    if results.new_pairs:
        texts[metrics / PAIRED / COMPARISON] = format_json(results.pairs) + "\n"
    if page:
        texts[page] = update_block(page, "RESULTS", dataset, make_markdown(results, f"../{metrics.as_posix()}/"))
    texts |= other_pages(metrics, dataset, training, tasks)
    write_texts({path: text for path, text in texts.items() if text is not None})
    mode, heads = task_mode(variants[0]), columns(variants)
    table = make_table(variants) + [format_row(peer, mode) for peer in results.peers]
    msg.table(table, header=heads, divider=True, aligns=("l",) + ("r",) * (len(heads) - 1))
    if results.doubts:
        msg.warn(f"Doubted, see {metrics / 'report.md'}: {', '.join(results.doubts)}")
    if project and (others := unmeasured(project, variants)):
        msg.warn(f"Not measured, because skipped or not run yet: {', '.join(others)}")
    if page and texts[page] is not None:
        msg.good(f"{page}: results of {dataset} brought up to date")
    msg.good(f"{metrics / 'report.html'}, report.md, report.svg: {len(variants)} variant(s)")


if __name__ == "__main__":
    run_cli(report)
