"""What the variants will take, by a probe: all that can be made on the data, and none that cannot."""

import itertools

import spacy
import srsly
from spacy.tokens import DocBin

from scripts.data.convert import convert
from scripts.data.estimates import PROBED, estimate, write_sample
from tests.conftest import ROOT, toy_records


def test_without_an_encoder_only_what_needs_none_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.data.estimates.PROBE_SECONDS", 0.1)
    # A busy machine must not decide: each look at the clock is a hundredth of a second after the one before.
    monkeypatch.setattr("scripts.data.estimates.time.perf_counter", itertools.count(0, 0.01).__next__)
    # What is left takes some seconds less.
    monkeypatch.setattr("scripts.data.estimates.PROBED", [what for what in PROBED if what[0] != "cnn"])
    folder = tmp_path / "assets" / "toy"
    folder.mkdir(parents=True)
    srsly.write_jsonl(folder / "train.jsonl", toy_records())
    (tmp_path / "project.yml").write_text("assets: []\n", encoding="utf-8")
    convert("toy", tmp_path / "corpus", assets=tmp_path / "assets", project=tmp_path / "project.yml")
    facts = srsly.read_json(tmp_path / "corpus" / "task.json")
    found = {known.variant: known for known in estimate(facts, tmp_path / "corpus", ROOT / "configs", None)}
    assert set(found) == {"bow", "compact-domain"}
    # Updates of a hundredth of a second: 2,000 of `bow`, and 1,000 of each of the two that compact tries.
    assert found["bow"].minutes > 20 / 60 and found["compact-domain"].minutes > 20 / 60
    assert found["compact-domain"].memory_bytes > 1e8


def test_a_sample_is_from_all_over_and_has_each_label(tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.data.estimates.MAX_TEXTS", 10)
    nlp, docs = spacy.blank("en"), DocBin()
    for i in range(100):
        doc = nlp.make_doc(f"text {i}")
        doc.cats = {"a": float(i < 50), "b": float(50 <= i != 77), "rare": float(i == 77)}
        docs.add(doc)
    docs.to_disk(tmp_path / "train.spacy")
    write_sample(tmp_path / "train.spacy", ["a", "b", "rare"], tmp_path / "sample.spacy")
    sample = [int(doc[1].text) for doc in DocBin().from_disk(tmp_path / "sample.spacy").get_docs(nlp.vocab)]
    assert sample == sorted({*range(0, 100, 10), 77})
