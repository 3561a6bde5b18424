"""Fetch from a remote cache what the commands would make from the inputs that are here; see `push`.

Like `spacy project pull`, but an output that is here and out of date is replaced (weasel keeps it and then takes it for
up to date, such as a committed metrics file), what is fetched must have the checksum that the cache gives it, and the
outputs of a command come all or not at all.
"""

import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm
from wasabi import msg
from weasel.cli.remote_storage import RemoteStorage, get_content_hash
from weasel.cli.run import check_rerun, update_lockfile
from weasel.util.config import load_project_config

from scripts.common.cli import UserError, run_cli
from scripts.common.locks import use_lock
from scripts.outputs.cache import command_key, commands_of, inputs_exist, open_remote


def fetch(command: dict[str, Any], remote: str, root: Path) -> bool:
    """Put a command's outputs in their places if the cache has all of them; whether it has.

    Raises:
        UserError: one of them is damaged.
    """
    (root / "training").mkdir(exist_ok=True)
    # On the same disk as the outputs, so that moving them is renaming
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=root / "training") as folder:
        storage = open_remote(remote, Path(folder))
        key = command_key(command, root)
        found = {output: fetch_one(storage, output, key) for output in command["outputs"]}
        if not all(found.values()):
            return False
        for output in found:
            target = root / output
            if target.is_dir():
                shutil.rmtree(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / output).replace(target)
    return True


def fetch_one(storage: RemoteStorage, output: str, key: str) -> bool:
    """Unpack one output into the storage's own folder; whether the cache has it.

    Raises:
        UserError: it is damaged.
    """
    try:
        url = storage.pull(output, command_hash=key)
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise UserError(f"{output}: is damaged in the cache ({error}). Remove it there, push again.") from None
    if url is not None and get_content_hash(storage.root / output) != url.parts[-1]:
        raise UserError(f"{url}: is damaged. Remove it, and push again.")
    return url is not None


def pull(
    remote: Annotated[str, typer.Argument(help="Folder or URL of the cache.")],
    dataset: Annotated[str, typer.Option(help="Data set whose outputs to fetch.")],
) -> None:
    """Pull what the cache has for the data, settings and code that are here."""
    root = Path.cwd()
    open_remote(remote, root)
    use_lock(dataset, root)
    waiting = commands_of(load_project_config(root, overrides={"vars.dataset": dataset}))
    pulled, missing = [], []
    with tqdm(total=len(waiting), desc="pull", unit=" commands", leave=False) as progress:
        # What one command makes another one needs, so go on as long as there is one whose inputs are here.
        while ready := [command for command in waiting if inputs_exist(command, root)]:
            for command in ready:
                waiting.remove(command)
                progress.update()
                if not check_rerun(root, command):
                    continue
                if fetch(command, remote, root):
                    update_lockfile(root, command)
                    pulled.append(command["name"])
                else:
                    missing.append(command["name"])
    if pulled:
        msg.good(f"Pulled what these commands make: {', '.join(pulled)}")
    if missing:
        msg.info(f"Not in the cache, run them: {', '.join(missing)}")
    if not pulled and not missing and waiting:
        lacking = {dep for command in waiting for dep in command["deps"] if not (root / dep).exists()}
        outputs = {output for command in waiting for output in command["outputs"]}
        raise UserError(f"Nothing can be pulled without {', '.join(sorted(lacking - outputs))}. Get the data first.")


if __name__ == "__main__":
    run_cli(pull)
