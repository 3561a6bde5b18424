"""What of a trained variant lies where, and whether its training came to its end."""

from pathlib import Path
from typing import Any

from scripts.common.cli import UserError
from scripts.common.files import md5_folder, read_json
from scripts.common.skipping import reason_to_skip

BEST = "model-best"
CONFIG = "config.cfg"
LOG = "log.jsonl"
FACTS = "train.json"  # comes last: without it, the training has not come to its end
DEV = "dev"  # in it, of a pipeline that has learned from dev in the end: its scores there before that
MODEL_MD5 = "model_md5"  # in it, and in the metrics of the model: the checksum of the pipeline


def known_md5(run: Path) -> str | None:
    """The checksum of the pipeline that a training has ended with; None if there was none, or it did not end."""
    path = run / FACTS
    return read_json(path).get(MODEL_MD5) if path.is_file() else None


def check_finished(run: Path) -> str:
    """Make sure that a training has come to its end, and that the pipeline is still what came out; its checksum.

    Raises:
        UserError: it has not, or it is not.
    """
    model = run / BEST
    if reason := reason_to_skip([model]):
        raise UserError(f"{model}: was skipped. {reason}")
    if not (model / "meta.json").is_file():
        raise UserError(f"{model}: no trained pipeline. Train it first.")
    known = known_md5(run)
    if known is None:
        raise UserError(f"{model}: its training has not come to its end. Train it again.")
    if md5_folder(model) != known:
        raise UserError(f"{model}: is not what its training ended with; something has changed it. Train it again.")
    return known


def check_model(model: Path) -> None:
    """Make sure that a pipeline is a finished one, if it lies where it was trained; any other is taken as it is.

    Raises:
        UserError: it is not.
    """
    run = model.parent
    if model.name == BEST and any((run / name).exists() for name in (CONFIG, LOG, FACTS)):
        check_finished(run)


def is_of_another(metrics: dict[str, Any], run: Path) -> bool:
    """Whether metrics are known to be of another pipeline than the one that a training has ended with."""
    measured, trained = metrics.get("train", {}).get(MODEL_MD5), known_md5(run)
    return None not in (measured, trained) and measured != trained
