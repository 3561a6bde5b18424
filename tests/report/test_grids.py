"""The report tells what grids of runs say: which differences are real, and what tuning brings."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import srsly

from scripts.report.grids import comparison_rows, read_comparison, read_tuning, tuning_answer, tuning_rows
from tests.experiments.test_experiment import make_runs
from tests.report.test_report import METRICS, metrics  # noqa: F401

# Macro-F1 on test and on dev, by setting: what is best on test is not what is best on dev.
TUNED = {
    "bow": {"default": (0.70, 0.70), "dropout-0.1": (0.71, 0.75), "rate-0.003": (0.74, 0.72)},
    "cnn": {"default": (0.68, 0.71), "width-48": (0.67, 0.69), "width-192": (0.66, 0.70)},
}


def write_run(folder, variant, setting, seed, test, dev, scores=None, size=METRICS["size"]):
    folder.mkdir(parents=True, exist_ok=True)
    data = METRICS | {
        "variant": variant,
        "seed": seed,
        "scores": METRICS["scores"] | (scores or {}) | {"macro_f1": test},
        "dev": {"macro_f1": dev},
        "size": size,
        "experiment": {"setting": setting, "values": {} if setting == "default" else {"training.x": 1}},
    }
    srsly.write_json(folder / f"{variant}--{setting}--{seed}.json", data)


@pytest.fixture
def tuned(metrics):  # noqa: F811
    """A folder of metrics with a tuning grid of two seeds, 0.01 apart."""
    for variant, settings in TUNED.items():
        for setting, (test, dev) in settings.items():
            for seed in (0, 1):
                write_run(metrics / "tuning", variant, setting, seed, test + seed / 100, dev)
    return metrics


@pytest.fixture
def seeds(metrics):  # noqa: F811
    """A folder of metrics with a grid of three seeds: `good` is better than `bad`, and `small` is not told from it."""
    rng = np.random.default_rng(1)
    for variant, accuracy in (("good", 0.9), ("small", 0.895), ("bad", 0.7)):
        for seed, run in enumerate(make_runs(accuracy, 3, rng)):
            test = run["scores"]["macro_f1"]
            single = srsly.read_json(metrics / f"{variant}.json")
            write_run(metrics / "seeds", variant, "default", seed, test, accuracy, run["scores"], single["size"])
    return metrics


def test_the_setting_is_chosen_on_dev_and_its_test_score_reported(tuned):
    tuning = read_tuning(tuned, "toy", [])
    assert tuning["blank"]["bow"]["setting"] == "dropout-0.1"
    assert tuning["blank"]["cnn"]["setting"] == "default"
    assert tuning["base"] == "cnn", "the best default on dev, though not on test"
    assert tuning["blank"]["bow"]["tried"] == pytest.approx(
        {"default": 0.705, "dropout-0.1": 0.715, "rate-0.003": 0.745}
    )
    assert tuning_rows(tuning) == [
        ("bow", "0.705 ± 0.007", "0.715 ± 0.007", "+1.0", "dropout-0.1; all 3: 0.705 to 0.745"),
        ("cnn", "0.685 ± 0.007", "0.685 ± 0.007", "+0.0", "default; all 3: 0.665 to 0.685"),
    ]
    assert tuning_answer(tuning).endswith("by +0.0 to +1.0 points of macro-F1 on test.")


def test_the_ladder_stands_on_the_default_of_the_best_blank_variant(tuned):
    one = {"variant": "vectors", "scores": {"macro_f1": 0.8}}
    for seed, test in enumerate((0.88, 0.90)):
        write_run(tuned / "seeds", "transformer", "default", seed, test, 0.9)
    tuning = read_tuning(tuned, "toy", [one, one | {"variant": "pruned"}])
    assert tuning_rows(tuning)[2:] == [
        ("vectors", "0.800", "", "+11.5", "over the default cnn"),
        ("transformer", "0.890 ± 0.014", "", "+20.5", "over the default cnn"),
    ]
    assert "(vectors, transformer) brought +11.5 to +20.5" in tuning_answer(tuning)


def test_without_another_setting_or_for_another_data_set_nothing_was_tuned(metrics):  # noqa: F811
    assert read_tuning(metrics, "toy", []) is None
    write_run(metrics / "tuning", "bow", "default", 0, 0.7, 0.7)
    assert read_tuning(metrics, "toy", []) is None
    write_run(metrics / "tuning", "bow", "wide", 0, 0.7, 0.7)
    assert read_tuning(metrics, "toy", [])["blank"]
    assert read_tuning(metrics, "bbc", []) is None


def test_compare_and_report_tell_real_differences_from_chance(seeds, run):
    assert run("compare", "metrics/seeds").returncode == 0
    comparison = read_comparison(seeds / "seeds", "toy")
    rows = {row["name"]: row for row in comparison_rows(comparison)}
    assert rows["good"]["verdict"] == "reference" and rows["good"]["difference"] == ""
    assert rows["bad"]["verdict"] == "worse" and rows["bad"]["difference"].startswith("-")
    assert rows["small"]["verdict"] == "could be chance" and rows["small"]["seeds"] == "3"
    assert run("report", "metrics", "--dataset", "toy").returncode == 0
    markdown = (seeds / "report.md").read_text(encoding="utf-8")
    assert "**What is more than chance**" in markdown and "than good |" in markdown
    assert f"| {rows['bad']['scores']} | {rows['bad']['difference']} | {rows['bad']['p']} | worse |" in markdown
    page = (seeds / "report.html").read_text(encoding="utf-8")
    assert "What is more than chance" in page and f">{rows['bad']['scores']}<" in page
    assert "corrected for the number of comparisons (Holm)" in page


def test_a_comparison_of_other_runs_is_left_out(seeds, run):
    assert "9 runs, not compared yet" in run("report", "metrics", "--dataset", "toy").output
    run("compare", "metrics/seeds")
    assert read_comparison(seeds / "seeds", "bbc") is None
    (seeds / "seeds" / "bad--default--2.json").unlink()
    assert "left out, there are other runs now" in run("report", "metrics", "--dataset", "toy").output
    markdown = (seeds / "report.md").read_text(encoding="utf-8")
    assert "| bad | 2 |" in markdown and "| good | 3 |" in markdown, "its own tests are of the runs that there are"


def test_runs_that_cannot_be_compared_any_more_still_count(seeds, run):
    """An earlier version kept no answers; `compare` refuses such runs, so that nobody is sent there."""
    path = seeds / "seeds" / "bad--default--2.json"
    earlier = srsly.read_json(path)
    del earlier["scores"]["answers"]
    srsly.write_json(path, earlier)
    process = run("report", "metrics", "--dataset", "toy")
    assert process.returncode == 0 and "not compared yet" not in process.output
    page = (seeds / "report.html").read_text(encoding="utf-8")
    runs = [srsly.read_json(seeds / "seeds" / f"bad--default--{seed}.json") for seed in range(3)]
    assert f"{np.mean([one['scores']['macro_f1'] for one in runs]):.3f} ±" in page
    assert "an earlier version has made it" in run("compare", "metrics/seeds").output


def test_compare_json_is_no_run(seeds, run):
    assert run("compare", "metrics/seeds").returncode == 0
    before = json.loads((seeds / "seeds" / "compare.json").read_bytes())
    assert run("compare", "metrics/seeds").returncode == 0
    assert json.loads((seeds / "seeds" / "compare.json").read_bytes()) == before


def test_report_shows_tuning_in_all_its_forms(tuned, run):
    assert run("report", "metrics", "--dataset", "toy").returncode == 0
    markdown = (tuned / "report.md").read_text(encoding="utf-8")
    assert "| bow | 0.705 ± 0.007 | 0.715 ± 0.007 | +1.0 |" in markdown and "(tuning.svg)" in markdown
    drawn = " ".join(ElementTree.parse(tuned / "tuning.svg").getroot().itertext())
    assert all(word in drawn for word in ("bow", "cnn", "chosen on dev", "macro-F1 on test"))
    page = (tuned / "report.html").read_text(encoding="utf-8")
    assert "data:image/svg+xml;base64," in page and '<td class="num">+1.0</td>' in page


def test_without_grids_the_sections_are_absent(metrics, run):  # noqa: F811
    assert run("report", "metrics", "--dataset", "toy").returncode == 0
    text = (metrics / "report.md").read_text(encoding="utf-8") + (metrics / "report.html").read_text(encoding="utf-8")
    assert "What is more than chance" not in text and "What tuning brings" not in text
    assert not (metrics / "tuning.svg").exists()
