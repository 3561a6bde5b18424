"""Commands of project.yml, run in this process with settings, as weasel would run them in one of their own."""

import importlib
import shlex
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import srsly

from scripts.common.cli import run_cli
from scripts.common.damage import fill
from tests.conftest import ROOT

PROJECT = srsly.read_yaml(ROOT / "project.yml")
COMMANDS = {command["name"]: command for command in PROJECT["commands"]}


@cache
def parse_once(text):
    return srsly.yaml_loads(text)


def read_yaml(path):
    """What takes most of the time, a third of a second for each run, is to parse project.yml."""
    return deepcopy(parse_once(Path(path).read_text(encoding="utf-8")))


def perform(name, folder, patch, settings):
    """Run a command's step; the exit status. Any exception but one that is told comes through.

    Args:
        name: of the command.
        folder: of the project.
        patch: pytest's.
        settings: as they are typed after `--vars.NAME`.
    """
    (line,) = COMMANDS[name]["script"]
    module, *words = shlex.split(fill(line, PROJECT["vars"] | settings))[2:]
    typed = [word for key, value in settings.items() for word in (f"--vars.{key}", str(value))]
    patch.setattr("scripts.common.settings.weasels_words", lambda: ["spacy", "project", "run", name, ".", *typed])
    patch.setattr("scripts.common.damage.this_step", lambda: [module, *words])
    patch.setattr("srsly.read_yaml", read_yaml)
    patch.setattr("sys.argv", [module, *words])
    patch.chdir(folder)
    with pytest.raises(SystemExit) as stop:
        run_cli(getattr(importlib.import_module(module), module.rpartition(".")[2]))
    return stop.value.code or 0
