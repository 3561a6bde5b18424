"""Open a config, and make sure that what it needs is there and fits."""

from pathlib import Path
from typing import Any

from spacy.util import load_config
from thinc.api import Config

from scripts.common.cli import UserError
from scripts.machines.machine import check_gpu


def open_config(path: Path, gpu_id: int) -> Config:
    """Make ready for a config: check the GPU, read it with all references resolved.

    Raises:
        UserError: there is no such config, or no such GPU.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such config. Make it with the command `compose`.")
    check_gpu(gpu_id)
    return load_config(path, interpolate=True)


def needs_vectors(section: Any) -> bool:
    """Whether a layer of this section of a config, or below it, looks up static vectors."""
    if not isinstance(section, dict):
        return False
    return (
        section.get("include_static_vectors") is True
        or str(section.get("@layers", "")).startswith("spacy.StaticVectors")
        or any(map(needs_vectors, section.values()))
    )


def layer_section(config: dict[str, Any], component: str, layer: str) -> tuple[str, Any]:
    """The name and the content of the section of a config that describes a layer of a component's model."""
    name, section = f"components.{component}.model", config["components"][component]["model"]
    if isinstance(section.get("model"), dict):  # beside the linear model
        name, section = f"{name}.model", section["model"]
    # A layer that has no section of its own depends on the whole model.
    return (f"{name}.{layer}", section[layer]) if layer in section else (name, section)


def check_inputs(name: Path, config: dict[str, Any]) -> None:
    """Make sure that what a config needs is there and fits: spaCy's errors are cryptic, or it says nothing.

    Args:
        name: where the config stands, for the message.
        config: the config, interpolated.

    Raises:
        UserError: a file is missing, or the weights were pretrained for other layers.
    """
    vectors, weights = config["initialize"]["vectors"], config["initialize"]["init_tok2vec"]
    if vectors is None and needs_vectors(config["components"]):
        raise UserError(f"{name}: needs word vectors. Name a table in its [paths] vectors.")
    if vectors is not None and not (Path(vectors) / "config.cfg").is_file():
        raise UserError(f"{vectors}: no vectors table, but {name} needs it. Run the workflow, which makes it first.")
    if (onnx := config["paths"].get("onnx")) and not Path(onnx).is_file():
        raise UserError(
            f"{onnx}: no such file. {name} is not trained by itself, but made of a transformer that has learned: run "
            "the workflow, which begins with that."
        )
    if weights is None:
        return
    if not Path(weights).is_file():
        raise UserError(f"{weights}: no pretrained weights, but {name} needs them. Run the workflow, which makes them.")
    if not config.get("pretraining"):
        raise UserError(f"{name}: has no [pretraining] block, and without one spaCy ignores [paths] init_tok2vec.")
    component, layer = (config["pretraining"][key] for key in ("component", "layer"))
    before = load_config(Path(weights).with_suffix(".cfg"), interpolate=True)
    (section, layers), (_, pretrained) = (layer_section(one, component, layer) for one in (config, before))
    if layers != pretrained:
        raise UserError(
            f"{weights}: pretrained for other layers than those of {name}. Pretrain again with the same config: "
            f"[{section}] must be equal."
        )
