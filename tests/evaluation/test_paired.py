"""The paired bootstrap finds real differences, and the share of a gap is of a gap that is there."""

import numpy as np
import pytest

from scripts.evaluation.paired import (
    as_good_as_best,
    best_of,
    compare_groups,
    describe_gap,
    draw_documents,
    find_ends,
    find_worse,
    label_matrices,
    mean_share,
    run_scores,
)
from scripts.evaluation.thresholds import macro_f1
from tests.experiments.test_experiment import make_runs

POINTS = {"bow": 0.0, "cnn": 0.0, "linear": 1.0, "compact": 0.9}


@pytest.fixture(scope="module")
def compared():
    """A ladder: two blank variants, one halfway, one at the top, two transformers; those on dev are as on test."""
    rng = np.random.default_rng(1)
    ladder = {"bow": 0.6, "linear": 0.7, "compact": 0.8, "compact-distilled": 0.9, "transformer": 0.9}
    groups = {name: make_runs(accuracy, 3, rng, n=2000) for name, accuracy in ladder.items()}
    groups["transformer-half"] = make_runs(0.75, 1, rng, n=2000)
    return compare_groups(groups, "transformer")


def rows_of(compared):
    return {row["name"]: row for row in compared["rows"]}


def test_scores_on_resamples_are_those_of_the_documents_drawn():
    """Counting how often a document was drawn gives what drawing it gives."""
    run = make_runs(0.8, 1, np.random.default_rng(3), n=50)[0]
    uses = draw_documents(50)
    assert (uses.sum(1) == 50).all() and (uses[0] != uses[1]).any()
    gold, predicted = label_matrices(run)
    drawn = np.repeat(np.arange(50), uses[7])
    assert run_scores(run, uses)[7] == pytest.approx(macro_f1(gold[drawn], predicted[drawn]))


def test_the_gap_is_between_the_best_of_either_kind(compared):
    gap = compared["gap"]
    assert (gap["blank"], gap["transformer"], gap["real"]) == ("linear", "transformer", True)
    assert gap["points"] == pytest.approx(0.2, abs=0.03) and gap["low"] < gap["points"] < gap["high"]
    assert "between linear (labels alone) and transformer (the best transformer on dev) is +" in describe_gap(gap)


def test_what_is_made_small_of_a_transformer_is_not_the_end_of_the_gap():
    small = {f"transformer-{name}": 0.9 for name in ("half", "trim", "int8", "distilled")}
    scores = {"linear": 0.7, "transformer": 0.8, **small}
    groups = {name: [{"scores": {"macro_f1": f1}, "dev": {"macro_f1": f1}}] for name, f1 in scores.items()}
    assert find_ends(groups)["transformer"] == "transformer"
    del groups["transformer"]
    assert "No fine-tuned transformer has been measured" in find_ends(groups)["missing"]


def test_shares(compared):
    rows = rows_of(compared)
    assert rows["linear"]["share"]["value"] == 0.0 and rows["transformer"]["share"]["value"] == 1.0
    assert rows["linear"]["share"]["high"] == 0.0 and rows["transformer"]["share"]["low"] == 1.0
    half = rows["compact"]["share"]
    assert half["value"] == pytest.approx(0.5, abs=0.15) and 0 < half["low"] < half["value"] < half["high"] < 1
    assert rows["bow"]["share"]["value"] < 0
    assert half["quantiles"] == sorted(half["quantiles"])


def test_who_is_worse_than_whom(compared):
    rows = rows_of(compared)
    assert rows["transformer"]["worse_than"] == []
    assert rows["compact-distilled"]["worse_than"] == [], "the difference to the best is chance"
    assert set(rows["compact"]["worse_than"]) >= {"compact-distilled", "transformer"}
    assert set(rows["bow"]["worse_than"]) == rows.keys() - {"bow"}


