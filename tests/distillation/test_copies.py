"""scripts/distillation/copies.py: each way to alter a text, and what is held out."""

from itertools import islice

import numpy as np
import pytest
import spacy
from spacy.tokens import DocBin

from scripts.common.cli import UserError
from scripts.distillation.copies import (
    KINDS,
    altered_copies,
    held_out_texts,
    join_texts,
    omit_words,
    read_texts,
    replace_words,
    run_of,
    swap_words,
)

# The last word of a text has no space after it.
TEXTS = [[*(f"{letter}{i} " for i in range(19)), f"{letter}19"] for letter in "ab"]
SEEDS = range(200)


def altered(alter, words=TEXTS[0]):
    """What some seeds make of a text."""
    return [alter(words, TEXTS, np.random.default_rng(seed)) for seed in SEEDS]


def test_a_run_is_of_words_that_follow_each_other():
    for run in altered(run_of):
        start = TEXTS[0].index(run[0])
        assert run == TEXTS[0][start : start + len(run)]
    lengths = [len(run) for run in altered(run_of)]
    assert (min(lengths), max(lengths)) == (4, 18), "a fifth to nine tenths of the text"
    assert {tuple(run) for run in altered(run_of, ["one"])} == {("one",)}


def test_omitting_leaves_out_some_words_and_keeps_the_order():
    results = altered(omit_words)
    assert all(result == [word for word in TEXTS[0] if word in result] for result in results)
    assert np.mean([len(result) for result in results]) == pytest.approx(16, abs=0.5)
    assert {len(result) for result in altered(omit_words, ["one"])} == {0, 1}, "a text of one word may come to nothing"


def test_swapping_puts_words_in_the_place_of_some_and_keeps_the_spaces():
    results, changed = altered(swap_words), 0
    known = {word.strip() for words in TEXTS for word in words}
    for result in results:
        assert len(result) == 20 and not result[-1].endswith(" ")
        assert all(word.endswith(" ") for word in result[:-1]) and {word.strip() for word in result} <= known
        changed += sum(new != old for new, old in zip(result, TEXTS[0], strict=True))
    assert changed / len(results) == pytest.approx(20 / 7, abs=0.4)
    assert any(word.startswith("b") for result in results for word in result), "words of other texts, too"


def test_near_words_take_the_place_of_some_and_look_like_them():
    alter = replace_words({"dull": ["boring", "bland"], "good": ["fine"]})
    words = ["Dull ", "GOOD\n", "dull ", "film ", "dull"]
    results = altered(alter, words)
    assert {result[0] for result in results} == {"Dull ", "Boring ", "Bland "}
    assert {result[1] for result in results} == {"GOOD\n", "FINE\n"}
    assert {result[3] for result in results} == {"film "} and {result[4] for result in results} == {
        "dull",
        "boring",
        "bland",
    }
    changed = sum(new != old for result in results for new, old in zip(result, words, strict=True))
    assert changed / len(results) == pytest.approx(4 * 0.3, abs=0.2)


def test_where_near_words_are_known_a_share_of_the_copies_has_them():
    near = {word.strip(): ["zebra"] for words in TEXTS for word in words}
    copies = list(islice(altered_copies(TEXTS, np.random.default_rng(0), 99, near), 2000))
    assert np.mean(["zebra" in "".join(copy) for copy in copies]) == pytest.approx(0.35, abs=0.04)
    assert not any(
        "zebra" in "".join(copy) for copy in islice(altered_copies(TEXTS, np.random.default_rng(0), 99), 2000)
    )


def test_joining_takes_the_beginning_of_a_text_and_the_end_of_another():
    for result in altered(join_texts):
        text = "".join(result).split()
        breaks = [i for i in range(1, len(text)) if text[i] != f"{text[i - 1][0]}{int(text[i - 1][1:]) + 1}"]
        assert text[0] == "a0" and text[-1] in ("a19", "b19") and len(breaks) <= 1, text


def test_kinds_have_their_shares(monkeypatch):
    assert sum(share for _, share in KINDS.values()) == pytest.approx(1)
    named = {name: (lambda words, texts, rng, name=name: [name], share) for name, (_, share) in KINDS.items()}
    monkeypatch.setattr("scripts.distillation.copies.KINDS", named)
    found = [copy[0] for copy in islice(altered_copies(TEXTS, np.random.default_rng(0), 99), 2000)]
    for name, (_, share) in KINDS.items():
        assert found.count(name) / 2000 == pytest.approx(share, abs=0.03)


def test_copies_follow_from_the_seed():
    first, again, other = (list(islice(altered_copies(TEXTS, np.random.default_rng(s), 9), 50)) for s in (0, 0, 1))
    assert first == again != other


def test_copies_of_long_texts_are_bounded_and_from_anywhere_in_them():
    copies = list(islice(altered_copies(TEXTS, np.random.default_rng(0), 5), 300))
    assert max(map(len, copies)) == 5
    assert {word.strip() for copy in copies for word in copy} == {word.strip() for words in TEXTS for word in words}


def test_of_no_texts_there_are_no_copies():
    assert list(altered_copies([], np.random.default_rng(0), 5)) == []


def test_held_out_are_dev_and_test_whatever_they_look_like(tmp_path):
    nlp = spacy.blank("en")
    for name, text in {"train": "Other", "dev": "A  goal!", "test": "SHARES fall."}.items():
        DocBin(docs=[nlp(text)]).to_disk(tmp_path / f"{name}.spacy")
    assert held_out_texts(tmp_path) == {"a goal", "shares fall"}
    assert read_texts(tmp_path / "dev.spacy") == ["A  goal!"]
    (tmp_path / "test.spacy").unlink()
    with pytest.raises(UserError, match=r"test.spacy: no such file. Make it with the command `convert`"):
        held_out_texts(tmp_path)
