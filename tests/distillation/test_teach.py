"""scripts/distillation/teach.py: what is labelled, what is left out, and that it goes on where it was."""

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import DocBin
from spacy.training import Example

from scripts.common.files import md5_folder
from scripts.data.splits import normalize
from scripts.distillation import teach as step
from scripts.distillation.teach import BATCH, ask, collect_copies, label, new_sentences
from scripts.vectors.sentences import MAX_WORDS, choose, sentences, text_key
from tests.conftest import DESKS, message, toy_records

LABELS = sorted(DESKS)
TEXTS = [f"{'goal ' * (i % 7 + 1)}of day {i}" for i in range(300)]


def save(path, texts):
    """Write a DocBin of texts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    DocBin(docs=list(spacy.blank("en").pipe(texts))).to_disk(path)


def make_teacher(factory="textcat", labels=LABELS):
    """A pipeline that has learned the toy texts."""
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy.TextCatBOW.v3", "exclusive_classes": factory == "textcat", "ngram_size": 1}
    nlp.add_pipe(factory, name="textcat", config={"model": model | {"no_output_layer": False, "length": 1024}})
    examples = [
        Example.from_dict(
            nlp.make_doc(record["text"]), {"cats": {label: float(label == record["label"]) for label in labels}}
        )
        for record in toy_records()
    ]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(10):
        nlp.update(examples, sgd=optimizer)
    return nlp


@pytest.fixture(scope="module", params=["textcat", "textcat_multilabel"])
def any_teacher(request):
    return make_teacher(request.param)


@pytest.fixture(scope="module")
def teacher():
    return make_teacher()


class Breaking:
    """A pipeline that is interrupted after some texts, and counts them; like a transformer, its answers depend a little
    on the batch."""

    def __init__(self, nlp, stop_after=10**9):
        self.nlp, self.texts, self.stop_after = nlp, [], stop_after
        self.get_pipe, self.get_pipe_meta = nlp.get_pipe, nlp.get_pipe_meta

    def pipe(self, texts, batch_size):
        for doc in self.nlp.pipe(texts, batch_size=batch_size):
            if len(self.texts) >= self.stop_after:
                raise KeyboardInterrupt
            self.texts.append(doc.text)
            doc.cats = {name: score * (1 - 1e-3 * len(texts) / BATCH) for name, score in doc.cats.items()}
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


def test_logits_are_the_teachers_up_to_a_constant(any_teacher):
    logits = ask(any_teacher, TEXTS)
    assert logits.shape == (300, 3) and logits.dtype == np.float32
    exclusive = any_teacher.get_pipe_meta("textcat").factory == "textcat"
    odds = np.exp(logits.astype("float64"))
    scores = odds / odds.sum(axis=1, keepdims=True) if exclusive else odds / (1 + odds)
    cats = [[doc.cats[name] for name in any_teacher.get_pipe("textcat").labels] for doc in any_teacher.pipe(TEXTS)]
    np.testing.assert_allclose(scores, cats, atol=1e-5)
    assert not exclusive or np.abs(logits.mean(axis=1)).max() < 1e-5, "the constant is that which makes their mean 0"


@pytest.mark.parametrize("rest", [b"", b"cut"], ids=["whole", "cut off"])
def test_an_interrupted_labelling_goes_on_to_the_same_bytes(tmp_path, teacher, rest):
    expected = label(Breaking(teacher), TEXTS, tmp_path / "whole.part", "teacher 1")
    part = tmp_path / "new" / "it.part"
    with pytest.raises(KeyboardInterrupt):
        label(Breaking(teacher, stop_after=200), TEXTS, part, "teacher 1")
    with part.open("ab") as stream:
        stream.write(rest)
    second = Breaking(teacher)
    found = label(second, TEXTS, part, "teacher 1")
    assert len(second.texts) == 300 - BATCH, "what was labelled is not labelled again"
    np.testing.assert_array_equal(found, expected)
    assert part.read_bytes() == (tmp_path / "whole.part").read_bytes()


def test_a_killed_write_costs_a_batch_and_changes_nothing(tmp_path, teacher):
    part = tmp_path / "it.part"
    expected = label(Breaking(teacher), TEXTS, part, "teacher 1")
    whole = part.read_bytes()
    part.write_bytes(whole[:-17])  # within a row
    again = Breaking(teacher)
    np.testing.assert_array_equal(label(again, TEXTS, part, "teacher 1"), expected)
    assert part.read_bytes() == whole and len(again.texts) == 300 - 2 * BATCH


@pytest.mark.parametrize("change", ["teacher", "texts", "nonsense"])
def test_what_is_known_belongs_to_one_teacher_and_these_texts(tmp_path, teacher, change):
    part = tmp_path / "it.part"
    label(teacher, TEXTS, part, "teacher 1")
    if change == "nonsense":
        part.write_bytes(b"something else")
    texts = [*TEXTS[:-1], "another"] if change == "texts" else TEXTS
    other = Breaking(teacher)
    label(other, texts, part, "teacher 2" if change == "teacher" else "teacher 1")
    assert sorted(other.texts) == sorted(texts)


def test_the_key_of_a_teacher_changes_with_its_files(tmp_path):
    (tmp_path / "a").write_text("1")
    before = md5_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = md5_folder(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({before, renamed, md5_folder(tmp_path)}) == 3


def test_copies_are_training_texts_and_different_ones_made_of_them():
    nlp = spacy.blank("en")
    train = ["Bank profits fall sharply today", "Late goal wins the cup", " ", "Late goal wins the cup"]
    texts = collect_copies(train, set(), nlp, 40)
    assert texts[:2] == [train[0], train[1]] and len(texts) == len(set(texts)) == 40
    words = {word for text in train for word in text.split()}
    assert all(set(text.split()) <= words and text == text.strip() != "" for text in texts)
    assert texts == collect_copies(train, set(), nlp, 40)
    assert texts[:20] == collect_copies(train, set(), nlp, 20)
    assert collect_copies(train, set(), nlp, 1) == texts[:1], "many training texts are bounded, too"
    assert len(collect_copies(["one", "two"], set(), nlp, 500)) < 30, "there are not more; it ends"


def test_no_copy_is_a_held_out_text():
    nlp, train = spacy.blank("en"), ["Bank profits fall sharply today", "Late goal wins the cup"]
    free = collect_copies(train, set(), nlp, 200)
    held_out = {normalize(text) for text in free[1::2]} | {normalize(train[1].upper())}
    texts = collect_copies(train, held_out, nlp, 200)
    assert len(texts) > 50 and not held_out & {normalize(text) for text in texts}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_long_texts_are_cut_and_there_are_fewer_of_them(monkeypatch, lang):
    monkeypatch.setattr(step, "MAX_WORDS", 10)
    monkeypatch.setattr(step, "ALL_WORDS", 500)
    train = ["".join(chr(0x4E00 + i + j) for j in range(30)) if lang == "zh" else f"word{i} " * 30 for i in range(20)]
    nlp = spacy.blank(lang)
    texts = collect_copies(train, set(), nlp, 1000)
    lengths = [len(nlp(text)) for text in texts]
    assert max(lengths) == 10 and 490 <= sum(lengths) <= 510 and lengths[:20] == [10] * 20


def test_sentences_are_of_no_training_text_and_no_held_out_one(tmp_path):
    raw = ["A goal in the match. Shares fall again today!", "The cup goes home. It is late now."]
    srsly.write_jsonl(tmp_path / "raw.jsonl", [{"text": text} for text in raw])
    found = new_sentences(tmp_path / "raw.jsonl", [raw[0]], {"it is late now"}, "en", 9)
    assert found == ["The cup goes home."]


@pytest.fixture
def corpus(tmp_path, teacher):
    """A teacher and a corpus as convert writes it."""
    teacher.to_disk(tmp_path / "teacher")
    train = [record["text"] for record in toy_records()]
    for name, texts in {"train": train[:60], "dev": train[60:66], "test": train[66:]}.items():
        save(tmp_path / "corpus" / f"{name}.spacy", texts)
    srsly.write_json(tmp_path / "corpus" / "task.json", {"lang": "en"})
    raw = ["goal after goal in the match . shares fall and fall .", train[0], "the shares of today fall ."]
    srsly.write_jsonl(tmp_path / "corpus" / "raw.jsonl", [{"text": text} for text in raw])
    return tmp_path


COMMAND = ("teach", "teacher", "corpus", "taught/sentences.spacy", "taught/copies.spacy")


def read(path):
    return {doc.text: doc.cats for doc in DocBin().from_disk(path).get_docs(spacy.blank("en").vocab)}


def test_command_writes_sentences_and_copies_with_the_teachers_logits(corpus, teacher, run):
    process = run(*COMMAND, "--limit", 2, "--texts", 200)
    assert process.returncode == 0, process.output
    assert "2 sentences, 200 training texts and copies of them" in process.output
    assert sorted(path.name for path in (corpus / "taught").iterdir()) == ["copies.spacy", "sentences.spacy"]
    taught = [read(corpus / "taught" / f"{name}.spacy") for name in ("sentences", "copies")]
    assert [len(texts) for texts in taught] == [2, 200]
    for text, cats in {**taught[0], **taught[1]}.items():
        odds = {name: np.exp(value) for name, value in cats.items()}
        scores = {name: value / sum(odds.values()) for name, value in odds.items()}
        assert scores == pytest.approx(teacher(text).cats, abs=1e-4)
    train, dev, test = (set(read(corpus / "corpus" / f"{name}.spacy")) for name in ("train", "dev", "test"))
    assert train <= set(taught[1]) and not (dev | test) & (set(taught[0]) | set(taught[1]))


def test_a_killed_command_goes_on_where_it_was(corpus, run, monkeypatch):
    assert run(*COMMAND, "--texts", 300).returncode == 0
    names = ("sentences.spacy", "copies.spacy")
    before = [(corpus / "taught" / name).read_bytes() for name in names]
    for name in names:
        (corpus / "taught" / name).unlink()

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(step, "write_taught", fail)
        assert run(*COMMAND, "--texts", 300).returncode
    assert [path.name for path in (corpus / "taught").iterdir()] == ["sentences.part"]
    asked = []
    monkeypatch.setattr(step, "ask", lambda nlp, texts: asked.extend(texts) or ask(nlp, texts))
    assert run(*COMMAND, "--texts", 300).returncode == 0
    assert len(asked) < BATCH
    assert [(corpus / "taught" / name).read_bytes() for name in names] == before


def test_many_labels_have_fewer_texts(corpus, run, monkeypatch):
    monkeypatch.setattr(step, "ALL_VALUES", 3 * 70)
    assert run(*COMMAND).returncode == 0
    assert len(read(corpus / "taught" / "copies.spacy")) == 70


def test_without_raw_text_there_are_no_sentences(corpus, run):
    save_raw = [{"text": text} for text in read(corpus / "corpus" / "train.spacy")]
    srsly.write_jsonl(corpus / "corpus" / "raw.jsonl", save_raw)
    assert run(*COMMAND, "--texts", 100).returncode == 0
    assert read(corpus / "taught" / "sentences.spacy") == {} and len(read(corpus / "taught" / "copies.spacy")) == 100


def test_errors(corpus, run):
    assert "none: no trained pipeline. Train the teacher first" in message(run("teach", "none", *COMMAND[2:]))
    assert "GPU 99 cannot be used" in message(run(*COMMAND, "--gpu-id", 99))
    for name in ("raw.jsonl", "test.spacy", "train.spacy"):
        (corpus / "corpus" / name).rename(corpus / "aside")
        assert f"{name}: no such file. Make it with the command `convert`" in message(run(*COMMAND))
        (corpus / "aside").rename(corpus / "corpus" / name)
    assert not (corpus / "taught" / "copies.spacy").exists()
