"""scripts/common/cli.py: a bar on a terminal, a line in a log."""

import io
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from scripts.common import cli
from scripts.common.cli import show_progress
from tests.conftest import ROOT


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    assert list(show_progress(range(3), desc="count", unit=" texts")) == [0, 1, 2]
    assert "count" in stream.getvalue()


@pytest.mark.parametrize("seconds", [0, 1000])
def test_a_line_in_a_log_for_what_took_long(monkeypatch, capfd, seconds):
    monkeypatch.setattr(cli, "LONG", 500)
    clock = SimpleNamespace(perf_counter=iter([0, seconds, 0, seconds, seconds]).__next__)
    monkeypatch.setattr(cli, "time", clock)
    assert list(show_progress(iter(range(1500)), desc="count", unit=" texts")) == list(range(1500))
    with show_progress(desc="move", unit=" words", total=9, initial=2) as bar:
        bar.update()
        bar.update(6)
    bar.close()
    captured = capfd.readouterr()
    expected = "count: 1,500 texts in 1,000 s\nmove: 9 words in 1,000 s\n"
    assert captured.err == "" and captured.out == (expected if seconds else "")


def test_nothing_to_count(capfd):
    assert list(show_progress([], desc="count")) == []


def test_no_other_module_makes_bars():
    modules = [path for path in (ROOT / "scripts").rglob("*.py") if "tqdm" in path.read_text(encoding="utf-8")]
    assert [path.name for path in modules] == ["cli.py"]


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_process_knows_where_it_runs():
    pty = pytest.importorskip("pty")
    script = "from scripts.common.cli import show_progress; print(type(show_progress(range(9))).__name__)"
    command = [sys.executable, "-c", script]
    piped = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert piped.stdout.strip() == b"Line" and piped.stderr == b""
    ours, theirs = pty.openpty()
    shown = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, check=True)
    assert shown.stdout.strip() == b"tqdm"
    os.close(theirs)
    os.close(ours)


FACTORIES = """
import sys
import spacy
from scripts.common.cli import import_factories_late

import_factories_late()
import_factories_late()
nlp = spacy.blank("en")
nlp.add_pipe("textcat")
assert not {"spacy_transformers", "transformers", "sklearn"} & set(sys.modules)
nlp.add_pipe("transformer")
assert nlp.pipe_names == ["textcat", "transformer"]
try:
    nlp.add_pipe("none such")
except ValueError as error:
    assert "E002" in str(error)
else:
    raise AssertionError
"""


def test_what_is_said_is_utf_8_where_the_system_has_fewer_letters(tmp_path):
    """As on Windows, where a log or a pipe is written in cp1252."""
    env = os.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "scripts.deploy.classify", "none", "Käse – żółty.jsonl", "out.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True)
    said = " ".join((done.stdout + done.stderr).decode("utf-8").split())
    assert done.returncode == 1 and "Käse – żółty.jsonl: there is no such file" in said and "Traceback" not in said


def test_a_package_is_imported_when_one_of_its_components_is_named():
    done = subprocess.run([sys.executable, "-c", FACTORIES], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
