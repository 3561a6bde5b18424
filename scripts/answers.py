"""What trained pipelines say: all of them about one text, or one of them about a file. Used by the playground."""

import csv
import io
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc

from scripts.common import UserError

COMPONENT = "textcat"
MAX_CHARACTERS = 20_000  # of one text; a transformer reads 1,000 characters in about a second on the CPU
MAX_WORDS = 60  # left out one by one
MAX_UPLOAD_MB = 10
MAX_TEXTS = 20_000
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
    """The trained variants in the order of project.yml, others after them, and the names of those not trained yet."""
    commands = srsly.read_yaml(project)["commands"] if project.is_file() else []
    names = [command["name"] for command in commands]
    expected = [name.removeprefix("evaluate-") for name in names if name.startswith("evaluate-")]
    trained = {path.parent.parent.name: path for path in sorted(training.glob("*/model-best/meta.json"))}
    names = [name for name in expected if name in trained] + [name for name in trained if name not in expected]
    variants = []
    for name in names:
        meta = trained[name]
        size = sum(path.stat().st_size for path in meta.parent.rglob("*") if path.is_file())
        variants.append(Variant(name, meta.parent, size / 1e6, meta.stat().st_mtime_ns))
    return variants, [name for name in expected if name not in trained]


def load_pipeline(path: Path) -> Language:
    """Load a pipeline and let it read one text, so that the first one timed is not the first one ever.

    Raises:
        UserError: it cannot be loaded, or does not classify.
    """
    try:
        nlp = spacy.load(path)
        nlp("One text to warm up.")
    except Exception as error:  # whatever a pipeline from anywhere raises, the others shall go on
        raise UserError(f"{path}: cannot be loaded ({type(error).__name__}: {str(error)[:300]})") from error
    if COMPONENT not in nlp.pipe_names:
        raise UserError(f"{path}: has no component {COMPONENT!r}.")
    return nlp


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


def choose_labels(nlp: Language, doc: Doc) -> tuple[str, ...]:
    """The best label, or all that reach the threshold where labels do not exclude each other."""
    if nlp.get_pipe_meta(COMPONENT).factory.startswith("textcat_multilabel"):
        threshold = nlp.get_pipe(COMPONENT).cfg.get("threshold") or 0.5
        return tuple(label for label, score in doc.cats.items() if score >= threshold)
    return (max(doc.cats, key=doc.cats.__getitem__),)


def classify(nlp: Language, text: str) -> Answer:
    """Labels, probabilities and wall time of one text. Its words do not stay in memory (spaCy's memory zones)."""
    with nlp.memory_zone():
        start = time.perf_counter()
        doc = nlp(text)
        milliseconds = (time.perf_counter() - start) * 1000
        return Answer(choose_labels(nlp, doc), dict(doc.cats), milliseconds)


def leave_one_out(nlp: Language, text: str, label: str) -> list[tuple[str, float]]:
    """How much of a label's probability goes when a word is left out.

    Returns:
        (piece of the text, change) in order; together the pieces are the text. The change is 0 for what has no letter
        or digit, for words after the first MAX_WORDS, and for the only word of a text.
    """
    with nlp.memory_zone():
        tokens = [(token.text_with_ws, token.idx, len(token.text)) for token in nlp.make_doc(text)]
        words = [i for i, (piece, _, _) in enumerate(tokens) if any(map(str.isalnum, piece))][:MAX_WORDS]
        words = words if len(words) > 1 else []
        texts = [text] + [text[: tokens[i][1]] + text[tokens[i][1] + tokens[i][2] :] for i in words]
        scores = [doc.cats[label] for doc in nlp.pipe(texts)]
    changes = dict(zip(words, (scores[0] - score for score in scores[1:]), strict=True))
    return [(piece, changes.get(i, 0.0)) for i, (piece, _, _) in enumerate(tokens)]


def group_answers(answers: dict[str, Answer]) -> dict[str, list[str]]:
    """Variants by what they say, what most of them say first."""
    groups = defaultdict(list)
    for name, answer in answers.items():
        groups[answer.label].append(name)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def read_rows(name: str, text: str) -> Iterator[tuple[int, Any]]:
    """Line numbers and rows of a CSV or JSONL file.

    Raises:
        UserError: it is broken.
    """
    if name.lower().endswith(".csv"):
        # newline="": line ends inside quoted cells belong to the cell
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise UserError(f"{name}, after line {reader.line_num}: broken CSV ({error}).") from None
        return
    # Not splitlines: JSON strings may hold U+2028
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{name}, line {number}: broken JSON ({error}).") from None


def read_upload(name: str, data: bytes) -> list[dict[str, Any]]:
    """The rows of an uploaded file, each with a `text`.

    Raises:
        UserError: too large, not UTF-8, broken, or without texts.
    """
    if not name.lower().endswith((".csv", ".jsonl")):
        raise UserError(f"{name}: expected .csv or .jsonl.")
    if len(data) > MAX_UPLOAD_MB * 1_000_000:
        raise UserError(f"{name}: has {len(data) / 1e6:.1f} MB; at most {MAX_UPLOAD_MB} MB are read. Split it.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    rows = []
    for line, row in read_rows(name, text):
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise UserError(
                f"{name}, line {line}: no `text`. Each row needs one: a CSV column or a JSON key of that name."
            )
        if None in row:
            raise UserError(f"{name}, line {line}: more cells than the header has. Quote texts that contain commas.")
        if len(row["text"]) > MAX_CHARACTERS:
            raise UserError(f"{name}, line {line}: a text of more than {MAX_CHARACTERS:,} characters.")
        rows.append(row)
        if len(rows) > MAX_TEXTS:
            raise UserError(f"{name}: more than {MAX_TEXTS:,} texts. Split it.")
    if not rows:
        raise UserError(f"{name}: holds no texts.")
    return rows


def label_rows(nlp: Language, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows with `predicted` and `probability` added, in order; a row without a word gets neither."""
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        found = []
        with nlp.memory_zone():
            # Blank texts are kept from the pipeline: some architectures cannot read them inside a batch.
            docs = nlp.pipe(row["text"] for row in part if row["text"].strip())
            for row in part:
                if not row["text"].strip():
                    found.append(row | {"predicted": "", "probability": ""})
                    continue
                doc = next(docs)
                labels = choose_labels(nlp, doc)
                probability = max(doc.cats[label] for label in labels or doc.cats)
                found.append(row | {"predicted": ", ".join(labels), "probability": round(float(probability), 4)})
        yield from found


def write_rows(name: str, rows: Iterable[dict[str, Any]]) -> bytes:
    """The rows in the format of the file that they came from, UTF-8."""
    rows = list(rows)
    if name.lower().endswith(".csv"):
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue().encode("utf-8")
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8")
