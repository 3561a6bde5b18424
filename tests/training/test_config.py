"""Every variant's config composes into a complete spaCy config, and says so when it cannot."""

from pathlib import Path

import pytest
import spacy
import srsly
from spacy.tokens import DocBin
from spacy.training import Corpus
from spacy.util import load_config, load_model_from_config

import scripts.components  # noqa: F401  registers the architecture of compact
from scripts.common.cli import UserError
from scripts.common.variants import merge_configs
from scripts.training.compose import parse_setting
from scripts.training.config import compose_config, size_settings, write_candidates
from scripts.training.sizes import LINEAR_MODEL_BYTES, ngram_rows
from tests.conftest import ROOT, message

CONFIGS = ("--configs", ROOT / "configs")


@pytest.mark.parametrize("n_labels", [2, 5, 77, 150, 1000, 20_000])
def test_linear_models_keep_within_their_budget(n_labels):
    rows = ngram_rows(n_labels)
    assert rows & (rows - 1) == 0
    assert rows * n_labels * 4 <= LINEAR_MODEL_BYTES


def test_few_labels_keep_the_default_table():
    assert ngram_rows(5) == 262_144


def test_misspelt_keys_are_errors(tmp_path):
    overlay = tmp_path / "typo.cfg"
    overlay.write_text("[training]\npatience = 3\npatiense = 3\n", encoding="utf-8")
    with pytest.raises(UserError, match="spaCy does not know training.patiense"):
        compose_config(overlay, {}, ROOT / "configs")


def test_unknown_rules_for_sizes_are_named():
    facts = {"lang": "en", "exclusive": True, "labels": ["a"], "examples": {"train": 9}}
    with pytest.raises(UserError, match=r"sizes = 'huge' is unknown. Choose length, linear, compact"):
        size_settings(facts, "huge", {})


def test_unknown_architecture_is_named(tmp_path):
    overlay = tmp_path / "x.cfg"
    overlay.write_text(
        '[components]\n\n[components.textcat]\n\n[components.textcat.model]\n@architectures = "none.such.v1"\n',
        encoding="utf-8",
    )
    with pytest.raises(UserError, match="none.such.v1"):
        compose_config(overlay, {}, ROOT / "configs")


def test_settings_are_json_or_text():
    assert parse_setting("training.dropout=0.5") == ("training.dropout", 0.5)
    assert parse_setting("paths.vectors=training/vectors") == ("paths.vectors", "training/vectors")
    with pytest.raises(UserError, match="expected NAME=VALUE"):
        parse_setting("training.dropout")


def test_setting_in_unknown_section():
    with pytest.raises(UserError, match="has no section trainin"):
        compose_config(ROOT / "configs" / "bow.cfg", {"trainin.dropout": 0.1})


def test_composed_config_is_complete_and_follows_the_task(tmp_path, run):
    facts = {"lang": "de", "exclusive": False, "labels": [f"l{i}" for i in range(150)]}
    facts |= {"examples": {"train": 5000}, "words": {"train": {"mean": 2.0}}}
    (tmp_path / "corpus").mkdir()
    srsly.write_json(tmp_path / "corpus" / "task.json", facts)
    DocBin(docs=[spacy.blank("de")(f"Text {i}") for i in range(70)]).to_disk(tmp_path / "corpus" / "train.spacy")
    output = Path("run/config.cfg")
    process = run("compose", "bow", output, *CONFIGS, "--seed", 3, "--max-epochs", 2)
    assert process.returncode == 0, process.output
    config = load_config(tmp_path / output, interpolate=True)
    assert config["nlp"]["lang"] == "de"
    assert config["components"]["textcat"]["factory"] == "textcat_multilabel"
    assert config["components"]["textcat"]["model"]["exclusive_classes"] is False
    assert config["components"]["textcat"]["model"]["length"] == ngram_rows(150)
    assert (config["training"]["seed"], config["training"]["max_epochs"]) == (3, 2)
    assert (config["training"]["eval_frequency"], config["training"]["patience"]) == (2, 500)
    assert config["training"]["logger"]["output_file"] == "run/log.jsonl"
    assert run("compose", "bow", output, *CONFIGS).returncode == 0
    many = load_config(tmp_path / output, interpolate=True)["training"]
    assert many["max_epochs"] > 500, "of so few texts, each pass of which is no reason to write the pipeline"
    assert 50 < many["max_epochs"] * 3 / many["eval_frequency"] < 70
    load_model_from_config(load_config(tmp_path / output, interpolate=False), auto_fill=False, validate=True)


