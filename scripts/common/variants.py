"""Which variants there are, and what their configs are made of.

A variant is one name everywhere: configs/NAME.cfg, train-NAME, training/DATASET/NAME/, evaluate-NAME,
metrics/DATASET/NAME.json. Its config holds only what differs from those that it builds on, and all build on base.cfg.
The section `[variant]` names them, and what does not belong into a spaCy config:

    parents: configs that this one builds on, each over those before it: variants, or parts/NAME for what several share
    code: the file with the registered functions that the config names
    sizes: the rule by which the sizes of the model follow from the task, see scripts/training/sizes.py
    linear: whether the linear model has a say besides what the config describes, see configs/parts/with-linear.cfg
    half_precision: whether the trained transformer is stored in half precision
    averaged: whether what the trained transformer has learned is averaged with what it started from
    candidates: names, each with values by dotted names, which count for more than those of the config: all are
        trained, and the best on dev is kept
    again: whether what was chosen is trained once more, on train and dev; for what has the linear model, and takes
        nothing from dev in training

All but `parents` are inherited.
"""

from pathlib import Path
from typing import Any

from spacy.util import load_config
from thinc.api import Config
from weasel.util.config import load_project_config

from scripts.common.cli import UserError

BASE = "base"
SECTION = "variant"
SETTINGS = {"parents": list, "code": str, "sizes": str, "linear": bool, "half_precision": bool, "averaged": bool,
            "candidates": dict, "again": bool}  # fmt: skip


def variant_names(project: Path = Path(".")) -> list[str]:
    """All variants of the project.yml in a folder, in its order: what has an `evaluate-` command."""
    return names_in(load_project_config(project, interpolate=False))


def names_in(project: dict[str, Any]) -> list[str]:
    """All variants of a parsed project.yml, in its order."""
    names = (command["name"] for command in project["commands"])
    return [name.removeprefix("evaluate-") for name in names if name.startswith("evaluate-")]


def in_all(project: dict[str, Any]) -> list[str]:
    """The variants of a parsed project.yml that its workflow `all` makes: not those that take long."""
    steps = project.get("workflows", {}).get("all")
    return [name for name in names_in(project) if steps is None or f"evaluate-{name}" in steps]


def config_chain(overlay: Path, configs: Path | None = None) -> list[Path]:
    """The configs that make up a variant's: the base, its ancestors, its own.

    Args:
        overlay: the variant's own config.
        configs: folder of the others; that of `overlay` if not given.

    Raises:
        UserError: one of them is missing or broken, or a variant is its own ancestor.
    """
    configs = configs or overlay.parent
    chain: list[Path] = []

    def add(path: Path, heirs: tuple[Path, ...]) -> None:
        if path in heirs:
            raise UserError(f"{heirs[0]}: its [{SECTION}] parents lead back to {path}.")
        for name in variant_section(read_config(path), path).get("parents", []):
            add(configs / f"{name}.cfg", (*heirs, path))
        if path not in chain:
            chain.append(path)

    add(configs / f"{BASE}.cfg", ())
    add(overlay, ())
    return chain


def read_config(path: Path) -> Config:
    """A config as it stands in its file, references kept.

    Raises:
        UserError: it is missing or broken.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such config.")
    try:
        return load_config(path, interpolate=False)
    except ValueError as error:
        raise UserError(f"{path}: not a valid spaCy config. {error}") from None


def variant_section(config: Config, path: Path) -> dict[str, Any]:
    """The section `[variant]` of a config; empty if there is none.

    Raises:
        UserError: a key is unknown or has a value of another type.
    """
    section = dict(config.get(SECTION, {}))
    for name, value in section.items():
        if name not in SETTINGS:
            raise UserError(f"{path}: [{SECTION}] {name} is unknown. Known are {', '.join(SETTINGS)}.")
        if not isinstance(value, SETTINGS[name]):
            raise UserError(f"{path}: [{SECTION}] {name} must be of type {SETTINGS[name].__name__}, found {value!r}.")
    for name, values in section.get("candidates", {}).items():
        if not isinstance(values, dict):
            raise UserError(f"{path}: [{SECTION}] candidates: {name} must be values by dotted names, found {values!r}.")
    return section


def merge_configs(chain: list[Path]) -> tuple[Config, dict[str, Any]]:
    """The merged config of a chain, without `[variant]`, and that section, merged."""
    config = Config()
    section: dict[str, Any] = {}
    for path in chain:
        own = read_config(path)
        section |= variant_section(own, path)
        own.pop(SECTION, None)
        config = config.merge(own)
    if "code" in section:
        # As seen from the project's folder, wherever a command is run.
        section["code"] = (chain[0].parent.parent / section["code"]).as_posix()
    return config, section


def candidates_of(section: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """What a variant tries, by name, each with its values: itself alone, as it is, if it names no candidates.

    Args:
        section: `[variant]`, merged.
        name: of the variant.
    """
    return section.get("candidates") or {name: {}}


def variant_code(name: str, configs: Path = Path("configs")) -> Path | None:
    """The file with registered functions that a variant's pipeline needs, if any."""
    _, section = merge_configs(config_chain(configs / f"{name}.cfg"))
    return Path(section["code"]) if "code" in section else None
