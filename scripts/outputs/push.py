"""Share what the commands have made: to a remote cache, from which `pull` fetches it.

The cache is weasel's own (`spacy project push`, `pull`): a file for each output, by the checksums of the command and of
what it read. But weasel pushes whatever lies on disk under the name of what the command would make now. Here, an output
is pushed only if project.lock says that this very command made it from these very inputs: nothing that was made with
other settings (`--vars.seed 1`), before a change of the code, or by hand.
"""

import tarfile
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer
from wasabi import msg
from weasel.cli.remote_storage import RemoteStorage, get_content_hash
from weasel.cli.run import check_rerun

from scripts.common.cli import UserError, run_cli, show_progress
from scripts.common.files import put, workspace
from scripts.common.locks import check_dataset, use_lock
from scripts.outputs.cache import command_key, commands_of, inputs_exist, open_remote


def share(storage: RemoteStorage, output: str, key: str) -> None:
    """Put one output into the cache, whole, if it is not there."""
    content = get_content_hash(storage.root / output)
    if not isinstance(storage.url, Path):  # what is sent to a cloud appears there when it is whole
        storage.push(PurePosixPath(output), command_hash=key, content_hash=content)
        return
    target = storage.make_url(PurePosixPath(output), key, content)
    if target.exists():
        return
    with workspace(storage.url / "push") as work:
        with tarfile.open(work / "packed", "w:gz") as archive:
            archive.add(storage.root / output, arcname=output)
        target.parent.mkdir(parents=True, exist_ok=True)
        put(work / "packed", target)


def push(
    remote: Annotated[str, typer.Argument(help="Folder or URL of the cache.")],
    dataset: Annotated[str, typer.Option(help="Data set whose outputs these are.")],
) -> None:
    """Push the outputs of all commands that are up to date."""
    root = Path.cwd()
    check_dataset(dataset, root / "assets")
    storage = open_remote(remote, root)
    use_lock(dataset, root)
    commands = commands_of(root, dataset)
    made = [c for c in commands if inputs_exist(c, root) and all((root / out).exists() for out in c["outputs"])]
    current = [command for command in made if not check_rerun(root, command)]
    for command in show_progress(current, desc="push", unit=" commands"):
        key = command_key(command, root)
        for output in command["outputs"]:
            share(storage, output, key)
    if stale := [command["name"] for command in made if command not in current]:
        msg.warn(
            f"Not pushed, since made with other settings, inputs or code than those of now: {', '.join(stale)}. "
            "Run them again first."
        )
    if not current:
        raise UserError("There is nothing to push. Run a workflow first.")
    msg.good(f"{remote}: has the outputs of {', '.join(command['name'] for command in current)}")


if __name__ == "__main__":
    run_cli(push)
