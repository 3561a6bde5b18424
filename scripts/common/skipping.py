"""Steps that cannot be done on this data are skipped, with the reason, and so is all that needs what they make.

weasel knows no conditions: a step that fails ends the workflow, and one that makes nothing counts as done for ever. So
a skipped step writes the reason in the place of each of its outputs; a step that finds one among its inputs passes it
on.
"""

from collections.abc import Iterable
from pathlib import Path

import typer
from wasabi import msg

from scripts.common.cli import UserError
from scripts.common.files import whole_folder, write_json, write_text

MARK = "skipped: "
NOTE = "skipped.txt"  # in a folder


class Unsuited(UserError):
    """What a step cannot do with this encoder or these texts, though there is no mistake: a reason to skip it."""


def reason_to_skip(paths: Iterable[Path]) -> str | None:
    """The reason that stands in the place of one of these files or folders, if any."""
    for path in paths:
        note = path / NOTE if path.is_dir() else path
        if note.is_file():
            with note.open("rb") as stream:
                if stream.read(len(MARK)) == MARK.encode():
                    return stream.read().decode("utf-8").strip()
    return None


def skip(reason: str, files: Iterable[Path] = (), folders: Iterable[Path] = ()) -> None:
    """Write the reason in the place of outputs, say it, and end the step in good order.

    Args:
        reason: a sentence.
        files: outputs that are files; a .json file gets an object with the reason.
        folders: outputs that are folders.
    """
    for path in files:
        if path.suffix == ".json":
            write_json(path, {"variant": path.stem, "skipped": reason})
        else:
            write_text(path, f"{MARK}{reason}\n")
    for path in folders:
        with whole_folder(path) as temporary:
            write_text(temporary / NOTE, f"{MARK}{reason}\n")
    msg.warn(f"Skipped. {reason}")
    raise typer.Exit


def pass_on(inputs: Iterable[Path], files: Iterable[Path] = (), folders: Iterable[Path] = ()) -> None:
    """Skip this step if what it needs was skipped."""
    if reason := reason_to_skip(inputs):
        skip(reason, files, folders)
