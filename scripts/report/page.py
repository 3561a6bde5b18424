"""The report as one HTML page that needs nothing else: metrics/report.html, made by the command `report`.

Tables and small plots are written here, so that they can be read without JavaScript and printed; page.js adds
the large chart, the chooser and sorting. The page quotes test texts, so it is as free as they are: it is not committed.
"""

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import jinja2

from scripts.common.files import read_any
from scripts.common.finished import is_of_another
from scripts.evaluation.paired import as_good_as_best, find_scores, find_worse, name_test
from scripts.evaluation.scores import constant_f1
from scripts.report.grids import TUNING_HEADER, comparison_note, comparison_rows, tuning_answer, tuning_rows

MISTAKES = 12  # shown of each variant
DOUBTS = 20  # labels shown
TEXT_LENGTH = 300  # characters shown of a text
SMALL_MATRIX = 12  # labels up to which the confusion matrix shows numbers
MATRIX_CELLS = 1500  # drawn of a larger one, those with the largest shares of their rows
CURVE_POINTS = 200  # of a training curve
HERE = Path(__file__).parent


def shorten(text: str, length: int = TEXT_LENGTH) -> str:
    """The text on one line, cut with an ellipsis."""
    text = " ".join(text[: 4 * length].split())
    return text if len(text) <= length else text[: length - 1] + "…"


def format_number(value: float | None) -> str:
    """No digits after the point from 100 on, one from 1 on, two from 0.1 on; below, two that count."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def list_names(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def task_mode(metrics: dict[str, Any]) -> str:
    """The kind of the task that metrics are of: single, multi or binary; those of before it was recorded tell, too."""
    exclusive = "confusion" in metrics["scores"] or "thresholds" not in metrics["scores"]
    return metrics.get("mode") or ("single" if exclusive else "multi")


def flatten(metrics: dict[str, Any]) -> dict[str, Any]:
    """The figures that chart, chooser and table show; what a peer has not measured is None."""
    scores, speed = metrics["scores"], metrics.get("speed", {})
    low, high = scores.get("macro_f1_ci") or (None, None)
    # Halves are rounded in Python, as in report.md, and not once more, the other way, by JavaScript.
    docs_per_s = speed.get("docs_per_s")
    docs_per_s = round(docs_per_s) if docs_per_s and docs_per_s >= 100 else docs_per_s
    return {
        "name": metrics["variant"],
        "f1": scores["macro_f1"],
        "constant": constant_f1(metrics),
        "low": low,
        "high": high,
        "accuracy": scores.get("micro_f1" if task_mode(metrics) == "multi" else "accuracy"),
        "size": metrics["size"]["pipeline_bytes"] / 1e6,
        "installed": metrics["installed"]["bytes"] / 1e6 if "installed" in metrics else None,
        "speed": docs_per_s,
        "latency": speed.get("latency_ms_p50"),
        "latency95": speed.get("latency_ms_p95"),
        "load": speed.get("load_s"),
        "memory": metrics["memory"]["peak_rss_bytes"] / 1e6 if "memory" in metrics else None,
        "train": metrics["train"]["seconds"] if "train" in metrics else None,
    }


def make_answer(variants: Sequence[dict[str, Any]], pairs: dict[str, Any] | None = None) -> dict[str, str]:
    """The report in one sentence, and what limits it.

    The answer is the smallest variant that is not worse than the most accurate one by more than chance
    (scripts.evaluation.paired). It is compared with that one or, if it is the most accurate itself, with the largest.
    """
    rows = [flatten(metrics) for metrics in variants]
    scores = find_scores(rows, pairs)
    top, good = as_good_as_best(rows, scores, find_worse(rows, pairs))
    pick = good[0]
    others = [row for row in rows if row is not pick]

    def percent(row: dict[str, Any]) -> str:
        return f"{scores[row['name']] * 100:.1f} %"

    def interval(row: dict[str, Any]) -> str:
        return f"{row['low'] * 100:.1f} to {row['high'] * 100:.1f} %"

    answer = {
        "name": pick["name"],
        "text": f"{percent(pick)} macro\N{NON-BREAKING HYPHEN}F1 in {format_number(pick['size'])} MB",
    }
    if not others:
        answer["text"] += f", {format_number(pick['speed'])} documents per second"
        return answer | {"caveat": "No other variant has been measured."}
    other = top if pick is not top else max(others, key=lambda row: row["size"])
    ratio = pick["speed"] / other["speed"]
    answer["text"] += f", {f'{ratio:.0f}' if ratio >= 10 else format_number(ratio)}× the throughput of {other['name']}"
    tested = {row["name"]: row["seeds"] for row in pairs["rows"]} if pairs else {}
    paired = tested.keys() >= {pick["name"], other["name"]}
    seeds = sorted({tested[row["name"]] for row in (pick, other) if row["name"] in tested})
    means = f" Scores are means over {seeds[0]} seeds." if paired and len(seeds) == 1 and seeds[0] > 1 else ""
    if pick is not top:
        scores_higher = f"{top['name']} scores higher, {percent(top)} in {format_number(top['size'])} MB, but "
        reason = (
            "a paired test on the same texts does not tell the two apart"
            if paired
            else f"the 95 % intervals overlap ({interval(pick)} and {interval(top)})"
        )
        return answer | {"caveat": f"{scores_higher}{reason}: the difference could be chance.{means}"}
    near = [row["name"] for row in good if row is not pick]
    rule = name_test(pairs, scores)
    if not near:
        return answer | {"caveat": f"No other variant is as good, {rule}.{means}"}
    as_good = f"{list_names(near)} {'is' if len(near) == 1 else 'are'} as good, {rule}"
    return answer | {"caveat": f"No variant scores higher, but {as_good}: the lead could be chance.{means}"}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file; none if it is missing, or broken as by a run that was killed."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return []
    return [line for line in lines if isinstance(line, dict)]


def judge(doc: dict[str, Any], exclusive: bool, threshold: float = 0.5) -> list[tuple[float, str, str]]:
    """What is wrong in a prediction, as (probability put on the error, true labels, predicted labels).

    One label: the best one is not the true one. Several: each label on the wrong side of the threshold.
    """
    cats, gold = doc["cats"], doc["gold"]
    if exclusive:
        best = max(cats, key=cats.__getitem__)
        return [] if best in gold else [(cats[best], ", ".join(gold) or "none", best)]
    return [
        (1 - score if label in gold else score, label if label in gold else f"not {label}",
         f"not {label}" if label in gold else label)
        for label, score in cats.items()
        if (score >= threshold) != (label in gold)
    ]  # fmt: skip


def find_mistakes(path: Path, metrics: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The most confident mistakes on test, or None if there are no predictions, or not those behind the metrics."""
    scores = metrics["scores"]
    docs = [doc for doc in read_lines(path) if {"text", "gold", "cats"} <= set(doc)]
    if not docs or len(docs) != scores.get("documents"):
        return None
    exclusive = "confusion" in scores
    threshold = scores.get("thresholds", {}).get("all_labels", 0.5)
    judged = [(doc, judge(doc, exclusive, threshold)) for doc in docs]
    accuracy = sum(not errors for _, errors in judged) / len(docs)
    # A tie after rounding, or an unknown threshold, may move a document; other predictions move many.
    if abs(accuracy - scores["accuracy"]) > (0.01 if exclusive else 0.2):
        return None
    errors = [(score, gold, guess, doc["text"]) for doc, found in judged for score, gold, guess in found]
    errors.sort(key=lambda error: -error[0])
    return [
        {"score": score, "gold": shorten(gold, 60), "guess": shorten(guess, 60), "text": shorten(text)}
        for score, gold, guess, text in errors[:MISTAKES]
    ]


