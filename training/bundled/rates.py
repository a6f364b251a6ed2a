"""Relative learning rates: a short rise, a level part, a fall to a hundredth over the last steps."""

from __future__ import annotations

import math

_WARM_UP = 100  # steps
_FLOOR = 0.01


def cosine_fall(step: int, steps: int, settled_from: int, peak: float = 1.0) -> float:
    """Relative learning rate that falls from `peak` by a cosine.

    Parameters
    ----------
    step, steps : int
        The step, counted from 0, and the number of steps.
    settled_from : int
        First step of the fall.
    peak : float
        Where the fall begins.
    """
    if step < settled_from:
        return min(1.0, (step + 1) / _WARM_UP)
    share = (step - settled_from) / (steps - settled_from)
    return _FLOOR + (peak - _FLOOR) * 0.5 * (1 + math.cos(math.pi * share))


def linear_fall(step: int, steps: int, settled_from: int) -> float:
    """Relative learning rate that falls linearly; parameters as of :func:`cosine_fall`."""
    rise = min(1.0, (step + 1) / _WARM_UP)
    if step < settled_from:
        return rise
    return min(rise, _FLOOR + (1 - _FLOOR) * ((steps - step) / (steps - settled_from)))
