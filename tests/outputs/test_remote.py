"""scripts/outputs/push.py and pull.py: what is shared is what the commands here would make."""

import hashlib
import shutil
import tarfile
from pathlib import PureWindowsPath

import pytest
from weasel.cli.run import project_run

from scripts.outputs.cache import open_remote
from scripts.outputs.push import share
from tests.common.test_archives import make_archive, member
from tests.conftest import message

PROJECT = """
vars: {indent: 2, dataset: own}
commands:
  - name: second
    script: ["python -m json.tool work/a.json out/b.json --indent ${vars.indent}"]
    deps: ["work/a.json"]
    outputs: ["out/b.json"]
  - name: first
    script: ["python -m json.tool data.json work/a.json"]
    deps: ["data.json"]
    outputs: ["work/a.json"]
"""


@pytest.fixture
def made(tmp_path):
    """A project of two commands that have run, the second of which stands first."""
    (tmp_path / "project.yml").write_text(PROJECT, encoding="utf-8")
    (tmp_path / "data.json").write_text('{"a": 1}', encoding="utf-8")
    for name in ("work", "out", "assets/own"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("first", "second"):
        project_run(tmp_path, name)
    return tmp_path


def forget(folder):
    """Make another clone of the project: only what git would have."""
    for name in ("work", "out", "training"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "project.lock").unlink()


def test_pull_brings_what_was_pushed(made, run, capfd):
    output = (made / "out" / "b.json").read_bytes()
    assert run("push", "cache", "--dataset", "own").returncode == 0
    forget(made)
    process = run("pull", "cache", "--dataset", "own")
    assert "first, second" in process.output
    assert (made / "out" / "b.json").read_bytes() == output
    project_run(made, "second")
    assert "nothing changed" in capfd.readouterr().out
    assert list((made / "training").iterdir()) == []
    assert "Pulled" not in run("pull", "cache", "--dataset", "own").output


def test_weasel_pulls_what_was_pushed(made, run):
    from weasel.cli.pull import project_pull

    run("push", "cache", "--dataset", "own")
    forget(made)
    assert {output for url, output in project_pull(made, str(made / "cache")) if url} == {"work/a.json", "out/b.json"}


def test_only_what_the_commands_of_now_have_made_is_pushed(made, run):
    project_run(made, "second", overrides={"vars.indent": 4})
    process = run("push", "cache", "--dataset", "own")
    assert process.returncode == 0 and "those of now: second." in process.output
    assert [path.name for path in (made / "cache").iterdir()] == ["work%2Fa.json"]
    (made / "work" / "a.json").write_text("{}", encoding="utf-8")
    assert "nothing to push" in message(run("push", "other", "--dataset", "own"))


def test_pull_replaces_what_is_out_of_date(made, run):
    output = (made / "out" / "b.json").read_bytes()
    run("push", "cache", "--dataset", "own")
    forget(made)
    (made / "out").mkdir()
    (made / "out" / "b.json").write_text("committed long ago", encoding="utf-8")
    run("pull", "cache", "--dataset", "own")
    assert (made / "out" / "b.json").read_bytes() == output


def test_pull_says_what_it_does_not_find(made, run):
    run("push", "cache", "--dataset", "own")
    forget(made)
    (made / "data.json").write_text('{"a": 2}', encoding="utf-8")
    assert "Not in the cache, run them: first" in run("pull", "cache", "--dataset", "own").output
    (made / "data.json").unlink()
    assert "Nothing can be pulled without data.json. Get the data" in message(run("pull", "cache", "--dataset", "own"))


def test_the_outputs_of_a_command_come_all_or_not_at_all(made, run):
    more = PROJECT.replace(
        'script: ["python -m json.tool data.json work/a.json"]',
        'script: ["python -m json.tool data.json work/a.json", "python -m json.tool data.json work/c.json"]',
    ).replace('outputs: ["work/a.json"]', 'outputs: ["work/a.json", "work/c.json"]')
    (made / "project.yml").write_text(more, encoding="utf-8")
    project_run(made, "first")
    run("push", "cache", "--dataset", "own")
    shutil.rmtree(made / "cache" / "work%2Fc.json")
    forget(made)
    assert "Not in the cache, run them: first" in run("pull", "cache", "--dataset", "own").output
    assert not (made / "work" / "a.json").exists()


def test_damage_is_noticed(made, run):
    run("push", "cache", "--dataset", "own")
    forget(made)
    (packed,) = (made / "cache" / "out%2Fb.json").glob("*/*")
    good = packed.read_bytes()
    packed.write_bytes(good[: len(good) // 2])
    assert "out/b.json: is damaged in the cache" in message(run("pull", "cache", "--dataset", "own"))
    assert not (made / "out").exists()
    packed.write_bytes(good)
    packed.rename(packed.with_name("0" * 32))
    assert "its checksum is not that of its name" in message(run("pull", "cache", "--dataset", "own"))
    assert not (made / "out").exists()


def test_a_cache_that_cannot_be_reached_is_not_called_damaged(made, run, monkeypatch):
    run("push", "cache", "--dataset", "own")
    forget(made)

    def refuse(*args, **settings):
        raise ConnectionResetError("Connection reset by peer")

    monkeypatch.setattr("scripts.outputs.pull.download_file", refuse)
    said = message(run("pull", "cache", "--dataset", "own"))
    assert "cannot be read (Connection reset by peer)" in said and "damaged" not in said


def test_names_in_the_cache_are_the_same_on_all_systems(made, run, monkeypatch):
    """weasel writes a path as the system does; on Windows it would be another name than on Linux."""
    monkeypatch.setattr("scripts.outputs.push.Path", PureWindowsPath)
    share(open_remote(str(made / "cache"), made), "out/b.json", "key")
    assert [path.name for path in (made / "cache").iterdir() if "b.json" in path.name] == ["out%2Fb.json"]


def test_an_archive_with_a_link_writes_nothing_outside(made, run):
    run("push", "cache", "--dataset", "own")
    forget(made)
    (packed,) = (made / "cache" / "out%2Fb.json").glob("*/*")
    link = (member("out", tarfile.SYMTYPE, ".."), b"")
    packed.write_bytes(make_archive(link, (member("out/b.json"), b"{}"), mode="w:gz").getvalue())
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if "training" not in path.parts}
    assert "'out' in it is neither a file nor a folder" in message(run("pull", "cache", "--dataset", "own"))
    packed.write_bytes(make_archive((member("other/b.json"), b"{}"), mode="w:gz").getvalue())
    assert "'other/b.json' in it is not below out/b.json" in message(run("pull", "cache", "--dataset", "own"))
    packed.write_bytes(make_archive(mode="w:gz").getvalue())
    packed.rename(packed.with_name(hashlib.md5(b"").hexdigest()))
    assert "it is not in its archive" in message(run("pull", "cache", "--dataset", "own"))
    assert before.keys() - {path for path in made.rglob("*")} == {packed}
    assert not (made / "out").exists() and not list((made / "training").glob("*"))


@pytest.mark.parametrize("verb", ["push", "pull"])
@pytest.mark.parametrize("remote", ["data.json", "data.json/below"])
def test_a_file_is_no_cache(made, run, verb, remote):
    assert "data.json: is a file" in message(run(verb, remote, "--dataset", "own"))


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_caches_that_cannot_be_used(made, run, verb, monkeypatch):
    assert "expected a folder, or a URL that begins with s3://" in message(
        run(verb, "ftp://host/folder", "--dataset", "own")
    )
    # As if the package were missing, also where it is not
    monkeypatch.setattr("cloudpathlib.cloudpath.implementation_registry", missing_packages())
    assert 'pip install "cloudpathlib[gs]==' in message(run(verb, "gs://bucket/folder", "--dataset", "own"))


def missing_packages():
    from cloudpathlib.cloudpath import implementation_registry

    registry = implementation_registry.copy()
    for entry in registry.values():
        entry.dependencies_loaded = False
    return registry