@pytest.fixture
def many_texts(tmp_path, monkeypatch):
    """A folder with the project's code, and a corpus that says it has so many texts that `compact` sees neighbours."""
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    labels = [f"l{i}" for i in range(77)]
    facts = {"lang": "en", "exclusive": True, "labels": labels, "examples": {"train": 4000}}
    (tmp_path / "corpus").mkdir()
    srsly.write_json(tmp_path / "corpus" / "task.json", facts | {"words": {"train": {"mean": 9.0}}})
    DocBin(docs=[spacy.blank("en")(f"Text {i}") for i in range(70)]).to_disk(tmp_path / "corpus" / "train.spacy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compose_candidates(variant):
    """The models of a variant's candidates."""
    folders = Path("corpus"), Path("training")
    paths, _ = write_candidates(Path("configs") / f"{variant}.cfg", Path("tried"), *folders, 0)
    configs = {path.stem: load_config(path, interpolate=True) for path in paths}
    return {name: config["components"]["textcat"]["model"] for name, config in configs.items()}


@pytest.mark.parametrize("variant", ["compact", "compact-domain", "compact-pretrained"])
def test_compact_is_tried_on_words_and_as_one_that_reads(many_texts, variant):
    words, reads = compose_candidates(variant).values()
    assert (words["depth"], words["hidden_width"], words["window_size"]) == (0, 512, 1)
    assert (reads["depth"], reads["hidden_width"]) == (2, 192)
    differ = {name for name in words if words[name] != reads[name]}
    assert differ == {"depth", "hidden_width"}


def test_who_has_no_room_for_layers_is_not_tried_as_one_that_reads(many_texts):
    assert [model["depth"] for model in compose_candidates("compact-small").values()] == [0]


def test_each_candidate_starts_from_weights_of_its_own(many_texts):
    paths, _ = write_candidates(Path("configs/compact-pretrained.cfg"), Path("tried"), Path("corpus"), Path("t"), 0)
    weights = {path.stem: load_config(path, interpolate=True)["initialize"]["init_tok2vec"] for path in paths}
    assert weights == {
        "words": "t/compact-pretrained/depth-0.bin", "reads": "t/compact-pretrained/depth-2.bin",
    }  # fmt: skip


def test_who_names_no_candidates_is_the_only_one(many_texts):
    assert list(compose_candidates("bow")) == ["bow"]


def test_candidates_must_be_values_by_dotted_names(many_texts):
    Path("own.cfg").write_text('[variant]\ncandidates = {"words": 2}\n', encoding="utf-8")
    with pytest.raises(UserError, match="candidates: words must be values by dotted names, found 2"):
        merge_configs([Path("own.cfg")])


@pytest.mark.parametrize(("epochs", "steps", "total"), [(3, 0, 6), (3, 5, 5), (3, 100, 6), (0, 7, 7), (0, 0, 0)])
def test_a_schedule_is_as_long_as_the_training(tmp_path, monkeypatch, epochs, steps, total):
    (tmp_path / "corpus").mkdir()
    DocBin(docs=[spacy.blank("en")(f"Text {i}") for i in range(64)]).to_disk(tmp_path / "corpus" / "train.spacy")
    monkeypatch.chdir(tmp_path)
    settings = {"training.max_epochs": epochs, "training.max_steps": steps, "task.min_updates": 0}
    config = compose_config(ROOT / "configs" / "compact.cfg", settings)
    assert config["training"]["optimizer"]["learn_rate"]["total_steps"] == total


def test_missing_files_are_named(tmp_path, run):
    assert "task.json: cannot be read" in message(run("compose", "bow", "out.cfg", *CONFIGS))
    (tmp_path / "corpus").mkdir()
    facts = {"lang": "en", "exclusive": True, "labels": ["a", "b"], "examples": {"train": 9}}
    srsly.write_json(tmp_path / "corpus" / "task.json", facts)
    assert "x.cfg: no such config" in message(run("compose", "x", "out.cfg", *CONFIGS))


@pytest.mark.slow
@pytest.mark.parametrize("labels", [["a"], ["a", "b", "c"]], ids=["binary", "multi"])
@pytest.mark.parametrize("variant", ["bow", "cnn", "ensemble"])
def test_blank_variants_learn_one_and_several_labels(tmp_path, run, variant, labels):
    (tmp_path / "corpus").mkdir()
    facts = {"lang": "en", "exclusive": False, "labels": labels, "examples": {"train": 9}}
    facts |= {"words": {"train": {"mean": 3.0}}}
    srsly.write_json(tmp_path / "corpus" / "task.json", facts)
    docs = DocBin()
    for i in range(40):
        doc = spacy.blank("en")(f"text {'odd' if i % 2 else 'even'} {i}")
        doc.cats = {label: float(i % 2 == n % 2) for n, label in enumerate(labels)}
        docs.add(doc)
    docs.to_disk(tmp_path / "corpus" / "train.spacy")
    assert run("compose", variant, "config.cfg", *CONFIGS).returncode == 0
    nlp = load_model_from_config(load_config(tmp_path / "config.cfg", interpolate=True))
    corpus = Corpus(tmp_path / "corpus" / "train.spacy")
    optimizer = nlp.initialize(lambda: corpus(nlp))
    for _ in range(10):
        nlp.update(list(corpus(nlp)), sgd=optimizer)
    cats = nlp("text even 2").cats
    assert list(cats) == labels
    for n, label in enumerate(labels):
        assert (cats[label] > 0.5) == (n % 2 == 0), cats
