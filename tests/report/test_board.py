"""The board puts tasks beside each other as their metrics say, whatever is missing on some of them."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import srsly

from scripts.common.files import write_json
from scripts.report.board import (
    complete_block,
    describe_share,
    load_tasks,
    mean_ranks,
    readme_variants,
    share_cell,
    shares_over_tasks,
    standing,
    value_range,
)
from scripts.report.results import load_results
from tests.conftest import message
from tests.experiments.test_experiment import make_runs
from tests.report.test_report import METRICS

SIZES = {"linear": 0.4, "bow": 5.0, "compact": 4.0, "compact-domain": 1.4, "transformer": 46.0}


def write_task(root, name, accuracies, paired=True, n=1000):
    """A task: metrics of single runs, and, if wanted, the paired tests that `report` would keep."""
    rng = np.random.default_rng(7)
    for variant, accuracy in accuracies.items():
        run = make_runs(accuracy, 1, rng, n=n)[0]
        f1 = run["scores"]["macro_f1"]
        scores = run["scores"] | {"macro_f1_ci": [f1 - 0.02, f1 + 0.02]}
        data = METRICS | {"variant": variant, "dataset": name, "scores": METRICS["scores"] | scores, "dev": run["dev"]}
        data["size"] = {"pipeline_bytes": int(SIZES[variant] * 1e6), "vectors_bytes": 0}
        data["speed"] = METRICS["speed"] | {"docs_per_s": 40_000 / SIZES[variant]}
        write_json(root / "metrics" / name / f"{variant}.json", data)
    if paired:
        pairs = load_results(root / "metrics" / name, name, anew=True).pairs
        if pairs:
            write_json(root / "metrics" / name / "paired" / "compare.json", pairs)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four tasks: with a gap; with none; without a transformer, which was skipped; with a gap and no paired tests."""
    root = tmp_path_factory.mktemp("board")
    write_task(root, "topic", {"linear": 0.7, "bow": 0.6, "compact": 0.88, "transformer": 0.9})
    write_task(root, "easy", {"linear": 0.9, "bow": 0.85, "compact": 0.9, "transformer": 0.9})
    write_task(root, "german", {"linear": 0.8, "bow": 0.7, "compact-domain": 0.8})
    skipped = {"variant": "transformer", "skipped": "The encoder is for English."}
    write_json(root / "metrics" / "german" / "transformer.json", skipped)
    write_task(root, "mood", {"linear": 0.7, "bow": 0.7, "compact": 0.72, "transformer": 0.9}, paired=False)
    return root


@pytest.fixture(scope="module")
def tasks(root):
    return load_tasks(root / "metrics")


def task(tasks, name):
    (found,) = [task for task in tasks if task.name == name]
    return found


def test_where_each_stands(tasks):
    topic = task(tasks, "topic")
    assert {name: standing(topic, name) for name in topic.runs} == {
        "linear": "≈ labels", "bow": "< labels", "compact": "≈ transformer", "transformer": "≈ transformer"
    }  # fmt: skip
    assert standing(task(tasks, "mood"), "compact") in ("≈ labels", "between")
    assert standing(task(tasks, "easy"), "compact") == "", "there is no gap to stand in"


def test_a_better_transformer_that_was_not_compared_ends_the_gap(tmp_path):
    """It was measured elsewhere, and its predictions are not here."""
    write_task(tmp_path, "topic", {"linear": 0.7, "compact": 0.8, "transformer": 0.85})
    better = srsly.read_json(tmp_path / "metrics" / "topic" / "transformer.json") | {"variant": "transformer-large"}
    for scores in (better["scores"], better["dev"]):
        scores["macro_f1"] += 0.1
    write_json(tmp_path / "metrics" / "topic" / "transformer-large.json", better)
    (topic,) = load_tasks(tmp_path / "metrics")
    assert topic.gap["transformer"] == "transformer-large" and topic.shares["transformer-large"]["value"] == 1
    assert topic.shares["compact"]["value"] < 0.5


def test_what_was_measured_on_other_texts_is_not_on_the_board(tmp_path):
    write_task(tmp_path, "topic", {"linear": 0.7, "bow": 0.8}, paired=False)
    now, before = ({"train.spacy": md5, "test.spacy": md5} for md5 in ("new", "old"))
    for name, md5 in (("linear", now), ("bow", before)):
        path = tmp_path / "metrics" / "topic" / f"{name}.json"
        metrics = srsly.read_json(path)
        write_json(path, metrics | {"env": metrics["env"] | {"corpus_md5": md5}})
    write_json(tmp_path / "corpus" / "topic" / "task.json", {"md5": now})
    assert load_tasks(tmp_path / "metrics")[0].runs.keys() == {"linear", "bow"}
    assert load_tasks(tmp_path / "metrics", tmp_path / "corpus")[0].runs.keys() == {"linear"}


