"""Shares of the data are nested and keep every label; the advice follows the curve."""

from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from scipy.stats import ttest_1samp
from spacy.tokens import DocBin
from thinc.api import Config

from scripts.common.cli import UserError
from scripts.experiments import train_curve
from scripts.experiments.curves import advice
from scripts.experiments.train_curve import interval, plot, subset, summarize, train_once
from scripts.training.config import write_candidates
from tests.conftest import ROOT, message, toy_records
from tests.project.test_project import COMMANDS, VARIANTS

FOLDERS = (Path("corpus"), Path("training"))
TAUGHT = ("training/taught/sentences.spacy", "training/taught/copies.spacy")


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A corpus as convert writes it, beside the project's configs and code; this is where the test runs."""
    for name in ("configs", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    nlp, docs = spacy.blank("en"), DocBin(attrs=["ORTH", "SPACY"])
    for record in toy_records():
        doc = nlp.make_doc(record["text"])
        doc.cats = {label: float(record["label"] == label) for label in ("film", "money", "sport")}
        docs.add(doc)
    for path in ("corpus/train.spacy", "corpus/dev.spacy", *TAUGHT):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        docs.to_disk(tmp_path / path)
    facts = {"lang": "en", "exclusive": True, "labels": ["film", "money", "sport"], "examples": {"train": len(docs)}}
    facts["words"] = {"train": {"mean": 9.0}}
    srsly.write_json(tmp_path / "corpus" / "task.json", facts)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained_here(folder):
    """All files in the training folder but the teacher's."""
    files = [path for path in (folder / "training").rglob("*") if path.is_file()]
    return [path for path in files if path not in [folder / name for name in TAUGHT]]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_a_curve(corpus, variant, monkeypatch):
    """The training is that of `train-VARIANT` on so many texts, elsewhere; what it learnt before, it keeps."""
    composed = {}

    def fit(candidates, output, gpu_id, half_precision, averaged):
        texts = {path.stem: path.read_text(encoding="utf-8") for path in candidates}
        composed.update(texts=texts, gpu_id=gpu_id, output=output, learned=(half_precision, averaged))
        raise UserError("stop here")

    monkeypatch.setattr(train_curve, "fit", fit)
    with pytest.raises(UserError, match=f"train-{variant} failed: stop here"):
        train_once(variant, *FOLDERS, 0.5, 3, 2, -1)
    assert composed["output"].is_absolute() and trained_here(corpus) == [], "the model goes elsewhere"
    halved = variant.startswith("transformer") and variant not in ("transformer-int8", "transformer-distilled")
    assert composed["learned"] == (halved, variant in ("transformer", "transformer-large"))
    facts = srsly.read_json(corpus / "corpus" / "task.json") | {"examples": {"train": len(toy_records()) // 2}}
    candidates, _ = write_candidates(Path("configs") / f"{variant}.cfg", Path("own"), *FOLDERS, 3, 2, -1, facts=facts)
    assert [path.stem for path in candidates] == list(composed["texts"])
    for path in candidates:
        texts = (path.read_text(encoding="utf-8"), composed["texts"][path.stem])
        own, curve = (Config().from_str(text, interpolate=False) for text in texts)
        assert curve["paths"].pop("train").startswith(composed["output"].as_posix())
        assert curve["paths"].pop("log").startswith(composed["output"].as_posix())
        known, linear = curve["paths"].pop("linear", None), own["paths"].pop("linear", None)
        assert bool(known) == bool(linear) and (known or "").startswith(composed["output"].as_posix() * bool(linear))
        for name in ("train", "log"):
            own["paths"].pop(name)
        for config in (own, curve):  # they follow from the number of texts
            for name in ("eval_frequency", "patience"):
                del config["training"][name]
            if isinstance(rate := config["training"]["optimizer"]["learn_rate"], dict):
                del rate["total_steps"], rate["warmup_steps"]
        assert curve == own
    assert COMMANDS[f"train-{variant}"]["script"] == [
        f"python -m scripts.training.train {variant} --corpus corpus/bbc --training training/bbc --seed 0 "
        "--max-epochs 0 --gpu-id -1"
    ]


@pytest.mark.slow
def test_a_point_of_the_curve(corpus, capfd):
    texts, macro_f1 = train_once("bow", *FOLDERS, 0.25, 0, 3, -1)
    assert texts == 18 and 0 < macro_f1 <= 1
    assert trained_here(corpus) == []


@pytest.mark.slow
def test_the_linear_model_learns_from_the_share_alone_and_is_not_scored_on_what_it_knows(corpus):
    (corpus / "corpus" / "task.json").write_text(
        (corpus / "corpus" / "task.json").read_text(encoding="utf-8").replace('"exclusive":true', '"exclusive":false'),
        encoding="utf-8",
    )
    scores = [train_once("linear", *FOLDERS, share, 0, 0, -1)[1] for share in (0.1, 1.0)]
    assert scores[0] < scores[1], "dev is what it is fitted to in the end, in both"


def test_a_failed_training_says_why(corpus):
    (corpus / "corpus" / "dev.spacy").unlink()
    with pytest.raises(UserError, match="train-bow failed: .*dev.spacy"):
        train_once("bow", *FOLDERS, 1.0, 0, 1, -1)


def test_unknown_variant_is_named(run):
    found = message(run("train_curve", "bov", "curve", "--project", ROOT))
    assert "variant 'bov' is unknown. Choose one of linear, bow" in found


@pytest.mark.parametrize("variant", ["transformer-int8", "transformer-distilled"])
def test_what_has_learned_before_has_no_curve(run, variant):
    found = message(run("train_curve", variant, "curve", "--project", ROOT))
    assert f"{variant} has learned from all training texts before" in found


def test_shares_are_nested_stratified_and_reproducible(tmp_path):
    nlp, docs = spacy.blank("en"), DocBin(attrs=["ORTH", "SPACY"])
    for i in range(100):
        doc = nlp.make_doc(f"text {i}")
        doc.cats = {"rare": float(i % 50 == 0), "a": float(i % 2), "b": float(i % 2 == 0)}
        docs.add(doc)
    docs.to_disk(tmp_path / "train.spacy")

    def draw(share, seed):
        assert subset(tmp_path / "train.spacy", share, seed, tmp_path / "part.spacy") > 0
        return [
            (doc.text, tuple(doc.cats.items()))
            for doc in DocBin().from_disk(tmp_path / "part.spacy").get_docs(nlp.vocab)
        ]

    quarter, half, everything = draw(0.25, 1), draw(0.5, 1), draw(1.0, 1)
    assert set(quarter) < set(half) < set(everything)
    assert len(everything) == 100 and abs(len(half) - 50) <= 2 and abs(len(quarter) - 25) <= 2
    assert quarter == draw(0.25, 1) != draw(0.25, 2)
    assert any(dict(cats)["rare"] for _, cats in quarter)


def test_shares_of_texts_whose_labels_stand_together_once_only(tmp_path):
    nlp, docs = spacy.blank("en"), DocBin(attrs=["ORTH", "SPACY"])
    rng = np.random.default_rng(0)
    for i in range(300):
        doc = nlp.make_doc(f"text {i}")
        doc.cats = {f"L{label}": float(value) for label, value in enumerate(rng.random(14) < 0.25)}
        docs.add(doc)
    docs.to_disk(tmp_path / "train.spacy")
    before: set[str] = set()
    for share in (0.25, 0.5, 0.75, 1.0):
        assert subset(tmp_path / "train.spacy", share, 0, tmp_path / "part.spacy") == pytest.approx(300 * share, abs=1)
        kept = list(DocBin().from_disk(tmp_path / "part.spacy").get_docs(nlp.vocab))
        assert before <= {doc.text for doc in kept}, "nested"
        before = {doc.text for doc in kept}
        assert all(any(doc.cats[label] for doc in kept) for label in kept[0].cats)


def test_interval_is_students():
    values = [0.70, 0.74, 0.75]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values) == pytest.approx([expected.low, expected.high])
    assert interval([0.7]) is None


def points(before, last):
    shares = {0.75: before, 1.0: last}
    return summarize(
        [
            {"share": share, "seed": seed, "texts": int(100 * share), "macro_f1": value}
            for share, values in shares.items()
            for seed, value in enumerate(values)
        ]
    )


@pytest.mark.parametrize(
    ("before", "last", "expected"),
    [
        ([0.70, 0.701, 0.699], [0.75, 0.751, 0.749], "+5.0 points, more than chance: more data will help"),
        ([0.75, 0.751, 0.749], [0.70, 0.701, 0.699], "-5.0 points, less than before"),
        ([0.70, 0.74, 0.66], [0.71, 0.75, 0.67], "flat or noisy"),
        ([0.70], [0.75], "no telling chance from progress"),
    ],
)
def test_advice(before, last, expected):
    assert expected in advice(points(before, last))


def test_points_and_plot():
    found = points([0.70, 0.72], [0.75, 0.77])
    assert [(p["share"], p["texts"], round(p["macro_f1"], 3)) for p in found] == [(0.75, 75, 0.71), (1.0, 100, 0.76)]
    svg = plot(found, "bow")
    assert svg.startswith("<svg") and "bow: more data?" in svg
