"""Encode sentences of the domain with the frozen encoder, for `compact-pretrained` to learn from (`spacy pretrain`).

The texts are sentences of the raw text, for each of them a run of words in it that is as long as a training text, and
the training texts themselves. Where that is too little, altered copies of the training texts join them: words left
out, a run of words, the beginning of one text and the end of another (Tang et al. 2019, "Distilling task-specific
knowledge from BERT into simple neural networks", alter texts in a similar way). No label is looked at.

What is encoded goes into a file beside the result, batch after batch: an interrupted run goes on where it was.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import spacy
import srsly
import typer
from spacy.strings import get_string_id
from spacy.tokens import DocBin
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import one_at_a_time, read_json, read_raw_texts, whole_file
from scripts.common.skipping import pass_on
from scripts.encoder.embed import embed
from scripts.vectors.sentences import choose, sentences

SEED = 0
COPIES = 4  # of a training text at most
LEFT_OUT = 0.2  # of the words of a copy
KEPT = (0.4, 0.8)  # the length of a run of words, as a share of the text's


def cut_run(words: Sequence[str], length: int, rng: np.random.Generator) -> str:
    """A run of `length` words from a random place; all of them if there are not more."""
    start = int(rng.integers(max(1, len(words) - length + 1)))
    return "".join(words[start : start + max(1, length)]).strip()


def alter(texts: Sequence[list[str]], rng: np.random.Generator) -> Iterator[str]:
    """`COPIES` altered copies of each text, which is given as words with the spaces that follow them."""
    for number in range(COPIES):
        for words in texts:
            share = rng.uniform(*KEPT)
            if number % 3 == 0:
                keep = rng.random(len(words)) >= LEFT_OUT
                yield "".join(word for word, kept in zip(words, keep, strict=True) if kept).strip()
            elif number % 3 == 1:
                yield cut_run(words, round(share * len(words)), rng)
            else:
                other = texts[int(rng.integers(len(texts)))]
                begin, end = words[: round(share * len(words))], other[round(share * len(other)) :]
                yield f"{''.join(begin).strip()} {''.join(end)}".strip()


def collect(train: Sequence[str], raw: Iterator[str], lang: str, limit: int) -> list[str]:
    """Different texts of the domain: all of `train`, and others up to `limit`."""
    nlp = spacy.blank(lang)
    rng = np.random.default_rng(SEED)
    split = [words for words in ([token.text_with_ws for token in doc] for doc in nlp.pipe(train)) if words]
    texts = dict.fromkeys(train)
    room = min(limit // 2, max(0, limit - len(texts)))
    others = [sentence for sentence in choose(sentences(raw, lang), room) if sentence not in texts]
    texts.update(dict.fromkeys(others))
    lengths = [len(words) for words in split]
    runs = (cut_run([token.text_with_ws for token in doc], int(rng.choice(lengths)), rng) for doc in nlp.pipe(others))
    for text in chain(runs, alter(split, rng)):
        if len(texts) >= limit:
            break
        texts[text] = None
    return [text for text in texts if text]


def encode(
    raw: Annotated[Path, typer.Argument(help="Unlabelled texts (.jsonl).")],
    train: Annotated[Path, typer.Argument(help="Training texts (.spacy).")],
    texts: Annotated[Path, typer.Argument(help="Texts to write (.jsonl).")],
    vectors: Annotated[Path, typer.Argument(help="Their vectors to write (.npz).")],
    encoder: Annotated[Path, typer.Option(help="Folder of the encoder.")] = Path("training/weights/transformer"),
    task: Annotated[Path, typer.Option(help="Task facts written by convert.")] = Path("corpus/task.json"),
    limit: Annotated[int, typer.Option(min=1, help="Texts at most; training texts are never left out.")] = 30_000,
) -> None:
    """Write texts of the domain, and the mean of the encoder's outputs over each."""
    pass_on([encoder], files=[texts, vectors])
    if not train.is_file():
        raise UserError(f"{train}: no training texts there. Make them with the command `convert`.")
    if not encoder.is_dir():
        raise UserError(f"{encoder}: no encoder there. Run the command `weights`, or a workflow that needs none.")
    docs = DocBin().from_disk(train).get_docs(spacy.blank("xx").vocab)
    chosen = collect([doc.text for doc in docs], read_raw_texts(raw, "sentences"), read_json(task)["lang"], limit)
    keys = np.asarray([get_string_id(text) for text in chosen], dtype="uint64")
    order = keys.argsort()
    part = vectors.with_suffix(".part")
    with one_at_a_time(vectors):
        vectors.parent.mkdir(parents=True, exist_ok=True)
        # Half precision: a value of a unit vector is at most 1, and the pipeline only comes near it.
        found = embed(encoder, chosen, part).astype("float16")
        with whole_file(vectors) as temporary, temporary.open("wb") as stream:
            np.savez(stream, keys=keys[order], vectors=found[order])
        with whole_file(texts) as temporary:
            srsly.write_jsonl(temporary, [{"text": text} for text in chosen])
        part.unlink(missing_ok=True)
    msg.good(f"{vectors}: {len(chosen):,} texts × {found.shape[1]}")


if __name__ == "__main__":
    run_cli(encode)
