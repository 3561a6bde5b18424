import errno
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from scripts.common import files
from scripts.common.cli import UserError, is_disk_full, run_cli
from scripts.common.files import (
    format_json,
    is_debris,
    md5_bytes,
    md5_file,
    one_at_a_time,
    put,
    read_json,
    whole_file,
    whole_folder,
    workspace,
    write_texts,
)
from tests.conftest import ROOT


def test_whole_file_appears_at_the_end_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with whole_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "one"
    assert [item.name for item in path.parent.iterdir()] == ["file.txt"]


def test_format_json_round_trips_with_plain_values_on_one_line():
    data = {"a": [1, 2.5, None], "b": {"c": "ä", "d": {"e": [[1], [2, 3]]}}, "empty": {}, "nothing": []}
    text = format_json(data)
    assert json.loads(text) == data
    assert '"a": [1, 2.5, null]' in text
    with pytest.raises(ValueError):
        format_json({"f1": float("nan")})


def test_md5(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 1_000_000)
    assert md5_file(path) == md5_bytes([b"abc" * 1_000_000])


def test_read_json_names_the_file(tmp_path):
    with pytest.raises(UserError, match="none.json: cannot be read"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match="bad.json: is not valid JSON"):
        read_json(tmp_path / "bad.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(UserError, match=r"list.json: holds no JSON object, but \[1\]. Make it again"):
        read_json(tmp_path / "list.json")
    (tmp_path / "some.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "some.json", "a") == {"a": 1}
    with pytest.raises(UserError, match="some.json: lacks b, c. Make it again"):
        read_json(tmp_path / "some.json", "a", "b", "c")


@pytest.mark.parametrize("place", [whole_file, whole_folder, workspace])
def test_what_fails_leaves_no_new_folder(tmp_path, place):
    (tmp_path / "old").mkdir()
    with pytest.raises(RuntimeError), place(tmp_path / "old" / "new" / "newer" / "x"):
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]
    with pytest.raises(RuntimeError), place(tmp_path / "new" / "x"):
        (tmp_path / "new" / "of another").touch()
        raise RuntimeError
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["of another"]


def test_user_errors_are_messages_with_exit_status(capfd, monkeypatch):
    def command() -> None:
        raise UserError("mend this")

    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit) as stop:
        run_cli(command)
    assert stop.value.code == 1
    assert "mend this" in capfd.readouterr().out


def test_whole_folder_takes_the_place_of_another(tmp_path):
    path = tmp_path / "folder"
    for content in ("one", "two"):
        with whole_folder(path) as temporary:
            (temporary / content).touch()
    assert [item.name for item in path.iterdir()] == ["two"]
    with pytest.raises(RuntimeError), whole_folder(path) as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert [item.name for item in path.iterdir()] == ["two"]
    assert [item.name for item in tmp_path.iterdir()] == ["folder"]


def test_texts_take_their_places_together_or_not_at_all(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="b: is a folder"):
        write_texts({tmp_path / "a": "1", tmp_path / "b": "2"})
    assert [item.name for item in tmp_path.iterdir()] == ["b"]


def test_put_replaces_files_and_folders_by_one_another(tmp_path):
    for kinds in ("file file", "file folder", "folder file", "folder folder"):
        with workspace(tmp_path / "x") as work:
            for kind, path in zip(kinds.split(), (tmp_path / "x", work / "y"), strict=True):
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True)
                path.mkdir() if kind == "folder" else path.write_text("new")
            put(work / "y", tmp_path / "x")
        assert (tmp_path / "x").is_dir() == kinds.endswith("folder")
        assert [item.name for item in tmp_path.iterdir()] == ["x"]


