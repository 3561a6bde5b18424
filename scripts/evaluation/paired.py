"""Paired tests of variants on the same test documents: which differences are more than chance, and how much of the gap
between a blank pipeline and a transformer each variant closes.

All intervals come from one bootstrap (Efron and Tibshirani 1993; Berg-Kirkpatrick et al. 2012, "An empirical
investigation of statistical significance in NLP"): each resample draws documents, the same ones for all variants, and,
for each variant, seeds, as many as it has. p-values are two-sided and corrected for the number of comparisons after
Holm 1979. `worse_than` is not corrected: what is in doubt shall not pass for as good.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scripts.common.cli import UserError, show_progress
from scripts.evaluation.scores import unpack_answers
from scripts.evaluation.thresholds import mean_f1

RESAMPLES = 2000
BATCH = 100  # resamples computed at a time; bounds the memory
ALPHA = 0.05
INTERVAL = (100 * ALPHA / 2, 100 - 100 * ALPHA / 2)  # of a distribution, in percent
QUANTILES = 100  # kept of the distribution of a share, so that those of several tasks can be put together
BLANK = ("linear", "bow", "cnn", "ensemble")  # variants that know labels only
TRANSFORMER = "transformer"  # fine-tuned transformers are called so, or begin so
# Made of others to be small: what they keep of the gap is asked. They carry the linear model, too.
SMALL = ("transformer-half", "transformer-trim", "transformer-int8", "transformer-distilled")

Runs = Sequence[dict[str, Any]]
Groups = Mapping[str, Runs]


def is_transformer(name: str) -> bool:
    """Whether a variant, with its default settings, is a fine-tuned transformer."""
    return name.split("-")[0] == TRANSFORMER and " " not in name


def fold_scores(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The scores of a run on each of its folds, with the `answers` of `pack_answers`; mostly there is but one."""
    return [one["scores"] for one in run.get("folds", [run])]


