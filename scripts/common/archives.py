"""Tar archives that come from elsewhere: nothing of them is written outside the folder that they are unpacked into."""

import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import IO


@contextmanager
def open_archive(stream: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """Give a tar archive, packed or not, once all its members are plain files and folders with paths of their own.

    Raises:
        tarfile.TarError: the archive is broken, or holds a link, a device, a path that is absolute or leads out, or a
            path twice.
    """
    with tarfile.open(fileobj=stream) as archive:
        seen = set()
        for member in archive:
            if not (member.isreg() or member.isdir()):
                raise tarfile.TarError(f"{member.name!r} in it is neither a file nor a folder")
            if not stays_inside(member.name):
                raise tarfile.TarError(f"the path {member.name!r} in it leads out of the folder")
            if PurePosixPath(member.name) in seen:
                raise tarfile.TarError(f"{member.name!r} is in it twice")
            seen.add(PurePosixPath(member.name))
        yield archive


def stays_inside(name: str) -> bool:
    """Whether a path is relative and has no `..`, on every system."""
    paths: tuple[PurePath, ...] = (PurePosixPath(name), PureWindowsPath(name))
    return not any(path.anchor or ".." in path.parts for path in paths)


def content_hash(archive: tarfile.TarFile) -> str:
    """What weasel's `get_checksum` gives for the file or folder in an archive, without unpacking it."""
    digest = hashlib.md5(usedforsecurity=False)
    for member in sorted((member for member in archive if member.isreg()), key=lambda m: PurePosixPath(m.name)):
        stream = archive.extractfile(member)
        while chunk := stream.read(1 << 20) if stream else b"":
            digest.update(chunk)
    return digest.hexdigest()


def extract(archive: tarfile.TarFile, root: Path) -> None:
    """Write the members of an archive of `open_archive` into an empty folder, without owners, modes and times.

    That is less than tarfile's filter `data` lets pass, which Python 3.11 has from 3.11.4 on only.
    """
    for member in archive:
        target = root / member.name
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        elif stream := archive.extractfile(member):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(stream, file)
