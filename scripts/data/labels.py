"""Tell the mode of a task by its labels, and make sure that they can be learned."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher, get_close_matches
from itertools import chain

from scripts.common.cli import UserError
from scripts.data.formats import ANNOTATED, AUTO, MODES, SPLITS, Example, Splits, count_labels

SEPARATORS = "|;,/+&"  # what may stand between the labels of one field
NAMED = 9  # other labels in one message
MIN_EXAMPLES = 4  # of a label that is not rare: one can stand in dev, one in test and two in train
ALIKE = 0.85  # of a rare label and another: so much of both is the same in one that is misspelt (spot, sport: 0.89)
NEAREST = 9  # of the labels that are alike, compared word by word
ALIKE_WORD = 0.75  # the same of each word that differs, so that f-cattle is no l-cattle: one letter of four
MOST_UNKNOWN = 0.1  # of the texts of dev or of test: more with labels that train lacks are of another task
DIGITS = re.compile(r"\d")  # in names that differ by a number, such as py2 and py3


def all_examples(given: Splits) -> list[Example]:
    """The examples of all splits, one after another."""
    return [example for split in SPLITS for example in given.get(split, ())]


def resolve_mode(given: Splits, wanted: str) -> tuple[str, str]:
    """The kind of the task, and why.

    Args:
        given: the data as read.
        wanted: `single` (each text has exactly one label), `multi` (any number), `binary` (has the only label or not),
            or `auto`, which goes by the data.

    Raises:
        UserError: the data contradict what is wanted.
    """
    if wanted not in MODES:
        raise UserError(f"mode {wanted!r} is unknown. Choose {', '.join(MODES)}.")
    examples = all_examples(given)
    labels = {label for example in examples for label in example.labels}
    odd = next((example for example in examples if len(example.labels) != 1), None)
    if odd is None:
        found, reason = "single", "each text has exactly one label"
    elif len(labels) == 1:
        found, reason = "binary", f"the only label is {next(iter(labels))!r}, and {odd.source} is without it"
    else:
        found, reason = "multi", f"{odd.source} has {len(odd.labels)} labels"
    if wanted in (AUTO, found):
        return found, reason if wanted == AUTO else "as set"
    if wanted == "single" and odd:
        raise UserError(
            f"{odd.source}: {len(odd.labels)} labels ({', '.join(odd.labels)}), but the mode is single. Give it "
            "exactly one, or set mode to multi."
        )
    if wanted == "binary":
        raise UserError(
            f"{examples[0].source}: the mode is binary, but there are {len(labels)} labels and "
            f"{'no text without one' if odd is None else 'texts with several'}. Set mode to auto."
        )
    return wanted, "as set"


def looks(label: str) -> str:
    """What is the same for labels that a reader takes for the same: without case, width, spaces and what is unseen."""
    seen = "".join(char for char in unicodedata.normalize("NFKC", label) if unicodedata.category(char) != "Cf")
    return " ".join(seen.casefold().split())


def check_spellings(given: Splits) -> None:
    """Make sure that no two labels differ in case, white space or what cannot be seen only.

    Raises:
        UserError: two do.
    """
    spellings: dict[str, tuple[str, str]] = {}
    for example in chain.from_iterable(given.values()):
        for label in example.labels:
            other, source = spellings.setdefault(looks(label), (label, example.source))
            if other != label:
                raise UserError(
                    f"{example.source}: label {label!r} is spelt {other!r} in {source}. Make them the same."
                )


def find_joined(labels: Iterable[str]) -> str | None:
    """What to say if a label is others joined, as where several stand in one field; None if there is none."""
    known = set(labels)
    if listed := next((label for label in sorted(known) if re.fullmatch(r"\[.*,.*\]", label)), None):
        return (
            f"The label {listed!r} looks like a list, and counts as one label. If it is several: write them as "
            """['a', 'b'], or a|b with --vars.label_separator "|"."""
        )
    for label in sorted(known):
        for separator in SEPARATORS:
            parts = [part.strip() for part in label.split(separator)]
            if len(parts) > 1 and known.issuperset(parts):
                return (
                    f"The label {label!r} is others joined, and counts as one of its own. If it is several in one "
                    f'field: --vars.label_separator "{separator}"'
                )
    return None


def rare_labels(counts: Counter[str]) -> dict[str, int]:
    """The labels of which there are too few examples for train, dev and test, and how many there are."""
    return {label: count for label, count in counts.items() if count < MIN_EXAMPLES}


def name_some(labels: Sequence[str]) -> str:
    """The first labels, with a sign that there are more."""
    return ", ".join([*map(repr, labels[:NAMED]), *(["…"] if labels[NAMED:] else [])])


def is_misspelt(label: str, other: str) -> bool:
    """Whether each word of a label is one of the other or nearly so; where they differ by a number, both are meant."""
    if DIGITS.search(label + other):
        return False
    words, others = (re.findall(r"[^\W_]+", text) for text in (label, other))
    if len(words) != len(others):
        return "".join(words) == "".join(others)
    return all(SequenceMatcher(None, *pair).ratio() >= ALIKE_WORD for pair in zip(words, others, strict=True))


def find_alike(label: str, others: Sequence[str]) -> str | None:
    """The label that this one looks like, as one that is misspelt."""
    near = get_close_matches(label, others, NEAREST, ALIKE)
    return next((other for other in near if is_misspelt(label, other)), None)


def describe_label(label: str, count: int, train: Sequence[Example]) -> str:
    """Where a label first stands, and how many examples it has."""
    source = next(example.source for example in train if label in example.labels)
    return f"{source}: label {label!r} has {count} example(s)"


def describe_rare(train: Sequence[Example]) -> str:
    """Where the first rare label stands and which others there are; empty if none is rare."""
    rare = rare_labels(count_labels(train))
    if not rare:
        return ""
    label, *others = rare
    more = f"; {len(others)} more are rare: {name_some(others)}" if others else ""
    return describe_label(label, rare[label], train) + more


def check_rare(train: Sequence[Example], counts: Counter[str]) -> None:
    """Make sure that rare labels are meant.

    Some are common in long lists of labels, and no reason to refuse the others. But one that is written nearly as
    another is misspelt, and where most texts have rare labels only, these are names, numbers or texts.

    Args:
        train: the examples.
        counts: of their labels, from `count_labels`.

    Raises:
        UserError: they hardly can be.
    """
    rare = rare_labels(counts)
    others = [label for label in counts if label not in rare]
    for label, count in rare.items():
        if near := find_alike(label, others):
            raise UserError(
                f"{describe_label(label, count, train)}, and looks like {near!r}. Correct it; if it is another "
                f"label, at least {MIN_EXAMPLES} are needed."
            )
    labelled = [example for example in train if example.labels]
    if 2 * sum(rare.keys() >= set(example.labels) for example in labelled) > len(labelled):
        raise UserError(
            f"{describe_rare(train)}. At least {MIN_EXAMPLES} are needed of the labels of most texts. Add some, or "
            "name the column of the labels: --vars.label_column"
        )


def check_labels(given: Splits, mode: str = "single") -> list[str]:
    """The sorted labels of the training side, once there is something to tell apart and each label is meant.

    Labels that only dev or test has are left to `keep_learnable`.

    Raises:
        UserError: there is nothing, two labels are one, rare labels are not meant, one that train lacks looks like
            another or was typed while annotating.
    """
    check_spellings(given)
    counts = count_labels(given["train"])
    without = sum(not example.labels for example in given["train"])
    if len(counts) < 2 and not (mode == "binary" and counts and without >= MIN_EXAMPLES):
        raise UserError(
            f"{given['train'][0].source}: all examples have the same label, {list(counts)}; "
            f"a classifier needs two or more, or {MIN_EXAMPLES} examples or more without it."
        )
    check_rare(given["train"], counts)
    for example in given.get(ANNOTATED, ()):
        if mode == "single" and len(example.labels) != 1:
            raise UserError(
                f"{example.source}: {len(example.labels)} labels, but each text of this task has exactly one. Correct "
                "the answer, or remove the line."
            )
    named = count_labels(chain.from_iterable(given.values()))
    alike = {label: find_alike(label, list(counts)) for label in named if label not in counts}
    for split, examples in given.items():
        for example in examples:
            for label in example.labels:
                if label in alike and (alike[label] or split == ANNOTATED):
                    looks_like = f", and looks like {alike[label]!r}" if alike[label] else ""
                    raise UserError(
                        f"{example.source}: label {label!r} does not occur in train{looks_like}. Correct it, or add "
                        "examples to train."
                    )
    return sorted(counts)


def keep_learnable(splits: Splits, labels: Sequence[str], mode: str) -> tuple[Splits, list[str], str]:
    """Take labels that no text of train has out of dev and test: nobody can learn them.

    Official splits of long lists of labels have some, and others lose their few texts as repeated ones. Reuters-21578
    is told with the labels that both sides have (the 90 of the split ModApte) for the same reason.

    Args:
        splits: train, dev and test, as they will be written.
        labels: those that train had as given.
        mode: with `single`, a text with such a label is left out; else it loses the label.

    Returns:
        The splits, the sorted labels of train, and what to say about the others; empty if there are none.

    Raises:
        UserError: more than a tenth of dev or test is concerned, or too few labels are left.
    """
    known = set(count_labels(splits["train"]))
    found = dict(splits)
    concerned = []
    for split in ("dev", "test"):
        odd = [example for example in splits[split] if not known.issuperset(example.labels)]
        if len(odd) > MOST_UNKNOWN * len(splits[split]):
            label = next(label for label in odd[0].labels if label not in known)
            raise UserError(
                f"{odd[0].source}: label {label!r} does not occur in train, once repeated texts and those of dev and "
                f"test are left out; {len(odd)} of {len(splits[split])} texts of {split} have such labels. Correct "
                "it, or add examples to train."
            )
        if mode == "single":
            found[split] = [example for example in splits[split] if known.issuperset(example.labels)]
        elif odd:
            found[split] = [
                replace(example, labels=tuple(label for label in example.labels if label in known))
                for example in splits[split]
            ]
        concerned += odd
    unknown = sorted({*labels, *count_labels(concerned)} - known)
    if unknown and len(known) < 2:
        raise UserError(
            f"Label {unknown[0]!r}: no text of train with it is left, once repeated texts and those of dev and test "
            "are left out, and a classifier needs two labels or more. Add some."
        )
    if not unknown:
        return found, sorted(known), ""
    where = ""
    if concerned:
        what = "left out" if mode == "single" else "counted without it"
        where = f"; {len(concerned)} text(s) of dev and test with one are {what}, the first {concerned[0].source}"
    return (
        found,
        sorted(known),
        f"{len(unknown)} label(s) have no text in train, once repeated ones and those of dev and test are left out, "
        f"and cannot be learned: {name_some(unknown)}{where}",
    )
