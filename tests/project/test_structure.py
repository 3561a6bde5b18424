"""The folders of scripts keep their order, and a command names in `deps` exactly the code and configs that it runs."""

import ast
import re
import shlex
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from scripts.common.variants import config_chain, merge_configs, variant_code
from scripts.training.config import read_paths
from tests.conftest import ROOT
from tests.project.test_project import COMMANDS, PROJECT, VARIANTS

MAX_FILES = 10
FREE = {"metrics", "configs"}
# Can refuse a run, and has no other part in what is made: a new setting shall not run everything again.
GUARDS = {"scripts.common.settings"}
CONFIGS = ROOT / "configs"
# What runs a variant; its name is the next word.
OF_A_VARIANT = {"scripts.training.train", "scripts.training.pretrain", "scripts.evaluation.evaluate"}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted((ROOT / "scripts").rglob("*.py")) if path.stem != "__init__"}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
TEXTS = {path: path.read_text(encoding="utf-8") for path in (*MODULES.values(), *CONFIGS.rglob("*.cfg"))}


NAMES = {*MODULES, *(path.relative_to(ROOT).as_posix() for path in CONFIGS.rglob("*.cfg"))}


def constants(module):
    """The names of modules and configs that are a string of a module, and not a part of one."""
    return {node.value for node in ast.walk(TREES[module]) if isinstance(node, ast.Constant)} & NAMES


def imports(module):
    """The modules of the project that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & MODULES.keys()


def started(module):
    """The modules that a module runs as a process of their own, by their name."""
    return constants(module) & MODULES.keys()


def closure(modules):
    """Modules, and all that they import or start, directly or not."""
    found, waiting = set(), list(modules)
    while waiting:
        if (module := waiting.pop()) not in found:
            found.add(module)
            waiting += (imports(module) | started(module)) - GUARDS
    return found


def run_by(command):
    """The modules of the project in a command's script lines, each with the words after it."""
    lines = [shlex.split(line) for line in command["script"]]
    return [(words[2], words[3:]) for words in lines if words[2].startswith("scripts.")]


RUN = {module for command in COMMANDS.values() for module, _ in run_by(command)}
STEPS = RUN | {name for module in MODULES for name in started(module)}
CACHED = {name: command for name, command in COMMANDS.items() if command.get("outputs") and not command.get("no_skip")}


def stage(module):
    """The folder below scripts/, or the module itself, if it lies in none."""
    return module.split(".")[1]


def needed(command):
    """Code and configs that a command reads."""
    modules, configs = set(), set()
    for module, words in run_by(command):
        modules.add(module)
        overlays = {path for name in closure([module]) for path in constants(name) - MODULES.keys()}
        if module in OF_A_VARIANT:
            overlays.add(f"configs/{words[0]}.cfg")
        for overlay in overlays:
            configs |= set(config_chain(ROOT / overlay, CONFIGS))
            if code := variant_code(Path(overlay).stem, CONFIGS):
                modules.add(module_name(ROOT / code))
    return {path.relative_to(ROOT).as_posix() for path in configs | {MODULES[name] for name in closure(modules)}}


def test_the_tests_see_what_there_is():
    """What follows would pass if nothing were found."""
    assert {"scripts.evaluation.measure", "scripts.baselines.measure_baseline"} <= STEPS - RUN
    assert {"scripts.training.train", "scripts.data.convert", "scripts.experiments.compare"} <= RUN
    assert len(MODULES) > 40 and len(CACHED) > 40
    assert "scripts.machines.machine" in closure(["scripts.training.train"]) - imports("scripts.training.train")
    assert "configs/pruned.cfg" in needed(COMMANDS["sweep-pruned"])


# Modules


@pytest.mark.parametrize("module", MODULES)
def test_nobody_imports_a_step(module):
    assert imports(module) & STEPS == set(), "move what both need to a module of its own"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_step_has_the_name_of_its_command(name):
    for module, _ in run_by(COMMANDS[name]):
        assert module in MODULES
        stem = module.rpartition(".")[2].replace("_", "-")
        assert name == stem or name.startswith(f"{stem}-"), f"{name} runs {module}"


@pytest.mark.parametrize("module", sorted(STEPS))
def test_a_step_is_a_function_of_its_name_and_one_of_a_kind(module):
    stem = module.rpartition(".")[2]
    (main,) = [node for node in TREES[module].body if isinstance(node, ast.FunctionDef) and node.name == stem]
    assert ast.get_docstring(main) and ast.get_docstring(TREES[module])
    assert TEXTS[MODULES[module]].rstrip().endswith(f'if __name__ == "__main__":\n    run_cli({stem})')
    assert [name for name in MODULES if name.endswith(f".{stem}")] == [module]


def test_only_steps_are_programs():
    """A module with a command line that no command runs would be forgotten."""
    programs = {name for name in MODULES if '__name__ == "__main__"' in TEXTS[MODULES[name]]}
    assert programs == STEPS | {"scripts.deploy.playground_app"}, "Streamlit runs the playground's page"


