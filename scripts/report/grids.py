"""What the report tells about grids of runs: which differences are real, and what tuning brings beside knowledge.

Reads METRICS/seeds/compare.json, which `compare` writes, and the runs of the grid METRICS/tuning.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import altair as alt
from wasabi import msg

from scripts.common.files import read_json
from scripts.evaluation.paired import describe_gap, format_share, has_answers
from scripts.experiments.pairs import SEEDS
from scripts.forms.tables import markdown_table

TUNING = "tuning"  # a grid: configs/grids/tuning.yml
RUNS = "*--*.json"
DEFAULT = "default"
LADDER = ("vectors", "compact", "transformer")  # what pretrained knowledge brings, step by step
Scores = list[tuple[float, float]]  # macro-F1 on test and on dev, for each seed


def format_scores(scores: Sequence[float]) -> str:
    """Mean, and standard deviation over the seeds if there are several."""
    spread = f" ± {stdev(scores):.3f}" if len(scores) > 1 else ""
    return f"{mean(scores):.3f}{spread}"


def read_comparison(folder: Path, dataset: str) -> dict[str, Any] | None:
    """What `compare` found in a grid's folder; None if there is nothing, or it is older than the runs."""
    path = folder / "compare.json"
    runs = sorted(run.stem for run in folder.glob(RUNS))
    if not path.is_file():
        # An earlier version kept no answers: its runs can be counted, but not compared any more.
        if runs and all(has_answers(read_json(folder / f"{run}.json")) for run in runs):
            msg.warn(f"{folder}: {len(runs)} runs, not compared yet: python -m spacy project run compare")
        return None
    comparison = read_json(path)
    if comparison["dataset"] != dataset:
        return None
    if comparison["runs"] != runs:
        msg.warn(f"{path}: left out, there are other runs now. Compare them: python -m spacy project run compare")
        return None
    return comparison


def comparison_rows(comparison: dict[str, Any]) -> list[dict[str, str]]:
    """The cells of each variant, best first: differences to the reference, and whether they are more than chance."""
    rows = []
    for row in comparison["rows"]:
        spread = f" ± {row['std']:.3f}" if row["seeds"] > 1 else ""
        cells = {"name": row["name"], "scores": f"{row['macro_f1']:.3f}{spread}", "seeds": str(row["seeds"])}
        cells["share"] = format_share(row.get("share"))
        if row["name"] == comparison["reference"]:
            cells |= {"difference": "", "p": "", "verdict": "reference"}
        else:
            real = row["p"] < comparison["alpha"]
            cells |= {
                "difference": f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]",
                "p": f"{row['p']:.3f}",
                "verdict": ("better" if row["difference"] > 0 else "worse") if real else "could be chance",
            }
        rows.append(cells)
    return rows


def comparison_note(comparison: dict[str, Any]) -> str:
    """How the differences were tested."""
    return (
        "Macro-F1 on test, mean ± standard deviation over the seeds. Points: difference to "
        f"{comparison['reference']} with its 95 % interval, by paired bootstrap over the test documents"
        f"{' and seeds' if 'gap' in comparison else ''}, {comparison['resamples']:,} resamples. p is corrected for the "
        f"number of comparisons (Holm); better or worse: p < {comparison['alpha']}. (“As good as the best” elsewhere "
        "is stricter: a variant is not as soon as its own interval lies below zero.)"
        f"{' ' + describe_gap(comparison['gap']) if 'gap' in comparison else ''}"
    )


def comparison_markdown(comparison: dict[str, Any]) -> str:
    """The section on what is more than chance."""
    header = ("variant", "seeds", "macro-F1", "points", "p", f"than {comparison['reference']}")
    cells = comparison_rows(comparison)
    rows = [(row["name"], row["seeds"], row["scores"], row["difference"], row["p"], row["verdict"]) for row in cells]
    if any(row["share"] for row in cells):
        header += ("share of the gap",)
        rows = [(*row, own["share"]) for row, own in zip(rows, cells, strict=True)]
    return f"**What is more than chance**\n\n{markdown_table(header, rows)}\n{comparison_note(comparison)}\n"


def read_grid(folder: Path, dataset: str) -> dict[str, dict[str, Scores]]:
    """Scores of a grid's runs by variant and setting, the default setting first."""
    grid: dict[str, dict[str, Scores]] = defaultdict(lambda: defaultdict(list))
    paths = sorted(folder.glob(RUNS), key=lambda path: (f"--{DEFAULT}--" not in path.name, path.name))
    for path in paths:
        metrics = read_json(path)
        if metrics["dataset"] == dataset and "skipped" not in metrics:
            scores = (metrics["scores"]["macro_f1"], metrics["dev"]["macro_f1"])
            grid[metrics["variant"]][metrics["experiment"]["setting"]].append(scores)
    return grid


def on_test(scores: Scores) -> list[float]:
    """Those on test."""
    return [test for test, _ in scores]


def mean_dev(scores: Scores) -> float:
    """The mean of those on dev."""
    return mean(dev for _, dev in scores)


