"""scripts/distillation/near.py: which words are near, by a table of word pieces."""

import numpy as np
import pytest
import spacy

pytest.importorskip("transformers", reason="the transformer variants need requirements.txt")

from transformers import BertTokenizerFast

from scripts.distillation import near as module
from scripts.distillation import teach
from scripts.distillation.near import near_words

GROUPS = [["dull", "boring", "bland"], ["good", "fine", "great"]]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GROUPS[0], *GROUPS[1], "##ness", "a", "7", "goods2"]


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt"))


@pytest.fixture
def table():
    """Vectors that know the groups, the first of a group nearest to the second; what is no word is like all."""
    table = np.random.default_rng(0).normal(0, 0.01, (len(VOCABULARY), 8))
    for axis, group in enumerate(GROUPS):
        for i, word in enumerate(group):
            table[VOCABULARY.index(word)] += np.eye(8)[axis] + 0.2 * i * np.eye(8)[axis + 2]
    return table


def test_near_words_are_those_of_the_same_group_the_nearest_first(tokenizer, table, monkeypatch):
    monkeypatch.setattr(module, "NEAR", 2)
    found = near_words(["Dull", "dull", "good", "dullness", "a", "7", "unknown"], tokenizer, table)
    assert found == {"dull": ["boring", "bland"], "good": ["fine", "great"]}


def test_the_most_frequent_words_are_looked_at(tokenizer, table, monkeypatch):
    monkeypatch.setattr(module, "NEAR", 2)
    monkeypatch.setattr(module, "MAX_WORDS", 1)
    assert list(near_words(["good", "dull", "dull"], tokenizer, table)) == ["dull"]


def test_a_vocabulary_of_few_words_has_none(tokenizer, table):
    assert near_words(["dull"], tokenizer, table) == {}
    assert near_words([], tokenizer, table) == {}


def test_a_teacher_without_a_transformer_knows_none():
    assert teach.near_words_of(spacy.blank("en"), ["dull"]) == {}


@pytest.mark.parametrize("piece", ["\N{DEVANAGARI LETTER HA}\N{DEVANAGARI VOWEL SIGN I}", "été", "dull"])
def test_marks_are_parts_of_words(piece):
    assert module.is_word(piece)


@pytest.mark.parametrize("piece", ["don't", "##ness", "a", "\N{DEVANAGARI VOWEL SIGN I}" * 2])
def test_signs_are_not(piece):
    assert not module.is_word(piece)
