"""Run `spacy train` with a clock, in a clean folder, with clear messages for what a user can mend.

Where a text may have several labels, the score from which on a label is given is then chosen on dev. And the trained
pipeline forgets the words of the training texts.
"""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from spacy.cli._util import import_code
from spacy.cli.train import train as spacy_train
from spacy.language import Language
from spacy.strings import StringStore
from spacy.util import get_lang_class, load_config
from thinc.api import Config, require_gpu
from wasabi import msg

from scripts.common import UserError, run_cli, whole_file, write_json
from scripts.threshold import tune_threshold

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")  # what limits them


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
            "or install the GPU packages (README, section Transformers, GPU)."
        ) from None


def open_config(path: Path, gpu_id: int, code: Path | None) -> Config:
    """Make ready for a config: check the GPU, import the registered functions, read it with all references resolved.

    Raises:
        UserError: there is no such config, or no such GPU.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such config. Make it with scripts.compose.")
    check_gpu(gpu_id)
    import_code(code)
    return load_config(path, interpolate=True)


def clear_run(output: Path) -> None:
    """Remove the log of an earlier run (spaCy's logger refuses to write over it) and its clock."""
    for name in ("log.jsonl", "train.json"):
        (output / name).unlink(missing_ok=True)


def needs_vectors(section: Any) -> bool:
    """Whether a layer of this section of a config, or below it, looks up static vectors."""
    if not isinstance(section, dict):
        return False
    return (
        section.get("include_static_vectors") is True
        or str(section.get("@layers", "")).startswith("spacy.StaticVectors")
        or any(map(needs_vectors, section.values()))
    )


def check_inputs(name: Path, config: dict[str, Any]) -> None:
    """Make sure that vectors and pretrained weights are there and fit: spaCy's errors are cryptic, or it says nothing.

    Args:
        name: where the config stands, for the message.
        config: the config, interpolated.

    Raises:
        UserError: a file is missing, or the weights were pretrained for other layers.
    """
    vectors, weights = config["initialize"]["vectors"], config["initialize"]["init_tok2vec"]
    if vectors is None and needs_vectors(config["components"]):
        raise UserError(f"{name}: needs word vectors. Compose it with `--set paths.vectors=training/vectors/table`.")
    if vectors is not None and not (Path(vectors) / "config.cfg").is_file():
        raise UserError(f"{vectors}: no vectors table, but {name} needs it. Run the workflow, which makes it first.")
    if weights is None:
        return
    if not Path(weights).is_file():
        raise UserError(f"{weights}: no pretrained weights, but {name} needs them. Run the workflow, which makes them.")
    if not config.get("pretraining"):
        raise UserError(f"{name}: has no [pretraining] block, and without one spaCy ignores [paths] init_tok2vec.")
    component, layer = (config["pretraining"][key] for key in ("component", "layer"))
    before = load_config(Path(weights).with_suffix(".cfg"), interpolate=True)
    models = [settings["components"][component]["model"] for settings in (config, before)]
    # A layer that has no section of its own depends on the whole model.
    section = f"components.{component}.model" + (f".{layer}" if layer in models[0] else "")
    layers, pretrained = (model.get(layer, model) for model in models)
    if layers != pretrained:
        raise UserError(
            f"{weights}: pretrained for other layers than those of {name}. Pretrain again with the same config: "
            f"[{section}] must be equal."
        )


def forget_words(folder: Path) -> None:
    """Remove from a trained pipeline the strings that a blank one of its language does not have.

    spaCy stores every word that it has met. Nothing looks them up: features and keys of vectors are hashes, and the
    words of a new text are added as they come. They take up to a tenth of the size, and tell what stood in the training
    texts.
    """
    blank: Language = get_lang_class(load_config(folder / "config.cfg")["nlp"]["lang"])()
    with whole_file(folder / "vocab" / "strings.json") as temporary:
        StringStore(blank.vocab.strings).to_disk(temporary)


def train(
    config: Annotated[Path, typer.Argument(help="Complete spaCy config.")],
    output: Annotated[Path, typer.Argument(help="Folder for model-best, log.jsonl and train.json.")],
    gpu_id: Annotated[int, typer.Option(help="GPU to use; -1 for the CPU.")] = -1,
    code: Annotated[Path | None, typer.Option(help="File with registered functions that the config names.")] = None,
) -> None:
    """Train a pipeline and note how long it took."""
    settings = open_config(config, gpu_id, code)
    clear_run(output)
    check_inputs(config, settings)
    start = time.perf_counter()
    spacy_train(config, output, use_gpu=gpu_id)
    seconds = time.perf_counter() - start
    tune_threshold(output / "model-best", Path(settings["paths"]["dev"]))
    forget_words(output / "model-best")
    # Unset, a library takes all cores; how many that are is among the facts of the machine.
    threads = {name: os.environ[name] for name in THREADS if name in os.environ}
    write_json(output / "train.json", {"seconds": round(seconds, 2), "gpu_id": gpu_id, "threads": threads})
    msg.good(f"{output / 'model-best'}: trained in {seconds:.0f} s")


if __name__ == "__main__":
    run_cli(train)
