"""All tasks that have metrics beside each other: METRICS/board.md, board.json and board.svg, and the tables of pages.

What stands for a variant on a task, and by which rule one is as good as another: scripts.report.results and
scripts.evaluation.paired.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import altair as alt
import typer
import vl_convert
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import format_json, write_texts
from scripts.evaluation.paired import (
    BLANK,
    SMALL,
    describe_gap,
    format_share,
    is_transformer,
    mean_and_std,
    mean_share,
    name_test,
    why_no_gap,
)
from scripts.forms.tables import markdown_table
from scripts.report.page import format_number
from scripts.report.results import Task, find_tasks, load_task, unbeaten, update_block

README_ROWS = 11
LADDER = ("bow", "linear", "vectors", "transformer")  # always in README: what each step brings
COLUMNS = 3  # of panels in the picture
KINDS = {"labels": "#d9480f", "knowledge": "#0a6c74", "transformer": "#5c4b9b"}  # what variants learn from: colours
TICKS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
ROOM = 0.07  # of a panel's height: between two names
COMMAND = "board"  # in the markers of pages


def load_tasks(root: Path, corpora: Path | None = None) -> list[Task]:
    """All tasks below a folder of metrics that can be read; the others are named.

    Args:
        root: the folder.
        corpora: folder of their corpora, CORPORA/NAME; what was measured on other texts than are there does not count.

    Raises:
        UserError: there is none.
    """
    tasks = []
    for name in find_tasks(root):
        try:
            tasks.append(load_task(root / name, name, corpus=corpora / name if corpora else None)[0])
        except UserError as error:
            msg.warn(f"{name}: not on the board. {error}")
    if not tasks:
        raise UserError(
            f"{root}: no metrics of any data set. Train and evaluate a variant first, for example "
            "python -m spacy project run bow"
        )
    return tasks


def all_variants(tasks: Sequence[Task]) -> list[str]:
    """The variants that were measured on any task, the smallest first (median size over tasks)."""
    names = list(dict.fromkeys(name for task in tasks for name in task.runs))
    sizes = {name: median(task.costs[name]["size"] for task in tasks if name in task.costs) for name in names}
    return sorted(names, key=lambda name: (sizes[name], name))


# Figures


def score_cell(task: Task, name: str) -> str:
    """Macro-F1, with its spread over seeds if there are several; bold if no worse than the best by more than chance."""
    if name not in task.runs:
        return "–" if name in task.skipped else ""
    mean, std = mean_and_std([run["scores"]["macro_f1"] for run in task.runs[name]])
    text = f"{mean:.3f}" + (f" ± {std:.3f}" if len(task.runs[name]) > 1 else "")
    _, good = task.best()
    return f"**{text}**" if name in {cost["name"] for cost in good} else text


def standing(task: Task, name: str) -> str:
    """Where a variant stands to the two ends of the gap, see `STANDINGS`; empty without a gap."""
    if name not in task.runs or not task.gap.get("real"):
        return ""
    blank, top = task.gap["blank"], task.gap["transformer"]
    if name in task.worse[top]:
        return "> transformer"
    if top not in task.worse[name]:
        return "≈ transformer"
    if name in task.worse[blank]:
        return "between"
    return "< labels" if blank in task.worse[name] else "≈ labels"


STANDINGS = (
    "“> transformer”: better than the best transformer by more than chance; “≈ transformer”: no such difference; "
    "“between”: worse than it, and better than labels alone; “≈ labels”: no better than that; "
    "“< labels”: worse than that."
)


def shares_over_tasks(tasks: Sequence[Task], name: str) -> tuple[dict[str, float], int] | None:
    """The mean share of the gap over the tasks that have a gap and the variant, and their number; None without any."""
    shares = [task.shares[name] for task in tasks if name in task.shares]
    return (mean_share(shares), len(shares)) if shares else None


def complete_block(tasks: Sequence[Task]) -> tuple[list[Task], set[str]]:
    """The tasks and variants with no gap in the table that they span, as many cells as can be.

    Ranks mean the same only among the same variants (Demšar 2006, "Statistical comparisons of classifiers over multiple
    data sets").
    """
    candidates = {frozenset(task.runs) for task in tasks}
    while more := {a & b for a in candidates for b in candidates} - candidates:
        candidates |= more

    def members(names: frozenset[str]) -> list[Task]:
        return [task for task in tasks if names <= task.runs.keys()]

    best = max(candidates, key=lambda names: (len(names) * len(members(names)), len(members(names)), sorted(names)))
    return members(best), set(best)


def mean_ranks(tasks: Sequence[Task], names: set[str]) -> dict[str, float]:
    """Rank by macro-F1 among the variants named, 1 for the best, ties sharing; averaged over tasks."""

    def rank(task: Task, name: str) -> float:
        own = task.scores[name]
        others = [task.scores[other] for other in names if other != name]
        return 1 + sum(score > own for score in others) + sum(score == own for score in others) / 2

    return {name: mean_and_std([rank(task, name) for task in tasks])[0] for name in sorted(names)}


def value_range(values: Sequence[float | None]) -> str:
    """The lowest and the highest of what is known, or one number."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = format_number(min(known)), format_number(max(known))
    return low if low == high else f"{low}–{high}"


def cost_cells(tasks: Sequence[Task], name: str) -> tuple[str, str, str]:
    """Size, throughput and packages of a variant over the tasks."""
    costs = [task.costs[name] for task in tasks if name in task.costs]
    size, speed, installed = ([cost[key] for cost in costs] for key in ("size", "speed", "installed"))
    return value_range(size), value_range(speed), value_range(installed)


def share_cell(tasks: Sequence[Task], name: str, of: int) -> str:
    """The mean share of the gap, and over how many tasks if not over all `of` that have a gap."""
    found = shares_over_tasks(tasks, name)
    if not found:
        return ""
    return format_share(found[0]) + (f" ({found[1]} of {of})" if found[1] < of else "")


def on_front(task: Task) -> set[str]:
    """The variants that no other beats on a task: none is as small and as accurate, and more of one."""
    return unbeaten({name: (cost["size"], -cost["f1"]) for name, cost in task.costs.items()})


def readme_variants(tasks: Sequence[Task]) -> list[str]:
    """The rows of README: the steps of the ladder, then what is on the front of most of the tasks that have it."""
    names = all_variants(tasks)

    def rate(name: str) -> float:
        own = [task for task in tasks if name in task.runs]
        # One more without it: what was measured on one task only shall not stand before what has proved itself on five.
        return sum(name in on_front(task) for task in own) / (len(own) + 1)

    shares = {name: found[0]["value"] for name in names if (found := shares_over_tasks(tasks, name))}
    ranked = sorted(names, key=lambda name: (name not in LADDER, -rate(name), -shares.get(name, -math.inf)))
    return [name for name in names if name in ranked[:README_ROWS]]


# Pages


def score_table(tasks: Sequence[Task], names: Sequence[str]) -> str:
    """Variants and tasks: macro-F1, the share of the gap, and what it costs."""
    gaps = sum(bool(task.gap.get("real")) for task in tasks)
    header = ["variant", *(task.name for task in tasks), *(["share of the gap"] if gaps else []), "size MB"]
    header += ["docs/s", "installed MB"]
    rows = []
    for name in names:
        size, speed, packages = cost_cells(tasks, name)
        cells = [name, *(score_cell(task, name) for task in tasks)]
        rows.append([*cells, *([share_cell(tasks, name, gaps)] if gaps else []), size, speed, packages])
    return markdown_table(header, rows)


def describe_scores(tasks: Sequence[Task]) -> str:
    """How to read the table of scores."""
    grids = {task.name: {len(runs) for runs in task.runs.values()} for task in tasks}
    tested = [task.name for task in tasks if task.is_paired()]
    text = "Macro-F1 on test; "
    text += (
        "± standard deviation where several seeds were run, else one seed. "
        if any(max(seeds) > 1 for seeds in grids.values())
        else "one seed each. "
    )
    text += "**Bold**: not worse than the best of the task by more than chance ("
    if len(tested) == len(tasks):
        text += "by paired tests on the same test texts, not corrected for their number). "
    elif any(task.pairs for task in tasks):
        text += f"by paired tests of all variants on {', '.join(tested)}; on the others " if tested else ""
        text += "by paired tests where there are such, else by the interval of the best). "
    else:
        text += "by the interval of the best: there are no paired tests yet). "
    if any(task.skipped for task in tasks):
        text += "–: cannot be done on this task. "
    return text + "Sizes and speeds: the range over the tasks; speed of one CPU thread, on machines that may differ."


def describe_share(tasks: Sequence[Task]) -> str:
    """What the share of the gap is, and where there is none."""
    real = [task for task in tasks if task.gap.get("real")]
    without = [task for task in tasks if not task.gap.get("real")]
    text = (
        "Share of the gap: (variant - labels alone) / (best transformer - labels alone), "
        f"averaged over {', '.join(task.name for task in real) or 'no task'}"
    )
    if real and all("low" in task.gap for task in real):
        text += "; in brackets its 95 % interval, by bootstrap over test documents and seeds"
    elif real:
        text += "; untested where it has no interval"
    text += (
        f". Labels alone: {BLANK[0]}, or without it the best on dev of {', '.join(BLANK[1:])}; the best transformer "
        f"(a whole one, not {', '.join(SMALL)}) is chosen on dev"
    )
    ends: dict[str, list[str]] = {}
    for task in real:
        ends.setdefault(task.gap["transformer"], []).append(task.name)
    if len(ends) > 1:
        text += ": " + "; ".join(f"{name} on {', '.join(of)}" for name, of in sorted(ends.items()))
    text += f". (n of {len(real)}): the mean is over n of these tasks." if len(real) > 1 else "."
    for task in without:
        text += f" {task.name}: {describe_gap(task.gap)}"
    return text


def caption(tasks: Sequence[Task]) -> str:
    """How to read README's results; the whole of it is in METRICS/board.md."""
    real = [task.name for task in tasks if task.gap.get("real")]
    text = (
        "Macro-F1 on test, ± its standard deviation where there are several seeds. **Bold**: as good as the best of "
        "the column, that is, not worse by more than chance. Sizes and speeds: range over the tasks; one CPU thread."
    )
    if real:
        text += (
            f" Share of the gap: how far it is from labels alone (`{BLANK[0]}`, 0 %) to the best transformer (100 %), "
            f"the mean over {', '.join(real)}, with its 95 % interval where it is tested."
        )
        if without := [task.name for task in tasks if task.name not in real]:
            text += f" {', '.join(without)}: no transformer was measured, or none is better than labels alone for sure."
    return text


def readme_table(tasks: Sequence[Task]) -> str:
    """README's results."""
    return f"{score_table(tasks, readme_variants(tasks))}\n{caption(tasks)}\n"


def share_table(tasks: Sequence[Task], names: Sequence[str]) -> str:
    """Variants and tasks: the share of the gap, and how each stands to its ends."""
    own = [task for task in tasks if task.gap.get("real")]
    rows = [
        [name, *(" ".join(filter(None, (format_share(task.shares.get(name)), standing(task, name)))) for task in own)]
        for name in names
    ]
    return markdown_table(["variant", *(task.name for task in own)], rows)


def rank_table(tasks: Sequence[Task]) -> str:
    """Mean ranks over the largest part of the table without a hole, best first."""
    block, names = complete_block(tasks)
    ranks = mean_ranks(block, names)
    rows = [[name, f"{rank:.1f}"] for name, rank in sorted(ranks.items(), key=lambda item: (item[1], item[0]))]
    where = ", ".join(task.name for task in block)
    table = markdown_table(["variant", "mean rank"], rows)
    return f"{table}\n1 is the best of {len(names)}; over {where}, the variants that were measured on all of these.\n"


def make_board(tasks: Sequence[Task]) -> str:
    """METRICS/board.md."""
    names = all_variants(tasks)
    lines = ["# All tasks", "", score_table(tasks, names), describe_scores(tasks), ""]
    lines += ["![Macro-F1 against size, a panel for each task](board.svg)", "", "## Share of the gap", ""]
    if any(task.gap.get("real") for task in tasks):
        lines += [share_table(tasks, names), STANDINGS]
    lines += [describe_share(tasks), ""]
    lines += [f"- {task.name}, {task.documents:,} test texts: {describe_gap(task.gap)}" for task in tasks]
    lines += ["", "## Ranks", "", rank_table(tasks)]
    skipped = [f"- {task.name}, {name}: {reason}" for task in tasks for name, reason in task.skipped.items()]
    missing = {
        task.name: [name for name in names if name not in task.runs and name not in task.skipped] for task in tasks
    }
    skipped += [f"- {name}, not measured: {', '.join(absent)}" for name, absent in missing.items() if absent]
    return "\n".join(lines + (["## What is not there", "", *skipped, ""] if skipped else []))


def roles(task: Task) -> dict[str, list[str]]:
    """The variants that a reader looks for on a task, each with what it is for."""
    top, good = task.best()
    named = [("smallest as good as the best", good[0]["name"])]
    named.append(("fastest as good as the best", max(good, key=lambda cost: cost["speed"])["name"]))
    named.append(("most accurate", top["name"]))
    if "missing" not in task.gap:
        named += [("from labels alone", task.gap["blank"]), ("best transformer", task.gap["transformer"])]
    found: dict[str, list[str]] = {}
    for role, name in named:
        found.setdefault(name, []).append(role)
    return found


def task_table(task: Task) -> str:
    """The block on a task in docs/which.md: who is what, and the gap."""
    rows = [
        [name, "; ".join(own), score_cell(task, name), format_share(task.shares.get(name)),
         format_number(task.costs[name]["size"]), format_number(task.costs[name]["speed"])]
        for name, own in roles(task).items()
    ]  # fmt: skip
    header = ("variant", "is", "macro-F1", "share of the gap", "size MB", "docs/s")
    tested = name_test(task.pairs, task.runs)
    count = len(task.best()[1])
    good = f"{count} of {len(task.runs)} variants {'is' if count == 1 else 'are'} as good as the best, {tested}"
    return f"{markdown_table(header, rows)}\n{good}, on {task.documents:,} test texts. {describe_gap(task.gap)}\n"


def gap_cell(task: Task) -> str:
    """The gap in points, with its interval if it was tested."""
    gap = task.gap
    if "missing" in gap:
        return ""
    interval = f" [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]" if "low" in gap else ""
    return f"{100 * gap['points']:+.1f}{interval}" + ("" if gap["real"] else f": {why_no_gap(gap)}")


def price(task: Task, name: str) -> str:
    """What the best transformer costs beside a variant: how often its size and its time."""
    if "missing" in task.gap or name == task.gap["transformer"]:
        return ""
    large, own = task.costs[task.gap["transformer"]], task.costs[name]
    size, time = large["size"] / own["size"], own["speed"] / large["speed"]
    return f"{format_number(size)}× the size, {format_number(time)}× the time"


def choice_table(tasks: Sequence[Task]) -> str:
    """The block on all tasks in docs/which.md: what each needs."""
    rows = []
    for task in tasks:
        _, good = task.best()
        pick = good[0]["name"]
        blank, top = (task.gap.get(end, "") for end in ("blank", "transformer"))
        share = format_share(task.shares.get(pick))
        rows.append([task.name, blank, gap_cell(task), top, f"{pick}, {format_number(good[0]['size'])} MB", share])
        rows[-1].append(price(task, pick))
    header = (
        "task",
        "labels alone",
        "points to the best transformer",
        "best transformer",
        "smallest as good as the best",
    )
    return markdown_table((*header, "its share of the gap", "the best transformer against it"), rows)


def make_facts(tasks: Sequence[Task]) -> dict[str, Any]:
    """METRICS/board.json: the figures behind tables and picture."""

    def variant(task: Task, name: str) -> dict[str, Any]:
        mean, std = mean_and_std([run["scores"]["macro_f1"] for run in task.runs[name]])
        share = {key: value for key, value in task.shares.get(name, {}).items() if key != "quantiles"}
        cost = task.costs[name]
        return {
            "macro_f1": mean, "std": std, "seeds": len(task.runs[name]), "size_mb": cost["size"],
            "docs_per_s": cost["speed"], "installed_mb": cost["installed"], "share": share or None,
            "standing": standing(task, name), "worse_than": task.worse[name],
        }  # fmt: skip

    block, names = complete_block(tasks)
    means = {name: shares_over_tasks(tasks, name) for name in all_variants(tasks)}
    return {
        "tasks": {
            task.name: {
                "documents": task.documents,
                "paired": task.pairs is not None,
                "gap": task.gap,
                "skipped": task.skipped,
                "variants": {name: variant(task, name) for name in task.runs},
            }
            for task in tasks
        },
        "mean_share": {name: {**found[0], "tasks": found[1]} for name, found in means.items() if found},
        "ranks": {"tasks": [task.name for task in block], "mean": mean_ranks(block, names)},
    }


def kind(name: str) -> str:
    """What a variant learns from: one of `KINDS`."""
    return "labels" if name in BLANK else "transformer" if is_transformer(name) else "knowledge"


def named_points(task: Task) -> set[str]:
    """The variants of the front that get a name in a panel, the most accurate first: those with room around them."""
    scores = [cost["f1"] for cost in task.costs.values()]
    height = (max(scores) - min(scores)) or 1.0
    named: list[dict[str, Any]] = []
    for name in sorted(on_front(task), key=lambda name: -task.costs[name]["f1"]):
        own = task.costs[name]
        if all(abs(own["f1"] - other["f1"]) > ROOM * height for other in named):
            named.append(own)
    return {cost["name"] for cost in named}


def make_panel(task: Task, low: float, high: float) -> alt.LayerChart:
    """A task's panel, on a size axis from `low` to `high`, the same for all."""
    front, named = on_front(task), named_points(task)
    points = [
        {"name": name if name in named else "", "size": cost["size"], "f1": cost["f1"], "kind": kind(name),
         "front": name in front, "left": cost["size"] ** 2 < low * high}
        for name, cost in task.costs.items()
    ]  # fmt: skip
    kinds = alt.Scale(domain=list(KINDS), range=list(KINDS.values()))
    shapes = alt.Scale(domain=list(KINDS), range=["square", "circle", "diamond"])
    size_scale = alt.Scale(type="log", domain=[low, high])
    ticks = [tick for tick in TICKS if low <= tick <= high]
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("size:Q", title="size, MB", scale=size_scale, axis=alt.Axis(values=ticks, format="~g")),
        y=alt.Y("f1:Q", title="macro-F1 on test", scale=alt.Scale(zero=False, nice=True)),
    )
    best = base.transform_filter("datum.front")
    names = [
        best.transform_filter(f"{'' if left else '!'}datum.left")
        .mark_text(align="left" if left else "right", dx=8 if left else -8, dy=9, fontSize=11)
        .encode(text="name:N")
        for left in (True, False)
    ]
    return alt.layer(
        best.mark_line(color="#999", strokeDash=[4, 3]),
        base.mark_point(filled=True, size=70, opacity=0.9).encode(
            color=alt.Color("kind:N", scale=kinds, legend=None), shape=alt.Shape("kind:N", scale=shapes, legend=None)
        ),
        *names,
    ).properties(width=300, height=210, title=f"{task.name}, {task.documents:,} test texts")