def label_matrices(run: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Gold and predicted labels of a run's test documents, on all folds: bool (documents, labels) each."""
    gold, predicted = zip(*(unpack_answers(scores["answers"]) for scores in fold_scores(run)), strict=True)
    return np.concatenate(gold), np.concatenate(predicted)


def has_answers(run: dict[str, Any]) -> bool:
    """Whether a run's answers are there: an earlier version kept none, and broken ones do not count."""
    try:
        return len(label_matrices(run)[0]) == documents(run) and len(tested(run)) > 0
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False


def draw_documents(number: int) -> np.ndarray:
    """How often each document is in each resample: uint8 (resamples, documents)."""
    rng = np.random.default_rng(0)
    uses = np.zeros((RESAMPLES, number), dtype=np.uint8)
    for row in uses:
        row[:] = np.bincount(rng.integers(0, number, number), minlength=number)
    return uses


def run_scores(run: dict[str, Any], uses: np.ndarray) -> np.ndarray:
    """Macro-F1 of a run on each resample: float (resamples,)."""
    gold, predicted = label_matrices(run)
    hits, total = (gold & predicted).astype(np.float32), gold.astype(np.float32) + predicted

    def batches() -> Iterator[np.ndarray]:
        for start in range(0, len(uses), BATCH):
            batch = uses[start : start + BATCH].astype(np.float32)
            yield mean_f1(batch @ hits, batch @ total)

    return np.concatenate(list(batches()))


def resampled_scores(groups: Groups, uses: np.ndarray) -> dict[str, np.ndarray]:
    """Macro-F1 of each group, averaged over the seeds that a resample draws: float (resamples,) each."""
    rng = np.random.default_rng(1)  # one for all: seeds of different variants have nothing in common
    scores = {}
    for name, runs in show_progress(groups.items(), desc="resampling"):
        own = np.stack([run_scores(run, uses) for run in runs])
        drawn = rng.integers(0, len(runs), (len(runs), len(uses)))
        scores[name] = np.take_along_axis(own, drawn, 0).mean(0)
    return scores


def two_sided_p(differences: np.ndarray) -> float:
    """Bootstrap p-value of a difference: twice the smaller share of resamples on one side of zero."""
    ties = (differences == 0).mean() / 2
    smaller = min((differences < 0).mean(), (differences > 0).mean()) + ties
    return float(min(1.0, 2 * max(smaller, 1 / (len(differences) + 1))))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in the order given (Holm 1979)."""
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation with n - 1; 0 for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def mean_score(runs: Runs, split: str) -> float | None:
    """Macro-F1 of a group on `dev` or on test (`scores`), averaged over its runs; None where a run lacks it."""
    values = [run.get(split, {}).get("macro_f1") for run in runs]
    return None if None in values else mean_and_std(values)[0]


def best_of(groups: Groups, names: Sequence[str]) -> str | None:
    """The best of some groups on dev, or on test if one of them lacks a score on dev; None if none of them is there."""
    there = [name for name in names if name in groups]
    split = "scores" if any(mean_score(groups[name], "dev") is None for name in there) else "dev"
    return max(there, key=lambda name: mean_score(groups[name], split) or 0.0, default=None)


def find_ends(groups: Groups) -> dict[str, Any]:
    """What labels alone give, `blank`, and the best `transformer` on dev; or what is `missing`.

    The former is `linear`: the best of several on a small dev set would be one that is better there by chance, and a
    lower end flatters all others. Without it, the best on dev of those that know labels only.
    """
    whole = [name for name in groups if is_transformer(name) and name not in SMALL]
    blank, top = "linear" if "linear" in groups else best_of(groups, BLANK), best_of(groups, whole)
    if blank is None or top is None:
        kind = f"variant from labels alone ({', '.join(BLANK)})" if blank is None else "fine-tuned transformer"
        return {"missing": f"No {kind} has been measured."}
    points = (mean_score(groups[top], "scores") or 0.0) - (mean_score(groups[blank], "scores") or 0.0)
    return {"blank": blank, "transformer": top, "points": points}


def find_gap(groups: Groups, scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How far the best transformer is above what labels alone give.

    Returns:
        Their names, `points` (a difference of macro-F1) with `low` and `high`, and whether it is `real`: more than
        chance. Or `missing`, a sentence on what has not been measured.
    """
    gap = find_ends(groups)
    if "missing" in gap:
        return gap
    low, high = np.percentile(scores[gap["transformer"]] - scores[gap["blank"]], INTERVAL)
    return gap | {"low": float(low), "high": float(high), "real": bool(low > 0 and gap["points"] > 0)}


def describe_gap(gap: dict[str, Any]) -> str:
    """The gap in a sentence."""
    if "missing" in gap:
        return f"{gap['missing']} So there is no share of the gap."
    untested = "low" not in gap
    interval = "without a paired test" if untested else f"[{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]"
    size = f"{100 * gap['points']:+.1f} points {interval}"
    between = f"between {gap['blank']} (labels alone) and {gap['transformer']} (the best transformer on dev)"
    if gap["real"]:
        return f"The gap {between} is {size}."
    return f"The gap {between} is {size}: {why_no_gap(gap)}. So there is no share of it."


def why_no_gap(gap: dict[str, Any]) -> str:
    """What is said of a gap that is not real."""
    return "labels alone are better" if gap.get("high", 0.0) < 0 else "it could be chance"


def format_share(share: dict[str, float] | None) -> str:
    """`88 % [70, 103]`, or `88 %` if it is untested; empty if there is none."""
    if not share:
        return ""
    interval = f" [{100 * share['low']:.0f}, {100 * share['high']:.0f}]" if "low" in share else ""
    return f"{100 * share['value']:.0f} %{interval}"


def find_share(
    name: str, groups: Groups, scores: Mapping[str, np.ndarray], gap: dict[str, Any]
) -> dict[str, Any] | None:
    """How much of the gap a group closes: 0 as good as labels alone, 1 as the best transformer.

    Returns:
        The `value`, with `low`, `high` and `quantiles` of its distribution; None if the gap could be chance: a share of
        nothing is noise. The few resamples in which there is no gap (below 2.5 %) are left out.
    """
    if not gap.get("real"):
        return None
    blank, top = gap["blank"], gap["transformer"]
    whole = scores[top] - scores[blank]
    shares = (scores[name] - scores[blank])[whole > 0] / whole[whole > 0]
    low, high = np.percentile(shares, INTERVAL)
    middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    gained = (mean_score(groups[name], "scores") or 0.0) - (mean_score(groups[blank], "scores") or 0.0)
    return {
        "value": gained / gap["points"],
        "low": float(low),
        "high": float(high),
        "quantiles": [round(float(value), 4) for value in np.quantile(shares, middles)],
    }


def mean_share(shares: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The mean over tasks of what `find_share` found on each: `value`, `low` and `high`. Tasks are independent.

    Without an interval if the share on a task has none; of one task, its own.
    """
    if len(shares) == 1:
        return {key: number for key, number in shares[0].items() if key != "quantiles"}
    value = float(np.mean([share["value"] for share in shares]))
    if any("quantiles" not in share for share in shares):
        return {"value": value}
    rng = np.random.default_rng(0)
    drawn = np.mean([rng.choice(share["quantiles"], RESAMPLES) for share in shares], 0)
    low, high = np.percentile(drawn, INTERVAL)
    return {"value": value, "low": float(low), "high": float(high)}


def tested(run: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    """What tells whether runs were tested on the same documents, with the same labels."""
    answers = [scores["answers"] for scores in fold_scores(run)]
    return tuple((one["texts_md5"], one["gold"], *one["labels"]) for one in answers)


def documents(run: dict[str, Any]) -> int:
    """Test documents of a run, on all folds."""
    return sum(scores["documents"] for scores in fold_scores(run))


def compare_groups(groups: Groups, reference: str) -> dict[str, Any]:
    """What the runs of several groups (variants with their settings, a run a seed) say beside each other.

    Args:
        groups: runs by name, each with the `answers` among its `scores`, see `pack_answers`.
        reference: the group to which `difference` is.

    Returns:
        `rows`, best first: mean, spread, the difference to the reference with its interval and p, the names of those
        that it is `worse_than`, the share of the gap; and `gap`.

    Raises:
        UserError: the groups were tested on different documents.
    """
    if len({tested(run) for runs in groups.values() for run in runs}) > 1:
        raise UserError(
            "The runs were tested on different documents, or labels of these. Remove the older ones and run them again."
        )
    scores = resampled_scores(groups, draw_documents(documents(next(iter(groups.values()))[0])))
    gap = find_gap(groups, scores)
    rows: list[dict[str, Any]] = []
    for name, runs in groups.items():
        mean, std = mean_and_std([run["scores"]["macro_f1"] for run in runs])
        difference = scores[name] - scores[reference]
        low, high = np.percentile(difference, INTERVAL)
        rows.append(
            {
                "name": name,
                "seeds": len(runs),
                "macro_f1": mean,
                "std": std,
                "dev": mean_score(runs, "dev"),
                "megabytes": mean_and_std([run["size"]["pipeline_bytes"] / 1e6 for run in runs])[0],
                "difference": mean - mean_and_std([run["scores"]["macro_f1"] for run in groups[reference]])[0],
                "low": float(low),
                "high": float(high),
                "p": two_sided_p(difference),
                "worse_than": [
                    other for other, theirs in scores.items() if np.percentile(scores[name] - theirs, INTERVAL[1]) < 0
                ],
                "share": find_share(name, groups, scores, gap),
            }
        )
    others = [row for row in rows if row["name"] != reference]
    for row, p in zip(others, holm([row["p"] for row in others]), strict=True):
        row["p"] = p
    return {"rows": sorted(rows, key=lambda row: -row["macro_f1"]), "gap": gap}


# The rule by which headline, chooser, board and advice choose


def find_worse(points: Sequence[dict[str, Any]], comparison: dict[str, Any] | None) -> dict[str, list[str]]:
    """For each variant the names of those that it is worse than, by more than chance.

    Args:
        points: `name`, `f1` and its interval, `low` and `high`, of each variant, and `constant`, the macro-F1 of the
            best answer that is the same for all texts: a variant that is not above it, on average over its seeds, has
            learned nothing, and is worse than all that have learned, however few the test texts.
        comparison: with the `rows` of `compare_groups`. Of a pair that it has not, the lower one is worse if it lies
            below the interval of the other: without their answers there is no better test.
    """
    tested = {row["name"]: row["worse_than"] for row in comparison["rows"]} if comparison else {}
    scores = find_scores(points, comparison)
    learned = {one["name"]: scores[one["name"]] > one["constant"] for one in points}

    def is_worse(one: dict[str, Any], other: dict[str, Any]) -> bool:
        if learned[one["name"]] != learned[other["name"]]:
            return learned[other["name"]]
        if one["name"] in tested and other["name"] in tested:
            return other["name"] in tested[one["name"]]
        return other["low"] is not None and one["f1"] < other["low"] and one["f1"] < other["f1"]

    return {one["name"]: [other["name"] for other in points if is_worse(one, other)] for one in points}


def name_test(comparison: dict[str, Any] | None, names: Iterable[str]) -> str:
    """How it was found which variants are as good as the best: by paired tests of all, of some, or by its interval."""
    wanted, tested = set(names), {row["name"] for row in comparison["rows"]} if comparison else set()
    if wanted <= tested:
        return "by paired tests"
    if len(wanted & tested) > 1:
        return "by paired tests where there are such, else by the 95 % interval of the best"
    return "by the 95 % interval of the best"


def find_scores(points: Sequence[dict[str, Any]], comparison: dict[str, Any] | None) -> dict[str, float]:
    """Macro-F1 of each variant on test: averaged over seeds where the comparison has several."""
    means = {row["name"]: row["macro_f1"] for row in comparison["rows"]} if comparison else {}
    return {point["name"]: means.get(point["name"], point["f1"]) for point in points}


def as_good_as_best(
    points: Sequence[dict[str, Any]], scores: Mapping[str, float], worse: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The most accurate variant, and all that are not worse than it by more than chance, smallest first."""
    top = max(points, key=lambda point: (scores[point["name"]], -point["size"]))
    good = [point for point in points if point is top or top["name"] not in worse[point["name"]]]
    return top, sorted(good, key=lambda point: point["size"])
