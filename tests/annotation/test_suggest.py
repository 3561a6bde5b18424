"""Texts worth annotating next: new, uncertain, varied, of all labels; and what stands in the way is said."""

import shutil

import numpy as np
import pytest
import scipy.sparse as sp
import spacy
import srsly
from spacy.training import Example

from scripts.annotation.picking import Candidate, Pool, choose, reading_order, uncertainty
from tests.conftest import DESKS, finish, message, toy_records
from tests.data.test_annotated import read_splits
from tests.evaluation.test_thresholds import BOW


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """Two pipelines that know the toy labels, and one of other labels, each with a folder for what `finish` says."""
    folder = tmp_path_factory.mktemp("pipelines")
    for name, factory in (("bow", "textcat"), ("other-seed", "textcat"), ("several", "textcat_multilabel")):
        nlp = spacy.blank("en")
        nlp.add_pipe(factory, name="textcat", config={"model": BOW | {"exclusive_classes": factory == "textcat"}})
        records = toy_records() if name != "other-seed" else toy_records()[::2]
        examples = [
            Example.from_dict(nlp.make_doc(r["text"]), {"cats": {label: float(label == r["label"]) for label in DESKS}})
            for r in records
        ]
        nlp.initialize(lambda examples=examples: examples)
        for _ in range(8):
            nlp.update(examples)
        (folder / name).mkdir()
        nlp.to_disk(folder / name / "model-best")
        finish(folder / name)
    return folder


UNSURE = [f"The {a} and {b} of the year" for a, b in zip(DESKS["sport"], DESKS["money"], strict=True)]
SURE = [f"The {a} and {b} of the year" for words in DESKS.values() for a, b in zip(words, words[1:], strict=False)]


@pytest.fixture
def ready(toy_assets, run, tmp_path):
    assert run("convert", "toy", "corpus").returncode == 0
    return tmp_path


def write(path, texts):
    srsly.write_jsonl(path, [{"text": text} for text in texts])


def suggest(run, pipelines, *more, committee="bow"):
    return run("suggest", "new.jsonl", "out.jsonl", "--training", pipelines, "--committee", committee, *more)


def test_a_corpus_without_more_text_is_no_error(ready, run, pipelines):
    write(ready / "corpus" / "raw.jsonl", read_splits(ready / "corpus")["train"])
    raw = ["corpus/raw.jsonl", "out.jsonl", "--training", pipelines, "--committee", "bow"]
    process = run("suggest", *raw)
    assert process.returncode == 0, process.output
    assert "all of its texts are known already" in process.output and not (ready / "out.jsonl").exists()
    shutil.copy(ready / "corpus" / "raw.jsonl", ready / "new.jsonl")
    assert "nothing new in it" in message(suggest(run, pipelines)), "where it was asked for"


@pytest.mark.parametrize("committee", ["bow", "bow,other-seed"])
def test_uncertain_texts_come_and_known_ones_do_not(ready, run, pipelines, committee):
    known = [text.upper() for split in read_splits(ready / "corpus").values() for text in split]
    write(ready / "new.jsonl", [*known, *SURE, *UNSURE, "1,000!", ""])
    process = suggest(run, pipelines, "--texts", 8, committee=committee)
    assert process.returncode == 0, process.output
    assert f"8 of {len(known) + len(SURE) + len(UNSURE) + 2} texts to annotate (72 are known already)" in process.output
    tasks = list(srsly.read_jsonl(ready / "out.jsonl"))
    texts = [task["text"] for task in tasks]
    assert len(set(texts)) == 8 and set(texts) <= {*SURE, *UNSURE}
    assert len({*texts} & {*UNSURE}) >= 6, "all but those that go round the labels"
    for task in tasks:
        assert [option["id"] for option in task["options"]] == sorted(DESKS) and len(task["accept"]) == 1
        assert task["meta"]["probabilities"].startswith(f"{task['accept'][0]} 0.") and "answer" not in task
        assert task["meta"]["source"] == f"new.jsonl, line {[*known, *SURE, *UNSURE].index(task['text']) + 1}"


def test_what_is_annotated_comes_back_through_convert(ready, toy_assets, run, pipelines):
    before = read_splits(ready / "corpus")
    write(ready / "new.jsonl", [*SURE, *UNSURE])
    assert suggest(run, pipelines, "--texts", 5).returncode == 0
    tasks = list(srsly.read_jsonl(ready / "out.jsonl"))
    srsly.write_jsonl(toy_assets / "annotated.jsonl", [task | {"answer": "accept"} for task in tasks])
    assert run("convert", "toy", "corpus").returncode == 0
    after = read_splits(ready / "corpus")
    assert {text: after["train"].get(text) for text in after["train"].keys() - before["train"].keys()} == {
        task["text"]: tuple(task["accept"]) for task in tasks
    }
    assert (after["dev"], after["test"]) == (before["dev"], before["test"])
    assert suggest(run, pipelines, "--texts", 30).returncode == 0
    again = {task["text"] for task in srsly.read_jsonl(ready / "out.jsonl")}
    assert again and not again & {task["text"] for task in tasks}


