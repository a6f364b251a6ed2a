"""Adaptation of the universal network: it learns from the scan before it corrects it.

As in SR4ZCT (:mod:`~ThickToThinSRLib.methods.sr4zct.pairs`), a row or column of the slices takes the part of
the through-plane axis: thick slices are simulated along it, and their truth is known. The planes
perpendicular to it contain the real through-plane axis, interpolated to the pixel spacing. The adapted
weights are used only if they are better on held-out pairs.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ...acquisition import Acquisition
from ...inference.devices import multiplies_bfloat16
from ...interpolation import interpolation_matrix
from ...monitor import Monitor
from ..adaptation import Adaptation, Budget, HeldOutValidator
from .pairs import CorrectionPair, collate, errors, make_pair, mean_square, reach_of

_CROP = 96
_PAIRS = 4  # in a batch
_LEARNING_RATE = 1e-4
# Number of batches that are used for validation only.
_HELD_OUT = 4
_BODY_HU = -800.0


def adapt(
    network: torch.nn.Module,
    thick: np.ndarray,
    pixels: tuple[float, float],
    acquisition: Acquisition,
    minutes: float,
    monitor: Monitor,
) -> dict[str, float | int | bool]:
    """Adapt a universal network to a scan, in place.

    Parameters
    ----------
    network : torch.nn.Module
        Trained on the device where it is.
    thick : ndarray, shape (M, rows, columns)
        Thick slices in HU.
    pixels : tuple of float
        Spacing of rows and of columns, mm.
    acquisition : Acquisition
        Thickness and spacing of the slices.
    minutes : float
        Time budget; the last step is finished.

    Returns
    -------
    dict
        ``steps``; ``before_db`` and ``after_db``, the gain over the interpolation on held-out pairs;
        ``kept``, whether the adapted weights are used. ``steps`` is 0 if the slices are too small to simulate
        slices of this thickness.

    Raises
    ------
    Cancelled
        If the monitor was asked to stop.
    """
    device = next(network.parameters()).device
    precision = "bfloat16" if multiplies_bfloat16(device) else "float32"
    sampler = _PairSampler(thick, pixels, acquisition)
    if not sampler.axes:
        return {"steps": 0, "before_db": 0.0, "after_db": 0.0, "kept": False}
    validator = HeldOutValidator(network, _HeldOut(sampler, device, precision))

    def loss(step: int) -> torch.Tensor:
        batch = sampler.batch(_HELD_OUT + step, device)
        error = errors(network, batch, precision)
        return error.abs().sum() / (batch["valid"].sum() * error[0, 0].numel())

    before = validator.validate()
    steps = Adaptation(
        network,
        loss,
        torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=0.0),
        Budget(seconds=60.0 * minutes),
        relative_rate=lambda step, share: 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)),
        clip_norm=1.0,
        validator=validator,
    ).run(monitor)
    after = validator.latest
    return {"steps": steps, "before_db": before, "after_db": after, "kept": after > before}


class _HeldOut:
    """Batches for validation."""

    def __init__(self, sampler: _PairSampler, device: torch.device, precision: str):
        self.batches = [sampler.batch(index, device) for index in range(_HELD_OUT)]
        self.precision = precision

    def errors(self, network: torch.nn.Module) -> tuple[float, float]:
        interpolation_error = network_error = 0.0
        for batch in self.batches:
            interpolation_error += float(mean_square(batch["correction"], batch).sum())
            network_error += float(mean_square(errors(network, batch, self.precision), batch).sum())
        return interpolation_error, network_error


class _PairSampler:
    """Draws pairs whose thick slices lie along the rows or along the columns of the scan's slices.

    Attributes
    ----------
    axes : list of int
        In-plane axes (0: along a column of pixels, 1: along a row) that are long enough for a pair, and whose
        pixels are no larger than the slice spacing: one lies between any two simulated slices.
    """

    def __init__(self, thick, pixels, acquisition):
        self.thick, self.pixels, self.acquisition = thick, pixels, acquisition
        # The planes of a pair need at least two pixels along the through-plane axis.
        height = (len(thick) - 1) * acquisition.spacing
        self.axes = [
            axis
            for axis in (0, 1)
            if pixels[axis] <= acquisition.spacing and self._room(axis) > 0 and height >= pixels[1 - axis]
        ]

    def _room(self, axis: int) -> float:
        """Length of the part of an in-plane axis, in mm, in which the middle of a pair can lie."""
        step = self.pixels[axis]
        return (self.thick.shape[1 + axis] - 1) * step - 2 * reach_of(self.acquisition, step)

    def batch(self, number: int, device: torch.device) -> dict[str, torch.Tensor]:
        generator = np.random.default_rng([0, number])
        # One axis for the whole batch, so that all crops have the same size.
        axis = self.axes[generator.integers(len(self.axes))]
        batch = collate([self._pair(axis, generator) for _ in range(_PAIRS)])
        return {key: value.to(device) for key, value in batch.items()}

    def _pair(self, axis: int, generator: np.random.Generator) -> CorrectionPair:
        step, pixel = self.pixels[axis], self.pixels[1 - axis]
        acquisition = self.acquisition
        reach = reach_of(acquisition, step)
        for _ in range(20):
            centre = reach + generator.random() * self._room(axis)
            low, high = math.floor((centre - reach) / step), math.ceil((centre + reach) / step)
            block = self._block(axis, max(low, 0), high + 1, pixel, generator)
            if block[len(block) // 2].mean() > _BODY_HU:
                break
        grid = (max(low, 0) * step - centre, step)
        return make_pair(block, grid, acquisition, acquisition, pixel, generator)

    def _block(self, axis, low, high, pixel, generator) -> np.ndarray:
        """Thin slices of a pair: `low` to `high` along `axis`; each is a plane (z, interpolated; pixels)."""
        slices = self.thick if axis == 0 else self.thick.swapaxes(1, 2)
        width = min(_CROP, slices.shape[2]) // 2 * 2
        first = generator.integers(0, slices.shape[2] - width + 1)
        spacing = self.acquisition.spacing
        needed = min(len(slices), math.ceil((_CROP - 1) * pixel / spacing) + 1)
        bottom = generator.integers(0, len(slices) - needed + 1)
        height = min(_CROP, int((needed - 1) * spacing / pixel) + 1) // 2 * 2
        crop = slices[bottom : bottom + needed, low:high, first : first + width].astype(np.float32)
        interpolate = interpolation_matrix(needed, spacing, height, pixel).astype(np.float32)
        return np.ascontiguousarray(np.tensordot(interpolate, crop, axes=1).swapaxes(0, 1))
