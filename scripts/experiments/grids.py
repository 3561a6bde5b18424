"""Grids of runs: variants, seeds and settings, declared in configs/grids/NAME.yml."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import srsly

from scripts.common.cli import UserError
from scripts.common.locks import NAME
from scripts.common.settings import faults, no_setting
from scripts.common.variants import SECTION, config_chain, merge_configs, read_config
from scripts.training.config import set_values

SOURCES = ("project.yml", "configs", "scripts")
DEFAULT = "default"
EVERY = "all"  # of the variants
OTHERWISE = {"vars.seed": "a grid has `seeds`", "vars.dataset": "choose it when you run the grid, --vars.dataset"}


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


def is_list(value: Any, kind: type) -> bool:
    """Whether a value is a list of one kind of values, with something in it."""
    return isinstance(value, list) and bool(value) and all(type(item) is kind for item in value)


def expand_grid(path: Path, variants: list[str], every: list[str] | None = None) -> list[Run]:
    """All runs of a grid file.

    Args:
        path: the file.
        variants: those that there are.
        every: what `all` of the file means; if not given, these.

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
    chosen = (every or variants) if grid["variants"] == EVERY else grid["variants"]
    if not is_list(seeds, int) or len(set(seeds)) < len(seeds):
        raise UserError(f"{path}: `seeds` must be a list of different whole numbers, found {seeds!r}.")
    if not is_list(chosen, str) or not isinstance(settings, dict):
        raise UserError(f"{path}: `variants` must be a list of names, or `all`; `settings` a mapping.")
    runs = []
    for setting, values in settings.items():
        if not NAME.fullmatch(str(setting)) or "--" in str(setting):
            raise UserError(f"{path}: setting {setting!r}: must be a name of letters, digits and . _ -, without --")
        if not isinstance(values, dict | None):
            raise UserError(f"{path}: setting {setting!r}: must be a mapping of values, found {values!r}.")
        values = dict(values or {})
        if not is_list(only := values.pop("only", chosen), str):
            raise UserError(f"{path}: setting {setting!r}: `only` must be a list of variants, found {only!r}.")
        for unknown in [name for name in (*chosen, *only) if name not in variants]:
            raise UserError(f"{path}: there is no variant {unknown!r}, only {', '.join(variants)}.")
        runs += [Run(v, str(setting), seed, values) for v in chosen if v in only for seed in seeds]
    return runs


def choose_runs(runs: Sequence[Run], names: str, path: Path) -> list[Run]:
    """Those of some variants, joined by commas, or `all`.

    Raises:
        UserError: the grid at the path has no such variant.
    """
    there = list(dict.fromkeys(run.variant for run in runs))
    chosen = there if names == EVERY else [name.strip() for name in names.split(",")]
    if unknown := [name for name in chosen if name not in there]:
        raise UserError(f"{path}: has no variant {unknown[0]!r}, only {', '.join(there)}. Change vars.of_grid.")
    return [run for run in runs if run.variant in chosen]


def check_settings(path: Path, runs: Sequence[Run], project: dict[str, Any]) -> None:
    """Make sure that what runs change is there, and may be changed so; weasel takes unknown settings without a word.

    Args:
        path: of the grid.
        runs: its runs.
        project: project.yml; the configs are those of the working folder.

    Raises:
        UserError: it is not, or a grid changes it by other means.
    """
    for name in {name: None for run in runs for name in run.values if name.startswith("vars.")}:
        if name in OTHERWISE:
            raise UserError(f"{path}: {name} cannot be in `settings`: {OTHERWISE[name]}.")
        if (setting := name.removeprefix("vars.")) not in project["vars"]:
            raise UserError(f"{path}: {no_setting(setting, project['vars'])}")
    number = project["vars"].get("folds")
    folds = {run.values["vars.fold"] for run in runs if "vars.fold" in run.values and "vars.folds" not in run.values}
    if number and folds and folds != set(range(number)):
        raise UserError(
            f"{path}: its settings are of {len(folds)} folds, vars.folds of project.yml is {number}. Give it a setting "
            f"for each, fold-0: {{vars.fold: 0}} to fold-{number - 1}: {{vars.fold: {number - 1}}}, or change "
            "vars.folds."
        )
    for run in runs:
        settings = {name.removeprefix("vars."): value for name, value in run.values.items() if name.startswith("vars.")}
        found = list(faults(project["vars"] | settings | {"seed": run.seed}))
        if values := {name: value for name, value in run.values.items() if not name.startswith("vars.")}:
            config, _ = merge_configs(config_chain(config_of(Path(), project, run.variant)))
            try:
                set_values(config, values)
            except UserError as error:
                found.append(str(error))
        if found:
            raise UserError(f"{path}: setting {run.setting!r}, seed {run.seed}: {' '.join(found)}")


@dataclass(frozen=True)
class Group:
    """Runs that share a working folder, one after another, so that what several need is made once.

    Attributes:
        name: of the folder.
        runs: in the order of project.yml.
    """

    name: str
    runs: tuple[Run, ...]


def is_teacher(run: Run) -> bool:
    """Whether a run is of the variant that teaches others of its setting."""
    return run.values.get("vars.teacher") == run.variant


def group_runs(runs: Sequence[Run], variants: list[str]) -> list[Group]:
    """Put runs of one setting and seed together; a run with config values of its own changes a config, and is alone.

    A teacher comes before all that it may teach, else the order is that of project.yml.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        alone = any(not name.startswith("vars.") for name in run.values)
        groups.setdefault(run.name if alone else f"{run.setting}--{run.seed}", []).append(run)
    return [
        Group(name, tuple(sorted(members, key=lambda run: (not is_teacher(run), variants.index(run.variant)))))
        for name, members in groups.items()
    ]


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
    """Write the config values of a run into its own copy of the variant's config; candidates differ in others only.

    Raises:
        UserError: the config has no such section.
    """
    values = {name: value for name, value in run.values.items() if not name.startswith("vars.")}
    if not values:
        return
    overlay = config_of(folder, project, run.variant)
    merged, section = merge_configs(config_chain(overlay))
    set_values(merged, values)
    config = read_config(overlay)
    tried, left = section.get("candidates", {}), dict[str, dict[str, Any]]()
    for candidate, own in tried.items():
        if (others := {name: value for name, value in own.items() if name not in values}) not in left.values():
            left[candidate] = others
    if left != tried:
        config.setdefault(SECTION, {})["candidates"] = left
    for name, value in values.items():
        section = config
        *parents, key = name.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
        section[key] = value
    config.to_disk(overlay)


def config_of(folder: Path, project: dict[str, Any], variant: str) -> Path:
    """The config of a variant: its own, or, in commits from when some had none, the one that its command composes."""
    own = folder / "configs" / f"{variant}.cfg"
    if own.is_file():
        return own
    (command,) = [command for command in project["commands"] if command["name"] == f"train-{variant}"]
    return folder / next(word for word in " ".join(command["script"]).split() if word.endswith(".cfg"))


def takes_encoder(project: dict[str, Any], variant: str) -> bool:
    """Whether a transformer stands somewhere behind a variant; only these runs are worth a GPU."""
    return any(step.split("-")[0] == "weights" for step in project["workflows"][variant])
