"""Grids expand as declared, runs are isolated and resumable, and comparisons tell chance from difference."""

import numpy as np
import pytest
import srsly

from scripts.common.cli import UserError
from scripts.experiments.compare import compare_groups, format_rows, holm, load_results, two_sided_p
from scripts.experiments.experiment import is_finished, prepare
from scripts.experiments.grids import Run, change_config, earlier_outputs, expand_grid, variants_of
from tests.conftest import ROOT, message
from tests.project.test_project import PROJECT

VARIANTS = ["bow", "cnn"]


def write_grid(tmp_path, **grid):
    path = tmp_path / "grid.yml"
    srsly.write_yaml(path, grid)
    return path


def test_grid_is_the_product_of_its_parts(tmp_path):
    settings = {"default": {}, "wide": {"only": ["cnn"], "training.dropout": 0.1}}
    runs = expand_grid(write_grid(tmp_path, variants="all", seeds=[0, 1], settings=settings), VARIANTS)
    assert [run.name for run in runs] == [
        "bow--default--0", "bow--default--1", "cnn--default--0", "cnn--default--1", "cnn--wide--0", "cnn--wide--1",
    ]  # fmt: skip
    assert runs[-1].values == {"training.dropout": 0.1}


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ({"variants": ["bow"]}, "expected the keys"),
        ({"variants": ["bow"], "seeds": [0], "seed": 1}, "expected the keys"),
        ({"variants": ["bow"], "seeds": 3}, "`seeds` must be a list"),
        ({"variants": ["bo"], "seeds": [0]}, "there is no variant 'bo', only bow, cnn"),
        ({"variants": "bow", "seeds": [0]}, "`variants` must be a list"),
    ],
)
def test_wrong_grids_are_named(tmp_path, grid, expected):
    with pytest.raises(UserError, match=expected):
        expand_grid(write_grid(tmp_path, **grid), VARIANTS)


def test_missing_grid(tmp_path):
    with pytest.raises(UserError, match="none.yml: cannot be read"):
        expand_grid(tmp_path / "none.yml", VARIANTS)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yml")), ids=lambda path: path.stem)
def test_shipped_grids_apply_to_the_project(path, tmp_path):
    variants = variants_of(PROJECT)
    for run in {run.setting + run.variant: run for run in expand_grid(path, variants)}.values():
        folder = tmp_path / run.name
        prepare(ROOT, folder, PROJECT, run)
        change_config(folder, PROJECT, run)
        for name, value in run.values.items():
            section, key = name.rsplit(".", 1)
            if section == "vars":
                assert key in PROJECT["vars"]
                continue
            text = (folder / "configs" / f"{run.variant}.cfg").read_text(encoding="utf-8")
            assert f"{key} = {value}" in text.partition(f"[{section}]")[2].partition("\n[")[0]


def test_run_folder_leaves_the_project_untouched(tmp_path):
    before = (ROOT / "configs" / "bow.cfg").read_bytes()
    run = Run("bow", "x", 0, {"training.dropout": 0.9})
    prepare(ROOT, tmp_path / "run", PROJECT, run)
    change_config(tmp_path / "run", PROJECT, run)
    assert (ROOT / "configs" / "bow.cfg").read_bytes() == before
    assert (tmp_path / "run" / "scripts" / "train.py").is_file()
    with pytest.raises(UserError, match="has no section trainin"):
        change_config(tmp_path / "run", PROJECT, Run("bow", "x", 0, {"trainin.x": 1}))


def test_earlier_outputs_are_those_before_training():
    assert set(earlier_outputs(PROJECT, "bow")) == {
        f"corpus/{name}" for name in ("train.spacy", "dev.spacy", "test.spacy", "raw.jsonl", "task.json")
    }


def test_results_of_other_values_do_not_count(tmp_path):
    path = tmp_path / "r.json"
    run = Run("bow", "x", 1, {"a.b": 2})
    assert not is_finished(path, run, "toy")
    srsly.write_json(path, {"seed": 1, "dataset": "toy", "experiment": {"setting": "x", "values": {"a.b": 2}}})
    assert not is_finished(path, run, "toy"), "predictions are not committed, and scripts.experiments.compare needs them"
    path.with_suffix(".predictions.jsonl").touch()
    assert is_finished(path, run, "toy")
    assert not is_finished(path, run, "bbc")
    assert not is_finished(path, Run("bow", "x", 1, {"a.b": 3}), "toy")


# Comparison


def test_holm_matches_the_textbook():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_p_values():
    assert two_sided_p(np.zeros(100)) == 1.0
    assert two_sided_p(np.r_[np.ones(99), -1]) == pytest.approx(0.02)
    assert two_sided_p(np.ones(99)) == pytest.approx(0.02)


def make_runs(accuracy, seeds, rng, n=400):
    gold = np.random.default_rng(0).integers(0, 3, n)
    runs = []
    for _ in range(seeds):
        right = rng.random(n) < accuracy
        predicted = np.where(right, gold, (gold + 1) % 3)
        rows = [
            {"text": str(i), "gold": ["abc"[g]], "cats": {label: float(label == "abc"[p]) for label in "abc"}}
            for i, (g, p) in enumerate(zip(gold, predicted, strict=True))
        ]
        runs.append(
            {
                "scores": {"macro_f1": float(right.mean()), "confusion": {}},
                "dev": {"macro_f1": accuracy},
                "size": {"pipeline_bytes": 1_000_000},
                "predictions": rows,
            }
        )
    return runs


def test_real_differences_get_a_star_and_chance_does_not():
    rng = np.random.default_rng(1)
    groups = {"best": make_runs(0.9, 3, rng), "twin": make_runs(0.9, 3, rng), "worse": make_runs(0.7, 3, rng)}
    rows = {row["name"]: row for row in compare_groups(groups, "best")}
    assert rows["worse"]["p"] < 0.01 and rows["worse"]["high"] < 0
    assert rows["twin"]["p"] > 0.05 and rows["twin"]["low"] < 0 < rows["twin"]["high"]
    cells = {row[0]: row for row in format_rows(list(rows.values()), "best")}
    assert cells["worse"][5].endswith("★") and not cells["twin"][5].endswith("★") and cells["best"][5] == ""


def test_different_documents_cannot_be_compared():
    rng = np.random.default_rng(1)
    with pytest.raises(UserError, match="different documents"):
        compare_groups({"a": make_runs(0.9, 1, rng), "b": make_runs(0.9, 1, rng, n=300)}, "a")


def test_missing_results_are_named(tmp_path, run):
    assert "no results. Run the experiment first" in message(run("compare", "metrics/none"))
    (tmp_path / "g").mkdir()
    srsly.write_json(tmp_path / "g" / "bow--default--0.json", {})
    with pytest.raises(UserError, match="predictions.jsonl: missing"):
        load_results(tmp_path / "g")
