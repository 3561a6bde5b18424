"""The reader of a teacher's texts, in both ways, and the students that learn from them."""

import subprocess
import sys

import numpy as np
import pytest
import spacy
from spacy.tokens import DocBin
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_loop
from spacy.util import load_config_from_str

from scripts.components import TaughtCorpus, _compact_predict, soften
from tests.test_components import make_table

CATS = {"a": 0.75, "b": 0.25}
LOGITS = {"a": float(np.log(3)), "b": 0.0}
COMPACT_NAME, LOGITS_MODEL = "textcat_ladder.TextCatCompact.v2", {"exclusive_classes": True, "learns": "logits"}
GOLD = {"goal": {"a": 0.0, "b": 1.0}, "shares": {"a": 1.0, "b": 0.0}}


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
def files(tmp_path):
    """Labelled texts, sentences and copies."""
    sentences = {f"text {i}": LOGITS for i in range(6)}
    return [
        save(tmp_path / f"{name}.spacy", texts)
        for name, texts in {"gold": GOLD, "sentences": sentences, "copies": dict.fromkeys(GOLD, LOGITS)}.items()
    ]


def without(files, *numbers):
    """The same files, of which some hold no texts."""
    for number in numbers:
        save(files[number], {})
    return files


def read(corpus, nlp=None):
    return [(example.text, example.reference.cats) for example in corpus(nlp or spacy.blank("en"))]


@pytest.mark.parametrize("exclusive", [True, False])
def test_temperature_divides_the_logits(exclusive):
    def odds(temperature):
        p = soften({"a": 3.0, "b": -1.0}, temperature, exclusive)
        assert not exclusive or sum(p.values()) == pytest.approx(1)
        return np.log(p["a"] / (p["b"] if exclusive else 1 - p["a"]))

    assert odds(1.0) == pytest.approx(4 if exclusive else 3)
    assert odds(2.0) == pytest.approx(odds(1.0) / 2)
    assert soften({"a": 1000.0, "b": 0.0}, 0.5, exclusive)["a"] == 1


@pytest.mark.parametrize(("weight", "n_gold", "n_soft"), [(0.5, 6, 6), (0.75, 2, 6), (0.25, 18, 6), (0.9, 2, 18)])
def test_the_teacher_gets_its_share_of_labels(files, weight, n_gold, n_soft):
    texts = read(TaughtCorpus(*files, teacher_weight=weight))
    assert (sum(text in GOLD for text, _ in texts), sum(text not in GOLD for text, _ in texts)) == (n_gold, n_soft)
    for text, cats in texts:
        assert cats == pytest.approx(GOLD.get(text, CATS)), "labels as they are, logits as probabilities"


def test_long_labelled_texts_are_repeated_less_often(files, monkeypatch):
    monkeypatch.setattr("scripts.components.MAX_TAUGHT_WORDS", 10)  # the two have 2 words together
    texts = read(TaughtCorpus(*files, teacher_weight=0.25))
    assert sum(text in GOLD for text, _ in texts) == 10, "and not 18 as above"


def test_without_sentences_the_copies_are_learned_as_probabilities(files):
    texts = read(TaughtCorpus(*without(files, 1)))
    assert len(texts) == 4 and {text for text, _ in texts} == set(GOLD)
    assert [cats for _, cats in texts[:2]] == list(GOLD.values())
    assert all(cats == pytest.approx(CATS) for _, cats in texts[2:])


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("factory", ["textcat", "textcat_multilabel"])
def test_probabilities_are_of_the_kind_of_the_classifier(files, factory, temperature):
    nlp = spacy.blank("en")
    nlp.add_pipe(factory, name="textcat")
    cats = dict(read(TaughtCorpus(*files, temperature=temperature), nlp))["text 0"]
    odds = {name: np.exp(value / temperature) for name, value in LOGITS.items()}
    total = sum(odds.values())
    expected = {name: odd / (total if factory == "textcat" else 1 + odd) for name, odd in odds.items()}
    assert cats == pytest.approx(expected)


@pytest.mark.parametrize("numbers", [(), (1,)], ids=["with sentences", "without"])
def test_logits_are_those_of_all_texts_of_the_teacher_as_they_are(files, numbers):
    nlp = spacy.blank("en")
    textcat = nlp.add_pipe("textcat", config={"model": {"@architectures": COMPACT_NAME, **LOGITS_MODEL}})
    texts = read(TaughtCorpus(*without(files, *numbers), learns="logits"), nlp)
    expected = [*GOLD] if numbers else [*(f"text {i}" for i in range(6)), *GOLD]
    assert [text for text, _ in texts] == expected
    assert all(cats == LOGITS for _, cats in texts), "to the last bit of 64"
    textcat._validate_categories([])


