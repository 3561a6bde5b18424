"""An encoder that learns to give a teacher's logits, in PyTorch: spaCy's own training would take several times as long.

Texts go through it as they do in the pipeline that is made of it (`cut_up`): the same pieces, with the same shares in
the mean of their vectors. Nothing is dropped at random: the texts are many, and what the teacher says of them is exact.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.tokens import Doc
from spacy.util import minibatch

from scripts.common.cli import show_progress
from scripts.components import bears_bfloat16, cut_up, find_trim, has_bfloat16, pad_windows

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

MAX_WORDS = 128  # that are learned from of a text: one window
TEXTS_AT_ONCE = 1000  # that are cut up
# Texts of a batch, and word pieces, padding included; texts among which those of like length come together.
BATCH_TEXTS, BATCH_PIECES, POOL = 32, 2048, 512
# Passes over all texts, and updates that few texts are repeated for, up to so many passes.
PASSES, MIN_UPDATES, MAX_PASSES = 2, 1000, 20
HEAD_RATE = 10.0  # of the linear layer on top, which starts at nothing, in learning rates of the encoder
WARMUP_SHARE, WEIGHT_DECAY, LARGEST_GRADIENT = 0.1, 0.01, 1.0
TRIM_EVERY = 10  # updates, see `find_trim`


def learn_rounded(encoder: "PreTrainedModel", levels: int) -> None:
    """Let an encoder compute with rounded matrices, in place, while it learns the numbers behind them.

    A matrix is rounded as `round_columns` does, which then changes nothing more; its numbers get the gradient of what
    they are rounded to (Bengio et al. 2013, "Estimating or propagating gradients through stochastic neurons";
    Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference").

    Args:
        encoder: its linear layers are rounded.
        levels: of a weight, on either side of 0.
    """
    import torch
    from torch.nn.utils import parametrize

    class Rounded(torch.nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            found = weight.detach()
            scales = (found.abs().amax(dim=1, keepdim=True) / levels).clamp(min=1e-12)
            return weight + ((found / scales).round() * scales - found)

    for layer in [layer for layer in encoder.modules() if isinstance(layer, torch.nn.Linear)]:
        parametrize.register_parametrization(layer, "weight", Rounded())


def keep_rounded(encoder: "PreTrainedModel") -> None:
    """Leave an encoder, in place, nothing but the rounded matrices; see `learn_rounded`."""
    from torch.nn.utils import parametrize

    for layer in [layer for layer in encoder.modules() if parametrize.is_parametrized(layer, "weight")]:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


@dataclass(frozen=True)
class Lessons:
    """What is learned, text after text.

    Attributes:
        numbers: of word pieces.
        shares: of the pieces in the mean.
        logits: the teacher's, float32, shape (texts, labels).
    """

    numbers: list[np.ndarray]
    shares: list[np.ndarray]
    logits: np.ndarray


def prepare(texts: Iterable[tuple[Doc, Sequence[float]]], tokenizer: "Tokenizer", max_pieces: int) -> Lessons:
    """Cut texts up; those without words are left out.

    Args:
        texts: each with the teacher's logits.
        tokenizer: see `cut_up`.
        max_pieces: of a text.
    """
    numbers: list[np.ndarray] = []
    shares: list[np.ndarray] = []
    logits: list[Sequence[float]] = []
    for batch in minibatch(texts, TEXTS_AT_ONCE):
        found, weights, owners = cut_up([doc for doc, _ in batch], tokenizer, MAX_WORDS, max_pieces)
        numbers += [window.astype("int32") for window in found]
        shares += weights
        logits += [batch[i][1] for i in owners]
    return Lessons(numbers, shares, np.asarray(logits, dtype="float32"))


def make_batches(lengths: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """One pass: all texts in batches at random, of texts of like length, so that little is computed on padding."""
    order = rng.permutation(len(lengths))
    for start in range(0, len(order), POOL):
        pool = order[start : start + POOL]
        pool = pool[lengths[pool].argsort(kind="stable")]
        batches, first = [], 0
        for i in range(1, len(pool) + 1):
            full = i - first == BATCH_TEXTS or (i < len(pool) and lengths[pool[i]] * (i - first + 1) > BATCH_PIECES)
            if i == len(pool) or full:
                batches.append(pool[first:i])
                first = i
        yield from (batches[i] for i in rng.permutation(len(batches)))


def plan(lengths: np.ndarray, rng: np.random.Generator, passes: int = 0) -> list[np.ndarray]:
    """The batches of all updates.

    Args:
        lengths: of the texts, in pieces.
        rng: shuffles.
        passes: over all texts; 0 for `PASSES`, or as many as few texts need.
    """
    first = list(make_batches(lengths, rng))
    passes = passes or min(MAX_PASSES, max(PASSES, math.ceil(MIN_UPDATES / len(first))))
    return first + [batch for _ in range(passes - 1) for batch in make_batches(lengths, rng)]


class Student:
    """An encoder with a linear layer on the weighted mean of its outputs.

    Attributes:
        encoder: in single precision.
        head: the linear layer; its weights are `HEAD_RATE` times as large as they stand there.
        levels: of a weight of the encoder's matrices while it learns, on either side of 0; 0 rounds nothing.
    """

    def __init__(self, encoder: "PreTrainedModel", n_labels: int, device: str = "cpu", levels: int = 0) -> None:
        import torch

        self.encoder, self.device, self.levels = encoder.to(device).eval(), device, levels
        self.head = torch.nn.Linear(encoder.config.hidden_size, n_labels, device=device)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        known = torch.cuda.is_bf16_supported() if device != "cpu" else has_bfloat16()
        self.half = known and bears_bfloat16(self.encoder)

    def logits(self, lessons: Lessons, batch: Sequence[int], half: bool = False) -> "torch.Tensor":
        """The student's logits of some texts: float32, shape (texts, labels)."""
        import torch

        padded = pad_windows(lessons.numbers, lessons.shares, batch)
        numbers, seen, weights = (torch.from_numpy(array).to(self.device) for array in padded)
        vectors = self.encoder.get_input_embeddings()(numbers)
        with torch.autocast(self.device.partition(":")[0], dtype=torch.bfloat16, enabled=half):
            states = self.encoder(inputs_embeds=vectors, attention_mask=seen).last_hidden_state
        features = (states.float() * weights[:, :, None]).sum(dim=1)
        return features @ (HEAD_RATE * self.head.weight).T + self.head.bias

    def layer(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights, (labels, width), and the bias, (labels,), of the linear layer."""
        return HEAD_RATE * self.head.weight.detach().cpu().numpy(), self.head.bias.detach().cpu().numpy()

    def probabilities(self, lessons: Lessons, exclusive: bool) -> np.ndarray:
        """The student's probabilities of texts, in single precision: shape (texts, labels)."""
        import torch

        with torch.inference_mode():
            rows = [self.logits(lessons, [i]) for i in range(len(lessons.numbers))]
            return (torch.cat(rows).softmax(dim=1) if exclusive else torch.cat(rows).sigmoid()).cpu().numpy()

    def learn(self, lessons: Lessons, exclusive: bool, rate: float, seed: int = 0, passes: int = 0) -> float:
        """Learn by the squared error on logits, up to a constant for each text where labels exclude each other.

        Args:
            lessons: what is learned.
            exclusive: whether a text has exactly one label.
            rate: the highest learning rate; it rises over the first tenth of all updates, then falls to nothing.
            seed: of the order of the texts.
            passes: see `plan`.

        Returns:
            The mean error over the last tenth of the updates, as a share of the logits' variance.
        """
        import torch

        lengths = np.asarray([len(window) for window in lessons.numbers])
        batches = plan(lengths, np.random.default_rng(seed), passes)
        if self.levels:
            learn_rounded(self.encoder, self.levels)
        parameters = [*self.encoder.parameters(), *self.head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=WEIGHT_DECAY, fused=True)
        n_updates, warmup = len(batches), WARMUP_SHARE * len(batches)

        def share_of_rate(step: int) -> float:
            return min((step + 1) / (warmup + 1), (n_updates - step) / (n_updates - warmup))

        schedule: Any = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_rate)
        targets, trim, errors = torch.from_numpy(lessons.logits), find_trim(), []
        if not exclusive:  # most logits are far below 0, and a bias moves by no more than the sum of the rates
            self.head.bias.data = targets.mean(dim=0).to(self.device)
        for step, batch in enumerate(show_progress(batches, desc="learn from the teacher", unit=" updates")):
            found = self.logits(lessons, batch.tolist(), self.half)
            if exclusive:
                found = found - found.mean(dim=1, keepdim=True)
            loss = (found - targets[batch].to(self.device)).square().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            errors.append(float(loss.detach()))
            if trim and step % TRIM_EVERY == 0:
                trim(0)
        keep_rounded(self.encoder)
        return float(np.mean(errors[-max(1, n_updates // 10) :]) / max(float(lessons.logits.var()), 1e-8))
