"""Weasel's cache of outputs, in a folder or a cloud."""

from importlib import metadata
from pathlib import Path
from typing import Any

from cloudpathlib.exceptions import MissingDependenciesError
from weasel.cli.remote_storage import RemoteStorage, get_command_hash
from weasel.util.config import load_project_config

from scripts.common.cli import UserError
from scripts.common.files import file_in_the_way

EXTRAS = {"s3": "s3", "gs": "gs", "az": "azure"}  # scheme of a URL -> the extra of cloudpathlib that it needs


def open_remote(url: str, root: Path) -> RemoteStorage:
    """The cache at a URL, or in a local folder.

    Args:
        url: s3://, gs:// or az:// with bucket and path, or a path; `~` is the home folder.
        root: where to put what is pulled.

    Raises:
        UserError: the package for this kind of URL is missing, the kind is unknown, or the path is that of a file.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        folder = Path(url).expanduser().resolve()
        if path := file_in_the_way(folder):
            raise UserError(f"{path}: is a file. The cache is a folder; give another one.")
        return RemoteStorage(root, str(folder))
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


def commands_of(root: Path, dataset: str) -> list[dict[str, Any]]:
    """The project's commands that have outputs, for a data set."""
    project = load_project_config(root, overrides={"vars.dataset": dataset})
    return [command for command in project["commands"] if command.get("outputs")]


def command_key(command: dict[str, Any], root: Path) -> str:
    """Weasel's name for a command and its inputs."""
    return get_command_hash("", "", [root / dep for dep in command.get("deps", [])], command["script"])


def inputs_exist(command: dict[str, Any], root: Path) -> bool:
    """Whether all that a command reads is there."""
    return all((root / dep).exists() for dep in command.get("deps", []))