def test_a_model_that_learns_something_else_is_refused(files):
    nlp = spacy.blank("en")
    nlp.add_pipe("textcat")
    with pytest.raises(ValueError, match="The corpus gives logits, but the model learns labels"):
        read(TaughtCorpus(*files, learns="logits"), nlp)
    nlp.remove_pipe("textcat")
    nlp.add_pipe("textcat", config={"model": {"@architectures": COMPACT_NAME, **LOGITS_MODEL}})
    with pytest.raises(ValueError, match="The corpus gives labels, but the model learns logits"):
        read(TaughtCorpus(*files), nlp)


@pytest.mark.parametrize("number", [0, 2], ids=["labelled", "copies"])
def test_no_texts_are_named(files, number):
    with pytest.raises(ValueError, match=f"{files[number].name}: holds no texts"):
        read(TaughtCorpus(*without(files, 1, number)))


@pytest.mark.parametrize(
    ("settings", "error"),
    [({"teacher_weight": 0.0}, "teacher_weight"), ({"temperature": 0.0}, "temperature"), ({"learns": "x"}, "learns")],
)
def test_senseless_settings_are_refused(files, settings, error):
    with pytest.raises(ValueError, match=error):
        TaughtCorpus(*files, **settings)


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
@readers = "textcat_ladder.TaughtCorpus.v2"
path = "gold.spacy"
sentences = "sentences.spacy"
copies = "copies.spacy"
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
    save(tmp_path / "gold.spacy", GOLD)
    sure = {"a": np.log(3), "b": 0.0 if factory == "textcat" else -np.log(3)}
    save(tmp_path / "sentences.spacy", {"album film": sure, "film": sure})
    save(tmp_path / "copies.spacy", dict.fromkeys(GOLD, sure))
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


COMPACT = """
[initialize]
[initialize.before_init]
@callbacks = "textcat_ladder.read_word_table.v1"
path = "table.npz"
[components.textcat.model]
@architectures = "textcat_ladder.TextCatCompact.v2"
exclusive_classes = EXCLUSIVE
hidden_width = 8
depth = 1
learns = "logits"
word_dropout = 0.0
"""


@pytest.mark.parametrize("factory", ["textcat", "textcat_multilabel"])
def test_compact_learns_logits_and_gives_probabilities(tmp_path, monkeypatch, factory):
    """What spaCy's own training, from the config's reader on, makes of the squared error."""
    monkeypatch.chdir(tmp_path)
    np.savez("table.npz", **make_table())
    wanted = {"goal in the match": {"a": -4.0, "b": 3.0}, "shares fall": {"a": 5.0, "b": -2.0}}
    wanted |= {"film star": {"a": 0.5, "b": -1.0}}
    save(tmp_path / "gold.spacy", GOLD)
    save(tmp_path / "sentences.spacy", dict(list(wanted.items())[:1]))
    save(tmp_path / "copies.spacy", dict(list(wanted.items())[1:]))
    start, end = CONFIG.index("[components.textcat.model]"), CONFIG.index("[corpora]")
    text = CONFIG[:start] + CONFIG[end:].replace('copies = "', 'learns = "logits"\ncopies = "') + COMPACT
    text = text.replace("FACTORY", factory).replace("EXCLUSIVE", str(factory == "textcat").lower())
    text = text.replace("max_epochs = 60", "max_epochs = 200\ndropout = 0.0")
    nlp = init_nlp(load_config_from_str(text, interpolate=False))
    (tmp_path / "student").mkdir()
    nlp, _ = train_loop(nlp, tmp_path / "student", stdout=sys.stderr)
    nlp = spacy.load(tmp_path / "student" / "model-last")
    docs = [nlp.make_doc(text) for text in wanted]
    logits = _compact_predict(nlp.get_pipe("textcat").model, docs)
    np.testing.assert_allclose(logits, [list(cats.values()) for cats in wanted.values()], atol=0.3)
    odds = np.exp(logits)
    scores = odds / odds.sum(axis=1, keepdims=True) if factory == "textcat" else odds / (1 + odds)
    for doc, expected in zip(nlp.pipe(list(wanted)), scores, strict=True):
        assert list(doc.cats.values()) == pytest.approx(expected.tolist(), abs=1e-5)
