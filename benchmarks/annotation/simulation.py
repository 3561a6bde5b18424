"""What the simulations of docs/annotation.md have in common: a data set, and the runs that are there already."""

from pathlib import Path
from typing import Any, NamedTuple

import scipy.sparse as sp

from scripts.annotation.cross_fit import learn_table
from scripts.annotation.labelled import Labelled, read_labelled
from scripts.common.files import read_json
from scripts.linear.svm import featurize, weigh


class Simulation(NamedTuple):
    """Texts of train and dev and of test, with the linear model's features; the results so far, and their file."""

    data: Labelled
    tested: Labelled
    X: sp.csr_matrix
    test: sp.csr_matrix
    facts: dict[str, Any]
    output: Path


def open_simulation(dataset: str, name: str) -> Simulation:
    """Read a data set that `convert` has been run on, and the results in metrics/DATASET/annotation/NAME.json."""
    corpus, output = Path("corpus") / dataset, Path("metrics") / dataset / "annotation" / f"{name}.json"
    data, tested = read_labelled(corpus, "train", "dev"), read_labelled(corpus, "test")
    if not data.exclusive:
        raise SystemExit("This is for tasks with exactly one label a text.")
    counted = featurize(data.docs)
    table = learn_table(*counted)
    X, test = weigh(*counted, *table), weigh(*featurize(tested.docs), *table)
    facts = read_json(output) if output.is_file() else {"dataset": dataset, "texts": len(data.docs), "runs": []}
    return Simulation(data, tested, X, test, facts, output)
