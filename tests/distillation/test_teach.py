"""scripts/encoder/teach.py and the reader of its texts: sentences, cache, soft targets; the student is a textcat."""

import subprocess
import sys

import numpy as np
import pytest
import spacy
import srsly
from scripts.encoder.crossfit import crossfit
from scripts.encoder.teach import label, read_cache
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_loop
from spacy.util import load_config_from_str

from scripts.common.files import md5_folder
from scripts.components import TaughtCorpus, soften
from scripts.vectors.sentences import MAX_WORDS, choose, sentences, text_key
from tests.conftest import message

CATS = {"a": 0.75, "b": 0.25}


def save(path, texts):
    """Write a DocBin of texts and their cats."""
    nlp = spacy.blank("en")
    docs = DocBin(attrs=["ORTH", "SPACY"])
    for text, cats in texts.items():
        doc = nlp.make_doc(text)
        doc.cats = cats
        docs.add(doc)
    docs.to_disk(path)
    return path


@pytest.fixture
def teacher(tmp_path):
    """A teacher on disk that calls goals b and shares a."""
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "textcat",
        config={
            "model": {
                "@architectures": "spacy.TextCatBOW.v3",
                "exclusive_classes": True,
                "ngram_size": 1,
                "no_output_layer": False,
                "length": 1024,
            }
        },
    )
    texts = {"goal match": "b", "shares fall": "a"}
    examples = [
        Example.from_dict(nlp.make_doc(text), {"cats": {name: float(name == gold) for name in "ab"}})
        for text, gold in texts.items()
    ]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(40):
        nlp.update(examples, sgd=optimizer)
    nlp.to_disk(tmp_path / "teacher")
    return tmp_path / "teacher"


class Counting:
    """A pipeline that counts the texts it is given."""

    def __init__(self, stop_after=10**9):
        self.nlp, self.texts, self.stop_after = spacy.blank("en"), [], stop_after

    def pipe(self, texts, batch_size):
        for text in texts:
            if len(self.texts) >= self.stop_after:
                raise KeyboardInterrupt
            self.texts.append(text)
            doc = self.nlp.make_doc(text)
            doc.cats = dict(CATS)
            yield doc


def test_sentences_are_different_and_of_fair_length():
    raw = ["A goal in the match. Yes. Shares fall again today!", "A goal in the match.", "word " * (MAX_WORDS + 1)]
    found = list(sentences(raw, "en"))
    assert found == ["A goal in the match.", "Shares fall again today!", "A goal in the match."]
    assert sorted(choose(found, 9)) == ["A goal in the match.", "Shares fall again today!"]


def test_the_sample_hardly_moves_when_texts_are_added():
    texts = [f"text {i}" for i in range(200)]
    before, after = choose(texts, 100), choose([*texts, "another"], 100)
    assert len(before) == 100
    assert len(set(before) & set(after)) >= 99
    assert choose(reversed(texts), 100) == before


def test_the_sample_is_of_different_texts_by_their_hashes():
    texts = [f"text {i % 500}" for i in range(2000)]
    assert choose(iter(texts), 60) == sorted(set(texts), key=text_key)[:60]
    assert choose(iter(texts), 1000) == sorted(set(texts), key=text_key)


def test_an_interrupted_labelling_goes_on(tmp_path):
    texts, cache = [f"text {i}" for i in range(300)], tmp_path / "cache.jsonl"
    with pytest.raises(KeyboardInterrupt):
        label(Counting(stop_after=200), texts, cache, "teacher 1")
    assert len(read_cache(cache, "teacher 1")) >= 128
    with cache.open("a") as stream:
        stream.write('{"text": "cut o')
    second = Counting()
    labels = label(second, texts, cache, "teacher 1")
    assert 0 < len(second.texts) <= 172
    assert labels == {text_key(text): CATS for text in texts}
    third = Counting()
    assert label(third, texts, cache, "teacher 1") == labels
    assert third.texts == []


