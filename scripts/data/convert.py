"""Turn a data set into `corpus/`: train, dev and test as DocBin, raw text of the training side, task facts.

A data set is a folder `assets/NAME/`. It holds `train` in one of the forms of scripts/data/formats.py, and, if they
exist, `dev`, `test` and `raw`. What is missing is cut from `train`: the test set takes 25.5 %, the dev set 10 %, per
label (of several labels the rarest), in the order of a hash of the text, so that the split is the same on every machine
and hardly moves when texts are added. Data sets that come in another form have a function in `READERS`.

With a fold (`--fold 0` to `--folds` - 1), all labelled texts are put together, whatever split they came in, and the
test set is a block of them in the same order, so that over all folds each text is tested once.

Where each row of a file has one label and the mode is set to `multi`, its rows of one text are put together.

Files `annotated*` hold what was annotated after that, as answers to tasks of `doubt` and `suggest`: a text keeps its
split and gets the new labels, and a new text goes to train.

Texts that are equal but for case and punctuation never stand on two sides. Raw text of dev and test articles, and any
raw line that holds a dev or test text, is left out.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from scripts.common.cli import run_cli
from scripts.common.locks import check_dataset
from scripts.data.corpus import blank_pipeline, check_assets, clean_raw, read_dataset, write_corpus
from scripts.data.formats import ANNOTATED, AUTO, NONE, SPLITS, Notes, Options, Splits, read_raw
from scripts.data.labels import all_examples, check_labels, describe_rare, find_joined, keep_learnable, resolve_mode
from scripts.data.language import resolve_language, sample_texts
from scripts.data.splits import (
    Fold,
    add_annotated,
    assert_honest,
    complete_splits,
    count_contradictions,
    cut_fold,
    normalize,
    parse_fold,
)


def prepare(given: Splits, mode: str, fold: Fold | None = None) -> tuple[Splits, list[str], str, str, str]:
    """Check and split what was read: (splits, labels, mode, why that mode, what to say of labels that train lacks)."""
    annotated = given.get(ANNOTATED, [])
    if fold:
        given = {"train": all_examples(given), ANNOTATED: annotated}
    mode, reason = resolve_mode(given, mode)
    labels = check_labels(given, mode)
    splits = add_annotated(cut_fold(given["train"], fold), annotated) if fold else complete_splits(given)
    splits, labels, unlearned = keep_learnable(splits, labels, mode)
    assert_honest(splits)
    return splits, labels, mode, reason, unlearned


def show_notes(notes: Notes) -> None:
    """Print the detected formats and what was mended while reading."""
    for path, name in notes.formats.items():
        columns = "".join(f", {what} from `{column}`" for what, column in notes.columns.get(path, {}).items())
        msg.info(f"{path}: read as {name}{columns}")
    for line in notes.lines():
        msg.warn(line)


def convert(
    dataset: Annotated[str, typer.Argument(help="Name of the data set: a folder of --assets.")],
    corpus: Annotated[Path, typer.Argument(help="Folder to write.")],
    assets: Annotated[Path, typer.Option(help="Folder that holds the data sets.")] = Path("assets"),
    project: Annotated[Path, typer.Option(help="File with the checksums of the assets.")] = Path("project.yml"),
    lang: Annotated[str, typer.Option(help="spaCy's code of the language; auto goes by README.md and words.")] = AUTO,
    format_: Annotated[str, typer.Option("--format", help="Form of the files; auto goes by their content.")] = AUTO,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = AUTO,
    label_column: Annotated[str, typer.Option(help="Column of the labels, or columns of 0 and 1: a,b,c.")] = AUTO,
    label_separator: Annotated[str, typer.Option(help="Between several labels in one column.")] = NONE,
    mode: Annotated[str, typer.Option(help="single, multi or binary; auto goes by the data.")] = AUTO,
    fold: Annotated[
        str, typer.Option(help="Which block of all labelled texts is the test set; none: the split.")
    ] = NONE,
    folds: Annotated[int, typer.Option(help="How many blocks there are.")] = 4,
) -> None:
    """Turn a data set into train.spacy, dev.spacy, test.spacy, raw.jsonl and task.json."""
    folder, block = check_dataset(dataset, assets), parse_fold(fold, folds)
    check_assets(project, folder)
    if lang != AUTO:
        blank_pipeline(lang)
    notes = Notes()
    given = read_dataset(folder, Options(format_, text_column, label_column, label_separator, mode), notes)
    show_notes(notes)
    lang, why = resolve_language(lang, folder, sample_texts(given))
    msg.info(f"Language {lang}: {why}")
    if n := count_contradictions(all_examples(given)):
        one_each = all(len(example.labels) == 1 for example in all_examples(given))
        advice = " If a text may have several labels: --vars.mode multi" if one_each else ""
        msg.warn(f"{n:,} text(s) with different labels at different places, left out of train.{advice}")
    splits, labels, mode, reason, unlearned = prepare(given, mode, block)
    msg.info(f"Mode {mode}: {reason}")
    if joined := find_joined(labels):
        msg.warn(joined)
    if rare := describe_rare(given["train"]):
        msg.warn(f"{rare}. So few teach little; correct what is misspelt")
    if unlearned:
        msg.warn(unlearned)
    left_out: Counter[str] = Counter()
    raw = clean_raw(splits, read_raw(folder, text_column), left_out)
    facts = write_corpus(splits, labels, raw, lang, dataset, mode, corpus, block)
    if left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.most_common())
        lines = facts["raw"]["lines"] + left_out.total()
        msg.info(f"Raw text: {left_out.total():,} of {lines:,} lines left out: {reasons}")
    sizes = " / ".join(str(facts["examples"][split]) for split in SPLITS)
    new = 0
    if sources := {example.source for example in given.pop(ANNOTATED, ())}:
        answered = {split: [e for e in examples if e.source in sources] for split, examples in splits.items()}
        known = {normalize(example.text) for examples in given.values() for example in examples}
        new = sum(normalize(example.text) not in known for example in answered["train"])
        counts = " / ".join(str(len(answered[split])) for split in SPLITS)
        msg.info(f"Annotated after the split: {counts} texts of train / dev / test; {new} of train are new")
    dropped = sum(map(len, given.values())) + new - sum(map(len, splits.values()))
    which = "repeated, leaking or unlearnable" if unlearned else "repeated or leaking"
    msg.good(
        f"{dataset}{f', fold {fold} of {folds}' if block else ''}: {sizes} texts to train / dev / test, "
        f"{len(labels)} label{'s' * (len(labels) > 1)}, "
        f"{facts['raw']['words']:,} raw words; {dropped} {which} texts left out"
    )


if __name__ == "__main__":
    run_cli(convert)
