"""The words of the raw text: how often they occur, and how else they are spelt."""

from collections import Counter
from pathlib import Path
from typing import NoReturn

import spacy
from spacy.strings import get_string_id
from spacy.training.initialize import convert_vectors
from spacy.vocab import Vocab

from scripts.common.cli import UserError
from scripts.common.files import read_json, whole_folder
from scripts.common.skipping import Unsuited, reason_to_skip

MIN_COUNT = 3  # how often a word occurs that gets a vector of its own, unless told otherwise


def add_keys(vocab: Vocab, spellings: dict[str, list[str]]) -> int:
    """Point each spelling that has no vector yet to its word's row; return how many were added."""
    vectors = vocab.vectors
    added = 0
    for word, others in spellings.items():
        row = vectors.key2row.get(vocab.strings[word])
        for other in others if row is not None else ():
            if get_string_id(other) not in vectors.key2row:
                vectors.add(other, row=row)
                added += 1
    return added


def refuse_few_words(found: str, min_count: int) -> NoReturn:
    """Say that there is too little text to learn vectors from.

    Args:
        found: begin of the message, what words occur.
        min_count: how often at least.

    Raises:
        UserError: `min_count` is higher than usual, which is a mistake.
        Unsuited: it is not.
    """
    message = f"{found} {min_count} times or more, too few to learn vectors."
    if min_count > MIN_COUNT:
        raise UserError(f"{message} Lower it (`--vars.vectors_min_count {MIN_COUNT}`) or add raw text.")
    raise Unsuited(f"{message} What learns from them needs more raw text, or a tokenizer that splits these texts.")


def lower_counts(path: Path) -> Counter[str]:
    """How often each word occurs, whatever its spelling, from the file that `tokenize_raw` wrote.

    Raises:
        UserError: there is no such file.
    """
    counts: Counter[str] = Counter()
    for spelling, count in read_spellings(path).items():
        counts[spelling.lower()] += count
    return counts


def read_spellings(path: Path) -> Counter[str]:
    """How often each spelling occurs, from the file that `tokenize_raw` wrote.

    Raises:
        UserError: there is no such file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Make it with the command `tokenize-raw`.")
    return Counter(read_json(path))


def make_table(words: Path, spellings: dict[str, list[str]], lang: str, folder: Path, rows: int = 0) -> Vocab:
    """Write word vectors as spaCy's table, as `spacy init vectors` does, with the words' other spellings; return it.

    spaCy looks vectors up by the exact word, and `spacy init vectors --attr LOWER` is forgotten when an ordinary table
    is saved. Several keys may share a row, so this costs some 12 bytes a spelling: no row, and no string, since words
    are looked up by their hash. It must come after pruning, which would else count each spelling as a word of its own.

    Args:
        words: vectors in word2vec's text format, most frequent word first.
        spellings: the other spellings of each word.
        lang: spaCy's code of the language.
        folder: to write.
        rows: how many the table keeps; 0 for all.

    Raises:
        UserError: there are no vectors.
    """
    if not words.is_file():
        raise UserError(f"{words}: no such file. Make it with the command `learn-vectors`.")
    if reason := reason_to_skip([words]):
        raise UserError(f"{words}: no vectors. {reason}")
    nlp = spacy.blank(lang)
    convert_vectors(nlp, words, truncate=-1, prune=rows or -1)
    add_keys(nlp.vocab, spellings)
    with whole_folder(folder) as temporary:
        nlp.to_disk(temporary)
    return nlp.vocab
