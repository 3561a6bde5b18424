"""Share what the commands have made: to a remote cache, from which `scripts.pull` fetches it.

The cache is weasel's own (`spacy project push`, `pull`): a file for each output, by the checksums of the command and of
what it read. But weasel pushes whatever lies on disk under the name of what the command would make now. Here, an output
is pushed only if project.lock says that this very command made it from these very inputs: nothing that was made with
other settings (`--vars.seed 1`), before a change of the code, or by hand.
"""

from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from cloudpathlib.exceptions import MissingDependenciesError
from tqdm import tqdm
from wasabi import msg
from weasel.cli.remote_storage import RemoteStorage, get_command_hash, get_content_hash
from weasel.cli.run import check_rerun
from weasel.util.config import load_project_config

from scripts.common import UserError, run_cli

EXTRAS = {"s3": "s3", "gs": "gs", "az": "azure"}  # scheme of a URL -> the extra of cloudpathlib that it needs


def open_remote(url: str, root: Path) -> RemoteStorage:
    """The cache at a URL, or in a local folder.

    Args:
        url: s3://, gs:// or az:// with bucket and path, or a path; `~` is the home folder.
        root: where to put what is pulled.

    Raises:
        UserError: the package for this kind of URL is missing, or the kind is unknown.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        return RemoteStorage(root, str(Path(url).expanduser().resolve()))
    if scheme not in EXTRAS:
        raise UserError(f"{url}: expected a folder, or a URL that begins with {', '.join(f'{s}://' for s in EXTRAS)}.")
    try:
        storage = RemoteStorage(root, url)
        storage.url.exists()
    except MissingDependenciesError:
        package = f"cloudpathlib[{EXTRAS[scheme]}]=={metadata.version('cloudpathlib')}"
        raise UserError(f'{url}: a package is missing. Install it: pip install "{package}"') from None
    except Exception as error:  # of many kinds: each cloud's library has its own
        raise UserError(f"{url}: cannot be reached ({error}). Check its name and your credentials.") from None
    return storage


def commands_of(project: dict[str, Any]) -> list[dict[str, Any]]:
    """The commands that have outputs."""
    return [command for command in project["commands"] if command.get("outputs")]


def command_key(command: dict[str, Any], root: Path) -> str:
    """Weasel's name for a command and its inputs."""
    return get_command_hash("", "", [root / dep for dep in command.get("deps", [])], command["script"])


def inputs_exist(command: dict[str, Any], root: Path) -> bool:
    """Whether all that a command reads is there."""
    return all((root / dep).exists() for dep in command.get("deps", []))


def push(
    remote: Annotated[str, typer.Argument(help="Folder or URL of the cache.")],
) -> None:
    """Push the outputs of all commands that are up to date."""
    root = Path.cwd()
    storage = open_remote(remote, root)
    commands = commands_of(load_project_config(root))
    made = [c for c in commands if inputs_exist(c, root) and all((root / out).exists() for out in c["outputs"])]
    current = [command for command in made if not check_rerun(root, command)]
    for command in tqdm(current, desc="push", unit=" commands", leave=False):
        key = command_key(command, root)
        for output in command["outputs"]:
            storage.push(output, command_hash=key, content_hash=get_content_hash(root / output))
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
