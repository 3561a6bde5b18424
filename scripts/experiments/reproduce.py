"""Rebuild a published result from a clean clone, and compare it with the committed metrics file.

The metrics file says which commit made it, with which settings (`steps`), seed, data set and thread count. The clone
goes to training/DATASET/reproduce/; data that is not in git is copied from here, all else is made anew.

On a machine of the same kind, with the same packages and thread count, scores and sizes must be the same to the last
digit. Elsewhere floating-point sums come out in another order, and so they must wherever threads race (floret, several
gensim threads, GPUs): there, scores may differ by `SCORE_TOLERANCE`, sizes by `SIZE_TOLERANCE`. Speed, memory and
training time belong to the moment; they are shown, not judged.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import srsly
import typer
from wasabi import msg
from weasel.util.config import load_project_config

from scripts.common.cli import UserError, run_cli
from scripts.common.files import read_json
from scripts.evaluation.provenance import machine
from scripts.experiments.grids import Run, change_config, copy
from scripts.machines.machine import THREADS

RECORDED = "recorded"
ELSEWHERE = "rebuilt"  # folder for the metrics, in commits that have one data set at a time and a setting for it
SCORE_TOLERANCE = 0.02
SIZE_TOLERANCE = 0.01  # relative
SCORES = ("scores.macro_f1", "scores.micro_f1", "scores.accuracy", "scores.macro_auc", "scores.calibration_error")
SCORES += ("dev.macro_f1", "dev.accuracy")
SIZES = ("size.pipeline_bytes", "size.vectors_bytes")
FIXED = ("scores.documents", "dev.documents", "baseline.majority.macro_f1", "size.parameters")
SHOWN = ("speed.docs_per_s", "speed.latency_ms_p50", "speed.load_s", "memory.peak_rss_bytes", "train.seconds")
RACING = "learn-floret"  # its threads write to one table without waiting for one another
UNSTABLE = ("train.json",)  # holds a duration


class Row(NamedTuple):
    """One compared value; `allowed` is empty for what is only shown."""

    name: str
    published: Any
    rebuilt: Any
    deviation: str
    allowed: str
    ok: bool


def git(*arguments: str, folder: Path = Path()) -> str:
    """The output of a git command.

    Raises:
        UserError: git is missing, or fails.
    """
    try:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8", check=True
        ).stdout.strip()
    except FileNotFoundError:
        raise UserError("git is not installed, but a clean clone needs it.") from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"git {' '.join(arguments)} failed: {error.stderr.strip()}") from None


def find_commit(wanted: str, metrics: dict[str, Any], name: Path) -> str:
    """The full hash of the commit to rebuild from.

    Args:
        wanted: a commit, or `recorded`.
        metrics: contents of the metrics file.
        name: its path, for messages.

    Raises:
        UserError: no commit is recorded, or this clone does not have it.
    """
    if wanted == RECORDED:
        recorded = metrics["env"].get("git_commit") or ""
        if not recorded:
            raise UserError(f"{name}: records no commit. Name one: --vars.commit HEAD")
        if recorded.endswith("-dirty"):
            changed = ", ".join(metrics["env"].get("git_changed", [])) or "which files is not recorded"
            msg.warn(f"{name}: made with changes that were not committed ({changed}); what they do is not rebuilt.")
        wanted = recorded.removesuffix("-dirty").rpartition("-g")[2]
    git("rev-parse", "--git-dir")
    try:
        return git("rev-parse", "--verify", "--quiet", f"{wanted}^{{commit}}")
    except UserError:
        raise UserError(
            f"Commit {wanted} is not in this clone. Fetch it (git fetch --unshallow, or git fetch origin {wanted}), "
            "or name another one: --vars.commit HEAD"
        ) from None


def clone(commit: str, folder: Path) -> Path:
    """Make a clean clone of this repository at a commit; the project's folder in it."""
    if folder.exists():
        for path in (folder / ".git").rglob("*"):  # git makes some files read-only, which Windows does not remove
            path.chmod(path.stat().st_mode | stat.S_IWRITE)
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The path of the project inside its repository, for a project that is not at the top of it.
    inside = git("rev-parse", "--show-prefix")
    git("clone", "--quiet", "--no-checkout", git("rev-parse", "--show-toplevel"), str(folder))
    git("checkout", "--quiet", "--detach", commit, folder=folder)
    return folder / inside


