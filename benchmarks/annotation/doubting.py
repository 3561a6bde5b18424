"""Whether `doubt` finds wrong labels: labels are made wrong, ranked, and the first ones repaired.

    python -m benchmarks.annotation.doubting bbc --repeats 5

Of the texts of train and dev, 2, 5 and 10 % get another label: any, or the one that the model takes them for most often
(for two labels that is the same). As many as were made wrong are then repaired, in the order of each ranking, and the
linear model is fitted to all and scored on the test set. Ranked by: `doubt`; the loss of the given label; the margin
between probabilities, as the library cleanlab does; at random. To be run after `convert`.

Every run is kept in metrics/DATASET/annotation/doubting.json; what is there is not run again.
"""

from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
import typer

from benchmarks.annotation.simulation import open_simulation
from scripts.annotation.confident import doubts, expected_errors
from scripts.annotation.cross_fit import cross_fit
from scripts.common.files import write_json
from scripts.evaluation.thresholds import macro_f1
from scripts.forms.tables import markdown_table
from scripts.linear.svm import BALANCES, STRENGTHS, fit_svm

SHARES = (0.02, 0.05, 0.1)
FIRST = 100  # texts that one looks at


def flip(gold: np.ndarray, share: float, likeness: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Labels of which a share is wrong.

    Args:
        gold: number of the label, shape (texts,).
        share: of the texts.
        likeness: probability of each label (column) for texts of a label (row); None for any other label.
        rng: source of chance.
    """
    n_labels = gold.max() + 1
    wrong = rng.choice(len(gold), round(share * len(gold)), replace=False)
    given = gold.copy()
    if likeness is None:
        given[wrong] = (gold[wrong] + rng.integers(1, n_labels, len(wrong))) % n_labels
    else:
        given[wrong] = (likeness - np.diag(np.full(n_labels, np.inf))).argmax(1)[gold[wrong]]
    return given


def rankings(P: np.ndarray, Y: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The order of the texts by each ranking."""
    own, other = P[Y > 0], np.where(Y > 0, -1, P).max(1)
    return {
        "doubt": np.argsort(-doubts(P, Y, True), kind="stable"),
        "loss": np.argsort(own, kind="stable"),
        "margin": np.argsort(own - other, kind="stable"),
        "random": rng.permutation(len(P)),
    }


def score(X: sp.csr_matrix, gold: np.ndarray, test: sp.csr_matrix, test_gold: np.ndarray) -> float:
    """Macro-F1 on the test set of the linear model fitted to some labels."""
    eye = np.eye(gold.max() + 1)
    W, b = fit_svm(X, eye[gold], True, STRENGTHS[0], BALANCES[0])
    found = (test @ W.T + b).argmax(1)
    return round(float(macro_f1(eye[test_gold] > 0, eye[found] > 0)), 4)


def run(dataset: str, repeats: int) -> dict[str, Any]:
    """Run what is missing, one after another; all there is then."""
    data, tested, X, test, facts, output = open_simulation(dataset, "doubting")
    gold, test_gold, eye = data.Y.argmax(1), tested.Y.argmax(1), np.eye(len(data.labels))
    if "clean_macro_f1" not in facts:
        facts["clean_macro_f1"] = score(X, gold, test, test_gold)
    P = cross_fit(X, data.Y, True)
    facts["left_out_accuracy"] = round(float((P.argmax(1) == gold).mean()), 4)
    likeness = np.stack([P[gold == label].mean(0) for label in range(len(eye))])
    done = {(r["kind"], r["share"], r["seed"]) for r in facts["runs"]}
    for seed in range(repeats):
        for kind in ("random", "confusable")[: 1 + (len(eye) > 2)]:
            for share in SHARES:
                if (kind, share, seed) in done:
                    continue
                rng = np.random.default_rng([seed, round(100 * share), kind == "random"])
                given = flip(gold, share, None if kind == "random" else likeness, rng)
                P, wrong = cross_fit(X, eye[given], True), given != gold
                k, orders = int(wrong.sum()), rankings(P, eye[given], rng)
                one = {"kind": kind, "share": share, "seed": seed, "wrong": k}
                one["expected"] = expected_errors(P, eye[given], True)
                one["before"] = score(X, given, test, test_gold)
                for name, order in orders.items():
                    first = order[:k]
                    repaired = given.copy()
                    repaired[first] = gold[first]
                    one[name] = {
                        "found": round(float(wrong[first].mean()), 4),
                        "found_first": round(float(wrong[order[:FIRST]].mean()), 4),
                        "macro_f1": score(X, repaired, test, test_gold),
                    }
                facts["runs"].append(one)
                write_json(output, facts)
                print(one, flush=True)
    return facts


def mean(runs: list[dict[str, Any]], *keys: str) -> float:
    """The mean of a value over runs."""
    values = runs
    for key in keys:
        values = [value[key] for value in values]
    return float(np.mean(values))


def main(
    dataset: Annotated[str, typer.Argument(help="A data set that `convert` has been run on.")],
    repeats: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """Run what is missing, and print the table of docs/annotation.md."""
    facts = run(dataset, repeats)
    rows = []
    for kind in ("random", "confusable"):
        for share in SHARES:
            if runs := [r for r in facts["runs"] if (r["kind"], r["share"]) == (kind, share)]:
                found = [f"{mean(runs, name, 'found'):.0%}" for name in ("doubt", "loss", "margin", "random")]
                f1 = [mean(runs, *keys) for keys in (("before",), ("doubt", "macro_f1"), ("random", "macro_f1"))]
                rows.append(
                    [f"{dataset}, {len(runs)} runs", f"{share:.0%} {kind}", runs[0]["wrong"], *found]
                    + [f"{mean(runs, 'doubt', 'found_first'):.0%}", f"{mean(runs, 'expected'):.0f}"]
                    + [f"{value:.3f}" for value in (*f1, facts["clean_macro_f1"])]
                )
    header = ["data set", "made wrong", "texts", "found by `doubt`", "loss", "margin", "random", "of the first 100"]
    header += ["expected", "macro-F1 before", "repaired by `doubt`", "by random", "never wrong"]
    print(markdown_table(header, rows))


if __name__ == "__main__":
    typer.run(main)
