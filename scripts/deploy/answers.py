"""What trained pipelines say: all of them about one text, or one of them about a file. Used by the playground."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spacy.language import Language

from scripts.common.cli import UserError
from scripts.common.files import folder_bytes
from scripts.common.variants import variant_names
from scripts.deploy.labelling import Reading, answer, pipe, text_of, write_file
from scripts.evaluation.thresholds import decision_threshold
from scripts.forms.lines import is_blank
from scripts.forms.records import AUTO, Record

SUFFIXES = (".csv", ".tsv", ".jsonl")
MAX_CHARACTERS = 20_000  # of one text; a transformer reads 1,000 characters in about a second on the CPU
MAX_WORDS = 60  # left out one by one
MAX_UPLOAD_MB = 10
MAX_TEXTS = 20_000
SHOWN_ROWS = 100
BATCH = 128


@dataclass(frozen=True)
class Variant:
    """A trained pipeline on disk."""

    name: str
    path: Path
    megabytes: float
    changed: int  # ns; training again makes it another one


@dataclass(frozen=True)
class Answer:
    """What a pipeline says about a text; `labels` is empty if none reaches its threshold."""

    labels: tuple[str, ...]
    cats: dict[str, float]
    milliseconds: float

    @property
    def label(self) -> str:
        """The labels as one string."""
        return ", ".join(self.labels) or "none"


def find_variants(training: Path, project: Path) -> tuple[list[Variant], list[str]]:
    """The trained variants, in the order of the project in a folder, others after them; and those not trained yet."""
    expected = variant_names(project) if (project / "project.yml").is_file() else []
    trained = {path.parent.parent.name: path for path in sorted(training.glob("*/model-best/meta.json"))}
    names = [name for name in expected if name in trained] + [name for name in trained if name not in expected]
    variants = []
    for name in names:
        meta = trained[name]
        variants.append(Variant(name, meta.parent, folder_bytes(meta.parent) / 1e6, meta.stat().st_mtime_ns))
    return variants, [name for name in expected if name not in trained]


def check_text(text: str) -> None:
    """Refuse what no classifier should be asked.

    Raises:
        UserError: nothing but white space, or longer than MAX_CHARACTERS.
    """
    if not text.strip():
        raise UserError("The text is empty.")
    if len(text) > MAX_CHARACTERS:
        raise UserError(
            f"The text has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read. Paste a part of it."
        )


def ask(nlp: Language, text: str) -> Answer:
    """Labels, scores and wall time of one text. Its words do not stay in memory (spaCy's memory zones)."""
    with nlp.memory_zone():
        start = time.perf_counter()
        cats = dict(nlp(text).cats)
        milliseconds = (time.perf_counter() - start) * 1000
    found = answer(cats, decision_threshold(nlp))
    return Answer(tuple(found.get("labels", (found.get("label"),))), cats, milliseconds)


def leave_one_out(nlp: Language, text: str, label: str) -> list[tuple[str, float]]:
    """How much of a label's probability goes when a word is left out.

    Returns:
        (piece of the text, change) in order; together the pieces are the text. The change is 0 for what has no letter
        or digit, for words after the first MAX_WORDS, and for the only word of a text.
    """
    with nlp.memory_zone():
        pieces = [token.text_with_ws for token in nlp.make_doc(text)]
        words = [i for i, piece in enumerate(pieces) if any(map(str.isalnum, piece))][:MAX_WORDS]
        words = words if len(words) > 1 else []
        # With the space after it: two spaces in a row would be a token of their own.
        texts = [text] + ["".join(pieces[:i] + pieces[i + 1 :]) for i in words]
        scores = [doc.cats[label] for doc in nlp.pipe(texts)]
    changes = dict(zip(words, (scores[0] - score for score in scores[1:]), strict=True))
    return [(piece, changes.get(i, 0.0)) for i, piece in enumerate(pieces)]


def group_answers(answers: dict[str, Answer]) -> dict[str, list[str]]:
    """Variants by what they say, what most of them say first."""
    groups = defaultdict(list)
    for name, said in answers.items():
        groups[said.label].append(name)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def label_upload(
    nlp: Language, name: str, data: bytes, progress: Callable[[float], None] = lambda share: None
) -> tuple[bytes, list[dict[str, str]]]:
    """Label a file as `classify` does, but within the limits of a page.

    Args:
        nlp: the pipeline.
        name: the file's name; its ending is the format, also that of the result.
        data: what is in it.
        progress: called with the share that is done.

    Returns:
        The labelled file, and of the first SHOWN_ROWS texts what to show.

    Raises:
        UserError: the format is another one, the file is too large or broken, or it holds no text or too long ones.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{name}: expected a name that ends in {', '.join(SUFFIXES)}.")
    if len(data) > MAX_UPLOAD_MB * 1_000_000:
        raise UserError(f"{name}: has {len(data) / 1e6:.1f} MB; at most {MAX_UPLOAD_MB} MB are read. Split it.")
    with TemporaryDirectory() as folder:
        source, output = Path(folder) / f"in{suffix}", Path(folder) / f"out{suffix}"
        source.write_bytes(data)
        try:
            records, texts = read_upload(source)
        except UserError as error:
            raise UserError(str(error).replace(str(source), name)) from None
        shown: list[dict[str, str]] = []
        several = decision_threshold(nlp) is not None

        def labelled() -> Iterator[Record]:
            for start in range(0, len(records), BATCH):
                with nlp.memory_zone():
                    batch = list(pipe(nlp, iter(records[start : start + BATCH]), AUTO))
                for record, text in zip(batch, texts[start:], strict=False):
                    if len(shown) < SHOWN_ROWS:
                        shown.append(describe_row(record, text, several))
                    yield record
                progress(min(1.0, (start + BATCH) / len(records)))

        write_file(output, source, nlp, labelled(), Reading())
        return output.read_bytes(), shown


def read_upload(source: Path) -> tuple[list[tuple[Record, str]], list[str]]:
    """The records of a file with their sources, and their texts.

    Raises:
        UserError: the file is broken, holds no text, too many or too long ones.
    """
    records = list(islice(Reading().records(source), MAX_TEXTS + 1))
    if len(records) > MAX_TEXTS:
        raise UserError(f"{source}: more than {MAX_TEXTS:,} texts. Label it with `classify`.")
    texts = [text_of(record, place) for record, place in records]
    for (_, place), text in zip(records, texts, strict=True):
        if len(text) > MAX_CHARACTERS:
            raise UserError(f"{place}: a text of more than {MAX_CHARACTERS:,} characters. Label it with `classify`.")
    if all(map(is_blank, texts)):
        raise UserError(f"{source}: there is no text in it.")
    return records, texts


def describe_row(record: dict[str, Any], text: str, several: bool) -> dict[str, str]:
    """Text, label (or `several`) and highest score of a record that a pipeline has labelled, as text."""
    labels = record["labels"] if several else [record["label"] or ""]
    score = max(record["cats"].values(), default=None)
    return {"text": text, "label": ", ".join(labels), "score": "" if score is None else f"{score:.3f}"}
