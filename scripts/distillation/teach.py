"""Label texts with a trained transformer; its logits teach smaller pipelines.

The texts are of two kinds: the sentences of the raw text, if it has more than the training texts; and the training
texts with altered copies of them. A teacher that has seen a text's label is too sure of the text and of what is like
it; that does no harm to a student that is weighed against the linear model on dev afterwards.

What the teacher says is kept as logits, up to a constant for each text where labels exclude each other. They go into a
file beside the result, batch after batch, so that an interrupted run goes on where it was; it belongs to one teacher
and to these texts.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import spacy
import typer
from spacy.language import Language
from spacy.tokens import DocBin
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import md5_folder, one_at_a_time, read_json, read_raw_texts, whole_file
from scripts.common.finished import check_model
from scripts.common.skipping import pass_on
from scripts.components import use_bfloat16
from scripts.data.splits import normalize
from scripts.distillation.copies import altered_copies, held_out_texts, read_texts
from scripts.distillation.near import near_words
from scripts.encoder.batches import Cache, fill_rows
from scripts.evaluation.thresholds import COMPONENT
from scripts.linear.mixing import logits_of
from scripts.machines.machine import check_gpu
from scripts.vectors.sentences import choose, sentences

BATCH = 128  # texts; at most so much work is lost when a run is interrupted
SEED = 0
# Bounds that hold whatever the task: words of a copy, as many as a teacher reads; words of all texts; and values of all
# texts, one for each label, which the student's training holds in memory.
MAX_WORDS, ALL_WORDS, ALL_VALUES = 128, 1_200_000, 6_000_000
MAX_MISSES = 2000  # copies in a row that are there already: few short texts have no more to give


def collect_copies(
    train: Sequence[str], held_out: set[str], nlp: Language, limit: int, teacher: Language | None = None
) -> list[str]:
    """The training texts, and altered copies of them: different texts, none of them a held-out one.

    Args:
        train: the texts.
        held_out: normalized.
        nlp: splits texts into words.
        limit: texts at most.
        teacher: if it is a transformer, its near words come in.
    """
    split = [words for words in ([token.text_with_ws for token in doc] for doc in nlp.pipe(train)) if words]
    texts: set[str] = set()
    chosen, room = [], ALL_WORDS

    def take(words: Sequence[str]) -> bool:
        nonlocal room
        text = "".join(words).strip()
        if text and text not in texts and normalize(text) not in held_out:
            texts.add(text)
            chosen.append(text)
            room -= len(words)
            return True
        return False

    for words in split:  # in the order of their hashes, so that those that are taken are drawn at random
        if len(chosen) == limit or room <= 0:
            break
        take(words[:MAX_WORDS])
    near = near_words_of(teacher, (word.rstrip() for words in split for word in words)) if teacher else {}
    copies = altered_copies(split, np.random.default_rng(SEED), MAX_WORDS, near)
    misses = 0
    while len(chosen) < limit and room > 0 and misses < MAX_MISSES:
        misses = 0 if take(next(copies, [])) else misses + 1
    return chosen


def near_words_of(teacher: Language, words: Iterable[str]) -> dict[str, list[str]]:
    """The words that are near to some in the table of word pieces of a pipeline's transformer; none if it has none."""
    if "transformer" not in teacher.pipe_names:
        return {}
    model = teacher.get_pipe("transformer").model
    table = model.transformer.get_input_embeddings().weight.detach().float().cpu().numpy()
    return near_words(words, model.tokenizer, table)


def new_sentences(raw: Path, train: Sequence[str], held_out: set[str], lang: str, limit: int) -> list[str]:
    """Sentences of the raw text that is no training text, none of them a held-out text (normalized)."""
    known = set(train)
    found = sentences((text for text in read_raw_texts(raw, "sentences") if text not in known), lang)
    return choose((sentence for sentence in found if normalize(sentence) not in held_out), limit)


