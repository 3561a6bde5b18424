"""Compare the runs of a grid: mean and spread over seeds, which differences are more than chance, and which share
of the gap between labels alone and the best transformer each closes. How: scripts/evaluation/paired.py.

Runs on the folds of a cross-validation are put together, for each variant and seed, so that each labelled text counts
once. Nothing was chosen on these scores: each run chose on its own dev set.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import check_keys, read_json, write_json, write_text
from scripts.evaluation.paired import (
    ALPHA,
    RESAMPLES,
    best_of,
    compare_groups,
    describe_gap,
    documents,
    format_share,
    has_answers,
    label_matrices,
    mean_and_std,
)
from scripts.evaluation.thresholds import macro_f1
from scripts.forms.tables import markdown_table

BEST = "best"  # on dev
DEFAULT = "default"
FOLDS = ("vars.fold", "vars.folds")  # settings that make a run one of several folds
NEEDED = ("variant", "seed", "experiment", "scores", "dev", "size")  # of a result
RUNS = "*--*.json"  # the results of a grid's runs in its folder


def group_name(metrics: dict[str, Any]) -> str:
    """The name of the variant and of the setting; the folds of a variant have one name."""
    setting = metrics["experiment"]["setting"]
    if "fold" in metrics:
        others = {name: value for name, value in metrics["experiment"]["values"].items() if name not in FOLDS}
        setting = ", ".join(f"{name} {value}" for name, value in others.items()) or DEFAULT
    return metrics["variant"] + ("" if setting == DEFAULT else f" {setting}")


def load_results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Metrics of a grid's runs by variant and setting.

    Raises:
        UserError: there are none, one is of an earlier version, or a fold is missing.
    """
    groups = defaultdict(list)
    for path in sorted(folder.glob(RUNS)):
        metrics = read_json(path)
        if reason := metrics.get("skipped"):
            msg.warn(f"{path.name}: left out, it was skipped. {reason}")
            continue
        check_keys(path, metrics, NEEDED)
        if not has_answers(metrics):
            raise UserError(
                f"{path}: an earlier version has made it, which did not keep the answers to each test text. Remove it, "
                "and run the experiment again."
            )
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
            "dev": {"macro_f1": mean_and_std([part["dev"]["macro_f1"] for part in parts])[0]},
            "size": {"pipeline_bytes": mean_and_std([part["size"]["pipeline_bytes"] for part in parts])[0]},
        }
        joined.append(run | {"scores": {"macro_f1": float(macro_f1(*label_matrices(run)))}})
    return joined


def format_rows(rows: Sequence[dict[str, Any]], reference: str) -> list[tuple[str, ...]]:
    """Cells of the table; a difference that is real at the 5 % level has a star."""
    cells: list[tuple[str, ...]] = []
    for row in rows:
        against = ("", "")
        if row["name"] != reference:
            star = " ★" if row["p"] < ALPHA else ""
            interval = f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]{star}"
            against = (interval, f"{row['p']:.3f}")
        spread = f" ± {row['std']:.3f}" if row["seeds"] > 1 else ""
        scores = (f"{row['macro_f1']:.3f}{spread}", f"{row['dev']:.3f}", f"{row['megabytes']:.1f}")
        cells.append((row["name"], str(row["seeds"]), *scores, *against, format_share(row["share"])))
    return cells


def compare(
    folder: Annotated[Path, typer.Argument(help="Results of a grid, METRICS/NAME.")],
    reference: Annotated[str, typer.Option(help="Compare with this variant, or the best on dev.")] = BEST,
) -> None:
    """Print and write (FOLDER/compare.md, and compare.json for the report) a grid's mean, spread, real differences."""
    groups = load_results(folder)
    if reference == BEST:
        reference = best_of(groups, list(groups)) or BEST
    if reference not in groups:
        raise UserError(f"vars.reference {reference!r}: not among {', '.join(groups)}. Choose one of these.")
    compared = compare_groups(groups, reference)
    rows = format_rows(compared["rows"], reference)
    header = ("variant", "seeds", "macro-F1", "on dev", "size MB", f"points to {reference}", "p", "share of the gap")
    msg.table(rows, header=header, divider=True, aligns=("l",) + ("r",) * (len(header) - 1))
    first = next(iter(groups.values()))[0]
    folds = len(first.get("folds", ()))
    tested = f"{documents(first):,} test documents" + (f", put together from {folds} folds" if folds else "")
    note = (
        f"Macro-F1 on test, mean ± standard deviation over seeds. Differences in points with a 95 % interval: paired "
        f"bootstrap over the {tested}, and over seeds, {RESAMPLES} resamples; p corrected after Holm; ★ p < {ALPHA}. "
        f"{describe_gap(compared['gap'])}"
    )
    write_text(folder / "compare.md", f"{markdown_table(header, rows)}\n{note}\n")
    facts = {
        "dataset": first["dataset"],
        "documents": documents(first),
        "folds": folds,
        "reference": reference,
        "resamples": RESAMPLES,
        "alpha": ALPHA,
        "runs": sorted(path.stem for path in folder.glob(RUNS)),
        "gap": compared["gap"],
        "rows": compared["rows"],
    }
    write_json(folder / "compare.json", facts)
    msg.good(f"{folder / 'compare.md'}: {len(rows)} rows")


if __name__ == "__main__":
    run_cli(compare)
