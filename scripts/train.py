"""Run `spacy train` with a clock, in a clean folder, with clear messages for what a user can mend.

Where a text may have several labels, the score from which on a label is given is then chosen on dev.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from spacy.cli._util import import_code
from spacy.cli.train import train as spacy_train
from spacy.util import load_config
from thinc.api import require_gpu
from wasabi import msg

from scripts.common import UserError, run_cli, write_json
from scripts.threshold import tune_threshold


def check_gpu(gpu_id: int) -> None:
    """Make sure that the GPU can be used; -1 means the CPU and passes.

    Raises:
        UserError: there is no such GPU, or CuPy or PyTorch cannot use it.
    """
    if gpu_id < 0:
        return
    try:
        require_gpu(gpu_id)
    except Exception as error:
        raise UserError(
            f"GPU {gpu_id} cannot be used: {error} Leave out `--vars.gpu_id {gpu_id}` to train on the CPU, "
            "or install the GPU packages (README, section GPU)."
        ) from None


def clear_run(output: Path) -> None:
    """Remove the log of an earlier run (spaCy's logger refuses to write over it) and its clock."""
    for name in ("log.jsonl", "train.json"):
        (output / name).unlink(missing_ok=True)


def train(
    config: Annotated[Path, typer.Argument(help="Complete spaCy config.")],
    output: Annotated[Path, typer.Argument(help="Folder for model-best, log.jsonl and train.json.")],
    gpu_id: Annotated[int, typer.Option(help="GPU to use; -1 for the CPU.")] = -1,
    code: Annotated[Path | None, typer.Option(help="File with registered functions that the config names.")] = None,
) -> None:
    """Train a pipeline and note how long it took."""
    if not config.is_file():
        raise UserError(f"{config}: no such config. Make it with scripts.compose.")
    check_gpu(gpu_id)
    clear_run(output)
    import_code(code)
    start = time.perf_counter()
    spacy_train(config, output, use_gpu=gpu_id)
    seconds = time.perf_counter() - start
    tune_threshold(output / "model-best", Path(load_config(config, interpolate=True)["paths"]["dev"]))
    write_json(output / "train.json", {"seconds": round(seconds, 2), "gpu_id": gpu_id})
    msg.good(f"{output / 'model-best'}: trained in {seconds:.0f} s")


if __name__ == "__main__":
    run_cli(train)
