"""Adaptation of SR4ZCT's networks to one scan; the weights that are best on held-out slices are used."""

from __future__ import annotations

import math

import torch

from ...monitor import Monitor
from ..adaptation import Adaptation, Budget, HeldOutValidator
from .pairs import PlanePairs

_LEARNING_RATE = 1e-3
# For trained weights: at larger rates they lose through-plane detail (0.1 to 0.3 dB at 1e-4).
_FINE_TUNING_RATE = 3e-5


def adapt(
    network: torch.nn.Module,
    pairs: PlanePairs,
    budget: Budget,
    precision: str,
    monitor: Monitor,
    trained: bool = False,
) -> dict[str, int | float]:
    """Train `network` in place on pairs of one scan.

    Parameters
    ----------
    precision : {"float32", "bfloat16"}
    trained : bool
        Whether the weights are trained already; the learning rate is then smaller.

    Returns
    -------
    dict
        ``steps``; ``before_db`` and ``after_db``, the gain over the interpolation on held-out slices.

    Raises
    ------
    Cancelled
        If the monitor is asked to stop.
    """
    validator = HeldOutValidator(network, _HeldOut(pairs, precision))

    def loss(step: int) -> torch.Tensor:
        error = _error(network, *pairs.batch(step), precision)
        return error.square().mean() if pairs.squared else error.abs().mean()

    before = validator.validate()
    steps = Adaptation(
        network,
        loss,
        torch.optim.Adam(network.parameters(), _FINE_TUNING_RATE if trained else _LEARNING_RATE),
        budget,
        relative_rate=_relative_rate,
        clip_norm=1.0,
        validator=validator,
        stop_early=True,
    ).run(monitor)
    monitor.note(
        f"adaptation: {steps} steps; gain over the interpolation on held-out slices {before:.2f} dB before, "
        f"{validator.best:.2f} dB after"
    )
    return {"steps": steps, "before_db": before, "after_db": validator.best}


def _relative_rate(step: int, share: float) -> float:
    """Linear warm-up over 20 steps, then a cosine decay to 0.01."""
    return min(1.0, (step + 1) / 20, 0.5 * (1 + math.cos(math.pi * min(1.0, share))) + 0.01)


def _error(
    network: torch.nn.Module, x: torch.Tensor, difference: torch.Tensor, precision: str
) -> torch.Tensor:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        predicted = network(x.contiguous(memory_format=torch.channels_last))
    return predicted.float() - difference


class _HeldOut:
    """Batches of the held-out slices."""

    def __init__(self, pairs: PlanePairs, precision: str):
        self.batches, self.precision = pairs.held_out_batches(), precision

    def errors(self, network: torch.nn.Module) -> tuple[float, float]:
        interpolation_error = sum(float(difference.square().mean()) for _, difference in self.batches)
        network_error = sum(
            float(_error(network, *batch, self.precision).square().mean()) for batch in self.batches
        )
        return interpolation_error, network_error
