"""Fewer layers of an encoder, evenly spaced."""

from typing import TYPE_CHECKING

from scripts.common.skipping import Unsuited

if TYPE_CHECKING:
    from torch.nn import ModuleList
    from transformers import PreTrainedModel


def spaced(total: int, keep: int, period: int = 1) -> list[int]:
    """`keep` of `total` layers at equal distances, the first and the last among them: 3 of 6 are 0, 2 (or 3) and 5.

    Args:
        total: number of layers.
        keep: how many are kept.
        period: of layers of several kinds, which come in turn: a layer's place stays one of its kind.
    """
    wanted = [round(i * (total - 1) / (keep - 1)) if keep > 1 else 0 for i in range(keep)]
    return [min(range(i % period, total, period), key=lambda x: abs(x - place)) for i, place in enumerate(wanted)]


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
        f"{model.config.model_type}: this kind of encoder has no plain stack of layers to choose from. "
        "Take another encoder for transformer-half, -trim and -int8."
    )


def keep_layers(model: "PreTrainedModel", keep: int) -> None:
    """Drop all layers but some, evenly spaced, in place.

    Layers that share their weights (ALBERT) are all the same: it is run fewer times.

    Raises:
        Unsuited: the layers cannot be chosen from.
    """
    import torch

    total = model.config.num_hidden_layers
    if getattr(model.config, "num_hidden_groups", 0) != 1:
        parent, name, layers = layer_stack(model)
        indices = spaced(total, keep, getattr(model.config, "global_attn_every_n_layers", 1))  # ModernBERT's
        setattr(parent, name, torch.nn.ModuleList(layers[i] for i in indices))
    model.config.num_hidden_layers = keep
    # What is stored are weights and a config: a layer may also be what its place was when the model was made.
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
            f"{model.config.model_type}: the layers of this kind of encoder depend on their places, none can be left "
            "out. Take another encoder for transformer-half, -trim and -int8."
        )
