"""Rebuild a published result from a clean clone, and compare it with the committed metrics file.

The metrics file says which commit made it, with which settings (`steps`), seed, data set and thread count. The clone
goes to training/DATASET/reproduce/; data that is not in git is copied from here, all else is made anew.

With the same packages, thread count and instruction sets (`arithmetic` in the metrics), scores and sizes must be the
same, but for the `NOISE` of the last digits. Elsewhere floating-point sums come out in another order, and so they must
wherever threads race (floret, several gensim threads, GPUs): there, scores and labels may differ as much as another
seed makes them differ, by the grid `seeds`. Speed, memory and training time belong to the moment; they are shown, not
judged.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import srsly
import typer
from wasabi import msg
from weasel.util.config import load_project_config

from scripts.common.cli import UserError, run_cli
from scripts.common.files import check_keys, read_json
from scripts.evaluation.paired import has_answers, label_matrices, tested
from scripts.evaluation.provenance import machine
from scripts.experiments.grids import Run, change_config, copy
from scripts.experiments.pairs import find_runs
from scripts.machines.machine import THREADS

RECORDED = "recorded"
ELSEWHERE = "rebuilt"  # folder for the metrics, in commits that have one data set at a time and a setting for it
NOISE = 1e-6  # of a score: nobody could say why it should matter
DEVIATIONS = 3.0  # standard deviations over the seeds of the grid `seeds`, that another machine may be away
SCORE_TOLERANCE = 0.02  # of a variant that it does not hold
LABEL_TOLERANCE = 0.05  # likewise; a share of the test texts
LEAST = 3  # texts: a spread of nothing over a few seeds would not let one label change
SIZE_TOLERANCE = 0.01  # relative
SCORES = ("scores.macro_f1", "scores.micro_f1", "scores.accuracy", "scores.macro_auc", "scores.calibration_error")
SCORES += ("dev.macro_f1", "dev.accuracy")
SIZES = ("size.pipeline_bytes", "size.vectors_bytes")
COUNTED = "scores.answers."  # see `changed_labels`
FIXED = ("scores.documents", "dev.documents", "baseline.majority.macro_f1", "size.parameters")
SHOWN = ("speed.docs_per_s", "speed.latency_ms_p50", "speed.load_s", "memory.peak_rss_bytes", "train.seconds")
RACING = "learn-floret"  # its threads write to one table without waiting for one another
NEEDED = ("variant", "dataset", "seed", "scores", "dev", "size", "train", "env")  # of a result
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


def public(version: str) -> str:
    """A version without the name of its build: 2.13.0 of 2.13.0+cpu."""
    return version.partition("+")[0]


def different_packages(published: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """The packages, pinned as they were, of which another version or none is installed here."""
    old, new = published["packages"], here["packages"]
    return [f"{n}=={public(version)}" for n, version in old.items() if public(new.get(n, "")) != public(version)]


def different_builds(published: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """The packages of which another build of the same version is installed here, such as torch 2.13.0+cpu → 2.13.0."""
    old, new = published["packages"], here["packages"]
    same = [name for name in old if public(new.get(name, "")) == public(old[name])]
    return [f"{name} {old[name]} → {new[name]}" for name in same if new[name] != old[name]]


def why_inexact(published: dict[str, Any], rebuilt: dict[str, Any], steps: list[str]) -> str:
    """Why the two results cannot be expected to be the same; empty if they can."""
    before, after = published["env"], rebuilt["env"]
    if different_packages(before, after):
        return "other packages are installed"
    if builds := different_builds(before, after):
        return f"another build of the same version: {', '.join(builds)}"
    if before["python"] != after["python"]:
        return f"another Python: {before['python']} → {after['python']}"
    # The name of a processor says little: what its libraries make of it counts.
    old, new = before.get("arithmetic"), after.get("arithmetic")
    if old is None or new is None:
        return f"it is not recorded which instruction sets were used on the machine ({before['cpu']} → {after['cpu']})"
    if changed := [name for name in old | new if old.get(name) != new.get(name)]:
        return "another machine: " + ", ".join(f"{name} {old.get(name)} → {new.get(name)}" for name in changed)
    threads = published["train"].get("threads")
    if threads != rebuilt["train"].get("threads") or (not threads and before["cores"] != after["cores"]):
        return "the number of threads was another one, or was not recorded"
    if max(published["train"]["gpu_id"], rebuilt["train"]["gpu_id"]) >= 0:
        return "trained on a GPU"
    lines = " ".join(line for step in rebuilt.get("steps", {}).values() for line in step["script"])
    if RACING in steps or re.search(r"--workers ([2-9]|\d\d)", lines):
        return "its word vectors are learned by several threads, which race"
    return ""


def runs_over_seeds(metrics: Path, published: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of the grid `seeds` that differ from a result in nothing but the seed; none if it does not hold them."""
    dataset, variant = published["dataset"], published["variant"]
    folder = next((path for path in metrics.absolute().parents if path.name == dataset), metrics.parent)
    runs = find_runs(folder, dataset, [published], quiet=True)[variant]
    return list(runs.values()) if len(runs) > 1 else []


