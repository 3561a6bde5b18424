"""Tables as Markdown."""

from collections.abc import Sequence
from typing import Any


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table whose first column is text and whose others are numbers, with a line break at its end."""
    lines = [header, (":--", *["--:"] * (len(header) - 1)), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |\n" for line in lines)
