"""scripts/common/settings.py: what makes no sense is refused before anything is done, and said in a sentence."""

import os
import subprocess
import sys

import pytest
import srsly

from scripts.common.cli import UserError
from scripts.common.settings import Settings, check_settings, faults, overriding_words
from tests.conftest import ROOT, message

TEXT = (ROOT / "project.yml").read_text(encoding="utf-8")
PROJECT = srsly.read_yaml(ROOT / "project.yml")
NAMES = set(Settings.__annotations__)
SCRIPTS = [line for command in PROJECT["commands"] for line in command["script"]]

BAD = [
    ("seed", -1, "must be 0 or more"),
    ("seed", 2**32, "must be less than 4294967296"),
    ("seed", True, "must be a whole number"),
    ("seed", "1", "must be a whole number"),
    ("seed", 1.5, "must be a whole number"),
    ("max_epochs", -3, "must be 0 or more"),
    ("repeats", 0, "must be 1 or more"),
    ("gpu_id", -2, "must be -1 or more"),
    ("workers", 0, "must be 1 or more"),
    ("processes", -1, "must be 1 or more"),
    ("curve_repeats", 0, "must be 1 or more"),
    ("annotate_texts", 0, "must be 1 or more"),
    ("committee", "a b", "must be one word"),
    ("committee", "bow,", "must be names, joined by commas"),
    ("committee", "bow,../cnn", "must be names, joined by commas"),
    ("gpu_share", 0, "must be more than 0"),
    ("gpu_share", "much", "must be a number"),
    ("pruned_rows", 0, "must be 1 or more"),
    ("pruned_rows", -4, "must be 1 or more"),
    ("vectors_dim", 0, "must be 1 or more"),
    ("vectors_dim", 10**9, "must be 4096 or less"),
    ("vectors_model", "glove", "must be 'skipgram', 'cbow' or 'fasttext'"),
    ("floret_model", "fasttext", "must be 'skipgram' or 'cbow'"),
    ("floret_hashes", 5, "must be 4 or less"),
    ("floret_threads", 1, "must be 10 or more"),
    ("floret_min_n", 9, "must not be more than vars.floret_max_n, which is 5"),
    ("pretrain_epochs", 0, "must be 1 or more"),
    ("transformer_layers", 0, "must be 1 or more"),
    ("compact_bytes", -1, "must be 10000 or more"),
    ("compact_bytes", 10, "must be 10000 or more"),
    ("compact_small_bytes", "1 MB", "must be a whole number"),
    ("encoded_epochs", 0, "must be 1 or more"),
    ("encoded_texts", 0, "must be 1 or more"),
    ("taught_sentences", 0, "must be 1 or more"),
    ("taught_texts", 0, "must be 1 or more"),
    ("folds", 1, "must be 2 or more"),
    ("fold", 4, "must be 'none', or from 0 to 3 (vars.folds is 4)"),
    ("fold", -1, "must not begin with a dash"),
    ("fold", "first", "must be 'none', or from 0 to 3"),
    ("mode", "many", "must be 'auto', 'single', 'multi' or 'binary'"),
    ("engine", "dask", "must be 'local' or 'ray'"),
    ("formulas", "drop", "must be 'neutral' or 'raw'"),
    ("dataset", "../..", "must be a name"),
    ("dataset", "/etc", "must be a name"),
    ("dataset", "a b", "must be a name"),
    ("dataset", ["bbc"], "must be text"),
    ("variant", "../../bow", "must be a name"),
    ("variant", "bow --code evil.py", "must be a name"),
    ("grid", "seeds.yml --workers 9", "must be a name"),
    ("reference", 'linear" --x', "must not hold '\"'"),
    ("lang", None, "must be text"),
    ("format", "a b --code evil.py", "must be one word"),
    ("input", '$(reboot)"', "must not hold '\"'"),
    ("input", "a\\b.jsonl", "between folders write /"),
    ("input", "", "must not be empty"),
    ("input", "--code", "must not begin with a dash; of a file, write ./--code"),
    ("output", "a\nb.jsonl", "must not hold '\\n'"),
    ("output", True, "must be text"),
    ("text_column", "  ", "must not be empty"),
    ("label_column", {"a": 1}, "must be text"),
    ("label_separator", "", "must be one or more characters"),
    ("label_separator", "\t", "none of them a tab"),
    ("version", 0.1, "reads as a number; give it three parts"),
    ("version", "new", "must be numbers such as 1.0.0"),
    ("play_port", 0, "must be 1 or more"),
    ("play_port", 70000, "must be 65535 or less"),
]
GOOD = [
    ("seed", 2**32 - 1),
    ("max_epochs", 0),
    ("gpu_id", 0),
    ("gpu_share", 1),
    ("gpu_share", 0.25),
    ("folds", 10),
    ("fold", 3),
    ("fold", "0"),
    ("dataset", "my-data_2.0"),
    ("dataset", 2024),
    ("variant", "seeds/bow--default--1"),
    ("variant", "bow"),
    ("lang", "no"),
    ("text_column", "Review text"),
    ("label_column", "a,b,c"),
    ("label_column", 0),
    ("label_separator", " "),
    ("label_separator", "-"),
    ("label_separator", "|"),
    ("input", "corpus/${vars.dataset}/a b.csv"),
    ("input", "new/*.jsonl"),
    ("output", "C:/data/Ä ö.csv"),
    ("transformer", "../my models/bert"),
    ("license", "CC BY 4.0"),
    ("transformer", "sentence-transformers/all-MiniLM-L6-v2"),
    ("remote", "s3://bucket/a b"),
    ("commit", "HEAD~1"),
    ("address", "[::1]:6379"),
    ("play_address", "0.0.0.0"),
    ("version", "1.0.0rc1"),
    ("baselines", "tfidf-svm,fasttext"),
    ("committee", "linear,compact-pretrained"),
]


