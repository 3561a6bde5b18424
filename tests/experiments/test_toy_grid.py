"""A grid at toy size, from its file to the comparison; apart from the workflows, so that it runs beside them."""

import subprocess
import sys

import pytest
import srsly

pytestmark = pytest.mark.slow


def test_a_grid_goes_on_where_it_was_and_shows_what_failed(toy_project):
    settings = {"default": {}, "broken": {"training.batcher.size": "none"}}
    srsly.write_yaml(
        toy_project / "configs" / "grids" / "toy.yml", {"variants": ["bow"], "seeds": [0, 1], "settings": settings}
    )
    results = toy_project / "metrics" / "toy" / "toy"
    command = [
        sys.executable,
        "-m",
        "scripts.experiments.experiment",
        "configs/grids/toy.yml",
        "toy",
    ]

    def go():
        process = subprocess.run(command, cwd=toy_project, capture_output=True, text=True, check=False)
        return process.returncode, " ".join((process.stdout + process.stderr).split())

    code, output = go()
    assert code == 1 and "2 of 4 runs failed" in output and "bow--broken--0 failed" in output
    log = toy_project / "training" / "toy" / "experiments" / "toy" / "bow--broken--0" / "output.log"
    assert "bow.cfg: not a valid spaCy config" in " ".join(log.read_text(encoding="utf-8").split())
    assert not (log.parent.parent / "bow--default--0").exists()
    times = {path.name: path.stat().st_mtime_ns for path in results.glob("*default*.json")}
    assert sorted(times) == ["bow--default--0.json", "bow--default--1.json"]
    settings["broken"] = {"training.dropout": 0.5}
    srsly.write_yaml(
        toy_project / "configs" / "grids" / "toy.yml", {"variants": ["bow"], "seeds": [0, 1], "settings": settings}
    )
    code, output = go()
    assert code == 0 and "2 finished already" in output
    assert {path.name: path.stat().st_mtime_ns for path in results.glob("*default*.json")} == times
    process = subprocess.run(
        [sys.executable, "-m", "scripts.experiments.compare", "metrics/toy/toy"], cwd=toy_project, check=False
    )
    assert process.returncode == 0
    assert "| bow broken | 2 |" in (results / "compare.md").read_text(encoding="utf-8")
