"""Compare the runs of a grid: mean and spread over seeds, and which differences are more than chance.

The test is a paired bootstrap over the test documents (Efron and Tibshirani 1993; Berg-Kirkpatrick et al. 2012, "An
empirical investigation of statistical significance in NLP"): in each resample the macro-F1 of either side is averaged
over its seeds. p-values are two-sided and corrected for the number of comparisons after Holm 1979.

Runs on the folds of a cross-validation are put together, for each variant and seed, so that each labelled text counts
once. Nothing was chosen on these scores: each run chose on its own dev set.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import srsly
import typer
from wasabi import msg

from scripts.common.cli import UserError, run_cli, show_progress
from scripts.common.files import read_json, write_json, write_text
from scripts.evaluation.scores import indicators
from scripts.evaluation.thresholds import macro_f1
from scripts.forms.tables import markdown_table

RESAMPLES = 2000
BATCH = 100  # resamples computed at a time; bounds the memory
ALPHA = 0.05
BEST = "best"  # on dev
DEFAULT = "default"
FOLDS = ("vars.fold", "vars.folds")  # settings that make a run one of several folds
RUNS = "*--*.json"  # the results of a grid's runs in its folder


def group_name(metrics: dict[str, Any]) -> str:
    """The name of the variant and of the setting; the folds of a variant have one name."""
    setting = metrics["experiment"]["setting"]
    if "fold" in metrics:
        others = {name: value for name, value in metrics["experiment"]["values"].items() if name not in FOLDS}
        setting = ", ".join(f"{name} {value}" for name, value in others.items()) or DEFAULT
    return metrics["variant"] + ("" if setting == DEFAULT else f" {setting}")


def load_results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Metrics of a grid's runs by variant and setting, each with its predictions under `predictions`.

    Raises:
        UserError: there are none, a run lacks its predictions, or a fold is missing.
    """
    groups = defaultdict(list)
    for path in sorted(folder.glob(RUNS)):
        metrics = read_json(path)
        if reason := metrics.get("skipped"):
            msg.warn(f"{path.name}: left out, it was skipped. {reason}")
            continue
        predictions = path.with_suffix(".predictions.jsonl")
        if not predictions.is_file():
            raise UserError(f"{predictions}: missing. Remove {path.name} and run the experiment again.")
        metrics["predictions"] = list(srsly.read_jsonl(predictions))
        groups[group_name(metrics)].append(metrics)
    if not groups:
        raise UserError(f"{folder}: no results. Run the experiment first.")
    return {name: join_folds(name, runs) for name, runs in groups.items()}


