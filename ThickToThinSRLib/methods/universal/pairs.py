"""Training pairs of the universal network: thick slices simulated from thin ones, and their correction.

A pair shows two neighbouring thick slices. Each thin slice between them is corrected by both, as in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...acquisition import Acquisition, sampling_matrix
from ...consistency import ConsistentInterpolation
from ...intensity import HU_WINDOW
from ...networks.universal import SAMPLES, cosine_series, describe_acquisition
from .network_input import DIFFERENCE_UNIT, share, universal_input

# Thick slices simulated on either side of the two: the network reads two, the interpolation needs one more.
SIDE = 3
# All thick slices of a pair.
THICK = 2 * SIDE + 2
# The interpolation is computed this many times finer than the thick slices, and linearly in between.
_GRID = 8
# Largest number of target thin slices in a pair.
_TARGETS = 6
# Thin slices this far outside, in slice spacings, still lie between the two.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class CorrectionPair:
    """A training pair: two neighbouring thick slices, and the correction at thin slices between them.

    Attributes
    ----------
    channels : ndarray, shape (2, 10, H, W), float32
        The network's input around the lower and around the upper thick slice.
    correction : ndarray, shape (P, H, W), float32
        Target: true thin slices minus the interpolation, in ``DIFFERENCE_UNIT``.
    positions : ndarray, shape (P,)
        Positions of these thin slices: from 0, the lower thick slice, to 1, the upper one.
    described : list of float
        The description of the acquisition that the network reads.
    """

    channels: np.ndarray
    correction: np.ndarray
    positions: np.ndarray
    described: list[float]


def reach_of(acquisition: Acquisition, step: float) -> float:
    """Distance in mm, on either side of the middle of a pair, over which :func:`make_pair` needs thin slices.

    The thin slices lie every `step` mm.
    """
    return (SIDE + 0.5) * acquisition.spacing + 1.4 * acquisition.thickness + step


def make_pair(
    block: np.ndarray,
    grid: tuple[float, float],
    true: Acquisition,
    assumed: Acquisition,
    pixel: float,
    generator: np.random.Generator,
    whole_hu: bool = True,
) -> CorrectionPair:
    """Simulate thick slices from a block of thin ones, and compute the network's input and target.

    Parameters
    ----------
    block : ndarray, shape (n, H, W), float32
        Thin slices in HU; they extend at least :func:`reach_of` to either side of position 0.
    grid : tuple of 2 floats
        Position of the first thin slice and spacing of the thin slices, mm; 0 lies half way between the two
        thick slices.
    true : Acquisition
        The acquisition that is simulated.
    assumed : Acquisition
        The acquisition (with a box profile) that the interpolation and the network assume.
    pixel : float
        In-plane spacing, mm.
    generator : numpy.random.Generator
        Chooses the target thin slices, and how the pair is rotated and mirrored.
    whole_hu : bool
        Whether to round the thick slices to whole HU, as scanners do.

    Returns
    -------
    CorrectionPair
    """
    n, height, width = block.shape
    first, step = grid
    first_thick = -(SIDE + 0.5) * true.spacing
    weights = sampling_matrix(true, THICK, n, step, first_thin=first - first_thick)
    thick = weights.astype(np.float32) @ block.reshape(n, -1)
    if whole_hu:
        thick = np.rint(thick)
    positions = (first + step * np.arange(n)) / true.spacing + 0.5
    return pair_between(thick.reshape(-1, height, width), (block, positions), assumed, pixel, generator)


def pair_between(
    thick: np.ndarray,
    thin: tuple[np.ndarray, np.ndarray],
    assumed: Acquisition,
    pixel: float,
    generator: np.random.Generator,
) -> CorrectionPair:
    """The network's input around the middle two of eight thick slices, and the target between them.

    Parameters
    ----------
    thick : ndarray, shape (8, H, W), float32
        HU.
    thin : ndarray, shape (n, H, W), and ndarray, shape (n,)
        Thin slices in HU, and their positions relative to the lower of the two thick slices, in slice
        spacings.
    assumed, pixel, generator
        See :func:`make_pair`.
    """
    block, positions = thin
    indices = np.flatnonzero((positions >= -_ROUNDING) & (positions <= 1 + _ROUNDING))
    if len(indices) > _TARGETS:
        indices = np.sort(generator.choice(indices, _TARGETS, replace=False))
    positions, targets = positions[indices], block[indices]
    if generator.random() < 0.5:  # mirrored along the through-plane axis
        thick, positions = thick[::-1], 1 - positions
    transform = _random_symmetry(generator)
    thick, targets = transform(thick), transform(targets)
    samples, at_targets = _interpolated(thick, assumed, positions)
    channels = [
        universal_input(thick[middle - 2 : middle + 3], around)
        for middle, around in zip((SIDE, SIDE + 1), samples, strict=True)
    ]
    correction = np.clip(targets, *HU_WINDOW) - np.clip(at_targets, *HU_WINDOW)
    described = describe_acquisition(assumed.thickness, assumed.spacing, pixel)
    return CorrectionPair(np.stack(channels), correction / DIFFERENCE_UNIT, positions, described)


def _interpolated(
    thick: np.ndarray, assumed: Acquisition, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The consistent interpolation where the network reads it, (2, 5, H, W), and at `positions`."""
    slices = len(thick)
    solve = ConsistentInterpolation(assumed, slices, (slices - 1) * _GRID + 1, assumed.spacing / _GRID)
    fine = solve(thick.reshape(slices, -1))
    around = np.add.outer((0, 1), SAMPLES)
    index = (np.concatenate([around.ravel(), positions]) + SIDE) * _GRID
    below = np.clip(np.floor(index).astype(int), 0, len(fine) - 2)
    fraction = (index - below).astype(np.float32)[:, None]
    values = (fine[below] * (1 - fraction) + fine[below + 1] * fraction).reshape(-1, *thick.shape[1:])
    return values[: around.size].reshape(*around.shape, *thick.shape[1:]), values[around.size :]


