"""Choose among texts without labels those that are worth annotating next, each with a committee's answer filled in.

Streams: memory does not grow with the input. Texts of train, dev and test are left out.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from spacy.language import Language
from wasabi import msg

from scripts.annotation.cross_fit import text_features
from scripts.annotation.labelled import Labelled, read_labelled
from scripts.annotation.picking import SPARE, Candidate, Pool, choose, reading_order, uncertainty
from scripts.annotation.tasks import make_task, write_tasks
from scripts.common.cli import UserError, run_cli, show_progress
from scripts.data.formats import SPLITS
from scripts.data.splits import normalize
from scripts.deploy.labelling import Reading, column_in, load, text_of
from scripts.evaluation.thresholds import COMPONENT, decision_threshold
from scripts.forms.records import AUTO, FORMS

BATCH = 2_000  # texts that are labelled at a time
MAX_LABELS = 3  # whose probabilities are shown


def load_committee(names: str, training: Path, code: Path | None, labels: Sequence[str]) -> list[Language]:
    """The trained pipelines of variants.

    Args:
        names: of the variants, joined by commas.
        training: folder of what is trained on the data set.
        code: file with the pipelines' registered functions.
        labels: of the task.

    Raises:
        UserError: one is not trained, or on other labels.
    """
    committee = []
    for name in names.split(","):
        model = training / name.strip() / "model-best"
        if not model.is_dir():
            raise UserError(
                f"{model}: {name.strip()!r} is not trained. Train it (python -m spacy project run {name.strip()}), or "
                "name variants that are: --vars.committee"
            )
        nlp = load(str(model), code)
        if set(nlp.get_pipe(COMPONENT).labels) != set(labels):
            raise UserError(f"{model}: was trained on other labels than the data set has now. Train it again.")
        committee.append(nlp)
    return committee


def judge(committee: Sequence[Language], texts: list[str], labels: Sequence[str]) -> np.ndarray:
    """The mean of the probabilities that the members give, shape (texts, labels).

    Where they disagree, no label gets much, so that it counts as uncertain.
    """
    found = []
    for nlp in committee:
        with nlp.memory_zone():  # else it would keep every new word
            found.append([[doc.cats[label] for label in labels] for doc in nlp.pipe(texts)])
    return np.asarray(found).mean(0)


def threshold_of(committee: Sequence[Language]) -> float | None:
    """From which score on a label is given, the mean of the members'; None if only the best one is."""
    thresholds = [threshold for nlp in committee if (threshold := decision_threshold(nlp)) is not None]
    return float(np.mean(thresholds)) if thresholds else None


Text = tuple[str, str, str]  # normalised, as it is, and where it stands


def new_texts(reading: Reading, source: Path, known: set[str], counts: dict[str, int]) -> Iterator[Text]:
    """Stream the texts of a file that have a letter and are not known; count what is read, and known."""
    for record, place in reading.records(source):
        text = text_of(record, place, reading.text_column).strip()
        counts["read"] += 1
        key = normalize(text)
        if key in known:
            counts["known"] += 1
        elif any(map(str.isalpha, key)):
            yield key, text, place


def gather(texts: Iterator[Text], committee: Sequence[Language], labels: Sequence[str], size: int) -> list[Candidate]:
    """The most uncertain texts of a stream, and of each label."""
    pool, threshold = Pool(size, len(labels)), threshold_of(committee)
    with show_progress(desc="suggest", unit=" texts") as bar:
        while batch := list(islice(texts, BATCH)):
            P = judge(committee, [text for _, text, _ in batch], labels)
            scores = uncertainty(P, threshold)
            for (key, text, place), row, score in zip(batch, P, scores.tolist(), strict=True):
                pool.add(key, Candidate(score, int(row.argmax()), text, place, tuple(row.tolist())))
            bar.update(len(batch))
    return pool.candidates()


def pick(candidates: list[Candidate], data: Labelled, nlp: Language, wanted: int) -> list[Candidate]:
    """Those to annotate: uncertain, of all labels, and no near-copies of one another or of a labelled text."""
    docs = [nlp.make_doc(candidate.text) for candidate in candidates]
    known = [nlp.make_doc(doc.text) for doc in data.docs]
    X = text_features(docs + known)
    order = reading_order(
        np.array([candidate.score for candidate in candidates]),
        np.array([candidate.label for candidate in candidates]),
        data.Y.sum(0),
        wanted,
    )
    return [candidates[i] for i in choose(X[: len(docs)], X[len(docs) :], order, wanted)]


def to_task(candidate: Candidate, labels: Sequence[str], threshold: float | None) -> dict[str, Any]:
    """The task of a text, the committee's answer filled in."""
    scores = dict(zip(labels, candidate.scores, strict=True))
    best = sorted(labels, key=lambda label: -scores[label])
    accept = best[:1] if threshold is None else [label for label in labels if scores[label] >= threshold]
    shown = ", ".join(f"{label} {scores[label]:.2f}" for label in best[:MAX_LABELS])
    meta = {"score": round(candidate.score, 4), "probabilities": shown, "source": candidate.source}
    return make_task(candidate.text, labels, accept, threshold is None, meta)


def suggest(
    source: Annotated[Path, typer.Argument(help="Texts without labels: JSON Lines, a table, Parquet or plain text.")],
    output: Annotated[Path, typer.Argument(help="Tasks for Prodigy to write (.jsonl).")],
    committee: Annotated[str, typer.Option(help="Trained variants that are asked, joined by commas.")] = "linear",
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    training: Annotated[Path, typer.Option(help="Folder of what is trained on it.")] = Path("training"),
    texts: Annotated[int, typer.Option(min=1, help="How many texts to give, at most.")] = 100,
    form: Annotated[str, typer.Option("--format", help=f"auto, {', '.join(FORMS)}.")] = AUTO,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = AUTO,
    code: Annotated[Path | None, typer.Option(help="File with the pipelines' registered functions.")] = None,
) -> None:
    """Write the texts that a committee of trained variants is least sure of, varied and new, as tasks for Prodigy."""
    if not source.is_file():
        raise UserError(f"{source}: there is no such file. Name one with texts without labels: --vars.input new.jsonl")
    labelled = read_labelled(corpus, *SPLITS)
    labels = labelled.labels
    members = load_committee(committee, training, code, labels)
    known = {normalize(doc.text) for doc in labelled.docs}
    counts = {"read": 0, "known": 0}
    stream = new_texts(Reading(form, column_in(source, text_column)), source, known, counts)
    candidates = gather(stream, members, labels, SPARE * texts)
    if not counts["read"]:
        raise UserError(f"{source}: there is no text in it.")
    if not candidates and source == corpus / "raw.jsonl":
        msg.warn(f"{source}: all of its texts are known already. Give others: --vars.input new.jsonl")
        return
    if not candidates:
        raise UserError(
            f"{source}: nothing new in it: {counts['known']:,} of its {counts['read']:,} texts are in train, dev or "
            "test already, and the others have no words. Give other texts: --vars.input new.jsonl"
        )
    chosen = pick(candidates, labelled, members[0], texts)
    write_tasks(output, (to_task(candidate, labels, threshold_of(members)) for candidate in chosen))
    if len(chosen) < min(texts, counts["read"]):
        msg.info(
            f"Only {len(chosen)} of the {texts} texts wanted: the others are known, without words, or near-copies."
        )
    msg.good(f"{output}: {len(chosen)} of {counts['read']:,} texts to annotate ({counts['known']:,} are known already)")


if __name__ == "__main__":
    run_cli(suggest)
