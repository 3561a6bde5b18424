"""Paired tests of all variants are made of the runs that count, kept without texts, dropped where scores changed."""

import json

import numpy as np
import pytest
import srsly

from scripts.common.files import write_json
from scripts.evaluation.paired import label_matrices
from scripts.evaluation.thresholds import macro_f1
from scripts.experiments.pairs import compare_variants
from scripts.report.results import load_results
from tests.experiments.test_experiment import make_runs
from tests.report.test_report import METRICS

NAMES = {"linear": 0.7, "compact": 0.85, "transformer": 0.9}


def write_single(root, variant, run, config="x", corpus="y"):
    """Metrics of a single run."""
    data = METRICS | {
        "variant": variant,
        "scores": METRICS["scores"] | run["scores"],
        "dev": run["dev"],
        "env": METRICS["env"] | {"config_md5": config, "corpus_md5": {"train.spacy": corpus, "raw.jsonl": variant}},
    }
    (root / "metrics" / "toy").mkdir(parents=True, exist_ok=True)
    srsly.write_json(root / "metrics" / "toy" / f"{variant}.json", data)


def write_seed(root, variant, seed, run, config="x", corpus="y"):
    folder = root / "metrics" / "toy" / "seeds"
    folder.mkdir(parents=True, exist_ok=True)
    data = METRICS | {
        "variant": variant,
        "seed": seed,
        "scores": METRICS["scores"] | run["scores"],
        "dev": run["dev"],
        "env": METRICS["env"] | {"config_md5": config, "corpus_md5": {"train.spacy": corpus}},
        "experiment": {"setting": "default", "values": {}},
    }
    srsly.write_json(folder / f"{variant}--default--{seed}.json", data)


def exact(run):
    """The run with the score that its answers have."""
    return run | {"scores": run["scores"] | {"macro_f1": float(macro_f1(*label_matrices(run)))}}


@pytest.fixture
def task(tmp_path):
    rng = np.random.default_rng(0)
    for name, accuracy in NAMES.items():
        write_single(tmp_path, name, exact(make_runs(accuracy, 1, rng)[0]))
    return tmp_path


def compared(root, anew=True):
    folder = root / "metrics" / "toy"
    results = load_results(folder, "toy", anew)
    if results.new_pairs:
        write_json(folder / "paired" / "compare.json", results.pairs)
    return results.pairs, results.new_pairs


def rows_of(pairs):
    return {row["name"]: row for row in pairs["rows"]}


def test_single_runs_are_compared_once(task):
    pairs, new = compared(task)
    assert new and rows_of(pairs).keys() == NAMES.keys()
    assert pairs["gap"]["real"] and 0 < rows_of(pairs)["compact"]["share"]["value"] < 1.2
    assert pairs["reference"] == "transformer"
    assert compared(task) == (pairs, False), "as long as nothing changes, what was found is used"
    assert compared(task, anew=False) == (pairs, False)


@pytest.mark.parametrize("older", [{"config": "older"}, {"corpus": "older"}])
def test_seeds_of_the_grid_count_and_older_ones_do_not(task, capsys, older):
    rng = np.random.default_rng(1)
    for seed in range(3):
        write_seed(task, "compact", seed, exact(make_runs(0.85, 1, rng)[0]))
        write_seed(task, "linear", seed, exact(make_runs(0.5, 1, rng)[0]), **older)
    rows = rows_of(compared(task)[0])
    assert {name: row["seeds"] for name, row in rows.items()} == {"linear": 1, "compact": 3, "transformer": 1}
    assert rows["linear"]["macro_f1"] > 0.6
    assert "so these runs do not count: linear" in " ".join(capsys.readouterr().out.split())


def change_texts(root, documents=20):
    """The data set as it is after a change: its corpus, and `linear` measured on that."""
    (root / "corpus" / "toy").mkdir(parents=True)
    write_json(root / "corpus" / "toy" / "task.json", {"md5": {"train.spacy": "new", "raw.jsonl": "any"}})
    run = exact(make_runs(1.0, 1, np.random.default_rng(5), n=documents)[0])
    write_single(root, "linear", run, corpus="new")


def test_what_was_measured_before_a_change_of_the_texts_is_left_out(task, run):
    """Also where it is the majority."""
    (task / "training" / "toy").mkdir(parents=True)
    change_texts(task)
    command = ("metrics/toy", "--dataset", "toy", "--corpus", "corpus/toy")
    process = run("report", *command, "--training", "training/toy")
    assert process.returncode == 0, process.output
    assert (
        "left out, measured before the texts of the data set were changed: compact, transformer. Measure"
        in process.output
    )
    markdown = (task / "metrics" / "toy" / "report.md").read_text(encoding="utf-8")
    assert "| linear ★ |" in markdown and "compact" not in markdown
    assert "linear, macro-F1 1.000 in" in (said := run("recommend", *command).output) and "is the only variant" in said
    write_json(task / "corpus" / "toy" / "task.json", {"md5": {"train.spacy": "newer still"}})
    said = run("recommend", *command).output
    assert "metrics/toy: measured before the texts of the data set were changed: " in said and "Take " in said, said
    write_json(task / "corpus" / "toy" / "task.json", {"md5": {"train.spacy": "a fold's"}, "fold": {"number": 1}})
    assert "left out" not in run("recommend", *command).output, "a fold is no change"


