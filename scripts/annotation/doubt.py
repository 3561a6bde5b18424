"""Find labels that may be wrong, for a person to look at. No label is changed.

Each text of train and dev is judged by the linear model fitted to others of them (cross-fitting). The test set is not
looked at. Texts of the data set's files `annotated*` have been looked at, and are left out.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from wasabi import msg

from scripts.annotation.confident import doubts, expected_errors
from scripts.annotation.cross_fit import cross_fit, text_features
from scripts.annotation.labelled import Labelled, read_labelled
from scripts.annotation.tasks import make_task, say, write_tasks
from scripts.common.cli import run_cli
from scripts.common.files import write_json
from scripts.common.locks import check_dataset
from scripts.data.corpus import read_dataset
from scripts.data.formats import ANNOTATED, AUTO, NONE, Notes, Options, Splits
from scripts.data.splits import normalize

SHOWN = 5
PAIRS = 10  # of labels that are told


def find_sources(given: Splits) -> dict[str, str]:
    """Where each text stands, by its normalised form; the later place if it stands in several."""
    return {normalize(example.text): example.source for examples in given.values() for example in examples}


def rank(data: Labelled, P: np.ndarray, answered: set[str]) -> list[tuple[int, float]]:
    """The texts whose labels the model contradicts, as (number, doubt), most doubtful first.

    Args:
        data: the labelled texts.
        P: probabilities by a model fitted without them, shape (texts, labels).
        answered: normalised texts that a person has looked at.
    """
    against = doubts(P, data.Y, data.exclusive)
    order = np.argsort(-against, kind="stable").tolist()
    return [(i, float(against[i])) for i in order if against[i] > 0 and normalize(data.docs[i].text) not in answered]


def to_task(data: Labelled, P: np.ndarray, i: int, doubt: float, source: str) -> dict[str, Any]:
    """The task of a doubted text, its given labels filled in."""
    given = [label for label, value in zip(data.labels, data.Y[i], strict=True) if value]
    best = [P[i].argmax()] if data.exclusive else np.flatnonzero(P[i] >= 0.5)
    suggested = [data.labels[j] for j in best]
    meta = {
        "given": say(given),
        "suggested": say(suggested),
        # How sure the model is that it is the other one of the two
        "score": round(float(1 / (1 + np.exp(-doubt))), 4),
        "source": source,
    }
    return make_task(data.docs[i].text, data.labels, given, data.exclusive, meta)


def doubt(
    dataset: Annotated[str, typer.Argument(help="Name of the data set: a folder of --assets.")],
    output: Annotated[Path, typer.Argument(help="Tasks for Prodigy to write (.jsonl).")],
    summary: Annotated[Path, typer.Argument(help="How many there are, and between which labels (.json).")],
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    assets: Annotated[Path, typer.Option(help="Folder that holds the data sets.")] = Path("assets"),
    texts: Annotated[int, typer.Option(min=1, help="How many texts to give, at most.")] = 100,
    format_: Annotated[str, typer.Option("--format", help="Form of the files, as for convert.")] = AUTO,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = AUTO,
    label_column: Annotated[str, typer.Option(help="Column of the labels, or columns of 0 and 1: a,b,c.")] = AUTO,
    label_separator: Annotated[str, typer.Option(help="Between several labels in one column.")] = NONE,
    mode: Annotated[str, typer.Option(help="single, multi or binary; auto goes by the data.")] = AUTO,
) -> None:
    """Write the labelled texts of train and dev that a model contradicts, most doubtful first, as tasks for Prodigy."""
    folder = check_dataset(dataset, assets)
    data = read_labelled(corpus, "train", "dev")
    given = read_dataset(folder, Options(format_, text_column, label_column, label_separator, mode), Notes())
    sources, answered = find_sources(given), {normalize(example.text) for example in given.get(ANNOTATED, ())}
    P = cross_fit(text_features(data.docs), data.Y, data.exclusive)
    found, wrong = rank(data, P, answered), expected_errors(P, data.Y, data.exclusive)
    tasks = [
        to_task(data, P, i, score, sources.get(normalize(data.docs[i].text), str(corpus))) for i, score in found[:texts]
    ]
    pairs = Counter((task["meta"]["given"], task["meta"]["suggested"]) for task in tasks)
    write_tasks(output, tasks)
    facts = {
        "texts": len(data.docs),
        "contradicted": len(found),
        "expected_wrong": wrong,
        "pairs": [{"given": a, "suggested": b, "texts": count} for (a, b), count in pairs.most_common(PAIRS)],
    }
    write_json(summary, facts)
    if tasks:
        rows = [
            (f"{task['meta']['score']:.3f}", task["meta"]["given"], task["meta"]["suggested"], task["text"][:60])
            for task in tasks[:SHOWN]
        ]
        msg.table(rows, header=("score", "given", "suggested", "text"), divider=True)
    if len(tasks) < texts:
        msg.info(f"Only {len(tasks)} of the {texts} texts wanted: the model contradicts the labels of no others.")
    msg.good(
        f"{output}: {len(tasks)} of {len(data.docs):,} texts to look at; at most some {wrong:,} labels are expected "
        "to be wrong"
    )


if __name__ == "__main__":
    run_cli(doubt)