def test_near_copies_are_given_once(ready, run, pipelines):
    write(ready / "new.jsonl", [f"The goal and bank of the year{'!' * i}" for i in range(9)] + [UNSURE[3], UNSURE[3]])
    process = suggest(run, pipelines)
    assert "Only 2 of the 100 texts wanted: the others are known, without words, or near-copies." in process.output
    assert len(list(srsly.read_jsonl(ready / "out.jsonl"))) == 2


def test_several_labels(ready, toy_assets, run, pipelines):
    records = [{"text": r["text"], "labels": [r["label"]] * (i % 9 > 0)} for i, r in enumerate(toy_records())]
    srsly.write_jsonl(toy_assets / "train.jsonl", records)
    assert run("convert", "toy", "corpus").returncode == 0
    (ready / "texts.txt").write_text("\n".join([*SURE, *UNSURE]), encoding="utf-8")
    process = run("suggest", "texts.txt", "out.jsonl", "--training", pipelines, "--committee", "several", "--texts", 4)
    assert process.returncode == 0, process.output
    tasks = list(srsly.read_jsonl(ready / "out.jsonl"))
    assert len(tasks) == 4 and all(task["config"] == {"choice_style": "multiple"} for task in tasks)


def test_what_stands_in_the_way_is_said(ready, toy_assets, run, pipelines):
    assert "new.jsonl: there is no such file. Name one with texts without labels: --vars.input" in message(
        suggest(run, pipelines)
    )
    write(ready / "new.jsonl", UNSURE)
    assert suggest(run, pipelines, "--texts", 2).returncode == 0
    before = (ready / "out.jsonl").read_bytes()
    found = message(suggest(run, pipelines, committee="bow,cnn"))
    assert "'cnn' is not trained. Train it (python -m spacy project run cnn), or name variants that are" in found
    assert "no data set there. Make it with the command `convert`" in message(
        suggest(run, pipelines, "--corpus", "elsewhere")
    )
    write(ready / "new.jsonl", [record["text"] for record in toy_records()])
    assert "72 of its 72 texts are in train, dev or test already" in message(suggest(run, pipelines))
    (ready / "new.jsonl").write_text("", encoding="utf-8")
    assert "new.jsonl: there is no text in it." in message(suggest(run, pipelines))
    (ready / "new.jsonl").write_text('{"text": "fine"}\n{"text": \n', encoding="utf-8")
    assert "new.jsonl, line 2: broken JSON" in message(suggest(run, pipelines))
    assert (ready / "out.jsonl").read_bytes() == before
    srsly.write_jsonl(toy_assets / "train.jsonl", [r for r in toy_records() if r["label"] != "film"])
    assert run("convert", "toy", "corpus").returncode == 0
    assert "was trained on other labels than the data set has now" in message(suggest(run, pipelines))


# Choosing


def test_uncertainty():
    P = np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0], [0.4, 0.3, 0.3]])
    assert uncertainty(P, None) == pytest.approx([1.0, 0.2, 0.9])
    assert uncertainty(P[:, :2], 0.5) == pytest.approx([1.0, 0.2, 0.8])
    assert uncertainty(np.array([[0.3, 1.0], [0.0, 1.0], [0.65, 0.0]]), 0.3) == pytest.approx([1.0, 0.0, 0.5])


def test_a_pool_does_not_grow_and_keeps_the_best_and_some_of_each_label():
    rng = np.random.default_rng(0)
    pool, sizes = Pool(20, 5), []
    scores = rng.random(5000)
    for i, score in enumerate(scores):
        label = 4 if i % 1000 == 7 else int(rng.integers(4))
        pool.add(str(i), Candidate(float(score) * (0.1 if label == 4 else 1), label, str(i), "", ()))
        sizes.append(len(pool.found))
    found = pool.candidates()
    assert max(sizes) <= 4 * 20 + 1
    best = sorted((s for i, s in enumerate(scores) if i % 1000 != 7), reverse=True)[:20]
    assert {round(c.score, 9) for c in found} >= {round(float(score), 9) for score in best}
    assert sum(candidate.label == 4 for candidate in found) == 4, "of a rare label, its most uncertain"


def test_a_share_goes_round_the_labels_the_rarest_first():
    scores, labels = np.linspace(1, 0, 20), np.array([0] * 16 + [1, 1, 2, 2])
    order = reading_order(scores, labels, np.array([50, 20, 3]), 10)
    assert order[:2] == [18, 16] and order[2:] == [*range(16), 17, 19]
    order = reading_order(scores, labels, np.array([50, 20, 3]), 20)
    assert order[:4] == [18, 16, 0, 19] and sorted(order) == list(range(20))


def test_near_copies_are_passed_over():
    X = sp.csr_matrix(np.array([[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 0, 2], [0, 0, 0]], "f4"))
    known = sp.csr_matrix(np.array([[0, 0, 1]], "f4"))
    assert choose(X, known, [1, 0, 3, 4, 2], 5) == [1, 4, 2]
    assert choose(X, known, [1, 0, 3, 4, 2], 2) == [1, 4]
