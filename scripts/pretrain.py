"""Run `spacy pretrain` in a clean folder, and make sure that it has learned from something."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import srsly
import typer
from spacy.training.pretrain import pretrain as spacy_pretrain
from wasabi import msg

from scripts.common import UserError, run_cli
from scripts.train import check_inputs, open_config


def pretrain(
    config: Annotated[Path, typer.Argument(help="Complete spaCy config with a [pretraining] block.")],
    output: Annotated[Path, typer.Argument(help="Weights to write (.bin).")],
    gpu_id: Annotated[int, typer.Option(help="GPU to use; -1 for the CPU.")] = -1,
    code: Annotated[Path | None, typer.Option(help="File with registered functions that the config names.")] = None,
) -> None:
    """Teach a pipeline's tok2vec layer from raw text."""
    settings = open_config(config, gpu_id, code)
    if not settings.get("pretraining"):
        raise UserError(f"{config}: has no [pretraining] block. Compose it from one of configs/pretrain-*.cfg.")
    check_inputs(config, settings)
    objective = settings["pretraining"]["objective"]["@architectures"]
    if "PretrainVectors" in objective and settings["initialize"]["vectors"] is None:
        raise UserError(f"{config}: {objective} needs vectors. Set `--set paths.vectors=training/vectors/table`.")
    raw = Path(settings["paths"]["raw"])
    if not raw.is_file():
        raise UserError(f"{raw}: no such file. Make it with the command `convert`.")
    output.parent.mkdir(parents=True, exist_ok=True)
    # spaCy leaves weights of each pass, and also after a crash: they get a folder of their own, and the last move out.
    with tempfile.TemporaryDirectory(prefix=".pretrain-", dir=output.parent) as name:
        spacy_pretrain(settings, Path(name), use_gpu=gpu_id, silent=False)
        log = list(srsly.read_jsonl(Path(name) / "log.jsonl"))
        if not log[-1]["nr_word"]:
            shortest = settings["corpora"]["pretrain"]["min_length"]
            raise UserError(
                f"{raw}: no text of {shortest} words or more: nothing was learned. "
                "Pretraining needs raw text: give the data set a raw.jsonl (README)."
            )
        # What the weights were made for; scripts.train compares it.
        shutil.copy(config, output.with_suffix(".cfg"))
        (Path(name) / "log.jsonl").replace(output.with_suffix(".jsonl"))
        (Path(name) / "model-last.bin").replace(output)
    msg.good(f"{output}: pretrained on {log[-1]['nr_word']:,} words in {settings['pretraining']['max_epochs']} passes")


if __name__ == "__main__":
    run_cli(pretrain)
