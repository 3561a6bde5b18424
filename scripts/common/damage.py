"""What a step reads must be what the step before it has made: looked at before any work is done.

A workflow makes again what was changed or damaged; a command that is run alone would read it as it is. weasel's record
knows the checksum of each output.

This module can refuse a run, and has no other part in what is made: it is not among the `deps` of a command.
"""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weasel.util.hashing import get_checksum

from scripts.common.cli import UserError
from scripts.common.locks import LOCK, read_lock

SETTING = re.compile(r"\$\{vars\.(\w+)\}")


def this_step() -> list[str]:
    """The module that is run as a program, and the words after it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [spec.name if spec else "", *sys.argv[1:]]


def fill(text: str, settings: dict[str, Any]) -> str:
    """A text of project.yml with the settings that it names; weasel's own way takes a quarter of a second."""
    while (filled := SETTING.sub(lambda found: str(settings.get(found[1], "")), text)) != text:
        text = filled
    return text


def deps_of(project: dict[str, Any], settings: dict[str, Any], step: list[str]) -> list[str]:
    """What the command reads whose script is this step; nothing if there is none.

    Args:
        project: project.yml, variables not filled in.
        settings: the variables.
        step: the module, and the words after it.
    """
    for command in project.get("commands", []):
        for line in command.get("script", []):
            if step[0] in line and shlex.split(fill(line, settings))[2:] == step:
                return [fill(dep, settings) for dep in command.get("deps", [])]
    return []


def find_damage(deps: list[str], record: dict[str, Any]) -> Iterator[str]:
    """What of the data that a command reads is not what was made, a sentence each.

    Args:
        deps: what it reads.
        record: weasel's, of what was done.
    """
    # A record that was cut off in writing may lack some of it; then weasel makes the output anew.
    made = {out.get("path"): (name, out.get("md5")) for name, entry in record.items() for out in entry.get("outs", [])}
    for dep in deps:
        maker, md5 = made.get(dep, ("", None))
        if md5 is None:
            continue
        path = Path(dep)
        if not path.exists():
            yield f"{dep}: is missing. Run `{maker}` again."
        elif get_checksum(path) != md5:
            yield f"{dep}: was changed or damaged since `{maker}` has made it. Run `{maker}` again."


def check_inputs(project: dict[str, Any], settings: dict[str, Any]) -> None:
    """Check what this step reads.

    Args:
        project: project.yml, variables not filled in.
        settings: the variables.

    Raises:
        UserError: something is not what was made.
    """
    if found := list(find_damage(deps_of(project, settings, this_step()), read_lock(Path(LOCK)))):
        raise UserError(" ".join(found))
