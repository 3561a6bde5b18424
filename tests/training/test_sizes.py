"""Sizes and lengths follow from the task: texts, words, labels, and the encoder's width."""

import pytest
import srsly

from scripts.common.variants import read_config
from scripts.training.fitting import judge_training
from scripts.training.sizes import (
    MAX_BATCH_WORDS,
    MAX_WORDS_ALONE,
    compact_sizes,
    encoder_shape,
    length_sizes,
    taught_sizes,
    transformer_sizes,
)
from tests.conftest import ROOT

BASE = read_config(ROOT / "configs" / "base.cfg")


def facts(texts, mean, labels=5):
    return {"examples": {"train": texts}, "words": {"train": {"mean": mean}}, "labels": ["x"] * labels}


def transformer(tmp_path, *arguments, width=384, layers=6, max_words=128):
    srsly.write_json(tmp_path / "config.json", {"hidden_size": width, "num_hidden_layers": layers})
    config = {"task": {"max_words": max_words}, "paths": {"weights": tmp_path.as_posix()}}
    return transformer_sizes(facts(*arguments), config)


def test_the_width_stands_under_several_names(tmp_path):
    """DistilBERT's is its `dim`: without it, it would learn at the rate of an encoder half as wide."""
    srsly.write_json(tmp_path / "config.json", {"dim": 768, "hidden_dim": 3072, "n_layers": 6})
    assert encoder_shape(tmp_path) == (768, 6)


def test_batches_hold_some_thirty_texts_within_the_memory(tmp_path):
    assert transformer(tmp_path, 1000, 6.0)["batch_words"] == 192
    assert transformer(tmp_path, 10_000, 400.0)["batch_words"] == MAX_BATCH_WORDS


def test_a_batch_of_a_larger_encoder_is_learned_from_in_parts(tmp_path):
    """All-mpnet-base-v2 took 15 GB on texts of 112 words, and the system killed it."""
    assert transformer(tmp_path, 1700, 110.0, 11, width=768, layers=12)["batch_parts"] == 4
    assert transformer(tmp_path, 9000, 12.0, 77, width=768, layers=12)["batch_parts"] == 1
    assert transformer(tmp_path, 10_000, 400.0)["batch_parts"] == 1


def test_few_updates_become_more_by_smaller_batches(tmp_path):
    """Where texts are few, or long, down to 8 texts."""
    few, long = transformer(tmp_path, 270, 10.0, 6), transformer(tmp_path, 1700, 110.0, 11)
    assert few == {"batch_words": 87, "batch_parts": 1, "passes": 20, "learn_rate": 1.5e-4}
    assert (long["batch_words"], long["passes"]) == (1667, 6)


@pytest.mark.parametrize(
    ("texts", "mean", "labels", "low", "high"),
    [(100, 10, 5, 20, 20), (1300, 6, 5, 12, 18), (7000, 20, 2, 3, 4), (9000, 12, 77, 5, 8), (100_000, 20, 2, 3, 3)],
)
def test_passes_fit_texts_and_labels(tmp_path, texts, mean, labels, low, high):
    assert low <= transformer(tmp_path, texts, mean, labels)["passes"] <= high


def test_long_texts_are_read_within_a_budget(tmp_path):
    assert transformer(tmp_path, 1700, 110.0, 11)["passes"] < transformer(tmp_path, 1700, 10.0, 11)["passes"]


def test_the_rate_falls_with_the_width(tmp_path):
    rates = [transformer(tmp_path, 1000, 9.0, width=width)["learn_rate"] for width in (64, 384, 768, 1536)]
    assert rates[0] == rates[1] > 2 * rates[2] > 4 * rates[3]


