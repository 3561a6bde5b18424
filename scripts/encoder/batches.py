"""Long work on many texts, batch after batch: what is done is kept in a file, and goes on from there."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from scripts.common.cli import show_progress
from scripts.common.files import md5_bytes, room_for


class Cache:
    """Rows of float32 in a file, batch after batch: interrupted work goes on where it was, with the same result.

    It belongs to certain texts and one model, by its checksum: its first line names them.
    """

    def __init__(self, path: Path, model: str, texts: Sequence[str]) -> None:
        self.path = path
        key = md5_bytes(f"{text}\0".encode() for text in (model, *texts))
        self.head = f"{key}\n".encode()

    def read(self, sizes: Sequence[int], width: int) -> list[np.ndarray]:
        """The batches that are whole in it; what follows them is cut off.

        Args:
            sizes: texts of each batch.
            width: values of a row.
        """
        found = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with room_for(self.path), self.path.open("a+b") as stream:
            stream.seek(0)
            if stream.read(len(self.head)) != self.head:
                stream.truncate(0)
                stream.write(self.head)
                return []
            for size in sizes:
                data = stream.read(4 * size * width)
                if len(data) < 4 * size * width:
                    break
                found.append(np.frombuffer(data, dtype="float32").reshape(size, width))
            stream.truncate(len(self.head) + sum(batch.nbytes for batch in found))
        return found

    def append(self, rows: np.ndarray) -> None:
        """Add a batch."""
        with room_for(self.path), self.path.open("ab") as stream:
            stream.write(rows.tobytes())


def fill_rows(
    texts: Sequence[str],
    size: int,
    width: int,
    compute: Callable[[list[int]], np.ndarray],
    cache: Cache | None,
    activity: str,
) -> np.ndarray:
    """A row for each text, computed in batches of texts of like length, with a progress bar.

    Args:
        texts: all of them.
        size: texts of a batch.
        width: values of a row.
        compute: gives the rows of some texts, by their numbers.
        cache: what is done so far; None to keep nothing.
        activity: what the bar says.

    Returns:
        float32, shape (texts, width).
    """
    rows = np.zeros((len(texts), width), dtype="float32")
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    known = cache.read([len(batch) for batch in batches], width) if cache else []
    for batch, found in zip(batches, known, strict=False):
        rows[batch] = found
    done = sum(map(len, known))
    with show_progress(total=len(texts), initial=done, desc=activity, unit=" texts") as bar:
        for batch in batches[len(known) :]:
            rows[batch] = compute(batch)
            if cache:
                cache.append(rows[batch])
            bar.update(len(batch))
    return rows
