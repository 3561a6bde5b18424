"""Errors for users, and command lines that show them as one message."""

import errno
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer
from tqdm import tqdm
from wasabi import msg

# What the system refuses, and what a user can do about it
MENDS = {
    errno.EACCES: "Give yourself the right to it, or choose another place.",
    errno.EPERM: "Give yourself the right to it, or choose another place.",
    errno.ENOENT: "Run the command that makes it, or correct the name.",
    errno.EROFS: "Choose another place.",
    errno.ENOTDIR: "A file stands where a folder is needed. Move it, or choose another name.",
    errno.EEXIST: "A file stands where a folder is needed. Move it, or choose another name.",
    errno.EISDIR: "A folder stands where a file is needed. Move it, or choose another name.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "Its symbolic links lead in a circle. Mend them.",
    errno.EIO: "The disk or network drive failed. Check it.",
}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# How libraries say it that keep the system's number for themselves: Rust's, NumPy's, PyTorch's
NO_ROOM_WORDS = re.compile(
    r"no space left|quota exceeded|file too large|\d+ requested and \d+ written|unexpected pos \d+ vs \d+",
    re.IGNORECASE,
)
LOOP = re.compile(r"Symlink loop from '(.+)'")  # how pathlib says it before Python 3.13
STEP = "TEXTCAT_STEP"  # environment variable: the number of the process of a step
LONG = 5.0  # seconds; what takes less needs no line in a log


class UserError(Exception):
    """Something the user can mend. The message names the place and the mend; no traceback is shown."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that led to it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception says, in whatever words, that something could not be written for lack of room."""
    return any(
        getattr(cause, "errno", None) in NO_ROOM or NO_ROOM_WORDS.search(str(cause)) is not None
        for cause in causes(error)
        if not isinstance(cause, UserError)
    )


def no_room(place: Path, error: BaseException) -> UserError:
    """What to tell of an exception of `is_disk_full`.

    Args:
        place: what was to be written.
        error: the exception.
    """
    if any(getattr(cause, "errno", None) == errno.EFBIG for cause in causes(error)):
        return UserError(
            f"{place}: no file may become as large here (`ulimit -f`, or the file system). Nothing is lost."
        )
    disk = place.resolve()
    while not (disk.exists() and os.path.ismount(disk)) and disk != disk.parent:
        disk = disk.parent
    free = shutil.disk_usage(disk).free / 1e6
    return UserError(
        f"{place}: the disk is full ({disk}, {free:,.1f} MB free). What was there before is as it was. Make room, and "
        "run it again."
    )


class Line:
    """What stands in the place of a progress bar in a log: one line at the end of what took long."""

    def __init__(
        self, iterable: Iterable[Any] | None, desc: str = "", unit: str = "", initial: int = 0, **_: Any
    ) -> None:
        self.iterable, self.desc, self.unit, self.count = () if iterable is None else iterable, desc, unit, initial
        self.start = time.perf_counter()

    def __iter__(self) -> Iterator[Any]:
        """Give what is worked on."""
        for item in self.iterable:
            yield item
            self.count += 1
        self.close()

    def __enter__(self) -> "Line":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.close()

    def update(self, count: float = 1) -> bool:
        """Count; nothing is shown."""
        self.count += int(count)
        return False

    def close(self) -> None:
        """Say how much there was, once, if it took long."""
        seconds = time.perf_counter() - self.start
        if seconds >= LONG and self.count:
            msg.text(f"{self.desc}: {self.count:,} {self.unit.strip()} in {seconds:,.0f} s")
        self.count = 0


def show_progress(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """A progress bar on a terminal; a line at the end elsewhere, since a bar writes thousands of characters into a log.

    Args:
        iterable: what is worked on, if the bar shall count it.
        options: those of tqdm.
    """
    if not sys.stderr.isatty():
        return Line(iterable, **options)
    return tqdm(iterable, **{"leave": False, **options})


def is_apt(record: logging.LogRecord) -> bool:
    """Whether a warning of transformers applies: long texts are cut into windows, so no index goes wrong."""
    return "indexing errors" not in record.getMessage()


def explain(error: Exception) -> str | None:
    """One sentence about an exception that a user can mend; None for one that only a developer can."""
    if isinstance(error, UserError):
        return str(error)
    if is_disk_full(error):
        return str(no_room(Path(getattr(error, "filename", None) or "."), error))
    if isinstance(error, OSError) and error.errno in MENDS and isinstance(error.filename, str | os.PathLike):
        return f"{os.fspath(error.filename)}: {error.strerror}. {MENDS[error.errno]}"
    if isinstance(error, RuntimeError) and (found := LOOP.fullmatch(str(error))):
        return f"{found[1]}: {MENDS[errno.ELOOP]}"
    return None


def import_factories_late() -> None:
    """Let spaCy import a package that brings components only when a pipeline names one that is not known yet.

    Each pipeline that it makes, a blank one too, imports them all: with spacy-transformers, transformers, pandas and
    scikit-learn, which is three seconds of each command. spaCy has no setting for it: for the rest of the process a
    method of its registry is replaced, and one of `Language`.
    """
    from spacy.language import Language
    from spacy.util import registry

    factories, is_known = registry._entry_point_factories, Language.has_factory.__func__
    import_all = factories.get_all

    def has_factory(cls: type[Language], name: str) -> bool:
        if not is_known(cls, name):
            import_all()
        return is_known(cls, name)

    if import_all is not dict:
        factories.get_all = dict
        Language.has_factory = classmethod(has_factory)


def run_cli(command: Callable[..., None]) -> None:
    """Run a function as a Typer command line; what a user can mend becomes one message and exit status 1."""
    logging.getLogger("transformers.tokenization_utils_base").addFilter(is_apt)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    if os.name == "nt":
        # There, weasel leaves the quotes of a script line in place.
        sys.argv[1:] = [re.sub(r'^"(.*)"$', r"\1", word) for word in sys.argv[1:]]
    try:
        if os.environ.get(STEP) != str(os.getppid()):
            # Not for what a step starts: a process that is measured shall not hold what checking needs.
            from scripts.common.settings import check_run

            check_run()
        os.environ[STEP] = str(os.getpid())
        if "spacy" in sys.modules:
            import_factories_late()
        app()
    except Exception as error:
        if (sentence := explain(error)) is None:
            raise
        msg.fail(sentence)
        sys.exit(1)
