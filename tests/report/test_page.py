"""The page says what the metrics say, for every kind of task, and nothing in them can run or reach the network."""

import base64
import copy
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
import srsly

from scripts.experiments.curves import read_curves
from scripts.experiments.pairs import find_runs
from scripts.report.page import (
    find_mistakes,
    flatten,
    format_number,
    judge,
    learning_curves,
    make_answer,
    make_page,
    scale_line,
)
from scripts.report.report import scores_by_seed
from tests.report.test_report import METRICS

EVIL = "<script>alert('x')</script> & \"quoted\" </script><img src=x onerror=alert(1)>"
VOID = {"meta", "link", "br", "input", "img", "path", "rect", "circle", "polyline"}


class Page(HTMLParser):
    """Elements in order, text, and whether every element is closed where it should be."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(html)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)


def variant(name, f1=0.8, size=5e6, speed=1000.0, half=0.03, labels=("a", "b", "c"), exclusive=True):
    data = copy.deepcopy(METRICS)
    data["variant"] = name
    data["size"]["pipeline_bytes"], data["speed"]["docs_per_s"] = int(size), speed
    scores = data["scores"]
    scores |= {"macro_f1": f1, "macro_f1_ci": [f1 - half, f1 + half], "documents": 4, "accuracy": 0.5}
    scores["per_label"] = {label: {"p": 0.7, "r": 0.6, "f": 0.65} for label in labels}
    scores["calibration"] = [{"count": 3, "confidence": 0.4, "accuracy": 0.5}]
    scores["calibration_error"] = 0.1
    if exclusive:
        n = len(labels)
        rows = [[9 if i == j else int(j == (i + 1) % n) for j in range(n)] for i in range(n)]
        scores["confusion"] = {"labels": list(labels), "rows_are_gold": rows}
    return data


def page(*variants, **options):
    names = {data["variant"] for data in variants}
    return make_page(variants, best=names, machines="Measured on: this.", **options)


def predictions(folder, name, docs):
    path = folder / name / "predictions.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    srsly.write_jsonl(path, [{"text": text, "gold": gold, "cats": cats} for text, gold, cats in docs])
    return path


DOCS = [
    ("one", ["a"], {"a": 0.8, "b": 0.1, "c": 0.1}),
    ("two", ["b"], {"a": 0.5, "b": 0.4, "c": 0.1}),
    ("three", ["c"], {"a": 0.1, "b": 0.9, "c": 0.0}),
    ("four", ["c"], {"a": 0.1, "b": 0.1, "c": 0.8}),
]


def test_the_answer_is_the_smallest_within_the_interval_of_the_best():
    answer = make_answer(
        [variant("big", 0.90, 90e6, 100.0), variant("small", 0.88, 3e6, 4150.0), variant("tiny", 0.80, 1e6, 9000.0)]
    )
    assert answer["name"] == "small"
    assert answer["text"] == "88.0 % macro‑F1 in 3.0 MB, 42× the throughput of big"
    assert "big scores higher, 90.0 % in 90.0 MB" in answer["caveat"]
    assert "intervals overlap (85.0 to 91.0 % and 87.0 to 93.0 %)" in answer["caveat"]


def test_the_best_is_compared_with_the_largest_and_with_those_that_come_near():
    variants = [variant("best", 0.90, 3e6, 500.0), variant("near", 0.88, 4e6), variant("far", 0.70, 9e6, 1000.0)]
    answer = make_answer(variants)
    assert answer["text"] == "90.0 % macro‑F1 in 3.0 MB, 0.50× the throughput of far"
    assert "near is as good, by the 95 % interval of the best: the lead could be chance" in answer["caveat"]
    assert make_answer(variants[::2])["caveat"] == "No other variant is as good, by the 95 % interval of the best."


def pairs_of(**worse_than):
    """Paired tests of three seeds that found what is worse than what; scores a point above those of the single runs."""
    scores = {"big": 0.91, "small": 0.89, "tiny": 0.81}
    rows = [
        {"name": name, "macro_f1": scores[name], "std": 0.01, "seeds": 3, "difference": 0.0, "low": -0.01, "high": 0.01,
         "p": 0.5, "share": None, "worse_than": names}
        for name, names in worse_than.items()
    ]  # fmt: skip
    gap = {"missing": "No fine-tuned transformer has been measured."}
    return {"rows": rows, "gap": gap, "reference": "big", "alpha": 0.05, "resamples": 2000}


def test_paired_tests_go_before_intervals():
    """On the same texts, differences can be told apart that lie within the interval of one, and the other way round."""
    variants = [variant("big", 0.90, 90e6, 100.0), variant("small", 0.88, 3e6, 4150.0), variant("tiny", 0.80, 1e6)]
    told = make_answer(variants, pairs_of(big=[], small=["big"], tiny=["big", "small"]))
    assert told["name"] == "big" and told["text"].startswith("91.0 % macro‑F1 in 90.0 MB")
    assert told["caveat"] == "No other variant is as good, by paired tests. Scores are means over 3 seeds."
    untold = make_answer(variants, pairs_of(big=[], small=[], tiny=[]))
    assert untold["name"] == "tiny"
    assert "big scores higher, 91.0 % in 90.0 MB, but a paired test on the same texts" in untold["caveat"]


def test_the_chooser_goes_by_the_rule_of_the_headline():
    variants = [variant("big", 0.90, 90e6), variant("small", 0.88, 3e6), variant("tiny", 0.80, 1e6)]
    html = page(*variants, pairs=pairs_of(big=[], small=[], tiny=["big", "small"]))
    points = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])
    assert {point["name"]: (point["score"], point["worse"]) for point in points} == {
        "big": (0.91, []), "small": (0.89, []), "tiny": (0.81, ["big", "small"])
    }  # fmt: skip
    text = Page(html).text
    assert "small : 89.0 % macro‑F1 in 3.0 MB" in text and "by more than chance: by paired tests, not corrected" in text
    assert "by the 95 % interval of the best, not corrected" in Page(page(*variants)).text


def test_pages_of_several_data_sets_lead_to_each_other():
    html = Page(page(variant("a"), tasks=["bbc", "toy"]))
    links = {tag["href"]: tag.get("aria-current") for name, tag in html.elements if name == "a" and ".." in tag["href"]}
    assert links == {"../bbc/report.html": None, "../toy/report.html": "page"}


def test_a_single_variant():
    answer = make_answer([variant("only", speed=2.5)])
    assert answer["text"] == "80.0 % macro‑F1 in 5.0 MB, 2.5 documents per second"
    assert "No other variant" in answer["caveat"]
    assert "only" in Page(page(variant("only"))).text


@pytest.mark.parametrize(
    ("value", "text"),
    [(8050.4, "8,050"), (99.96, "100.0"), (5.44, "5.4"), (0.8, "0.80"), (0.0342, "0.034"), (0, "0"), (None, "–")],
)
def test_numbers(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize("n_labels", [2, 5, 77, 150])
@pytest.mark.parametrize("exclusive", [True, False])
def test_any_number_of_labels(n_labels, exclusive):
    labels = [f"label{i}" for i in range(n_labels)]
    found = Page(page(variant("one", labels=labels, exclusive=exclusive), variant("two", labels=labels)))
    assert all(f"{label} 0.65 0.70 0.60" in found.text for label in labels)
    assert found.text.count("Confusions") == 1 + exclusive


def test_a_large_report_stays_below_two_megabytes(tmp_path):
    labels = [f"a label with quite a long name, number {i}" for i in range(150)]
    docs = [("word " * 5000, ["x"], {"x": 0.1, "y": 0.9})] * 4
    variants = [variant(f"variant-{i}", 0.5 + i / 100, labels=labels) for i in range(20)]
    for data in variants:
        data["scores"]["accuracy"] = 0.0
        data["scores"]["confusion"]["rows_are_gold"] = [[1] * 150 for _ in labels]
        predictions(tmp_path, data["variant"], docs)
    html = page(*variants, runs=tmp_path)
    assert "word word" in html
    assert len(html.encode()) < 2_000_000


def test_labels_texts_and_names_are_never_markup(tmp_path):
    data = variant("one", labels=(EVIL, "b", "c"))
    data["env"]["git_commit"] = data["env"]["cpu"] = data["baseline"]["majority"]["label"] = EVIL
    data["scores"]["accuracy"] = 0.0
    predictions(tmp_path, "one", [(EVIL, [EVIL], {EVIL: 0.1, "b": 0.9})] * 4)
    peer = {"variant": EVIL, "dataset": "toy", "scores": {"macro_f1": 0.5}, "size": {"pipeline_bytes": 5}}
    html = page(data, runs=tmp_path, peers=[peer], missing=[EVIL])
    found = Page(html)
    tags = [tag for tag, _ in found.elements]
    assert tags.count("script") == 2 and "img" not in tags
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert html.count("</script>") == 2
    assert "alert('x')" in found.text


def test_only_the_page_s_own_script_may_run_and_nothing_is_fetched():
    html = page(variant("one"), variant("two"))
    found = Page(html)
    (policy,) = [a["content"] for tag, a in found.elements if tag == "meta" and "http-equiv" in a]
    script = html.rpartition("<script>")[2].partition("</script>")[0]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert "default-src 'none'" in policy
    links = [a[name] for _, a in found.elements for name in ("src", "href") if name in a]
    assert links and all(link.startswith(("#", "data:,")) for link in links)
    assert "@import" not in html and "url(" not in html
    targets = {a["id"] for _, a in found.elements if "id" in a}
    assert {link[1:] for link in links if link.startswith("#")} <= targets


def test_most_confident_mistakes_come_first(tmp_path):
    found = find_mistakes(predictions(tmp_path, "one", DOCS), variant("one"))
    assert [(item["text"], item["gold"], item["guess"], item["score"]) for item in found] == [
        ("three", "c", "b", 0.9),
        ("two", "b", "a", 0.5),
    ]


def test_mistakes_of_several_labels_are_label_by_label(tmp_path):
    docs = [("one", ["a"], {"a": 0.1, "b": 0.7, "c": 0.2}), ("two", [], {"a": 0.1, "b": 0.2, "c": 0.2})]
    data = variant("one", exclusive=False)
    data["scores"]["documents"] = 2
    found = find_mistakes(predictions(tmp_path, "one", docs), data)
    assert [(item["gold"], item["guess"], item["score"]) for item in found] == [
        ("a", "not a", 0.9),
        ("not b", "b", 0.7),
    ]


def test_predictions_of_another_model_are_not_shown(tmp_path):
    data = variant("one")
    assert find_mistakes(tmp_path / "absent.jsonl", data) is None
    assert find_mistakes(predictions(tmp_path, "one", DOCS[:3]), data) is None
    data["scores"]["accuracy"] = 0.75
    assert find_mistakes(predictions(tmp_path, "one", DOCS), data) is None
    (tmp_path / "one" / "predictions.jsonl").write_text('{"text": ')
    assert find_mistakes(tmp_path / "one" / "predictions.jsonl", data) is None
    assert "No predictions at hand" in Page(page(data, runs=tmp_path)).text


def test_curves(tmp_path):
    assert scale_line([(0, 1.0)]) is None
    assert scale_line([(0, 1.0), (5, 1.0)], 10, 10)["path"] == "0.0,10.0 10.0,10.0"
    assert len(scale_line([(i, i) for i in range(5000)])["path"].split()) <= 200
    for name in ("one", "chars"):
        (tmp_path / name).mkdir()
    losses = [{"nr_word": 100 * i, "loss": 1.0, "epoch_loss": 9.0 - i, "epoch": i} for i in range(3)]
    losses.append(losses[-1] | {"epoch_loss": 0.0})
    srsly.write_jsonl(tmp_path / "one" / "log.jsonl", [{"step": i, "score": i / 10} for i in range(9)] + [{"step": 9}])
    for name in ("weights", "reads"):
        srsly.write_jsonl(tmp_path / "chars" / f"{name}.jsonl", losses)
        (tmp_path / "chars" / f"{name}.bin").touch()
    found = Page(page(variant("one"), runs=tmp_path)).text
    srsly.write_jsonl(
        tmp_path / "chars" / "log.jsonl",
        [{"step": i, "score": 0.0, "scores": {"cats_score": 10.0 * i}} for i in range(8)] + [{"step": 8, "score": 0.0}],
    )
    assert "best 0.700" in Page(page(variant("chars"), runs=tmp_path)).text, "its weights are 0, its score is not"
    assert "best 0.800" in found and "Pretraining loss, chars 9.0 7.0 0 200" in found
    assert "Pretraining loss, chars, reads 9.0" in found


def test_coverage_of_pruned_vectors(tmp_path):
    table = {"keys": 14000, "rows": 14000, "bytes": 6e6, "coverage": {"train": {"tokens": 0.9, "types": 0.8}}}
    (tmp_path / "pruned").mkdir()
    srsly.write_json(
        tmp_path / "pruned" / "coverage.json",
        {"before": table, "after": table | {"rows": 3000}, "remapped": {"keys": 11000, "mean_similarity": 0.61}},
    )
    points = [{"rows": 500, "mean": 0.7, "macro_f1": [0.7, 0.7]}, {"rows": 9000, "mean": 0.8, "macro_f1": [0.8, 0.8]}]
    srsly.write_json(tmp_path / "pruned" / "sweep.json", {"points": points, "within": 0.01, "knee": 9000})
    found = Page(page(variant("one"), runs=tmp_path)).text
    assert "of 2 seeds. 9,000 rows come within 1.0 points" in found and "0.80 0.70 500 9,000" in found
    assert "after pruning 3,000 14,000 6.0 90.0 %" in found and "11,000 words share" in found


def test_doubted_labels(tmp_path):
    assert "Labels to doubt" not in Page(page(variant("one"), runs=tmp_path)).text
    facts = {"texts": 1535, "contradicted": 285, "expected_wrong": 91}
    metas = [{"given": "b", "suggested": EVIL, "score": 0.9996, "source": f"train.csv, line {i}"} for i in range(90)]
    srsly.write_json(tmp_path / "doubt.json", facts)
    srsly.write_jsonl(tmp_path / "doubt.jsonl", [{"text": EVIL, "accept": ["b"], "meta": meta} for meta in metas])
    html = page(variant("one"), runs=tmp_path)
    found = Page(html).text
    assert "contradicts the labels of 285 of 1,535 texts" in found and "some 91 labels are expected" in found
    assert "train.csv, line 19" in found and "line 20" not in found and "1.000" in found
    assert html.count("</script>") == 2, "a text is never markup"


def test_learning_curves(tmp_path):
    points = [{"texts": 300, "macro_f1": 0.5}, {"texts": 1200, "macro_f1": 0.7}]
    srsly.write_json(tmp_path / "one.json", {"variant": "one", "points": points})
    found = Page(page(variant("one"), curves=learning_curves(read_curves(tmp_path, {})))).text
    assert "More data? one 0.70 0.50 300 1,200" in found
    srsly.write_json(tmp_path / "one.json", {"variant": "one", "points": points, "corpus_md5": {"train.spacy": "old"}})
    assert not read_curves(tmp_path, {"train.spacy": "new"}) and len(read_curves(tmp_path, {})) == 1


def test_seeds(tmp_path):
    (tmp_path / "seeds").mkdir()
    for seed, score in ((0, 0.80), (1, 0.82), (2, 0.84)):
        data = variant("one", score) | {
            "seed": seed,
            "dataset": "toy",
            "experiment": {"setting": "default", "values": {}},
        }
        srsly.write_json(tmp_path / "seeds" / f"one--default--{seed}.json", data)
    (tmp_path / "tuning").mkdir()
    srsly.write_json(tmp_path / "tuning" / "one--default--0.json", data | {"seed": 0})
    data["experiment"]["values"] = {"training.dropout": 0.5}
    srsly.write_json(tmp_path / "seeds" / "one--dropout--2.json", data | {"seed": 3})
    srsly.write_json(tmp_path / "seeds" / "one--default--4.json", data | {"dataset": "other"})
    variants = [variant("one", 0.80), variant("two")]
    found = Page(page(*variants, seeds=scores_by_seed(find_runs(tmp_path, "toy", variants)))).text
    assert "3 seeds: macro-F1 0.820 ± 0.020 (mean and standard deviation of 0.800, 0.820, 0.840)" in found
    assert found.count("standard deviation") == 1


def test_different_corpora_are_pointed_out():
    first, second = variant("one"), variant("two")
    first["env"]["corpus_md5"], second["env"]["corpus_md5"] = {"test.spacy": "a"}, {"test.spacy": "b"}
    assert "not measured on the same corpus" in Page(page(first, second)).text
    assert "not measured on the same corpus" not in Page(page(first, first)).text


def test_flat_figures_of_a_peer_may_be_absent():
    row = flatten({"variant": "svm", "scores": {"macro_f1": 0.7}, "size": {"pipeline_bytes": 2_000_000}})
    assert flatten(variant("one", speed=8050.5))["speed"] == 8050
    assert (row["size"], row["speed"], row["memory"], row["low"]) == (2.0, None, None, None)


def test_several_labels_are_judged_by_the_tuned_threshold():
    doc = {"text": "x", "gold": ["a"], "cats": {"a": 0.45, "b": 0.42}}
    assert judge(doc, exclusive=False, threshold=0.44) == []
    assert judge(doc, exclusive=False, threshold=0.4) == [(0.42, "not b", "b")]
    assert judge(doc, exclusive=False) == [(pytest.approx(0.55), "a", "not a")]
