"""scripts/common/archives.py: what an archive may not do, whoever packed it."""

import io
import tarfile

import pytest
from weasel.util import get_checksum

from scripts.common.archives import content_hash, extract, open_archive

PLAIN = {"model/b.bin": b"\0\xff", "model/a/c.txt": b"text", "model/a.txt": b"before the folder a"}


def member(name, kind=tarfile.REGTYPE, link=""):
    item = tarfile.TarInfo(name)
    item.type, item.linkname = kind, link
    return item


def make_archive(*members, mode="w"):
    """A tar archive of (member, content)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for item, content in members:
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    stream.seek(0)
    return stream


HOSTILE = {
    "a symbolic link": [(member("model/x", tarfile.SYMTYPE, "/etc"), b"")],
    "a link, and a path through it": [(member("x", tarfile.SYMTYPE, ".."), b""), (member("x/y"), b"text")],
    "a hard link": [(member("model/x"), b"a"), (member("model/y", tarfile.LNKTYPE, "model/x"), b"")],
    "a FIFO": [(member("model/x", tarfile.FIFOTYPE), b"")],
    "a device": [(member("model/x", tarfile.CHRTYPE), b"")],
    "an absolute path": [(member("/tmp/x"), b"")],
    "a path of Windows": [(member("C:\\x"), b"")],
    "a path on Windows' other disk": [(member("C:x"), b"")],
    "the folder above": [(member("../x"), b"")],
    "the folder above, within": [(member("model/../../x"), b"")],
    "the folder above, on Windows": [(member("model\\..\\..\\x"), b"")],
    "a path twice": [(member("model/x"), b"a"), (member("model/x"), b"b")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives_are_refused_before_anything_is_written(members):
    with pytest.raises(tarfile.TarError), open_archive(make_archive((member("model/first"), b"1"), *members)):
        pytest.fail("was opened")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_plain_archives_have_weasels_checksum_and_arrive(tmp_path, mode):
    members = [(member(name), content) for name, content in PLAIN.items()]
    with open_archive(make_archive((member("model", tarfile.DIRTYPE), b""), *members, mode=mode)) as archive:
        found = content_hash(archive)
        extract(archive, tmp_path)
    assert {path: (tmp_path / path).read_bytes() for path in PLAIN} == PLAIN
    assert found == get_checksum(tmp_path / "model")


def test_modes_and_owners_of_others_do_not_matter(tmp_path):
    item = member("run.sh")
    item.mode, item.uid, item.mtime = 0o6777, 12345, 0
    with open_archive(make_archive((item, b"#!/bin/sh"))) as archive:
        extract(archive, tmp_path)
    found = (tmp_path / "run.sh").stat()
    assert found.st_mode & 0o7111 == 0 and found.st_uid != 12345
