"""Let a trained pipeline label unlabelled texts, for a smaller pipeline to learn from (knowledge distillation).

The texts are the sentences of the raw text. What the teacher says of each, all its probabilities, goes into a cache
file line by line, so that an interrupted run goes on where it was. The cache belongs to one teacher: its first line is
the teacher's checksum.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.language import Language
from spacy.tokens import DocBin
from tqdm import tqdm
from wasabi import msg

from scripts.common import UserError, md5_bytes, md5_file, read_raw_texts, run_cli, whole_file

MIN_WORDS = 3
MAX_WORDS = 40  # longer sentences are rarely sentences
BATCH = 128  # texts; at most so much work is lost when a run is interrupted


def sentences(raw: Iterable[str], lang: str) -> Iterator[str]:
    """The sentences of `MIN_WORDS` to `MAX_WORDS` tokens, in their order."""
    nlp = spacy.blank(lang)
    nlp.add_pipe("sentencizer")
    for doc in nlp.pipe(raw):
        for sentence in doc.sents:
            if MIN_WORDS <= len(sentence) <= MAX_WORDS:
                yield sentence.text.strip()


def text_key(text: str) -> str:
    """The name of a text in the cache."""
    return md5_bytes([text.encode("utf-8")])


def choose(texts: Iterable[str], limit: int) -> list[str]:
    """At most `limit` different texts, in the order of their hashes: a sample that hardly moves when texts are added.

    No more than twice as many are held at a time.
    """
    kept: dict[str, str] = {}
    for text in texts:
        kept[text_key(text)] = text
        if len(kept) == 2 * limit:
            kept = {key: kept[key] for key in sorted(kept)[:limit]}
    return [kept[key] for key in sorted(kept)[:limit]]


def folder_key(folder: Path) -> str:
    """Checksum of a pipeline: of the names and contents of its files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return md5_bytes(f"{path.relative_to(folder).as_posix()} {md5_file(path)}\n".encode() for path in files)


def read_cache(path: Path, teacher: str) -> dict[str, dict[str, float]]:
    """What this teacher has said so far; nothing if the cache is of another teacher. A line cut off is passed over."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as stream:
        if stream.readline().strip() != json.dumps({"teacher": teacher}):
            return {}
        labels = {}
        for line in stream:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            labels[entry["text"]] = entry["cats"]
    return labels


def label(nlp: Language, texts: list[str], path: Path, teacher: str) -> dict[str, dict[str, float]]:
    """The teacher's probabilities of each text, by its key: from the cache, else from the teacher, and then cached."""
    labels = read_cache(path, teacher)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not labels:
        path.write_text(json.dumps({"teacher": teacher}) + "\n", encoding="utf-8")
    missing = [text for text in texts if text_key(text) not in labels]
    with path.open("a", encoding="utf-8") as stream:
        # After an interruption the last line may lack its end.
        stream.write("\n")
        progress = tqdm(total=len(texts), initial=len(texts) - len(missing), desc="teacher", unit=" texts", leave=False)
        rest = iter(missing)
        while batch := list(islice(rest, BATCH)):
            for text, doc in zip(batch, nlp.pipe(batch, batch_size=BATCH), strict=True):
                cats = {name: round(float(value), 5) for name, value in doc.cats.items()}
                labels[text_key(text)] = cats
                stream.write(json.dumps({"text": text_key(text), "cats": cats}) + "\n")
            stream.flush()
            progress.update(len(batch))
        progress.close()
    return {key: labels[key] for key in map(text_key, texts)}


def teach(
    teacher: Annotated[Path, typer.Argument(help="Trained pipeline, the teacher.")],
    raw: Annotated[Path, typer.Argument(help="Unlabelled texts (.jsonl).")],
    output: Annotated[Path, typer.Argument(help="Texts with the teacher's probabilities to write (.spacy).")],
    limit: Annotated[int, typer.Option(min=1, help="Sentences to label at most.")] = 12_000,
    cache: Annotated[Path | None, typer.Option(help="Cache to use; beside the output if not given.")] = None,
    gpu_id: Annotated[int, typer.Option(help="GPU that runs the teacher; -1 for the CPU.")] = -1,
) -> None:
    """Label the sentences of raw text with a teacher's probabilities."""
    if not (teacher / "meta.json").is_file():
        raise UserError(f"{teacher}: no trained pipeline. Train the teacher first.")
    if gpu_id >= 0:
        spacy.require_gpu(gpu_id)
    nlp = spacy.load(teacher)
    texts = choose(sentences(read_raw_texts(raw, "sentences"), nlp.lang), limit)
    if not texts:
        raise UserError(f"{raw}: holds no sentence of {MIN_WORDS} to {MAX_WORDS} words.")
    labels = label(nlp, texts, cache or output.with_suffix(".jsonl"), folder_key(teacher))
    blank = spacy.blank(nlp.lang)
    docs = DocBin(attrs=["ORTH", "SPACY"])
    for text in texts:
        doc = blank.make_doc(text)
        doc.cats = labels[text_key(text)]
        docs.add(doc)
    with whole_file(output) as temporary:
        docs.to_disk(temporary)
    confidence = sum(max(cats.values()) for cats in labels.values()) / len(labels)
    msg.good(f"{output}: {len(texts):,} sentences; the teacher's largest probability is {confidence:.2f} on average")


if __name__ == "__main__":
    run_cli(teach)
