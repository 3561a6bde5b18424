"""Fetch from a remote cache what the commands would make from the inputs that are here; see `push`.

Like `spacy project pull`, but an output that is here and out of date is replaced (weasel keeps it and then takes it for
up to date, such as a committed metrics file), what is fetched must have the checksum that the cache gives it, and the
outputs of a command come all or not at all.
"""

import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer
from wasabi import msg
from weasel.cli.remote_storage import RemoteStorage
from weasel.cli.run import check_rerun, update_lockfile
from weasel.util import download_file

from scripts.common.archives import content_hash, extract, open_archive
from scripts.common.cli import UserError, is_disk_full, run_cli, show_progress
from scripts.common.files import put, workspace
from scripts.common.locks import check_dataset, use_lock
from scripts.outputs.cache import command_key, commands_of, inputs_exist, open_remote


def fetch(command: dict[str, Any], remote: str, root: Path) -> bool:
    """Put a command's outputs in their places if the cache has all of them; whether it has.

    Raises:
        UserError: one of them is damaged.
    """
    # On the same disk as the outputs, so that moving them is renaming
    with workspace(root / "training" / "pull") as folder:
        storage = open_remote(remote, folder)
        key = command_key(command, root)
        found = {output: fetch_one(storage, output, key) for output in command["outputs"]}
        if not all(found.values()):
            return False
        for output in found:
            (root / output).parent.mkdir(parents=True, exist_ok=True)
            put(folder / output, root / output)
    return True


def fetch_one(storage: RemoteStorage, output: str, key: str) -> bool:
    """Unpack one output into the storage's own folder; whether the cache has it.

    Nothing is unpacked before its checksum is that of its name in the cache.

    Raises:
        UserError: it is damaged.
    """
    # Written with /, as where it was pushed: weasel takes the path as this system writes it.
    url = storage.find(PurePosixPath(output), command_hash=key)
    if url is None:
        return False
    packed = storage.root / ".packed"
    try:
        download_file(url, packed, force=True)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise UserError(f"{url}: cannot be read ({error}). Is the cache there, and have you the right to it?") from None
    try:
        with packed.open("rb") as stream, open_archive(stream) as archive:
            if strange := [name for name in archive.getnames() if not is_below(name, output)]:
                raise tarfile.TarError(f"{strange[0]!r} in it is not below {output}")
            if content_hash(archive) != url.parts[-1]:
                raise tarfile.TarError("its checksum is not that of its name")
            extract(archive, storage.root)
        if not (storage.root / output).exists():
            raise tarfile.TarError("it is not in its archive")
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        if is_disk_full(error):
            raise
        raise UserError(f"{output}: is damaged in the cache ({error}). Remove {url}, and push again.") from None
    return True


def is_below(name: str, output: str) -> bool:
    """Whether a path is that of an output, or of something in it."""
    return PurePosixPath(output) in (PurePosixPath(name), *PurePosixPath(name).parents)


def pull(
    remote: Annotated[str, typer.Argument(help="Folder or URL of the cache.")],
    dataset: Annotated[str, typer.Option(help="Data set whose outputs to fetch.")],
) -> None:
    """Pull what the cache has for the data, settings and code that are here."""
    root = Path.cwd()
    check_dataset(dataset, root / "assets")
    cache = open_remote(remote, root).url
    if isinstance(cache, Path) and not cache.is_dir():
        raise UserError(f"{remote}: there is no such folder. Name the one that `push` has filled: --vars.remote")
    use_lock(dataset, root)
    waiting = commands_of(root, dataset)
    pulled, missing = [], []
    with show_progress(total=len(waiting), desc="pull", unit=" commands") as progress:
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
