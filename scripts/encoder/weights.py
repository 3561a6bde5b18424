"""Fetch the pretrained encoder that `vars.transformer` names into a plain Hugging Face folder.

The name is, in this order: a local folder, a Python package that ships such a folder (the default comes that way, from
the package registry alone), packages NAME-part-001 and so on that ship a zip archive of it in parts, or a model of the
Hugging Face hub. What comes from packages is compared with the checksums that project.yml states.

All later commands read the folder written here, so swapping the encoder is one setting. What comes from a package or
the hub is kept once for all data sets: the folder written here shares its files, where the file system can do that
(hard links).
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
from scripts.common.files import link_folder, read_json, workspace
from scripts.common.skipping import skip
from scripts.encoder.encoders import check_encoder, describe, is_weights_folder, load_encoder, resolve, save_encoder
from scripts.encoder.languages import SAMPLE_TEXTS, why_unfit
from scripts.encoder.parts import check_weights, package_parts, unpack_parts

STORE = Path("training/.encoders")  # a name that no data set can have


def kept_name(name: str, package: str | None) -> str:
    """The folder of an encoder among those of all data sets: its name, with the version if it is of a package."""
    version = f"-{metadata.version(package)}" if package else ""
    return re.sub(r"[^\w.-]+", "--", name) + version


def read_checksums(stated: list[str]) -> dict[str, str]:
    """The checksums of encoders, by name.

    Args:
        stated: for each encoder, its name, a colon and 64 hexadecimal digits.

    Raises:
        UserError: one has another form.
    """
    for text in stated:
        if not re.fullmatch(r".+:[0-9a-fA-F]{64}", text):
            raise UserError(f"--sha256 {text!r}: expected NAME:DIGITS, with the 64 hexadecimal digits of a SHA-256.")
    return dict(text.rsplit(":", 1) for text in stated)


def keep_parts(name: str, store: Path, checksums: dict[str, str]) -> Path | None:
    """Join an encoder of packages with parts of it, where there are such, and keep it among those of all data sets."""
    if not (parts := package_parts(name)):
        return None
    kept = store / kept_name(name, f"{name}-part-001")
    if not is_weights_folder(kept):
        with workspace(kept) as work:
            folder = unpack_parts(parts, work)
            if name in checksums:
                check_weights(folder, name, checksums[name])
            save_encoder(*load_encoder(folder.as_posix()), kept)
    return kept


def weights(
    name: Annotated[str, typer.Argument(help="Local folder, installed package, or name on the Hugging Face hub.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    texts: Annotated[Path | None, typer.Option(help="Training texts (.spacy): is the encoder made for them?")] = None,
    task: Annotated[Path, typer.Option(help="Task facts written by convert.")] = Path("corpus/task.json"),
    sha256: Annotated[list[str], typer.Option(help="NAME:DIGITS, the checksum of an encoder's weights.")] = [],  # noqa: B006
    store: Annotated[Path, typer.Option(help="Folder of the encoders that all data sets share.")] = STORE,
) -> None:
    """Copy a pretrained encoder into a folder of the project; skip what needs it if it was made for other languages."""
    checksums = read_checksums(sha256)
    source = resolve(name)
    if Path(source).resolve() == output.resolve():
        raise UserError(f"{name}: source and output are the same folder.")
    own = is_weights_folder(Path(name))  # the user's own folder, which may change
    kept = keep_parts(name, store, checksums) if source == name and not own else None
    kept = kept or store / kept_name(name, None if own or source == name else name)
    if not own and is_weights_folder(kept):
        source = kept.as_posix()
    elif not Path(source).is_dir():
        msg.info(f"{source}: neither a folder nor an installed package; asking the Hugging Face hub")
    elif name in checksums:
        check_weights(Path(source), name, checksums[name])
    model, tokenizer = load_encoder(source)
    check_encoder(model, tokenizer, name)
    if texts:
        if not texts.is_file():
            raise UserError(f"{texts}: no training texts there. Make them with the command `convert`.")
        docs = DocBin().from_disk(texts).get_docs(spacy.blank("xx").vocab)
        if reason := why_unfit(
            name, read_json(task)["lang"], tokenizer.backend_tokenizer, [doc.text for doc in islice(docs, SAMPLE_TEXTS)]
        ):
            skip(reason, folders=[output])
    if own:
        save_encoder(model, tokenizer, output)
    else:
        if not is_weights_folder(kept):
            save_encoder(model, tokenizer, kept)
        link_folder(kept, output)
    msg.good(f"{output}: {name}, {describe(model)}")


if __name__ == "__main__":
    run_cli(weights)