DIES = """
import os, signal
from pathlib import Path
from scripts.common.files import whole_file, workspace
with whole_file(Path("kept/a.txt")) as file, workspace(Path("kept/b")) as folder:
    file.write_text("half")
    (folder / "c").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_what_a_killed_process_left_is_swept_at_the_next_start(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", DIES], cwd=tmp_path, env=env, check=False).returncode < 0
    folder = tmp_path / "kept"
    debris = sorted(folder.iterdir())
    assert len(debris) == 2 and all(map(is_debris, debris))
    others = [".a.txt.000000-1-abc.tmp", ".a.tmp", "a.tmp", f".b.{files.HOST}-{os.getpid()}-abc.tmp"]
    for name in others:  # of another machine, of other programs, of this process
        (folder / name).touch()
    with whole_file(folder / "a.txt") as temporary:
        temporary.write_text("whole")
    assert sorted(path.name for path in folder.iterdir()) == sorted(["a.txt", *others])


def test_another_process_with_the_number_of_a_dead_one_does_not_keep_its_debris(tmp_path):
    path = tmp_path / f".a.{files.HOST}-{os.getppid()}-abc.tmp"
    path.touch()
    assert not is_debris(path)
    os.utime(path, (1, 1))
    assert not is_debris(path), "it is the time of the last change of its state that counts"


def test_one_at_a_time(tmp_path, capfd):
    seen = []

    def work(name):
        with one_at_a_time(tmp_path / "made"):
            seen.append(name)
            started.set()
            go_on.wait(10)
            seen.append(name)

    started, go_on = threading.Event(), threading.Event()
    first = threading.Thread(target=work, args=("first",))
    first.start()
    started.wait(10)
    second = threading.Thread(target=work, args=("second",))
    second.start()
    second.join(0.5)
    assert seen == ["first"] and second.is_alive()
    go_on.set()
    first.join()
    second.join()
    assert seen == ["first", "first", "second", "second"]
    assert "made: another process is making it. Waiting" in " ".join(capfd.readouterr().out.split())


def full(number=errno.ENOSPC, text="No space left on device"):
    return OSError(number, text)


FULL = {
    "no space": full(),
    "quota": full(errno.EDQUOT, "Disk quota exceeded"),
    "too large": full(errno.EFBIG, "File too large"),
    "safetensors": RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "NumPy": OSError("50000 requested and 12484 written"),
    "PyTorch": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    "shutil": shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_a_full_disk_is_one_sentence_and_leaves_all_as_it_was(tmp_path, error):
    path = tmp_path / "x"
    path.write_text("old")
    expected = "x: (the disk is full .* MB free|no file may become as large)"
    with pytest.raises(UserError, match=expected), whole_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and [item.name for item in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_is_found_behind_other_exceptions():
    try:
        raise RuntimeError from full()
    except RuntimeError as error:
        assert is_disk_full(error)
    assert not is_disk_full(OSError(errno.EACCES, "Permission denied")) and not is_disk_full(ValueError("full"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (full(), "the disk is full"),
        (OSError(errno.EACCES, "Permission denied", "there"), "there: Permission denied. Give yourself"),
        (OSError(errno.ENOTDIR, "Not a directory", "there"), "there: Not a directory. A file stands where"),
    ],
)
def test_what_the_system_refuses_is_a_message(capfd, monkeypatch, error, expected):
    def command() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit) as stop:
        run_cli(command)
    assert stop.value.code == 1 and expected in capfd.readouterr().out


def test_a_bug_keeps_its_traceback(monkeypatch):
    def command() -> None:
        raise KeyError("x")

    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(KeyError):
        run_cli(command)


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_the_largest_file_that_the_system_allows(tmp_path):
    script = (
        "import resource, signal, numpy as np; from pathlib import Path;"
        "from scripts.common.cli import run_cli; from scripts.common.files import whole_file\n"
        "def command():\n"
        "    with whole_file(Path('x.npy')) as path, path.open('wb') as stream: np.save(stream, np.zeros(50_000))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); run_cli(command)"
    )
    np.save(tmp_path / "x.npy", np.ones(3))
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    found = " ".join((process.stdout + process.stderr).split())
    assert process.returncode == 1 and "x.npy: " in found and "Traceback" not in found, found
    assert np.load(tmp_path / "x.npy").tolist() == [1, 1, 1] and len(list(tmp_path.iterdir())) == 1
