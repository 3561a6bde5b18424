"""Other tools are trained, stored, scored and measured like variants; their pitfalls are avoided."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from scripts.baselines import train_baselines
from scripts.baselines.classifiers import fasttext_line, load_fasttext, load_peer, squash
from scripts.baselines.train_baselines import (
    PEERS,
    Data,
    Split,
    choose_peers,
    fit_fasttext,
    fit_quantized,
    fit_regression,
    fit_svm,
    score_on_dev,
)
from scripts.common.cli import UserError
from scripts.report.report import make_markdown
from scripts.report.results import REQUIRED, get, load_results
from tests.conftest import DESKS, ROOT, message, toy_records
from tests.report.test_page import Page
from tests.report.test_report import metrics  # noqa: F401

LABELS = sorted(DESKS)
fasttext = pytest.importorskip("fasttext", reason="fastText is not installed (requirements-baselines.txt)")


def toy_split(start, multi=False):
    """Every second toy record: texts, and bool (texts, labels); with `multi`, some have two labels and some none."""
    records = toy_records()[start::2]
    gold = np.array([[record["label"] == label for label in LABELS] for record in records])
    if multi:
        gold[::5] = False
        gold[1::5, 0] = True
    return Split([record["text"] for record in records], gold)


def write_vectors(path, rows=300, width=8):
    """Random vectors of the toy words, and of as many others as make up `rows`."""
    rng = np.random.default_rng(0)
    words = sorted({word for record in toy_records() for word in fasttext_line(record["text"]).split()})
    words += [f"other{i}" for i in range(rows - len(words))]
    lines = [f"{word} " + " ".join(f"{x:.4f}" for x in rng.normal(0, 2, width)) for word in words]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"{len(words)} {width}", *lines, ""]))


@pytest.mark.parametrize("fit", [fit_svm, fit_regression])
def test_a_label_that_all_texts_have(tmp_path, fit):
    gold = np.array([[True, True, False], [True, False, False], [True, True, False], [True, False, False]])
    data = Data(Split(["a"] * 4, gold), Split(["a"] * 4, gold), False, tmp_path / "none", tmp_path / "none", 0)
    W, b = fit(np.eye(4, dtype="float32"), gold, 1.0, data)
    assert W.shape == (4, 3) and ((np.eye(4) @ W + b > 0) == gold).all()


@pytest.fixture
def data(tmp_path):
    write_vectors(tmp_path / "words.txt")
    return Data(toy_split(0), toy_split(1), True, tmp_path / "words.txt", tmp_path / "none", 0)


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A folder as convert writes it, and vectors; few settings to try; scripts can be run from here."""
    nlp = spacy.blank("en")
    (tmp_path / "corpus").mkdir()
    for name, split in (("train", toy_split(0)), ("dev", toy_split(1)), ("test", toy_split(1))):
        docs = DocBin(attrs=["ORTH", "SPACY"])
        for text, gold in zip(split.texts, split.gold, strict=True):
            doc = nlp.make_doc(text)
            doc.cats = dict(zip(LABELS, map(float, gold), strict=True))
            docs.add(doc)
        docs.to_disk(tmp_path / "corpus" / f"{name}.spacy")
    task = {"dataset": "toy", "lang": "en", "exclusive": True, "labels": LABELS, "md5": {}}
    srsly.write_json(tmp_path / "corpus" / "task.json", task)
    write_vectors(tmp_path / "training" / "vectors" / "words.txt")
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.setattr(train_baselines, "FASTTEXT_ALONE", ())
    monkeypatch.setattr(train_baselines, "FASTTEXT_QUANTIZED", train_baselines.FASTTEXT_QUANTIZED[:2])
    return tmp_path


