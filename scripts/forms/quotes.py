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

    A row of three lines or more is doubted if in each of them, in one place, stands a value that stands there in two
    rows of one line or more: that is how labels look, and hardly ever how the lines of a text do. What stands before
    the quote that opens, or behind the one that closes, belongs to the row in any case: places are counted from the
    right in all lines but the last, or from the left in all but the first.

    Args:
        lines: of the table; to be read from here.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = lines
        self.own: list[str] = []  # lines since the row before
        self.once: Places = set()
        self.often: Places = set()
        self.doubted: list[tuple[int, list[Places], list[Places]]] = []

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
        elif len(lines) > 2 and len(self.doubted) < MAX_VALUES:
            fields = [line.split(delimiter) for line in lines]
            first = max((i for i, field in enumerate(fields[0]) if field.startswith('"')), default=0)
            end = next((i for i, field in enumerate(fields[-1]) if field.rstrip().endswith('"')), 0)
            inner = [places(line) for line in fields[1:-1]]
            right = [{(p, value) for p, value in found if p < 0} for found in (places(fields[0][first + 1 :]), *inner)]
            left = [{(p, value) for p, value in found if p >= 0} for found in (*inner, places(fields[-1][:end]))]
            self.doubted.append((last - len(lines) + 1, right, left))

    def check(self, path: Path) -> None:
        """Make sure that no row is several, once all have been looked at.

        Raises:
            UserError: one is.
        """
        for number, *sides in self.doubted:
            if any(set.intersection(*({place for place, _ in found & self.often} for found in side)) for side in sides):
                raise UserError(
                    f"{path}, line {number}: a quote opens here and closes {len(sides[0])} lines later, with other "
                    "rows between. Remove it; or put the field into quotes, and write those of the text twice."
                )