def test_the_cache_belongs_to_one_teacher(tmp_path):
    cache = tmp_path / "cache.jsonl"
    label(Counting(), ["a text"], cache, "teacher 1")
    other = Counting()
    label(other, ["a text"], cache, "teacher 2")
    assert other.texts == ["a text"]
    assert read_cache(cache, "teacher 1") == {}


def test_the_key_of_a_teacher_changes_with_its_files(tmp_path):
    (tmp_path / "a").write_text("1")
    before = md5_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = md5_folder(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({before, renamed, md5_folder(tmp_path)}) == 3


def test_teach(tmp_path, teacher, run):
    save(tmp_path / "train.spacy", {"goal match of the day": {"a": 0.0, "b": 1.0}})
    texts = ["goal after goal in the match . shares fall and fall .", "the shares of today fall ."]
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": text} for text in texts])
    process = run("teach", "teacher", "raw.jsonl", "train.spacy", "out/taught.spacy", "--limit", "2")
    assert process.returncode == 0, process.output
    docs = list(DocBin().from_disk(tmp_path / "out" / "taught.spacy").get_docs(spacy.blank("en").vocab))
    assert len(docs) == 2
    nlp = spacy.load(teacher)
    for doc in docs:
        assert doc.cats == pytest.approx(nlp(doc.text).cats, abs=1e-4)


def test_training_texts_are_labelled_by_an_encoder_that_has_not_seen_their_labels(tmp_path, run, monkeypatch):
    """Two clouds of vectors; one text stands in the wrong one, and is not believed."""
    labels = {f"text {i}": "ab"[i % 2] for i in range(60)} | {"text 0": "b"}
    cats = {text: {name: float(name == label) for name in "ab"} for text, label in labels.items()}
    save(tmp_path / "train.spacy", cats)
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": text} for text in labels])

    def embed(folder, texts, cache=None):
        return np.asarray([[1.0, i % 5 / 10] if i % 2 else [-1.0, i % 5 / 10] for i in range(len(texts))])

    monkeypatch.setattr("scripts.encoder.teach.embed", embed)
    process = run("teach", "none", "raw.jsonl", "train.spacy", "taught.spacy", "--encoder", "encoder")
    assert process.returncode == 0, process.output
    assert "training texts only" in process.output
    docs = list(DocBin().from_disk(tmp_path / "taught.spacy").get_docs(spacy.blank("en").vocab))
    taught = {doc.text: doc.cats for doc in docs}
    assert taught["text 0"]["a"] > 0.8 and taught["text 2"]["a"] > 0.8 and taught["text 3"]["b"] > 0.8
    assert all(sum(values.values()) == pytest.approx(1) for values in taught.values())


@pytest.mark.parametrize("exclusive", [True, False])
def test_crossfit_gives_probabilities_of_rare_labels_too(exclusive):
    rng = np.random.default_rng(0)
    gold = np.eye(3)[[0] * 20 + [1] * 19 + [2]]
    if not exclusive:
        gold[:5, 1] = 1
    vectors = gold + rng.normal(scale=0.1, size=gold.shape)
    probabilities = crossfit(vectors, gold, exclusive)
    assert probabilities.shape == gold.shape
    assert (probabilities >= 0).all() and (probabilities <= 1).all()
    assert ((probabilities > 0.5) == (gold > 0.5))[:39].all()
    assert probabilities[39, 2] < 0.1  # the only text of its label is never learned from


def test_teach_errors(tmp_path, teacher, run):
    assert "t.spacy: no training texts" in message(run("teach", "teacher", "raw.jsonl", "t.spacy", "o.spacy"))
    save(tmp_path / "t.spacy", {"goal": CATS})
    assert "none: no trained pipeline" in message(run("teach", "none", "raw.jsonl", "t.spacy", "o.spacy"))
    assert "raw.jsonl: no such file" in message(run("teach", "teacher", "raw.jsonl", "t.spacy", "o.spacy"))
    no_gpu = message(run("teach", "teacher", "raw.jsonl", "t.spacy", "o.spacy", "--gpu-id", "99"))
    assert "GPU 99 cannot be used" in no_gpu
    (tmp_path / "raw.jsonl").write_text('{"text": "too short"}\n', encoding="utf-8")
    assert "holds no sentence" in message(run("teach", "teacher", "raw.jsonl", "t.spacy", "o.spacy"))
    assert not (tmp_path / "o.spacy").exists()


@pytest.mark.parametrize("exclusive", [True, False])
def test_temperature_divides_the_logits(exclusive):
    assert soften(CATS, 1.0, exclusive) == pytest.approx(CATS, abs=1e-6)
    softer = soften(CATS, 2.0, exclusive)
    assert np.log(softer["a"] / (1 - softer["a"])) == pytest.approx(np.log(3) / 2)
    if exclusive:
        assert sum(softer.values()) == pytest.approx(1)
    assert soften({"a": 1.0, "b": 0.0}, 5.0, exclusive)["a"] < 1


@pytest.mark.parametrize(("weight", "n_gold", "n_soft"), [(0.5, 6, 6), (0.75, 2, 6), (0.25, 18, 6), (0.9, 2, 18)])
def test_the_teacher_gets_its_share(tmp_path, weight, n_gold, n_soft):
    gold = save(tmp_path / "gold.spacy", {"goal": {"a": 0.0, "b": 1.0}, "shares": {"a": 1.0, "b": 0.0}})
    soft = save(tmp_path / "soft.spacy", {f"text {i}": CATS for i in range(6)})
    examples = list(TaughtCorpus(gold, soft, weight)(spacy.blank("en")))
    hard = [example for example in examples if set(example.reference.cats.values()) == {0.0, 1.0}]
    assert (len(hard), len(examples) - len(hard)) == (n_gold, n_soft)


@pytest.mark.parametrize(("settings", "error"), [((0.0,), "teacher_weight"), ((0.5, 0.0), "temperature")])
def test_senseless_settings_are_refused(tmp_path, settings, error):
    with pytest.raises(ValueError, match=error):
        TaughtCorpus(tmp_path, tmp_path, *settings)


CONFIG = """
[nlp]
lang = "en"
pipeline = ["textcat"]
[components]
[components.textcat]
factory = "FACTORY"
[components.textcat.model]
@architectures = "spacy.TextCatBOW.v3"
exclusive_classes = EXCLUSIVE
ngram_size = 1
no_output_layer = false
length = 1024
[corpora]
[corpora.train]
@readers = "textcat_ladder.TaughtCorpus.v1"
path = "gold.spacy"
taught = "soft.spacy"
[corpora.dev]
@readers = "spacy.Corpus.v1"
path = "gold.spacy"
[training]
seed = 0
gpu_allocator = null
train_corpus = "corpora.train"
dev_corpus = "corpora.dev"
max_epochs = 60
eval_frequency = 20
[training.optimizer]
@optimizers = "Adam.v1"
learn_rate = 0.02
"""


@pytest.mark.slow
@pytest.mark.parametrize("factory", ["textcat", "textcat_multilabel"])
def test_the_student_learns_probabilities_and_loads_without_code(tmp_path, monkeypatch, factory):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "gold.spacy", {"goal": {"a": 0.0, "b": 1.0}, "shares": {"a": 1.0, "b": 0.0}})
    save(tmp_path / "soft.spacy", {"album film": CATS, "film": CATS})
    text = CONFIG.replace("FACTORY", factory).replace("EXCLUSIVE", str(factory == "textcat").lower())
    (tmp_path / "student").mkdir()
    nlp = init_nlp(load_config_from_str(text, interpolate=False))
    nlp, _ = train_loop(nlp, tmp_path / "student", stdout=sys.stderr)
    nlp = spacy.load(tmp_path / "student" / "model-last")
    assert nlp("film").cats["a"] == pytest.approx(0.75, abs=0.08)
    assert nlp("goal").cats["b"] > 0.8
    script = "import sys, spacy; print(spacy.load(sys.argv[1])('film').cats)"
    command = [sys.executable, "-c", script, str(tmp_path / "student" / "model-last")]
    process = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    assert process.stdout.strip() == str(nlp("film").cats)