def scale_line(points: Iterable[tuple[float, float]], width: int = 260, height: int = 120) -> dict[str, Any] | None:
    """An SVG path through points and the range of both axes; None for fewer than two points."""
    points = list(points)
    points = points[:: -(-len(points) // CURVE_POINTS) or 1]
    if len(points) < 2:
        return None
    xs, ys = zip(*points, strict=True)
    (x0, x1), (y0, y1) = (min(xs), max(xs)), (min(ys), max(ys))
    path = " ".join(
        f"{(x - x0) / ((x1 - x0) or 1) * width:.1f},{height - (y - y0) / ((y1 - y0) or 1) * height:.1f}"
        for x, y in points
    )
    return {"path": path, "x0": x0, "x1": x1, "y0": y0, "y1": y1, "width": width, "height": height}


def training_curve(path: Path) -> dict[str, Any] | None:
    """Dev score against training step, from the log of its training.

    Where no score decides which weights are kept, as of `compact`, its weights are 0, and so is their sum: then it is
    macro-F1 (with several labels, the area under the curve), which spaCy notes all the same.
    """
    lines = [line for line in read_lines(path) if line.get("score") is not None and "step" in line]
    if any(line["score"] for line in lines):
        return scale_line((line["step"], line["score"]) for line in lines)
    scores = [(line["step"], (line.get("scores") or {}).get("cats_score")) for line in lines]
    return scale_line((step, score / 100) for step, score in scores if score is not None)


def pretraining_curves(runs: Path) -> list[dict[str, Any]]:
    """Loss of each pass of `spacy pretrain` against words read, from the logs that `pretrain` keeps."""
    curves = []
    for path in sorted(weights.with_suffix(".jsonl") for weights in runs.glob("*/*.bin")):
        # The last line repeats the last pass, with a loss that has been set to zero.
        first = {line["nr_word"]: line for line in reversed(read_lines(path)) if {"nr_word", "epoch_loss"} <= set(line)}
        if curve := scale_line(sorted((words, line["epoch_loss"]) for words, line in first.items())):
            name = path.parent.name if path.stem == "weights" else f"{path.parent.name}, {path.stem}"
            curves.append({"name": name, "curve": curve})
    return curves


def coverage_tables(runs: Path) -> list[dict[str, Any]]:
    """The reports of `prune-vectors` on pruned vectors."""
    tables = [(path.parent.name, read_any(path)) for path in sorted(runs.glob("*/coverage.json"))]
    return [
        {"name": name, **table} for name, table in tables if table and {"before", "after", "remapped"} <= set(table)
    ]


def pruning_curves(runs: Path) -> list[dict[str, Any]]:
    """Mean score on dev against the logarithm of rows kept, from `sweep-pruned`, with the knee."""
    curves = []
    for path in sorted(runs.glob("*/sweep.json")):
        sweep = read_any(path)
        if sweep and (curve := scale_line((math.log(point["rows"]), point["mean"]) for point in sweep["points"])):
            rows = [point["rows"] for point in sweep["points"]]
            curve |= {"x0": min(rows), "x1": max(rows)}
            curves.append({"name": path.parent.name, "curve": curve, **sweep})
    return curves


def read_doubts(runs: Path) -> dict[str, Any] | None:
    """What `doubt` has found, with its first texts; None if it has not been run, or has found nothing."""
    facts, tasks = read_any(runs / "doubt.json"), read_lines(runs / "doubt.jsonl")
    metas = [task["meta"] | {"text": task["text"]} for task in tasks if isinstance(task.get("meta"), dict)]
    return facts | {"rows": metas[:DOUBTS]} if facts and metas else None


def describe_seeds(scores: dict[int, float]) -> str | None:
    """Mean and standard deviation over seeds; None for fewer than two."""
    if len(scores) < 2:
        return None
    values = ", ".join(f"{score:.3f}" for _, score in sorted(scores.items()))
    spread = f"{mean(scores.values()):.3f} ± {stdev(scores.values()):.3f}"
    return f"{len(scores)} seeds: macro-F1 {spread} (mean and standard deviation of {values})"


def learning_curves(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean score on dev against training texts, of what `train-curve` has written."""
    curves = []
    for one in found:
        if curve := scale_line((point["texts"], point["macro_f1"]) for point in one["points"]):
            curves.append({"name": one["variant"], "curve": curve})
    return curves


def confusions(confusion: dict[str, Any] | None) -> dict[str, Any] | None:
    """The confusion matrix, made ready to be drawn.

    Returns:
        For few labels `cells`: rows of (count, share of the row). For many `levels`: four SVG paths of unit squares,
        for shares of the row up to 1/4, 1/2, 3/4 and 1. Always `pairs`: the most frequent (count, gold, predicted).
    """
    if not confusion:
        return None
    labels, rows = confusion["labels"], confusion["rows_are_gold"]
    pairs = Counter(
        {(labels[i], labels[j]): count for i, row in enumerate(rows) for j, count in enumerate(row) if count and i != j}
    )
    frequent = [(count, gold, guess) for (gold, guess), count in pairs.most_common(8)]
    result: dict[str, Any] = {"labels": labels, "pairs": frequent}
    shares = [[count / (sum(row) or 1) for count in row] for row in rows]
    if len(labels) <= SMALL_MATRIX:
        result["cells"] = [list(zip(row, share, strict=True)) for row, share in zip(rows, shares, strict=True)]
        return result
    cells = [(share, i, j) for i, row in enumerate(shares) for j, share in enumerate(row) if share]
    levels = [""] * 4
    for share, i, j in sorted(cells, reverse=True)[:MATRIX_CELLS]:
        levels[min(3, int(share * 4))] += f"M{j} {i}h1v1h-1z"
    return result | {"levels": levels}


def label_rows(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """F1, precision and recall of each label with its number of test documents, weakest first."""
    confusion = scores.get("confusion") or {"labels": [], "rows_are_gold": []}
    support = dict(zip(confusion["labels"], map(sum, confusion["rows_are_gold"]), strict=True))
    per_label = scores.get("per_label", {})
    rows = [{"label": label, **values, "n": support.get(label)} for label, values in per_label.items()]
    return sorted(rows, key=lambda row: row["f"])


def describe_variant(metrics: dict[str, Any], runs: Path | None, seeds: dict[int, float]) -> dict[str, Any]:
    """All that the page tells about one variant."""
    scores, folder = metrics["scores"], runs / metrics["variant"] if runs else None
    if folder and is_of_another(metrics, folder):
        folder = None
    return flatten(metrics) | {
        "seed": metrics["seed"],
        "seeds": describe_seeds(seeds),
        "dev": metrics.get("dev", {}),
        "parameters": metrics["size"].get("parameters"),
        "vectors": metrics["size"]["vectors_bytes"] / 1e6,
        "calibration": scores.get("calibration", []),
        "calibration_error": scores.get("calibration_error"),
        "largest_bin": max((part["count"] for part in scores.get("calibration", [])), default=1),
        "labels": label_rows(scores),
        "confusion": confusions(scores.get("confusion")),
        "mistakes": find_mistakes(folder / "predictions.jsonl", metrics) if folder else None,
        "curve": training_curve(folder / "log.jsonl") if folder else None,
        "spread": metrics["speed"].get("docs_per_s_spread"),
        "env": metrics.get("env", {}),
    }


def interval_scale(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Lowest and highest end of the intervals, so that the bars of all rows share one axis."""
    return min(row["low"] for row in rows), max(row["high"] for row in rows)


def make_page(
    variants: Sequence[dict[str, Any]],
    *,
    best: Iterable[str],
    machines: str,
    peers: Sequence[dict[str, Any]] = (),
    missing: Sequence[str] = (),
    seeds: dict[str, dict[int, float]] | None = None,
    comparison: dict[str, Any] | None = None,
    pairs: dict[str, Any] | None = None,
    doubts: dict[str, list[str]] | None = None,
    tuning: dict[str, Any] | None = None,
    tuning_svg: str | None = None,
    curves: Sequence[dict[str, Any]] = (),
    runs: Path | None = None,
    tasks: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        variants: their metrics, checked and all of one data set.
        best: names of those on the Pareto front.
        machines: a sentence on where the figures come from.
        peers: metrics of other tools, which may lack figures.
        missing: names of variants that have been trained, or begun, but not measured.
        seeds: macro-F1 of each variant by seed, where several were run.
        comparison: the differences to show, of `pairs` or of what `compare` found.
        pairs: the paired tests of all variants (scripts.experiments.pairs); by these it chooses, if there are any.
        doubts: by variant: what says that it has not learned what it could.
        tuning: what tuning brought (scripts.report.grids.read_tuning), with `tuning_svg`, its plot.
        tuning_svg: the plot.
        curves: what `learning_curves` found.
        runs: training folder; whatever of its logs and predictions exists is shown.
        tasks: names of all data sets that have such a page, to lead there.
    """
    rows = [describe_variant(metrics, runs, (seeds or {}).get(metrics["variant"], {})) for metrics in variants]
    best = set(best)
    points = [flatten(metrics) | {"peer": False, "id": f"v{i}"} for i, metrics in enumerate(variants)]
    scores, worse = find_scores(points, pairs), find_worse(points, pairs)
    points = [row | {"score": scores[row["name"]], "worse": worse[row["name"]]} for row in points]
    others = [flatten(metrics) for metrics in peers]
    points += [row | {"peer": True, "id": None, "score": row["f1"], "worse": []} for row in others]
    corpora = [metrics.get("env", {}).get("corpus_md5", {}) for metrics in variants]
    script = (HERE / "page.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=format_number, shorten=shorten)
    return environment.get_template("page.html.jinja").render(
        answer=make_answer(variants, pairs),
        doubts=doubts or {},
        tasks=tasks,
        rule=name_test(pairs, scores),
        dataset=variants[0]["dataset"],
        documents=variants[0]["scores"].get("documents"),
        dev_documents=variants[0].get("dev", {}).get("documents"),
        exclusive="confusion" in variants[0]["scores"],
        mode=task_mode(variants[0]),
        majority=variants[0]["baseline"]["majority"],
        repeats=variants[0]["speed"].get("repeats"),
        rows=rows,
        best=best,
        scale=interval_scale([*rows, *(row for row in others if row["low"] is not None)]),
        points=points,
        peers=others,
        comparison=comparison_rows(comparison) if comparison else [],
        comparison_note=comparison_note(comparison) if comparison else "",
        tuning=tuning_rows(tuning) if tuning else [],
        tuning_header=TUNING_HEADER,
        tuning_answer=tuning_answer(tuning) if tuning else "",
        tuning_image=base64.b64encode((tuning_svg or "").encode()).decode(),
        missing=missing,
        machines=machines,
        corpora=corpora[0],
        same_corpus=all(corpus == corpora[0] for corpus in corpora),
        doubted=read_doubts(runs) if runs else None,
        coverage=coverage_tables(runs) if runs else [],
        curves=curves,
        pruning=pruning_curves(runs) if runs else [],
        pretraining=pretraining_curves(runs) if runs else [],
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=script,
        # Only this script may run, whatever a label or text holds, and nothing may be fetched.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