def _random_symmetry(generator: np.random.Generator):
    """One of the eight symmetries of a square, for (slices, rows, columns); only mirrored if not square."""
    mirror_rows, mirror_columns, transpose = generator.random(3) < 0.5

    def transform(part: np.ndarray) -> np.ndarray:
        if mirror_rows:
            part = part[:, ::-1]
        if mirror_columns:
            part = part[:, :, ::-1]
        return part.swapaxes(1, 2) if transpose and part.shape[1] == part.shape[2] else part

    return transform


def collate(pairs: list[CorrectionPair]) -> dict[str, torch.Tensor]:
    """Combine pairs to a batch.

    Returns
    -------
    dict
        ``channels`` (B, 2, 10, H, W), ``described`` (B, 4), ``positions`` (B, P),
        ``correction`` (B, P, H, W), and ``valid`` (B, P): 0 where a pair has fewer than P targets.
    """
    height, width = pairs[0].channels.shape[-2:]
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
    """Errors of the network's corrections.

    Parameters
    ----------
    batch : dict
        See :func:`collate`.
    precision : {"float32", "bfloat16"}
        Precision in which the network computes.

    Returns
    -------
    torch.Tensor, shape (B, P, H, W)
        Prediction minus target in ``DIFFERENCE_UNIT``; 0 where not valid.
    """
    shape = batch["channels"].shape
    channels = batch["channels"].flatten(0, 1).contiguous(memory_format=torch.channels_last)
    described = batch["described"].repeat_interleave(2, dim=0)
    with torch.autocast(channels.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        coefficients = network(channels, described)
    coefficients = coefficients.float().unflatten(0, shape[:2])
    distances = batch["positions"][:, None] - batch["positions"].new_tensor([0.0, 1.0])[:, None]
    terms = cosine_series(distances, coefficients.shape[2]) * share(distances)[..., None]
    predicted = torch.einsum("bnkhw,bnpk->bphw", coefficients, terms)
    return (predicted - batch["correction"]) * batch["valid"][:, :, None, None]


def mean_square(values: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean square over the valid thin slices of each pair: (B,)."""
    return values.square().mean(dim=(2, 3)).sum(dim=1) / batch["valid"].sum(dim=1)
