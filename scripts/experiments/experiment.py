"""Run a declared grid: variants, seeds and settings, each in a working folder of its own, with `spacy project run`.

A grid is `configs/grids/NAME.yml` with `variants` (a list, or `all`), `seeds`, and optionally named `settings`, each a
mapping of config values (`training.dropout: 0.1`) or project settings (`vars.max_epochs: 5`) with an optional list
`only` of variants. The result of a run is METRICS/DATASET/NAME/VARIANT--SETTING--SEED.json, with its predictions beside
it; its log is in its folder below training/DATASET/experiments/. What is finished is not run again, so a killed grid
goes on where it was. A run that fails does not stop the others. Runs are done here, or by a Ray cluster, with the same
results.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg
from weasel.util.config import load_project_config

from scripts.common.cli import UserError, run_cli, show_progress
from scripts.common.files import read_json, whole_file, write_json
from scripts.common.locks import LOCK, check_dataset, saved_lock
from scripts.common.variants import names_in
from scripts.experiments.grids import (
    SOURCES,
    Run,
    change_config,
    copy,
    earlier_outputs,
    expand_grid,
    takes_encoder,
)
from scripts.machines.cluster import LOCAL, check_engine, connect, pack, unpack

LOG = "output.log"
LOG_LINES = 5  # shown of the log of a run that failed
RETRIES = 5  # of a run, each on another machine if one was lost


def needed(project: dict[str, Any], variant: str, dataset: str) -> list[str]:
    """What a run's working folder needs: the project's sources, and what earlier steps may have produced already."""
    records = (LOCK, saved_lock(dataset).as_posix())
    return [*SOURCES, f"assets/{dataset}", *records, *earlier_outputs(project, variant)]


def prepare(root: Path, folder: Path, project: dict[str, Any], run: Run, dataset: str) -> None:
    """Make the working folder of a run."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in needed(project, run.variant, dataset):
        copy(root / name, folder / name)


def is_finished(result: Path, run: Run, dataset: str) -> bool:
    """Whether a result of exactly this run is there, with the predictions that `compare` needs."""
    if not result.exists() or not result.with_suffix(".predictions.jsonl").exists():
        return False
    metrics = read_json(result)
    return (metrics["experiment"]["values"], metrics["seed"], metrics["dataset"]) == (run.values, run.seed, dataset)


def result_files(run: Run, dataset: str) -> tuple[str, str]:
    """The metrics and the predictions of a run in its folder."""
    return f"metrics/{dataset}/{run.variant}.json", f"training/{dataset}/{run.variant}/predictions.jsonl"


def perform(folder: Path, project: dict[str, Any], run: Run, settings: dict[str, Any], threads: int) -> bool:
    """Do a run in its prepared folder; True if it succeeded. What it prints goes to output.log there."""
    settings = settings | {"vars.seed": run.seed}
    if not takes_encoder(project, run.variant):
        settings["vars.gpu_id"] = -1
    settings |= {name: value for name, value in run.values.items() if name.startswith("vars.")}
    command = [sys.executable, "-m", "spacy", "project", "run", run.variant, "."]
    command += [word for name, value in settings.items() for word in (f"--{name}", json.dumps(value).strip('"'))]
    with (folder / LOG).open("w", encoding="utf-8") as log:
        try:
            change_config(folder, project, run)
        except UserError as error:
            log.write(f"{error}\n")
            return False
        env = os.environ | {"OMP_NUM_THREADS": str(threads)}
        process = subprocess.run(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT, check=False)
    return process.returncode == 0


def keep(folder: Path, results: Path, run: Run, dataset: str) -> None:
    """Move the result of a run from its folder to the results; the metrics come last, they say that it is finished."""
    metrics_name, predictions_name = result_files(run, dataset)
    metrics = read_json(folder / metrics_name)
    metrics["experiment"] = {"setting": run.setting, "values": run.values}
    with whole_file(results / f"{run.name}.predictions.jsonl") as path:
        shutil.copyfile(folder / predictions_name, path)
    write_json(results / f"{run.name}.json", metrics)
    shutil.rmtree(folder)


def last_lines(log: Path) -> str:
    """The end of a log, where the reason of a failure stands."""
    with log.open(encoding="utf-8", errors="replace") as stream:
        return "".join(deque(stream, LOG_LINES)).rstrip()


def run_here(
    root: Path, folders: Path, project: dict[str, Any], todo: list[Run], settings: dict[str, Any], workers: int
) -> Generator[tuple[Run, bool]]:
    """Do runs on this machine, some at a time; each comes with whether it succeeded, when it is done."""
    threads = max(1, (os.cpu_count() or 1) // workers)

    def execute(run: Run) -> bool:
        prepare(root, folders / run.name, project, run, settings["vars.dataset"])
        return perform(folders / run.name, project, run, settings, threads)

    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(execute, run): run for run in todo}
        yield from ((futures[future], future.result()) for future in as_completed(futures))