def read_tuning(metrics: Path, dataset: str, variants: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What tuning brings to blank variants, and what knowledge brings to the best of them.

    Args:
        metrics: folder of the metrics, with the grids in it.
        dataset: only runs on it count.
        variants: metrics of single runs, for what no grid holds.

    Returns:
        `blank`: for each tuned variant the test scores of the default and of the setting that is best on dev, and the
        mean test score of every setting; `ladder`: the scores of each step; `base`: the blank variant whose default is
        best on dev. None if nothing was tuned.
    """
    blank = {}
    grid = {name: found for name, found in read_grid(metrics / TUNING, dataset).items() if DEFAULT in found}
    for name, settings in grid.items():
        if len(settings) < 2:
            continue
        chosen = max(settings, key=lambda setting: mean_dev(settings[setting]))
        blank[name] = {
            "default": on_test(settings[DEFAULT]),
            "setting": chosen,
            "tuned": on_test(settings[chosen]),
            "tried": {setting: mean(on_test(scores)) for setting, scores in settings.items()},
        }
    if not blank:
        return None
    single = {one["variant"]: {DEFAULT: [(one["scores"]["macro_f1"], 0.0)]} for one in variants}
    known = single | read_grid(metrics / SEEDS, dataset)
    return {
        "blank": blank,
        "base": max(blank, key=lambda name: mean_dev(grid[name][DEFAULT])),
        "ladder": {name: on_test(known[name][DEFAULT]) for name in LADDER if DEFAULT in known.get(name, {})},
    }


def point_range(values: Sequence[float]) -> str:
    """`-0.3 to +1.2` points, or one number."""
    low, high = (f"{100 * value:+.1f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def tuning_rows(tuning: dict[str, Any]) -> list[tuple[str, ...]]:
    """Cells: name, default, tuned, points gained, and what was chosen and tried."""
    rows: list[tuple[str, ...]] = []
    for name, one in tuning["blank"].items():
        tried = one["tried"].values()
        gain = 100 * (mean(one["tuned"]) - mean(one["default"]))
        chosen = f"{one['setting']}; all {len(tried)}: {min(tried):.3f} to {max(tried):.3f}"
        rows.append((name, format_scores(one["default"]), format_scores(one["tuned"]), f"{gain:+.1f}", chosen))
    base = mean(tuning["blank"][tuning["base"]]["default"])
    for name, scores in tuning["ladder"].items():
        gain = 100 * (mean(scores) - base)
        rows.append((name, format_scores(scores), "", f"{gain:+.1f}", f"over the default {tuning['base']}"))
    return rows


def tuning_answer(tuning: dict[str, Any]) -> str:
    """The section in a sentence."""
    tuned = [mean(one["tuned"]) - mean(one["default"]) for one in tuning["blank"].values()]
    text = f"Tuning on dev moved the blank variants by {point_range(tuned)} points of macro-F1 on test"
    if not tuning["ladder"]:
        return text + "."
    base = mean(tuning["blank"][tuning["base"]]["default"])
    known = [mean(scores) - base for scores in tuning["ladder"].values()]
    return f"{text}; raw text and pretraining ({', '.join(tuning['ladder'])}) brought {point_range(known)}."


TUNING_HEADER = ("variant", "default", "tuned", "points", "setting chosen on dev, and the range on test of all tried")


def tuning_markdown(tuning: dict[str, Any], image: str) -> str:
    """The section on tuning; `image` is the plot's address as seen from the Markdown file."""
    table = markdown_table(TUNING_HEADER, tuning_rows(tuning))
    plot = f"![Macro-F1 of every setting tried, beside what vectors and pretraining bring]({image})"
    title = "**What tuning brings, next to what pretrained knowledge brings**"
    return f"{title}\n\n{tuning_answer(tuning)}\n\n{table}\n{plot}\n"


def tuning_chart(tuning: dict[str, Any], dataset: str) -> alt.LayerChart:
    """Macro-F1 on test of every setting of the blank variants, and of each step of the ladder: a row for each."""
    points = []
    for name, one in tuning["blank"].items():
        points += [{"name": name, "f1": score, "kind": "tried"} for score in one["tried"].values()]
        points.append({"name": name, "f1": mean(one["default"]), "kind": "default"})
        points.append({"name": name, "f1": mean(one["tuned"]), "kind": "chosen on dev"})
    points += [{"name": name, "f1": mean(scores), "kind": "default"} for name, scores in tuning["ladder"].items()]
    kinds = ["tried", "default", "chosen on dev"]
    return (
        alt.Chart(alt.Data(values=points))
        .mark_point(filled=True, opacity=0.9)
        .encode(
            x=alt.X("f1:Q", title="macro-F1 on test", scale=alt.Scale(zero=False)),
            y=alt.Y("name:N", title=None, sort=[*tuning["blank"], *tuning["ladder"]]),
            color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=["#bbb", "#222", "#d9480f"])),
            shape=alt.Shape("kind:N", title=None, scale=alt.Scale(domain=kinds, range=["circle", "circle", "diamond"])),
            size=alt.Size("kind:N", title=None, scale=alt.Scale(domain=kinds, range=[50, 130, 130])),
            tooltip=["name:N", "f1:Q", "kind:N"],
        )
        .properties(width=560, height=alt.Step(34), background="white", title=f"Tuning and knowledge, {dataset}")
        .configure_axisY(grid=True)
    )
