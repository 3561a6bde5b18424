"""Cut train, dev and test, without a text on two sides."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from scipy.cluster.hierarchy import DisjointSet

from scripts.common.cli import UserError
from scripts.common.files import md5_bytes
from scripts.data.formats import ANNOTATED, NONE, SPLITS, Example, Splits, count_labels
from scripts.encoder.languages import UNSPACED

TEST_SHARE = 0.255  # of 2,060 BBC articles this leaves at least 520 for the test
DEV_SHARE = 0.10
# Two articles are versions of one when this share of the shorter one's five-word runs also stands in the longer one.
NEAR_DUPLICATE = 0.5
SHINGLE = 5
MIN_TEXTS = 4  # of train, whatever their labels
MAX_SHINGLE_HOLDERS = 20  # a run that more articles share is a stock phrase
# Where marks, signs and scripts without spaces are: not in Latin, Greek or Cyrillic letters, nor in the usual
# punctuation.
INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")  # soft hyphens and the like, within words
UNUSUAL = re.compile(r"[\u0300-\u036f\u0482-\u0489\u058d-\u1dff\u20d0-\U0010ffff]")


@cache
def word_pattern() -> re.Pattern[str]:
    """Words with their marks, which Python takes for no letters (vowels of Hindi), and signs such as emoji."""
    beyond_latin = (*range(0x300, 0xFE00), *range(0xFE20, 0x10000), *range(0x1F000, 0x1FB00))
    marks, signs = (
        "".join(chr(i) for i in beyond_latin if unicodedata.category(chr(i)).startswith(kind)) for kind in ("M", "So")
    )
    return re.compile(rf"[\w{marks}]+|[{signs}]")


def fold(text: str) -> str:
    """A text without what differs in looks only: width, composition, case."""
    return unicodedata.normalize("NFKC", text).casefold()


def normalize(text: str) -> str:
    """The words of a text, case-folded, one space between: equal for texts that differ in looks only.

    Where no spaces stand between words, each letter is one.
    """
    # Turkish has the pairs I, ı and İ, i, which all are one letter here.
    folded = INVISIBLE.sub("", fold(text)).replace("i\u0307", "i").replace("ı", "i")
    if UNUSUAL.search(folded):
        words = word_pattern().findall(re.sub(UNSPACED, r" \g<0> ", folded))
    else:  # the same, in a tenth of the time
        words = re.findall(r"\w+", folded)
    return " ".join(words) or text.strip()


def text_hash(text: str) -> str:
    """A stable sort key: the MD5 of the runs of letters and digits, without marks and signs.

    `normalize` tells more texts apart; but the order of a split must not change with it.
    """
    words = re.findall(r"\w+", fold(text))
    return md5_bytes([(" ".join(words) or text.strip()).encode("utf-8")])


# Duplicates


def drop_repeated(examples: Sequence[Example]) -> list[Example]:
    """Keep the first of the examples that share a normalised text or a normalised raw text.

    Sharing is transitive; if the repeats disagree on the labels, none of them is kept.
    """
    groups = DisjointSet(range(len(examples)))
    seen: dict[str, int] = {}
    for index, example in enumerate(examples):
        for key in {"text " + normalize(example.text), "raw " + normalize(" ".join(example.raw))} - {"raw "}:
            groups.merge(seen.setdefault(key, index), index)
    firsts = {min(group) for group in groups.subsets() if len({examples[index].labels for index in group}) == 1}
    return [example for index, example in enumerate(examples) if index in firsts]


def unite_labels(examples: list[Example]) -> list[Example]:
    """Where each row has one label: the first of those that share a normalised text, with the labels of all."""
    if any(len(example.labels) != 1 for example in examples):
        return examples
    labels: dict[str, list[str]] = defaultdict(list)
    firsts: dict[str, Example] = {}
    for example in examples:
        key = normalize(example.text)
        firsts.setdefault(key, example)
        labels[key] += example.labels
    return [replace(example, labels=tuple(sorted(set(labels[key])))) for key, example in firsts.items()]


def count_contradictions(examples: Sequence[Example]) -> int:
    """How many normalised texts stand there with different labels."""
    labels: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for example in examples:
        labels[normalize(example.text)].add(example.labels)
    return sum(len(found) > 1 for found in labels.values())


def shingles(text: str) -> set[tuple[str, ...]]:
    """The runs of `SHINGLE` words of a text; empty for a shorter one."""
    words = normalize(text).split()
    return {tuple(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)}


# Splitting


@dataclass(frozen=True)
class Fold:
    """One block of the labelled texts is the test set, and each of them is so once.

    Attributes:
        number: of the block, counted from 0.
        of: how many blocks there are.
    """

    number: int
    of: int


def stratify(examples: Sequence[Example]) -> tuple[dict[str, list[Example]], dict[str, list[str]]]:
    """The members of each group, and the names of the groups of each label, in hash order.

    A group with several labels counts for its rarest one, so that rare labels are on all sides.
    """
    counts = count_labels(examples)
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.group or text_hash(example.text)].append(example)
    strata = defaultdict(list)
    for name, members in groups.items():
        strata[min(members[0].labels, key=lambda label: (counts[label], label), default="")].append(name)
    return groups, {label: sorted(names) for label, names in strata.items()}


def divide(groups: dict[str, list[Example]], taken: set[str]) -> tuple[list[Example], list[Example]]:
    """The members of the other groups, and those of the groups that were taken."""
    rest: list[Example] = []
    cut: list[Example] = []
    for name, members in groups.items():
        (cut if name in taken else rest).extend(members)
    return rest, cut


def take_share(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Cut off a share of the groups, label by label, in hash order: (what is left, what was taken).

    Of labels so rare that their share is less than half a text, every so many gives one. Each label keeps a group.
    """
    groups, strata = stratify(examples)
    taken: set[str] = set()
    owed = 0.0
    for _, names in sorted(strata.items()):
        wanted = round(share * len(names))
        if not wanted and len(names) > 1:
            owed += share * len(names)
            wanted = round(owed)
            owed -= wanted
        taken.update(names[:wanted])
    left = {label for name in groups.keys() - taken for example in groups[name] for label in example.labels}
    for name in sorted(taken):
        labels = {label for example in groups[name] for label in example.labels}
        if not labels <= left:
            taken.remove(name)
            left |= labels
    return divide(groups, taken)


