"""Whole workflows at toy size, through `spacy project run`, as a user would run them."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import srsly
from spacy.tokens import DocBin
from spacy.vocab import Vocab
from weasel.util.config import load_project_config

from scripts.evaluation.scores import unpack_answers
from tests.conftest import DESKS, toy_records
from tests.project.test_project import BY_HAND, PROJECT
from tests.project.test_project import VARIANTS as ALL_VARIANTS

pytestmark = pytest.mark.slow

VARIANTS = [variant for variant in ALL_VARIANTS if variant not in BY_HAND]

TOY = ("--vars.dataset", "toy", "--vars.max_epochs", "10", "--vars.repeats", "1")
# Small tables, so that only some hundred words go through the encoder, few texts for the teacher, few passes.
TOY += ("--vars.compact_bytes", "40000", "--vars.compact_small_bytes", "20000")
TOY += ("--vars.taught_sentences", "100", "--vars.taught_texts", "400")
# So little raw text must be read often: compact-domain knows nothing else.
TOY += ("--vars.encoded_epochs", "2", "--vars.vectors_epochs", "60")
REPORT = [f"metrics/toy/report.{kind}" for kind in ("md", "svg", "html")]


def start(project, step, *extra):
    assert {name.removeprefix("--vars.") for name in (*TOY, *extra) if name.startswith("--")} <= set(PROJECT["vars"])
    command = [sys.executable, "-m", "spacy", "project", "run", step, ".", *TOY, *extra]
    return subprocess.Popen(
        command,
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(project, step, *extra):
    process = start(project, step, *extra)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def scores(project, variant):
    metrics = srsly.read_json(project / "metrics" / "toy" / f"{variant}.json")
    return {key: metrics[key] for key in ("variant", "dataset", "seed", "scores", "dev", "baseline", "size")}


@pytest.fixture(scope="module")
def finished(toy_project):
    """The toy project after `all`, and what that printed."""
    return toy_project, run(toy_project, "all")


def test_all_makes_every_output(finished):
    project, _ = finished
    for command in load_project_config(project, overrides={"vars.dataset": "toy"})["commands"]:
        if command["name"] in PROJECT["workflows"]["all"]:
            for output in command.get("outputs", REPORT):
                assert (project / output).exists(), output
    lock = srsly.read_yaml(project / "project.lock")
    assert not [(name, item) for name, entry in lock.items() for item in entry["outs"] if not item["md5"]]


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_learn(finished, variant):
    metrics = srsly.read_json(finished[0] / "metrics" / "toy" / f"{variant}.json")
    assert (metrics["variant"], metrics["dataset"]) == (variant, "toy")
    assert metrics["scores"]["macro_f1"] > metrics["baseline"]["majority"]["macro_f1"] + 0.2
    low, high = metrics["scores"]["macro_f1_ci"]
    assert low <= metrics["scores"]["macro_f1"] <= high
    assert metrics["speed"]["docs_per_s"] > 0 and metrics["train"]["seconds"] > 0
    predictions = list(srsly.read_jsonl(finished[0] / "training" / "toy" / variant / "predictions.jsonl"))
    tested = DocBin().from_disk(finished[0] / "corpus" / "toy" / "test.spacy").get_docs(Vocab())
    assert [row["text"] for row in predictions] == [doc.text for doc in tested]
    assert len(predictions) == metrics["scores"]["documents"]
    labels, (gold, given) = metrics["scores"]["answers"]["labels"], unpack_answers(metrics["scores"]["answers"])
    best = [max(row["cats"], key=row["cats"].get) for row in predictions]
    for matrix, expected in ((gold, [row["gold"] for row in predictions]), (given, [[label] for label in best])):
        assert [[label for label, has in zip(labels, row, strict=True) if has] for row in matrix] == expected


def test_scores_on_dev_are_those_from_before_it_was_learned_from(finished, tmp_path):
    """Else the best on dev would be the variant that has learned dev by heart."""
    project, _ = finished
    facts = project / "training" / "toy" / "linear" / "train.json"
    kept = facts.read_bytes()
    found = srsly.read_json(facts)
    try:
        srsly.write_json(facts, found | {"dev": found["dev"] | {"macro_f1": 0.123}})
        words = ("linear", tmp_path, "--corpus", "corpus/toy", "--training", "training/toy", "--repeats", "1")
        subprocess.run([sys.executable, "-m", "scripts.evaluation.evaluate", *words], cwd=project, check=True)
    finally:
        facts.write_bytes(kept)
    assert srsly.read_json(tmp_path / "linear.json")["dev"]["macro_f1"] == 0.123


def test_report_has_a_row_for_every_variant(finished):
    report = (finished[0] / "metrics" / "toy" / "report.md").read_text(encoding="utf-8")
    for variant in VARIANTS:
        assert f"| {variant} " in report


def test_second_run_skips_everything(finished):
    output = run(finished[0], "all")
    assert output.count("nothing changed") == len(PROJECT["workflows"]["all"]) - 4
    again = ["scripts.outputs.select", *(f"scripts.report.{name}" for name in ("report", "board", "recommend"))]
    assert re.findall(r"Running command: \S+ -m (\S+)", output) == again


def test_all_ends_with_the_board_and_with_advice(finished):
    assert "| compact | " in (finished[0] / "metrics" / "board.md").read_text(encoding="utf-8")
    assert re.search(r"Take [\w-]+, macro-F1 [01]\.\d+ in [\d.]+ MB", " ".join(finished[1].split()))


def test_data_sets_live_side_by_side(finished):
    """What is made for another one leaves this one's as it is, and going back and forth repeats nothing."""
    project, _ = finished
    records = [record for record in toy_records() if record["label"] != "film"]
    (project / "assets" / "other").mkdir()
    srsly.write_jsonl(project / "assets" / "other" / "train.jsonl", records)
    before = {path: path.read_bytes() for path in (project / "metrics" / "toy").glob("*.json")}
    other = ("--vars.dataset", "other")

    def ran(*words):
        return re.findall(r"Running command: \S+ -m scripts\.(\S+)", run(project, *words))

    first = ["outputs.select", "data.convert", "linear.fit_linear", "training.train", "evaluation.evaluate"]
    assert ran("linear", *other) == first
    metrics = srsly.read_json(project / "metrics" / "other" / "linear.json")
    assert metrics["dataset"] == "other" and set(metrics["scores"]["per_label"]) == {"sport", "money"}
    assert ran("vectors") == ran("linear", *other) == ran("compact-distilled") == ["outputs.select"]
    assert {path: path.read_bytes() for path in before} == before
    kept = project / "training" / "other" / "project.lock"
    assert "evaluate-linear" in srsly.read_yaml(kept) and not (project / "training" / "toy" / "project.lock").exists()


