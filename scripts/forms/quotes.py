"""Find rows of a table that are several, because a text begins with a quote that has no partner at its end."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from scripts.common.cli import UserError

MAX_CHARS = 40  # of a value that may be a label
MAX_VALUES = 10_000  # that are remembered, and rows that are doubted

Place = tuple[int, str]  # of a field, counted from the left (0 on) or from the right (-1 down), and what stands there


def is_short(value: str) -> bool:
    """Whether a value may be a label."""
    return 0 < len(value.strip()) <= MAX_CHARS


def places(fields: Sequence[str]) -> set[Place]:
    """The short values of some fields with their places, counted from the left and from the right."""
    short = [(i, field.strip()) for i, field in enumerate(fields) if is_short(field)]
    return {(place, value) for i, value in short for place in (i, i - len(fields))}


def columns(lines: Sequence[list[str]], row: Sequence[str]) -> list[set[Place]]:
    """What may be columns of labels in the lines of a row: short values in one place of each.

    The place is none of the text's own: it is right of the field that has the line breaks in all lines but the last, or
    left of it in all but the first. What stands before the quote that opens, or behind the one that closes, belongs to
    the row in any case.

    Args:
        lines: the fields of each line.
        row: the fields of all of them as one row.
    """
    broken = [i for i, field in enumerate(row) if "\n" in field]
    sides = ((lines[:-1], range(max(broken) - len(row) + 1, 0)), (lines[1:], range(min(broken))))
    return [
        {(place, fields[place].strip()) for fields in side}
        for side, allowed in sides
        for place in allowed
        if all(len(fields) >= len(row) and is_short(fields[place]) for fields in side)
    ]


class OpenQuotes:
    """Looks at the rows of a table beside the lines that they were made of.

    A row of three lines or more is doubted if beside its text, in one place of each line, stands a value that stands
    there in two rows of one line or more: that is how labels look, and hardly ever how the lines of a text do.

    Args:
        lines: of the table; to be read from here.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = lines
        self.own: list[str] = []  # lines since the row before
        self.once: set[Place] = set()
        self.often: set[Place] = set()
        self.doubted: list[tuple[int, int, list[set[Place]]]] = []

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
            return
        labels = columns([line.split(delimiter) for line in lines], row) if len(lines) > 2 else []
        if labels and len(self.doubted) < MAX_VALUES:
            self.doubted.append((last - len(lines) + 1, last, labels))

    def check(self, path: Path) -> None:
        """Make sure that no row is several, once all have been looked at.

        Raises:
            UserError: one is.
        """
        for first, last, found in self.doubted:
            if any(column <= self.often for column in found):
                raise UserError(
                    f"{path}, line {first}: a quote opens here and closes {last - first} lines later, with other "
                    "rows between. Remove it; or put the field into quotes, and write those of the text twice."
                )