def perform_packed(
    project: dict[str, Any], run: Run, settings: dict[str, Any], threads: int, *parts: bytes
) -> tuple[bool, bytes]:
    """Do a run on a machine that may share no disk with ours: packed files in, the packed result or log out."""
    with tempfile.TemporaryDirectory(prefix="experiment-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for part in parts:
            unpack(part, folder)
        succeeded = perform(folder, project, run, settings, threads)
        return succeeded, pack(folder, result_files(run, settings["vars.dataset"]) if succeeded else (LOG,))


def run_on_ray(
    root: Path,
    folders: Path,
    project: dict[str, Any],
    todo: list[Run],
    settings: dict[str, Any],
    workers: int,
    address: str,
    gpu_share: float,
) -> Generator[tuple[Run, bool]]:
    """Do runs as tasks on a Ray cluster; like `run_here`. The files that runs have in common travel once to a machine.

    A task whose machine is lost starts anew on another one. Only this process writes results.
    """
    dataset = settings["vars.dataset"]
    with connect(address) as ray:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        # As on one machine: the cores of a machine are shared out among the runs that it does at a time.
        threads = max(1, int(max(machine.get("CPU", 0) for machine in machines)) // workers)
        on_gpu = {run for run in todo if settings["vars.gpu_id"] >= 0 and takes_encoder(project, run.variant)}
        if on_gpu and not any(machine.get("GPU") for machine in machines):
            msg.warn(f"No machine of the cluster has a GPU yet; {len(on_gpu)} runs wait for one.")
        names = dict.fromkeys(name for run in todo for name in needed(project, run.variant, dataset))
        parts = {name: ray.put(pack(root, [name])) for name in names}
        task = ray.remote(num_cpus=threads, max_retries=RETRIES)(perform_packed)
        pending = {}
        for run in todo:
            # Ray shows a task its own GPUs only, counted from 0.
            own = settings | {"vars.gpu_id": 0 if run in on_gpu else -1}
            files = [parts[name] for name in needed(project, run.variant, dataset)]
            ref = task.options(num_gpus=gpu_share if run in on_gpu else 0).remote(project, run, own, threads, *files)
            pending[ref] = run
        while pending:
            (done,), _ = ray.wait(list(pending))
            run = pending.pop(done)
            folder = folders / run.name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                succeeded, files = ray.get(done)
                unpack(files, folder)
            except ray.exceptions.RayError as error:  # lost too often, out of memory, …
                succeeded = False
                (folder / LOG).write_text(str(error), encoding="utf-8")
            yield run, succeeded


def experiment(
    grid: Annotated[Path, typer.Argument(help="Grid file, configs/grids/NAME.yml.")],
    dataset: Annotated[str, typer.Argument(help="Data set to run on: a folder of assets/.")],
    metrics: Annotated[Path, typer.Option(help="Folder for results; DATASET/NAME is made in it.")] = Path("metrics"),
    gpu_id: Annotated[int, typer.Option(help="GPU to train on; -1 for the CPU.")] = -1,
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time on a machine, which share its cores.")] = 1,
    engine: Annotated[str, typer.Option(help="local, or ray: a cluster does the runs.")] = "local",
    address: Annotated[str, typer.Option(help="Of a Ray cluster: HOST:PORT or auto; local starts Ray here.")] = LOCAL,
    gpu_share: Annotated[float, typer.Option(min=0.0, help="GPUs, or part of one, for a transformer's run.")] = 1.0,
) -> None:
    """Run what is not finished of a grid of variants, seeds and settings."""
    check_engine(engine)
    root = Path.cwd()
    check_dataset(dataset, root / "assets")
    project = load_project_config(root, overrides={"vars.dataset": dataset})
    runs = expand_grid(grid, names_in(project))
    folder = metrics / dataset / grid.stem
    todo = [run for run in runs if not is_finished(folder / f"{run.name}.json", run, dataset)]
    msg.info(f"{grid}: {len(runs)} runs, {len(runs) - len(todo)} finished already")
    settings = {"vars.dataset": dataset, "vars.gpu_id": gpu_id}
    folders = root / "training" / dataset / "experiments" / grid.stem
    if engine == "ray" and todo:
        outcomes = run_on_ray(root, folders, project, todo, settings, workers, address, gpu_share)
    else:
        outcomes = run_here(root, folders, project, todo, settings, workers)
    failed = []
    # Closing leaves Ray in good order, whatever happens.
    with closing(outcomes):
        for run, succeeded in show_progress(outcomes, total=len(todo), desc=grid.stem, unit=" runs"):
            if succeeded:
                keep(folders / run.name, folder, run, dataset)
            else:
                failed.append(run)
                msg.fail(f"{run.name} failed, see {folders / run.name / LOG}", last_lines(folders / run.name / LOG))
    if failed:
        raise UserError(
            f"{grid}: {len(failed)} of {len(todo)} runs failed; the others are finished. Run again to retry."
        )
    msg.good(f"{folder}: {len(runs)} results")


if __name__ == "__main__":
    run_cli(experiment)
