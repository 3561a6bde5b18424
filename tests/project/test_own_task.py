"""README's guide for a task of one's own works as it stands: in a fresh clone, command by command."""

import re
import subprocess
import sys
import zipfile

import pytest
import srsly

from tests.conftest import ROOT, copy_project, toy_records
from tests.project.test_project import COMMANDS, PROJECT

PAGE = (ROOT / "docs" / "own-task.md").read_text(encoding="utf-8")
GUIDE = PAGE.partition("## Step by step\n")[2].partition("\n## ")[0]
LINES = [line for block in re.findall(r"```bash\n(.*?)```", GUIDE, re.S) for line in block.splitlines()]
# `all` is run at toy size in test_workflows.py, and with it every step of its part without an encoder.
ELSEWHERE = {"all", "without-encoder"}
RUNS = [line for line in LINES if " project run " in line and line.split()[5] not in ELSEWHERE]


def shell(folder, *words):
    """Run a command and return what it printed, one space between words."""
    words = [sys.executable if word == "python" else word for word in words]
    process = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return " ".join((process.stdout + process.stderr).split())


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What README's clone command makes of a repository that holds this project as it is now."""
    folder = tmp_path_factory.mktemp("clone")
    source = folder / "repository"
    copy_project(ROOT, source)
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.com")
    shell(source, *git, "init", "-q", "-b", "main")
    shell(source, *git, "add", "-A")
    shell(source, *git, "commit", "-q", "-m", "All")
    (line,) = (line for line in LINES if " project clone " in line)
    words = [source.as_uri() if word.startswith("https://") else word for word in line.split()]
    assert source.as_uri() in words
    shell(folder, *words)
    return folder / "mytask"


def test_guide_fits_a_screen():
    assert len(GUIDE.strip().splitlines()) <= 48
    assert {line.split()[5] for line in LINES if " project run " in line} <= {*COMMANDS, *PROJECT["workflows"]}


def test_settings_named_in_the_guide_exist():
    for name in ("format", "text_column", "label_column", "label_separator", "mode", "lang", "dataset"):
        assert f"`{name}" in GUIDE and name in PROJECT["vars"]


def test_clone_has_all_that_is_tracked(clone):
    for name in (
        "project.yml",
        "README.md",
        "requirements.txt",
        "configs/base.cfg",
        "scripts/data/convert.py",
        "scripts/training/train.py",
        "assets/bbc",
    ):
        assert (clone / name).exists(), name


@pytest.mark.slow
def test_guide_from_clone_to_wheel(clone):
    """Steps 2 to 5, with an export of Prodigy in which a text may have several labels."""
    (clone / "assets" / "mytask").mkdir()
    records = [
        {"text": r["text"], "_input_hash": i, "answer": "accept", "accept": [r["label"]] + ["odd"] * (i % 2),
         "options": [{"id": "sport"}, {"id": "money"}, {"id": "film"}, {"id": "odd"}]}
        for i, r in enumerate(toy_records())
    ]  # fmt: skip
    srsly.write_jsonl(clone / "assets" / "mytask" / "annotations.jsonl", records)
    (clone / "assets" / "mytask" / "README.md").write_text("# Ours\n\nCollected by us.\n", encoding="utf-8")
    srsly.write_jsonl(clone / "new.jsonl", [{"text": "The goal and match of today"}, {"text": ""}])
    project = clone / "project.yml"
    text = project.read_text(encoding="utf-8")
    for name, value in {"dataset": "mytask"}.items():
        text = re.sub(rf'^  {name}: ".*"', f'  {name}: "{value}"', text, count=1, flags=re.M)
    # toy size
    for name, value in {"max_epochs": 4, "repeats": 1, "curve_repeats": 1}.items():
        text = re.sub(rf"^  {name}: \d+", f"  {name}: {value}", text, count=1, flags=re.M)
    project.write_text(text, encoding="utf-8")

    printed = {line.split()[5]: shell(clone, *line.split()) for line in RUNS}

    assert "annotations.jsonl: read as prodigy" in printed["linear"] and "Mode multi" in printed["linear"]
    assert (
        "no errors" in printed["check"]
        and srsly.read_json(clone / "corpus" / "mytask" / "check.json")["mode"] == "multi"
    )
    metrics = srsly.read_json(clone / "metrics" / "mytask" / "linear.json")
    assert metrics["dataset"] == "mytask" and set(metrics["scores"]["thresholds"]["per_label"]) == {
        "film",
        "money",
        "odd",
        "sport",
    }
    curve = srsly.read_json(clone / "metrics" / "mytask" / "curve" / "linear.json")
    assert [point["share"] for point in curve["points"]] == [0.25, 0.5, 0.75, 1.0]
    assert (clone / "labelled.csv").read_text(encoding="utf-8").startswith("text,labels,score ")
    (wheel,) = (clone / "packages").rglob("*.whl")
    target = clone / "installed"
    with zipfile.ZipFile(wheel) as file:
        readme = file.read(next(name for name in file.namelist() if name.endswith("METADATA"))).decode()
        file.extractall(target)
    assert "Collected by us." in readme and "License: CC-BY-4.0" in readme and "Requires-Dist: spacy" in readme
    thresholds = [
        srsly.read_json(folder / "textcat" / "cfg")["threshold"]
        for folder in (clone / "training" / "mytask" / "linear" / "model-best", *target.glob("en_*/en_*"))
    ]
    assert thresholds == [metrics["scores"]["thresholds"]["all_labels"]] * 2 and thresholds[0] != 0.5
    code = "import en_mytask_linear; print(sorted(en_mytask_linear.load()('The goal').cats))"
    assert "['film', 'money', 'odd', 'sport']" in shell(target, "python", "-c", code)
    (meta,) = target.glob("en_mytask_linear/en_mytask_linear-*/meta.json")
    assert srsly.read_json(meta)["license"] == "CC-BY-4.0"
    # What Prodigy would make of the tasks, each answered as it is filled in.
    made = [clone / "training" / "mytask" / f"{name}.jsonl" for name in ("doubt", "suggest")]
    tasks = [task for path in made for task in srsly.read_jsonl(path)]
    assert tasks[-1]["text"] == "The goal and match of today" and "Only 1 of the 100 texts" in printed["suggest"]
    srsly.write_jsonl(clone / "assets" / "mytask" / "annotated.jsonl", [task | {"answer": "accept"} for task in tasks])
    shown = shell(clone, "python", "-m", "spacy", "project", "run", "convert")
    assert "annotated.jsonl: read as prodigy" in shown and "1 of train are new" in shown
    shown = shell(clone, "python", "-m", "spacy", "project", "run", "report")
    assert "Not measured" in shown and "transformer" in shown
