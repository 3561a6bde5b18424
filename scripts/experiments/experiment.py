"""Run a declared grid of variants, seeds and settings in working folders, with `spacy project run`.

A grid is `configs/grids/NAME.yml` with `variants` (a list, or `all`), `seeds`, and optionally named `settings`, each a
mapping of config values (`training.dropout: 0.1`) or project settings (`vars.max_epochs: 5`) with an optional list
`only` of variants. The result of a run is METRICS/DATASET/NAME/VARIANT--SETTING--SEED.json. Runs of one setting and
seed share a folder below training/DATASET/experiments/, one after another, so that what several need (corpus, vectors,
a teacher) is made once; a run that changes values of a config has a folder of its own. Logs are there, too, and the
folder stays until all its runs are finished. What is finished is not run again, neither a run nor a step of it, so a
killed grid goes on where it was; but what other texts, settings or configs than those of now gave is. A run that fails
does not stop the others. Runs are done here, or by a Ray cluster, with the same results.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Annotated, Any

import typer
from wasabi import msg
from weasel.util.config import load_project_config, parse_config_overrides

from scripts.common.cli import UserError, run_cli, show_progress
from scripts.common.files import file_in_the_way, md5_bytes, md5_folder, read_json, whole_folder, write_json
from scripts.common.locks import LOCK, check_dataset, saved_lock
from scripts.common.settings import overriding_words, weasels_words
from scripts.common.variants import config_chain, in_all, merge_configs, names_in
from scripts.evaluation.provenance import labelled, labelled_now
from scripts.experiments.grids import (
    EVERY,
    SOURCES,
    Group,
    Run,
    change_config,
    check_settings,
    choose_runs,
    config_of,
    copy,
    earlier_outputs,
    expand_grid,
    group_runs,
    takes_encoder,
)
from scripts.machines.cluster import LOCAL, check_engine, connect, pack, unpack

LOG_LINES = 5  # shown of the log of a run that failed
OWN = {f"vars.{name}" for name in
       ("dataset", "grid", "workers", "of_grid", "engine", "address", "gpu_share", "gpu_id")}  # fmt: skip
# Settings by which labelled texts are read, and those on which no score hangs, or that each run has its own of.
DATA = ("lang", "format", "text_column", "label_column", "label_separator", "mode", "folds")
NO_RECIPE = {*OWN, *(f"vars.{name}" for name in (*DATA, "seed", "repeats"))}
SETTING = re.compile(r"\$\{(vars\.\w+)\}")
RETRIES = 5  # of a group, each on another machine if one was lost


def log_name(run: Run) -> str:
    """The log of a run in its group's folder."""
    return f"{run.name}.log"


def sources(dataset: str) -> list[str]:
    """What a working folder needs that people write."""
    return [*SOURCES, f"assets/{dataset}"]


def made_before(project: dict[str, Any], group: Group, dataset: str) -> list[str]:
    """What earlier steps of a group's runs may have produced in this project already, with the record of it."""
    outputs = [output for run in group.runs for output in earlier_outputs(project, run.variant)]
    return list(dict.fromkeys([LOCK, saved_lock(dataset).as_posix(), *outputs]))


def prepare(root: Path, folder: Path, project: dict[str, Any], group: Group, dataset: str) -> None:
    """Make the working folder of a group; in one that is there already, bring what people write up to date."""
    if not (folder / SOURCES[0]).exists():  # Ray leaves folders with logs only
        with whole_folder(folder) as temporary:
            for name in made_before(project, group, dataset):
                copy(root / name, temporary / name)
    for name in sources(dataset):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        copy(root / name, folder / name)


def check_overrides(grid: Path) -> None:
    """Make sure that what was set for this command reaches the runs, which go by project.yml.

    Raises:
        UserError: it does not.
    """
    given = parse_config_overrides(overriding_words(weasels_words() or []), env_var=None)
    for name in sorted(given.keys() - OWN):
        if name.startswith("vars."):
            raise UserError(
                f"{name}: would not reach the runs, which go by project.yml. Set it there, or in `settings` of {grid}."
            )


