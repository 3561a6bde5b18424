"""compact-domain on kinds of tasks that it was not made for, at toy size: it keeps up with `linear`."""

import time

import numpy as np
import pytest
import spacy
import srsly

from scripts.evaluation.scores import majority_baseline, score
from scripts.machines.machine import peak_rss_bytes
from tests.project.test_kinds import imbalanced, long_german, many_intents, sixty_labels

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "kind", [imbalanced, sixty_labels, pytest.param(many_intents, marks=pytest.mark.long), long_german]
)
def test_compact_domain_keeps_up_with_linear(tmp_path, run, make_variant, kind):
    folder = tmp_path / "assets" / "own"
    folder.mkdir(parents=True)
    srsly.write_jsonl(folder / "train.jsonl", kind(np.random.default_rng(0)))
    (tmp_path / "project.yml").write_text("assets: []\n", encoding="utf-8")
    make_variant("own", "linear", values={"paths.linear": "linear.npz"})
    make_variant("compact-own", "compact-domain", values={"paths.linear": "linear.npz", "paths.table": "table.npz"})
    start = time.process_time()
    for step in (
        ("convert", "own", "corpus", "--lang", "de" if kind is long_german else "en"),
        ("fit_linear", "corpus/train.spacy", "corpus/dev.spacy", "linear.npz"),
        ("train", "own"),
        ("tokenize_raw", "corpus/raw.jsonl", "corpus/tokens.txt", "corpus/counts.json"),
        ("learn_vectors", "corpus/tokens.txt", "corpus/counts.json", "words.txt", "spellings.json", "--min-count", 1),
        ("quantize", "corpus/counts.json", "table.npz", "--vectors", "words.txt", "--size", 400_000),
        ("train", "compact-own", "--max-epochs", 10),
    ):
        process = run(*step)
        assert process.returncode == 0, (step, process.output)
    assert time.process_time() - start < 90 and peak_rss_bytes() < 3e9
    labels = srsly.read_json(tmp_path / "corpus" / "task.json")["labels"]
    majority = majority_baseline(tmp_path / "corpus", labels)
    models = (tmp_path / "training" / variant / "model-best" for variant in ("own", "compact-own"))
    found = [score(spacy.load(model), tmp_path / "corpus" / "test.spacy")[0] for model in models]
    linear, compact = (scores["macro_f1"] for scores in found)
    assert linear > majority["macro_f1"] + 0.4 and compact > majority["macro_f1"]
    assert compact >= linear - 0.05, (compact, linear)