@pytest.mark.parametrize("root", ["scripts", "tests", "benchmarks"])
def test_folders_can_be_taken_in_at_a_glance(root):
    folders = [path for path in ((ROOT / root), *(ROOT / root).rglob("*")) if path.is_dir()]
    for folder in folders:
        if "__pycache__" not in folder.parts and not FREE & set(folder.relative_to(ROOT).parts):
            names = [path.name for path in folder.iterdir() if path.is_file()]
            assert len(names) <= MAX_FILES, folder


def test_every_stage_has_its_tests():
    stages = {path.name for path in (ROOT / "scripts").iterdir() if path.is_dir()} - {"__pycache__"}
    assert {path.parent.name for path in (ROOT / "tests").rglob("test_*.py")} >= stages


def test_stages_build_on_one_another_without_circles():
    graph = {stage(module): set() for module in MODULES}
    for module in MODULES:
        for other in imports(module) | started(module):
            graph[stage(module)] |= {stage(other)} - {stage(module)}
    assert list(TopologicalSorter(graph).static_order()), "raises CycleError, and names the circle"
    assert graph["common"] == set()


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").glob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_packages_hold_no_code(path):
    """It would be run without being among the `deps`."""
    (docstring,) = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(docstring.value.value, str)


def test_the_package_of_all_only_tells_libraries_what_to_use():
    """It is no part of `deps`, as the machine is not; and it must be done before anything else is imported."""
    code = "import scripts, sys; print(sorted(name for name in sys.modules if 'numpy' in name or 'scripts' in name))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "['scripts']"


# Commands


@pytest.mark.parametrize("name", CACHED)
def test_deps_are_the_code_and_configs_that_are_run(name):
    deps = [dep for dep in CACHED[name]["deps"] if dep.startswith(("scripts", "configs"))]
    assert len(deps) == len(set(deps))
    assert all((ROOT / dep).is_file() for dep in deps), "a folder would run too much again"
    assert set(deps) == needed(CACHED[name])


def test_every_variant_has_a_config_and_every_config_is_one():
    assert sorted(VARIANTS) == sorted(path.stem for path in CONFIGS.glob("*.cfg") if path.stem != "base")
    assert len(VARIANTS) >= 17 and len(VARIANTS) == len(set(VARIANTS))


def test_every_part_is_a_parent():
    used = {path for variant in VARIANTS for path in config_chain(CONFIGS / f"{variant}.cfg")}
    assert used == {*CONFIGS.glob("*.cfg"), *(CONFIGS / "parts").glob("*")}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_variants_differ_by_their_name_only(verb, variant):
    """Nothing else stands in the commands: what a variant is stands in its config."""
    model, own = COMMANDS[f"{verb}-{VARIANTS[0]}"], COMMANDS[f"{verb}-{variant}"]
    renamed = re.compile(rf"(?<![\w-]){re.escape(VARIANTS[0])}(?![\w-])")
    for part in ("script", "outputs"):
        assert own[part] == [renamed.sub(variant, line) for line in model[part]]
    assert own.keys() == model.keys()
    if verb == "evaluate":
        data = [
            [dep for dep in command["deps"] if not dep.startswith("configs/") and dep != "scripts/components.py"]
            for command in (own, model)
        ]
        assert data[0] == [renamed.sub(variant, dep) for dep in data[1]]


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_config_reads_is_among_the_deps(variant):
    config, _ = merge_configs(config_chain(CONFIGS / f"{variant}.cfg"))
    folders = Path("corpus/bbc"), Path("training/bbc")
    paths = {path for path in read_paths(config, *folders).values() if path and path.startswith("training/bbc/")}
    runs = [
        command for command in CACHED.values() for module, words in run_by(command)
        if module in OF_A_VARIANT and words[0] == variant and command["name"] != f"evaluate-{variant}"
    ]  # fmt: skip
    assert paths <= {dep for command in runs for dep in command["deps"]}
    outputs = {output for command in COMMANDS.values() for output in command.get("outputs", [])}
    assert paths <= outputs


# Texts


def test_messages_name_commands_that_exist():
    known = {*COMMANDS, *PROJECT["workflows"]}
    for path, text in TEXTS.items():
        for name in re.findall(r"[Cc]ommand `([^`]+)`|project run ([a-z][\w-]*)", text):
            name = "".join(name)
            assert any(other.startswith(name) for other in known) if name.endswith("-") else name in known, path


def test_texts_name_modules_that_exist():
    for path, text in TEXTS.items():
        for name in re.findall(r"(?<![\w./])scripts\.([a-z_]+(?:\.[a-z_0-9]+)?)", text):
            base = ROOT / "scripts" / name.replace(".", "/")
            stem = base.parent.with_suffix(".py")
            assert base.is_dir() or base.with_suffix(".py").is_file() or stem.is_file(), f"{path}: scripts.{name}"
        for name in re.findall(r"(?<![\w./])(?:scripts|configs)/[\w/-]+\.(?:py|cfg|yml)", text):
            assert (ROOT / name).is_file() or "NAME" in name, f"{path}: {name}"
