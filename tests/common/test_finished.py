"""scripts/common/finished.py: a training that did not end gives no model, and figures belong to one model only."""

import shutil

import pytest
import spacy
import srsly
import typer

from scripts.common.cli import UserError
from scripts.common.finished import check_finished, check_model, is_of_another, known_md5
from scripts.common.skipping import skip
from scripts.deploy.labelling import load
from tests.conftest import finish, message, snapshot
from tests.deploy.test_answers import train_pipeline
from tests.deploy.test_package import METRICS


@pytest.fixture
def trained(tmp_path):
    """A training folder with a finished pipeline."""
    folder = tmp_path / "training" / "bow"
    train_pipeline(folder / "model-best")
    (folder / "config.cfg").write_text("", encoding="utf-8")
    finish(folder)
    return folder


UNFINISHED = {
    "evaluate": ["bow", "metrics"],
    "classify": ["training/bow/model-best", "in.txt", "out.csv"],
    "package": ["training/bow", "out", "--metrics", "m.json"],
    "teach": ["training/bow/model-best", "corpus", "sentences.spacy", "copies.spacy"],
}


def test_a_skipped_variant_is_called_so(run, tmp_path, trained):
    (tmp_path / "in.txt").write_text("text\n", encoding="utf-8")
    shutil.rmtree(trained / "model-best")
    with pytest.raises(typer.Exit):
        skip("The encoder is for English.", folders=[trained / "model-best"])
    for verb in ("classify", "package"):
        assert "was skipped. The encoder is for English." in message(run(verb, *UNFINISHED[verb]))


@pytest.mark.parametrize("verb", UNFINISHED)
@pytest.mark.parametrize("fault", ["killed", "older version", "changed", "file renamed"])
def test_a_pipeline_whose_training_did_not_end_is_refused(run, tmp_path, trained, verb, fault):
    spacy.blank("en").to_disk(tmp_path / "blank")
    spacy.tokens.DocBin(docs=[spacy.blank("en")("a text")]).to_disk(tmp_path / "train.spacy")
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": "some other text of several words"}])
    (tmp_path / "in.txt").write_text("text\n", encoding="utf-8")
    if fault == "killed":
        (trained / "train.json").unlink()
    elif fault == "older version":
        srsly.write_json(trained / "train.json", {"seconds": 1.0})
    elif fault == "changed":
        (trained / "model-best" / "textcat" / "model").write_bytes(b"cut")
    else:
        (trained / "model-best" / "textcat" / "cfg").rename(trained / "model-best" / "textcat" / "cfg2")
    before = snapshot(tmp_path)
    found = message(run(verb, *UNFINISHED[verb]))
    assert "has not come to its end" in found or "is not what its training ended with" in found
    assert snapshot(tmp_path) == before


def test_the_playground_says_why_one_is_left_out(trained):
    load(str(trained / "model-best"), None)
    (trained / "train.json").unlink()
    with pytest.raises(UserError, match="has not come to its end"):
        load(str(trained / "model-best"), None)


def test_pipelines_from_elsewhere_are_taken_as_they_are(tmp_path, trained):
    for name in ("model-best", "mine"):
        train_pipeline(tmp_path / "elsewhere" / name)
        check_model(tmp_path / "elsewhere" / name)
    check_model(tmp_path / "none")


def test_a_wheel_does_not_announce_the_figures_of_another_pipeline(run, tmp_path, trained):
    own = check_finished(trained)
    for found in ({"model_md5": "0" * 32}, {}):
        srsly.write_json(tmp_path / "m.json", METRICS | {"variant": "bow", "train": found})
        text = message(run("package", "training/bow", "out", "--metrics", "m.json"))
        assert "m.json: holds the figures of another pipeline than training/bow/model-best. Measure this one" in text
        assert not (tmp_path / "out").exists()
    assert is_of_another({"train": {"model_md5": "0" * 32}}, trained)
    assert not is_of_another({"train": {"model_md5": own}}, trained)
    assert not is_of_another({}, trained) and not is_of_another({"train": {"model_md5": own}}, tmp_path)
    assert known_md5(tmp_path) is None
