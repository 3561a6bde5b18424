"""A workflow that is killed, that finds no room, or that is started twice, ends in the same result; nothing is lost."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import srsly
from spacy.tokens import DocBin
from spacy.vocab import Vocab

from scripts.common.files import md5_folder
from scripts.common.finished import FACTS, check_finished
from tests.conftest import copy_project, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="no such signals and limits")]

KILLS = int(os.environ.get("KILLS", "2"))  # more of them: KILLS=40 python -m pytest tests/faults/test_kills.py
WORKFLOW = "cheap"
STEPS = ["select", "convert", "fit-linear", "train-linear"]  # each writes files and folders, and the last trains
SETTINGS = ("--vars.dataset", "toy", "--vars.max_epochs", "2")
READERS = {
    ".json": srsly.read_json,
    ".jsonl": lambda path: list(srsly.read_jsonl(path)),
    ".npz": lambda path: [array.shape for array in np.load(path).values()],
    ".spacy": lambda path: list(DocBin().from_disk(path).get_docs(Vocab())),
}
MADE = ("corpus", "training", "project.lock")


def start(project, name, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "spacy", "project", "run", name, ".", *SETTINGS],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )


def end(process):
    """Exit status and output, as one line of words."""
    output, _ = process.communicate()
    return process.returncode, " ".join(re.sub(r"\x1b\[[0-9;]*m", "", output).split())


def result(project):
    """What must be the same, however it came about."""
    return {path: md5_folder(project / path) for path in ("corpus/toy", "training/toy/linear/model-best")}


def debris(project):
    """Temporary files and folders; os.walk does not mind that they come and go."""
    tops = [os.walk(project / name) for name in MADE]
    return [os.path.join(top, name) for walk in tops for top, folders, files in walk for name in (*folders, *files)
            if name.endswith(".tmp")]  # fmt: skip


def check_whole(project):
    """Whatever stands in its place is whole, at any moment."""
    for path in (path for name in MADE for path in (project / name).rglob("*.*")):
        if any(part.endswith(".tmp") for part in path.parts):
            continue
        if path.name == FACTS:
            check_finished(path.parent)
        elif path.suffix in READERS:
            READERS[path.suffix](path)


@pytest.fixture(scope="module")
def finished(toy_project, tmp_path_factory):
    """A toy project after the workflow, what came out, and how many seconds it took."""
    copied = tmp_path_factory.mktemp("faults") / "project"
    copy_project(toy_project, copied)
    text = (copied / "project.yml").read_text(encoding="utf-8")
    text = text.replace("\nworkflows:\n", f"\nworkflows:\n  {WORKFLOW}: [{', '.join(STEPS)}]\n")
    (copied / "project.yml").write_text(text, encoding="utf-8")
    began = time.monotonic()
    code, output = end(start(copied, WORKFLOW))
    assert code == 0, output
    return copied, result(copied), time.monotonic() - began


def wipe(project):
    for name in MADE:
        shutil.rmtree(project / name, ignore_errors=True)
    (project / "project.lock").unlink(missing_ok=True)


def wait_for(process, project, rng, seconds):
    """Wait for a moment to kill: at random, or just when something is being written."""
    deadline = time.monotonic() + rng.uniform(0.1, 0.6) * seconds
    writing = rng.randint(1, 6) if rng.random() < 0.5 else None
    seen = set()
    while process.poll() is None and time.monotonic() < deadline + (seconds if writing else 0):
        if writing:
            seen |= set(debris(project))
            if len(seen) >= writing:
                return
        time.sleep(0.002 if writing else 0.02)


def test_killed_at_any_moment_it_ends_in_the_same_result(finished):
    """From nothing, with a kill after a random time, again and again, until it comes to its end."""
    project, expected, seconds = finished
    rng = random.Random(17)
    wipe(project)
    for _ in range(KILLS):
        process = start(project, WORKFLOW)
        wait_for(process, project, rng, seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        end(process)
        check_whole(project)
        if process.returncode == 0:
            wipe(project)
    code, output = end(start(project, WORKFLOW))
    assert code == 0, output
    assert result(project) == expected
    assert debris(project) == []


def test_damage_is_refused_by_a_command_and_mended_by_the_workflow(finished):
    project, expected, _ = finished
    path = project / "corpus" / "toy" / "dev.spacy"
    path.write_bytes(path.read_bytes()[:-100])
    before = snapshot(project / "training")
    (project / "project.lock").write_text(
        (project / "project.lock").read_text(encoding="utf-8").replace("train-linear:", "x:"), encoding="utf-8"
    )
    code, output = end(start(project, "train-linear"))
    assert code == 1 and "dev.spacy: was changed or damaged since `convert` has made it. Run `convert` again." in output
    assert "Traceback" not in output and snapshot(project / "training") == before
    assert end(start(project, WORKFLOW))[0] == 0 and result(project) == expected


@pytest.mark.long
def test_two_at_once(finished):
    """From nothing, in one folder: both end well, or one says why not; and what is there is whole and the same."""
    project, expected, seconds = finished
    wipe(project)
    first = start(project, WORKFLOW)
    time.sleep(0.1 * seconds)
    second = start(project, WORKFLOW)
    for code, output in (end(first), end(second)):
        assert "Traceback" not in output, output
        assert code == 0 or output.count("✘") == 1, output
    check_whole(project)
    code, output = end(start(project, WORKFLOW))
    assert code == 0, output
    assert result(project) == expected and debris(project) == []
