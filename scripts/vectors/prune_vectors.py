"""Prune the word vectors, and tell how much of the labelled text the table covers, before and after pruning.

The figures are those of spaCy's guide to optimizing vector coverage
(https://spacy.io/usage/linguistic-features#vectors-coverage): pruning keeps every word's entry, but words whose row is
dropped share that of the most similar word that keeps its own. `mean_similarity` says how similar, on average.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import spacy
import typer
from spacy.strings import get_string_id
from spacy.tokens import DocBin
from spacy.vocab import Vocab
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import folder_bytes, read_json, write_json
from scripts.common.skipping import pass_on
from scripts.vectors.words import make_table


def load_table(folder: Path) -> Vocab:
    """The vocabulary of a vectors table.

    Raises:
        UserError: there is none, or it has no entry for each word (floret).
    """
    if not (folder / "config.cfg").is_file():
        raise UserError(f"{folder}: no vectors table. Make it with the command `load-vectors`.")
    vocab = spacy.load(folder).vocab
    if vocab.vectors.mode != "default":
        raise UserError(f"{folder}: a {vocab.vectors.mode} table has a vector for every word; there is no coverage.")
    return vocab


def count_words(path: Path) -> Counter[str]:
    """How often each word stands in a DocBin."""
    return Counter(token.text for doc in DocBin().from_disk(path).get_docs(Vocab()) for token in doc)


def describe_table(vocab: Vocab, folder: Path, texts: dict[str, Counter[str]]) -> dict[str, Any]:
    """Keys, rows, bytes on disk, and the share of each text's tokens and types that have a vector."""
    vectors, keys = vocab.vectors, vocab.vectors.key2row
    return {
        "keys": vectors.n_keys,
        "rows": vectors.shape[0],
        "bytes": folder_bytes(folder),
        "bytes_of_rows": vectors.data.nbytes,
        "coverage": {
            name: {
                "tokens": sum(n for word, n in words.items() if get_string_id(word) in keys) / words.total(),
                "types": sum(get_string_id(word) in keys for word in words) / len(words),
            }
            for name, words in texts.items()
        },
    }


def describe_remapped(before: Vocab, after: Vocab, texts: dict[str, Counter[str]]) -> dict[str, Any]:
    """Which words lost their own vector, and the cosine between it and the one that they share now."""
    keys = [key for key in before.vectors if key in after.vectors.key2row]
    old = before.vectors.data[[before.vectors.key2row[key] for key in keys]]
    new = after.vectors.data[[after.vectors.key2row[key] for key in keys]]
    moved = (old != new).any(axis=1)
    norms = np.linalg.norm(old[moved], axis=1) * np.linalg.norm(new[moved], axis=1)
    cosines = (old[moved] * new[moved]).sum(axis=1) / np.maximum(norms, 1e-12)
    moved_keys = {key for key, is_moved in zip(keys, moved, strict=True) if is_moved}
    return {
        "keys": int(moved.sum()),
        "mean_similarity": float(cosines.mean()) if len(cosines) else None,
        "tokens": {
            name: sum(n for word, n in counts.items() if get_string_id(word) in moved_keys) / counts.total()
            for name, counts in texts.items()
        },
    }


def prune_vectors(
    full: Annotated[Path, typer.Argument(help="Vectors table before pruning.")],
    words: Annotated[Path, typer.Argument(help="Its vectors in word2vec's text format, most frequent word first.")],
    spellings: Annotated[Path, typer.Argument(help="JSON: word -> its other spellings (learn_vectors writes it).")],
    pruned: Annotated[Path, typer.Argument(help="Pruned table to write.")],
    output: Annotated[Path, typer.Argument(help="Coverage, JSON file to write.")],
    corpora: Annotated[list[Path], typer.Argument(help="Labelled texts (.spacy) to be covered.", exists=True)],
    rows: Annotated[int, typer.Option(min=1, help="Rows that the table keeps.")] = 4000,
) -> None:
    """Write a pruned vectors table, and compare it with the full one."""
    pass_on([words], files=[output], folders=[pruned])
    before = load_table(full)
    after = make_table(words, read_json(spellings), before.lang, pruned, rows)
    texts = {path.stem: count_words(path) for path in corpora}
    result = {
        "before": describe_table(before, full, texts),
        "after": describe_table(after, pruned, texts),
        "remapped": describe_remapped(before, after, texts),
    }
    write_json(output, result)
    msg.table(
        [
            (f"{name} pruning", f"{table['rows']:,}", f"{table['keys']:,}", f"{table['bytes'] / 1e6:.1f}")
            + tuple(f"{share['tokens']:.1%} / {share['types']:.1%}" for share in table["coverage"].values())
            for name, table in (("before", result["before"]), ("after", result["after"]))
        ],
        header=("", "rows", "keys", "MB", *(f"{name}: tokens / types" for name in texts)),
        divider=True,
    )
    remapped = result["remapped"]
    shares = ", ".join(f"{share:.1%} of the tokens of {name}" for name, share in remapped["tokens"].items())
    similarity = "" if remapped["mean_similarity"] is None else f", mean similarity {remapped['mean_similarity']:.2f}"
    msg.good(f"{output}: {remapped['keys']:,} words share a row now ({shares}){similarity}")


if __name__ == "__main__":
    run_cli(prune_vectors)
