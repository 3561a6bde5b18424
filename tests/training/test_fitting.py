"""scripts/training/fitting.py: what is done to a pipeline after its training."""

from pathlib import Path

import spacy

from scripts.training.fitting import forget_words

FEATURES = ("text", "lower_", "norm_", "shape_", "prefix_", "suffix_")


def test_a_pipeline_forgets_the_words_it_met_and_reads_texts_as_before(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    text = "Mrs. Zyx-Quorl can't hear $12.50 worth of zworpling :-)"
    before = [[getattr(token, name) for name in FEATURES] for token in nlp(text)]
    nlp.to_disk(tmp_path)
    strings = tmp_path / "vocab" / "strings.json"
    assert "zworpling" in strings.read_text(encoding="utf-8")
    forget_words(tmp_path)
    assert "zworpling" not in strings.read_text(encoding="utf-8")
    loaded = spacy.load(tmp_path)
    assert len(loaded.vocab.strings) < len(nlp.vocab.strings)
    assert [[getattr(token, name) for name in FEATURES] for token in loaded(text)] == before
