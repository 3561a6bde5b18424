"""Split the raw text into words, once for all that learn from it, on all cores.

Writes the words in lower case, one text a line, and how often each spelling occurs. Both stream: memory grows with the
number of different words, not with the text. The result is the same for any number of processes. Words are lower-cased,
since a small text shows most words too rarely to learn two vectors for `Profit` and `profit`.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokenizer import Tokenizer
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import read_json, read_raw_texts, whole_file, write_json
from scripts.machines.processes import start_processes

BATCH, BATCH_CHARS = 2000, 2_000_000  # texts, and characters of all, handed to a process at a time
MAX_LEXEMES = 500_000  # some 200 MB; spaCy keeps each word it has seen
MIN_PARALLEL_BYTES = 10_000_000  # less is tokenized before other processes have started


@cache
def blank_tokenizer(lang: str) -> Tokenizer:
    """The tokenizer of a language."""
    return spacy.blank(lang).tokenizer


def tokenize_texts(texts: list[str], lang: str) -> tuple[str, Counter[str]]:
    """The texts in lower-case words with a space between, one text a line; and the spellings in order of appearance.

    White space is left out, also inside a token, so that whoever splits the lines finds the words counted here.
    """
    tokenizer = blank_tokenizer(lang)
    spellings: Counter[str] = Counter()
    lines = []
    for doc in tokenizer.pipe(texts):
        words = [word for token in doc for word in token.text.split()]
        spellings.update(words)
        lines.append(" ".join(words).lower() + "\n")
    if len(tokenizer.vocab) > MAX_LEXEMES:
        blank_tokenizer.cache_clear()
    return "".join(lines), spellings


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of `BATCH` texts, or fewer that have `BATCH_CHARS` together; the last one may be shorter."""
    batch, chars = [], 0
    for text in texts:
        batch.append(text)
        chars += len(text)
        if len(batch) == BATCH or chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def tokenize_all(texts: Iterable[str], lang: str, processes: int) -> Iterator[tuple[str, Counter[str]]]:
    """`tokenize_texts` of batch after batch in their order, with only some batches in memory at a time."""
    tokenize = partial(tokenize_texts, lang=lang)
    if processes == 1:
        yield from map(tokenize, batches(texts))
        return
    with start_processes(processes) as spread:
        yield from spread(tokenize, batches(texts))


def tokenize_raw(
    raw: Annotated[Path, typer.Argument(help='Raw text, {"text": …} a line.')],
    tokens: Annotated[Path, typer.Argument(help="Words to write, lower case, one text a line.")],
    counts: Annotated[Path, typer.Argument(help="How often each spelling occurs, JSON to write.")],
    processes: Annotated[int, typer.Option(min=0, help="Processes; 0 takes all cores if the text is long.")] = 0,
    task: Annotated[Path, typer.Option(help="Task facts written by convert.")] = Path("corpus/task.json"),
) -> None:
    """Split the raw text into words and count them."""
    texts = read_raw_texts(raw, "tokenize")
    lang = read_json(task)["lang"]
    if not processes:
        processes = (os.cpu_count() or 1) if raw.stat().st_size >= MIN_PARALLEL_BYTES else 1
    spellings: Counter[str] = Counter()
    with whole_file(tokens) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        for lines, found in tokenize_all(texts, lang, processes):
            stream.write(lines)
            spellings.update(found)
        if not spellings:
            raise UserError(
                f"{raw}: holds no words. Vectors need raw text: give the data set a raw.jsonl (docs/own-task.md)."
            )
    write_json(counts, spellings)
    msg.good(f"{tokens}: {spellings.total():,} words, {len(spellings):,} different spellings")


if __name__ == "__main__":
    run_cli(tokenize_raw)
