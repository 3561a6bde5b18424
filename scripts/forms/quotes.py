"""Find rows of a table that are several, because a text begins with a quote that has no partner at its end."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from scripts.common.cli import UserError

MAX_CHARS = 40  # of a value that may be a label
MAX_VALUES = 10_000  # that are remembered, and rows that are doubted

Places = set[tuple[int, str]]


def places(fields: Sequence[str]) -> Places:
    """The short values of some fields with their places, counted from the left and from the right."""
    short = [(i, value) for i, field in enumerate(fields) if 0 < len(value := field.strip()) <= MAX_CHARS]
    return {(place, value) for i, value in short for place in (i, i - len(fields))}


class OpenQuotes:
    """Looks at the rows of a table beside the lines that they were made of.

    A row of several lines is doubted if each of them but the last has, in one place, a value that stands there in two
    rows of one line or more: that is how labels look, and hardly ever how the lines of a text do.

    Args:
        lines: of the table; to be read from here.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = lines
        self.own: list[str] = []  # lines since the row before
        self.once: Places = set()
        self.often: Places = set()
        self.doubted: list[tuple[int, list[Places]]] = []

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.own.append(line)
            yield line

    def add(self, row: Sequence[str], last: int, delimiter: str) -> None:
        """Look at a row.

        Args:
            row: its fields.
            last: number of its last line.
            delimiter: of the table.
        """
        lines, self.own = self.own, []
        if len(lines) == 1:
            found = places(row)
            self.often |= self.once & found
            if len(self.once) < MAX_VALUES:
                self.once |= found
        elif len(self.doubted) < MAX_VALUES:
            self.doubted.append((last - len(lines) + 1, [places(line.split(delimiter)) for line in lines[:-1]]))

    def check(self, path: Path) -> None:
        """Make sure that no row is several, once all have been looked at.

        Raises:
            UserError: one is.
        """
        for number, lines in self.doubted:
            if set.intersection(*({place for place, _ in found & self.often} for found in lines)):
                raise UserError(
                    f"{path}, line {number}: a quote opens here and closes {len(lines)} line(s) later, with other rows "
                    "between. Remove it; or put the field into quotes, and write those that belong to the text twice."
                )
