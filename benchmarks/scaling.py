"""Time and memory of what learns from raw text, on a tenth of it, on all of it, and on ten times as much.

    python -m benchmarks.scaling            prints the table of docs/scaling.md; some 20 minutes

The tenth and the whole are real: corpus/bbc/raw.jsonl. Ten times as much is made of ten copies, and since a longer
text has more different words, in each copy a share of the word types is renamed (`goalb`, `goalc`, …). The share is
such that the vocabulary grows as Heaps' law says, with the exponent that the corpus itself shows between a tenth and
the whole. The renamed types are drawn by a hash from all but the most frequent ones; this gives slightly more words
that occur `min_count` times than a real text would have.

Times are wall seconds, and CPU seconds of all threads and processes of a step; memory is the peak of the largest one.
"""

import json
import os
import re
import resource  # not on Windows
import string
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from math import log
from pathlib import Path
from typing import Any

import srsly

EPOCHS = 1
FREQUENT = 50  # types that occur more often are never renamed
COPIES = 10


def words_of(text: str) -> list[str]:
    """The words of a text, roughly."""
    return re.findall(r"\w+", text)


def renamed_share(texts: list[str]) -> tuple[float, float, Counter[str]]:
    """The share of the types to rename in each copy, the exponent of Heaps' law, and how often each type occurs."""
    tenth = {word for text in texts[::COPIES] for word in words_of(text)}
    tenth_words = sum(len(words_of(text)) for text in texts[::COPIES])
    counts = Counter(word for text in texts for word in words_of(text))
    exponent = log(len(counts) / len(tenth)) / log(counts.total() / tenth_words)
    rare = sum(count <= FREQUENT for count in counts.values())
    # V + (COPIES - 1) * renamed = V * COPIES ** exponent
    return len(counts) * (COPIES**exponent - 1) / (COPIES - 1) / rare, exponent, counts


def enlarged(texts: list[str]) -> Iterator[str]:
    """Ten copies; in each but the first, the chosen types get a letter of the copy's own."""
    share, _, counts = renamed_share(texts)
    chosen = {w for w, n in counts.items() if n <= FREQUENT and zlib.crc32(w.encode()) / 2**32 < share}
    for letter in string.ascii_lowercase[:COPIES]:
        for text in texts:
            if letter == "a":
                yield text
            else:
                yield re.sub(r"\w+", lambda match, end=letter: match[0] + end * (match[0] in chosen), text)


def write_raw(path: Path, texts: Iterable[str]) -> None:
    """Write raw text as convert does."""
    srsly.write_jsonl(path, ({"text": text} for text in texts))


def measure(command: list[str], env: dict[str, str]) -> tuple[float, float, int]:
    """Wall and CPU seconds, and peak bytes, of a process with all that it starts."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    scale = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale


def steps(raw: Path, folder: Path) -> dict[str, list[Any]]:
    """The commands to measure, in their order: name, arguments."""
    tokens, counts, words = folder / "tokens.txt", folder / "counts.json", folder / "words.txt"
    spellings, task = folder / "spellings.json", ["--task", "corpus/bbc/task.json"]
    tokenize = ["scripts.vectors.tokenize_raw", raw, tokens, counts, *task]
    learn = ["scripts.vectors.learn_vectors", tokens, counts, words, spellings]
    floret = ["scripts.vectors.learn_floret", tokens, counts, folder / "t.floret", folder / "floret", *task]
    return {
        "tokenize, 1 process": [*tokenize, "--processes", 1],
        "tokenize, 2 processes": [*tokenize, "--processes", 2],
        "gensim, 1 thread": [*learn, "--epochs", EPOCHS],
        "gensim, 2 threads": [*learn, "--epochs", EPOCHS, "--workers", 2],
        "load-vectors": ["scripts.vectors.load_vectors", words, spellings, folder / "table", *task],
        "floret, 10 threads": [*floret, "--epochs", EPOCHS],
        "table of compact-domain": ["scripts.encoder.quantize", counts, folder / "t.npz", "--vectors", words],
    }


def main() -> None:
    """Measure all steps on the three sizes, and print the table."""
    texts = [line["text"] for line in srsly.read_jsonl(Path("corpus/bbc/raw.jsonl"))]
    share, exponent, _ = renamed_share(texts)
    print(f"Heaps exponent {exponent:.2f}; {share:.0%} of the rarer types are renamed in each copy", flush=True)
    sizes = {"tenth": texts[::COPIES], "whole": texts, "tenfold": enlarged(texts)}
    results = {}
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        for size, lines in sizes.items():
            folder = Path(name) / size
            folder.mkdir()
            write_raw(folder / "raw.jsonl", lines)
            for step, arguments in steps(folder / "raw.jsonl", folder).items():
                command = [sys.executable, "-m", *map(str, arguments)]
                wall, cpu, peak = measure(command, os.environ | {"OMP_NUM_THREADS": "1"})
                results[step, size] = {"wall": round(wall, 1), "cpu": round(cpu, 1), "mb": round(peak / 1e6)}
                print(size, step, json.dumps(results[step, size]), flush=True)
            counts = srsly.read_json(folder / "counts.json")
            with (folder / "words.txt").open(encoding="utf-8") as stream:
                rows = next(stream).split()[0]
            print(f"{size}: {sum(counts.values()):,} tokens, {len(counts):,} spellings, {rows} vectors", flush=True)
    print("| step | " + " | ".join(f"{size}: s wall / s CPU / MB" for size in sizes) + " |")
    print("|:--|" + "--:|" * len(sizes))
    for step in dict(results):
        if step[1] == "tenth":
            cells = [results[step[0], size] for size in sizes]
            print(f"| {step[0]} | " + " | ".join(f"{c['wall']} / {c['cpu']} / {c['mb']}" for c in cells) + " |")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
