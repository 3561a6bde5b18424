"""Give the vectors of lower-cased words to their other spellings, so that `Profit` and `PROFIT` find `profit`.

spaCy looks vectors up by the exact word, and `spacy init vectors --attr LOWER` is forgotten when an ordinary table is
saved. Several keys may share a row, so this costs some 12 bytes a spelling: no row, and no string, since words are
looked up by their hash. It must come after pruning, which would otherwise count each spelling as a word of its own.
"""

from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.strings import get_string_id
from spacy.vocab import Vocab
from wasabi import msg

from scripts.common import UserError, read_json, run_cli


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


def add_spellings(
    table: Annotated[Path, typer.Argument(help="Folder written by `spacy init vectors`; it is changed.")],
    spellings: Annotated[Path, typer.Argument(help="JSON: word -> its other spellings (train_vectors writes it).")],
) -> None:
    """Add the other spellings of the words to a vectors table."""
    if not (table / "config.cfg").is_file():
        raise UserError(f"{table}: no vectors table. Make it with `spacy init vectors`.")
    nlp = spacy.load(table)
    before = nlp.vocab.vectors.n_keys
    added = add_keys(nlp.vocab, read_json(spellings))
    nlp.to_disk(table)
    msg.good(f"{table}: {nlp.vocab.vectors.shape[0]:,} rows; {before:,} words and {added:,} other spellings")


if __name__ == "__main__":
    run_cli(add_spellings)
