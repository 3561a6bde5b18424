"""While a transformer is trained, freed memory goes back to the system."""

import os
from pathlib import Path

import pytest
import spacy
import srsly
from spacy.tokens import DocBin
from spacy.util import registry

from scripts import components
from scripts.common.variants import config_chain, merge_configs
from scripts.components import find_trim, trim_memory
from scripts.training.config import write_config
from scripts.training.fitting import fit
from tests.conftest import DESKS, ROOT, toy_records

NAME = "textcat_ladder.trim_memory.v1"


def resident_bytes():
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


@pytest.fixture
def calls(monkeypatch):
    """What the C library's function is called with, instead of it."""
    found = []
    monkeypatch.setattr(components, "find_trim", lambda: found.append)
    registry.callbacks.register(NAME, func=trim_memory)  # the latest may be that of another import of the same file
    return found


@pytest.mark.skipif(find_trim() is None, reason="no glibc")
def test_what_was_freed_in_pieces_goes_back(nlp):
    blocks = [bytes([i % 256]) * 100_000 for i in range(2000)]
    kept = blocks[::20]  # so that no piece is at the end of the memory, where glibc gives back by itself
    del blocks
    before, before_update = resident_bytes(), trim_memory(every=100)
    before_update(nlp, {"step": 99, "epoch": 0})
    assert resident_bytes() > before - 20e6, "not this time"
    before_update(nlp, {"step": 100, "epoch": 0})
    assert resident_bytes() < before - 150e6
    assert [block[-1] for block in kept] == [i % 256 for i in range(0, 2000, 20)]


def test_training_calls_it_every_so_many_updates(tmp_path, nlp, calls):
    labels = sorted(DESKS)
    docs = [nlp.make_doc(record["text"]) for record in toy_records()]
    for doc, record in zip(docs, toy_records(), strict=True):
        doc.cats = {label: float(label == record["label"]) for label in labels}
    for name in ("train", "dev"):
        DocBin(docs=docs).to_disk(tmp_path / f"{name}.spacy")
    counts = {"examples": {"train": len(docs)}, "words": {"train": {"mean": 9.0}}}
    srsly.write_json(tmp_path / "task.json", {"lang": "en", "exclusive": True, "labels": labels, **counts})
    settings = {"training.before_update": {"@callbacks": NAME, "every": 4}, "training.max_steps": 10}
    output = tmp_path / "bow" / "config.cfg"
    write_config(ROOT / "configs" / "bow.cfg", output, tmp_path, tmp_path, seed=0, settings=settings)
    fit([output], output.parent)
    assert calls == [0, 0, 0], "before the updates 0, 4 and 8"
    # Who uses the pipeline need not have the function.
    assert spacy.load(output.parent / "model-best").config["training"]["before_update"]["@callbacks"] == NAME


@pytest.mark.parametrize("variant", ["transformer", "transformer-half", "transformer-trim"])
def test_transformers_are_trained_with_it(variant, nlp, calls):
    config, _ = merge_configs(config_chain(ROOT / "configs" / f"{variant}.cfg"))
    before_update = registry.resolve({"it": config["training"]["before_update"]})["it"]
    for step in range(25):
        before_update(nlp, {"step": step, "epoch": 0})
    assert calls == [0, 0, 0]


def test_without_glibc_nothing_is_done(nlp, monkeypatch):
    monkeypatch.setattr(components.ctypes, "CDLL", lambda name: object())
    assert find_trim() is None
    trim_memory()(nlp, {"step": 0, "epoch": 0})
