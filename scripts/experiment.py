"""Run a declared grid: variants, seeds and settings, each in a working folder of its own, with `spacy project run`.

A grid is `configs/NAME.yml` with `variants` (a list, or `all`), `seeds`, and optionally named `settings`, each a
mapping of config values (`training.dropout: 0.1`) or project settings (`vars.max_epochs: 5`) with an optional list
`only` of variants. The result of a run is METRICS/NAME/VARIANT--SETTING--SEED.json, with its predictions beside it; its
log is in its folder below training/experiments/. What is finished is not run again, so a killed grid goes on where it
was. A run that fails does not stop the others.
"""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import srsly
import typer
from spacy.util import load_config
from tqdm import tqdm
from wasabi import msg
from weasel.util.config import load_project_config

from scripts.common import UserError, read_json, run_cli, whole_file, write_json
from scripts.compose import set_value

SOURCES = ("project.yml", "configs", "scripts", "assets")
DEFAULT = "default"


@dataclass(frozen=True)
class Run:
    """One cell of a grid.

    Attributes:
        variant: name of a variant, that is, of a workflow.
        setting: name of the changed values.
        seed: seed of everything random.
        values: config values and, with a leading `vars.`, project settings.
    """

    variant: str
    setting: str
    seed: int
    values: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The stem of its files."""
        return f"{self.variant}--{self.setting}--{self.seed}"


def variants_of(project: dict[str, Any]) -> list[str]:
    """All variants of the project: what has an `evaluate-` command."""
    names = (command["name"] for command in project["commands"])
    return [name.removeprefix("evaluate-") for name in names if name.startswith("evaluate-")]


def expand_grid(path: Path, variants: list[str]) -> list[Run]:
    """All runs of a grid file.

    Raises:
        UserError: the file is missing or broken, or names what does not exist.
    """
    try:
        grid = srsly.read_yaml(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read as YAML. {error}") from None
    if not isinstance(grid, dict) or not {"variants", "seeds"} <= grid.keys() <= {"variants", "seeds", "settings"}:
        raise UserError(f"{path}: expected the keys `variants`, `seeds` and, if wanted, `settings`.")
    seeds, settings = grid["seeds"], grid.get("settings") or {DEFAULT: {}}
    chosen = variants if grid["variants"] == "all" else grid["variants"]
    if not isinstance(seeds, list) or not all(isinstance(seed, int) for seed in seeds) or not seeds:
        raise UserError(f"{path}: `seeds` must be a list of whole numbers, found {seeds!r}.")
    if not isinstance(chosen, list) or not isinstance(settings, dict):
        raise UserError(f"{path}: `variants` must be a list or `all`, `settings` a mapping.")
    runs = []
    for setting, values in settings.items():
        values = dict(values or {})
        only = values.pop("only", chosen)
        for unknown in [name for name in (*chosen, *only) if name not in variants]:
            raise UserError(f"{path}: there is no variant {unknown!r}, only {', '.join(variants)}.")
        runs += [Run(v, setting, seed, values) for v in chosen if v in only for seed in seeds]
    return runs


def earlier_outputs(project: dict[str, Any], variant: str) -> list[str]:
    """What the steps before `train-VARIANT` produce: a run need not make it again where it stays the same."""
    commands = {command["name"]: command for command in project["commands"]}
    steps = project["workflows"][variant]
    return [output for step in steps[: steps.index(f"train-{variant}")] for output in commands[step].get("outputs", [])]


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder if it exists; never link, since commands write some files in place."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def change_config(folder: Path, project: dict[str, Any], run: Run) -> None:
    """Write the config values of a run into its own copy of the variant's overlay."""
    values = {name: value for name, value in run.values.items() if not name.startswith("vars.")}
    if not values:
        return
    (command,) = [command for command in project["commands"] if command["name"] == f"train-{run.variant}"]
    (overlay,) = [dep for dep in command["deps"] if dep.endswith(".cfg") and dep != "configs/base.cfg"]
    base = load_config(folder / "configs" / "base.cfg", interpolate=False)
    config = base.merge(load_config(folder / overlay, interpolate=False))
    for name, value in values.items():
        set_value(config, name, value)
    config.to_disk(folder / overlay)