def test_a_changed_config_runs_only_what_depends_on_it_again(finished):
    project, _ = finished
    before = scores(project, "cnn")
    config = project / "configs" / "bow.cfg"
    config.write_text(config.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    output = run(project, "all")
    assert re.findall(r"scripts\.training\.train ([\w-]+)", output) == ["bow"]
    assert scores(project, "cnn") == before


def test_a_broken_data_set_stops_the_run_and_keeps_the_corpus(finished):
    project, _ = finished
    before = (project / "corpus" / "toy" / "task.json").read_bytes()
    path = project / "assets" / "toy" / "train.jsonl"
    good = path.read_bytes()
    try:
        path.write_bytes(good + b'{"text": \n')
        process = start(project, "bow")
        output, _ = process.communicate()
        assert process.returncode == 1 and "broken JSON" in output and "Traceback" not in output
        assert (project / "corpus" / "toy" / "task.json").read_bytes() == before
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize("variant", VARIANTS)
def test_metrics_are_strict_json(finished, variant):
    text = (finished[0] / "metrics" / "toy" / f"{variant}.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_second_clone_pulls_what_the_first_one_made(finished, tmp_path):
    project, _ = finished
    text = (project / "project.yml").read_text(encoding="utf-8")
    for name, value in zip(TOY[::2], TOY[1::2], strict=True):
        name = name.removeprefix("--vars.")
        text, n = re.subn(rf"(?m)^  {name}: .*$", f"  {name}: {value}", text)
        assert n == 1
    first, second = tmp_path / "first", tmp_path / "second"
    for clone in (first, second):
        for name in ("configs", "scripts", "assets"):
            shutil.copytree(project / name, clone / name)
        (clone / "project.yml").write_text(text, encoding="utf-8")
    for name in ("corpus/toy", "metrics/toy", "training/toy/linear", "training/toy/vectors"):
        shutil.copytree(project / name, first / name)
    shutil.copy(project / "project.lock", first)
    run(first, "push")
    assert not (second / "corpus" / "toy" / "raw.jsonl").exists()
    run(second, "pull")
    output = run(second, "vectors")
    assert output.count("nothing changed") == len(PROJECT["workflows"]["vectors"]) - 1
    assert re.findall(r"Running command: \S+ -m (\S+)", output) == ["scripts.outputs.select"]
    assert scores(second, "vectors") == scores(project, "vectors")


def several(i, record):
    """Every third text has a second label."""
    if i % 3:
        return {"text": record["text"], "labels": [record["label"]]}
    other = [label for label in DESKS if label != record["label"]][i % 2]
    words = DESKS[other]
    text = f"{record['text']} while {words[i % 8]} and {words[(i + 3) % 8]}"
    return {"text": text, "labels": [record["label"], other]}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["several", "binary"])
def test_every_variant_learns_where_labels_do_not_exclude_each_other(toy_project, kind):
    records = [
        several(i, record)
        if kind == "several"
        else {"text": record["text"], "cats": {"sport": int(record["label"] == "sport")}}
        for i, record in enumerate(toy_records())
    ]
    (toy_project / "assets" / kind).mkdir()
    srsly.write_jsonl(toy_project / "assets" / kind / "train.jsonl", records)
    for step in ("all", "transformer-distilled"):
        run(toy_project, step, "--vars.dataset", kind)
    for variant in [*VARIANTS, "transformer-distilled"]:
        metrics = srsly.read_json(toy_project / "metrics" / kind / f"{variant}.json")
        assert metrics["mode"] == ("multi" if kind == "several" else "binary")
        # What labels alone give, spaCy's own models do not learn in so few updates.
        least = 0.0 if variant in ("bow", "cnn", "ensemble") else metrics["baseline"]["majority"]["macro_f1"]
        assert metrics["scores"]["macro_f1"] > least, variant
