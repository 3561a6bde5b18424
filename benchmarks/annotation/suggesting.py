"""Whether `suggest` saves labels: from 10 % of the labelled texts, grown to 50 % by what it chooses, or at random.

    python -m benchmarks.annotation.suggesting bbc --repeats 5

The texts of train and dev take the part of the raw text; labels of those not yet chosen are not looked at. In each step
5 % are added, the linear model is fitted to all that are chosen, and scored on the test set. Chosen: by `suggest`; only
the most uncertain; at random. To be run after `convert`.

Every run is kept in metrics/DATASET/annotation/suggesting.json; what is there is not run again.
"""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
import typer

from benchmarks.annotation.simulation import open_simulation
from scripts.annotation.cross_fit import left_out_scores, probabilities
from scripts.annotation.picking import SPARE, Candidate, Pool, choose, reading_order, uncertainty
from scripts.common.files import write_json
from scripts.evaluation.thresholds import macro_f1
from scripts.forms.tables import markdown_table
from scripts.linear.svm import BALANCES, STRENGTHS, calibrate, fit_svm

START, STEP, END = 0.1, 0.05, 0.5
CHOICES = ("suggest", "uncertain", "random")


def take(
    how: str,
    X: sp.csr_matrix,
    Y: np.ndarray,
    chosen: np.ndarray,
    predict: Callable[[sp.csr_matrix], np.ndarray],
    wanted: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Numbers of the texts to label next; `predict` gives a model's probabilities from features."""
    left = np.setdiff1d(np.arange(len(Y)), chosen)
    if how == "random":
        return rng.choice(left, wanted, replace=False)
    P = predict(X[left])
    scores = uncertainty(P, None)
    if how == "uncertain":
        return left[np.argsort(-scores, kind="stable")[:wanted]]
    pool = Pool(SPARE * wanted, Y.shape[1])
    for i, score, label in zip(left.tolist(), scores.tolist(), P.argmax(1).tolist(), strict=True):
        pool.add(str(i), Candidate(score, label, str(i), "", ()))
    candidates = pool.candidates()
    found = np.array([int(candidate.text) for candidate in candidates])
    order = reading_order(
        np.array([candidate.score for candidate in candidates]),
        np.array([candidate.label for candidate in candidates]),
        Y[chosen].sum(0),
        wanted,
    )
    return found[choose(X[found], X[chosen], order, wanted)]


def grow(how: str, X: sp.csr_matrix, Y: np.ndarray, test: sp.csr_matrix, gold: np.ndarray, seed: int) -> dict[str, Any]:
    """The learning curve of one way to choose: numbers of labelled texts, macro-F1 on the test set."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(Y))[: round(START * len(Y))]
    step, curve = round(STEP * len(Y)), []
    # How sure the model may be is found once, from the texts that there are at the beginning.
    factor, bias = calibrate(left_out_scores(X[chosen], Y[chosen], True), Y[chosen], True)
    while True:
        W, b = fit_svm(X[chosen], Y[chosen], True, STRENGTHS[0], BALANCES[0])
        found = np.eye(Y.shape[1])[(test @ W.T + b).argmax(1)] > 0
        curve.append({"texts": len(chosen), "macro_f1": round(float(macro_f1(gold > 0, found)), 4)})
        if len(chosen) + step > round(END * len(Y)) + step // 2:
            return {"choice": how, "seed": seed, "curve": curve}

        def predict(others: sp.csr_matrix, W: np.ndarray = W, b: np.ndarray = b) -> np.ndarray:
            return probabilities(factor * (others @ W.T + b) + bias, True)

        more = take(how, X, Y, chosen, predict, step, rng)
        if not len(more):
            return {"choice": how, "seed": seed, "curve": curve}
        chosen = np.concatenate([chosen, more])


def run(dataset: str, repeats: int) -> dict[str, Any]:
    """Run what is missing, one after another; all there is then."""
    data, tested, X, test, facts, output = open_simulation(dataset, "suggesting")
    done = {(r["choice"], r["seed"]) for r in facts["runs"]}
    for seed in range(repeats):
        for how in CHOICES:
            if (how, seed) not in done:
                facts["runs"].append(grow(how, X, data.Y, test, tested.Y, seed))
                write_json(output, facts)
                print(facts["runs"][-1], flush=True)
    return facts


def texts_for(curve: list[tuple[float, float]], wanted: float) -> float | None:
    """How many texts a curve needs for a score, on straight lines between its points; None if it falls short."""
    for (x0, y0), (x1, y1) in zip(curve, curve[1:], strict=False):
        if y0 < wanted <= y1:
            return x0 + (x1 - x0) * (wanted - y0) / (y1 - y0)
    return None


def main(
    dataset: Annotated[str, typer.Argument(help="A data set that `convert` has been run on.")],
    repeats: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """Run what is missing, and print the table of docs/annotation.md."""
    facts = run(dataset, repeats)
    curves = {}
    for how in CHOICES:
        runs = [[(p["texts"], p["macro_f1"]) for p in r["curve"]] for r in facts["runs"] if r["choice"] == how]
        curves[how] = [tuple(point) for point in np.mean([r for r in runs if len(r) == len(runs[0])], axis=0).tolist()]
    most, wanted = curves["random"][-1]
    rows = []
    for how in CHOICES:
        curve, needed = curves[how], texts_for(curves[how], wanted)
        count = sum(r["choice"] == how for r in facts["runs"])
        saved = f"{1 - needed / most:.0%}" if needed else "none"
        middle = curve[len(curve) // 2]
        cells = [f"{y:.3f}" for _, y in (curve[0], middle, curve[-1])]
        rows.append([f"{dataset}, {count} runs", how, *cells, f"{needed:,.0f}" if needed else "more", saved])
    header = ["data set", "chosen", "10 %", "30 %", "50 %", "texts for random's 50 %", "labels saved"]
    print(markdown_table(header, rows))


if __name__ == "__main__":
    typer.run(main)
