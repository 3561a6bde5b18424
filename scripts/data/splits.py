"""Cut train, dev and test, without a text on two sides."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

from scipy.cluster.hierarchy import DisjointSet

from scripts.common.cli import UserError
from scripts.common.files import md5_bytes
from scripts.data.formats import SPLITS, Example, Splits

TEST_SHARE = 0.255  # of 2,060 BBC articles this leaves at least 520 for the test
DEV_SHARE = 0.10
# Two articles are versions of one when this share of the shorter one's five-word runs also stands in the longer one.
NEAR_DUPLICATE = 0.5
SHINGLE = 5
MAX_SHINGLE_HOLDERS = 20  # a run that more articles share is a stock phrase


def normalize(text: str) -> str:
    """The words of a text, case-folded, one space between: equal for texts that differ in looks only."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())) or text.strip()


def text_hash(text: str) -> str:
    """A stable sort key: the MD5 of the normalised text."""
    return md5_bytes([normalize(text).encode("utf-8")])


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


def shingles(text: str) -> set[tuple[str, ...]]:
    """The runs of `SHINGLE` words of a text; empty for a shorter one."""
    words = normalize(text).split()
    return {tuple(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)}


# Splitting


def take_share(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Cut off a share of the groups, label by label, in hash order: (what is left, what was taken).

    A group with several labels counts for its rarest one, so that rare labels are on both sides.
    """
    counts = Counter(label for example in examples for label in example.labels)
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.group or text_hash(example.text)].append(example)
    strata = defaultdict(list)
    for name, members in groups.items():
        strata[min(members[0].labels, key=lambda label: (counts[label], label), default="")].append(name)
    taken: set[str] = set()
    for names in strata.values():
        taken.update(sorted(names)[: round(share * len(names))])
    rest: list[Example] = []
    cut: list[Example] = []
    for name, members in groups.items():
        (cut if name in taken else rest).extend(members)
    return rest, cut


def complete_splits(splits: Splits) -> Splits:
    """Cut the missing test and dev sets from train; drop from train what stands in dev or test, and repeats.

    Dev is also cleared of test texts. The test set stays as it is given.
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
        train = drop_repeated([example for example in train if normalize(example.text) not in held_out])
        train, dev = take_share(train, dev_share)
    else:
        dev = [example for example in dev if normalize(example.text) not in held_out]
    held_out |= {normalize(example.text) for example in dev}
    train = drop_repeated([example for example in train if normalize(example.text) not in held_out])
    result = {"train": train, "dev": dev, "test": test}
    return {split: sorted(examples, key=lambda e: text_hash(e.text)) for split, examples in result.items()}


# Writing


def assert_honest(splits: Splits) -> None:
    """Make sure that no text and no document group stands on two sides.

    Raises:
        UserError: one does, or a side is empty.
    """
    sides: dict[str, str] = {}
    for split in SPLITS:
        if not splits[split]:
            raise UserError(f"The {split} set is empty: too few examples to split. Add examples.")
        for example in splits[split]:
            for key in {normalize(example.text), normalize(" ".join(example.raw)), example.group} - {""}:
                if sides.setdefault(key, split) != split:
                    raise UserError(f"{example.source}: this text stands in {sides[key]} and in {split}.")
