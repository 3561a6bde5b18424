"""Files written whole or not at all, JSON, checksums, sizes."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import srsly
from tqdm import tqdm

from scripts.common.cli import UserError, is_disk_full, no_room


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    Raises:
        UserError: there is no room, or a folder stands there.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder. Give the name of a file.")
    with room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a new temporary folder beside `path`; put it in the place of `path` on success, remove it on failure.

    Raises:
        UserError: there is no room.
    """
    with room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            remove(path)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def link_folder(source: Path, target: Path) -> None:
    """Give a folder a second place that takes no further space, where the file system can do that; else copy it.

    Files of either must then be replaced, never written into: they are the same.
    """
    with whole_folder(target) as temporary:
        for path in source.rglob("*"):
            copy = temporary / path.relative_to(source)
            if path.is_dir():
                copy.mkdir()
                continue
            try:
                os.link(path, copy)
            except OSError:
                shutil.copy2(path, copy)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends on every system, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


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


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise UserError(f"{path}: is not valid JSON ({error}). Make it again, or restore it from git.") from None


def read_raw_texts(path: Path, activity: str) -> Iterator[str]:
    """Stream the texts of the raw text that convert wrote (`{"text": …}` a line), with a progress bar.

    Raises:
        UserError: the file is missing; raised at once, before the first text is asked for.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Make it with the command `convert`.")
    return (line["text"] for line in tqdm(srsly.read_jsonl(path), desc=activity, unit=" lines", leave=False))


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


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
