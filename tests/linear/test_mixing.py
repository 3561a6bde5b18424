"""How much say the linear model gets, and that what is stored is the sum of both."""

import shutil
from collections import Counter

import numpy as np
import pytest
import spacy
import srsly
from scipy.special import expit
from spacy.cli.train import train as spacy_train
from spacy.tokens import DocBin
from spacy.util import load_config

from scripts.components import LINEAR_PARAMS, _compact_predict, linear_logits, mix_linear, set_linear
from scripts.data.convert import convert
from scripts.encoder.quantize import build_table
from scripts.evaluation.thresholds import best_threshold, gold_and_scores, gold_of
from scripts.linear import mixing
from scripts.linear.fit_linear import fit_linear
from scripts.linear.mixing import (
    START,
    Choice,
    Mix,
    adjust,
    choose_again,
    choose_weights,
    finish,
    left_out_scores,
    logits_of,
    mix,
    store,
)
from scripts.training.config import write_config
from scripts.training.fitting import fit
from scripts.training.train import join_texts
from tests.conftest import DESKS, ROOT, toy_records


def judged(seed, n, good, exclusive):
    """Gold labels, and logits of a classifier that knows them and of one that guesses."""
    rng = np.random.default_rng(seed)
    gold = np.eye(3, dtype=bool)[rng.integers(3, size=n)] if exclusive else rng.random((n, 3)) < 0.3
    knows = np.where(gold, good, -good) + rng.normal(0, 1, gold.shape)
    return gold, knows, rng.normal(0, 1, gold.shape)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_better_classifier_gets_the_say(exclusive):
    gold, knows, guesses = judged(0, 300, 2.0, exclusive)
    own, linear, _ = choose_weights(knows, guesses, gold, exclusive)
    assert own > 3 * linear
    own, linear, bias = choose_weights(guesses, knows, gold, exclusive)
    assert linear > 3 * own and (bias == 0) == exclusive


def test_five_texts_change_little():
    gold, knows, guesses = judged(1, 5, 1.0, True)
    weights = choose_weights(guesses, knows, gold, True)
    assert weights[:2] == pytest.approx(START, rel=0.9)


def test_logits_of_probabilities():
    probabilities = np.array([[0.2, 0.7, 0.1]])
    odds = np.exp(logits_of(probabilities, exclusive=True))
    assert odds / odds.sum() == pytest.approx(probabilities)
    assert 1 / (1 + np.exp(-logits_of(probabilities, exclusive=False))) == pytest.approx(probabilities)


def make_corpus(folder, **splits):
    """A corpus of these records in a folder, and linear.npz fitted to it."""
    assets = folder / "assets" / "toy"
    assets.mkdir(parents=True)
    for name, records in splits.items():
        srsly.write_jsonl(assets / f"{name}.jsonl", records)
    (folder / "project.yml").write_text("assets: []\n", encoding="utf-8")
    corpus = folder / "corpus"
    # The steps are called as functions, with paths of this folder.
    convert("toy", corpus, assets=folder / "assets", project=folder / "project.yml")
    fit_linear(corpus / "train.spacy", corpus / "dev.spacy", folder / "linear.npz", task=corpus / "task.json")


def train_variant(folder, variant, passes, **paths):
    """Train a variant on the corpus of a folder: folder/run."""
    corpus = folder / "corpus"
    paths |= {"linear": folder / "linear.npz"} | {split: corpus / f"{split}.spacy" for split in ("train", "dev")}
    settings = {f"paths.{name}": path.as_posix() for name, path in paths.items()}
    config = folder / "run" / "config.cfg"
    write_config(ROOT / "configs" / f"{variant}.cfg", config, corpus, folder / "training", 0, passes, -1, settings)
    fit([config], folder / "run")


