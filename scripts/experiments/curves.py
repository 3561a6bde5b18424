"""What a learning curve says about more labels."""

import math
from pathlib import Path
from typing import Any

from scripts.common.files import read_any


def read_curves(folder: Path, now: dict[str, str]) -> list[dict[str, Any]]:
    """What `train-curve` has written in a folder; of labelled texts with the checksums `now`, if there are any."""
    found = [curve for path in sorted(folder.glob("*.json")) if (curve := read_any(path))]
    return [curve for curve in found if not now or curve.get("corpus_md5", now) == now]


def step_gain(points: list[dict[str, Any]]) -> tuple[float, float] | None:
    """Gain of the last step of a curve in macro-F1, and what chance could do; None if that is not known."""
    if len(points) < 2 or not all(point["ci"] for point in points[-2:]):
        return None
    before, last = points[-2:]
    # Unpaired: the draws of two shares have a seed in common, but the spread between seeds is mostly training noise.
    spread = math.hypot(*((point["ci"][1] - point["ci"][0]) / 2 for point in (before, last)))
    return last["macro_f1"] - before["macro_f1"], spread


def advice(points: list[dict[str, Any]]) -> str:
    """What the last step of the curve says about more data."""
    if len(points) < 2:
        return "One share only: nothing to compare."
    before, last = points[-2], points[-1]
    points_gained = 100 * (last["macro_f1"] - before["macro_f1"])
    step = f"{before['share']:.0%} -> {last['share']:.0%} of the texts: {points_gained:+.1f} points"
    if (found := step_gain(points)) is None:
        return f"{step}; with one repeat there is no telling chance from progress."
    gain, spread = found
    if gain > spread:
        return f"{step}, more than chance: more data will help."
    if gain < -spread:
        return f"{step}, less than before, more than chance: look at the data that came last, or the settings."
    return f"{step}, within ±{100 * spread:.1f} of chance: flat or noisy; try a better model, or more repeats."