def changed_labels(before: dict[str, Any], after: dict[str, Any]) -> int | None:
    """How many test texts have other labels; at the least, by the confusion matrices, if a result lacks its answers.

    None if it has neither.
    """
    if has_answers(before) and has_answers(after) and tested(before) == tested(after):
        given = [label_matrices(result)[1] for result in (before, after)]
        return int((given[0] != given[1]).any(axis=1).sum())
    tables = [result["scores"].get("confusion", {}).get("rows_are_gold") for result in (before, after)]
    if None in tables or np.shape(tables[0]) != np.shape(tables[1]):
        return None
    return int(np.abs(np.subtract(*tables)).sum()) // 2


def allowed_scores(published: dict[str, Any], runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """How far each score may be away on another machine: as far as seeds are from one another, or a few texts."""
    known = [dict(leaves(run)) for run in runs]
    allowed = {}
    for name in SCORES:
        values = [run[name] for run in known if run.get(name) is not None]
        least = LEAST / published[name.partition(".")[0]]["documents"]
        allowed[name] = max(DEVIATIONS * float(np.std(values, ddof=1)), least) if len(values) > 1 else SCORE_TOLERANCE
    return allowed


def allowed_labels(published: dict[str, Any], runs: Sequence[dict[str, Any]]) -> int:
    """How many test texts may have another label on another machine: as many as with another seed, or a few."""
    found = [changed for pair in combinations(runs, 2) if (changed := changed_labels(*pair)) is not None]
    return max(LEAST, *found) if found else round(LABEL_TOLERANCE * published["scores"]["documents"])


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


def compare(
    published: dict[str, Any], rebuilt: dict[str, Any], exact: bool, runs: Sequence[dict[str, Any]] = ()
) -> list[Row]:
    """Compare two results: the named values always, all else under scores, dev, baseline and size if `exact`.

    The answers are counted (`changed_labels`): an earlier version kept none.

    Args:
        published: metrics.
        rebuilt: metrics.
        exact: they must be the same, but for noise.
        runs: others, of other seeds, which tell how far they may differ if not.
    """
    before, after = dict(leaves(published)), dict(leaves(rebuilt))
    limits = dict.fromkeys(SCORES, NOISE) if exact else allowed_scores(published, runs)
    rows = []
    for name in (*SCORES, *FIXED, *SIZES):
        old, new = before.get(name), after.get(name)
        if old is None and new is None:  # macro_auc, where a label never occurs
            continue
        if old is None or new is None or name in FIXED or (exact and name in SIZES):
            allowed, ok = "none", old == new
        elif name in SIZES:
            allowed, ok = f"{SIZE_TOLERANCE:.0%}", abs(new - old) <= SIZE_TOLERANCE * old
        else:
            allowed, ok = f"{limits[name]:.2g}", abs(new - old) <= limits[name]
        rows.append(Row(name, old, new, deviation(old, new), allowed, ok))
    if (changed := changed_labels(published, rebuilt)) is not None:
        most = 0 if exact else allowed_labels(published, runs)
        rows.append(Row("labels on test", "", "", str(changed), str(most), changed <= most))
    if exact:
        known = {row.name for row in rows}
        judged = ("scores.", "dev.", "baseline.", "size.")
        names = [name for name in (before | after) if name.startswith(judged) and not name.startswith(COUNTED)]
        rows += [
            Row(name, before.get(name), after.get(name), deviation(before.get(name), after.get(name)), "none", False)
            for name in names
            if name not in known and not is_noise(before.get(name), after.get(name))
        ]
    for name in SHOWN:
        if before.get(name) and after.get(name):
            rows.append(Row(name, before[name], after[name], f"× {after[name] / before[name]:.2f}", "", True))
    return rows


def is_noise(before: Any, after: Any) -> bool:
    """Whether two values are the same, but for the last digits of a floating-point number."""
    return before == after or (isinstance(before, float) and isinstance(after, float) and abs(before - after) <= NOISE)


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
    check_keys(metrics, published, NEEDED)
    found = find_commit(commit, published, metrics)
    here = machine()
    if packages := different_packages(published["env"], here):
        msg.warn(
            f"Other versions are installed than those of the result. To have them: pip install {' '.join(packages)}"
        )
    if builds := different_builds(published["env"], here):
        msg.info(f"Of the same versions, other builds are installed: {', '.join(builds)}")
    folder = clone(found, output / metrics.stem)
    msg.info(f"{metrics}: {published['variant']} at commit {found[:12]}, rebuilt in {folder}")
    rebuilt = rebuild(folder, published)
    steps = srsly.read_yaml(folder / "project.yml")["workflows"][published["variant"]]
    reason = why_inexact(published, rebuilt, steps)
    runs = runs_over_seeds(metrics, published)
    rows = compare(published, rebuilt, not reason, runs)
    show(rows)
    chosen = [result["train"].get("chosen") for result in (published, rebuilt)]
    if chosen[0] != chosen[1]:
        msg.info(f"Another candidate was the best on dev: {chosen[1]}, before {chosen[0]}.")
    equal = all(row.published == row.rebuilt for row in rows if row.allowed)
    if reason and not equal:
        spread = f"as {len(runs)} seeds differ" if len(runs) > 1 else "no grid `seeds` tells what a seed changes"
        msg.info(f"Compared within tolerances ({spread}): {reason}.")
    if difference := first_difference(published, rebuilt):
        msg.info(f"The first output with other bytes is {difference}.")
    if failed := [row.name for row in rows if not row.ok]:
        raise UserError(f"{metrics}: not reproduced. Out of tolerance: {', '.join(failed)}.")
    msg.good(f"{metrics}: reproduced{' to the last digit' if equal else ''}")


if __name__ == "__main__":
    run_cli(reproduce)
