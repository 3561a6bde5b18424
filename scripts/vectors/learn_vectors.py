"""Train word vectors on the raw text with gensim, for `spacy init vectors`.

The words come from the file that `tokenize_raw` wrote, which is read in every pass: memory grows with the
number of different words, not with the text. They are in lower case; `load_vectors` and `prune_vectors` give the
vectors to the other spellings, which are listed here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from gensim.models import FastText, Word2Vec
from gensim.models.callbacks import CallbackAny2Vec
from gensim.models.keyedvectors import KeyedVectors
from gensim.models.word2vec import MAX_WORDS_IN_BATCH as MAX_SENTENCE
from wasabi import msg

from scripts.common.cli import run_cli, show_progress
from scripts.common.files import whole_file, write_json
from scripts.common.skipping import Unsuited, skip
from scripts.vectors.words import MIN_COUNT, read_spellings, refuse_few_words

ALPHA = 0.025  # first learning rate, falling to nearly nothing: gensim's and the original word2vec's default
FASTTEXT_BUCKETS = 100_000  # gensim's 2,000,000 would take 800 MB; only the vectors of whole words are kept


class VectorsModel(StrEnum):
    """What predicts what: the word its neighbours (skipgram), they the word (cbow), or skip-gram with subwords."""

    skipgram = "skipgram"
    cbow = "cbow"
    fasttext = "fasttext"


class TokenFile:
    """Sentences of lower-cased words, read from a file of one space-separated text a line, again in each pass.

    Of a sentence of more than `MAX_SENTENCE` words gensim would leave out the rest, so that long texts come in parts.
    """

    def __init__(self, path: Path, words: int, passes: int) -> None:
        self.path = path
        self.progress = show_progress(total=words * passes, desc="vectors", unit=" words", unit_scale=True)

    def __iter__(self) -> Iterator[list[str]]:
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                words = line.split()
                for start in range(0, len(words), MAX_SENTENCE):
                    yield words[start : start + MAX_SENTENCE]
                self.progress.update(len(words))


class EpochBar(CallbackAny2Vec):
    """A progress bar that moves after each pass over the text."""

    def __init__(self, epochs: int) -> None:
        self.progress = show_progress(total=epochs, desc="vectors", unit=" passes")

    def on_epoch_end(self, model: Word2Vec) -> None:
        """Move on."""
        self.progress.update()


def fit_vectors(
    tokens: Path,
    words: int,
    model: VectorsModel,
    dim: int,
    window: int,
    epochs: int,
    min_count: int,
    seed: int,
    workers: int = 1,
) -> KeyedVectors:
    """Train with gensim.

    With one worker thread every run gives the same vectors. Several threads read their own parts of the file, without
    Python between them, so that the speed grows with their number; but the result depends on their timing.

    Args:
        tokens: file of one space-separated text a line.
        words: number of words in it, for the progress bar.
        model: skip-gram, CBOW, or fastText.
        dim: length of a vector.
        window: words looked at on each side.
        epochs: passes over the text.
        min_count: rarer words get no vector.
        seed: of everything random.
        workers: threads.

    Returns:
        The vectors, most frequent word first.

    Raises:
        Unsuited: no two words are frequent enough; a mistake only if `min_count` is higher than usual.
    """
    settings = {
        "vector_size": dim, "window": window, "epochs": epochs, "min_count": min_count, "seed": seed,
        "workers": workers, "alpha": ALPHA, "sg": int(model != VectorsModel.cbow),
    }  # fmt: skip
    trainer = FastText(bucket=FASTTEXT_BUCKETS, **settings) if model == VectorsModel.fasttext else Word2Vec(**settings)
    sentences = TokenFile(tokens, words, epochs + 1)
    source = {"corpus_iterable": sentences} if workers == 1 else {"corpus_file": str(tokens)}
    trainer.build_vocab(**source)
    if len(trainer.wv) < 2:
        refuse_few_words(f"Only {len(trainer.wv)} of the raw text's words occur", min_count)
    totals = {"total_examples": trainer.corpus_count, "total_words": trainer.corpus_total_words}
    if workers == 1:
        trainer.train(sentences, epochs=epochs, **totals)
    else:
        bar = EpochBar(epochs)
        trainer.train(corpus_file=str(tokens), epochs=epochs, callbacks=[bar], **totals)
        bar.progress.close()
    sentences.progress.close()
    return trainer.wv


def group_spellings(words: list[str], spellings: Counter[str]) -> dict[str, list[str]]:
    """The other spellings of each word that has some: those seen, and the one with a capital at the beginning."""
    other = defaultdict(set)
    for spelling in spellings:
        other[spelling.lower()].add(spelling)
    result = {}
    for word in words:
        if forms := sorted((other[word] | {word.capitalize()}) - {word}):
            result[word] = forms
    return result


def write_vectors(path: Path, words: list[str], vectors: np.ndarray) -> None:
    """Write word2vec's text format; `vectors` has one row a word."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(f"{len(words)} {vectors.shape[1]}\n")
        for word, vector in zip(show_progress(words, desc="write", unit=" words"), vectors, strict=True):
            stream.write(word + " " + " ".join(f"{value:.6g}" for value in vector) + "\n")


def learn_vectors(
    tokens: Annotated[Path, typer.Argument(help="Words of the raw text, one text a line.")],
    counts: Annotated[Path, typer.Argument(help="How often each spelling occurs, JSON.")],
    output: Annotated[Path, typer.Argument(help="Vectors to write, in word2vec's text format.")],
    spellings: Annotated[Path, typer.Argument(help="Other spellings of the words to write, JSON.")],
    model: Annotated[VectorsModel, typer.Option(help="What to learn.")] = VectorsModel.skipgram,
    dim: Annotated[int, typer.Option(help="Length of a vector.", min=1)] = 100,
    window: Annotated[int, typer.Option(help="Words looked at on each side.", min=1)] = 5,
    epochs: Annotated[int, typer.Option(help="Passes over the text.", min=1)] = 15,
    min_count: Annotated[int, typer.Option(help="Rarer words get no vector.", min=1)] = MIN_COUNT,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    workers: Annotated[int, typer.Option(help="Threads; only 1 gives the same vectors in each run.", min=1)] = 1,
) -> None:
    """Train word vectors on raw text."""
    seen = read_spellings(counts)
    try:
        vectors = fit_vectors(tokens, seen.total(), model, dim, window, epochs, min_count, seed, workers)
    except Unsuited as reason:
        skip(str(reason), files=[output, spellings])
    words = vectors.index_to_key
    write_vectors(output, words, vectors.vectors)
    write_json(spellings, group_spellings(words, seen))
    msg.good(f"{output}: {len(words):,} words of {dim} dimensions, from {seen.total():,} words of text")


if __name__ == "__main__":
    run_cli(learn_vectors)