@pytest.mark.parametrize("documents", [400, 20])
def test_equal_scores_on_other_texts_are_other_scores(task, documents):
    for name in NAMES:
        write_single(task, name, exact(make_runs(1.0, 1, np.random.default_rng(5))[0]))
    before = compared(task)[0]
    assert before["runs"]["linear"] == {"linear": 1.0} and before["corpus_md5"] == {"train.spacy": "y"}
    if documents == 400:
        write_json(task / "metrics" / "toy" / "paired" / "compare.json", before | {"corpus_md5": {"test.spacy": "old"}})
        assert compared(task, anew=False)[0] is None
    else:
        write_single(task, "linear", exact(make_runs(1.0, 1, np.random.default_rng(5), n=documents)[0]))
        assert rows_of(compared(task, anew=False)[0]).keys() == {"compact", "transformer"}


def test_seeds_of_other_settings_do_not_count(task, capsys):
    """The config is the same, what was packed into the pipeline is not."""
    write_seed(task, "compact", 0, exact(make_runs(0.85, 1, np.random.default_rng(1))[0]))
    path = task / "metrics" / "toy" / "compact.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    assert list(compared(task)[0]["runs"]["compact"]) == ["compact--default--0"]
    write_json(path, metrics | {"size": metrics["size"] | {"pipeline_bytes": 800_000}})
    assert list(compared(task)[0]["runs"]["compact"]) == ["compact"]
    assert "so these runs do not count: compact" in " ".join(capsys.readouterr().out.split())


def test_what_was_measured_anew_is_dropped_until_it_is_compared(task):
    compared(task)
    write_single(task, "transformer", exact(make_runs(0.95, 1, np.random.default_rng(2))[0]))
    pairs, new = compared(task, anew=False)
    assert not new and rows_of(pairs).keys() == {"linear", "compact"}
    assert pairs["gap"] == {"missing": "There are no paired tests of both ends of the gap, linear and transformer."}
    assert pairs["reference"] is None, "no differences to what is no longer there"
    assert all(row["share"] is None and "transformer" not in row["worse_than"] for row in pairs["rows"])
    pairs, new = compared(task)
    assert new and rows_of(pairs)["transformer"]["macro_f1"] > 0.92


def test_a_table_of_differences_needs_what_they_are_to(task, run):
    (task / "training" / "toy").mkdir(parents=True)
    compared(task)
    write_single(task, "transformer", exact(make_runs(0.95, 1, np.random.default_rng(2))[0]))
    drop_answers(task / "metrics" / "toy" / "transformer.json")
    process = run("report", "metrics/toy", "--dataset", "toy", "--training", "training/toy")
    assert process.returncode == 0, process.output
    markdown = (task / "metrics" / "toy" / "report.md").read_text(encoding="utf-8")
    assert "than transformer" not in markdown and "What is more than chance" not in markdown


def test_an_end_of_the_gap_that_could_not_be_compared_is_no_other_end(task):
    """Of the rest another would be the best transformer, and lend its gap to all shares."""
    write_single(task, "transformer-large", exact(make_runs(0.95, 1, np.random.default_rng(2))[0]))
    drop_answers(task / "metrics" / "toy" / "transformer-large.json")
    pairs, new = compared(task)
    assert new and rows_of(pairs).keys() == NAMES.keys() and pairs["reference"] == "transformer"
    ends = "linear and transformer-large"
    assert pairs["gap"] == {"missing": f"There are no paired tests of both ends of the gap, {ends}."}
    assert not any(row["share"] for row in pairs["rows"])
    (task / "metrics" / "toy" / "transformer-large.json").unlink()
    (task / "metrics" / "toy" / "transformer.json").unlink()
    assert compared(task)[0]["gap"] == {"missing": "No fine-tuned transformer has been measured."}


def drop_answers(path):
    metrics = json.loads(path.read_text(encoding="utf-8"))
    del metrics["scores"]["answers"]
    write_json(path, metrics)


