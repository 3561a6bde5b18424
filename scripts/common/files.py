"""Files written whole or not at all, JSON, checksums, sizes."""

import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import srsly
from wasabi import msg

from scripts.common.cli import UserError, is_disk_full, no_room, show_progress

REMAKE = "Make it again, or restore it from git."
HOST = hashlib.md5(socket.gethostname().encode(), usedforsecurity=False).hexdigest()[:6]
TEMPORARY = re.compile(r"\..+\.(?P<host>[0-9a-f]{6})-(?P<pid>\d+)-\w+\.tmp")


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def file_in_the_way(folder: Path) -> Path | None:
    """The file that stands in the place of a folder, or of one that it is in; None if there is none."""
    return next((path for path in (folder, *folder.parents) if path.is_file()), None)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Turn whatever an exception says of a full disk into a message that names what was to be written.

    Raises:
        UserError: there is no room for it.
    """
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise no_room(path, error) from None
        raise


# Temporary files and folders: beside the place of what they become. Their names tell whose they are.


def stamp(path: Path) -> str:
    """The beginning of the name of a temporary file for a path: it tells the machine and the process."""
    return f".{path.name[:100]}.{HOST}-{os.getpid()}-"


def is_debris(path: Path) -> bool:
    """Whether a path is that of a temporary file or folder of a process of this machine that is no more."""
    found = TEMPORARY.fullmatch(path.name)
    if not found or found["host"] != HOST:
        return False
    # Not before it is needed: a process that is measured shall not hold it.
    import psutil

    try:
        # A process that began after the file was last changed has only got the number of the one that made it.
        return psutil.Process(int(found["pid"])).create_time() > path.lstat().st_ctime + 1
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True
    except psutil.AccessDenied:
        return False


@cache
def sweep(folder: Path) -> None:
    """Remove from a folder what dead processes have left in the midst of their work; once for each process."""
    for path in folder.glob(".*.tmp"):
        if is_debris(path):
            with suppress(OSError):
                remove(path)


@contextmanager
def folder_for(path: Path) -> Iterator[None]:
    """Make the folder that a file or folder is to stand in; on failure, remove it again if it is new and empty."""
    new = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent.resolve())
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in new:
                folder.rmdir()
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    Raises:
        UserError: there is no room, or a folder stands there.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder. Give the name of a file.")
    with room_for(path), folder_for(path):
        handle, name = tempfile.mkstemp(prefix=stamp(path), suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp makes files private; what we produce is as readable as any other file.
            temporary.chmod(0o644)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, for work whose results are moved from there; it is removed in any case.

    Raises:
        UserError: there is no room.
    """
    with room_for(path), folder_for(path):
        temporary = Path(tempfile.mkdtemp(prefix=stamp(path), suffix=".tmp", dir=path.parent))
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a new temporary folder beside `path`; put it in the place of `path` on success, remove it on failure.

    Raises:
        UserError: there is no room.
    """
    with workspace(path) as temporary:
        folder = temporary / "new"
        folder.mkdir()
        yield folder
        put(folder, path)


def put(source: Path, target: Path) -> None:
    """Move a file or folder out of a workspace to its place; what was there goes the other way first."""
    if target.is_dir() or source.is_dir():
        # No folder takes the place of another in one go, but two renamings take no time.
        with suppress(FileNotFoundError):
            target.rename(source.with_name(f"{source.name}.old"))
    source.replace(target)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait, and say so, as long as another process of this machine makes the same.

    Args:
        path: what is made; the locked file is elsewhere, so that it does not lie among results.
    """
    from filelock import FileLock, Timeout

    name = hashlib.md5(os.path.realpath(path).encode(), usedforsecurity=False).hexdigest()
    lock = FileLock(Path(tempfile.gettempdir()) / f"making-{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        msg.info(f"{path}: another process is making it. Waiting for it to end.")
        lock.acquire()
    except OSError as error:
        msg.warn(f"{path}: cannot be locked ({error}). Do not let two processes make it at a time.")
    try:
        yield
    finally:
        lock.release()


def link_folder(source: Path, target: Path) -> None:
    """Give a folder a second place that takes no further space, where the file system can do that; else copy it.

    Files of either must then be replaced, never written into: they are the same.
    """

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)

    with whole_folder(target) as temporary:
        shutil.copytree(source, temporary, copy_function=link, dirs_exist_ok=True)


def write_texts(texts: dict[Path, str]) -> None:
    """Write UTF-8 texts with Unix line ends on every system; none takes its place before all are written."""
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(whole_file(path)).write_bytes(text.encode("utf-8"))


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text, see `write_texts`."""
    write_texts({path: text})


def write_jsonl(path: Path, records: Iterable[Any]) -> None:
    """Write JSON Lines in UTF-8 with Unix line ends on every system, to a name that nobody reads yet."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{srsly.json_dumps(record)}\n" for record in records)


def read_any(path: Path) -> Any:
    """A JSON file's content, or None if it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def format_json(data: Any, indent: int = 0) -> str:
    """JSON with an indented line for each entry, but lists and objects of plain values on one line: good diffs."""
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    if not any(isinstance(value, dict | list) for value in inner):
        # allow_nan=False: NaN is not JSON, and a score that is NaN is an error to be seen here
        return json.dumps(data, ensure_ascii=False, allow_nan=False)
    if isinstance(data, dict):
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {format_json(data[key], indent + 2)}" for key in data]
    else:
        parts = [format_json(value, indent + 2) for value in data]
    opening, closing = "{}" if isinstance(data, dict) else "[]"
    pad = "\n" + " " * indent
    return opening + ",".join(f"{pad}  {part}" for part in parts) + pad + closing


def write_json(path: Path, data: Any) -> None:
    """Write JSON, whole or not at all; key order is the caller's."""
    write_text(path, format_json(data) + "\n")


def read_json(path: Path, *names: str) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: the file.
        names: what it must have.

    Raises:
        UserError: the file is missing, is not JSON, or is not such an object.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON ({error}). {REMAKE}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds no JSON object, but {found!r:.40}. {REMAKE}")
    check_keys(path, found, names)
    return found


def check_keys(path: Path, found: dict[str, Any], names: Iterable[str]) -> None:
    """Make sure that the object that was read from a file has what it must have.

    Raises:
        UserError: it lacks something.
    """
    if lacking := [name for name in names if name not in found]:
        raise UserError(f"{path}: lacks {', '.join(lacking)}. {REMAKE}")


def read_raw_texts(path: Path, activity: str) -> Iterator[str]:
    """Stream the texts of the raw text that convert wrote (`{"text": …}` a line), with a progress bar.

    Raises:
        UserError: the file is missing; raised at once, before the first text is asked for.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Make it with the command `convert`.")
    return (line["text"] for line in show_progress(srsly.read_jsonl(path), desc=activity, unit=" lines"))


def md5_bytes(chunks: Iterable[bytes]) -> str:
    """Hexadecimal MD5 of the joined chunks (the checksum weasel uses)."""
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def md5_file(path: Path) -> str:
    """Hexadecimal MD5 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def md5_folder(folder: Path, without: str | None = None) -> str:
    """Hexadecimal MD5 of a folder: of the names and contents of its files, less those of one name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != without)
    return md5_bytes(f"{path.relative_to(folder).as_posix()} {md5_file(path)}\n".encode() for path in files)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
