"""Grids expand as declared, runs are isolated and resumable, and comparisons tell chance from difference."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import srsly
from spacy.util import dict_to_dot, load_config
from weasel.util.config import load_project_config

from scripts.common.cli import UserError
from scripts.common.variants import config_chain, merge_configs, names_in, variant_names
from scripts.evaluation.paired import compare_groups, holm, label_matrices, two_sided_p
from scripts.evaluation.scores import pack_answers
from scripts.experiments import experiment as experiment_module
from scripts.experiments.compare import format_rows, load_results
from scripts.experiments.experiment import (
    check_overrides,
    describe_data,
    describe_recipe,
    is_finished,
    keep,
    prepare,
    result_file,
)
from scripts.experiments.grids import (
    DEFAULT,
    EVERY,
    Group,
    Run,
    change_config,
    check_settings,
    choose_runs,
    config_of,
    copy,
    earlier_outputs,
    expand_grid,
    group_runs,
)
from tests.conftest import ROOT, message
from tests.project.test_project import PROJECT

VARIANTS = ["bow", "cnn"]
# They follow from the number of updates.
COUNTED = [f"training.{name}" for name in ("eval_frequency", "patience", "max_steps", "max_epochs")]
COUNTED += [f"training.optimizer.learn_rate.{name}" for name in ("total_steps", "warmup_steps")]


def write_grid(tmp_path, **grid):
    path = tmp_path / "grid.yml"
    srsly.write_yaml(path, grid)
    return path


def test_grid_is_the_product_of_its_parts(tmp_path):
    settings = {"default": {}, "wide": {"only": ["cnn"], "training.dropout": 0.1}}
    runs = expand_grid(write_grid(tmp_path, variants="all", seeds=[0, 1], settings=settings), VARIANTS)
    assert [run.name for run in runs] == [
        "bow--default--0", "bow--default--1", "cnn--default--0", "cnn--default--1", "cnn--wide--0", "cnn--wide--1",
    ]  # fmt: skip
    assert runs[-1].values == {"training.dropout": 0.1}


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ({"variants": ["bow"]}, "expected the keys"),
        ({"variants": ["bow"], "seeds": [0], "seed": 1}, "expected the keys"),
        ({"variants": ["bow"], "seeds": 3}, "`seeds` must be a list"),
        ({"variants": ["bo"], "seeds": [0]}, "there is no variant 'bo', only bow, cnn"),
        ({"variants": "bow", "seeds": [0]}, "`variants` must be a list"),
        ({"variants": ["bow"], "seeds": [0], "settings": {"a--b": {}}}, "setting 'a--b': must be a name"),
        ({"variants": ["bow"], "seeds": [0], "settings": {"a/b": {}}}, "setting 'a/b': must be a name"),
        ({"variants": ["bow"], "seeds": [0], "settings": {"a": [1]}}, "setting 'a': must be a mapping"),
    ],
)
def test_wrong_grids_are_named(tmp_path, grid, expected):
    with pytest.raises(UserError, match=expected):
        expand_grid(write_grid(tmp_path, **grid), VARIANTS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vars.max_epoch", r"There is no setting vars.max_epoch. Do you mean vars.max_epochs\?"),
        ("vars.seed", "vars.seed cannot be in `settings`: a grid has `seeds`"),
        ("vars.dataset", "vars.dataset cannot be in `settings`: choose it"),
    ],
)
def test_settings_that_would_do_nothing_are_named(tmp_path, name, expected):
    path = write_grid(tmp_path, variants=["bow"], seeds=[0], settings={"a": {name: 1}})
    with pytest.raises(UserError, match=expected):
        check_settings(path, expand_grid(path, VARIANTS), PROJECT)


def test_some_of_a_grids_variants():
    runs = [Run(variant, DEFAULT, seed) for variant in ("bow", "cnn", "linear") for seed in (0, 1)]
    assert choose_runs(runs, EVERY, Path("seeds.yml")) == runs
    assert choose_runs(runs, "linear, bow", Path("seeds.yml")) == runs[:2] + runs[4:]
    with pytest.raises(UserError, match=r"seeds.yml: has no variant 'compact', only bow, cnn, linear"):
        choose_runs(runs, "bow,compact", Path("seeds.yml"))


def test_missing_grid(tmp_path):
    with pytest.raises(UserError, match="none.yml: cannot be read"):
        expand_grid(tmp_path / "none.yml", VARIANTS)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "grids").glob("*.yml")), ids=lambda path: path.stem)
def test_shipped_grids_apply_to_the_project(path, tmp_path):
    variants = names_in(PROJECT)
    for run in {run.setting + run.variant: run for run in expand_grid(path, variants)}.values():
        folder = tmp_path / run.name
        shutil.copytree(ROOT / "configs", folder / "configs")
        change_config(folder, PROJECT, run)
        for name, value in run.values.items():
            section, key = name.rsplit(".", 1)
            if section == "vars":
                assert key in PROJECT["vars"]
                continue
            text = (folder / "configs" / f"{run.variant}.cfg").read_text(encoding="utf-8")
            assert f"{key} = {value}" in text.partition(f"[{section}]")[2].partition("\n[")[0]


def test_runs_of_one_setting_and_seed_share_a_folder(tmp_path):
    """But those that change a config have their own. The order is that of project.yml, whatever the grid's."""
    settings = {"default": {}, "fold-1": {"vars.fold": 1}, "wide": {"only": ["cnn"], "training.dropout": 0.1}}
    runs = expand_grid(write_grid(tmp_path, variants=["cnn", "bow"], seeds=[0, 1], settings=settings), VARIANTS)
    assert {group.name: [run.variant for run in group.runs] for group in group_runs(runs, VARIANTS)} == {
        "default--0": ["bow", "cnn"],
        "default--1": ["bow", "cnn"],
        "fold-1--0": ["bow", "cnn"],
        "fold-1--1": ["bow", "cnn"],
        "cnn--wide--0": ["cnn"],
        "cnn--wide--1": ["cnn"],
    }


