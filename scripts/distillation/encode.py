"""Encode sentences of the domain with the frozen encoder, for `compact-pretrained` to learn from (`spacy pretrain`).

The texts are sentences of the raw text, for each of them a run of words in it that is as long as a training text, and
the training texts themselves. Where that is too little, altered copies of the training texts join them (see
scripts.distillation.copies). No label is looked at, and none of the texts is one of dev or test.

What is encoded goes into a file beside the result, batch after batch: an interrupted run goes on where it was.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import numpy as np
import spacy
import typer
from spacy.strings import get_string_id
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import one_at_a_time, read_json, read_raw_texts, whole_file, write_jsonl
from scripts.common.skipping import pass_on
from scripts.data.splits import normalize
from scripts.distillation.copies import altered_copies, held_out_texts, read_texts
from scripts.encoder.embed import embed
from scripts.vectors.sentences import choose, sentences

SEED = 0
MAX_WORDS = 256  # of a training text
COPIES = 4  # of a training text on average at most


def cut_run(words: Sequence[str], length: int, rng: np.random.Generator) -> str:
    """A run of `length` words from a random place; all of them if there are not more."""
    start = int(rng.integers(max(1, len(words) - length + 1)))
    return "".join(words[start : start + max(1, length)]).strip()


def collect(train: Sequence[str], raw: Iterator[str], held_out: set[str], lang: str, limit: int) -> list[str]:
    """Different texts of the domain: those of `train`, and others up to `limit`, none of them a held-out one.

    Args:
        train: the training texts. Of more than `limit` some from all over are taken, of long ones the first
            `MAX_WORDS`: an encoder reads no more, either.
        raw: raw texts.
        held_out: normalized.
        lang: language, as spaCy's code.
        limit: texts at most.
    """
    nlp = spacy.blank(lang)
    rng = np.random.default_rng(SEED)
    some = train[:: math.ceil(len(train) / limit) or 1]
    found = ([token.text_with_ws for token in doc[:MAX_WORDS]] for doc in nlp.pipe(some))
    split = [words for words in found if words]
    texts = dict.fromkeys("".join(words).strip() for words in split)
    room = min(limit // 2, max(0, limit - len(texts)))
    others = [sentence for sentence in choose(sentences(raw, lang), room) if sentence not in texts]
    lengths = [len(words) for words in split]
    runs = (cut_run([token.text_with_ws for token in doc], int(rng.choice(lengths)), rng) for doc in nlp.pipe(others))
    # As long as any training text at most.
    copies = islice(altered_copies(split, rng, max(lengths, default=1)), COPIES * len(split))
    for text in chain(others, runs, ("".join(words).strip() for words in copies)):
        if len(texts) >= limit:
            break
        if text and normalize(text) not in held_out:
            texts[text] = None
    return [text for text in texts if text]


def encode(
    corpus: Annotated[Path, typer.Argument(help="Folder that convert wrote.")],
    texts: Annotated[Path, typer.Argument(help="Texts to write (.jsonl).")],
    vectors: Annotated[Path, typer.Argument(help="Their vectors to write (.npz).")],
    encoder: Annotated[Path, typer.Option(help="Folder of the encoder.")] = Path("training/weights/transformer"),
    limit: Annotated[int, typer.Option(min=1, help="Texts at most.")] = 30_000,
) -> None:
    """Write texts of the domain, and the encoder's vector of each."""
    pass_on([encoder], files=[texts, vectors])
    train, held_out = read_texts(corpus / "train.spacy"), held_out_texts(corpus)
    if not encoder.is_dir():
        raise UserError(f"{encoder}: no encoder there. Run the command `weights`, or a workflow that needs none.")
    lang, raw = read_json(corpus / "task.json")["lang"], read_raw_texts(corpus / "raw.jsonl", "sentences")
    chosen = collect(train, raw, held_out, lang, limit)
    keys = np.asarray([get_string_id(text) for text in chosen], dtype="uint64")
    order = keys.argsort()
    part = vectors.with_suffix(".part")
    with one_at_a_time(vectors):
        # Half precision: a value of a unit vector is at most 1, and the pipeline only comes near it.
        found = embed(encoder, chosen, part).astype("float16")
        with whole_file(vectors) as temporary, temporary.open("wb") as stream:
            np.savez(stream, keys=keys[order], vectors=found[order])
        with whole_file(texts) as temporary:
            write_jsonl(temporary, [{"text": text} for text in chosen])
        part.unlink(missing_ok=True)
    msg.good(f"{vectors}: {len(chosen):,} texts × {found.shape[1]}")


if __name__ == "__main__":
    run_cli(encode)