def describe_data(dataset: str, project: dict[str, Any]) -> dict[str, Any]:
    """What the labelled texts of a run follow from: the data set's files, and the settings by which they are read."""
    settings = {name: project["vars"][name] for name in DATA if name in project["vars"]}
    return {"assets_md5": md5_folder(Path("assets") / dataset, without="README.md"), **settings}


def describe_recipe(root: Path, project: dict[str, Any], run: Run) -> dict[str, Any]:
    """What a run does with its texts: the checksum of its variant's merged config, and the settings of its commands.

    Args:
        root: the folder of project.yml.
        project: project.yml, with its settings still by their names.
        run: the run.
    """
    merged, section = merge_configs(config_chain(config_of(root, project, run.variant)))
    commands = {command["name"]: command for command in project["commands"]}
    lines = [line for step in project["workflows"][run.variant] for line in commands[step].get("script", [])]
    names = {name for line in lines for name in SETTING.findall(line)} - NO_RECIPE
    settings = {name: run.values.get(name, project["vars"][name.removeprefix("vars.")]) for name in sorted(names)}
    config = json.dumps([merged, section], sort_keys=True, default=str)
    return {"config_md5": md5_bytes([config.encode()]), **settings}


def is_finished(
    result: Path, run: Run, dataset: str, corpus: dict[str, str] | None = None, made_from: dict[str, Any] | None = None
) -> bool:
    """Whether a result of exactly this run is there, with the answers that `compare` needs, or with why it was skipped.

    And of the labelled texts whose checksums are `corpus`, which is not asked for a run with settings: it may split
    them otherwise; and made from the same data, settings and config, where a result tells (those of before 2026-11-30
    do not).
    """
    metrics = read_json(result) if result.exists() else {}
    if "skipped" not in metrics and "answers" not in metrics.get("scores", {}):
        return False
    values = metrics.get("experiment", {}).get("values")
    if (values, metrics.get("seed"), metrics.get("dataset")) != (run.values, run.seed, dataset):
        return False
    known = metrics["experiment"].get("made_from", {})
    if any(known[name] != value for name, value in (made_from or {}).items() if name in known):
        return False
    if not corpus or "env" not in metrics or any(name.startswith("vars.") for name in run.values):
        return True
    return labelled(metrics["env"].get("corpus_md5", {})) == corpus


def result_file(run: Run, dataset: str) -> str:
    """The metrics of a run in its group's folder."""
    return f"metrics/{dataset}/{run.variant}.json"


def perform(folder: Path, project: dict[str, Any], run: Run, settings: dict[str, Any], threads: int) -> bool:
    """Do a run in its prepared folder; True if it succeeded. What it prints goes to its log there."""
    settings = settings | {"vars.seed": run.seed}
    if not takes_encoder(project, run.variant):
        settings["vars.gpu_id"] = -1
    settings |= {name: value for name, value in run.values.items() if name.startswith("vars.")}
    command = [sys.executable, "-m", "spacy", "project", "run", run.variant, "."]
    for name, value in settings.items():
        command += [f"--{name}", json.dumps(value, ensure_ascii=False).strip('"')]
    with (folder / log_name(run)).open("w", encoding="utf-8") as log:
        try:
            change_config(folder, project, run)
        except UserError as error:
            log.write(f"{error}\n")
            return False
        env = os.environ | {"OMP_NUM_THREADS": str(threads)}
        process = subprocess.run(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT, check=False)
    return process.returncode == 0


def keep(folder: Path, results: Path, run: Run, dataset: str, made_from: dict[str, Any]) -> None:
    """Copy the result of a run to the results, with what it follows from."""
    # A variant that was skipped says no more than why.
    metrics = {"seed": run.seed, "dataset": dataset} | read_json(folder / result_file(run, dataset))
    metrics["experiment"] = {"setting": run.setting, "values": run.values, "made_from": made_from}
    write_json(results / f"{run.name}.json", metrics)


def show_skipped(results: list[Path]) -> None:
    """Say which runs could not be done on this data, such as those with an encoder for another language, and why."""
    skipped: dict[str, list[str]] = {}
    for path in results:
        if reason := read_json(path).get("skipped"):
            skipped.setdefault(reason, []).append(path.stem)
    for reason, names in skipped.items():
        msg.warn(f"Skipped: {', '.join(names)}. {reason} To try again, remove these results.")