def test_the_mean_share_is_over_the_tasks_that_have_a_gap(tasks):
    value, number = shares_over_tasks(tasks, "compact")
    expected = [task(tasks, name).shares["compact"]["value"] for name in ("topic", "mood")]
    assert number == 2 and value["value"] == pytest.approx(np.mean(expected))
    assert "low" not in value, "one of the two is untested"
    assert {"low", "high"} <= task(tasks, "topic").shares["compact"].keys()
    assert shares_over_tasks(tasks, "compact-domain") is None
    assert share_cell([task(tasks, "topic")], "compact", 2).endswith("(1 of 2)")


def test_the_ends_are_named_where_they_differ(tasks):
    assert "is chosen on dev. " in describe_share(tasks), "all of them end at transformer"
    mood = task(tasks, "mood")
    larger = replace(mood, gap=mood.gap | {"transformer": "transformer-large"})
    assert "is chosen on dev: transformer on topic; transformer-large on mood. " in (
        describe_share([task(tasks, "easy"), larger, task(tasks, "topic")])
    )


def test_ranks_are_among_the_same_variants_everywhere(tasks):
    block, names = complete_block(tasks)
    assert [task.name for task in block] == ["easy", "mood", "topic"]
    assert names == {"linear", "bow", "compact", "transformer"}
    ranks = mean_ranks(block, names)
    assert sum(ranks.values()) == pytest.approx(1 + 2 + 3 + 4) and min(ranks, key=ranks.__getitem__) == "transformer"


def test_ties_share_a_rank(tasks):
    twin = task(tasks, "topic")
    twin.costs["bow"]["f1"], before = twin.costs["linear"]["f1"], twin.costs["bow"]["f1"]
    try:
        assert mean_ranks([twin], {"linear", "bow", "transformer"}) == {"linear": 2.5, "bow": 2.5, "transformer": 1.0}
    finally:
        twin.costs["bow"]["f1"] = before


def test_ranges():
    assert (
        value_range([3.0, None, 12.0]) == "3.0–12.0" and value_range([5.0, 5.01]) == "5.0" and value_range([None]) == ""
    )


def test_readme_has_the_steps_of_the_ladder_and_the_front(tasks):
    assert readme_variants(tasks) == ["linear", "compact-domain", "compact", "bow", "transformer"]


def test_board_writes_table_picture_data_and_pages(root, run, tmp_path):
    (tmp_path / "metrics").symlink_to(root / "metrics")
    (tmp_path / "README.md").write_text(
        "before\n<!-- BOARD all: generated by `board` -->\nold\n<!-- BOARD all: end -->\nafter\n"
    )
    names = ("all", "topic", "german")
    blocks = [f"<!-- WHICH {name}: generated by `board` -->\n<!-- WHICH {name}: end -->\n" for name in names]
    (tmp_path / "which.md").write_text("\n".join(blocks))
    process = run("board", "metrics", "--readme", "README.md", "--page", "which.md")
    assert process.returncode == 0 and "5 variants on 4 task(s)" in process.output
    markdown = (root / "metrics" / "board.md").read_text(encoding="utf-8")
    assert "| variant | easy | german | mood | topic | share of the gap | size MB | docs/s | installed MB |" in markdown
    (row,) = [line for line in markdown.splitlines() if line.startswith("| transformer | ") and line.count("|") == 10]
    assert row.split(" | ")[2] == "–", "what cannot be done on a task is told from what was not measured"
    assert "- german, transformer: The encoder is for English." in markdown
    assert "- topic, not measured: compact-domain" in markdown
    assert "easy, 1,000 test texts: The gap between linear (labels alone)" in markdown and "could be chance" in markdown
    assert "by paired tests of all variants on easy, german, topic; on the others by paired" in markdown
    facts = json.loads((root / "metrics" / "board.json").read_text(encoding="utf-8"))
    assert facts["tasks"]["topic"]["variants"]["compact"]["standing"] == "≈ transformer"
    assert facts["mean_share"]["transformer"]["value"] == 1.0
    drawn = " ".join(ElementTree.parse(root / "metrics" / "board.svg").getroot().itertext())
    assert all(f"{name}, 1,000 test texts" in drawn for name in ("easy", "german", "mood", "topic"))
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("before\n<!-- BOARD") and "| compact |" in readme and "\nold\n" not in readme
    guide = (tmp_path / "which.md").read_text(encoding="utf-8")
    assert "| topic | linear | +" in guide and "smallest as good as the best" in guide
    assert "No fine-tuned transformer has been measured" in guide
    run("board", "metrics", "--readme", "README.md", "--page", "which.md")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == readme


def test_a_task_that_cannot_be_read_is_named_and_left_out(tmp_path, run):
    write_task(tmp_path, "topic", {"linear": 0.7})
    write_task(tmp_path, "broken", {"linear": 0.7})
    path = tmp_path / "metrics" / "broken" / "linear.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["speed"]
    write_json(path, data)
    process = run("board", "metrics")
    assert process.returncode == 0 and "broken: not on the board" in process.output
    assert "1 variants on 1 task(s)" in process.output


def test_without_metrics_there_is_no_board(tmp_path, run):
    assert "no metrics of any data set" in message(run("board", "metrics"))