@pytest.mark.parametrize(
    ("texts", "mean", "passes", "batch_texts", "updates"),
    [(1300, 6.0, 30, 32, 2000), (9000, 12.0, 30, 32, 2000), (660, 420.0, 30, 10, 595), (60, 3000.0, 30, 8, 417)],
)
def test_long_texts_come_in_smaller_batches_and_make_fewer_updates(texts, mean, passes, batch_texts, updates):
    found = length_sizes(facts(texts, mean), BASE)
    assert (found["passes"], found["batch_texts"], found["min_updates"]) == (passes, batch_texts, updates)


def test_many_long_texts_are_read_a_few_times_only():
    """20,000 reviews of 230 words in 30 passes would take a convolution four hours."""
    many = length_sizes(facts(20_000, 230.0), BASE)
    assert (many["passes"], many["patience_epochs"]) == (5, 2)
    some = length_sizes(facts(5000, 230.0), BASE)
    assert 5 < some["passes"] < 30 and some["passes"] * 5000 * 230 <= 1.1 * MAX_WORDS_ALONE


def at_depth(depth):
    return {"task": {"depth": depth, "max_words": 1000}}


def test_compact_makes_fewer_updates_of_long_texts():
    short, long, longest = (compact_sizes(facts(1400, mean), at_depth(0)) for mean in (20.0, 500.0, 5000.0))
    assert (short["min_updates"], short["max_updates"]) == (2500, 6000)
    assert (short["passes"], short["batch_texts"]) == (40, 32)
    assert (long["passes"], long["batch_texts"]) == (10, 8) == (longest["passes"], longest["batch_texts"])
    assert (long["min_updates"], long["max_updates"]) == (1000, 3000)
    assert longest == compact_sizes(facts(1400, 1000.0), at_depth(0)), "of a text no more words are learned from"
    assert longest["max_updates"] > longest["min_updates"]


@pytest.mark.parametrize(("texts", "updates"), [(90, 1000), (700, 1400), (1300, 2500), (9000, 2500)])
def test_compact_does_not_learn_few_texts_by_heart(texts, updates):
    assert compact_sizes(facts(texts, 20.0), at_depth(0))["min_updates"] == updates


@pytest.mark.parametrize(
    ("texts", "depth", "width", "window"), [(3999, 0, 128, 0), (4000, 0, 512, 1), (3999, 2, 192, 0), (4000, 2, 192, 1)]
)
def test_compact_is_wider_and_sees_neighbours_given_thousands_of_texts_unless_it_reads(texts, depth, width, window):
    found = compact_sizes(facts(texts, 9.0), at_depth(depth))
    assert (found["hidden_width"], found["window_size"]) == (width, window)


def test_a_student_without_layers_of_its_own_has_one_size():
    assert taught_sizes(facts(60, 9.0), {"task": {"passes": 30}}) == {}


@pytest.mark.parametrize(("depth", "width"), [(0, 512), (2, 192)])
def test_a_teachers_texts_are_many_however_few_the_labelled_ones(depth, width):
    for texts in (60, 60_000):
        found = taught_sizes(facts(texts, 9.0), at_depth(depth))
        assert (found["hidden_width"], found["window_size"]) == (width, 1)


@pytest.mark.parametrize(
    ("scores", "documents", "found"),
    [
        ([10, 20, 30, 40, 50, 60], 1000, "Not converged: the score on dev still rose by 20.0 points"),
        ([10, 20, 50, 54, 55, 57], 1000, "Not converged: the score on dev still rose by 4.0 points"),
        ([10, 20, 50, 54, 55, 57], 50, "Converged: the score on dev moved by +4.0 points"),  # may be chance
        ([10, 50, 59, 60, 60, 60], 1000, "Converged: the score on dev moved by +0.5 points"),
        ([60, 60], 1000, None),
    ],
)
def test_a_training_says_whether_it_was_long_enough(tmp_path, scores, documents, found):
    path = tmp_path / "log.jsonl"
    srsly.write_jsonl(path, [{"scores": {"cats_score": score}} for score in scores])
    judgement = judge_training(path, documents)
    assert judgement is None if found is None else judgement.startswith(found)
    assert found is None or ("--vars.max_epochs" in judgement) == found.startswith("Not")