def prepare(root: Path, folder: Path, project: dict[str, Any], run: Run) -> None:
    """Make the working folder of a run: the project's sources and what earlier steps have produced already."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in (*SOURCES, "project.lock", *earlier_outputs(project, run.variant)):
        copy(root / name, folder / name)
    change_config(folder, project, run)


def is_finished(result: Path, run: Run, dataset: str) -> bool:
    """Whether a result of exactly this run is there, with the predictions that scripts.compare needs."""
    if not result.exists() or not result.with_suffix(".predictions.jsonl").exists():
        return False
    metrics = read_json(result)
    return (metrics["experiment"]["values"], metrics["seed"], metrics["dataset"]) == (run.values, run.seed, dataset)


def execute(root: Path, results: Path, project: dict[str, Any], run: Run, options: list[str], threads: int) -> bool:
    """Do one run; True if it succeeded. Its folder stays only if it failed."""
    folder = root / "training" / "experiments" / results.name / run.name
    prepare(root, folder, project, run)
    settings = {"vars.seed": run.seed, "vars.metrics": "metrics"}
    settings |= {name: value for name, value in run.values.items() if name.startswith("vars.")}
    command = [sys.executable, "-m", "spacy", "project", "run", run.variant, ".", *options]
    command += [word for name, value in settings.items() for word in (f"--{name}", json.dumps(value).strip('"'))]
    with (folder / "output.log").open("w", encoding="utf-8") as log:
        env = os.environ | {"OMP_NUM_THREADS": str(threads)}
        process = subprocess.run(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT, check=False)
    if process.returncode:
        return False
    metrics = read_json(folder / "metrics" / f"{run.variant}.json")
    metrics["experiment"] = {"setting": run.setting, "values": run.values}
    with whole_file(results / f"{run.name}.predictions.jsonl") as path:
        shutil.copyfile(folder / "training" / run.variant / "predictions.jsonl", path)
    write_json(results / f"{run.name}.json", metrics)
    shutil.rmtree(folder)
    return True


def experiment(
    grid: Annotated[Path, typer.Argument(help="Grid file, configs/NAME.yml.")],
    results: Annotated[Path, typer.Argument(help="Folder for the results of all grids; a folder NAME is made in it.")],
    dataset: Annotated[str, typer.Option(help="Data set to run on.")] = "bbc",
    gpu_id: Annotated[int, typer.Option(help="GPU to train on; -1 for the CPU.")] = -1,
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time; the cores are shared out among them.")] = 1,
) -> None:
    """Run what is not finished of a grid of variants, seeds and settings."""
    root = Path.cwd()
    project = load_project_config(root)
    runs = expand_grid(grid, variants_of(project))
    folder = results / grid.stem
    todo = [run for run in runs if not is_finished(folder / f"{run.name}.json", run, dataset)]
    msg.info(f"{grid}: {len(runs)} runs, {len(runs) - len(todo)} finished already")
    options = ["--vars.dataset", dataset, "--vars.gpu_id", str(gpu_id)]
    threads = max(1, (os.cpu_count() or 1) // workers)
    failed = []
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(execute, root, folder, project, run, options, threads): run for run in todo}
        for future in tqdm(as_completed(futures), total=len(todo), desc=grid.stem, unit=" runs"):
            if not future.result():
                failed.append(futures[future])
                log = root / "training" / "experiments" / grid.stem / futures[future].name / "output.log"
                msg.fail(f"{futures[future].name} failed, see {log}")
    if failed:
        raise UserError(
            f"{grid}: {len(failed)} of {len(todo)} runs failed; the others are finished. Run again to retry."
        )
    msg.good(f"{folder}: {len(runs)} results")


if __name__ == "__main__":
    run_cli(experiment)
