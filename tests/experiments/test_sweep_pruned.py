"""The sweep over rows: the knee, the plot, and a run at toy size."""

import os
import subprocess
import sys

import pytest
import srsly

from scripts.experiments.sweep_pruned import find_knee
from tests.conftest import ROOT, fit_linear_model, message


def test_knee_is_the_fewest_rows_within_a_point_of_the_full_table():
    points = [{"rows": rows, "mean": mean} for rows, mean in ((500, 0.7), (1000, 0.795), (2000, 0.79), (9000, 0.8))]
    assert find_knee(points) == 1000
    assert find_knee(points[-1:]) == 9000


@pytest.mark.slow
@pytest.mark.long
def test_sweep_at_toy_size(toy_assets, tmp_path, run):
    assert run("convert", "toy", "corpus").returncode == 0
    fit_linear_model(run)
    words = ("tokens.txt", "counts.json")
    assert run("tokenize_raw", "corpus/raw.jsonl", *words, "--task", "corpus/task.json").returncode == 0
    arguments = (*words, "words.txt", "spellings.json", "--dim", 8, "--epochs", 5, "--min-count", 1)
    assert run("learn_vectors", *arguments).returncode == 0
    config = ("--overlay", ROOT / "configs" / "pruned.cfg")
    options = ("--rows", 5, "--rows", 100_000, "--seeds", 0, "--seeds", 1, "--max-epochs", 2)
    # In a process of its own, which has imported none of the registered functions.
    command = [sys.executable, "-m", "scripts.experiments.sweep_pruned", "words.txt", "spellings.json"]
    command += ["sweep.json", "sweep.svg", *map(str, (*options, *config))]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    result = srsly.read_json(tmp_path / "sweep.json")
    # The larger size is beyond the table: it is the full table, and trained once.
    n_words = int((tmp_path / "words.txt").read_text(encoding="utf-8").split()[0])
    assert [point["rows"] for point in result["points"]] == [5, n_words]
    for point in result["points"]:
        assert len(point["macro_f1"]) == 2
        assert point["mean"] == pytest.approx(sum(point["macro_f1"]) / 2)
    assert result["knee"] in (5, n_words)
    assert (tmp_path / "sweep.svg").read_text(encoding="utf-8").startswith("<svg")


def test_no_vectors_to_prune(run):
    assert "learn-vectors" in message(run("sweep_pruned", "words.txt", "spellings.json", "sweep.json", "sweep.svg"))