def test_what_an_earlier_version_measured_is_named_and_what_it_found_kept(task, run):
    (task / "training" / "toy").mkdir(parents=True)
    before, _ = compared(task)
    for name in ("compact", "transformer"):
        drop_answers(task / "metrics" / "toy" / f"{name}.json")
    assert compared(task) == (before, False), "the scores are those that it was found from"
    (task / "metrics" / "toy" / "paired" / "compare.json").unlink()
    assert compared(task)[0] is None, "linear alone has nothing to be compared with"
    write_single(task, "transformer", exact(make_runs(0.9, 1, np.random.default_rng(2))[0]))
    process = run("report", "metrics/toy", "--dataset", "toy", "--training", "training/toy")
    assert process.returncode == 0, process.output
    assert "since an earlier version measured them: compact. Measure them anew" in process.output
    assert "spacy project run evaluate-compact" in process.output


def test_more_rows_without_an_end_of_the_gap_do_not_take_the_place_of_those_with_both(task):
    before, _ = compared(task)
    for name in ("linear", "transformer"):
        drop_answers(task / "metrics" / "toy" / f"{name}.json")
    for i, name in enumerate(("bow", "compact", "compact-small", "vectors")):
        write_single(task, name, exact(make_runs(0.6, 1, np.random.default_rng(i))[0]))
    pairs, new = compared(task)
    assert not new and rows_of(pairs).keys() == {"linear", "transformer"} and pairs["gap"] == before["gap"]


@pytest.mark.parametrize(
    "broken", [{}, {"gold": "0 1"}, {"given": "-1 " * 400}, {"given": "9 " * 400}, {"labels": None}, {"given": ["0"]}]
)
def test_broken_answers_do_not_count(task, broken):
    path = task / "metrics" / "toy" / "compact.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    metrics["scores"]["answers"] = broken and metrics["scores"]["answers"] | broken
    write_json(path, metrics)
    assert rows_of(compared(task)[0]).keys() == {"linear", "transformer"}


def test_what_waits_for_others_to_be_measured_anew_is_named(task, run):
    """It has answers, and what was compared before has not: more would be lost than gained."""
    (task / "training" / "toy").mkdir(parents=True)
    compared(task)
    for name in NAMES:
        drop_answers(task / "metrics" / "toy" / f"{name}.json")
    write_single(task, "bow", exact(make_runs(0.6, 1, np.random.default_rng(2))[0]))
    process = run("report", "metrics/toy", "--dataset", "toy", "--training", "training/toy")
    assert process.returncode == 0, process.output
    assert "with those that an earlier version measured: bow." in process.output
    assert "Measure them anew" not in process.output


def test_metrics_of_another_pipeline_are_named(task, run):
    """Their scores alone may hardly differ from those of the one that is there."""
    path = task / "metrics" / "toy" / "linear.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, metrics | {"train": metrics["train"] | {"model_md5": "a" * 32}})
    (task / "training" / "toy" / "linear").mkdir(parents=True)
    write_json(task / "training" / "toy" / "linear" / "train.json", {"model_md5": "b" * 32})
    process = run("report", "metrics/toy", "--dataset", "toy", "--training", "training/toy")
    assert "metrics/toy/linear.json: is not of the pipeline in training/toy/linear" in process.output


def test_a_file_of_other_content_is_left_out(task, capsys):
    write_json(task / "metrics" / "toy" / "paired" / "compare.json", {"rows": []})
    assert compared(task)[1], "and made anew"
    assert "it is not what `report` writes" in " ".join(capsys.readouterr().out.split())


def test_a_variant_tested_on_other_texts_is_left_out(task, capsys):
    run = exact(make_runs(0.8, 1, np.random.default_rng(4), n=300)[0])
    write_single(task, "compact", run)
    assert rows_of(compared(task)[0]).keys() == {"linear", "transformer"}
    assert "compact: was tested on other documents or labels than most" in " ".join(capsys.readouterr().out.split())


def test_one_variant_has_nothing_to_be_compared_with(task):
    metrics = json.loads((task / "metrics" / "toy" / "linear.json").read_text(encoding="utf-8"))
    assert compare_variants(task / "nowhere", "toy", {"linear": {"linear": metrics}}, anew=True) == (None, False)


def test_report_keeps_what_it_finds_and_pages_lead_to_each_other(task, run):
    other = json.loads((task / "metrics" / "toy" / "linear.json").read_text(encoding="utf-8")) | {"dataset": "other"}
    (task / "metrics" / "other").mkdir()
    srsly.write_json(task / "metrics" / "other" / "linear.json", other)
    process = run("report", "metrics/toy", "--dataset", "toy", "--training", "training/toy")
    assert process.returncode == 0, process.output
    folder = task / "metrics" / "toy"
    found = json.loads((folder / "paired" / "compare.json").read_text(encoding="utf-8"))
    assert rows_of(found).keys() == NAMES.keys()
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "share of the gap" in markdown and "The gap between linear (labels alone) and" in markdown
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'href="../other/report.html"' in page and "share of the gap" in page
    assert 'href="../toy/report.html"' in (task / "metrics" / "other" / "report.html").read_text(encoding="utf-8")