def recover_settings(project: dict[str, Any], steps: dict[str, Any]) -> dict[str, str]:
    """The settings with which recorded steps were run, where they differ from the defaults.

    Args:
        project: project.yml, variables not filled in.
        steps: `steps` of a metrics file: the script lines, filled in.

    Raises:
        UserError: a script line is another one than the project's, so that the commit cannot have made the result.
    """
    commands = {command["name"]: command for command in project["commands"]}
    settings: dict[str, str] = {}
    for name, step in steps.items():
        templates = commands.get(name, {}).get("script", [])
        if len(templates) != len(step["script"]):
            raise UserError(f"The step {name} of this commit is not the one that made the result.")
        for template, line in zip(templates, step["script"], strict=True):
            pieces = re.split(r"\$\{vars\.(\w+)\}", template)
            names, seen = pieces[1::2], set()
            pattern = re.escape(pieces[0])
            for var, text in zip(names, pieces[2::2], strict=True):
                pattern += (f"(?P={var})" if var in seen else f"(?P<{var}>.*?)") + re.escape(text)
                seen.add(var)
            if not (match := re.fullmatch(pattern, line)):
                raise UserError(f"The step {name} of this commit is not the one that made the result: {line}")
            settings |= match.groupdict()
    defaults = {name: str(value) for name, value in project["vars"].items()}
    return {name: value for name, value in settings.items() if value != defaults.get(name)}


def settings_of(metrics: dict[str, Any], project: dict[str, Any]) -> dict[str, str]:
    """The project settings that make a result: those recorded, else data set, seed and what an experiment set."""
    values = metrics.get("experiment", {}).get("values", {})
    values = {name.removeprefix("vars."): value for name, value in values.items() if name.startswith("vars.")}
    basic = {"dataset": metrics["dataset"], "seed": metrics["seed"], **values}
    basic = {name: value if isinstance(value, str) else json.dumps(value) for name, value in basic.items()}
    settings = basic | recover_settings(project, metrics.get("steps", {}))
    return settings | ({"metrics": ELSEWHERE} if "metrics" in project["vars"] else {})