def test_a_teacher_comes_before_its_students():
    variants = names_in(PROJECT)
    groups = group_runs(expand_grid(ROOT / "configs" / "grids" / "teacher.yml", variants), variants)
    orders = {group.name: [run.variant for run in group.runs] for group in groups}
    assert orders["large--0"][0] == "transformer-large"
    assert orders["default--0"].index("transformer") < orders["default--0"].index("distilled")


def answer(folder, project, run, settings, threads):
    """Instead of a training."""
    path = folder / result_file(run, "toy")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"scores": {"answers": {}}}\n', encoding="utf-8")
    return True


def test_a_folder_stays_while_runs_of_its_group_are_left(toy_assets, tmp_path, monkeypatch, run):
    """Some of a grid's variants come first: what they have made serves the others."""
    for name in ("project.yml", "configs", "scripts"):
        copy(ROOT / name, tmp_path / name)
    grid = write_grid(tmp_path, variants=["linear", "bow"], seeds=[0])
    monkeypatch.setattr("scripts.experiments.experiment.perform", answer)
    shared = tmp_path / "training" / "toy" / "experiments" / "grid" / "default--0"
    for only, stays in (("linear", True), ("bow", False)):
        assert run("experiment", grid, "toy", "--only", only).returncode == 0
        assert shared.is_dir() == stays


