"""More data, or a better model? Train a variant on growing shares of the training texts and plot its score on dev.

Trained as `train-VARIANT` does, candidates and all, with another corpus, seed and output. Each repeat draws shares of
its own, the smaller within the larger. What a variant learnt from all texts before that (word vectors, a teacher) it
keeps: the curve is about labels. The test set is not touched.
"""

import contextlib
import io
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import altair as alt
import numpy as np
import spacy
import typer
import vl_convert
from scipy.stats import t
from spacy.tokens import DocBin
from wasabi import msg

from scripts.common.cli import UserError, run_cli, show_progress
from scripts.common.files import read_json, whole_file, write_json
from scripts.common.finished import BEST, DEV, FACTS
from scripts.common.variants import config_chain, merge_configs, variant_names
from scripts.evaluation.provenance import labelled_now
from scripts.evaluation.scores import score_dev
from scripts.experiments.curves import advice
from scripts.linear.svm import fit_both
from scripts.training.config import write_candidates
from scripts.training.fitting import fit

SHARES = (0.25, 0.5, 0.75, 1.0)
CONFIDENCE = 0.95


def subset(path: Path, share: float, seed: int, output: Path) -> int:
    """Write a random share of a corpus, spread over the labels, in its old order; return the number of texts.

    The same seed draws the smaller share from the larger one. Of each label at least one text is kept. A text of
    several labels counts for its rarest: sets of labels are often of one text only.
    """
    docs = list(DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab))
    labels = [[label for label, value in doc.cats.items() if value >= 0.5] for doc in docs]
    counts = Counter(label for own in labels for label in own)
    strata: dict[str, list[int]] = {}
    for index in np.random.default_rng(seed).permutation(len(docs)).tolist():
        strata.setdefault(min(labels[index], key=lambda label: (counts[label], label), default=""), []).append(index)
    # From 0, drawn first in its stratum, to 1, last.
    places = {i: (rank + 0.5) / len(members) for members in strata.values() for rank, i in enumerate(members)}
    order = sorted(places, key=lambda index: (places[index], index))
    kept = {next(index for index in order if label in labels[index]) for label in counts}
    for index in order:
        if len(kept) >= math.ceil(share * len(docs)):
            break
        kept.add(index)
    DocBin(attrs=["ORTH", "SPACY"], docs=[docs[index] for index in sorted(kept)]).to_disk(output)
    return len(kept)


def interval(values: list[float]) -> list[float] | None:
    """95 % interval of the mean by Student's t: [low, high]; None for a single value."""
    if len(values) < 2:
        return None
    margin = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return [float(np.mean(values) - margin), float(np.mean(values) + margin)]


def train_once(
    variant: str, corpus: Path, training: Path, share: float, seed: int, max_epochs: int, gpu_id: int
) -> tuple[int, float]:
    """Train on a share of the variant's corpus and return the number of texts and macro-F1 on dev.

    Raises:
        UserError: the training failed; the end of what it printed is in the message.
    """
    overlay = Path("configs") / f"{variant}.cfg"
    log = io.StringIO()
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(log):
        folder = Path(name)
        train = folder / "train.spacy"
        texts = subset(corpus / "train.spacy", share, seed, train)
        settings = {"paths.train": train.as_posix()}
        # By the number of texts, too, it is decided how long and in what sizes to learn.
        facts = read_json(corpus / "task.json")
        facts |= {"examples": facts["examples"] | {"train": texts}}
        if merge_configs(config_chain(overlay))[0]["paths"].get("linear"):
            # It must not know the other texts.
            settings["paths.linear"] = (folder / "linear.npz").as_posix()
            fit_both(train, corpus / "dev.spacy", folder / "linear.npz", facts)
        candidates, found = write_candidates(
            overlay, folder, corpus, training, seed, max_epochs, gpu_id, settings, facts
        )
        try:
            fit(candidates, folder, gpu_id, found.get("half_precision", False), found.get("averaged", False))
        except (Exception, SystemExit) as error:  # spaCy prints what is wrong, and exits
            raise UserError(f"train-{variant} failed: {error}\n{log.getvalue()[-1500:]}") from None
        scores = read_json(folder / FACTS).get(DEV) or score_dev(spacy.load(folder / BEST), corpus / "dev.spacy")
    return texts, scores["macro_f1"]