def ask(nlp: Language, texts: Sequence[str]) -> np.ndarray:
    """A pipeline's logits of texts: float32, shape (texts, labels)."""
    exclusive = nlp.get_pipe_meta(COMPONENT).factory == "textcat"
    labels = nlp.get_pipe(COMPONENT).labels
    scores = np.asarray([[doc.cats[label] for label in labels] for doc in nlp.pipe(texts, batch_size=BATCH)])
    logits = logits_of(scores, exclusive)
    return (logits - logits.mean(axis=1, keepdims=True) * exclusive).astype("float32")


def label(nlp: Language, texts: Sequence[str], part: Path, teacher: str) -> np.ndarray:
    """A pipeline's logits of texts, shape (texts, labels): from a file of what it has said before, else from itself.

    Args:
        nlp: the teacher.
        texts: those of like length come together.
        part: the file.
        teacher: checksum of the teacher.
    """
    cache, width = Cache(part, teacher, texts), len(nlp.get_pipe(COMPONENT).labels)
    return fill_rows(texts, BATCH, width, lambda batch: ask(nlp, [texts[i] for i in batch]), cache, "teacher")


def write_taught(path: Path, texts: Sequence[str], logits: np.ndarray, labels: Sequence[str]) -> None:
    """Write texts with a teacher's logits as their categories."""
    taught = DocBin(attrs=["ORTH", "SPACY"])
    # The tokens do not matter: who reads them splits the texts anew.
    blank = spacy.blank("xx")
    for text, row in zip(texts, logits.tolist(), strict=True):
        doc = blank.make_doc(text)
        doc.cats = dict(zip(labels, row, strict=True))
        taught.add(doc)
    with whole_file(path) as temporary:
        taught.to_disk(temporary)


def teach(
    teacher: Annotated[Path, typer.Argument(help="Trained pipeline, the teacher.")],
    corpus: Annotated[Path, typer.Argument(help="Folder that convert wrote.")],
    output: Annotated[Path, typer.Argument(help="Sentences of raw text with the teacher's logits to write (.spacy).")],
    copies: Annotated[Path, typer.Argument(help="Training texts and altered copies, likewise, to write (.spacy).")],
    limit: Annotated[int, typer.Option(min=1, help="Sentences to label at most.")] = 12_000,
    texts: Annotated[int, typer.Option(min=1, help="Training texts and copies at most.")] = 60_000,
    gpu_id: Annotated[int, typer.Option(help="GPU that runs the teacher; -1 for the CPU.")] = -1,
) -> None:
    """Label the sentences of raw text, the training texts and altered copies of them with a teacher's logits."""
    pass_on([teacher], files=[output, copies])
    if not (teacher / "meta.json").is_file():
        raise UserError(f"{teacher}: no trained pipeline. Train the teacher first.")
    check_model(teacher)
    check_gpu(gpu_id)
    train = read_texts(corpus / "train.spacy")
    held_out = held_out_texts(corpus)
    lang = read_json(corpus / "task.json")["lang"]
    with one_at_a_time(output):
        nlp = spacy.load(teacher)
        labels = nlp.get_pipe(COMPONENT).labels
        most = min(texts, ALL_VALUES // len(labels))
        found = {
            output: new_sentences(corpus / "raw.jsonl", train, held_out, lang, limit),
            copies: collect_copies(train, held_out, spacy.blank(lang), most, nlp),
        }
        everything = [text for some in found.values() for text in some]
        part = output.with_suffix(".part")
        if "transformer" in nlp.pipe_names:
            use_bfloat16(nlp.get_pipe("transformer").model.transformer)
        logits = label(nlp, everything, part, md5_folder(teacher))
        start = 0
        for path, some in found.items():
            write_taught(path, some, logits[start : start + len(some)], labels)
            start += len(some)
        part.unlink()
    counts = f"{len(found[output]):,} sentences, {len(found[copies]):,} training texts and copies of them"
    msg.good(f"{output.parent}: {counts}, with the teacher's logits")


if __name__ == "__main__":
    run_cli(teach)
