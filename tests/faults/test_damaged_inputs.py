"""Whatever a command reads that another has made may be missing, cut off, empty, a folder or rubbish: one sentence.

The cases are made of project.yml: commands that need no encoder, each of the data that their `deps` name, and each kind
of damage. A command of the future is among them.
"""

import re
import shutil
import sys

import pytest
import srsly
from weasel.cli.run import update_lockfile
from weasel.util.config import load_project_config

from scripts.common.files import remove
from tests.conftest import ROOT, snapshot, toy_records
from tests.faults.steps import perform

pytestmark = pytest.mark.slow

SETTINGS = {"dataset": "toy", "max_epochs": 1, "repeats": 1, "vectors_epochs": 2, "vectors_dim": 16, "floret_epochs": 1,
            "floret_buckets": 300, "floret_dim": 16, "compact_bytes": 40_000, "pruned_rows": 20}  # fmt: skip
SET = {f"vars.{name}": value for name, value in SETTINGS.items()}
COMMANDS = {command["name"]: command for command in load_project_config(ROOT, overrides=SET)["commands"]}
STEPS = ["convert", "fit-linear", "train-linear", "evaluate-linear", "tokenize-raw", "learn-vectors", "load-vectors",
         "prune-vectors", "learn-floret", "quantize-compact-domain", "train-compact-domain",
         "evaluate-compact-domain"]  # fmt: skip
MADE = {output for step in STEPS for output in COMMANDS[step]["outputs"]}
DAMAGE = {
    "missing": lambda path, content: None,
    "empty": lambda path, content: path.write_bytes(b""),
    "cut": lambda path, content: path.write_bytes(content[: len(content) // 2]),
    "changed in a byte": lambda path, content: path.write_bytes(content[:-9] + b"!" + content[-8:]),
    "rubbish": lambda path, content: path.write_bytes(b"\x80\x81nonsense\0" * 20),
    "other JSON": lambda path, content: path.write_bytes(b'{"a": [1]}'),
    "a folder": lambda path, content: path.mkdir(),
}
CASES = [(step, dep, kind) for step in STEPS for dep in COMMANDS[step]["deps"] if dep in MADE for kind in DAMAGE]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project in which the commands have been run."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(ROOT / "project.yml", folder)
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "components.py", folder / "scripts")
    data = folder / "assets" / "toy"
    data.mkdir(parents=True)
    srsly.write_jsonl(data / "train.jsonl", toy_records())
    srsly.write_jsonl(data / "raw.jsonl", [{"text": f"{record['text']} again"} for record in toy_records()])
    with pytest.MonkeyPatch.context() as patch:
        for step in STEPS:
            if step.startswith("evaluate-"):
                continue  # nobody reads what it makes
            assert perform(step, folder, patch, SETTINGS) == 0, step
            update_lockfile(folder, COMMANDS[step])
    return folder


@pytest.mark.parametrize(("step", "dep", "kind"), CASES, ids=["-".join(case) for case in CASES])
def test_damage_is_told_before_any_work(made, monkeypatch, capfd, step, dep, kind):
    path, kept = made / dep, made / "kept"
    content = path.read_bytes() if path.is_file() else b""
    path.rename(kept)
    try:
        DAMAGE[kind](path, content)
        before = snapshot(made)
        capfd.readouterr()
        assert perform(step, made, monkeypatch, SETTINGS) == 1
        captured = capfd.readouterr()
        output = " ".join((captured.out + captured.err).split())
        assert output.count("✘") == 1 and re.search(rf"{dep}: (is missing|was changed or damaged)", output)
        (maker,) = [name for name in STEPS if dep in COMMANDS[name]["outputs"]]
        assert f"Run `{maker}` again." in output and len(output) < 300
        assert snapshot(made) == before
    finally:
        remove(path)
        kept.rename(path)


@pytest.mark.parametrize("step", ["fit-linear", "load-vectors", "quantize-compact-domain"])
def test_what_is_whole_is_read(made, monkeypatch, step):
    assert perform(step, made, monkeypatch, SETTINGS) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
@pytest.mark.parametrize("step", [step for step in STEPS if not step.startswith("evaluate-")])
def test_without_room_nothing_is_lost(made, monkeypatch, capfd, step):
    """As on a full disk: no file may become larger than half of the largest that the step writes."""
    import resource

    outputs = [made / output for output in COMMANDS[step]["outputs"]]
    files = [file for output in outputs for file in (output, *output.rglob("*")) if file.is_file()]
    limit = max(file.stat().st_size for file in files) // 2
    before, limits = snapshot(made), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        code = perform(step, made, monkeypatch, SETTINGS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    captured = capfd.readouterr()
    output = " ".join((captured.out + captured.err).split())
    assert code == 1 and output.count("✘") == 1, output
    assert "no file may become as large here" in output and "Nothing is lost" in output
    assert snapshot(made) == before


def test_there_are_enough_cases():
    assert len(CASES) >= 150
