"""Any text classifier gets the linear model beside it: trained as if alone, then both have their say."""

import shutil

import numpy as np
import pytest
import spacy
import srsly
from scipy.special import expit, log_softmax, softmax
from spacy.cli._util import import_code

from scripts.components import linear_logits, mix_linear
from scripts.linear.mixing import linear_on, logits_of
from tests.conftest import ROOT, fit_linear_model, toy_records

CODE = ROOT / "scripts" / "components.py"
TEXTS = ["the goal of the cup", "", "shares of the bank", "an oscar for the striker"]
# The quickest among the fast tests.
PARTS = [
    pytest.param(part, exclusive, marks=[pytest.mark.slow] * ((part, exclusive) != ("bow", True)))
    for part in ("bow", "cnn", "ensemble")
    for exclusive in (True, False)
]


def records(exclusive):
    """Texts of one desk; or of any number: every fifth is of two, every seventh of none."""
    desks = toy_records()
    if exclusive:
        return desks
    joined = []
    for i, (one, two) in enumerate(zip(desks, reversed(desks), strict=True)):
        both = [one, two] if i % 5 == 0 and one["label"] != two["label"] else [] if i % 7 == 0 else [one]
        joined.append({"text": " and ".join(r["text"] for r in both) or f"Rain on day {i}",
                       "labels": [r["label"] for r in both]})  # fmt: skip
    return joined


@pytest.fixture
def trained(toy_assets, run, make_variant, tmp_path):
    """A function that trains one of spaCy's own classifiers, with the linear model beside it or without."""

    def train(part, exclusive, linear=True):
        name = f"{part}-{'both' if linear else 'alone'}"
        if not (tmp_path / "corpus").exists():
            srsly.write_jsonl(toy_assets / "train.jsonl", records(exclusive))
            assert run("convert", "toy", "corpus").returncode == 0
            fit_linear_model(run)
        make_variant(name, part, *(["parts/with-linear"] if linear else []), code=CODE)
        process = run("train", name, "--max-epochs", 8)
        assert process.returncode == 0, process.output
        return spacy.load(tmp_path / "training" / name / "model-best"), process.output

    import_code(CODE)
    return train


@pytest.mark.parametrize(("part", "exclusive"), PARTS)
def test_it_is_trained_as_if_alone_and_stored_as_the_sum_of_both(trained, tmp_path, part, exclusive):
    both, output = trained(part, exclusive)
    model = both.get_pipe("textcat").model
    assert model.attrs["mixed"] and "alone" in output
    docs = [both.make_doc(text) for text in TEXTS if text]
    own = logits_of(model.layers[0].predict(docs), exclusive)
    if (part, exclusive) != ("cnn", False):  # whose output starts at random, so that the order of the labels counts
        alone, _ = trained(part, exclusive, linear=False)
        same = logits_of(alone.get_pipe("textcat").model.predict(docs), exclusive)
        order = [alone.get_pipe("textcat").labels.index(label) for label in both.get_pipe("textcat").labels]
        assert own == pytest.approx(same[:, order], abs=2e-3), "the linear model has no part in the training"
    logits = model.attrs["own"] * own + model.attrs["bias"] + linear_logits(model.get_ref("linear"), docs)
    expected = softmax(logits, axis=1) if exclusive else expit(logits)
    found = [[*doc.cats.values()] for doc in both.pipe(TEXTS)]
    bias = model.get_ref("linear").get_param("bias") + model.attrs["bias"]
    assert found.pop(1) == pytest.approx(softmax(bias) if exclusive else expit(bias), abs=1e-5), (
        "of a text without words"
    )
    assert np.array(found) == pytest.approx(expected, abs=1e-4)
    facts = srsly.read_json(tmp_path / "training" / f"{part}-both" / "train.json")
    assert facts["dev_alone"].keys() == {"trained", "linear"}
    assert 0 < facts["dev_alone"]["linear"] <= 1


def test_what_says_nothing_leaves_the_linear_model_its_say(trained, tmp_path):
    both, _ = trained("bow", True)
    pipe, dev = both.get_pipe("textcat"), tmp_path / "corpus" / "dev.spacy"
    linear = linear_on(both, dev)
    mix_linear(pipe.model, 0.0, 1.0)
    docs = [both.make_doc(doc.text) for doc in spacy.tokens.DocBin().from_disk(dev).get_docs(both.vocab)]
    assert np.log(pipe.model.predict(docs)) == pytest.approx(log_softmax(linear, axis=1), abs=1e-3)


@pytest.mark.slow
def test_it_survives_storage_and_processes(trained, tmp_path):
    both, _ = trained("cnn", False)
    before = [doc.cats for doc in both.pipe(TEXTS)]
    both.to_disk(tmp_path / "again")
    shutil.rmtree(tmp_path / "training")
    again = spacy.load(tmp_path / "again")
    for n_process in (1, 2):
        for cats, doc in zip(before, again.pipe(TEXTS, n_process=n_process), strict=True):
            assert doc.cats == pytest.approx(cats, abs=1e-6)


def test_without_the_linear_model_it_says_what_is_missing(toy_assets, run, make_variant):
    assert run("convert", "toy", "corpus").returncode == 0
    make_variant("both", "bow", "parts/with-linear", code=CODE)
    process = run("train", "both", "--max-epochs", 1)
    assert process.returncode == 1 and "linear.npz: No such file" in process.output
