"""Store the transformer of a trained pipeline in half precision: half the size, the same predictions but for rounding.

Loading turns the numbers back into single precision, so speed and the code that uses the pipeline stay the same.
"""

from pathlib import Path

import spacy
from spacy.language import Language
from spacy.training import Corpus
from wasabi import msg

from scripts.common.cli import UserError
from scripts.common.files import put, workspace

TOLERANCE = 0.005  # of the score on dev; rounding moves a text or two at most


def dev_score(model: Path, dev: Path) -> float:
    """The score of a stored pipeline that also chose its best epoch (`cats_score`, 0 to 1)."""
    nlp = spacy.load(model)
    return nlp.evaluate(Corpus(dev)(nlp))["cats_score"]


def forget_training(nlp: Language) -> None:
    """Remove from a pipeline's transformer, in place, what belongs to its training.

    Raises:
        UserError: the pipeline has no transformer.
    """
    if "transformer" not in nlp.pipe_names:
        raise UserError(f"The pipeline has no transformer, only {', '.join(nlp.pipe_names)}.")
    # It would name a temporary folder, another one in each run, and equal models would have different checksums.
    nlp.get_pipe("transformer").model.transformer.config._name_or_path = ""
    # A setting of training on a GPU, which would only bring warnings on a CPU.
    nlp.get_pipe_config("transformer")["model"]["mixed_precision"] = False


def store_half(model: Path, dev: Path) -> None:
    """Store the transformer of a pipeline, changed in place, in half precision, unless the score on dev falls."""
    nlp = spacy.load(model)
    forget_training(nlp)
    with workspace(model) as folder:
        single, half = folder / "single", folder / "half"
        # It can be stored then, but no longer be used.
        nlp.get_pipe("transformer").model.transformer.half()
        nlp.to_disk(half)
        before, after = dev_score(model, dev), dev_score(half, dev)
        change = f"score on dev {before:.4f} -> {after:.4f}"
        if after < before - TOLERANCE:
            nlp = spacy.load(model)
            forget_training(nlp)
            nlp.to_disk(single)
            put(single, model)
            msg.warn(f"{model}: left in single precision, half precision costs too much ({change})")
            return
        put(half, model)
    msg.good(f"{model}: stored in half precision; {change}")