@pytest.fixture(scope="module")
def compact(tmp_path_factory):
    """A folder with a toy corpus, and `compact` trained on it in some passes, with vectors that know the labels."""
    folder = tmp_path_factory.mktemp("compact")
    make_corpus(folder, train=toy_records())
    rng = np.random.default_rng(0)
    words = [word for words in DESKS.values() for word in words]
    domain = {word: (np.eye(8)[i // 8] + 0.1 * rng.normal(size=8)).astype("float32") for i, word in enumerate(words)}
    np.savez(folder / "table.npz", **build_table(Counter(dict.fromkeys(words, 5)), domain, None, 8, 4000, 0.6))
    train_variant(folder, "compact", 3, table=folder / "table.npz")
    return folder


def test_what_is_stored_is_the_sum_of_both(compact):
    nlp = spacy.load(compact / "run" / "model-best")
    model = nlp.get_pipe("textcat").model
    assert model.attrs["mixed"], "the training has weighed them"
    docs = [nlp.make_doc(text) for text in ("the goal of the cup", "", "shares of the bank")]
    linear = linear_logits(model.get_ref("linear"), docs)
    model.attrs["mixed"] = False
    own = _compact_predict(model, docs)
    mix_linear(model, 0.5, 2.0)
    assert _compact_predict(model, docs) == pytest.approx(0.5 * own + 2.0 * linear, rel=1e-3, abs=1e-3)


def test_the_linear_model_knows_dev_in_the_end_with_the_same_say(compact):
    part = spacy.load(compact / "run" / "model-best").get_pipe("textcat").model.get_ref("linear")
    known = np.load(compact / "linear.npz")
    assert part.get_param("keys").tolist() == known["final_keys"].tolist() != known["keys"].tolist()
    weights = part.get_param("scales") / known["final_scales"]
    assert weights == pytest.approx(weights[0, 0]) and weights[0, 0] != pytest.approx(1)
    dev = srsly.read_json(compact / "run" / "train.json")["dev"]
    assert dev.keys() == {"macro_f1", "accuracy", "documents", "even_documents"}
    assert 0 <= srsly.read_json(compact / "run" / "train.json")["logit_adjustment"] <= 1


def test_favouring_rare_labels_moves_the_logits_and_outlives_the_exchange(compact, tmp_path, monkeypatch):
    monkeypatch.setattr(mixing, "best_adjustment", lambda gold, logits, prior: 0.5)
    model, corpus = tmp_path / "model", compact / "corpus"
    shutil.copytree(compact / "run" / "model-best", model)
    nlp, text = spacy.load(model), "the goal of the bank and the singer"
    before = np.log(np.array([*nlp(text).cats.values()]))
    found, added = adjust(nlp, compact / "linear.npz", corpus / "train.spacy", corpus / "dev.spacy")
    after = np.log(np.array([*nlp(text).cats.values()]))
    gold = gold_of(corpus / "train.spacy", list(nlp.get_pipe("textcat").labels))
    assert found == 0.5 and added - added[0] == pytest.approx(-0.5 * np.log(gold.sum(0) / gold.sum(0)[0]), abs=1e-5)
    assert after - after[0] == pytest.approx(before - before[0] + added - added[0], abs=1e-3)
    finish(nlp, compact / "linear.npz", Choice(1.0, 0.7, 0.0, added=added), Mix())
    store(nlp, model)
    assert not (model / "textcat" / "vocab").exists(), "the words that it has met stay out"
    bias = spacy.load(model).get_pipe("textcat").model.get_ref("linear").get_param("bias")
    assert bias == pytest.approx(0.7 * np.load(compact / "linear.npz")["final_bias"] + added, abs=1e-5)


def test_with_a_large_dev_the_weights_are_those_of_the_model_that_has_learned_from_it(compact, tmp_path):
    nlp, corpus = spacy.load(compact / "run" / "model-best"), compact / "corpus"
    pipe, train, dev = nlp.get_pipe("textcat"), corpus / "train.spacy", corpus / "dev.spacy"
    assert choose_again(nlp, compact / "linear.npz", train, dev, Mix()) is None, "a tenth of all is not large"
    pipe.model.attrs["mixed"] = False
    known = dict(np.load(compact / "linear.npz"))
    gold = np.concatenate([gold_of(path, known["labels"].tolist()) for path in (train, dev)])
    np.savez(tmp_path / "linear.npz", **known, final_left_out=np.where(gold, 4.0, 0.0))
    mixed = mix(nlp, dev)
    found = choose_again(nlp, tmp_path / "linear.npz", train, dev, mixed)
    gold = gold_of(dev, list(pipe.labels))
    factor, weight, _ = choose_weights(mixed.trained, np.where(gold, 4.0, 0.0), gold, True)
    assert found.weight == pytest.approx(weight) and found.thresholds is None
    assert found.adjustment == 0 and not found.added.any(), "where all is right, nothing is favoured"
    finish(nlp, tmp_path / "linear.npz", found, mixed)
    silent = {name: np.load(compact / "linear.npz")[name] for name in LINEAR_PARAMS}
    set_linear(pipe.model.get_ref("linear"), silent | {"scales": 0 * silent["scales"], "bias": 0 * silent["bias"]})
    pipe.to_disk(tmp_path / "textcat")
    pipe.from_disk(tmp_path / "textcat")
    own = logits_of(gold_and_scores(nlp, dev)[1], True)
    expected = factor * mixed.trained
    assert own - own[:, :1] == pytest.approx(expected - expected[:, :1], abs=1e-2)


def test_what_was_chosen_is_trained_once_more_on_train_and_dev(compact, tmp_path):
    corpus, first = compact / "corpus", compact / "run"
    join_texts([corpus / "train.spacy", corpus / "dev.spacy"], tmp_path / "both.spacy")
    texts = [doc.text for doc in DocBin().from_disk(tmp_path / "both.spacy").get_docs(spacy.blank("en").vocab)]
    assert len(texts) == len(gold_of(corpus / "train.spacy", ["film"])) + len(gold_of(corpus / "dev.spacy", ["film"]))
    again = tmp_path / "again.cfg"
    load_config(first / "config.cfg").merge({"paths": {"train": str(tmp_path / "both.spacy")}}).to_disk(again)
    fit([first / "config.cfg"], tmp_path / "run", again=[again])
    before, after = (spacy.load(run / "model-best") for run in (first, tmp_path / "run"))
    old, new = (nlp.get_pipe("textcat").model for nlp in (before, after))
    assert (old.get_ref("hidden").get_param("W") != new.get_ref("hidden").get_param("W")).any()
    for name in LINEAR_PARAMS:
        assert (old.get_ref("linear").get_param(name) == new.get_ref("linear").get_param(name)).all()
    old_facts, facts = (srsly.read_json(run / "train.json") for run in (first, tmp_path / "run"))
    same = ("dev", "dev_alone", "logit_adjustment", "judgement")
    assert {name: facts[name] for name in same} == {name: old_facts[name] for name in same}, "chosen before"
    assert (tmp_path / "run" / "config.cfg").read_bytes() == (first / "config.cfg").read_bytes()
    assert before.config["paths"] == after.config["paths"]
    # Alone it is what spaCy trains on both.
    spacy_train(again, tmp_path / "alone")
    alone = spacy.load(tmp_path / "alone" / "model-last").get_pipe("textcat").model.get_ref("output").get_param("W")
    W = new.get_ref("output").get_param("W")
    factor = (W * alone).sum() / (alone**2).sum()
    assert np.allclose(W, factor * alone, rtol=1e-3, atol=1e-5) and factor != pytest.approx(1)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A folder with a toy corpus of several labels, as much of it in dev as in train, and `linear` trained on it."""
    folder = tmp_path_factory.mktemp("several")
    records = [{"text": record["text"], "labels": [record["label"]]} for record in toy_records()]
    for i, record in enumerate(records):
        if i % 5 == 0:
            record |= {"text": f"Rain on day {i}", "labels": []}
    make_corpus(folder, train=records[::3], dev=records[1::3], test=records[2::3])
    train_variant(folder, "linear", 1)
    return folder


def test_with_a_large_dev_the_threshold_is_that_of_the_model_that_has_learned_from_it(several):
    corpus, known = several / "corpus", np.load(several / "linear.npz")
    labels, splits = known["labels"].tolist(), [corpus / f"{split}.spacy" for split in ("train", "dev")]
    gold = np.concatenate([gold_of(split, labels) for split in splits])
    assert known["final_left_out"].shape == gold.shape and len(known["left_out"]) == 24
    pipe = spacy.load(several / "run" / "model-best").get_pipe("textcat")
    assert pipe.cfg["threshold"] == best_threshold(gold, expit(known["final_left_out"].astype(float)))
    assert pipe.model.get_ref("scores").get_param("bias") == pytest.approx(known["final_bias"])
    assert srsly.read_json(several / "run" / "train.json")["dev"]["thresholds"].keys() == set(labels)


def test_it_learns_and_survives_storage(compact, tmp_path):
    nlp = spacy.load(compact / "run" / "model-best")
    texts = ["The striker and coach of day 3", "The bank and dollar of day 4", "The oscar and singer of day 5"]
    found = [max(doc.cats, key=doc.cats.get) for doc in nlp.pipe(texts)]
    assert found == ["sport", "money", "film"]
    nlp.to_disk(tmp_path / "again")
    again = spacy.load(tmp_path / "again")
    assert [doc.cats for doc in again.pipe(texts)] == [doc.cats for doc in nlp.pipe(texts)]


def test_left_out_scores_are_those_of_the_training_texts(compact):
    gold, scores = left_out_scores(compact / "linear.npz", compact / "corpus" / "train.spacy", ["sport", "film"])
    assert gold.shape == scores.shape and gold.shape[1] == 2
    assert scores[gold].mean() > scores[~gold].mean() + 0.2