def make_picture(tasks: Sequence[Task]) -> alt.ConcatChart:
    """Accuracy against size, a panel for each task; the dashed line joins what no other beats, which is named."""
    sizes = [cost["size"] for task in tasks for cost in task.costs.values()]
    panels = [make_panel(task, min(sizes) / 1.6, max(sizes) * 1.6) for task in tasks]
    legend = [
        "Orange squares: from labels alone. Green circles: with raw text, an encoder's words or a teacher.",
        "Violet diamonds: fine-tuned transformers. Dashed: no other is as small and as accurate.",
    ]
    title = alt.Title("Accuracy and size", subtitle=legend, anchor="start", offset=16)
    return alt.concat(*panels, columns=COLUMNS, background="white", title=title)


def update_page(page: Path, tasks: Sequence[Task]) -> str | None:
    """The text of a page with its blocks on all tasks, and on single ones, brought up to date; None without any."""
    blocks = [("BOARD", "all", readme_table(tasks)), ("WHICH", "all", choice_table(tasks))]
    blocks += [("WHICH", task.name, task_table(task)) for task in tasks]
    text = None
    for name, dataset, markdown in blocks:
        text = update_block(page, name, dataset, markdown, COMMAND, text) or text
    return text


def board(
    metrics: Annotated[Path, typer.Argument(help="Folder with a folder of metrics for each data set.")],
    readme: Annotated[Path | None, typer.Option(help="Page whose table of results to bring up to date.")] = None,
    page: Annotated[Path | None, typer.Option(help="Page on the choice of a variant to bring up to date.")] = None,
    corpora: Annotated[Path | None, typer.Option(help="Folder of what convert wrote, CORPORA/NAME, if any.")] = None,
) -> None:
    """Write METRICS/board.md, board.json and board.svg, and print the table."""
    tasks = load_tasks(metrics, corpora)
    svg = vl_convert.vegalite_to_svg(make_picture(tasks).to_json())
    texts: dict[Path, str | None] = {
        metrics / "board.svg": svg,
        metrics / "board.json": format_json(make_facts(tasks)) + "\n",
        metrics / "board.md": make_board(tasks),
    }
    for path in (readme, page):
        if path:
            texts[path] = update_page(path, tasks)
    write_texts({path: text for path, text in texts.items() if text is not None})
    header = ("variant", *(task.name for task in tasks))
    rows = [(name, *(score_cell(task, name) for task in tasks)) for name in all_variants(tasks)]
    msg.table(rows, header=header, divider=True, aligns=("l",) + ("r",) * len(tasks))
    for path in (readme, page):
        if path and texts[path] is not None:
            msg.good(f"{path}: brought up to date")
    msg.good(f"{metrics / 'board.md'}, board.json, board.svg: {len(rows)} variants on {len(tasks)} task(s)")


if __name__ == "__main__":
    run_cli(board)
