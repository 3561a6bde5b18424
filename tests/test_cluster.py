"""Ray: files travel, mistakes are named, and a cluster that loses a machine in mid-run ends in the local results."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import srsly

from scripts.cluster import connect, pack, unpack
from scripts.common import UserError
from scripts.experiment import takes_encoder
from tests.conftest import message
from tests.test_project import PROJECT

PATIENCE = 120  # seconds until something that should happen counts as failed


def test_packed_files_arrive(tmp_path):
    (tmp_path / "a" / "b" / "__pycache__").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.bin").write_bytes(b"\0\xff")
    (tmp_path / "a" / "b" / "__pycache__" / "x.pyc").touch()
    (tmp_path / "one.txt").write_text("1", encoding="utf-8")
    unpack(pack(tmp_path, ["a", "one.txt", "missing"]), tmp_path / "there")
    files = {path.relative_to(tmp_path / "there").as_posix() for path in (tmp_path / "there").rglob("*")}
    assert files == {"a", "a/b", "a/b/x.bin", "one.txt"}
    assert (tmp_path / "there" / "a" / "b" / "x.bin").read_bytes() == b"\0\xff"


def test_archives_cannot_write_elsewhere(tmp_path):
    (tmp_path / "x").touch()
    (tmp_path / "in").mkdir()
    with pytest.raises(Exception, match="outside the destination"):
        unpack(pack(tmp_path / "in", ["../x"]), tmp_path / "there")


def test_only_runs_with_an_encoder_take_a_gpu():
    assert takes_encoder(PROJECT, "transformer") and takes_encoder(PROJECT, "compact-distilled")
    assert not takes_encoder(PROJECT, "bow") and not takes_encoder(PROJECT, "vectors")


def test_ray_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="pip install -r requirements-ray.txt"), connect("local"):
        pass


@pytest.mark.parametrize("verb", ["experiment", "classify"])
def test_wrong_engines_are_named(run, verb):
    arguments = ("grid.yml", "metrics") if verb == "experiment" else ("model", "in.txt", "out.jsonl")
    assert "no engine 'spark', only local and ray" in message(run(verb, *arguments, "--engine", "spark"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999"])
def test_silent_addresses_are_named(address):
    pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")
    with pytest.raises(UserError, match=f"{address}: no Ray cluster answers"), connect(address):
        pass


# A cluster of processes on this machine


class Cluster:
    """A head without cores, where the driver runs, and machines that come and go; processes on the loopback."""

    def __init__(self, folder: Path, temporary: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.folder = folder
        (folder / "token").write_text(secrets.token_hex(16), encoding="utf-8")
        self.env = os.environ | {
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        port = self.address.rpartition(":")[2]
        self.processes = {}
        options = ("--port", port, "--include-dashboard", "false", "--temp-dir", temporary)
        self.start("head", 0, "--head", "--node-ip-address", "127.0.0.1", *options)

    def start(self, name, cores, *options):
        """Start a machine; its temporary files are in a folder of its own."""
        (self.folder / name).mkdir()
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus", str(cores)]
        command += ["--object-store-memory", str(80 * 2**20), *(options or ("--address", self.address))]
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=self.folder / name,
                env=self.env | {"TMPDIR": str(self.folder / name)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_for(f"{name} to start", lambda: "runtime started" in (self.folder / f"{name}.log").read_text())

    def kill(self, name):
        """Cut a machine's power: every process of it ends at once."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes.pop(name).wait()

    def wait_for(self, what, condition):
        """Wait until something is true, while all machines live."""
        end = time.time() + PATIENCE
        while not condition():
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            logs = [(self.folder / f"{name}.log").read_text() for name in dead]
            assert not dead and time.time() < end, f"waited in vain for {what}; ended: {dead}\n" + "\n".join(logs)
            time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path):
    """A cluster that has but a head yet."""
    pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")
    # The paths of Ray's sockets must be short.
    temporary = tempfile.mkdtemp(prefix="ray")
    cluster = Cluster(tmp_path, temporary)
    yield cluster
    for name in list(cluster.processes):
        cluster.kill(name)
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills process groups, which Windows has not")
def test_a_grid_outlives_a_machine_and_equals_the_local_one(cluster, toy_project):
    values = {"default": {"vars.max_epochs": 2, "vars.repeats": 1}}
    srsly.write_yaml(toy_project / "configs" / "few.yml", {"variants": ["bow"], "seeds": [0, 1], "settings": values})
    srsly.write_yaml(toy_project / "configs" / "one.yml", {"variants": ["bow"], "seeds": [0], "settings": values})

    def start(grid, *options):
        command = [sys.executable, "-m", "scripts.experiment", f"configs/{grid}.yml", "metrics", "--dataset", "toy"]
        with (cluster.folder / f"{grid}.out").open("w") as output:
            return subprocess.Popen(
                [*command, *options], cwd=toy_project, env=cluster.env, stdout=output, stderr=subprocess.STDOUT
            )

    local = start("one")
    cluster.start("first", 1)
    driver = start("few", "--engine", "ray", "--address", cluster.address)
    cluster.wait_for("a run to train", lambda: list((cluster.folder / "first").glob("experiment-*/training/bow/*")))
    cluster.kill("first")
    assert driver.poll() is None and not list((toy_project / "metrics" / "few").glob("*"))
    cluster.start("second", 2)
    versions = set()

    def finished():
        files = (toy_project / "metrics" / "few").glob("*.json*")
        versions.update((path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in files)
        return driver.poll() is not None

    cluster.wait_for("the grid to finish", finished)
    output = (cluster.folder / "few.out").read_text(encoding="utf-8")
    assert driver.returncode == 0 and "2 results" in output, output
    names = [f"bow--default--{seed}{suffix}" for seed in (0, 1) for suffix in (".json", ".predictions.jsonl")]
    assert sorted(name for name, _, _ in versions) == names, "each result is written once"
    assert not list((cluster.folder / "second").glob("experiment-*")), "nothing is left behind"

    assert local.wait(PATIENCE) == 0, (cluster.folder / "one.out").read_text(encoding="utf-8")
    here, there = (toy_project / "metrics" / grid for grid in ("one", "few"))
    predictions = "bow--default--0.predictions.jsonl"
    assert (here / predictions).read_bytes() == (there / predictions).read_bytes()
    metrics = [srsly.read_json(folder / "bow--default--0.json") for folder in (here, there)]
    for key in ("variant", "dataset", "seed", "scores", "dev", "baseline", "size", "experiment"):
        assert metrics[0][key] == metrics[1][key]