def test_each_setting_of_the_project_is_known():
    assert set(PROJECT["vars"]) == NAMES
    assert list(faults(PROJECT["vars"])) == []


@pytest.mark.parametrize(("name", "value", "sentence"), BAD, ids=[f"{name} {value!r:.30}" for name, value, _ in BAD])
def test_what_makes_no_sense_is_refused(name, value, sentence):
    (found,) = faults(PROJECT["vars"] | {name: value})
    assert found.startswith(f"vars.{name} ") and sentence in found and found.endswith(".")
    assert "\n" not in found and len(found) < 250


@pytest.mark.parametrize(("name", "value"), GOOD, ids=[f"{name} {value!r:.30}" for name, value in GOOD])
def test_what_makes_sense_is_not(name, value):
    assert list(faults(PROJECT["vars"] | {name: value})) == []


def accepts(name, value):
    return not [fault for fault in faults({name: value}) if fault.startswith(f"vars.{name} ")]


def test_what_may_hold_a_space_is_quoted_wherever_it_stands():
    """Else it would become several words of a command line; and what may hold a quote would end one."""
    spaced = {name for name in NAMES if accepts(name, "a b")}
    assert {"input", "output", "text_column", "label_separator", "transformer", "license", "remote"} <= spaced
    for name in NAMES:
        alone = sum(line.count(f"${{vars.{name}}}") for line in SCRIPTS)
        quoted = sum(f" {line} ".count(f' "${{vars.{name}}}" ') for line in SCRIPTS)
        assert quoted == (alone if name in spaced else 0), name
        assert not accepts(name, 'a"b') and not accepts(name, "a\\b") and not accepts(name, "a\nb"), name


def test_names_that_do_not_exist():
    known = PROJECT["vars"]
    with pytest.raises(UserError, match=r"There is no setting vars\.max_epohs\. Do you mean vars\.max_epochs\?"):
        check_settings(known, {"vars.max_epohs": 3})
    with pytest.raises(UserError, match=r"vars\.colour.*project\.yml\. vars\.seed -1: must be"):
        check_settings(known, {"vars.colour": "red", "vars.seed": -1})
    check_settings(known, {"vars.seed": 1, "env.whatever": 2})
    check_settings(known | {"my_own": "anything"}, {"vars.my_own": -1})


def test_which_words_override_something():
    words = ["python", "-m", "spacy", "project", "run", "all", ".", "--force", "--vars.seed", "1", "--vars.flag"]
    words += ["--dry", "--vars.input=a b", "--env.x-y", "2", "-F"]
    assert overriding_words(words) == ["--vars.seed", "1", "--vars.flag", "--vars.input=a b", "--env.x-y", "2"]


MINE = """
vars: {dataset: own, seed: 0, note: "a b", gone: ""}
workflows: {all: [select, copy]}
commands:
  - name: select
    script: ["python -m scripts.outputs.select ${vars.dataset}"]
  - name: copy
    script: ['python -m json.tool a.json "${vars.note}.json"']
"""


@pytest.fixture
def weasel(tmp_path):
    """Run weasel on a small project, as a user would; the project's own scripts are found in the repository."""
    (tmp_path / "project.yml").write_text(MINE, encoding="utf-8")
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    (tmp_path / "assets" / "own").mkdir(parents=True)

    def start(*words, **env):
        process = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        )  # fmt: skip
        process.output = " ".join((process.stdout + process.stderr).split())
        return process

    return start


def test_weasel_is_asked_what_it_was_given(weasel, tmp_path):
    assert weasel("spacy", "project", "run", "all", ".", "--vars.seed", "7").returncode == 0
    assert (tmp_path / "a b.json").read_text(encoding="utf-8").strip() == "{}", "a file name with a space is one word"
    lock = (tmp_path / "project.lock").read_bytes()
    found = message(weasel("spacy", "project", "run", "all", ".", "--vars.sed", "7", "--vars.dataset=x/y"))
    assert "There is no setting vars.sed. Do you mean vars.seed? vars.dataset 'x/y': must be a name" in found
    assert "Traceback" not in found and "json.tool" not in found
    found = message(weasel("weasel", "run", "all", WEASEL_CONFIG_OVERRIDES="--vars.seed -1"))
    assert "vars.seed -1: must be 0 or more." in found
    assert (tmp_path / "project.lock").read_bytes() == lock