def join_folds(name: str, runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of each seed on all folds as one run, with the scores over all documents; other runs as they are.

    Raises:
        UserError: a seed lacks a fold.
    """
    joined = [run for run in runs if "fold" not in run]
    seeds = defaultdict(list)
    for run in runs:
        if "fold" in run:
            seeds[run["seed"]].append(run)
    for seed, parts in seeds.items():
        parts.sort(key=lambda run: run["fold"]["number"])
        folds = parts[0]["fold"]["of"]
        found = [(part["fold"]["number"], part["fold"]["of"]) for part in parts]
        if found != [(number, folds) for number in range(folds)]:
            numbers = ", ".join(f"{number} of {of}" for number, of in found)
            raise UserError(f"{name}, seed {seed}: of its {folds} folds there are {numbers}. Run the experiment again.")
        run = parts[0] | {
            "folds": parts,
            "predictions": [row for part in parts for row in part["predictions"]],
            "dev": {"macro_f1": mean_and_std([part["dev"]["macro_f1"] for part in parts])[0]},
            "size": {"pipeline_bytes": mean_and_std([part["size"]["pipeline_bytes"] for part in parts])[0]},
        }
        joined.append(run | {"scores": {"macro_f1": float(macro_f1(*label_matrices(run)))}})
    return joined


def label_matrices(run: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Gold and predicted labels of a run's test documents: bool (documents, labels) each."""
    if "folds" in run:
        gold, predicted = zip(*map(label_matrices, run["folds"]), strict=True)
        return np.concatenate(gold), np.concatenate(predicted)
    rows = run["predictions"]
    labels = sorted(rows[0]["cats"])
    gold = np.array([[label in row["gold"] for label in labels] for row in rows])
    exclusive = "confusion" in run["scores"]
    threshold = run["scores"].get("thresholds", {}).get("all_labels", 0.5)
    return gold, indicators([row["cats"] for row in rows], labels, exclusive, threshold)


def resampled_scores(runs: Sequence[dict[str, Any]], samples: np.ndarray) -> np.ndarray:
    """Macro-F1 averaged over seeds, for each resample of the documents: float (resamples,)."""
    scores = np.zeros(len(samples))
    for run in runs:
        gold, predicted = label_matrices(run)
        parts = (samples[i : i + BATCH] for i in range(0, len(samples), BATCH))
        scores += np.concatenate([macro_f1(gold[part], predicted[part]) for part in parts])
    return scores / len(runs)


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


def compare_groups(groups: dict[str, list[dict[str, Any]]], reference: str) -> list[dict[str, Any]]:
    """Rows of the comparison, best first; differences are to the reference group.

    Raises:
        UserError: the groups were tested on different documents.
    """
    texts = {tuple(row["text"] for row in run["predictions"]) for runs in groups.values() for run in runs}
    if len(texts) > 1:
        raise UserError("The runs were tested on different documents. Remove the older ones and run them again.")
    n_docs = len(texts.pop())
    samples = np.random.default_rng(0).integers(0, n_docs, (RESAMPLES, n_docs))
    scores = {name: resampled_scores(runs, samples) for name, runs in show_progress(groups.items(), desc="resampling")}
    rows: list[dict[str, Any]] = []
    for name, runs in groups.items():
        mean, std = mean_and_std([run["scores"]["macro_f1"] for run in runs])
        dev, _ = mean_and_std([run["dev"]["macro_f1"] for run in runs])
        difference = scores[name] - scores[reference]
        low, high = np.percentile(difference, [2.5, 97.5])
        rows.append(
            {
                "name": name,
                "seeds": len(runs),
                "macro_f1": mean,
                "std": std,
                "dev": dev,
                "megabytes": mean_and_std([run["size"]["pipeline_bytes"] / 1e6 for run in runs])[0],
                "difference": float(difference.mean()),
                "low": float(low),
                "high": float(high),
                "p": two_sided_p(difference),
            }
        )
    others = [row for row in rows if row["name"] != reference]
    for row, p in zip(others, holm([row["p"] for row in others]), strict=True):
        row["p"] = p
    return sorted(rows, key=lambda row: -row["macro_f1"])


def format_rows(rows: Sequence[dict[str, Any]], reference: str) -> list[tuple[str, ...]]:
    """Cells of the table; a difference that is real at the 5 % level has a star."""
    cells: list[tuple[str, ...]] = []
    for row in rows:
        against = ("", "")
        if row["name"] != reference:
            star = " ★" if row["p"] < ALPHA else ""
            interval = f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]{star}"
            against = (interval, f"{row['p']:.3f}")
        scores = (f"{row['macro_f1']:.3f} ± {row['std']:.3f}", f"{row['dev']:.3f}", f"{row['megabytes']:.1f}")
        cells.append((row["name"], str(row["seeds"]), *scores, *against))
    return cells


def compare(
    folder: Annotated[Path, typer.Argument(help="Results of a grid, METRICS/NAME.")],
    reference: Annotated[str, typer.Option(help="Compare with this variant, or the best on dev.")] = BEST,
) -> None:
    """Print and write (FOLDER/compare.md, and compare.json for the report) a grid's mean, spread, real differences."""
    groups = load_results(folder)
    if reference == BEST:
        reference = max(groups, key=lambda name: mean_and_std([run["dev"]["macro_f1"] for run in groups[name]])[0])
    if reference not in groups:
        raise UserError(f"--reference {reference}: not among {', '.join(groups)}.")
    compared = compare_groups(groups, reference)
    rows = format_rows(compared, reference)
    header = ("variant", "seeds", "macro-F1", "on dev", "size MB", f"points to {reference}", "p")
    msg.table(rows, header=header, divider=True, aligns=("l",) + ("r",) * (len(header) - 1))
    first = next(iter(groups.values()))[0]
    folds = len(first.get("folds", ()))
    tested = f"{len(first['predictions']):,} test documents" + (f", put together from {folds} folds" if folds else "")
    note = (
        f"Macro-F1 on test, mean ± standard deviation over seeds. Differences in points with a 95 % interval: paired "
        f"bootstrap over the {tested}, {RESAMPLES} resamples; p corrected after Holm; ★ p < {ALPHA}."
    )
    write_text(folder / "compare.md", f"{markdown_table(header, rows)}\n{note}\n")
    facts = {
        "dataset": first["dataset"],
        "documents": len(first["predictions"]),
        "folds": folds,
        "reference": reference,
        "resamples": RESAMPLES,
        "alpha": ALPHA,
        "runs": sorted(path.stem for path in folder.glob(RUNS)),
        "rows": compared,
    }
    write_json(folder / "compare.json", facts)
    msg.good(f"{folder / 'compare.md'}: {len(rows)} rows")


if __name__ == "__main__":
    run_cli(compare)
