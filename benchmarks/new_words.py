"""What a pipeline holds on to when each text brings words that it has never met, and whether threads disagree on them.

    python -m benchmarks.new_words training/bbc/compact/model-best 1000000

prints the memory of the process after each tenth of the texts, with each batch in a memory zone of spaCy's, as
`classify` has it, or without (`--without`); then, for some thousand of the texts, how many of the scores that 8 threads
give with one pipeline differ from those of a single one.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from scripts.evaluation.measure import hide_torch

hide_torch()

import psutil  # noqa: E402
import spacy  # noqa: E402
from spacy.cli._util import import_code  # noqa: E402
from spacy.language import Language  # noqa: E402

from scripts.machines.machine import peak_rss_bytes  # noqa: E402

TENTHS = 10
BATCH = 1000
THREADS = 8
CHECKED = 4000


def texts(count: int, start: int = 0) -> Iterator[str]:
    """Texts of eight words, of which four occur in no other."""
    for i in range(start, start + count):
        yield f"The bank of word{i}a and word{i}b met team word{i}c in word{i}d"


def label(nlp: Language, count: int, start: int, zone: bool) -> list[dict[str, float]]:
    """The scores of some texts."""
    if not zone:
        return [doc.cats for doc in nlp.pipe(texts(count, start))]
    with nlp.memory_zone():
        return [doc.cats for doc in nlp.pipe(texts(count, start))]


def main(folder: str, count: int, zone: bool) -> None:
    """Print the tables."""
    import_code("scripts/components.py")
    nlp = spacy.load(folder)
    expected = [scores for start in range(0, CHECKED, 100) for scores in label(nlp, 100, start, False)]
    shared = spacy.load(folder)
    with ThreadPoolExecutor(THREADS) as pool:
        parts = pool.map(lambda start: label(shared, 100, start, False), range(0, CHECKED, 100))
        found = [scores for part in parts for scores in part]
    differ = sum(a != b for a, b in zip(expected, found, strict=True))
    print(f"{THREADS} threads: {differ} of {CHECKED:,} texts with other scores\n\n| texts | MB |\n|--:|--:|")
    nlp, process = spacy.load(folder), psutil.Process()
    for tenth in range(TENTHS):
        first = tenth * count // TENTHS
        starts = iter(range(first, first + count // TENTHS, BATCH))
        for start in islice(starts, None):
            label(nlp, BATCH, start, zone)
        print(f"| {first + count // TENTHS:,} | {process.memory_info().rss / 1e6:.0f} |", flush=True)
    print(f"\nAt most {peak_rss_bytes() / 1e6:.0f} MB")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "--without" not in sys.argv)