def test_what_has_learned_nothing_is_worse_than_all_that_have_however_few_are_tested():
    points = [{"name": name, "f1": f1, "low": 0.0, "high": 1.0, "constant": 0.0} for name, f1 in POINTS.items()]
    rows = [{"name": name, "worse_than": [], "macro_f1": f1} for name, f1 in POINTS.items()]
    worse = find_worse(points, {"rows": rows})
    assert worse == {"bow": ["linear", "compact"], "cnn": ["linear", "compact"], "linear": [], "compact": []}
    assert [point["name"] for point in as_good_as_best([p | {"size": 1} for p in points], POINTS, worse)[1]] == [
        "linear",
        "compact",
    ]


def test_learning_is_told_by_all_seeds():
    """A first seed that failed does not make a variant worse than what its mean is level with."""
    points = [{"name": name, "f1": f1, "low": 0.0, "high": 1.0, "constant": 0.4} for name, f1 in POINTS.items()]
    rows = [{"name": name, "worse_than": [], "macro_f1": 0.9 if name == "bow" else f1} for name, f1 in POINTS.items()]
    assert find_worse(points, {"rows": rows})["bow"] == []
    assert find_worse(points, {"rows": rows})["cnn"] == ["bow", "linear", "compact"]


def test_no_share_of_a_gap_that_could_be_chance():
    rng = np.random.default_rng(1)
    groups = {name: make_runs(0.8, 2, rng) for name in ("linear", "compact", "transformer")}
    compared = compare_groups(groups, "linear")
    assert not compared["gap"]["real"] and all(row["share"] is None for row in compared["rows"])
    assert "could be chance" in describe_gap(compared["gap"])


def test_a_transformer_that_is_worse_is_not_called_chance():
    rng = np.random.default_rng(1)
    groups = {"linear": make_runs(0.9, 1, rng), "transformer": make_runs(0.6, 1, rng)}
    sentence = describe_gap(compare_groups(groups, "linear")["gap"])
    assert "labels alone are better" in sentence and "chance" not in sentence


def test_no_share_where_a_kind_is_missing():
    groups = {name: make_runs(0.8, 1, np.random.default_rng(1)) for name in ("linear", "compact")}
    compared = compare_groups(groups, "linear")
    assert compared["gap"] == {"missing": "No fine-tuned transformer has been measured."}
    assert "No variant from labels alone" in compare_groups({"compact": groups["compact"]}, "compact")["gap"]["missing"]


def test_the_best_of_a_group_is_chosen_on_dev():
    def runs(test, dev):
        return [{"scores": {"macro_f1": test}, "dev": {"macro_f1": dev}}]

    groups = {"linear": runs(0.8, 0.7), "bow": runs(0.7, 0.8)}
    assert best_of(groups, ["linear", "bow", "cnn"]) == "bow"
    groups["bow"][0].pop("dev")
    assert best_of(groups, ["linear", "bow"]) == "linear", "where a score on dev is missing, test has to do"
    assert best_of(groups, ["cnn"]) is None


def test_seeds_widen_the_interval():
    """Seeds that differ are a source of chance of their own, beside the documents."""
    rng = np.random.default_rng(5)
    steady = make_runs(0.9, 1, rng)
    wild = [make_runs(accuracy, 1, rng)[0] for accuracy in (0.6, 0.75, 0.9)]
    rows = rows_of(compare_groups({"steady": steady, "wild": wild, "one": wild[1:2]}, "steady"))
    assert rows["wild"]["high"] - rows["wild"]["low"] > 1.3 * (rows["one"]["high"] - rows["one"]["low"])


def test_the_mean_over_tasks_is_more_certain_than_each():
    rng = np.random.default_rng(0)
    shares = [{"value": 0.5, "low": 0.3, "high": 0.7, "quantiles": sorted(rng.normal(0.5, 0.1, 100))} for _ in range(4)]
    mean = mean_share(shares)
    assert mean["value"] == 0.5 and 0.08 < mean["high"] - mean["low"] < 0.25
