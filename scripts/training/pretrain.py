"""Run `spacy pretrain` in a clean folder, and make sure that it has learned from something."""

import shutil
from pathlib import Path
from typing import Annotated, Any

import srsly
import typer
from spacy.training.pretrain import pretrain as spacy_pretrain
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import one_at_a_time, put, workspace
from scripts.common.skipping import pass_on
from scripts.common.variants import config_chain, merge_configs
from scripts.machines.machine import products_by_numpy
from scripts.training.config import read_paths, write_config
from scripts.training.inputs import check_inputs, open_config

CONFIG = "pretrain.cfg"


def learn(work: Path, overlay: Path, folder: Path, gpu_id: int) -> tuple[int, int]:
    """Pretrain with the config in a workspace, and leave the weights, their config and their log there.

    Args:
        work: the workspace.
        overlay: the variant's config.
        folder: where the results will lie.
        gpu_id: GPU to use; -1 for the CPU.

    Returns:
        Words read, and passes over the raw text.

    Raises:
        UserError: what is read is missing, or nothing was learned.
    """
    settings = open_config(work / CONFIG, gpu_id)
    check_inputs(folder / CONFIG, settings)
    objective = settings["pretraining"]["objective"]["@architectures"]
    if "PretrainVectors" in objective and settings["initialize"]["vectors"] is None:
        raise UserError(f"{overlay}: {objective} needs vectors. Name a table in its [paths] pretraining_vectors.")
    raw = Path(settings["paths"]["raw"])
    if not raw.is_file():
        raise UserError(f"{raw}: no such file. Make it with the command `convert`.")
    # spaCy leaves weights of each pass, and also after a crash: they get a folder of their own.
    (work / "passes").mkdir()
    with products_by_numpy(gpu_id):
        spacy_pretrain(settings, work / "passes", use_gpu=gpu_id, silent=False)
    log = list(srsly.read_jsonl(work / "passes" / "log.jsonl"))
    if not log[-1]["nr_word"]:
        raise UserError(
            f"{raw}: no words in it: nothing was learned. "
            "Pretraining needs raw text: give the data set a raw.jsonl (docs/own-task.md)."
        )
    # What the weights were made for; scripts.training.train compares it.
    shutil.copy(work / CONFIG, work / "weights.cfg")
    (work / "passes" / "log.jsonl").replace(work / "weights.jsonl")
    (work / "passes" / "model-last.bin").replace(work / "weights.bin")
    return log[-1]["nr_word"], settings["pretraining"]["max_epochs"]


def pretrain(
    variant: Annotated[str, typer.Argument(help="Name of a config with a [pretraining] block, CONFIGS/NAME.cfg.")],
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the raw text; 0 keeps the config's own number.")] = 0,
    gpu_id: Annotated[int, typer.Option(help="GPU to use; -1 for the CPU.")] = -1,
    configs: Annotated[Path, typer.Option(help="Folder of the configs.")] = Path("configs"),
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    training: Annotated[Path, typer.Option(help="Folder of what is trained on it, such as NAME/.")] = Path("training"),
) -> None:
    """Teach a layer of a variant from raw text: write weights.bin, and pretrain.cfg, with which that was done."""
    overlay, folder = configs / f"{variant}.cfg", training / variant
    chain, _ = merge_configs(config_chain(overlay))
    if not chain.get("pretraining"):
        raise UserError(f"{overlay}: has no [pretraining] block. See configs/pretrain-chars.cfg for one.")
    paths = read_paths(chain, corpus, training)
    read = [Path(value) for key, value in paths.items() if value and key != "init_tok2vec"]
    pass_on(read, files=[folder / name for name in ("pretrain.cfg", "weights.bin", "weights.cfg", "weights.jsonl")])
    # What comes after the start is about the classifier, to which spaCy gives no weights here.
    values: dict[str, Any] = {"initialize.init_tok2vec": None, "initialize.after_init": None}
    if epochs:
        values["pretraining.max_epochs"] = epochs
    if "pretraining_vectors" in chain["paths"]:
        values["initialize.vectors"] = "${paths.pretraining_vectors}"
    output = folder / "weights.bin"
    with one_at_a_time(output), workspace(output) as work:
        values["paths.log"] = (folder / "log.jsonl").as_posix()
        write_config(overlay, work / CONFIG, corpus, training, seed, settings=values)
        words, passes = learn(work, overlay, folder, gpu_id)
        for name in (CONFIG, "weights.cfg", "weights.jsonl", "weights.bin"):
            put(work / name, folder / name)
    msg.good(f"{output}: pretrained on {words:,} words in {passes} passes")


if __name__ == "__main__":
    run_cli(pretrain)
