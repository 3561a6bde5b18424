import importlib
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import srsly
from thinc.api import Config
from weasel.util.config import load_project_config

from scripts.common.cli import run_cli
from scripts.common.files import md5_folder
from scripts.training.config import set_values

ROOT = Path(__file__).parent.parent
DESKS = {
    "sport": ("goal", "match", "coach", "cup", "striker", "final", "team", "player"),
    "money": ("bank", "shares", "profit", "market", "dollar", "firm", "sales", "price"),
    "film": ("actor", "award", "movie", "singer", "album", "star", "festival", "oscar"),
}


# They take minutes; begun last, they would run alone at the end.
LONGEST = (
    "project/test_workflows",
    "experiments/test_toy_grid",
    "machines/test_cluster",
    "project/test_own_task",
    "faults",
)


def pytest_collection_modifyitems(items):
    """Begin with the longest files, in the order above; else keep the order."""
    names = [f"tests/{name}" for name in LONGEST]
    items.sort(key=lambda item: next((i for i, name in enumerate(names) if item.nodeid.startswith(name)), len(names)))


def pytest_configure():
    """Test files run side by side: one core for each, and for what it starts."""
    os.environ["OMP_NUM_THREADS"] = "1"
    # It makes the project's folders, which files that are collected side by side in a new clone would do at once.
    load_project_config(ROOT)


def toy_records(per_label=24):
    """Learnable texts: two words of the label's own, one that all labels share, and a number that keeps them apart."""
    records = []
    for label, words in DESKS.items():
        for i in range(per_label):
            first, second = words[i % 8], words[(i * 3 + 1 + i // 8) % 8]
            records.append({"text": f"The {first} and {second} of day {i} in {label[0]}{i}", "label": label})
    return records


@pytest.fixture(autouse=True)
def main_module(monkeypatch):
    """Put `__main__` back after each test: Streamlit replaces it, and spawned processes would run what it leaves."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def toy_assets(tmp_path):
    """A data set folder `assets/toy` with train.jsonl and raw.jsonl, beside a project.yml without checksums."""
    folder = tmp_path / "assets" / "toy"
    folder.mkdir(parents=True)
    srsly.write_jsonl(folder / "train.jsonl", toy_records())
    words = [" ".join(DESKS[label]) for label in DESKS]
    srsly.write_jsonl(folder / "raw.jsonl", [{"text": f"{words[i % 3]} number {i}"} for i in range(60)])
    (tmp_path / "project.yml").write_text("assets: []\n", encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run the step scripts/STAGE/VERB.py in tmp_path, in this process, as `python -m scripts.STAGE.VERB` would."""

    def run_script(verb, *arguments):
        (path,) = (ROOT / "scripts").glob(f"*/{verb}.py")
        module = importlib.import_module(f"scripts.{path.parent.name}.{verb}")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [verb, *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            run_cli(getattr(module, verb))
        captured = capfd.readouterr()
        output = re.sub(r"\x1b\[[0-9;]*m", "", captured.out + captured.err)
        return SimpleNamespace(returncode=stop.value.code or 0, output=" ".join(output.split()))

    return run_script


def fit_linear_model(run):
    """Fit the linear model to the corpus that `convert` wrote, where variants look for it."""
    splits = (f"corpus/{split}.spacy" for split in ("train", "dev"))
    assert run("fit_linear", *splits, "training/linear/linear.npz").returncode == 0


@pytest.fixture
def make_variant(tmp_path):
    """A function that adds a variant to a copy of the project's configs, tmp_path/configs.

    It takes its name, its parents, and the values that it changes, by their dotted names; `code` is looked up there.
    """

    def make(name, *parents, code=None, values=None):
        configs = tmp_path / "configs"
        if not configs.exists():
            shutil.copytree(ROOT / "configs", configs)
            (tmp_path / "scripts").mkdir(exist_ok=True)
            shutil.copy(ROOT / "scripts" / "components.py", tmp_path / "scripts")
        config = Config({"variant": {"parents": list(parents)} | ({"code": str(code)} if code else {})})
        for dotted in values or {}:
            section = config
            for part in dotted.split(".")[:-1]:
                section = section.setdefault(part, {})
        set_values(config, values or {})
        config.to_disk(configs / f"{name}.cfg")
        return name

    return make


def message(process):
    """The output of a failed script as one line of words; an exception other than UserError would have come through."""
    assert process.returncode == 1, process.output
    return process.output


def finish(folder, **facts):
    """Say of the pipeline in a training folder that its training has come to its end; its checksum."""
    found = md5_folder(folder / "model-best")
    srsly.write_json(folder / "train.json", {"seconds": 1.0, "model_md5": found} | facts)
    return found


def snapshot(folder):
    """What lies in a folder: each path with its content, the target of a link, or nothing for anything else."""

    def content(path):
        if path.is_symlink():
            return os.readlink(path)
        return path.read_bytes() if path.is_file() else None

    return {path.relative_to(folder).as_posix(): content(path) for path in folder.rglob("*")}


def copy_project(source, target, *without):
    """Copy a project without what machines wrote, and without some more; the stage scripts/training is no output."""
    made = {"corpus", "training", "packages", "project.lock", ".git", ".venv", *without}

    def ignored(folder, names):
        top = made if folder == str(source) else set()
        return {name for name in names if name in top or name == "__pycache__" or name.endswith(("_cache", ".pyc"))}

    shutil.copytree(source, target, ignore=ignored)


@pytest.fixture(scope="session")
def toy_project(tmp_path_factory):
    """A copy of the tracked project with the toy data set, to run workflows in."""
    target = tmp_path_factory.mktemp("project")
    for name in ("project.yml", "README.md", "configs", "scripts", "assets/bbc", "metrics"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    folder = target / "assets" / "toy"
    folder.mkdir()
    srsly.write_jsonl(folder / "train.jsonl", toy_records())
    words = [" ".join(DESKS[label]) for label in DESKS]
    srsly.write_jsonl(folder / "raw.jsonl", [{"text": f"{words[i % 3]} number {i}"} for i in range(60)])
    return target