def test_results_have_all_that_a_variants_have(corpus, metrics, run):  # noqa: F811
    process = run("train_baselines", "metrics", "--only", "tfidf-svm,fasttext-ftz", "--repeats", 1)
    assert process.returncode == 0, process.output
    results = load_results(metrics, "toy")
    assert {peer["variant"] for peer in results.peers} == {"tfidf-svm", "fasttext-ftz"}
    for peer in results.peers:
        own = set(REQUIRED) - {"size.vectors_bytes", "speed.tokenizer_docs_per_s"}
        assert [name for name in own if get(peer, name) is None and not name.startswith("baseline")] == []
        assert peer["scores"]["macro_f1"] > 0.8 and peer["dev"]["documents"] == 36
        folder = corpus / "training" / "peers" / peer["variant"]
        assert peer["size"]["pipeline_bytes"] == sum(f.stat().st_size for f in (folder / "model").glob("*"))
        predictions = list(srsly.read_jsonl(folder / "predictions.jsonl"))
        right = [max(doc["cats"], key=doc["cats"].get) in doc["gold"] for doc in predictions]
        assert np.mean(right) == pytest.approx(peer["scores"]["accuracy"])
    seeds = {peer["variant"]: list(peer["seeds"]) for peer in results.peers}
    assert seeds == {"tfidf-svm": ["0"], "fasttext-ftz": ["0", "1", "2"]}
    # The report shows them apart from the variants.
    markdown = make_markdown(results, "")
    after = markdown.partition("| **other tools** |")[2]
    assert "| *fasttext-ftz* |" in after and "| good" not in after
    assert run("report", "metrics", "--dataset", "toy").returncode == 0
    assert "tfidf-svm peer" in Page((metrics / "report.html").read_text(encoding="utf-8")).text
    assert "tfidf-svm" in (metrics / "report.svg").read_text(encoding="utf-8")


def test_a_tool_that_fails_does_not_stop_the_others(corpus, run):
    write_vectors(corpus / "training" / "vectors" / "words.txt", rows=0)
    found = message(run("train_baselines", "metrics", "--only", "fasttext-ftz,model2vec,tfidf-svm", "--repeats", 1))
    assert "fasttext-ftz: fastText quantizes models of 256 words or more" in found
    assert "transformer: no encoder. Fetch it: python -m spacy project run weights" in found
    assert "2 of 3 tools failed: fasttext-ftz, model2vec" in found
    assert [path.name for path in (corpus / "metrics" / "peers").iterdir()] == ["tfidf-svm.json"]


def test_missing_packages_and_names_are_named(monkeypatch):
    monkeypatch.setattr(train_baselines, "find_spec", lambda module: None if module == "fasttext" else module)
    assert choose_peers("tfidf-svm") == ["tfidf-svm"]
    with pytest.raises(UserError, match="Not installed: fasttext-community.*pip install -r requirements-baselines.txt"):
        choose_peers("all")
    with pytest.raises(UserError, match="there is no 'svm'. Choose from: tfidf-svm, fasttext"):
        choose_peers("svm")


def test_no_corpus(run):
    assert "task.json: cannot be read" in message(run("train_baselines", "metrics", "--only", "tfidf-svm"))


def test_only_what_a_tool_needs_is_loaded():
    found = "{'spacy', 'torch', 'sklearn', 'scipy'} & set(sys.modules)"
    code = f"import sys, scripts.baselines.measure_baseline; print({found})"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"


# Linear layers


def test_logistic_regression_gives_the_probabilities_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    for n_labels in (2, 4):
        features, classes = rng.normal(size=(60, 5)), np.arange(60) % n_labels
        gold = np.eye(n_labels, dtype=bool)[classes]
        settings = Data(Split([], gold), Split([], gold), True, None, None, 0)
        weights, bias = fit_regression(features, gold, 1.0, settings)
        expected = LogisticRegression(C=1.0, max_iter=2000).fit(features, classes).predict_proba(features)
        assert squash(features @ weights + bias, True) == pytest.approx(expected)
        several = replace(settings, exclusive=False)
        weights, bias = fit_regression(features, gold, 1.0, several)
        expected = LogisticRegression(C=1.0, max_iter=2000).fit(features, gold[:, 0]).predict_proba(features)[:, 1]
        assert squash(features @ weights + bias, False)[:, 0] == pytest.approx(expected)


def test_labels_that_do_not_exclude_each_other_get_a_threshold_from_dev():
    gold = np.array([[True, False], [True, True], [False, False]])
    data = Data(Split([], gold), Split([], gold), False, None, None, 0)
    score, threshold = score_on_dev(np.array([[0.3, 0.1], [0.3, 0.3], [0.1, 0.1]]), data)
    assert score == 1.0 and 0.1 < threshold <= 0.3


@pytest.mark.parametrize("name", ["tfidf-svm", "fasttext"])
def test_any_number_of_labels(data, tmp_path, monkeypatch, name):
    monkeypatch.setattr(train_baselines, "FASTTEXT_ALONE", ())
    data = replace(data, train=toy_split(0, multi=True), dev=toy_split(1, multi=True), exclusive=False)
    task = {"labels": LABELS, "exclusive": False}
    (tmp_path / "model").mkdir()
    _, threshold = train_baselines.train_peer(PEERS[name], data, task, tmp_path / "model")
    scores = load_peer(tmp_path / "model", best_only=True)(data.train.texts)
    assert scores.shape == data.train.gold.shape and 0 <= scores.min() <= scores.max() <= 1
    assert ((scores >= threshold) == data.train.gold).mean() > 0.7
    assert 0 < srsly.read_json(tmp_path / "model" / "peer.json")["threshold"] < 1


