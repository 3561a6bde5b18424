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
import spacy
import srsly
from spacy.cli._util import import_code

from scripts.common.cli import UserError
from scripts.experiments.grids import takes_encoder
from scripts.machines.cluster import connect, pack, unpack
from tests.conftest import ROOT, message
from tests.project.test_project import PROJECT

PATIENCE = 600  # seconds until something that should happen counts as failed


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
    with pytest.raises(UserError, match="'../x' in it leads out of the folder"):
        unpack(pack(tmp_path / "in", ["../x"]), tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_only_runs_with_an_encoder_take_a_gpu():
    assert all(takes_encoder(PROJECT, name) for name in ("transformer", "compact-distilled", "transformer-large"))
    assert not takes_encoder(PROJECT, "bow") and not takes_encoder(PROJECT, "vectors")


def test_ray_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="pip install -r requirements-ray.txt"), connect("local"):
        pass


@pytest.mark.parametrize("verb", ["experiment", "classify"])
def test_wrong_engines_are_named(run, verb):
    arguments = ("grid.yml", "toy") if verb == "experiment" else ("model", "in.txt", "out.jsonl")
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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster that has but a head yet."""
    pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")
    # The paths of Ray's sockets must be short.
    temporary = tempfile.mkdtemp(prefix="ray")
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), temporary)
    yield cluster
    for name in list(cluster.processes):
        cluster.kill(name)
    shutil.rmtree(temporary, ignore_errors=True)


needs_process_groups = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups to kill")


@pytest.mark.slow
@needs_process_groups
@pytest.mark.long
def test_a_grid_outlives_a_machine_and_equals_the_local_one(cluster, toy_project, request):
    """Two groups of runs, of which the first has two. The machine is lost while the second of these is trained."""
    toy = {"vars.max_epochs": 2, "vars.repeats": 1}
    settings = {"default": toy, "dropout": {"only": ["bow"], "training.dropout": 0.1} | toy}
    for name, chosen in {"few": settings, "one": {"default": toy}}.items():
        grid = {"variants": ["bow", "cnn"], "seeds": [0], "settings": chosen}
        srsly.write_yaml(toy_project / "configs" / "grids" / f"{name}.yml", grid)

    def start(grid, *options):
        command = [
            sys.executable,
            "-m",
            "scripts.experiments.experiment",
            f"configs/grids/{grid}.yml",
            "toy",
        ]
        with (cluster.folder / f"{grid}.out").open("w") as output:
            process = subprocess.Popen(
                [*command, *options], cwd=toy_project, env=cluster.env, stdout=output, stderr=subprocess.STDOUT
            )
        request.addfinalizer(process.kill)
        return process

    local = start("one")
    cluster.start("first", 1)
    driver = start("few", "--engine", "ray", "--address", cluster.address)
    results, versions = toy_project / "metrics" / "toy" / "few", set()

    def look():
        versions.update((path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in results.glob("*.json*"))

    def on_its_way():
        look()
        in_training = list((cluster.folder / "first").glob("experiment-*/training/toy/cnn/*"))
        return in_training and (results / "bow--default--0.json").exists()

    def finished():
        look()
        return driver.poll() is not None

    cluster.wait_for("a second run to train", on_its_way)
    cluster.kill("first")
    assert driver.poll() is None and not list(results.glob("cnn*"))
    cluster.start("second", 2)
    cluster.wait_for("the grid to finish", finished)
    output = (cluster.folder / "few.out").read_text(encoding="utf-8")
    assert driver.returncode == 0 and "3 results" in output, output
    names = [f"{run}--0.json" for run in ("bow--default", "bow--dropout", "cnn--default")]
    assert sorted(name for name, _, _ in versions) == names, "each result is written once"
    assert not list((cluster.folder / "second").glob("experiment-*")), "nothing is left behind"

    assert local.wait(PATIENCE) == 0, (cluster.folder / "one.out").read_text(encoding="utf-8")
    here, there = (toy_project / "metrics" / "toy" / grid for grid in ("one", "few"))
    for run in ("bow--default--0", "cnn--default--0"):
        metrics = [srsly.read_json(folder / f"{run}.json") for folder in (here, there)]
        for key in ("variant", "dataset", "seed", "scores", "dev", "baseline", "size", "experiment"):
            assert metrics[0][key] == metrics[1][key]


# An architecture of our own: a worker without this file could not load the pipeline.
CODE = """
import spacy

@spacy.registry.architectures("cluster_test.Bow.v1")
def make(exclusive_classes: bool, nO: int | None = None):
    bow = spacy.registry.architectures.get("spacy.TextCatBOW.v3")
    return bow(exclusive_classes=exclusive_classes, ngram_size=1, no_output_layer=False, length=1024, nO=nO)
"""


@pytest.mark.slow
@pytest.mark.long
@needs_process_groups
def test_texts_labelled_by_a_cluster_are_the_local_ones(cluster, tmp_path):
    (tmp_path / "code.py").write_text(CODE, encoding="utf-8")
    import_code(tmp_path / "code.py")
    nlp = spacy.blank("en")
    model = {"@architectures": "cluster_test.Bow.v1", "exclusive_classes": True}
    textcat = nlp.add_pipe("textcat", config={"model": model})
    for label in "abc":
        textcat.add_label(label)
    nlp.initialize()
    nlp.to_disk(tmp_path / "model")
    (tmp_path / "in").mkdir()
    records = [{"id": i, "text": f"text {i} of {i % 7}", "more": {"x": [i]}} for i in range(5000)]
    srsly.write_jsonl(tmp_path / "in" / "many.jsonl", records)
    srsly.write_jsonl(tmp_path / "in" / "few.jsonl.gz", [])
    (tmp_path / "in" / "table.csv").write_text('id,text\n01,"one, two"\n02,\n', encoding="utf-8")
    (tmp_path / "in" / "z_broken.jsonl").write_text('{"text": "fine"}\n{"txt": "x"}\n', encoding="utf-8")

    def classify(output, *options):
        command = [
            sys.executable,
            "-m",
            "scripts.deploy.classify",
            tmp_path / "model",
            tmp_path / "in",
            tmp_path / output,
        ]
        command += ["--code", tmp_path / "code.py", *options]
        process = subprocess.run(command, cwd=ROOT, env=cluster.env, capture_output=True, text=True, timeout=PATIENCE)
        return process.returncode, " ".join((process.stdout + process.stderr).split())

    if "second" not in cluster.processes:
        cluster.start("second", 2)
    on_ray = ("--engine", "ray", "--address", cluster.address, "--n-process", "2")
    code, printed = classify("there", *on_ray)
    assert code == 1 and "line 2: no column with a known name of texts" in printed and "Traceback" not in printed, (
        printed
    )
    (tmp_path / "in" / "z_broken.jsonl").write_text('{"text": "mended"}\n', encoding="utf-8")
    # One engine goes on where the other one was.
    for output, finished in (("there", 3), ("here", 0)):
        code, printed = classify(output)
        assert code == 0 and f"4 files, {finished} labelled already" in printed, printed
    files = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    assert len(files) == 5 and files["many.jsonl"].count(b"\n") == 5000
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()}
