"""Answers that come back after the split: texts keep their sides, and nothing is read that nobody has answered."""

import spacy
import srsly
from spacy.tokens import DocBin

from scripts.data.convert import prepare
from scripts.data.formats import Example
from scripts.data.splits import Fold, normalize
from tests.conftest import message, toy_records

SPLITS = ("train", "dev", "test")


def read_splits(folder):
    """The texts of each split with their labels."""
    vocab = spacy.blank("en").vocab
    return {
        split: {
            doc.text: tuple(label for label, value in doc.cats.items() if value)
            for doc in DocBin().from_disk(folder / f"{split}.spacy").get_docs(vocab)
        }
        for split in SPLITS
    }


def answered(text, *labels, **more):
    """A choice task as Prodigy exports it."""
    options = [{"id": label, "text": label} for label in ("film", "money", "sport")]
    return {"text": text, "options": options, "accept": list(labels), "answer": "accept"} | more


def test_texts_keep_their_split_and_new_ones_go_to_train(toy_assets, run, tmp_path):
    assert run("convert", "toy", "corpus").returncode == 0
    before = read_splits(tmp_path / "corpus")
    other = {"film": "money", "money": "sport", "sport": "film"}
    changed = {split: next(iter(before[split])) for split in SPLITS}
    answers = [answered(text.upper(), other[before[split][text][0]]) for split, text in changed.items()]
    answers += [answered("A striker of the bank", "money"), answered("Ignored", "film", answer="ignore")]
    srsly.write_jsonl(toy_assets / "annotated.jsonl", answers)
    process = run("convert", "toy", "corpus")
    assert "Annotated after the split: 2 / 1 / 1 texts of train / dev / test; 1 of train are new" in process.output
    assert "0 repeated or leaking texts left out" in process.output
    after = read_splits(tmp_path / "corpus")
    assert set(after["train"]) == set(before["train"]) | {"A striker of the bank"}
    assert set(after["dev"]) == set(before["dev"]) and set(after["test"]) == set(before["test"])
    for split, text in changed.items():
        assert after[split].pop(text) == (other[before[split].pop(text)[0]],)
    assert after["train"].pop("A striker of the bank") == ("money",)
    assert after == before, "nothing else has changed"
    raw = {record["text"] for record in srsly.read_jsonl(tmp_path / "corpus" / "raw.jsonl")}
    assert "A striker of the bank" in raw, "new training text is raw text, too"


def test_the_last_file_counts_and_any_form_is_read(toy_assets, run, tmp_path):
    (toy_assets / "annotated-1.csv").write_text("text,label\nThe new film,film\nThe new bank,film\n", encoding="utf-8")
    srsly.write_jsonl(toy_assets / "annotated-2.jsonl", [answered("the new bank", "money")])
    assert run("convert", "toy", "corpus").returncode == 0
    train = read_splits(tmp_path / "corpus")["train"]
    assert train["The new film"] == ("film",) and train["the new bank"] == ("money",)


def test_answers_in_the_columns_that_settings_name(toy_assets, run, tmp_path):
    """And Prodigy's answers in its own."""
    (toy_assets / "data").mkdir()
    (toy_assets / "annotated.csv").write_text("msg,label,topic\nThe new film,sport,film\n", encoding="utf-8")
    srsly.write_jsonl(toy_assets / "data" / "annotated.jsonl", [answered("The new bank", "money")])
    records = list(srsly.read_jsonl(toy_assets / "train.jsonl"))
    srsly.write_jsonl(
        toy_assets / "train.jsonl", [{"msg": r["text"], "label": "x", "topic": r["label"]} for r in records]
    )
    process = run("convert", "toy", "corpus", "--text-column", "msg", "--label-column", "topic")
    assert process.returncode == 0, process.output
    train = read_splits(tmp_path / "corpus")["train"]
    assert train["The new film"] == ("film",) and train["The new bank"] == ("money",)


def test_a_text_that_was_dropped_for_its_two_labels_comes_back_with_one(toy_assets, run, tmp_path):
    twice = [{"text": "The cup of the bank", "label": label} for label in ("money", "sport")]
    srsly.write_jsonl(toy_assets / "train.jsonl", [*toy_records(), *twice])
    assert "2 repeated or leaking texts left out" in run("convert", "toy", "corpus").output
    srsly.write_jsonl(toy_assets / "annotated.jsonl", [answered("The cup of the bank", "sport")])
    assert "1 repeated or leaking texts left out" in run("convert", "toy", "corpus").output
    assert read_splits(tmp_path / "corpus")["train"]["The cup of the bank"] == ("sport",)


def test_in_cross_validation_new_texts_are_in_train_of_each_fold():
    given = [Example(f"{label} {i}", (label,), f"line {label}{i}") for label in "ab" for i in range(20)]
    answers = [Example("a 3", ("b",), "annotated"), Example("new", ("a",), "annotated")]
    for number in range(4):
        splits = prepare({"train": given, "annotated": answers}, "auto", Fold(number, 4))[0]
        labels = {normalize(example.text): example.labels for split in SPLITS for example in splits[split]}
        assert labels["a 3"] == ("b",) and len(labels) == 41
        assert "new" in {example.text for example in splits["train"]}


def test_a_file_of_that_name_alone_is_the_data_set(toy_assets, run, tmp_path):
    (toy_assets / "train.jsonl").rename(toy_assets / "annotated.jsonl")
    assert "annotated.jsonl: read as jsonl" in run("convert", "toy", "corpus").output
    assert sum(map(len, read_splits(tmp_path / "corpus").values())) == 72


def test_what_is_no_answer_is_refused(toy_assets, run, tmp_path):
    assert run("convert", "toy", "corpus").returncode == 0
    before = read_splits(tmp_path / "corpus")
    for task, expected in (
        ({"answer": None}, "`answer` is None; it must be accept, reject or ignore"),
        ({"accept": ["film", "money"]}, "line 2: 2 labels, but each text of this task has exactly one. Correct the"),
        ({"accept": ["Film"]}, "label 'Film' is spelt 'film' in"),
        ({"accept": ["opera"]}, "label 'opera' does not occur in train. Correct it, or add examples to train"),
    ):
        tasks = [answered("New one", "film"), answered("New two", "film") | task]
        srsly.write_jsonl(toy_assets / "annotated.jsonl", tasks)
        found = message(run("convert", "toy", "corpus"))
        assert expected in found and "annotated.jsonl" in found
    task = answered("New two", "film")
    del task["answer"]
    srsly.write_jsonl(toy_assets / "annotated.jsonl", [answered("New one", "film"), task])
    found = message(run("convert", "toy", "corpus"))
    assert "annotated.jsonl, line 2: nobody has answered this task" in found and "prodigy db-out" in found
    assert read_splits(tmp_path / "corpus") == before
    found = run("check", "toy", "check.json")
    assert found.returncode == 1 and "nobody has answered this task" in found.output
