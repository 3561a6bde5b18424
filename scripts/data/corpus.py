"""Read a data set, clean its raw text of what is held out, and write `corpus/`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import srsly
from spacy.language import Language
from spacy.strings import get_string_id
from spacy.tokens import DocBin
from weasel.util import get_checksum

from scripts.common.cli import UserError, show_progress
from scripts.common.files import format_json, md5_file, whole_file, write_jsonl
from scripts.data.formats import (
    ANNOTATED,
    SPLITS,
    Notes,
    Options,
    Splits,
    annotated_files,
    read_annotated,
    read_folder,
)
from scripts.data.labels import resolve_mode
from scripts.data.published import find_reader, holds_data, is_of_published
from scripts.data.splits import Fold, normalize, unite_labels

OUTLIER = 10  # see `typical_mean`
# A held-out text of fewer words may occur in other texts by chance, so it does not disqualify a raw line.
MIN_LEAK_WORDS = 4
MAX_KNOWN_LINES = 1_000_000  # some 60 MB: memory does not grow with the raw text


def read_dataset(folder: Path, options: Options, notes: Notes) -> Splits:
    """Read a data set by its own reader, if it has one, else by the form of its files.

    What was annotated after the split is there as `ANNOTATED`, if there is any. In mode `multi` rows of one text, a
    label each, are put together.
    """
    own = find_reader(folder)
    given = own(folder) if own else read_folder(folder, options, notes)
    if not own and is_of_published(about := folder / "README.md"):
        kind = f"the README of the published {folder.name!r}, by whose language and licence your data go"
        notes.add(kind, str(about))
    if options.mode == "multi":
        given = {split: unite_labels(examples) for split, examples in given.items()}
    if annotated := annotated_files(folder):
        mode, _ = resolve_mode(given, options.mode)
        files = read_annotated(annotated, replace(options, mode=mode), notes)
        given[ANNOTATED] = [e for file in files for e in (unite_labels(file) if mode == "multi" else file)]
    return given


# Raw text


def clean_raw(splits: Splits, extra: Iterable[str] = (), dropped: Counter[str] | None = None) -> Iterator[str]:
    """Stream the unlabelled lines: all text of the training side and `extra`, less what holds a dev or test text.

    A line is left out if it equals a text or raw line of a held-out document, or a line of `MIN_LEAK_WORDS` words or
    more of its text, or holds a held-out text of so many words. A line that has come before is left out, too, as far as
    `MAX_KNOWN_LINES` remember.

    Args:
        splits: the labelled texts.
        extra: further raw lines.
        dropped: counts what is left out, by reason.
    """
    held_out = [example for split in ("dev", "test") for example in splits[split]]
    forbidden = {normalize(line) for example in held_out for line in (example.text, *example.raw)}
    parts = {normalize(line) for example in held_out for line in example.text.splitlines()}
    forbidden |= {part for part in parts if len(part.split()) >= MIN_LEAK_WORDS}
    # The lengths of held-out texts by their first words: each raw line is scanned once, however many begin alike.
    lengths = defaultdict(set)
    for example in held_out:
        words = normalize(example.text).split()
        if len(words) >= MIN_LEAK_WORDS:
            lengths[tuple(words[:MIN_LEAK_WORDS])].add(len(words))
    known: set[int] = set()
    dropped = Counter() if dropped is None else dropped

    def reason_against(line: str) -> str:
        normal = normalize(line)
        if normal in forbidden:
            return "equal a dev or test text"
        words = normal.split()
        if any(
            i + length <= len(words) and " ".join(words[i : i + length]) in forbidden
            for i in range(len(words) - MIN_LEAK_WORDS + 1)
            for length in lengths.get(tuple(words[i : i + MIN_LEAK_WORDS]), ())
        ):
            return "hold a dev or test text"
        key = get_string_id(normal)
        if key in known:
            return "repeat an earlier line"
        if len(known) < MAX_KNOWN_LINES:
            known.add(key)
        return ""

    for line in chain((line for example in splits["train"] for line in (example.text, *example.raw)), extra):
        if reason := reason_against(line):
            dropped[reason] += 1
        else:
            yield line


def blank_pipeline(lang: str) -> Language:
    """An empty pipeline of a language.

    Raises:
        UserError: spaCy has no such language, or its tokenizer needs a package that is not installed.
    """
    try:
        return spacy.blank(lang)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"lang {lang!r}: {reason:.300} Use a code of https://spacy.io/usage/models#languages, xx for any other "
            "language, and install what its tokenizer needs."
        ) from None


def write_corpus(
    splits: Splits,
    labels: list[str],
    raw: Iterable[str],
    lang: str,
    dataset: str,
    mode: str,
    corpus: Path,
    fold: Fold | None = None,
) -> dict[str, Any]:
    """Write the corpus files and return the task facts that stand in `task.json`.

    All files are written beside their places first: a failure leaves an earlier corpus as it was.
    """
    nlp = blank_pipeline(lang)
    facts: dict[str, Any] = {
        "dataset": dataset,
        **({"fold": asdict(fold)} if fold else {}),
        "lang": lang,
        "mode": mode,
        "exclusive": mode == "single",
        "labels": labels,
        "examples": {split: len(examples) for split, examples in splits.items()},
        "words": {},
        "raw": {"lines": 0, "words": 0},
        "md5": {},
    }

    def counted() -> Iterator[dict[str, str]]:
        for line in raw:
            facts["raw"]["lines"] += 1
            facts["raw"]["words"] += len(line.split())
            yield {"text": line}

    with ExitStack() as stack:
        paths = {
            name: stack.enter_context(whole_file(corpus / name))
            # The first takes its place last: with the facts, all that they are of is there.
            for name in ("task.json", *(f"{split}.spacy" for split in SPLITS), "raw.jsonl")
        }
        for split in SPLITS:
            docs, lengths = DocBin(attrs=["ORTH", "SPACY"]), []
            for example in show_progress(splits[split], desc=split, unit=" docs"):
                doc = nlp.make_doc(example.text)
                doc.cats = {label: float(label in example.labels) for label in labels}
                docs.add(doc)
                lengths.append(len(doc))
            docs.to_disk(paths[f"{split}.spacy"])
            facts["words"][split] = {"mean": round(typical_mean(lengths), 1), "max": max(lengths)}
        write_jsonl(paths["raw.jsonl"], counted())
        facts["md5"] = {name: md5_file(path) for name, path in paths.items() if name != "task.json"}
        paths["task.json"].write_bytes((format_json(facts) + "\n").encode())
    return facts


def typical_mean(lengths: Sequence[int]) -> float:
    """The mean of texts' lengths, each counted as `OUTLIER` times the median at most.

    By it a training's length is chosen, and one text of 50,000 words says nothing about six hundred others.
    """
    return float(np.minimum(lengths, OUTLIER * max(1.0, float(np.median(lengths)))).mean())


def check_assets(project: Path, folder: Path) -> None:
    """Compare the files of a data set with the checksums in project.yml; weasel itself only prints a mismatch.

    A folder that holds other files, and none of these, is of somebody's own data.

    Raises:
        UserError: a file is missing or differs.
    """
    assets = {project.parent / asset["dest"]: asset for asset in srsly.read_yaml(project).get("assets", [])}
    ours = {path: asset for path, asset in assets.items() if folder.resolve() in path.resolve().parents}
    if holds_data(folder) and not any(path.exists() for path in ours):
        return
    for path, asset in ours.items():
        if not path.exists():
            raise UserError(
                f"{path}: the file is missing. Fetch it: python -m spacy project assets . --extra"
                + (f" (or by hand, from {asset['url']})" if asset.get("url") else "")
            )
        if (found := get_checksum(path)) != asset.get("checksum", found):
            raise UserError(
                f"{path}: its checksum is {found}, project.yml expects {asset['checksum']}. "
                "Remove the file and fetch it again: python -m spacy project assets . --extra"
            )
