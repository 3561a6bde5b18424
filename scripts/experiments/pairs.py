"""The paired tests of all variants of a task: of the grid `seeds` where it has been run, of single runs otherwise.

What was found is kept in METRICS/paired/compare.json, and is used as long as the scores are those that it was found
from: also for metrics of an earlier version, which have no `answers`.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wasabi import msg

from scripts.common.files import read_json
from scripts.evaluation.paired import (
    ALPHA,
    RESAMPLES,
    best_of,
    compare_groups,
    documents,
    find_ends,
    has_answers,
    tested,
)
from scripts.evaluation.provenance import labelled

SEEDS, PAIRED = "seeds", "paired"  # folders of METRICS: of the grid, and of what is found here
COMPARISON = "compare.json"
WRITTEN = {"documents", "runs", "rows", "gap", "reference"}  # in it
RUNS = "*--default--*.json"
SAME_SIZE = 0.01  # relative difference between pipelines that have learned the same on two machines

Runs = dict[str, dict[str, dict[str, Any]]]  # metrics, by variant and stem of their file


def is_run(metrics: Any, dataset: str) -> bool:
    """Whether something is the metrics of a run on the test set of a data set."""
    return (
        isinstance(metrics, dict)
        and metrics.get("dataset") == dataset
        and "fold" not in metrics
        and "macro_f1" in metrics.get("scores", {})
    )


def find_runs(folder: Path, dataset: str, variants: Sequence[dict[str, Any]], quiet: bool = False) -> Runs:
    """The runs that stand for each variant: those of the grid and the single one, or that alone if they are older.

    They are older if the run of the same seed had another config, or other labelled texts; or settings by which its
    pipeline has another size.
    """
    runs: Runs = defaultdict(dict)
    single = {metrics["variant"]: metrics for metrics in variants}
    for path in sorted((folder / SEEDS).glob(RUNS)):
        metrics = read_json(path)
        if is_run(metrics, dataset) and not metrics.get("experiment", {}).get("values"):
            runs[metrics["variant"]][path.stem] = metrics
    older = []
    for name, metrics in single.items():
        twins = [run for run in runs[name].values() if run["seed"] == metrics["seed"]]
        known = [env for one in (metrics, *twins) if (env := one.get("env", {})).get("config_md5")]
        made_from = [(env["config_md5"], labelled(env.get("corpus_md5", {}))) for env in known]
        sizes = [one["size"]["pipeline_bytes"] for one in (metrics, *twins)]
        if any(one != made_from[0] for one in made_from) or max(sizes) > (1 + SAME_SIZE) * min(sizes):
            older.append(name)
            runs[name] = {}
        if not runs[name] or not twins:
            runs[name][name] = metrics
    if older and not quiet:
        msg.warn(
            f"{folder / SEEDS}: other configs or texts than in {folder}, so these runs do not count: {', '.join(older)}"
        )
    return dict(runs)


def scores_of(runs: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """Macro-F1 by the stem of the run's file: what tells whether something was found from these runs."""
    return {stem: metrics["scores"]["macro_f1"] for stem, metrics in sorted(runs.items())}


def with_ends(found: dict[str, Any], runs: Runs) -> dict[str, Any]:
    """A comparison, without shares of the gap if that has another end by all runs, or one that was not compared."""
    ends = find_ends({name: list(own.values()) for name, own in runs.items()})
    if "missing" not in ends:
        sides = [ends["blank"], ends["transformer"]]
        compared = {row["name"] for row in found["rows"]}
        if compared >= set(sides) and sides == [found["gap"].get(side) for side in ("blank", "transformer")]:
            return found
        ends = {"missing": f"There are no paired tests of both ends of the gap, {' and '.join(sides)}."}
    return found | {"gap": ends, "rows": [row | {"share": None} for row in found["rows"]]}


def is_of(found: dict[str, Any], run: dict[str, Any]) -> bool:
    """Whether a run was tested on the texts that a comparison is of; an earlier version noted how many they were."""
    texts = labelled(run.get("env", {}).get("corpus_md5", {}))
    return run["scores"].get("documents") == found["documents"] and texts == found.get("corpus_md5", texts)


def still_true(found: dict[str, Any], runs: Runs) -> dict[str, Any] | None:
    """The part of a comparison that is of the runs that there are now; None if nothing is left to compare.

    Its `reference` is None if that has been measured anew: then the differences to it are of no use.
    """
    now = {name: scores_of(own) for name, own in runs.items() if all(is_of(found, run) for run in own.values())}
    names = {name for name, scores in found["runs"].items() if now.get(name) == scores}
    if len(names) < 2:
        return None
    rows = [
        row | {"worse_than": [name for name in row["worse_than"] if name in names]}
        for row in found["rows"]
        if row["name"] in names
    ]
    reference = found["reference"] if found["reference"] in names else None
    kept = {"rows": rows, "reference": reference, "runs": {name: found["runs"][name] for name in sorted(names)}}
    return with_ends(found | kept, runs)


def same_documents(groups: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The groups that were tested on the documents that most were tested on."""
    counts = Counter(tested(run) for runs in groups.values() for run in runs)
    common = counts.most_common(1)[0][0] if counts else ()
    kept = {name: [run for run in runs if tested(run) == common] for name, runs in groups.items()}
    for name in groups:
        if len(kept[name]) < len(groups[name]):
            msg.warn(f"{name}: was tested on other documents or labels than most, and is not compared. Run it again.")
    return {name: runs for name, runs in kept.items() if len(runs) == len(groups[name])}


def compare_variants(folder: Path, dataset: str, runs: Runs, anew: bool = False) -> tuple[dict[str, Any] | None, bool]:
    """What paired tests say of all variants of a task.

    Args:
        folder: of the metrics of the task.
        dataset: its name.
        runs: that stand for each variant, see `find_runs`.
        anew: whether to compare what has not been compared yet, or to go by what was found before.

    Returns:
        What `compare_groups` says, with the `runs` that it was found from; None if there are no two variants to
        compare. And whether it is new: to be written to METRICS/paired/compare.json.
    """
    path = folder / PAIRED / COMPARISON
    found_before = read_json(path) if path.is_file() else {}
    if found_before and not found_before.keys() >= WRITTEN:
        msg.warn(f"{path}: left out, it is not what `report` writes. Remove it.")
        found_before = {}
    before = still_true(found_before, runs) if found_before else None
    known = before["runs"] if before else {}
    groups = {}
    if anew and known.keys() != runs.keys():
        groups = same_documents(
            {name: list(own.values()) for name, own in runs.items() if all(map(has_answers, own.values()))}
        )
    if len(groups) < 2 or len(groups) <= len(known):
        return before, False
    # Metrics of an earlier version cannot be compared again: what was found of both ends of the gap is not given away.
    ends = {before["gap"].get("blank"), before["gap"].get("transformer")} - {None} if before else set()
    if not ends <= groups.keys():
        return before, False
    reference = best_of(groups, list(groups)) or next(iter(groups))
    first = next(iter(groups.values()))[0]
    facts = {
        "dataset": dataset,
        "documents": documents(first),
        "corpus_md5": labelled(first.get("env", {}).get("corpus_md5", {})),
        "reference": reference,
        "resamples": RESAMPLES,
        "alpha": ALPHA,
        "runs": {name: scores_of(runs[name]) for name in sorted(groups)},
    }
    return with_ends(facts | compare_groups(groups, reference), runs), True
