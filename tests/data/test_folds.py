"""Cross-validation: each labelled text is tested once, groups stay together, and raw text is cleaned for each fold."""

from collections import Counter

import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from scripts.common.cli import UserError
from scripts.data.convert import prepare
from scripts.data.corpus import clean_raw
from scripts.data.formats import Example
from scripts.data.published import read_bbc
from scripts.data.splits import Fold, assert_honest, normalize, parse_fold
from tests.conftest import ROOT, message, toy_records


def examples(per_label, labels="abc", **values):
    return [
        Example(f"{label} {i}", (label,), f"line {label}{i}", **values) for label in labels for i in range(per_label)
    ]


def all_folds(given, folds=4, mode="auto"):
    return [prepare(given, mode, Fold(number, folds))[0] for number in range(folds)]


def texts(split):
    return [example.text for example in split]


@pytest.mark.parametrize("folds", [2, 4, 5])
@pytest.mark.parametrize("per_label", [20, 33])
def test_each_text_is_tested_once_and_labels_are_spread(per_label, folds):
    given = {"train": examples(per_label)}
    found = all_folds(given, folds)
    tested = [text for splits in found for text in texts(splits["test"])]
    assert sorted(tested) == sorted(texts(given["train"]))
    for splits in found:
        assert sorted(text for split in splits.values() for text in texts(split)) == sorted(tested)
        counts = Counter(example.labels for example in splits["test"])
        assert all(count in (per_label // folds, -(-per_label // folds)) for count in counts.values())
    sizes = [len(splits["test"]) for splits in found]
    assert max(sizes) - min(sizes) <= 2, "what does not come out even is spread over the folds"
    share = len(found[0]["dev"]) / len(tested)
    assert 0.08 <= share <= 0.13, "dev is a tenth, as in the usual split"


def test_given_splits_are_put_together():
    given = {"train": examples(8), "dev": examples(4, "a"), "test": examples(6, "abcd")}
    found = all_folds(given)
    tested = [text for splits in found for text in texts(splits["test"])]
    assert len(tested) == len(set(tested)) == 8 * 3 + 6, "texts that stand in two splits count once"
    assert any(text.startswith("d") for text in texts(found[0]["train"])), "a label that only the test set had"


def test_groups_stay_together():
    given = {
        "train": [Example(f"{label} {i}", (label,), "x", group=f"{label}{i // 3}") for label in "ab" for i in range(60)]
    }
    for splits in all_folds(given):
        groups = [{example.group for example in split} for split in splits.values()]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 40


def test_the_usual_split_stays_as_it_is():
    given = {"train": examples(40)}
    assert prepare(given, "auto")[0] == prepare(given, "auto", None)[0]
    assert len(prepare(given, "auto")[0]["test"]) == 30, "25.5 % of each label"


def test_bbc_is_tested_whole_and_its_raw_text_cleaned_for_each_fold():
    """2,060 headlines, no version of an article on two sides, and no body of a tested one in the raw text."""
    given = {"train": read_bbc(ROOT / "assets" / "bbc")["train"]}
    found = all_folds(given)
    tested = [normalize(example.text) for splits in found for example in splits["test"]]
    assert len(tested) == len(set(tested)) == 2060
    assert [len(splits["test"]) for splits in found] == pytest.approx([515] * 4, abs=3)
    for splits in found[:2]:
        raw = set(map(normalize, clean_raw(splits)))
        held_out = {normalize(line) for split in ("dev", "test") for e in splits[split] for line in (e.text, *e.raw)}
        assert raw and not raw & held_out


def test_convert_writes_which_fold_it_is(toy_assets, run, tmp_path):
    corpora = []
    for fold in range(4):
        process = run("convert", "toy", "corpus", "--fold", fold)
        assert process.returncode == 0 and f"toy, fold {fold} of 4: 4" in process.output, process.output
        task = srsly.read_json(tmp_path / "corpus" / "task.json")
        assert task["fold"] == {"number": fold, "of": 4}
        docs = DocBin().from_disk(tmp_path / "corpus" / "test.spacy").get_docs(spacy.blank("en").vocab)
        corpora.append([doc.text for doc in docs])
    assert sorted(sum(corpora, [])) == sorted(record["text"] for record in toy_records())
    assert run("convert", "toy", "corpus").returncode == 0
    assert "fold" not in srsly.read_json(tmp_path / "corpus" / "task.json")


@pytest.mark.parametrize(
    ("fold", "folds", "expected"),
    [
        ("4", 4, "fold '4': must be a number from 0 to 3 (folds is 4), or 'none'"),
        ("-1", 4, "fold '-1': must be a number from 0 to 3"),
        ("one", 4, "fold 'one': must be a number from 0 to 3"),
        ("0", 1, "folds 1: must be 2 or more"),
    ],
)
def test_folds_that_there_are_not(toy_assets, run, tmp_path, fold, folds, expected):
    assert expected in message(run("convert", "toy", "corpus", f"--fold={fold}", "--folds", folds))
    assert not (tmp_path / "corpus").exists()


def test_no_fold_is_the_usual_split():
    assert parse_fold("none", 4) is None and parse_fold("none", 1) is None
    assert parse_fold("3", 4) == Fold(3, 4)


def test_too_few_texts_of_a_label(toy_assets, run, tmp_path):
    srsly.write_jsonl(
        toy_assets / "train.jsonl", [*toy_records(), *({"text": f"rare {i}", "label": "x"} for i in range(5))]
    )
    assert run("convert", "toy", "corpus", "--fold", 0).returncode == 0
    found = message(run("convert", "toy", "corpus", "--fold", 0, "--folds", 6))
    assert "Label 'x' has 5 different text(s), too few for 6 folds. Add some, remove the label, or make fewer" in found
    given = {"train": [*examples(20), *(Example("same", ("d",), f"line {i}") for i in range(9))]}
    with pytest.raises(UserError, match="Label 'd' has 1 different text"):
        prepare(given, "auto", Fold(0, 4))


# What the last check before writing refuses, whatever went wrong before it

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
    assert_honest(SPLITS)


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_text_on_two_sides(twin, split):
    with pytest.raises(UserError, match=f"test 1: this text stands in {split} and in test"):
        assert_honest(SPLITS | {split: [*SPLITS[split], twin]})