def take_fold(examples: Sequence[Example], fold: Fold) -> tuple[list[Example], list[Example]]:
    """Cut off a block of the groups, label by label, in hash order: (what is left, what was taken)."""
    groups, strata = stratify(examples)
    taken: set[str] = set()
    for number, label in enumerate(sorted(strata)):
        names = strata[label]
        # Where the texts of a label do not come out even, another fold gets one more than for the label before.
        start, end = ((len(names) * edge + number % fold.of) // fold.of for edge in (fold.number, fold.number + 1))
        taken.update(names[start:end])
    return divide(groups, taken)


def without(examples: Sequence[Example], held_out: set[str], split: str) -> list[Example]:
    """The examples whose texts are not held out.

    Args:
        examples: of a split.
        held_out: normalised texts.
        split: its name.

    Raises:
        UserError: all of them are.
    """
    kept = [example for example in examples if normalize(example.text) not in held_out]
    if examples and not kept:
        raise UserError(
            f"{examples[0].source}: each of the {len(examples)} texts of {split} also stands in "
            f"{'test' if split == 'dev' else 'dev or test'}. What is scored must not be trained on: give {split} texts "
            "of its own."
        )
    return kept


def complete_splits(splits: Splits) -> Splits:
    """Cut the missing test and dev sets from train; drop from train what stands in dev or test, and repeats.

    Dev is also cleared of test texts. The test set stays as it is given.

    Raises:
        UserError: nothing is left of dev or train.
    """
    train = splits["train"]
    dev, test = splits.get("dev"), splits.get("test")
    if test is None:
        train, test = take_share(drop_repeated(train), TEST_SHARE)
        dev_share = DEV_SHARE / (1 - TEST_SHARE)
    else:
        dev_share = DEV_SHARE
    held_out = {normalize(example.text) for example in test}
    if dev is None:
        train = drop_repeated(without(train, held_out, "train"))
        train, dev = take_share(train, dev_share)
    else:
        dev = without(dev, held_out, "dev")
    held_out |= {normalize(example.text) for example in dev}
    train = drop_repeated(without(train, held_out, "train"))
    return in_order(add_annotated({"train": train, "dev": dev, "test": test}, splits.get(ANNOTATED, ())))


def add_annotated(splits: Splits, annotated: Sequence[Example]) -> Splits:
    """Give texts the labels that were annotated after the split; each stays in its split, and new ones go to train.

    So a text of the test set stays there, and it holds no text that a model has chosen.

    Args:
        splits: train, dev and test.
        annotated: of one text, the last one counts.
    """
    answers = {normalize(example.text): example for example in annotated}
    found = {
        split: [
            replace(example, labels=answer.labels, source=answer.source)
            if (answer := answers.get(normalize(example.text)))
            else example
            for example in examples
        ]
        for split, examples in splits.items()
    }
    known = {normalize(example.text) for examples in splits.values() for example in examples}
    return found | {"train": found["train"] + [answer for key, answer in answers.items() if key not in known]}


def in_order(splits: Splits) -> Splits:
    """Each split in the order of its texts' hashes."""
    return {split: sorted(examples, key=lambda e: text_hash(e.text)) for split, examples in splits.items()}


def parse_fold(number: str, of: int) -> Fold | None:
    """The fold that settings name; None for the usual split.

    Raises:
        UserError: there is no such fold.
    """
    if number == NONE:
        return None
    if of < 2:
        raise UserError(f"folds {of}: must be 2 or more.")
    if not number.isdecimal() or int(number) >= of:
        raise UserError(f"fold {number!r}: must be a number from 0 to {of - 1} (folds is {of}), or {NONE!r}.")
    return Fold(int(number), of)


def cut_fold(examples: Sequence[Example], fold: Fold) -> Splits:
    """Make the fold's block of all labelled texts the test set, and cut dev from the rest.

    Raises:
        UserError: a label has too few texts for so many folds.
    """
    examples = drop_repeated(examples)
    counts = count_labels(examples)
    rest, test = take_fold(examples, fold)
    train, dev = take_share(rest, DEV_SHARE / (1 - 1 / fold.of))
    known = {label for example in train for label in example.labels}
    for label, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        if count < fold.of or label not in known:
            raise UserError(
                f"Label {label!r} has {count} different text(s), too few for {fold.of} folds. Add some, remove the "
                "label, or make fewer folds: --vars.folds"
            )
    return in_order({"train": train, "dev": dev, "test": test})


# Writing


def assert_honest(splits: Splits) -> None:
    """Make sure that no text and no document group stands on two sides.

    Raises:
        UserError: one does, a side is empty, or train hardly has a text.
    """
    sides: dict[str, str] = {}
    for split in SPLITS:
        if not splits[split]:
            raise UserError(
                f"The {split} set is empty: too few examples to split, once texts are left out that are repeated, or "
                "have different labels elsewhere; signs such as “:)” and “++” do not tell texts apart. Add examples."
            )
        for example in splits[split]:
            for key in {normalize(example.text), normalize(" ".join(example.raw)), example.group} - {""}:
                if sides.setdefault(key, split) != split:
                    raise UserError(f"{example.source}: this text stands in {sides[key]} and in {split}.")
    if len(splits["train"]) < MIN_TEXTS:
        raise UserError(
            f"Only {len(splits['train'])} different text(s) are left in train, once repeated ones and those of dev and "
            f"test are left out; {MIN_TEXTS} are needed. Add examples."
        )