def rebuild(folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """Run the variant's workflow in a clean clone; the metrics it gives.

    Raises:
        UserError: the workflow failed.
    """
    project = load_project_config(folder, interpolate=False)
    variant, values = metrics["variant"], metrics.get("experiment", {}).get("values", {})
    change_config(folder, load_project_config(folder), Run(variant, "rebuilt", metrics["seed"], values))
    source = Path("assets") / metrics["dataset"]
    for path in sorted(source.rglob("*")):
        if path.is_file() and not (folder / path).exists():
            copy(path, folder / path)
    settings = settings_of(metrics, project)
    result = folder / settings.get("metrics", f"metrics/{metrics['dataset']}") / f"{variant}.json"
    result.unlink(missing_ok=True)  # the commit's own; what is read below must have been made
    command = [sys.executable, "-m", "spacy", "project", "run", variant, "."]
    command += [word for name, value in settings.items() for word in (f"--vars.{name}", value)]
    env = dict(os.environ)
    if "threads" in metrics["train"]:
        env = {name: value for name, value in env.items() if name not in THREADS} | metrics["train"]["threads"]
    if subprocess.run(command, cwd=folder, env=env, check=False).returncode:
        raise UserError(f"{folder}: the workflow {variant} failed, see above.")
    return read_json(result)


def different_packages(published: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """The packages, pinned as they were, of which another version or none is installed here."""
    old, new = published["packages"], here["packages"]
    return [f"{name}=={version}" for name, version in old.items() if new.get(name) != version]


def why_inexact(published: dict[str, Any], rebuilt: dict[str, Any], steps: list[str]) -> str:
    """Why the two results cannot be expected to be the same to the last digit; empty if they can."""
    before, after = published["env"], rebuilt["env"]
    if different_packages(before, after):
        return "other packages are installed"
    same = ("cpu", "cores", "python")
    if changed := [name for name in same if before[name] != after[name]]:
        return "another machine: " + ", ".join(f"{name} {before[name]} → {after[name]}" for name in changed)
    if published["train"].get("threads", {}) != rebuilt["train"].get("threads", {}):
        return "the number of threads was another one, or was not recorded"
    if max(published["train"]["gpu_id"], rebuilt["train"]["gpu_id"]) >= 0:
        return "trained on a GPU"
    lines = " ".join(line for step in rebuilt.get("steps", {}).values() for line in step["script"])
    if RACING in steps or re.search(r"--workers ([2-9]|\d\d)", lines):
        return "its word vectors are learned by several threads, which race"
    return ""


def leaves(data: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All plain values of nested JSON, each with its dotted name."""
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, data


def deviation(before: Any, after: Any) -> str:
    """The difference of two values, for reading."""
    if before == after:
        return "0"
    if isinstance(before, int | float) and isinstance(after, int | float):
        return f"{after - before:+.2g}" if isinstance(before, float) else f"{after - before:+,}"
    return "differs"


def compare(published: dict[str, Any], rebuilt: dict[str, Any], exact: bool) -> list[Row]:
    """Compare two results: the named values always, everything else under scores, dev, baseline and size if `exact`."""
    before, after = dict(leaves(published)), dict(leaves(rebuilt))
    rows = []
    for name in (*SCORES, *FIXED, *SIZES):
        old, new = before.get(name), after.get(name)
        if old is None and new is None:  # macro_auc, where a label never occurs
            continue
        if exact or name in FIXED or old is None or new is None:
            allowed, ok = "none", old == new
        elif name in SIZES:
            allowed, ok = f"{SIZE_TOLERANCE:.0%}", abs(new - old) <= SIZE_TOLERANCE * old
        else:
            allowed, ok = f"{SCORE_TOLERANCE}", abs(new - old) <= SCORE_TOLERANCE
        rows.append(Row(name, old, new, deviation(old, new), allowed, ok))
    if exact:
        known = {row.name for row in rows}
        judged = ("scores.", "dev.", "baseline.", "size.")
        names = [name for name in (before | after) if name.startswith(judged) and name not in known]
        rows += [
            Row(name, before.get(name), after.get(name), deviation(before.get(name), after.get(name)), "none", False)
            for name in names
            if before.get(name) != after.get(name)
        ]
    for name in SHOWN:
        if before.get(name) and after.get(name):
            rows.append(Row(name, before[name], after[name], f"× {after[name] / before[name]:.2f}", "", True))
    return rows


def first_difference(published: dict[str, Any], rebuilt: dict[str, Any]) -> str:
    """The first step and output whose bytes differ; empty if none does, or no steps are recorded."""
    before, after = published.get("steps", {}), rebuilt.get("steps", {})
    for step in before:
        for path, checksum in before[step]["outputs"].items():
            if not path.endswith(UNSTABLE) and after.get(step, {}).get("outputs", {}).get(path) != checksum:
                return f"{path}, made by {step}"
    for name, checksum in published["env"]["corpus_md5"].items():
        if rebuilt["env"]["corpus_md5"].get(name) != checksum:
            return f"{name} of the corpus, made by convert"
    return ""


def show(rows: list[Row]) -> None:
    """Print the comparison."""
    body = [(r.name, r.published, r.rebuilt, r.deviation, r.allowed, "" if r.ok else "✘") for r in rows]
    msg.table(body, header=("", "published", "rebuilt", "deviation", "allowed", ""), divider=True, max_col=40)


def reproduce(
    metrics: Annotated[Path, typer.Argument(help="Published result, METRICS/DATASET/VARIANT.json.")],
    output: Annotated[Path, typer.Argument(help="Folder for the clone.")],
    commit: Annotated[str, typer.Option(help="Commit to rebuild from; that in the metrics file if not given.")] = (
        RECORDED
    ),
) -> None:
    """Rebuild a published result from a clean clone and compare the two."""
    published = read_json(metrics)
    if reason := published.get("skipped"):
        raise UserError(f"{metrics}: was skipped, there is nothing to rebuild. {reason}")
    found = find_commit(commit, published, metrics)
    if packages := different_packages(published["env"], machine()):
        msg.warn(
            f"Other versions are installed than those of the result. To have them: pip install {' '.join(packages)}"
        )
    folder = clone(found, output / metrics.stem)
    msg.info(f"{metrics}: {published['variant']} at commit {found[:12]}, rebuilt in {folder}")
    rebuilt = rebuild(folder, published)
    steps = srsly.read_yaml(folder / "project.yml")["workflows"][published["variant"]]
    reason = why_inexact(published, rebuilt, steps)
    rows = compare(published, rebuilt, exact=not reason)
    show(rows)
    if reason:
        msg.info(f"Compared within tolerances: {reason}.")
    if difference := first_difference(published, rebuilt):
        msg.info(f"The first output with other bytes is {difference}.")
    if failed := [row.name for row in rows if not row.ok]:
        raise UserError(f"{metrics}: not reproduced. Out of tolerance: {', '.join(failed)}.")
    msg.good(f"{metrics}: reproduced{'' if reason else ' to the last digit'}")


if __name__ == "__main__":
    run_cli(reproduce)
