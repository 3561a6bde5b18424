"""Let a trained pipeline label unlabelled texts, for a smaller pipeline to learn from (knowledge distillation).

The texts are the sentences of the raw text. (Runs of words as short as the training texts, besides, made a student
with hashed features worse.) What the teacher says of each, all its probabilities, goes into a cache file line by line,
so that an interrupted run goes on where it was. The cache belongs to one teacher: its first line is the teacher's
checksum.

Where the raw text is nothing but the training texts, which the teacher has seen with their labels, they are labelled
by the frozen encoder instead, see scripts.encoder.crossfit.
"""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from wasabi import msg

from scripts import components  # noqa: F401  registers what the teacher is made of
from scripts.common.cli import UserError, run_cli, show_progress
from scripts.common.files import md5_folder, one_at_a_time, read_raw_texts, room_for, whole_file
from scripts.common.finished import check_model
from scripts.common.skipping import pass_on
from scripts.encoder.crossfit import crossfit
from scripts.encoder.embed import embed
from scripts.machines.machine import check_gpu
from scripts.vectors.sentences import MAX_WORDS, MIN_WORDS, choose, sentences, text_key

BATCH = 128  # texts; at most so much work is lost when a run is interrupted


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
    with room_for(path), path.open("a", encoding="utf-8") as stream:
        # After an interruption the last line may lack its end.
        stream.write("\n")
        progress = show_progress(total=len(texts), initial=len(texts) - len(missing), desc="teacher", unit=" texts")
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


def label_sentences(teacher: Path, raw: Path, limit: int, cache: Path, gpu_id: int) -> dict[str, dict[str, float]]:
    """A trained pipeline's probabilities of the sentences of raw text, by sentence.

    Raises:
        UserError: there is no such pipeline, it is not finished, no such GPU, or no sentence.
    """
    if not (teacher / "meta.json").is_file():
        raise UserError(f"{teacher}: no trained pipeline. Train the teacher first.")
    check_model(teacher)
    check_gpu(gpu_id)
    nlp = spacy.load(teacher)
    texts = choose(sentences(read_raw_texts(raw, "sentences"), nlp.lang), limit)
    if not texts:
        raise UserError(f"{raw}: holds no sentence of {MIN_WORDS} to {MAX_WORDS} words.")
    labels = label(nlp, texts, cache, md5_folder(teacher))
    return {text: labels[text_key(text)] for text in texts}


def label_training_texts(docs: Sequence[Doc], encoder: Path) -> dict[str, dict[str, float]]:
    """The frozen encoder's cross-fitted probabilities of labelled texts, by text."""
    names = list(docs[0].cats)
    gold = np.asarray([[doc.cats[name] for name in names] for doc in docs])
    exclusive = bool((gold.sum(axis=1) == 1).all())
    probabilities = crossfit(embed(encoder, [doc.text for doc in docs]), gold, exclusive)
    return {doc.text: dict(zip(names, row.tolist(), strict=True)) for doc, row in zip(docs, probabilities, strict=True)}


def teach(
    teacher: Annotated[Path, typer.Argument(help="Trained pipeline, the teacher.")],
    raw: Annotated[Path, typer.Argument(help="Unlabelled texts (.jsonl).")],
    train: Annotated[Path, typer.Argument(help="Training texts (.spacy).")],
    output: Annotated[Path, typer.Argument(help="Texts with the teacher's probabilities to write (.spacy).")],
    encoder: Annotated[Path | None, typer.Option(help="Encoder that labels them if raw text has no others.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Sentences to label at most.")] = 12_000,
    cache: Annotated[Path | None, typer.Option(help="Cache to use; beside the output if not given.")] = None,
    gpu_id: Annotated[int, typer.Option(help="GPU that runs the teacher; -1 for the CPU.")] = -1,
) -> None:
    """Label the sentences of raw text, or else the training texts, with a teacher's probabilities."""
    pass_on([teacher], files=[output])
    if not train.is_file():
        raise UserError(f"{train}: no training texts there. Make them with the command `convert`.")
    # The tokens of the texts written do not matter: who reads them splits them anew.
    blank = spacy.blank("xx")
    docs = list(DocBin().from_disk(train).get_docs(blank.vocab))
    known = {doc.text for doc in docs}
    if encoder and all(text in known for text in read_raw_texts(raw, "raw text")):
        msg.info(f"{raw}: holds training texts only. They are labelled by the frozen encoder, cross-fitted.")
        labels = label_training_texts(docs, encoder)
    else:
        with one_at_a_time(output):
            labels = label_sentences(teacher, raw, limit, cache or output.with_suffix(".jsonl"), gpu_id)
    taught = DocBin(attrs=["ORTH", "SPACY"])
    for text, cats in labels.items():
        doc = blank.make_doc(text)
        doc.cats = cats
        taught.add(doc)
    with whole_file(output) as temporary:
        taught.to_disk(temporary)
    confidence = sum(max(cats.values()) for cats in labels.values()) / len(labels)
    msg.good(f"{output}: {len(labels):,} texts; the teacher's largest probability is {confidence:.2f} on average")


if __name__ == "__main__":
    run_cli(teach)
