"""scripts/training/fitting.py: what is done to a pipeline after its training."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly

from scripts.common.cli import UserError
from scripts.evaluation.scores import even_documents
from scripts.training import fitting
from scripts.training.fitting import count_labels, forget_words, judge_training
from tests.conftest import ROOT, message, snapshot

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


@pytest.fixture
def project(toy_assets, run, tmp_path, monkeypatch):
    """A folder with a corpus and a trained variant."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    assert run("convert", "toy", "corpus").returncode == 0
    assert run("train", "bow", "--max-epochs", 1).returncode == 0
    return tmp_path


def test_the_pipeline_takes_its_place_whole(project):
    folder = project / "training" / "bow"
    assert {path.name for path in folder.iterdir()} == {"config.cfg", "log.jsonl", "train.json", "model-best"}
    for path in (folder / "config.cfg", folder / "model-best" / "config.cfg"):
        config = spacy.util.load_config(path)
        assert config["paths"]["log"] == "training/bow/log.jsonl"
        assert config["training"]["logger"]["progress_bar"] == "train", "whether there was a terminal does not matter"
        assert ".tmp" not in path.read_text(encoding="utf-8")
    assert srsly.read_json(folder / "train.json")["model_md5"] == fitting.md5_folder(folder / "model-best")


FAULTS = {
    "while it trains": ("spacy_train", OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
    "after it has trained": ("tune_threshold", OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
    "at the very end": ("md5_folder", OSError(errno.EFBIG, "File too large"), "no file may become as large"),
    "by what a user can mend": ("forget_words", UserError("mend this"), "mend this"),
}


@pytest.mark.parametrize(("function", "error", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_training_that_fails_leaves_the_earlier_one_as_it_was(project, run, monkeypatch, function, error, expected):
    def fail(*_, **__):
        raise error

    before = snapshot(project)
    monkeypatch.setattr(fitting, function, fail)
    found = message(run("train", "bow", "--max-epochs", 1, "--seed", 1))
    assert expected in found and found.count("✘") == 1
    assert snapshot(project) == before


def test_a_training_that_cannot_begin_leaves_the_earlier_one_as_it_was(project, run):
    shutil.move(project / "corpus" / "train.spacy", project / "aside")
    before = snapshot(project)
    assert "corpus/train.spacy: no training texts there" in message(run("train", "bow"))
    assert snapshot(project) == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_named(project, run):
    (project / "training" / "bow").chmod(0o555)
    assert "Permission denied. Give yourself the right" in message(run("train", "bow"))
    (project / "training" / "bow").chmod(0o755)


@pytest.fixture
def candidates(project, make_variant, monkeypatch):
    """A variant that is tried as it is, as one that learns nothing, and as it is once more; the losses on dev."""
    values = {"variant.candidates": {"own": {}, "untaught": {"training.optimizer.learn_rate": 0.0}, "again": {}}}
    make_variant("several", "bow", values=values)
    losses, dev_losses = {}, fitting.dev_losses

    def remember(model, dev):
        losses[model.parent.name] = dev_losses(model, dev)
        return losses[model.parent.name]

    monkeypatch.setattr(fitting, "dev_losses", remember)
    return losses


def test_of_candidates_the_best_on_dev_is_kept_and_recorded(project, run, candidates):
    process = run("train", "several", "--max-epochs", 8)
    assert process.returncode == 0, process.output
    folder = project / "training" / "several"
    assert {path.name for path in folder.iterdir()} == {"config.cfg", "log.jsonl", "train.json", "model-best"}
    facts = srsly.read_json(folder / "train.json")
    means = {name: round(float(loss.mean()), 4) for name, loss in candidates.items()}
    assert facts["dev_loss"] == means and list(means) == ["own", "untaught", "again"]
    assert means["own"] == means["again"] < means["untaught"] - 0.01
    assert facts["chosen"] == "own", "of equals the first"
    assert "own, chosen by the log loss on dev" in process.output
    np.testing.assert_array_equal(
        fitting.dev_losses(folder / "model-best", project / "corpus/dev.spacy"), candidates["own"]
    )
    config = spacy.util.load_config(folder / "config.cfg")
    assert config["training"]["optimizer"]["learn_rate"] > 0 and config["paths"]["log"] == "training/several/log.jsonl"
    assert facts["model_md5"] == fitting.md5_folder(folder / "model-best")
    documents = even_documents(count_labels(project / "corpus/dev.spacy"))
    assert facts["judgement"] == judge_training(folder / "log.jsonl", documents)


def test_a_later_candidate_is_kept_if_it_is_better(project, run, make_variant):
    make_variant(
        "later", "bow", values={"variant.candidates": {"none": {"training.optimizer.learn_rate": 0.0}, "own": {}}}
    )
    assert run("train", "later", "--max-epochs", 8).returncode == 0
    folder = project / "training" / "later"
    assert srsly.read_json(folder / "train.json")["chosen"] == "own"
    assert spacy.util.load_config(folder / "config.cfg")["training"]["optimizer"]["learn_rate"] > 0
    scores = [line["scores"]["cats_score"] for line in srsly.read_jsonl(folder / "log.jsonl") if line["scores"]]
    assert max(scores) > 50, "the log is that of the one that is kept"


def test_one_pipeline_is_not_chosen_from(project):
    assert not {"chosen", "dev_loss"} & srsly.read_json(project / "training" / "bow" / "train.json").keys()


def test_a_candidate_that_fails_leaves_the_earlier_pipeline_as_it_was(project, run, candidates, monkeypatch):
    assert run("train", "several", "--max-epochs", 1).returncode == 0
    before, fit_one = snapshot(project / "training"), fitting.fit_one

    def fail(config, *arguments):
        if config.stem == "again":
            raise UserError("mend this")
        return fit_one(config, *arguments)

    monkeypatch.setattr(fitting, "fit_one", fail)
    assert "mend this" in message(run("train", "several", "--max-epochs", 1, "--seed", 1))
    assert snapshot(project / "training") == before
