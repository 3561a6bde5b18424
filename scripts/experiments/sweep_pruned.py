"""How many rows do pruned vectors need? Train the variant `pruned` at several sizes: macro-F1 on dev against rows.

Dev is small, so each point is the mean of several seeds; the test set is not looked at.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import altair as alt
import numpy as np
import spacy
import typer
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_nlp
from spacy.util import load_config
from wasabi import msg

from scripts.common.cli import UserError, run_cli, show_progress
from scripts.common.files import read_json, whole_file, write_json
from scripts.training.config import write_config
from scripts.vectors.words import make_table

ROWS = [500, 1000, 2000, 4000]  # and all
SEEDS = [0, 1, 2]
WITHIN = 0.01  # of the full table's score: the fewest rows that reach it are the knee


def best_dev_score(config: Path) -> float:
    """Train and return the macro-F1 on dev of the pipeline that spaCy keeps; of several labels, from 0.5 on."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder, open(Path(folder) / "log", "w") as log:
        train_nlp(init_nlp(load_config(config)), Path(folder), stdout=log, stderr=log)
        return float(spacy.load(Path(folder) / "model-best").meta["performance"]["cats_macro_f"])


def find_knee(points: list[dict[str, Any]]) -> int:
    """The fewest rows whose mean score is within `WITHIN` of the mean at the most rows."""
    full = max(points, key=lambda point: point["rows"])["mean"]
    return min(point["rows"] for point in points if point["mean"] >= full - WITHIN)


def draw(points: list[dict[str, Any]]) -> alt.LayerChart:
    """Score against rows, on a logarithmic scale: the mean as a line, the seeds as points."""
    runs = [{"rows": point["rows"], "macro_f1": score} for point in points for score in point["macro_f1"]]
    x = alt.X("rows:Q", title="rows of the vectors table", scale=alt.Scale(type="log", nice=False))
    seeds = alt.Chart(alt.Data(values=runs)).mark_point(opacity=0.5).encode(
        x=x, y=alt.Y("macro_f1:Q", title="macro-F1 on dev", scale=alt.Scale(zero=False))
    )  # fmt: skip
    means = alt.Chart(alt.Data(values=points)).mark_line(point=True).encode(x=x, y="mean:Q")
    return alt.layer(seeds, means).properties(width=420, height=260)


def sweep_pruned(
    words: Annotated[Path, typer.Argument(help="Vectors in word2vec's text format, most frequent word first.")],
    spellings: Annotated[Path, typer.Argument(help="Other spellings of the words, JSON.")],
    output: Annotated[Path, typer.Argument(help="JSON file to write.")],
    plot: Annotated[Path, typer.Argument(help="SVG file to write.")],
    rows: Annotated[list[int], typer.Option(help="Sizes to try, besides the full table.")] = ROWS,
    seeds: Annotated[list[int], typer.Option(help="Seeds of the trainings.")] = SEEDS,
    max_epochs: Annotated[int, typer.Option(help="Passes over the data; 0 keeps the config's own number.")] = 0,
    overlay: Annotated[Path, typer.Option(help="The variant's config.")] = Path("configs/pruned.cfg"),
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    training: Annotated[Path, typer.Option(help="Folder of what is trained on it, such as NAME/.")] = Path("training"),
) -> None:
    """Score pruned vectors of several sizes on dev, by themselves: without the linear model."""
    if not words.is_file():
        raise UserError(f"{words}: no such file. Make it with the command `learn-vectors`.")
    lang, others = read_json(corpus / "task.json")["lang"], read_json(spellings)
    points: list[dict[str, Any]] = []
    sizes = sorted({size for size in rows if size > 0}) + [0]
    with (
        tempfile.TemporaryDirectory(prefix="tables-") as name,
        show_progress(total=len(sizes) * len(seeds)) as bar,
    ):
        for size in sizes:
            table = Path(name) / str(size)
            kept = len(make_table(words, others, lang, table, size).vectors.data)
            if points and kept == points[-1]["rows"]:
                continue  # the table is smaller than this size
            settings = {
                "paths.vectors": table.as_posix(),
                "training.logger": {"@loggers": "spacy.ConsoleLogger.v3", "progress_bar": None},
            }
            scores, config = [], Path(name) / "sweep.cfg"
            for seed in seeds:
                write_config(overlay, config, corpus, training, seed, max_epochs, settings=settings)
                scores.append(best_dev_score(config))
                bar.update()
            points.append({"rows": kept, "mean": float(np.mean(scores)), "macro_f1": scores})
    write_json(output, {"points": points, "within": WITHIN, "knee": find_knee(points)})
    with whole_file(plot) as temporary:
        draw(points).save(temporary, format="svg")
    msg.table(
        [
            (f"{point['rows']:,}", f"{point['mean']:.3f}", " ".join(f"{score:.3f}" for score in point["macro_f1"]))
            for point in points
        ],
        header=("rows", "macro-F1 on dev", "seeds"),
        divider=True,
    )
    msg.good(f"{output}: {find_knee(points):,} rows are within {WITHIN:.0%} of the full table")


if __name__ == "__main__":
    run_cli(sweep_pruned)