def last_lines(log: Path) -> str:
    """The end of a log, where the reason of a failure stands."""
    with log.open(encoding="utf-8", errors="replace") as stream:
        return "".join(deque(stream, LOG_LINES)).rstrip()


Outcome = tuple[Group, Run, bool]


def run_here(
    root: Path, folders: Path, project: dict[str, Any], groups: list[Group], settings: dict[str, Any], workers: int
) -> Generator[Outcome]:
    """Do runs on this machine, some groups at a time; each run comes with whether it succeeded, when it is done."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    outcomes: SimpleQueue[Outcome | BaseException] = SimpleQueue()
    stopped = Event()

    def execute(group: Group) -> None:
        try:
            folder = folders / group.name
            prepare(root, folder, project, group, settings["vars.dataset"])
            for run in group.runs:
                if stopped.is_set():
                    return
                outcomes.put((group, run, perform(folder, project, run, settings, threads)))
        except BaseException as error:  # raised below: a thread's own goes unseen
            outcomes.put(error)

    with ThreadPoolExecutor(workers) as pool:
        try:
            for group in groups:
                pool.submit(execute, group)
            for _ in range(sum(len(group.runs) for group in groups)):
                if isinstance(outcome := outcomes.get(), BaseException):
                    raise outcome
                yield outcome
        finally:
            # After Ctrl+C or an error, what is under way ends, and nothing else is begun.
            stopped.set()
            pool.shutdown(cancel_futures=True)


def perform_packed(
    project: dict[str, Any], group: Group, settings: dict[str, Any], threads: int, *parts: bytes
) -> Iterator[tuple[bool, bytes]]:
    """Do a group on a machine that may share no disk with ours: packed files in; each run's result or log out."""
    with tempfile.TemporaryDirectory(prefix="experiment-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for part in parts:
            unpack(part, folder)
        for run in group.runs:
            succeeded = perform(folder, project, run, settings, threads)
            yield succeeded, pack(folder, [result_file(run, settings["vars.dataset"]) if succeeded else log_name(run)])


def run_on_ray(
    root: Path,
    folders: Path,
    project: dict[str, Any],
    groups: list[Group],
    settings: dict[str, Any],
    workers: int,
    address: str,
    gpu_share: float,
) -> Generator[Outcome]:
    """Do groups as tasks on a Ray cluster; like `run_here`.

    The files that they have in common travel once to a machine. A group whose machine is lost starts anew on another
    one, but the results that it gave before are kept. Only this process writes results.
    """
    dataset = settings["vars.dataset"]
    with connect(address) as ray:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        # As on one machine: the cores of a machine are shared out among the groups that it does at a time.
        threads = max(1, int(max(machine.get("CPU", 0) for machine in machines)) // workers)
        on_gpu = {
            group.name
            for group in groups
            if settings["vars.gpu_id"] >= 0 and any(takes_encoder(project, run.variant) for run in group.runs)
        }
        if on_gpu and not any(machine.get("GPU") for machine in machines):
            msg.warn(f"No machine of the cluster has a GPU yet; {len(on_gpu)} groups of runs wait for one.")
        files = {group.name: [*sources(dataset), *made_before(project, group, dataset)] for group in groups}
        parts = {
            name: ray.put(pack(root, [name])) for name in dict.fromkeys(n for names in files.values() for n in names)
        }
        task = ray.remote(num_cpus=threads, max_retries=RETRIES, num_returns="streaming")(perform_packed)
        pending = {}  # what comes from each task -> its group, and the runs of it that are still to come
        for group in groups:
            # Ray shows a task its own GPUs only, counted from 0.
            own = settings | {"vars.gpu_id": 0 if group.name in on_gpu else -1}
            packed = [parts[name] for name in files[group.name]]
            share = gpu_share if group.name in on_gpu else 0
            coming = task.options(num_gpus=share).remote(project, group, own, threads, *packed)
            pending[coming] = group, iter(group.runs)
            (folders / group.name).mkdir(parents=True, exist_ok=True)
        while pending:
            (coming,), _ = ray.wait(list(pending))
            group, runs = pending[coming]
            folder = folders / group.name
            try:
                succeeded, result = ray.get(next(coming))
                unpack(result, folder)
                yield group, next(runs), succeeded
            except StopIteration:
                pending.pop(coming)
            except ray.exceptions.RayError as error:  # lost too often, out of memory, …
                pending.pop(coming)
                for run in runs:
                    (folder / log_name(run)).write_text(str(error), encoding="utf-8")
                    yield group, run, False


def experiment(
    grid: Annotated[Path, typer.Argument(help="Grid file, configs/grids/NAME.yml.")],
    dataset: Annotated[str, typer.Argument(help="Data set to run on: a folder of assets/.")],
    metrics: Annotated[Path, typer.Option(help="Folder for results; DATASET/NAME is made in it.")] = Path("metrics"),
    gpu_id: Annotated[int, typer.Option(help="GPU to train on; -1 for the CPU.")] = -1,
    workers: Annotated[int, typer.Option(min=1, help="Groups of runs at a time on a machine; share its cores.")] = 1,
    engine: Annotated[str, typer.Option(help="local, or ray: a cluster does the runs.")] = "local",
    address: Annotated[str, typer.Option(help="Of a Ray cluster: HOST:PORT or auto; local starts Ray here.")] = LOCAL,
    gpu_share: Annotated[float, typer.Option(min=0.0, help="GPUs, or part of one, for transformers' groups.")] = 1.0,
    only: Annotated[str, typer.Option(help="Of the variants of the grid: all, or some, joined by commas.")] = EVERY,
) -> None:
    """Run what is not finished of a grid of variants, seeds and settings."""
    check_engine(engine)
    check_overrides(grid)
    root = Path.cwd()
    check_dataset(dataset, root / "assets")
    project = load_project_config(root, overrides={"vars.dataset": dataset})
    # Named, a variant that is not in `all` is run, too.
    runs = expand_grid(grid, names_in(project), in_all(project) if only == EVERY else None)
    check_settings(grid, runs, project)
    chosen = choose_runs(runs, only, grid)
    folder = metrics / dataset / grid.stem
    if path := file_in_the_way(folder):
        raise UserError(f"{path}: is a file, where the folder of the results shall stand. Move it, or rename the grid.")
    corpus = labelled_now(root / "corpus" / dataset)
    data = describe_data(dataset, project)
    by_name = load_project_config(root, interpolate=False)
    made_from = {run.name: data | describe_recipe(root, by_name, run) for run in runs}
    results = {run.name: folder / f"{run.name}.json" for run in runs}
    missing = [run for run in runs if not is_finished(results[run.name], run, dataset, corpus, made_from[run.name])]
    todo = [run for run in missing if run in chosen]
    others = sum(results[run.name].exists() for run in todo)
    again = f", {others} of other texts, settings or configs than now, so run again" * bool(others)
    msg.info(f"{grid}: {len(chosen)} runs, {len(chosen) - len(todo)} finished already{again}")
    groups = group_runs(todo, names_in(project))
    left = Counter({group.name: len(group.runs) for group in group_runs(missing, names_in(project))})
    settings = {"vars.dataset": dataset, "vars.gpu_id": gpu_id}
    folders = root / "training" / dataset / "experiments" / grid.stem
    for path in folders.glob("*"):
        if path.name not in left:
            shutil.rmtree(path)  # killed just when it was finished, or of an earlier form of the grid
    if engine == "ray" and todo:
        outcomes = run_on_ray(root, folders, project, groups, settings, workers, address, gpu_share)
    else:
        outcomes = run_here(root, folders, project, groups, settings, workers)
    failed = []
    # Closing leaves Ray in good order, whatever happens.
    with closing(outcomes):
        for group, run, succeeded in show_progress(outcomes, total=len(todo), desc=grid.stem, unit=" runs"):
            own = folders / group.name
            if succeeded:
                keep(own, folder, run, dataset, made_from[run.name])
                left[group.name] -= 1
            else:
                failed.append(run)
                msg.fail(f"{run.name} failed, see {own / log_name(run)}", last_lines(own / log_name(run)))
            if not left[group.name]:
                shutil.rmtree(own)
    if failed:
        raise UserError(
            f"{grid}: {len(failed)} of {len(todo)} runs failed; the others are finished. Run again to retry."
        )
    show_skipped([results[run.name] for run in chosen])
    msg.good(f"{folder}: {len(chosen)} results")


if __name__ == "__main__":
    run_cli(experiment)
