"""Make a smaller encoder of a pretrained one: fewer layers, and only the word pieces that the domain's text needs.

Layers are what an encoder costs in time, the table of word pieces is half or more of what a small one costs in space.
The first layers stay. Fine-tuning afterwards makes up for most of the others, which were made for what the encoder was
trained for (Sajjad et al. 2023, On the effect of dropping layers of pre-trained transformer models); text whose pieces
are all kept is cut up exactly as before. Where the texts are too few to tell which pieces will come, the language's
most frequent ones are kept as well: without them, a third of the words of new texts would be spelt in letters where 300
short texts are all that there is.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from wasabi import msg

from scripts.common.cli import UserError, run_cli
from scripts.common.skipping import Unsuited, pass_on, skip
from scripts.compress.pieces import (
    add_frequent,
    count_pieces,
    keep_rows,
    piece_numbers,
    prefix_of,
    read_texts,
    trim_tokenizer,
    unseen_share,
)
from scripts.encoder.encoders import count_from, describe, is_weights_folder, load_encoder, save_encoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch.nn import ModuleList
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


MAX_UNSEEN = 0.01  # of a new text's word pieces may be such as the known texts do not have


# Layers


def layer_stack(model: "PreTrainedModel") -> tuple["PreTrainedModel", str, "ModuleList"]:
    """Find the list of layers: the module that holds it, its name there, and the list.

    Raises:
        Unsuited: there is none.
    """
    from torch.nn import ModuleList

    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, ModuleList) and len(child) == model.config.num_hidden_layers:
                return module, name, child
    raise Unsuited(
        f"{model.config.model_type}: this kind of encoder has no plain stack of layers to leave some out. "
        "Take another encoder for transformer-half, -trim and -int8."
    )


def keep_layers(model: "PreTrainedModel", keep: int) -> None:
    """Drop all layers but the first ones, in place.

    Layers that share their weights (ALBERT) are all the same: it is run fewer times.

    Raises:
        Unsuited: the layers cannot be left out.
    """
    import torch

    if getattr(model.config, "num_hidden_groups", 0) != 1:
        parent, name, layers = layer_stack(model)
        setattr(parent, name, torch.nn.ModuleList(layers[:keep]))
    model.config.num_hidden_layers = keep
    # What is stored are weights and a config, which may list what each layer is.
    ids = torch.arange(min(10, model.config.vocab_size))[None]
    try:
        again = type(model)(model.config).eval()
        again.load_state_dict(model.state_dict())
        with torch.inference_mode():
            first, second = (m(input_ids=ids, attention_mask=torch.ones_like(ids)) for m in (again, model.eval()))
        same = torch.allclose(first.last_hidden_state, second.last_hidden_state, atol=1e-5)
    except (RuntimeError, ValueError, AssertionError, IndexError):
        same = False
    if not same:
        raise Unsuited(
            f"{model.config.model_type}: of this kind of encoder no layers can be left out. Take another encoder for "
            "transformer-half, -trim and -int8."
        )


# Word pieces


def choose_pieces(tokenizer: "Tokenizer", paths: Sequence[Path], min_count: int, least: int) -> set[str]:
    """The pieces that some files need: those that occur in them and, if these tell too little, the most frequent ones.

    Args:
        tokenizer: what cuts the texts up.
        paths: the first holds the texts that the encoder is made for.
        min_count: occurrences that a piece needs.
        least: pieces in all, if the texts tell too little.
    """
    known = set(read_texts(paths[:1]))
    own = count_pieces(tokenizer, known)
    others = count_pieces(tokenizer, (text for text in read_texts(paths[1:]) if text not in known))
    wanted = {piece for piece, n in (own + others).items() if n >= min_count}
    unseen = unseen_share(own, others)
    if least and unseen > MAX_UNSEEN:
        state = json.loads(tokenizer.to_str())
        numbers = piece_numbers(state)
        wanted = add_frequent(wanted, sorted(numbers, key=numbers.__getitem__), prefix_of(state), least)
        msg.info(
            f"Of a new text some {unseen:.1%} would be word pieces that these texts do not have; so the encoder's most "
            "frequent ones stay, too"
        )
    return wanted


def trim_vocabulary(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", wanted: set[str]
) -> "PreTrainedTokenizerFast":
    """Leave only some pieces in an encoder's table, in place, and return the tokenizer for it."""
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    # Where positions are counted from the number of the piece for padding, it keeps that.
    before = {piece for piece, number in piece_numbers(state).items() if number < count_from(model)}
    rows = trim_tokenizer(state, wanted | before)
    trimmed = type(tokenizer)(tokenizer_object=Tokenizer.from_str(json.dumps(state)), **tokenizer.init_kwargs)
    keep_rows(model, rows)
    model.config.pad_token_id = trimmed.pad_token_id
    return trimmed


def shrink(
    source: Annotated[Path, typer.Argument(help="Folder of the encoder, made by `weights`.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    layers: Annotated[int, typer.Option(help="Number of layers to keep; 0 keeps all.")] = 0,
    text: Annotated[list[Path], typer.Option(help="Keep only the pieces of these files (.jsonl, .spacy).")] = [],  # noqa: B006
    min_count: Annotated[int, typer.Option(help="Occurrences in these files that a piece needs to stay.")] = 1,
    least: Annotated[int, typer.Option(min=0, help="Pieces that stay where these files tell of too few.")] = 0,
) -> None:
    """Write a smaller encoder: fewer layers, fewer word pieces."""
    pass_on([source], folders=[output])
    if not is_weights_folder(source):
        raise UserError(f"{source}: no encoder there. Make it with the command `weights`.")
    model, tokenizer = load_encoder(source.as_posix())
    before = describe(model)
    total = model.config.num_hidden_layers
    if layers and not 0 < layers <= total:
        raise UserError(f"--layers {layers}: the encoder in {source} has {total} layers.")
    try:
        if layers:
            keep_layers(model, layers)
        if text:
            wanted = choose_pieces(tokenizer.backend_tokenizer, text, min_count, least)
            tokenizer = trim_vocabulary(model, tokenizer, wanted)
    except Unsuited as reason:
        skip(str(reason), folders=[output])
    save_encoder(model, tokenizer, output)
    msg.good(f"{output}: {describe(model)}; before: {before}")


if __name__ == "__main__":
    run_cli(shrink)
