"""Write the complete config of a variant, for a look at it, or for spaCy's own commands (`spacy debug data`)."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.training.config import write_config


def parse_setting(text: str) -> tuple[str, Any]:
    """Split NAME=VALUE; the value is read as JSON, else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: expected NAME=VALUE, for example training.dropout=0.3.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def compose(
    variant: Annotated[str, typer.Argument(help="Name of a config, CONFIGS/NAME.cfg.")],
    output: Annotated[Path, typer.Argument(help="Complete config to write.")],
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    max_epochs: Annotated[int, typer.Option(help="Passes over the data; 0 keeps the config's own number.")] = 0,
    gpu_id: Annotated[int, typer.Option(help="GPU that will train; -1 for the CPU.")] = -1,
    set_: Annotated[list[str], typer.Option("--set", help="Any other value: SECTION.KEY=VALUE.")] = [],  # noqa: B006
    configs: Annotated[Path, typer.Option(help="Folder of the configs.")] = Path("configs"),
    corpus: Annotated[Path, typer.Option(help="Folder that convert wrote.")] = Path("corpus"),
    training: Annotated[Path, typer.Option(help="Folder of what is trained on it.")] = Path("training"),
) -> None:
    """Write the complete config of a variant."""
    settings = dict(map(parse_setting, set_))
    write_config(configs / f"{variant}.cfg", output, corpus, training, seed, max_epochs, gpu_id, settings)
    msg.good(f"{output}: {variant}, complete")


if __name__ == "__main__":
    run_cli(compose)
