"""No text stands on two sides: what the last check before writing refuses, whatever went wrong before it."""

import pytest

from scripts.common.cli import UserError
from scripts.data.formats import Example
from scripts.data.splits import assert_honest

SPLITS = {
    "train": [Example(f"text {i}", ("a",), f"train {i}") for i in range(5)],
    "dev": [Example("looked at", ("a",), "dev 1")],
    "test": [Example("Held out.", ("a",), "test 1")],
}
TWINS = {
    "text": Example("held OUT!", ("a",), "twin"),
    "raw text": Example("x", ("a",), "twin", raw=("held", "out")),
    "group": Example("y", ("a",), "twin", group="held out"),
}


def test_good_splits_pass():
    assert_honest(SPLITS, ["a"])


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_text_on_two_sides(twin, split):
    with pytest.raises(UserError, match=f"test 1: this text stands in {split} and in test"):
        assert_honest(SPLITS | {split: [*SPLITS[split], twin]})