def test_a_folder_that_is_there_keeps_what_was_made_but_not_old_sources(tmp_path):
    root, folder = tmp_path / "root", tmp_path / "run"
    for name, text in {
        "project.yml": "new",
        "configs/a.cfg": "new",
        "scripts/x.py": "new",
        "assets/toy/t": "new",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "corpus" / "toy").mkdir(parents=True)
    (root / "corpus" / "toy" / "task.json").write_text("of the project", encoding="utf-8")
    (root / "project.lock").write_text("of the project", encoding="utf-8")
    project = {
        "commands": [{"name": "convert", "outputs": ["corpus/toy/task.json"]}, {"name": "train-bow"}],
        "workflows": {"bow": ["convert", "train-bow"]},
    }
    group = Group("default--0", (Run("bow", "default", 0),))
    prepare(root, folder, project, group, "toy")
    assert (folder / "project.lock").read_text(encoding="utf-8") == "of the project"
    for name, text in {
        "project.lock": "own",
        "corpus/toy/task.json": "own",
        "configs/a.cfg": "old",
        "scripts/y.py": "old",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    prepare(root, folder, project, group, "toy")
    files = {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file()}
    assert files == {
        "project.yml": "new", "configs/a.cfg": "new", "scripts/x.py": "new", "assets/toy/t": "new",
        "project.lock": "own", "corpus/toy/task.json": "own",
    }  # fmt: skip


def test_a_skipped_variant_is_finished_and_left_out_of_the_comparison(tmp_path, run):
    """As the encoder's variants on a task in a language that it does not know."""
    folder, results = tmp_path / "run", tmp_path / "g"
    (folder / "metrics" / "toy").mkdir(parents=True)
    srsly.write_json(folder / "metrics" / "toy" / "compact.json", {"variant": "compact", "skipped": "For English."})
    one = Run("compact", "default", 3)
    keep(folder, results, one, "toy", {"assets_md5": "1"})
    assert not is_finished(results / f"{one.name}.json", one, "toy", made_from={"assets_md5": "2"})
    assert is_finished(results / f"{one.name}.json", one, "toy")
    write_runs(results, fold_runs((0.9, 0.8, 0.7, 0.6), 0, np.random.default_rng(0)))
    process = run("compare", "g")
    assert (
        process.returncode == 0 and "compact--default--3.json: left out, it was skipped. For English." in process.output
    )


def test_run_folder_leaves_the_project_untouched(tmp_path):
    before = (ROOT / "configs" / "bow.cfg").read_bytes()
    run = Run("bow", "x", 0, {"training.dropout": 0.9})
    prepare(ROOT, tmp_path / "run", PROJECT, Group(run.name, (run,)), "bbc")
    change_config(tmp_path / "run", PROJECT, run)
    assert (ROOT / "configs" / "bow.cfg").read_bytes() == before
    assert (tmp_path / "run" / "scripts" / "training" / "train.py").is_file()
    assert not [path for path in (tmp_path / "run" / "assets").iterdir() if path.name != "bbc"]
    with pytest.raises(UserError, match="has no section trainin"):
        change_config(tmp_path / "run", PROJECT, Run("bow", "x", 0, {"trainin.x": 1}))


# What each of these inherits, and must not lose: the objective of pretraining, and the teacher's texts.
VALUES = {
    "pretrain-chars": {"components.textcat.model.tok2vec.embed.width": 48, "pretraining.max_epochs": 2},
    "pretrain-vectors": {"training.optimizer.learn_rate": 0.003, "components.textcat.model.use_reduce_first": True},
    "distilled": {"corpora.train.temperature": 2.0, "training.dropout": 0.1},
    "compact-distilled": {"corpora.train.teacher_weight": 0.25, "components.textcat.model.word_dropout": 0.0},
    "compact-pretrained": {
        "training.optimizer.learn_rate.initial_rate": 0.004,
        "components.textcat.model.hidden_width": 64,
    },
    "pruned": {"components.textcat.model.use_reduce_max": False},
    "transformer-half": {"training.batcher.size": 128},
}


@pytest.mark.parametrize("variant", variant_names(ROOT))
def test_values_land_in_the_config_and_nothing_else_changes(tmp_path, variant):
    values = VALUES.get(variant, {}) | {"training.max_epochs": 3}
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    overlay = tmp_path / "configs" / f"{variant}.cfg"
    before, section = merge_configs(config_chain(overlay))
    unchanged = {path: path.read_bytes() for path in (tmp_path / "configs").rglob("*.*") if path != overlay}
    change_config(tmp_path, PROJECT, Run(variant, "x", 0, values | {"vars.seed": 3}))
    after, section_after = merge_configs(config_chain(overlay))
    assert section_after == section
    changed = {
        name
        for name in dict_to_dot(before).keys() | dict_to_dot(after).keys()
        if dict_to_dot(before).get(name) != dict_to_dot(after).get(name)
    }
    assert changed == set(values)
    assert {name: dict_to_dot(after)[name] for name in values} == values
    assert {path: path.read_bytes() for path in unchanged} == unchanged


def test_a_value_of_a_grid_counts_for_more_than_those_of_candidates(tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    overlay = tmp_path / "configs" / "compact-domain.cfg"
    change_config(tmp_path, PROJECT, Run("compact-domain", "x", 0, {"task.depth": 1}))
    merged, section = merge_configs(config_chain(overlay))
    assert merged["task"]["depth"] == 1 and list(section["candidates"].values()) == [{}], (
        "one is trained, not two alike"
    )


def test_values_land_in_the_composed_config(tmp_path, toy_assets, run):
    assert run("convert", "toy", "corpus").returncode == 0
    for name in ("configs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for variant in ("pretrain-chars", "pretrain-vectors", "compact-pretrained"):
        composed = []
        for values in ({}, VALUES[variant] | {"training.batcher.size": 16}):
            change_config(tmp_path, PROJECT, Run(variant, "x", 0, values))
            assert run("compose", variant, "config.cfg").returncode == 0
            composed.append(dict_to_dot(load_config(tmp_path / "config.cfg", interpolate=False)))
        before, after = composed
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        # Beside the linear model, a variant's own stands a level lower.
        changed = {name.replace(".model.model.", ".model."): value for name, value in changed.items()}
        counted = {name: changed.pop(name, None) for name in COUNTED}
        assert counted["training.eval_frequency"] or counted["training.max_epochs"], "they are counted anew"
        assert changed == VALUES[variant] | {"training.batcher.size": 16}, variant


def test_commits_in_which_variants_shared_a_config(tmp_path):
    (tmp_path / "configs" / "parts").mkdir(parents=True)
    for name in ("base", "vectors", "parts/with-linear"):
        text = (ROOT / "configs" / f"{name}.cfg").read_text(encoding="utf-8")
        (tmp_path / "configs" / f"{name}.cfg").write_text(text, encoding="utf-8")
    script = ["python -m scripts.compose configs/vectors.cfg training/pruned/config.cfg", "python -m scripts.train x"]
    project = {"commands": [{"name": "train-pruned", "script": script}]}
    assert config_of(tmp_path, project, "pruned") == tmp_path / "configs" / "vectors.cfg"
    change_config(tmp_path, project, Run("pruned", "x", 0, {"training.dropout": 0.4}))
    assert load_config(tmp_path / "configs" / "vectors.cfg")["training"]["dropout"] == 0.4


def test_earlier_outputs_are_those_before_training():
    corpus = {f"corpus/bbc/{name}" for name in ("train.spacy", "dev.spacy", "test.spacy", "raw.jsonl", "task.json")}
    linear = ("linear.npz", "config.cfg", "log.jsonl", "train.json", "model-best", "predictions.jsonl")
    expected = corpus | {f"training/bbc/linear/{name}" for name in linear} | {"metrics/bbc/linear.json"}
    assert set(earlier_outputs(PROJECT, "bow")) == expected


def test_results_of_other_values_do_not_count(tmp_path):
    path = tmp_path / "r.json"
    run = Run("bow", "x", 1, {"a.b": 2})
    assert not is_finished(path, run, "toy")
    srsly.write_json(path, {"seed": 1, "dataset": "toy", "experiment": {"setting": "x", "values": {"a.b": 2}}})
    assert not is_finished(path, run, "toy"), "it is of an earlier version, and `compare` needs the answers"
    srsly.write_json(path, srsly.read_json(path) | {"scores": {"answers": {}}})
    assert is_finished(path, run, "toy")
    assert not is_finished(path, run, "bbc")
    srsly.write_json(path, srsly.read_json(path) | {"env": {"corpus_md5": {"dev.spacy": "before", "raw.jsonl": "x"}}})
    assert is_finished(path, run, "toy", {"dev.spacy": "before"}) and is_finished(path, run, "toy")
    assert not is_finished(path, run, "toy", {"dev.spacy": "annotated since"})
    assert not is_finished(path, Run("bow", "x", 1, {"a.b": 3}), "toy")
    made_from = {"assets_md5": "before", "folds": 4, "config_md5": "before", "vars.vectors_dim": 100}
    assert is_finished(path, run, "toy", made_from=made_from), "earlier versions did not keep it"
    srsly.write_json(path, srsly.read_json(path) | {"experiment": {"values": {"a.b": 2}, "made_from": made_from}})
    assert is_finished(path, run, "toy", made_from=made_from | {"vars.new": 1}), "a setting that there was not"
    for change in ({"assets_md5": "annotated since"}, {"folds": 5}, {"config_md5": "now"}, {"vars.vectors_dim": 50}):
        assert not is_finished(path, run, "toy", made_from=made_from | change)


def test_what_a_run_does_follows_from_its_config_and_the_settings_of_its_commands(tmp_path):
    for name in ("project.yml", "configs"):
        copy(ROOT / name, tmp_path / name)
    pruned, bow = Run("pruned", "x", 0, {"vars.pruned_rows": 500}), Run("bow", "x", 0)

    def describe(run):
        return describe_recipe(tmp_path, load_project_config(tmp_path, interpolate=False), run)

    before = [describe(run) for run in (pruned, bow)]
    assert before[0]["vars.pruned_rows"] == 500 and before[0]["vars.vectors_epochs"] == 15
    assert not {"vars.seed", "vars.repeats", "vars.gpu_id", "vars.lang", "vars.floret_dim"} & before[0].keys()
    assert "vars.pruned_rows" not in before[1]
    project = (tmp_path / "project.yml").read_text(encoding="utf-8").replace("pruned_rows: 4000", "pruned_rows: 3000")
    project = project.replace("vectors_epochs: 15", "vectors_epochs: 5")
    (tmp_path / "project.yml").write_text(project, encoding="utf-8")
    assert describe(pruned) == before[0] | {"vars.vectors_epochs": 5}, "the rows are the run's own"
    path = tmp_path / "configs" / "vectors.cfg"  # what pruned is made of
    path.write_text("# Only a comment.\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert describe(pruned)["config_md5"] == before[0]["config_md5"]
    config = load_config(path)
    config["training"] = config.get("training", {}) | {"dropout": 0.45}
    config.to_disk(path)
    after = [describe(run)["config_md5"] for run in (pruned, bow)]
    assert after[0] != before[0]["config_md5"] and after[1] == before[1]["config_md5"]


def test_a_grid_is_run_again_where_its_config_has_changed(toy_assets, tmp_path, monkeypatch, run):
    for name in ("project.yml", "configs", "scripts"):
        copy(ROOT / name, tmp_path / name)
    grid = write_grid(tmp_path, variants=["linear", "bow"], seeds=[0])
    monkeypatch.setattr("scripts.experiments.experiment.perform", answer)
    assert "2 runs, 0 finished already ✔" in run("experiment", grid, "toy").output
    assert "2 runs, 2 finished already ✔" in run("experiment", grid, "toy").output
    path = tmp_path / "configs" / "bow.cfg"
    path.write_text(path.read_text(encoding="utf-8") + "\n[training]\ndropout = 0.45\n", encoding="utf-8")
    output = run("experiment", grid, "toy").output
    assert "2 runs, 1 finished already, 1 of other texts, settings or configs than now, so run again ✔" in output
    assert "2 runs, 2 finished already ✔" in run("experiment", grid, "toy").output


def test_what_texts_follow_from_are_files_and_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "assets" / "toy"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text("a", encoding="utf-8")
    project = {"vars": {"lang": "en", "folds": 4, "seed": 0}}
    before = describe_data("toy", project)
    (folder / "README.md").write_text("b", encoding="utf-8")
    assert describe_data("toy", project) == before and "seed" not in before
    (folder / "train.jsonl").rename(folder / "test.jsonl")
    assert describe_data("toy", project) != before
    for label in ("a", "b"):
        (folder / label).mkdir()
    (folder / "test.jsonl").rename(folder / "a" / "1.txt")
    in_one = describe_data("toy", project)
    (folder / "a" / "1.txt").rename(folder / "b" / "1.txt")
    assert describe_data("toy", project) != in_one, "of another label"
    (folder / "b" / "1.txt").rename(folder / "train.jsonl")
    (folder / "train.jsonl").write_text("c", encoding="utf-8")
    assert describe_data("toy", project) != before
    assert describe_data("toy", {"vars": {"lang": "de", "folds": 4}})["lang"] == "de"


@pytest.mark.parametrize("word", ["--vars.lang", "--vars.lang=de"])
def test_what_would_not_reach_the_runs_is_refused(monkeypatch, word):
    words = ["python", "spacy", "project", "run", "experiment", ".", "--vars.grid", "mini", "--vars.workers", "2"]
    monkeypatch.setattr(experiment_module, "weasels_words", lambda: words)
    check_overrides(Path("mini.yml"))
    words += [word] if "=" in word else [word, "de"]
    with pytest.raises(UserError, match=r"vars.lang: would not reach the runs, .* `settings` of mini.yml"):
        check_overrides(Path("mini.yml"))


def test_all_folds_or_none(tmp_path):
    runs = [Run("bow", f"fold-{number}", 0, {"vars.fold": number}) for number in range(4)]
    project = PROJECT | {"vars": PROJECT["vars"] | {"folds": 4}}
    check_settings(tmp_path / "folds.yml", runs, project)
    with pytest.raises(UserError, match=r"of 4 folds, vars.folds of project.yml is 5. .* to fold-4: {vars.fold: 4}"):
        check_settings(tmp_path / "folds.yml", runs, PROJECT | {"vars": PROJECT["vars"] | {"folds": 5}})


# Comparison


def test_holm_matches_the_textbook():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_p_values():
    assert two_sided_p(np.zeros(100)) == 1.0
    assert two_sided_p(np.r_[np.ones(99), -1]) == pytest.approx(0.02)
    assert two_sided_p(np.ones(99)) == pytest.approx(0.02)


def make_runs(accuracy, seeds, rng, n=400):
    gold = np.random.default_rng(0).integers(0, 3, n)
    runs = []
    for _ in range(seeds):
        right = rng.random(n) < accuracy
        predicted = np.where(right, gold, (gold + 1) % 3)
        answers = pack_answers(
            [str(i) for i in range(n)], "abc", *(np.eye(3, dtype=bool)[x] for x in (gold, predicted))
        )
        runs.append(
            {
                "scores": {"macro_f1": float(right.mean()), "confusion": {}, "documents": n, "answers": answers},
                "dev": {"macro_f1": accuracy},
                "size": {"pipeline_bytes": 1_000_000},
            }
        )
    return runs


def test_real_differences_get_a_star_and_chance_does_not():
    rng = np.random.default_rng(1)
    groups = {"best": make_runs(0.9, 3, rng), "twin": make_runs(0.9, 3, rng), "worse": make_runs(0.7, 3, rng)}
    rows = {row["name"]: row for row in compare_groups(groups, "best")["rows"]}
    assert rows["worse"]["p"] < 0.01 and rows["worse"]["high"] < 0
    assert rows["twin"]["p"] > 0.05 and rows["twin"]["low"] < 0 < rows["twin"]["high"]
    cells = {row[0]: row for row in format_rows(list(rows.values()), "best")}
    assert cells["worse"][5].endswith("★") and not cells["twin"][5].endswith("★") and cells["best"][5] == ""


def test_different_documents_cannot_be_compared():
    rng = np.random.default_rng(1)
    with pytest.raises(UserError, match="different documents"):
        compare_groups({"a": make_runs(0.9, 1, rng), "b": make_runs(0.9, 1, rng, n=300)}, "a")


def fold_runs(accuracies, seed, rng, of=4):
    """Runs of one variant and seed on the folds, each with texts of its own and a threshold of its own."""
    runs = make_runs(0.5, len(accuracies), rng, n=100)
    for number, (run, accuracy) in enumerate(zip(runs, accuracies, strict=True)):
        gold, _ = label_matrices(run)
        given = np.where(np.arange(100)[:, None] < 100 * accuracy, gold, np.roll(gold, 1, axis=1))
        run["scores"]["answers"] = pack_answers([f"{number} {i}" for i in range(100)], "abc", gold, given)
        run |= {"variant": "bow", "dataset": "toy", "seed": seed, "fold": {"number": number, "of": of}}
        run |= {"experiment": {"setting": f"fold-{number}", "values": {"vars.fold": number}}}
    return runs


def write_runs(folder, runs):
    folder.mkdir(exist_ok=True)
    for run in runs:
        name = f"{run['variant']}--{run['experiment']['setting']}--{run['seed']}"
        srsly.write_json(folder / f"{name}.json", run)


def test_folds_are_put_together(tmp_path, run):
    """The score is that over all documents, not the mean of the folds' scores, and the test has all documents."""
    rng = np.random.default_rng(0)
    runs = [run for seed in (0, 1) for run in fold_runs((0.9, 0.8, 0.7, 0.6), seed, rng)]
    worse = [run | {"variant": "cnn"} for run in fold_runs((0.5, 0.5, 0.5, 0.5), 0, rng)]
    write_runs(tmp_path / "g", [*runs, *worse])
    groups = load_results(tmp_path / "g")
    assert {name: len(found) for name, found in groups.items()} == {"bow": 2, "cnn": 1}
    gold, predicted = label_matrices(groups["bow"][0])
    assert gold.shape == (400, 3) and (gold & predicted).sum() == 300
    assert groups["bow"][0]["scores"]["macro_f1"] == pytest.approx(0.75, abs=0.02)
    rows = {row["name"]: row for row in compare_groups(groups, "bow")["rows"]}
    assert rows["cnn"]["p"] < 0.01 and rows["cnn"]["difference"] == pytest.approx(-0.25, abs=0.03)
    assert run("compare", "g").returncode == 0
    assert "400 test documents, put together from 4 folds" in (tmp_path / "g" / "compare.md").read_text(
        encoding="utf-8"
    )
    (tmp_path / "g" / "bow--fold-2--1.json").unlink()
    error = message(run("compare", "g"))
    assert "bow, seed 1: of its 4 folds there are 0 of 4, 1 of 4, 3 of 4. Run the experiment again" in error


def test_missing_results_are_named(tmp_path, run):
    assert "no results. Run the experiment first" in message(run("compare", "metrics/none"))
    (tmp_path / "g").mkdir()
    (old,) = make_runs(0.9, 1, np.random.default_rng(0))
    del old["scores"]["answers"]
    old |= {"variant": "bow", "seed": 0, "experiment": {"setting": "default", "values": {}}}
    srsly.write_json(tmp_path / "g" / "bow--default--0.json", old)
    with pytest.raises(UserError, match="did not keep the answers to each test text. Remove it, and run"):
        load_results(tmp_path / "g")
