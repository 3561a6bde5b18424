"""Run `spacy pretrain` in a clean folder, and make sure that it has learned from something."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import srsly
import typer
from spacy.training.pretrain import pretrain as spacy_pretrain
from thinc.api import Config
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import one_at_a_time, put, workspace
from scripts.common.skipping import pass_on
from scripts.common.variants import candidates_of, config_chain, merge_configs
from scripts.machines.machine import products_by_numpy
from scripts.training.config import read_paths, set_values, write_config
from scripts.training.inputs import check_inputs, open_config

# What becomes of weights, NAME.bin, besides: the config that they were made with, which scripts.training.train compares
# with its own, and the log.
BESIDE = (".cfg", ".jsonl")


def weights_wanted(
    config: Config, candidates: Iterable[dict[str, Any]], corpus: Path, training: Path
) -> dict[Path, dict[str, Any]]:
    """The weights that the candidates of a variant start from, and for each the values of the first that does.

    Args:
        config: merged.
        candidates: the values of each.
        corpus: folder that convert wrote.
        training: folder of what is trained on it.
    """
    wanted: dict[Path, dict[str, Any]] = {}
    for values in candidates:
        own = config.copy()
        set_values(own, values)
        if weights := read_paths(own, corpus, training)["init_tok2vec"]:
            wanted.setdefault(Path(weights), values)
    return wanted


def learn(config: Path, overlay: Path, weights: Path, gpu_id: int) -> tuple[int, int]:
    """Pretrain with a config in a workspace, and leave the weights and their log beside it.

    Args:
        config: complete; its name is that of the weights.
        overlay: the variant's config.
        weights: where the results will lie.
        gpu_id: GPU to use; -1 for the CPU.

    Returns:
        Words read, and passes over the raw text.

    Raises:
        UserError: what is read is missing, or nothing was learned.
    """
    settings = open_config(config, gpu_id)
    check_inputs(weights.with_suffix(config.suffix), settings)
    objective = settings["pretraining"]["objective"]["@architectures"]
    if "PretrainVectors" in objective and settings["initialize"]["vectors"] is None:
        raise UserError(f"{overlay}: {objective} needs vectors. Name a table in its [paths] pretraining_vectors.")
    raw = Path(settings["paths"]["raw"])
    if not raw.is_file():
        raise UserError(f"{raw}: no such file. Make it with the command `convert`.")
    # spaCy leaves weights of each pass, and also after a crash: they get a folder of their own.
    passes = config.with_suffix("")
    passes.mkdir()
    with products_by_numpy(gpu_id):
        spacy_pretrain(settings, passes, use_gpu=gpu_id, silent=False)
    log = list(srsly.read_jsonl(passes / "log.jsonl"))
    if not log[-1]["nr_word"]:
        raise UserError(
            f"{raw}: no words in it: nothing was learned. "
            "Pretraining needs raw text: give the data set a raw.jsonl (docs/own-task.md)."
        )
    (passes / "log.jsonl").replace(config.with_suffix(".jsonl"))
    (passes / "model-last.bin").replace(config.with_suffix(weights.suffix))
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
    """Teach a layer of a variant from raw text: write weights, and the config with which that was done."""
    overlay = configs / f"{variant}.cfg"
    chain, section = merge_configs(config_chain(overlay))
    if not chain.get("pretraining"):
        raise UserError(f"{overlay}: has no [pretraining] block. See configs/pretrain-chars.cfg for one.")
    paths = read_paths(chain, corpus, training)
    read = [Path(value) for key, value in paths.items() if value and key != "init_tok2vec"]
    wanted = weights_wanted(chain, candidates_of(section, variant).values(), corpus, training)
    if not wanted:
        raise UserError(
            f"{overlay}: does not say where its weights are to lie. Name the file in its [paths] init_tok2vec."
        )
    files = [path.with_suffix(suffix) for path in wanted for suffix in (path.suffix, *BESIDE)]
    pass_on(read, files=files)
    # What comes after the start is about the classifier, to which spaCy gives no weights here.
    values: dict[str, Any] = {"initialize.init_tok2vec": None, "initialize.after_init": None}
    if epochs:
        values["pretraining.max_epochs"] = epochs
    if "pretraining_vectors" in chain["paths"]:
        values["initialize.vectors"] = "${paths.pretraining_vectors}"
    with one_at_a_time(files[0]), workspace(files[0]) as work:
        for weights, own in wanted.items():
            config = work / weights.with_suffix(".cfg").name
            values["paths.log"] = weights.with_suffix(".jsonl").as_posix()
            write_config(overlay, config, corpus, training, seed, settings=own | values)
            words, passes = learn(config, overlay, weights, gpu_id)
        for path in reversed(files):
            put(work / path.name, path)
    msg.good(f"{', '.join(map(str, wanted))}: pretrained on {words:,} words in {passes} passes")


if __name__ == "__main__":
    run_cli(pretrain)
