"""Shares of the data are nested and keep every label; the advice follows the curve."""

import pytest
import spacy
from scipy.stats import ttest_1samp
from spacy.tokens import DocBin

from scripts.common.cli import UserError
from scripts.experiments.train_curve import advice, interval, plot, renamed, subset, summarize, train_lines
from tests.conftest import ROOT
from tests.project.test_project import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_a_curve(variant):
    compose, train = train_lines(ROOT, variant)
    assert compose[1:3] == ["-m", "scripts.compose"] and train[1:3] == ["-m", "scripts.train"]
    assert not any("${" in word for word in compose + train)
    moved = renamed(train, variant, ROOT / "elsewhere")
    assert f"training/{variant}" not in moved and f"{ROOT.as_posix()}/elsewhere/config.cfg" in moved
    assert (ROOT / "elsewhere").as_posix() + "/config.cfg" in renamed(compose, variant, ROOT / "elsewhere")


def test_unknown_variant_is_named():
    with pytest.raises(UserError, match="variant 'bov' is unknown. Choose one of bow"):
        train_lines(ROOT, "bov")


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
