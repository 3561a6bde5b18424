"""A variant of one's own takes a config of some lines, and a block of commands and a workflow in project.yml."""

import re
import shutil
import subprocess
import sys

import pytest
import srsly
from spacy.util import load_config

from scripts.common.variants import variant_names
from tests.conftest import ROOT, copy_project

pytestmark = pytest.mark.slow

CONFIG = """[variant]
parents = ["bow"]

[components]

[components.textcat]

[components.textcat.model]
ngram_size = 2
"""
TOY = ("--vars.dataset", "toy", "--vars.max_epochs", "10", "--vars.repeats", "1")


def add_variant(project, name, parent):
    """Copy the commands and the workflow of the parent; the new name in the place of the old one, and its config."""
    text = (project / "project.yml").read_text(encoding="utf-8")
    blocks = re.findall(rf"(?ms)^  - name: (?:train|evaluate)-{parent}\n.*?\n(?=\n  - name: |\Z)", text)
    (workflow,) = re.findall(rf"(?m)^  {parent}: .*\n", text)
    assert len(blocks) == 2
    added = [re.sub(rf"(?<![\w-]){parent}(?![\w-])|(?<=train-|luate-){parent}\b", name, b) for b in (*blocks, workflow)]
    own, inherited = f"configs/{name}.cfg", f"configs/{parent}.cfg"
    added = [block.replace(own, f"{inherited}, {own}") for block in added]
    text = text.replace(workflow, workflow + added[2])
    text = text.replace(blocks[1], "\n".join([blocks[1], *added[:2]]))
    (project / "project.yml").write_text(text, encoding="utf-8")
    (project / "configs" / f"{name}.cfg").write_text(CONFIG, encoding="utf-8")


@pytest.fixture(scope="module")
def project(toy_project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "project"
    copy_project(toy_project, folder, "metrics")
    for name in ("tests", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    add_variant(folder, "pairs", "bow")
    return folder


def go(project, *words):
    process = subprocess.run([sys.executable, "-m", *words], cwd=project, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return process.stdout


def test_a_new_variant_is_trained_and_reported(project):
    assert "pairs" in variant_names(project)
    output = go(project, "spacy", "project", "run", "pairs", ".", *TOY)
    assert re.findall(r"-m scripts\.(\S+)", output) == [
        "outputs.select",
        "data.convert",
        *("linear.fit_linear", "training.train", "evaluation.evaluate"),  # what it is compared with
        "training.train",
        "evaluation.evaluate",
    ]
    metrics = srsly.read_json(project / "metrics" / "toy" / "pairs.json")
    assert (metrics["variant"], metrics["dataset"]) == ("pairs", "toy")
    assert metrics["scores"]["macro_f1"] > metrics["baseline"]["majority"]["macro_f1"] + 0.2
    assert list(metrics["steps"]) == ["convert", "train-pairs"]
    model = load_config(project / "training" / "toy" / "pairs" / "config.cfg", interpolate=True)["components"][
        "textcat"
    ]["model"]
    assert (model["@architectures"], model["ngram_size"]) == ("spacy.TextCatBOW.v3", 2)
    assert model["length"] == 262_144, "the rule for its size is inherited"
    go(project, "spacy", "project", "run", "report", ".", *TOY)
    assert "| pairs " in (project / "metrics" / "toy" / "report.md").read_text(encoding="utf-8")


def test_it_runs_again_where_its_config_or_its_parent_s_changed(project):
    go(project, "spacy", "project", "run", "pairs", ".", *TOY)
    assert go(project, "spacy", "project", "run", "pairs", ".", *TOY).count("nothing changed") == 6
    for name in ("pairs", "bow"):
        with (project / "configs" / f"{name}.cfg").open("a", encoding="utf-8") as stream:
            stream.write("\n# changed\n")
        output = go(project, "spacy", "project", "run", "pairs", ".", *TOY)
        assert re.findall(r"-m scripts\.(\S+)", output)[1] == "training.train"


def test_the_project_s_own_tests_approve_of_it(project):
    output = go(project, "pytest", "-n", "0", "-q", "tests/project/test_structure.py")
    assert " passed" in output and "failed" not in output
