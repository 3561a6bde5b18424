"""Files of text as lines, packed or not, in whichever Unicode encoding; what is none is refused at little cost."""

import codecs
import gzip
import io
import re
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from scripts.common.cli import UserError

HEAD_BYTES = 1 << 16  # enough of a file to tell its form
MAX_LINE_BYTES = 64_000_000
MAX_WHOLE_BYTES = 500_000_000  # of a file that must be read as a whole
# A packed file may be so many times larger unpacked; below some size, any number of times. Of text it is 3 to 20 times.
MAX_RATIO = 100
FREE_BYTES = 20_000_000
# The longer marks first: that of UTF-16 is the beginning of that of UTF-32.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
UNSEEN = {"Cc", "Cf", "Mn", "Zl", "Zp", "Zs"}  # categories of Unicode
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and signs that show nothing


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: no characters, white space, zero-width characters."""
    return all(char in FILLERS or unicodedata.category(char) in UNSEEN for char in text)


def check_file(path: Path) -> None:
    """Make sure that a path is that of a file with a beginning and an end.

    Raises:
        UserError: it is not; the message says what it is instead.
    """
    if path.is_file():
        return
    if path.is_dir():
        raise UserError(f"{path}: is a folder; a file is needed here.")
    if path.exists():
        raise UserError(f"{path}: is a pipe or device, not a file. Write what comes from it into a file first.")
    if path.is_symlink():
        raise UserError(f"{path}: is a link that leads nowhere, or in a circle. Mend it, or put the file there.")
    raise UserError(f"{path}: no such file. Run `python -m spacy project assets . --extra`, or put it there.")


class Watch:
    """Counts what is unpacked of a file, and stops where that is no data but an accident, or an attack."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.limit = max(FREE_BYTES, MAX_RATIO * path.stat().st_size)
        self.total = 0

    def add(self, count: int) -> None:
        """Count bytes.

        Raises:
            UserError: they are too many.
        """
        self.total += count
        if self.total > self.limit:
            raise UserError(
                f"{self.path}: unpacks to more than {self.limit / 1e6:,.0f} MB, {MAX_RATIO} times its size or more. No "
                "data is like that: make the file again, or unpack it yourself."
            )


class Unpacked(io.RawIOBase):
    """The content of a gzip file."""

    def __init__(self, path: Path) -> None:
        self.file = gzip.open(path)  # noqa: SIM115  closed by close
        self.watch = Watch(path)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io's own type is not public
        """Fill a buffer; how many bytes."""
        count = self.file.readinto(buffer)
        self.watch.add(count)
        return count

    def close(self) -> None:
        """Close the file below, too."""
        self.file.close()
        super().close()


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a file, unpacked if it is gzip (whatever its name).

    Raises:
        UserError: there is no such file.
    """
    check_file(path)
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return io.BufferedReader(Unpacked(path), HEAD_BYTES) if packed else path.open("rb")


def read_head(path: Path) -> bytes:
    """The first bytes of a file, unpacked."""
    try:
        with open_bytes(path) as stream:
            return stream.read(HEAD_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: broken gzip file ({error}). Fetch or pack it again.") from None


def text_lines(path: Path, longest: int = MAX_LINE_BYTES) -> Iterator[str]:
    r"""Stream the lines of a UTF-8 (or marked UTF-16 or UTF-32) file without their ends, be those \n, \r\n or \r.

    Args:
        path: the file.
        longest: bytes of a line, at most.

    Raises:
        UserError: a line is too long, not UTF-8 or holds a NUL byte; the file is missing, or a broken gzip file.
    """
    number, encoding = 0, "utf-8"
    try:
        with open_bytes(path) as stream:
            start = stream.peek(4)
            encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), encoding)
            if start.startswith(codecs.BOM_UTF8):
                stream.read(len(codecs.BOM_UTF8))
            wide = encoding != "utf-8"
            source: IO[str] | IO[bytes] = io.TextIOWrapper(stream, encoding) if wide else stream
            while chunk := source.readline(longest + 1):
                if len(chunk) > longest:
                    raise UserError(
                        f"{path}, line {number + 1}: has no end within {longest / 1e6:,.0f} MB. Put each text on a "
                        "line of its own."
                    )
                for line in split_line(chunk):
                    number += 1
                    yield decode(line, f"{path}, line {number}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: broken gzip file after line {number} ({error}). Fetch or pack it again.") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: marked as {encoding.upper()} but broken ({error.reason}). Save the file as UTF-8."
        ) from None


def split_line(chunk: str | bytes) -> list[bytes]:
    r"""A line that ends with \n, without that, cut where there is an end of another kind."""
    line = chunk.encode("utf-8", "surrogatepass") if isinstance(chunk, str) else chunk
    if b"\r" not in line:
        return [line.removesuffix(b"\n")]
    return line.removesuffix(b"\n").removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


def decode(line: bytes, source: str) -> str:
    """Decode one line.

    Raises:
        UserError: it is not UTF-8, or holds a NUL byte.
    """
    if b"\0" in line:
        raise UserError(
            f"{source}: a NUL byte; the file is damaged, binary, or UTF-16 without a mark. Save it as UTF-8 text."
        )
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{source}: byte {error.object[error.start]:#04x} is not UTF-8 (an older encoding such as Windows-1252?). "
            "Save the file as UTF-8."
        ) from None