# fastText


def test_fasttext_starts_from_the_vectors_as_they_are(data, tmp_path):
    (tmp_path / "model").mkdir()
    fit_fasttext(data, tmp_path / "model", {"lr": 0.0, "epoch": 1})
    model = fasttext.load_model(str(tmp_path / "model" / "model.bin"))
    with data.vectors.open() as lines:
        next(lines)
        word, *values = next(lines).split()
    row = model.get_input_matrix()[model.get_word_id(word)]
    assert row == pytest.approx(np.array(values, dtype=float), abs=1e-4), "not divided by its length"


def test_one_thread_fills_the_whole_table(data, tmp_path):
    """With other packages of fastText nine tenths stay zero, or hold what was in memory before."""
    (tmp_path / "model").mkdir()
    fit_fasttext(data, tmp_path / "model", {"lr": 0.0, "epoch": 1, "dim": 10, "minn": 3, "maxn": 5, "bucket": 2000})
    table = fasttext.load_model(str(tmp_path / "model" / "model.bin")).get_input_matrix()
    assert (np.abs(table).max(1) > 0).all() and np.abs(table).max() <= 1 / 10


def test_fasttext_gives_every_score_or_only_the_best(data, tmp_path):
    (tmp_path / "model").mkdir()
    fit_fasttext(data, tmp_path / "model", {"lr": 0.3, "epoch": 25})
    texts = ["", "unheard of", *data.dev.texts]
    every = load_fasttext(tmp_path / "model", len(LABELS))(texts)
    best = load_fasttext(tmp_path / "model", len(LABELS), best_only=True)(texts)
    assert every.sum(1) == pytest.approx(1, abs=1e-3)
    assert ((best > 0).sum(1) == 1).all() and best.max(1) == pytest.approx(every.max(1))


def test_the_same_again(data, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        fit = fit_quantized(data, tmp_path / name, {"lr": 0.3, "epoch": 5, "dsub": 2, "cutoff": 0})
        assert fit.settings == {"lr": 0.3, "epoch": 5, "dsub": 2, "cutoff": 0}
    assert (tmp_path / "a" / "model.ftz").read_bytes() == (tmp_path / "b" / "model.ftz").read_bytes()


def test_words_and_marks_are_split():
    assert fasttext_line("Don't  PANIC!\n(yet)") == "don ' t panic ! ( yet )"


# What builds on an encoder


def test_static_vectors_and_frozen_encoder(data, tmp_path, monkeypatch):
    pytest.importorskip("model2vec", reason="Model2Vec is not installed (requirements-baselines.txt)")
    from tests.encoder.test_transformer import hidden_states, make_encoder

    monkeypatch.setattr(train_baselines, "STATIC_WIDTHS", (4, 8))
    data = replace(data, encoder=make_encoder(tmp_path / "tiny"))
    task = {"labels": LABELS, "exclusive": True}
    for name in ("model2vec", "frozen-encoder"):
        (tmp_path / name).mkdir()
        fit, _ = train_baselines.train_peer(PEERS[name], data, task, tmp_path / name)
        assert fit.settings["C"] in train_baselines.REGRESSION_C
        scores = load_peer(tmp_path / name)(["", *data.dev.texts])
        assert scores.sum(1) == pytest.approx(1, abs=1e-5)
    encode = train_baselines.ENCODERS["encoder"][0](tmp_path / "frozen-encoder")
    texts = ["The goal", "The bank and the shares of a firm"]
    means = hidden_states(data.encoder, texts).numpy()
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    assert encode(texts) == pytest.approx(expected, abs=5e-3), "half precision, and padding does not count"
    # Broken tables (padding that drowns the words, arrays stored in another order) make all texts alike.
    vectors = train_baselines.ENCODERS["model2vec"][0](tmp_path / "model2vec")(
        ["goal", "bank", "goal bank", "bank goal"]
    )
    assert vectors[0] @ vectors[1] < 0.9
    assert vectors[2] == pytest.approx(vectors[3])
    halves = vectors[0] + vectors[1]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5) and halves @ vectors[2] > 0
