"""scripts/experiments/reproduce.py: a published result comes out again, and what deviates is named."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import srsly

from scripts.common.cli import UserError
from scripts.common.files import md5_file, write_json
from scripts.evaluation.provenance import steps_before
from scripts.experiments.reproduce import (
    SCORE_TOLERANCE,
    compare,
    different_builds,
    different_packages,
    find_commit,
    first_difference,
    recover_settings,
    runs_over_seeds,
    settings_of,
    why_inexact,
)
from tests.conftest import ROOT, copy_project, message
from tests.project.test_project import PROJECT


@pytest.fixture
def metrics():
    published = srsly.read_json(ROOT / "metrics" / "bbc" / "bow.json")
    # Whatever machine it was published from.
    published["env"]["arithmetic"] = {"openblas": "Haswell", "numpy": "X86_V3", "thinc": "0771f60e"}
    return published


def out_of_tolerance(rows):
    return [row.name for row in rows if not row.ok]


def test_equal_results(metrics):
    rows = compare(metrics, metrics, exact=True)
    assert out_of_tolerance(rows) == []
    assert {row.deviation for row in rows if row.allowed} == {"0"}
    assert [row.deviation for row in rows if not row.allowed] == ["× 1.00"] * 5


def test_exact_means_every_figure_but_for_noise(metrics):
    other = copy.deepcopy(metrics)
    other["scores"]["confusion"]["rows_are_gold"][0][0] += 1
    other["scores"]["calibration_error"] += 2.4e-9
    other["scores"]["per_label"]["tech"]["f"] -= 1e-7
    other["scores"]["macro_f1"] += 2e-6
    other["speed"]["docs_per_s"] /= 3
    rows = compare(metrics, other, exact=True)
    assert out_of_tolerance(rows) == ["scores.macro_f1", "scores.confusion.rows_are_gold.0.0"]
    assert next(row for row in rows if row.name == "speed.docs_per_s").deviation == "× 0.33"
    assert out_of_tolerance(compare(metrics, other, exact=False)) == []


def test_tolerances_without_a_grid(metrics):
    other = copy.deepcopy(metrics)
    other["scores"]["macro_f1"] += SCORE_TOLERANCE * 1.01
    other["dev"]["accuracy"] -= SCORE_TOLERANCE * 0.99
    other["size"]["pipeline_bytes"] = int(other["size"]["pipeline_bytes"] * 1.011)
    other["size"]["parameters"] += 1
    failed = out_of_tolerance(compare(metrics, other, exact=False))
    assert failed == ["scores.macro_f1", "size.parameters", "size.pipeline_bytes"]


def test_tolerances_are_what_a_seed_changes(metrics):
    """Scores of three seeds with a standard deviation of 0.01: 0.03 is allowed. And as many labels as differ there."""
    metrics["scores"].pop("answers", None)  # results of before have confusions only
    runs = [copy.deepcopy(metrics) for _ in range(3)]
    for i, run in enumerate(runs):
        run["scores"]["macro_f1"] += (i - 1) * 0.01
        run["scores"]["confusion"]["rows_are_gold"][0][0] -= 4 * i
        run["scores"]["confusion"]["rows_are_gold"][0][1] += 4 * i
    for points, moved, failed in (
        (0.029, 8, []),
        (0.031, 8, ["scores.macro_f1"]),
        (0, 9, ["labels on test"]),
    ):
        other = copy.deepcopy(metrics)
        other["scores"]["macro_f1"] += points
        other["scores"]["confusion"]["rows_are_gold"][1][1] -= moved
        other["scores"]["confusion"]["rows_are_gold"][1][2] += moved
        assert out_of_tolerance(compare(metrics, other, exact=False, runs=runs)) == failed
    other = copy.deepcopy(metrics)
    other["scores"]["accuracy"] += 2 / 525  # no seed changes it here; two texts are none too many
    assert out_of_tolerance(compare(metrics, other, exact=False, runs=runs)) == []


def test_the_grid_of_seeds_is_found_beside_a_result():
    metrics = srsly.read_json(ROOT / "metrics" / "bbc" / "compact.json")
    for name in ("compact.json", "seeds/compact--default--1.json"):
        runs = runs_over_seeds(ROOT / "metrics" / "bbc" / name, metrics)
        assert sorted(run["seed"] for run in runs) == [0, 1, 2] and {run["variant"] for run in runs} == {"compact"}
    for name, value in (("corpus_md5", {"test.spacy": "another"}), ("config_md5", "another")):
        other = metrics | {"env": metrics["env"] | {name: value}}
        assert runs_over_seeds(ROOT / "metrics" / "bbc" / "compact.json", other) == []


def with_answers(metrics, *given):
    """The metrics with answers: of each document the numbers of labels that it was given."""
    answers = {"labels": ["a", "b"], "gold": " ".join(["0"] * len(given)), "given": " ".join(given), "texts_md5": "x"}
    return metrics | {"scores": metrics["scores"] | {"answers": answers, "documents": len(given)}}


def test_labels_are_compared_text_by_text_where_the_answers_are_known(metrics):
    """Two mistakes that change places are none in a confusion matrix, and several labels have no matrix."""
    before, after = with_answers(metrics, "0", "1", "0,1", "-"), with_answers(metrics, "1", "0", "0,1", "-")
    assert out_of_tolerance(compare(before, after, exact=True)) == ["labels on test"]
    assert next(row.deviation for row in compare(before, after, exact=False) if row.name == "labels on test") == "2"
    earlier = with_answers(metrics, "0", "1", "0,1", "-")
    del earlier["scores"]["answers"]
    assert out_of_tolerance(compare(earlier, before, exact=True)) == []


def test_a_missing_figure_is_a_deviation(metrics):
    other = copy.deepcopy(metrics)
    del other["dev"]["macro_f1"]
    assert out_of_tolerance(compare(metrics, other, exact=False)) == ["dev.macro_f1"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: None, ""),
        (lambda m: m["env"].update(cpu="another", cores=64), ""),
        (lambda m: m["env"]["arithmetic"].update(openblas="Zen"), "another machine: openblas Haswell → Zen"),
        (lambda m: m["env"]["arithmetic"].update(pytorch="AVX2"), "another machine: pytorch None → AVX2"),
        (lambda m: m["env"].pop("arithmetic"), "it is not recorded which instruction sets"),
        (lambda m: m["env"].update(python="3.13.0"), "another Python"),
        (lambda m: m["env"]["packages"].update(spacy="3.8.0"), "other packages"),
        (
            lambda m: m["env"]["packages"].update(torch="2.13.0"),
            "another build of the same version: torch",
        ),
        (lambda m: m["env"]["packages"].pop("torch"), "other packages"),
        (lambda m: m["train"].update(threads={"OMP_NUM_THREADS": "2"}), "threads"),
        (lambda m: m["train"].update(gpu_id=0), "GPU"),
        (lambda m: m.update(steps={"learn-vectors": {"script": ["… --workers 12"], "outputs": {}}}), "race"),
        (lambda m: m.update(steps={"learn-vectors": {"script": ["… --workers 1"], "outputs": {}}}), ""),
    ],
)
def test_when_results_cannot_be_expected_to_be_equal(metrics, change, reason):
    metrics["train"]["threads"] = {"OMP_NUM_THREADS": "1"}
    other = copy.deepcopy(metrics)
    change(other)
    found = why_inexact(metrics, other, ["convert", "train-bow"])
    assert reason in found if reason else found == ""


def test_floret_races(metrics):
    assert "race" in why_inexact(metrics, metrics, ["convert", "learn-floret"])


def test_other_packages_are_named_as_pip_wants_them(metrics):
    here = copy.deepcopy(metrics["env"])
    here["packages"] |= {"numpy": "1.0", "unheard-of": "1.0"}
    del here["packages"]["gensim"]
    assert different_packages(metrics["env"], here) == ["numpy==2.4.6", "gensim==4.4.0"]


def test_another_build_is_no_other_package(metrics):
    """pip cannot install 2.13.0+cpu from the registry, which calls its own build of it 2.13.0."""
    for there, here in (("2.13.0+cpu", "2.13.0"), ("2.13.0", "2.13.0+cpu"), ("2.13.0+cpu", "2.13.0+cu130")):
        before, after = copy.deepcopy(metrics["env"]), copy.deepcopy(metrics["env"])
        before["packages"]["torch"], after["packages"]["torch"] = there, here
        assert different_packages(before, after) == []
        assert different_builds(before, after) == [f"torch {there} → {here}"]
    after["packages"]["torch"] = "2.12.0+cpu"
    assert different_packages(before, after) == ["torch==2.13.0"] and different_builds(before, after) == []


def test_settings_come_from_the_recorded_script_lines():
    project = {
        "vars": {"dim": 100, "seed": 0, "lang": "en", "metrics": "metrics"},
        "commands": [
            {"name": "learn", "script": ["python -m x ${vars.lang} --dim ${vars.dim} --seed ${vars.seed}", "y"]}
        ],
    }
    steps = {"learn": {"script": ["python -m x en --dim 300 --seed 0", "y"], "outputs": {}}}
    assert recover_settings(project, steps) == {"dim": "300"}
    result = {"dataset": "own", "seed": 4, "experiment": {"values": {"vars.dim": 50, "training.dropout": 0.5}}}
    assert settings_of(result, project) == {"dataset": "own", "seed": "4", "dim": "50", "metrics": "rebuilt"}
    del project["vars"]["metrics"]  # later, when the data set says it
    assert settings_of(result, project) == {"dataset": "own", "seed": "4", "dim": "50"}
    steps["learn"]["script"][1] = "z"
    with pytest.raises(UserError, match="The step learn of this commit is not the one that made the result: z"):
        recover_settings(project, steps)


def test_settings_of_all_steps_can_be_recovered():
    from weasel.util.config import load_project_config

    raw = load_project_config(ROOT, interpolate=False)
    for variant in ("compact-distilled", "floret", "transformer-trim"):
        filled = load_project_config(ROOT, overrides={"vars.seed": 7, "vars.dataset": "own", "vars.lang": "de"})
        scripts = {command["name"]: command["script"] for command in filled["commands"]}
        steps = {step: {"script": scripts[step], "outputs": {}} for step in PROJECT["workflows"][variant][1:-1]}
        assert recover_settings(raw, steps) == {"seed": "7", "dataset": "own", "lang": "de"}


def test_steps_are_those_that_the_variant_is_made_by(tmp_path):
    commands = {
        "a": {"outputs": ["corpus/${vars.dataset}/x"]},
        "bar": {"deps": ["corpus/${vars.dataset}/x"], "outputs": ["training/${vars.dataset}/bar"]},
        "c": {"deps": ["corpus/${vars.dataset}/x"], "outputs": ["training/${vars.dataset}/x"]},
        "evaluate-x": {"deps": ["training/${vars.dataset}/x"]},
    }
    steps = ["a", "bar", "c", "evaluate-x"]
    project = {
        "vars": {"dataset": "bbc"},
        "commands": [{"name": name, "script": ["python …"]} | command for name, command in commands.items()],
        "workflows": {"all": [*steps, "bar"], "x": steps},
    }
    srsly.write_yaml(tmp_path / "project.yml", project)
    entry = {"cmd": "…", "script": ["python a"], "deps": [], "outs": [{"path": "corpus/own/x", "md5": "12"}]}
    other = entry | {"outs": [{"path": "corpus/other/x", "md5": "12"}]}
    srsly.write_yaml(tmp_path / "project.lock", {"a": entry, "bar": entry, "c": other})
    folders = (Path("corpus/own"), Path("training/own"))
    found = steps_before("evaluate-x", folders, tmp_path / "project.yml", tmp_path / "project.lock")
    assert found == {"a": {"script": ["python a"], "outputs": {"corpus/own/x": "12"}}}
    assert steps_before("evaluate-x", folders, tmp_path / "project.yml", tmp_path / "none") == {}


def test_the_first_output_that_differs_is_named(metrics):
    metrics["steps"] = {"train-bow": {"script": [], "outputs": {"a/train.json": "1", "a/model-best": "2"}}}
    other = copy.deepcopy(metrics)
    other["steps"]["train-bow"]["outputs"] |= {"a/train.json": "3"}
    assert first_difference(metrics, other) == ""
    other["steps"]["train-bow"]["outputs"] |= {"a/model-best": "3"}
    assert first_difference(metrics, other) == "a/model-best, made by train-bow"


def git(folder, *arguments):
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_commits_that_cannot_be_rebuilt(tmp_path, run, metrics):
    srsly.write_json(tmp_path / "bow.json", metrics | {"env": metrics["env"] | {"git_commit": None}})
    assert "records no commit. Name one: --vars.commit HEAD" in message(run("reproduce", "bow.json", "clones"))
    srsly.write_json(tmp_path / "bow.json", metrics | {"env": metrics["env"] | {"git_commit": "deadbeef-dirty"}})
    assert "not a git repository" in message(run("reproduce", "bow.json", "clones"))
    git(tmp_path, "init", "--quiet")
    error = message(run("reproduce", "bow.json", "clones"))
    assert "made with changes that were not committed" in error
    assert "Commit deadbeef is not in this clone. Fetch it" in error


def test_what_was_skipped_cannot_be_rebuilt(tmp_path, run):
    srsly.write_json(tmp_path / "compact.json", {"variant": "compact", "skipped": "The encoder is for English."})
    error = message(run("reproduce", "compact.json", "clone"))
    assert "compact.json: was skipped, there is nothing to rebuild. The encoder is for English." in error


def test_the_recorded_commit_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    for recorded in (head[:12], f"{head[:7]}-dirty", f"v1.0-3-g{head[:9]}"):
        assert find_commit("recorded", {"env": {"git_commit": recorded}}, tmp_path) == head


def test_a_deviation_is_an_error(tmp_path, run, metrics, monkeypatch):
    git(tmp_path, "init", "--quiet")
    srsly.write_yaml(tmp_path / "project.yml", {"workflows": {"bow": ["train-bow", "evaluate-bow"]}})
    git(tmp_path, "add", "project.yml")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    write_json(tmp_path / "bow.json", metrics)  # srsly would round the floats
    rebuilt = copy.deepcopy(metrics)
    monkeypatch.setattr("scripts.experiments.reproduce.rebuild", lambda folder, published: rebuilt)
    process = run("reproduce", "bow.json", "clones", "--commit", "HEAD")
    assert process.returncode == 0 and "bow.json: reproduced to the last digit" in process.output
    rebuilt["scores"]["calibration_error"] += 2.4e-9
    process = run("reproduce", "bow.json", "clones", "--commit", "HEAD")
    assert process.returncode == 0 and "bow.json: reproduced" in process.output
    assert "to the last digit" not in process.output
    rebuilt["scores"]["macro_f1"] += 1e-5
    error = message(run("reproduce", "bow.json", "clones", "--commit", "HEAD"))
    assert "+1e-05" in error and "bow.json: not reproduced. Out of tolerance: scores.macro_f1." in error
    rebuilt["env"]["arithmetic"]["openblas"] = "another"
    process = run("reproduce", "bow.json", "clones", "--commit", "HEAD")
    assert process.returncode == 0 and "another machine: openblas Haswell → another" in process.output


@pytest.mark.slow
def test_a_result_is_rebuilt_to_the_last_digit(toy_project, tmp_path):
    """In a project that lies in a folder of its repository, on data that git does not have."""
    project = tmp_path / "repository" / "project"
    copy_project(toy_project, project, "metrics")
    shutil.copy(ROOT / ".gitignore", project)
    config = project / "configs" / "bow.cfg"
    git(project.parent, "init", "--quiet")
    git(project.parent, "add", "-A")
    git(project.parent, "commit", "--quiet", "-m", "all")
    settings = ["--vars.dataset", "toy", "--vars.max_epochs", "3", "--vars.repeats", "1", "--vars.seed", "2"]

    def go(step, *arguments):
        command = [sys.executable, "-m", "spacy", "project", "run", step, ".", *arguments]
        process = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        return process.returncode, " ".join((process.stdout + process.stderr).split())

    assert go("bow", *settings)[0] == 0
    published = srsly.read_json(project / "metrics" / "toy" / "bow.json")
    assert published["env"]["git_commit"] == git(project, "rev-parse", "--short=12", "HEAD")
    assert published["env"]["git_changed"] == []
    assert published["train"]["threads"] == {"OMP_NUM_THREADS": "1"}
    config.write_text(config.read_text(encoding="utf-8").replace("ngram_size = 1", "ngram_size = 2"), encoding="utf-8")
    code, output = go("reproduce", "--vars.dataset", "toy", "--vars.variant", "bow")
    assert code == 0 and "metrics/toy/bow.json: reproduced to the last digit" in output, output
    assert "other bytes" not in output
    model = "training/toy/bow/model-best/textcat/model"
    assert md5_file(project / "training" / "toy" / "reproduce" / "bow" / "project" / model) == md5_file(project / model)


@pytest.mark.slow
def test_the_number_of_threads_changes_no_weight_of_a_convolution(tmp_path, toy_assets, run):
    run("convert", "toy", "corpus")
    for threads in (1, 2):
        command = [sys.executable, "-m", "scripts.training.train", "cnn", "--max-epochs", "2", "--configs"]
        command += [ROOT / "configs", "--training", f"out{threads}"]
        env = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=True)
    model = "cnn/model-best/textcat/model"
    assert md5_file(tmp_path / "out1" / model) == md5_file(tmp_path / "out2" / model)
