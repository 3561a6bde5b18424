"""Train a variant: write its complete config, and run `spacy train` with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from spacy.tokens import DocBin
from wasabi import msg

from scripts.common.cli import run_cli
from scripts.common.files import one_at_a_time, workspace
from scripts.common.finished import BEST, CONFIG, LOG
from scripts.common.skipping import pass_on
from scripts.common.variants import config_chain, merge_configs
from scripts.training.config import read_paths, write_candidates
from scripts.training.fitting import fit


def join_texts(parts: Sequence[Path], output: Path) -> None:
    """Write the texts of several DocBins into one."""
    first, *others = (DocBin().from_disk(path) for path in parts)
    for other in others:
        first.merge(other)
    first.to_disk(output)


def train(
    variant: Annotated[str, typer.Argument(help="Name of a config, CONFIGS/NAME.cfg.")],
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    max_epochs: Annotated[int, typer.Option(help="Passes over the data; 0 keeps the config's own number.")] = 0,
    gpu_id: Annotated[int, typer.Option(help="GPU to use; -1 for the CPU.")] = -1,
    configs: Annotated[Path, typer.Option(help="Folder of the configs.")] = Path("configs"),
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    training: Annotated[Path, typer.Option(help="Folder of what is trained on it, such as NAME/.")] = Path("training"),
) -> None:
    """Write config.cfg, model-best, log.jsonl and train.json of a variant."""
    output, overlay = training / variant, configs / f"{variant}.cfg"
    config, _ = merge_configs(config_chain(overlay))
    paths = read_paths(config, corpus, training)
    read = [Path(value) for value in paths.values() if value]
    pass_on(read, [output / name for name in ("config.cfg", "log.jsonl", "train.json")], [output / "model-best"])
    with one_at_a_time(output / BEST), workspace(output / CONFIG) as work:
        settings = {"paths.log": (output / LOG).as_posix()}
        candidates, found = write_candidates(overlay, work, corpus, training, seed, max_epochs, gpu_id, settings)
        again: list[Path] = []
        if found.get("again"):
            both = work / "both.spacy"
            join_texts([Path(paths["train"]), Path(paths["dev"])], both)
            settings["paths.train"] = both.as_posix()
            again, _ = write_candidates(overlay, work / "again", corpus, training, seed, max_epochs, gpu_id, settings)
        fit(candidates, output, gpu_id, found.get("half_precision", False), found.get("averaged", False), again)
    msg.good(f"{output / 'model-best'}: trained")


if __name__ == "__main__":
    run_cli(train)
