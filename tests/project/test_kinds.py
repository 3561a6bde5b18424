"""Kinds of tasks that the defaults were not made for, at toy size: what knows labels alone must learn each of them."""

import time

import numpy as np
import pytest
import spacy
import srsly

from scripts.evaluation.scores import majority_baseline, score
from scripts.machines.machine import peak_rss_bytes

pytestmark = pytest.mark.slow
FILLERS = [f"wort{i}" for i in range(60)]


def text(rng, *signs, length=12):
    words = [*rng.choice(FILLERS, length), *signs]
    return " ".join(rng.permutation(words))


def imbalanced(rng):
    """A Prodigy export: a sixth of the answers is yes, and one text has 20,000 words."""
    records = [
        {"text": text(rng, f"spam{i % 3}" if i % 6 == 0 else f"ham{i % 9}", f"n{i}"), "label": "SPAM"}
        | {"answer": "accept" if i % 6 == 0 else "reject"}
        for i in range(240)
    ]
    records[7]["text"] += " " + " ".join(rng.choice(FILLERS, 20_000))
    return records


def sixty_labels(rng):
    names = [f"label{i}" for i in range(60)]
    pairs = [rng.choice(60, 1 + i % 2, replace=False) for i in range(600)]
    return [
        {"text": text(rng, *(f"sign{j}" for j in pair), f"n{i}", length=5), "labels": [names[j] for j in pair]}
        for i, pair in enumerate(pairs)
    ]


def many_intents(rng):
    return [{"text": text(rng, f"sign{i % 150}", f"n{i}", length=4), "label": f"intent{i % 150}"} for i in range(1200)]


def long_german(rng):
    signs = {"Sport": "Fußballspiel", "Kultur": "Theaterbühne", "Web": "Internetseite"}
    return [
        {"text": text(rng, signs[label], signs[label], f"n{i}", length=300), "label": label}
        for i in range(120)
        for label in [list(signs)[i % 3]]
    ]


@pytest.mark.parametrize("kind", [imbalanced, sixty_labels, many_intents, long_german])
def test_linear_learns_every_kind(tmp_path, run, make_variant, kind):
    folder = tmp_path / "assets" / "own"
    folder.mkdir(parents=True)
    srsly.write_jsonl(folder / "train.jsonl", kind(np.random.default_rng(0)))
    (tmp_path / "project.yml").write_text("assets: []\n", encoding="utf-8")
    start = time.process_time()
    lang = "de" if kind is long_german else "en"
    assert run("convert", "own", "corpus", "--lang", lang).returncode == 0
    assert run("fit_linear", "corpus/train.spacy", "corpus/dev.spacy", "linear.npz").returncode == 0
    make_variant("own", "linear", values={"paths.linear": "linear.npz"})
    process = run("train", "own")
    assert process.returncode == 0, process.output
    assert time.process_time() - start < 60 and peak_rss_bytes() < 3e9
    scores, _ = score(spacy.load(tmp_path / "training" / "own" / "model-best"), tmp_path / "corpus" / "test.spacy")
    labels = srsly.read_json(tmp_path / "corpus" / "task.json")["labels"]
    majority = majority_baseline(tmp_path / "corpus", labels)["macro_f1"]
    assert scores["macro_f1"] > majority + 0.4, scores["macro_f1"]
