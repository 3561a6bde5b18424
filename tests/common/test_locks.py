"""Several data sets side by side: each keeps its own record of what was done."""

import re
import subprocess
import sys

import pytest
import srsly

from scripts.common.cli import UserError
from scripts.common.locks import check_dataset, owner, read_lock, saved_lock, use_lock
from tests.conftest import ROOT, message
from tests.project.test_project import PROJECT as PROJECT_OF_OURS

PROJECT = """
vars: {dataset: one}
workflows:
  all: [select, copy]
commands:
  - name: select
    script: ["python -m scripts.outputs.select ${vars.dataset}"]
    no_skip: true
  - name: copy
    script: ["python -m json.tool assets/${vars.dataset}/a.json training/${vars.dataset}/b.json"]
    deps: ["assets/${vars.dataset}/a.json"]
    outputs: ["training/${vars.dataset}/b.json"]
"""


def entries(**scripts):
    return {name: {"cmd": "", "script": [script], "deps": [], "outs": []} for name, script in scripts.items()}


@pytest.fixture
def project(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "assets" / name).mkdir(parents=True)
        (tmp_path / "training" / name).mkdir(parents=True)
        (tmp_path / "assets" / name / "a.json").write_text(f'"{name}"', encoding="utf-8")
    (tmp_path / "project.yml").write_text(PROJECT, encoding="utf-8")
    return tmp_path


def go(project, step, dataset):
    """What ran; the project's own scripts are found in the repository."""
    command = [sys.executable, "-m", "weasel", "run", step, ".", "--vars.dataset", dataset]
    process = subprocess.run(
        command, cwd=project, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return re.findall(r"Running command: \S+ -m (\S+)", process.stdout)


def test_going_back_and_forth_repeats_nothing(project):
    for dataset in ("one", "two"):
        assert go(project, "all", dataset) == ["scripts.outputs.select", "json.tool"]
    for dataset in ("one", "two", "two", "one"):
        assert go(project, "all", dataset) == ["scripts.outputs.select"]
    assert owner(read_lock(project / "project.lock")) == "one"
    assert saved_lock("two", project).is_file() and not saved_lock("one", project).exists()
    (project / "assets" / "two" / "a.json").write_text('"new"', encoding="utf-8")
    assert go(project, "all", "one") == ["scripts.outputs.select"]
    assert go(project, "all", "two") == ["scripts.outputs.select", "json.tool"]
    assert (project / "training" / "two" / "b.json").read_text(encoding="utf-8").strip() == '"new"'


def test_a_command_run_alone_is_right_and_repeats_at_most_itself(project):
    go(project, "all", "one")
    assert go(project, "copy", "two") == ["json.tool"]
    assert (project / "training" / "two" / "b.json").read_text(encoding="utf-8").strip() == '"two"'
    assert go(project, "all", "one") == ["scripts.outputs.select", "json.tool"]
    assert go(project, "all", "two") == ["scripts.outputs.select", "json.tool"]
    assert go(project, "all", "one") == ["scripts.outputs.select"]


def test_a_removed_record_stays_removed(project):
    """People remove project.lock to have everything run again."""
    go(project, "all", "two")
    go(project, "all", "one")
    (project / "project.lock").unlink()
    assert go(project, "all", "one") == ["scripts.outputs.select", "json.tool"]
    assert go(project, "all", "two") == ["scripts.outputs.select"]


def test_the_record_is_one_data_set_s_at_every_moment(tmp_path, monkeypatch):
    """Killed between saving and replacing, it is as before."""
    use_lock("one", tmp_path)
    lock = tmp_path / "project.lock"
    srsly.write_yaml(lock, read_lock(lock) | entries(convert="of one"))
    before = lock.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("scripts.common.locks.write_text", lambda path, text: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            use_lock("two", tmp_path)
    assert lock.read_bytes() == before
    use_lock("two", tmp_path)
    assert "convert" not in read_lock(lock)
    srsly.write_yaml(lock, read_lock(lock) | entries(convert="of two"))
    use_lock("one", tmp_path)
    assert read_lock(lock)["convert"]["script"] == ["of one"]
    use_lock("two", tmp_path)
    assert read_lock(lock)["convert"]["script"] == ["of two"]


@pytest.mark.parametrize("share", [0, 0.3, 0.5, 0.7, 0.9, 0.95])
def test_a_half_written_record_is_mended(project, share):
    """weasel does not write it at once; killed in between, what cannot be read is done again, and no more is lost."""
    go(project, "all", "two")
    go(project, "all", "one")
    lock = project / "project.lock"
    whole = lock.read_text(encoding="utf-8")
    lock.write_text(whole[: int(share * len(whole))], encoding="utf-8")
    ran = go(project, "all", "one")
    assert ran[0] == "scripts.outputs.select" and set(ran[1:]) <= {"json.tool"}
    assert read_lock(lock) == srsly.yaml_loads(whole)
    lock.write_text("copy: [", encoding="utf-8")
    assert go(project, "all", "two") == ["scripts.outputs.select"]
    assert go(project, "all", "one") == ["scripts.outputs.select", "json.tool"]


@pytest.mark.parametrize("workflow", PROJECT_OF_OURS["workflows"])
def test_every_workflow_chooses_its_data_set_first(workflow):
    steps = PROJECT_OF_OURS["workflows"][workflow]
    assert steps[0] == "select" and steps.count("select") == 1


def test_what_commands_run_alone_have_left_is_adopted(tmp_path):
    srsly.write_yaml(tmp_path / "project.lock", entries(convert="x"))
    use_lock("one", tmp_path)
    assert set(read_lock(tmp_path / "project.lock")) == {"select", "convert"}
    assert owner(read_lock(tmp_path / "project.lock")) == "one"


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", ".hidden", "", "-x"])
def test_names_that_are_no_folder_s(name, project):
    with pytest.raises(UserError, match="must be the name of a folder"):
        check_dataset(name, project / "assets")


def test_unknown_data_sets_are_named(project, run):
    found = message(run("select", "three"))
    assert "There is no data set 'three' in assets/, only one, two. Put your files into assets/three/" in found
    assert not (project / "project.lock").exists()


@pytest.mark.parametrize(
    "name", ["..", ".", "../..", "/etc", "a/b", "", "-x", "a b", "own\\..", "$(own)", "~", "own\0"]
)
def test_a_data_set_is_a_folder_of_the_assets(tmp_path, name):
    (tmp_path / "own").mkdir()
    with pytest.raises(UserError, match="must be the name of a folder in"):
        check_dataset(name, tmp_path)
