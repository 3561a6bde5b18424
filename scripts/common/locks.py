"""weasel's record of what was done, project.lock: one for each data set.

weasel keeps one entry for each command, so a change of the data set would make it run everything again. The record of
another data set is therefore kept as training/DATASET/project.lock while its own is not in use. Whose record
project.lock is stands in its entry of the command `select`, which weasel itself writes when that has run.

An entry holds the paths and checksums of what a command read and wrote. So one that belongs to another data set, as
after a command that was run alone, makes it run again, no more.
"""

import os
import re
from pathlib import Path
from typing import Any

import srsly

from scripts.common.cli import UserError
from scripts.common.files import write_text

LOCK = "project.lock"
NAME = re.compile(r"\w[\w.-]*")  # survives in paths and command lines, on every system


def check_dataset(dataset: str, assets: Path) -> Path:
    """The folder of a data set.

    Raises:
        UserError: there is none, or it cannot be a folder's name.
    """
    if not NAME.fullmatch(dataset):
        raise UserError(
            f"dataset {dataset!r}: must be the name of a folder in {assets.as_posix()}/, of letters, digits and . _ -"
        )
    if not (assets / dataset).is_dir():
        known = sorted(path.name for path in assets.iterdir() if path.is_dir()) if assets.is_dir() else []
        raise UserError(
            f"There is no data set {dataset!r} in {assets.as_posix()}/, only {', '.join(known) or 'nothing'}. Put your "
            f"files into {(assets / dataset).as_posix()}/ (docs/own-task.md)."
        )
    return assets / dataset


def read_lock(path: Path) -> dict[str, Any]:
    """The entries of a record; none if there is no file. What cannot be read was not done."""
    try:
        entries = srsly.read_yaml(path) if path.is_file() else {}
    except ValueError:
        entries = None
    entries = entries if isinstance(entries, dict) else {}
    return {name: entry for name, entry in entries.items() if isinstance(entry, dict)}


def owner(entries: dict[str, Any]) -> str | None:
    """The data set whose record this is; None if `select` was never run."""
    script = entries.get("select", {}).get("script") or [""]
    return script[-1].split()[-1] if script[-1] else None


def saved_lock(dataset: str, root: Path = Path()) -> Path:
    """Where the record of a data set is kept while that of another one is in use."""
    return root / "training" / dataset / LOCK


def use_lock(dataset: str, root: Path = Path()) -> None:
    """Put the record of a data set in the place where weasel reads it; that of the one before is kept.

    At every moment project.lock is one whole record, so that a killed process leaves things in order.
    """
    lock, saved = root / LOCK, saved_lock(dataset, root)
    entries = read_lock(lock)
    before = owner(entries)
    if before not in (None, dataset):
        write_text(saved_lock(before, root), srsly.yaml_dumps(entries))
        entries = {}
    if before != dataset and saved.is_file():
        os.replace(saved, lock)
        return
    own = {
        "cmd": "weasel run select",
        "script": [f"python -m scripts.outputs.select {dataset}"],
        "deps": [],
        "outs": [],
    }
    # Without an owner, the entries are what commands run alone have left: they are adopted.
    write_text(lock, srsly.yaml_dumps({"select": own} | entries))
