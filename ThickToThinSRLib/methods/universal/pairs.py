"""Training pairs of the universal network: thick slices simulated from thin ones, and their correction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...acquisition import Acquisition, sampling_matrix
from ...consistency import ConsistentInterpolation
from ...intensity import HU_WINDOW
from ...networks.universal import SAMPLES, cosine_series, describe_acquisition
from .network_input import DIFFERENCE_UNIT, REACH, universal_input

# Thick slices simulated on either side of the middle one: the network reads two, the interpolation needs one
# more.
SIDE = 3
# The interpolation is computed this many times finer than the thick slices, and linearly in between.
_GRID = 8
# Largest number of target thin slices in a pair.
_TARGETS = 6


@dataclass(frozen=True)
class CorrectionPair:
    """A training pair: one thick slice with its neighbours, and the correction at some thin slices.

    Attributes
    ----------
    channels : ndarray, shape (10, H, W), float32
        The network's input.
    correction : ndarray, shape (P, H, W), float32
        Target: true thin slices minus the interpolation, in ``DIFFERENCE_UNIT``.
    positions : ndarray, shape (P,)
        Positions of these thin slices relative to the thick one, in slice spacings.
    described : list of float
        The description of the acquisition that the network reads.
    """

    channels: np.ndarray
    correction: np.ndarray
    positions: np.ndarray
    described: list[float]


def reach_of(acquisition: Acquisition, step: float) -> float:
    """Distance in mm, on either side of a thick slice, over which :func:`make_pair` needs thin slices.

    The thin slices lie every `step` mm.
    """
    return SIDE * acquisition.spacing + 1.4 * acquisition.thickness + step


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
        Position of the first thin slice and spacing of the thin slices, mm; the thick slice lies at 0.
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
    thick_slices = 2 * SIDE + 1
    weights = sampling_matrix(true, thick_slices, n, step, first_thin=first + SIDE * true.spacing)
    thick = weights.astype(np.float32) @ block.reshape(n, -1)
    if whole_hu:
        thick = np.rint(thick)
    positions = (first + step * np.arange(n)) / true.spacing
    return pair_around(thick.reshape(-1, height, width), (block, positions), assumed, pixel, generator)


def pair_around(
    thick: np.ndarray,
    thin: tuple[np.ndarray, np.ndarray],
    assumed: Acquisition,
    pixel: float,
    generator: np.random.Generator,
) -> CorrectionPair:
    """The network's input and target around the middle one of seven thick slices.

    Parameters
    ----------
    thick : ndarray, shape (7, H, W), float32
        HU.
    thin : ndarray, shape (n, H, W), and ndarray, shape (n,)
        Thin slices in HU, and their positions relative to the middle thick slice, in slice spacings.
    assumed, pixel, generator
        See :func:`make_pair`.
    """
    block, positions = thin
    indices = np.flatnonzero(np.abs(positions) <= REACH)
    if len(indices) > _TARGETS:
        indices = np.sort(generator.choice(indices, _TARGETS, replace=False))
    positions = positions[indices]
    samples, at_targets = _interpolated(thick, assumed, positions)
    near, targets = thick[SIDE - 2 : SIDE + 3], block[indices]
    transform = _random_symmetry(generator)
    near, samples, at_targets, targets = (transform(part) for part in (near, samples, at_targets, targets))
    if generator.random() < 0.5:  # mirrored along the through-plane axis
        near, samples, positions = near[::-1], samples[::-1], -positions
    correction = np.clip(targets, *HU_WINDOW) - np.clip(at_targets, *HU_WINDOW)
    described = describe_acquisition(assumed.thickness, assumed.spacing, pixel)
    return CorrectionPair(universal_input(near, samples), correction / DIFFERENCE_UNIT, positions, described)


def _interpolated(
    thick: np.ndarray, assumed: Acquisition, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The consistent interpolation at the samples that the network reads, and at `positions`."""
    slices = len(thick)
    solve = ConsistentInterpolation(assumed, slices, (slices - 1) * _GRID + 1, assumed.spacing / _GRID)
    fine = solve(thick.reshape(slices, -1))
    index = (np.concatenate([SAMPLES, positions]) + SIDE) * _GRID
    below = np.clip(np.floor(index).astype(int), 0, len(fine) - 2)
    share = (index - below).astype(np.float32)[:, None]
    values = (fine[below] * (1 - share) + fine[below + 1] * share).reshape(-1, *thick.shape[1:])
    return values[: len(SAMPLES)], values[len(SAMPLES) :]


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
        ``channels`` (B, 10, H, W), ``described`` (B, 4), ``positions`` (B, P), ``correction`` (B, P, H, W),
        and ``valid`` (B, P): 0 where a pair has fewer than P targets.
    """
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
    channels = batch["channels"].contiguous(memory_format=torch.channels_last)
    with torch.autocast(channels.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        coefficients = network(channels, batch["described"])
    terms = cosine_series(batch["positions"], coefficients.shape[1])
    predicted = torch.einsum("bkhw,bpk->bphw", coefficients.float(), terms)
    return (predicted - batch["correction"]) * batch["valid"][:, :, None, None]


def mean_square(values: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean square over the valid thin slices of each pair: (B,)."""
    return values.square().mean(dim=(2, 3)).sum(dim=1) / batch["valid"].sum(dim=1)
