"""Score a trained pipeline on the test set, once, and measure what it costs: metrics/VARIANT.json.

`scores`, `dev`, `baseline` and `size` are the same on every run; `speed`, `memory`, `installed`, `train` and `env`
belong to the machine and the moment.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from spacy.cli._util import import_code
from spacy.language import Language
from spacy.util import load_config
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import folder_bytes, read_json, whole_file, write_json, write_jsonl
from scripts.common.finished import BEST, CONFIG, DEV, FACTS, MODEL_MD5, check_finished, known_md5
from scripts.common.skipping import pass_on
from scripts.common.variants import variant_code
from scripts.evaluation.installed import needed_packages
from scripts.evaluation.provenance import environment, steps_before
from scripts.evaluation.scores import (
    baselines,
    chance,
    constant_f1,
    even_documents,
    guessing,
    score,
    score_dev,
    shuffled_f1,
    threshold_scores,
    unpack_answers,
)
from scripts.evaluation.speed import run_measure

EXTREME = 0.1  # a decision threshold below it, or as near to 1
PARTS = {"dev": "dev", "test": "scores"}  # of the metrics
MARGIN = 0.01  # of macro-F1, by which a variant must be below `linear` to be doubted; of few texts that is chance


def torch_models(nlp: Language) -> list[Any]:
    """The PyTorch modules inside a pipeline; empty for a pipeline that runs without PyTorch."""
    pipes = [pipe for _, pipe in nlp.pipeline if hasattr(pipe, "model")]
    shims = [shim for pipe in pipes for node in pipe.model.walk() for shim in node.shims]
    return list({id(shim._model): shim._model for shim in shims}.values())


def count_parameters(nlp: Language) -> int:
    """Weights of all components, trained or frozen, without the static vectors of the vocabulary."""
    nodes = [node for _, pipe in nlp.pipeline if hasattr(pipe, "model") for node in pipe.model.walk()]
    own = sum(
        # What is stored compressed tells how much it stands for.
        node.attrs.get("parameters")
        or sum(node.get_param(name).size for name in node.param_names if node.has_param(name))
        for node in nodes
    )
    return own + sum(weights.numel() for model in torch_models(nlp) for weights in model.parameters())


def find_doubts(metrics: dict[str, Any], linear: dict[str, Any] | None) -> list[str]:
    """What says that a variant has not learned: sentences with the setting to try.

    Args:
        metrics: of the variant.
        linear: those of `linear` on the same corpus, if there are any.
    """
    name, scores, dev = metrics["variant"], metrics["scores"], metrics["dev"]
    doubts = []
    if (judgement := metrics["train"].get("judgement")) and not judgement.startswith("Converged"):
        doubts.append(judgement)
    threshold = scores.get("thresholds", {}).get("all_labels", 0.5)
    # Half of the best F1 is the best threshold of true probabilities, and a low one where labels are hard to tell.
    if threshold < min(EXTREME, scores["macro_f1"] / 4) or threshold > 1 - EXTREME:
        passes = ", or other --vars.max_epochs" if name != "linear" else ""
        doubts.append(
            f"{name} gives labels from a score of {threshold:.2f} on: its probabilities are far from the truth. Rely "
            f"on its labels, not on its scores; more examples of the rare labels mend it{passes}."
        )
    if scores["macro_f1"] <= constant_f1(metrics):
        doubts.append(f"{name} has learned nothing: its macro-F1 on test is no better than one answer for all texts.")
    elif guessed := may_be_guessed(scores):
        doubts.append(f"{name} has learned nothing that can be seen: {guessed}, may be that of guessing.")
    if name != "linear" and linear:
        # Nothing is chosen by test, but nobody should have to find it in the table.
        lost = {part: linear[key]["macro_f1"] - metrics[key]["macro_f1"] for part, key in PARTS.items()}
        even = {"dev": dev["even_documents"], "test": even_tested(scores)}
        clear = {part for part in PARTS if lost[part] > max(MARGIN, chance(even[part]))}
        below = [
            f"{metrics[key]['macro_f1']:.3f} on {part}, `linear` {linear[key]['macro_f1']:.3f}"
            for part, key in PARTS.items()
            if part in clear or (part == "test" and lost[part] > MARGIN)
        ]
        if below:
            advice = ": prefer `linear` here" if clear else "; that may be chance"
            doubts.append(f"{name} scores {', and '.join(below)}, which knows nothing but the labels{advice}.")
    return doubts


def may_be_guessed(scores: dict[str, Any]) -> str | None:
    """The score on test by which a variant may have guessed; None if it is clearly above all guesses."""
    if "answers" not in scores:
        return None
    gold, given = unpack_answers(scores["answers"])
    if "thresholds" in scores:
        area = scores["macro_auc"]
        return f"its area under the ROC curve on test, {area:.2f}" if area < guessing(gold) else None
    return f"its macro-F1 on test, {scores['macro_f1']:.3f}" if scores["macro_f1"] < shuffled_f1(gold, given) else None


def even_tested(scores: dict[str, Any]) -> float:
    """Test texts, evenly spread over the labels; as if any number for metrics of before the answers were kept."""
    return even_documents(unpack_answers(scores["answers"])[0].sum(0).tolist()) if "answers" in scores else math.inf


def evaluate(
    variant: Annotated[str, typer.Argument(help="Name of a trained variant, TRAINING/NAME.")],
    folder: Annotated[Path, typer.Argument(help="Folder for the metrics; NAME.json is written.")],
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    training: Annotated[Path, typer.Option(help="Folder of what is trained on it, such as NAME/.")] = Path("training"),
    configs: Annotated[Path, typer.Option(help="Folder of the configs.")] = Path("configs"),
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes over the test texts.")] = 5,
) -> None:
    """Write a variant's metrics, and its test predictions beside the model."""
    run, output = training / variant, folder / f"{variant}.json"
    model = run / BEST
    pass_on([model], [run / "predictions.jsonl", output])
    check_finished(run)
    task, clock = read_json(corpus / "task.json"), read_json(run / FACTS)
    code = variant_code(variant, configs)
    import_code(code)
    nlp = spacy.load(model)
    scores, predictions = score(nlp, corpus / "test.spacy")
    dev = clock.pop(DEV, None) or score_dev(nlp, corpus / "dev.spacy")
    if not task["exclusive"]:
        scores["thresholds"] = threshold_scores(nlp, dev.pop("thresholds"), predictions)
    vectors = model / "vocab" / "vectors"
    options = [*(["--code", str(code)] if code else []), *(["--with-torch"] if torch_models(nlp) else [])]
    options += [word for name in needed_packages(nlp) for word in ("--package", name)]
    metrics = {
        "variant": variant,
        "dataset": task["dataset"],
        **({"fold": task["fold"]} if "fold" in task else {}),
        "mode": task["mode"],
        "examples": task["examples"],
        "seed": load_config(run / CONFIG, interpolate=True)["system"]["seed"],
        "scores": scores,
        "dev": dev,
        "baseline": baselines(corpus, task["labels"], task["exclusive"]),
        "size": {
            "pipeline_bytes": folder_bytes(model),
            "vectors_bytes": vectors.stat().st_size if nlp.vocab.vectors.size else 0,
            "parameters": count_parameters(nlp),
        },
        **run_measure("scripts.evaluation.measure", model, corpus / "test.spacy", repeats, *options),
        "train": clock,
        "env": environment(run / CONFIG, task),
        "steps": steps_before(f"evaluate-{variant}", (corpus, training), Path("project.yml"), Path("project.lock")),
    }
    if known_md5(run) != clock[MODEL_MD5]:
        raise UserError(f"{model}: was trained again while it was measured. Measure the new one.")
    linear = folder / "linear.json"
    known = read_json(linear) if linear.is_file() else {}
    same = known.get("env", {}).get("corpus_md5") == metrics["env"]["corpus_md5"]
    metrics["doubts"] = find_doubts(metrics, known if same else None)
    for doubt in metrics["doubts"]:
        msg.warn(doubt)
    # Both are written before either takes its place.
    with whole_file(run / "predictions.jsonl") as path, whole_file(output) as metrics_path:
        write_jsonl(path, predictions)
        write_json(metrics_path, metrics)
    low, high = scores["macro_f1_ci"]
    msg.good(
        f"{output}: macro-F1 {scores['macro_f1']:.3f} [{low:.3f}, {high:.3f}], "
        f"{metrics['size']['pipeline_bytes'] / 1e6:.1f} MB, {metrics['speed']['docs_per_s']:,.0f} docs/s"
    )


if __name__ == "__main__":
    run_cli(evaluate)