def summarize(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One point for each share: texts, mean score, interval and the scores behind them."""
    points = []
    for share in sorted({run["share"] for run in runs}):
        values = [run["macro_f1"] for run in runs if run["share"] == share]
        texts = round(float(np.mean([run["texts"] for run in runs if run["share"] == share])))
        points.append(
            {"share": share, "texts": texts, "macro_f1": float(np.mean(values)), "ci": interval(values), "runs": values}
        )
    return points


def plot(points: list[dict[str, Any]], variant: str) -> str:
    """The curve as SVG, with a band for the intervals."""
    rows = [
        {"texts": p["texts"], "macro_f1": p["macro_f1"], "low": (p["ci"] or [p["macro_f1"]] * 2)[0],
         "high": (p["ci"] or [p["macro_f1"]] * 2)[1]}
        for p in points
    ]  # fmt: skip
    base = alt.Chart(alt.Data(values=rows)).encode(x=alt.X("texts:Q", title="training texts"))
    scale = alt.Scale(zero=False)
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", scale=scale, title="macro-F1 on dev"), y2="high:Q")
    line = base.mark_line(point=True).encode(y=alt.Y("macro_f1:Q", scale=scale, title="macro-F1 on dev"))
    chart = (band + line).properties(title=f"{variant}: more data?", width=420, height=280)
    return vl_convert.vegalite_to_svg(chart.to_dict())


def train_curve(
    variant: Annotated[str, typer.Argument(help="A variant that has a train command in project.yml.")],
    output: Annotated[Path, typer.Argument(help="Folder for VARIANT.json and VARIANT.svg.")],
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    training: Annotated[Path, typer.Option(help="Folder of what is trained on it.")] = Path("training"),
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each share, with seeds 0, 1, …")] = 3,
    max_epochs: Annotated[int, typer.Option(help="Passes over the data; 0 keeps the config's own number.")] = 0,
    gpu_id: Annotated[int, typer.Option(help="GPU to use; -1 for the CPU.")] = -1,
    project: Annotated[Path, typer.Option(help="Folder with project.yml.")] = Path("."),
) -> None:
    """Train on 25, 50, 75 and 100 % of the training texts and plot macro-F1 on dev with intervals."""
    if variant not in (known := variant_names(project)):
        raise UserError(f"variant {variant!r} is unknown. Choose one of {', '.join(known)}.")
    config, _ = merge_configs(config_chain(project / "configs" / f"{variant}.cfg"))
    if "onnx" in config["paths"]:
        raise UserError(
            f"{variant} has learned from all training texts before it becomes a pipeline: its curve would be flat. "
            "Take another variant; for transformer-int8 and transformer-distilled, transformer-trim."
        )
    jobs = [(share, seed) for share in SHARES for seed in range(repeats)]
    runs = []
    for share, seed in show_progress(jobs, desc=f"train {variant}", unit=" runs"):
        texts, macro_f1 = train_once(variant, corpus, training, share, seed, max_epochs, gpu_id)
        runs.append({"share": share, "seed": seed, "texts": texts, "macro_f1": macro_f1})
    points = summarize(runs)
    facts = {"variant": variant, "scored_on": "dev", "corpus_md5": labelled_now(corpus)}
    write_json(output / f"{variant}.json", facts | {"points": points, "runs": runs})
    with whole_file(output / f"{variant}.svg") as path:
        path.write_text(plot(points, variant), encoding="utf-8")
    rows = [
        (
            f"{p['share']:.0%}",
            p["texts"],
            f"{p['macro_f1']:.3f}",
            "{:.3f} to {:.3f}".format(*p["ci"]) if p["ci"] else "",
        )
        for p in points
    ]
    msg.table(rows, header=("share", "texts", "macro-F1 on dev", "95 % interval"), divider=True)
    msg.info(advice(points))
    msg.good(f"{output / variant}.json, {output / variant}.svg: {len(runs)} trainings")


if __name__ == "__main__":
    run_cli(train_curve)
