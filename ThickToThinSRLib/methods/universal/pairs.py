"""What the universal network learns from: thick slices made from thin ones, and the correction they need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...acquisition import Acquisition, sampling_matrix
from ...consistency import ConsistentInterpolation
from ...intensity import HU_WINDOW
from ...networks.universal import SAMPLES, cosine_series, describe_acquisition
from .network_input import DIFFERENCE_UNIT, REACH, universal_input

# Thick slices simulated on either side of the one in the middle: two that the network reads, one for the
# interpolation's sake.
_SIDE = 3
# The interpolation is made on a grid this much finer than the thick slices and read off linearly.
_GRID = 8
# Thin slices that one pair teaches, at most.
_TARGETS = 6


@dataclass(frozen=True)
class CorrectionPair:
    """One thick slice to learn from.

    Attributes
    ----------
    channels : ndarray, shape (10, H, W), float32
        What the network reads.
    correction : ndarray, shape (P, H, W), float32
        Thin slices minus the interpolation, in ``DIFFERENCE_UNIT``.
    positions : ndarray, shape (P,)
        Where these thin slices lie, in slice spacings from the thick one.
    described : list of float
        The acquisition, as the network is told of it.
    """

    channels: np.ndarray
    correction: np.ndarray
    positions: np.ndarray
    described: list[float]


def reach_of(acquisition: Acquisition, step: float) -> float:
    """Distance in mm from a thick slice over which :func:`make_pair` needs thin slices every `step` mm."""
    return _SIDE * acquisition.spacing + 1.4 * acquisition.thickness + step


def make_pair(
    block: np.ndarray,
    grid: tuple[float, float],
    true: Acquisition,
    assumed: Acquisition,
    pixel: float,
    generator: np.random.Generator,
    whole_hu: bool = True,
) -> CorrectionPair:
    """Simulate thick slices from a block of thin ones, and what the network should make of them.

    Parameters
    ----------
    block : ndarray, shape (n, H, W), float32
        Thin slices in HU, at least :func:`reach_of` to either side of position 0.
    grid : tuple of 2 floats
        Position of the first thin slice and distance of the thin slices, mm; the thick slice lies at 0.
    true, assumed : Acquisition
        How the thick slices come about; what the interpolation and the network are told (a box).
    pixel : float
        In-plane spacing, mm.
    generator
        Chooses the thin slices to learn and how the pair is turned and mirrored.
    whole_hu : bool
        Round the thick slices, as scanners do.
    """
    n, height, width = block.shape
    first, step = grid
    thick_slices = 2 * _SIDE + 1
    weights = sampling_matrix(true, thick_slices, n, step, first_thin=first + _SIDE * true.spacing)
    thick = weights.astype(np.float32) @ block.reshape(n, -1)
    if whole_hu:
        thick = np.rint(thick)
    places = (first + step * np.arange(n)) / true.spacing
    chosen = np.flatnonzero(np.abs(places) <= REACH)
    if len(chosen) > _TARGETS:
        chosen = np.sort(generator.choice(chosen, _TARGETS, replace=False))
    samples, at_targets = _interpolated(thick, assumed, places[chosen], (height, width))
    near = thick[_SIDE - 2 : _SIDE + 3].reshape(-1, height, width)
    targets = block[chosen]
    turned = _turns(generator)
    near, samples, at_targets, targets = (turned(part) for part in (near, samples, at_targets, targets))
    positions = places[chosen]
    if generator.random() < 0.5:  # the patient upside down
        near, samples, positions = near[::-1], samples[::-1], -positions
    correction = np.clip(targets, *HU_WINDOW) - np.clip(at_targets, *HU_WINDOW)
    described = describe_acquisition(assumed.thickness, assumed.spacing, pixel)
    return CorrectionPair(universal_input(near, samples), correction / DIFFERENCE_UNIT, positions, described)


def _interpolated(thick, assumed, places, shape) -> tuple[np.ndarray, np.ndarray]:
    """The consistent interpolation where the network reads it, and at `places`."""
    slices = len(thick)
    fine = ConsistentInterpolation(assumed, slices, (slices - 1) * _GRID + 1, assumed.spacing / _GRID)(thick)
    where = (np.concatenate([SAMPLES, places]) + _SIDE) * _GRID
    below = np.clip(np.floor(where).astype(int), 0, len(fine) - 2)
    share = (where - below).astype(np.float32)[:, None]
    values = (fine[below] * (1 - share) + fine[below + 1] * share).reshape(-1, *shape)
    return values[: len(SAMPLES)], values[len(SAMPLES) :]


def _turns(generator: np.random.Generator):
    """One of the eight in-plane turns and mirrors, for arrays (slices, n, n); no turns unless square."""
    mirror_rows, mirror_columns, transpose = generator.random(3) < 0.5

    def turned(part: np.ndarray) -> np.ndarray:
        if mirror_rows:
            part = part[:, ::-1]
        if mirror_columns:
            part = part[:, :, ::-1]
        return part.swapaxes(1, 2) if transpose and part.shape[1] == part.shape[2] else part

    return turned


def collate(pairs: list[CorrectionPair]) -> dict[str, torch.Tensor]:
    """A batch: ``channels`` (B, 10, H, W), ``described`` (B, 4), ``positions`` (B, P), ``correction``
    (B, P, H, W) and ``valid`` (B, P), 0 where a pair has fewer targets."""
    height, width = pairs[0].channels.shape[1:]
    correction = np.zeros((len(pairs), _TARGETS, height, width), np.float32)
    positions, valid = np.zeros((2, len(pairs), _TARGETS), np.float32)
    for index, pair in enumerate(pairs):
        count = len(pair.positions)
        correction[index, :count], positions[index, :count] = pair.correction, pair.positions
        valid[index, :count] = 1
    arrays = {
        "channels": np.stack([pair.channels for pair in pairs]),
        "described": np.array([pair.described for pair in pairs], np.float32),
        "positions": positions,
        "correction": correction,
        "valid": valid,
    }
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def errors(network: torch.nn.Module, batch: dict[str, torch.Tensor], precision: str) -> torch.Tensor:
    """What the network's corrections miss, in ``DIFFERENCE_UNIT``: (B, P, H, W), 0 where not valid.

    Parameters
    ----------
    precision : {"float32", "bfloat16"}
        Arithmetic of the network itself.
    """
    channels = batch["channels"].contiguous(memory_format=torch.channels_last)
    with torch.autocast(channels.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        coefficients = network(channels, batch["described"])
    terms = cosine_series(batch["positions"], coefficients.shape[1])
    given = torch.einsum("bkhw,bpk->bphw", coefficients.float(), terms)
    return (given - batch["correction"]) * batch["valid"][:, :, None, None]


def mean_square(values: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean square over the valid thin slices of each pair: (B,)."""
    return values.square().mean(dim=(2, 3)).sum(dim=1) / batch["valid"].sum(dim=1)
