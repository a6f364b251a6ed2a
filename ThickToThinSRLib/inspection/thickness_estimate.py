"""Slice thickness estimated from the scan itself, for files that do not tell it.

Axial slices, degraded along an in-plane axis by a trial thickness, should then vary from one degraded row to
the next as they vary from slice to slice. Compared is how much fine structure differs between neighbours
against how much it differs two apart: anatomy's contrast and the noise's strength drop out of that ratio.
What is found is the width of the box that blurs as much as the unknown profile: a Gaussian's is about 1.5
times its full width at half maximum. The shape of the profile itself leaves no usable trace in this ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..acquisition import Acquisition, sampling_matrix
from ..volume import Volume, slice_count

# Structures of this size (mm, standard deviations of two Gaussians) tell; larger ones hardly change.
_BAND_MM = 0.8, 4.0
_HU = -1000.0, 400.0  # metal and dense bone would outweigh everything else
_SHARES = np.geomspace(0.45, 4.0, 12)  # trial thicknesses in slice spacings
# Anatomy changes more slowly along the body than across it. Measured on four chest scans made thick in eight
# ways (Testing/benchmarks/thickness.py): the widths found, over the true ones, and how far these scatter.
_ANISOTROPY, _SCATTER = 1.25, 0.17
_MOST_SLICES, _BLOCKS, _RESAMPLINGS = 24, 8, 60


@dataclass(frozen=True)
class ThicknessEstimate:
    """Slice thickness and its standard uncertainty in mm."""

    thickness: float
    uncertainty: float

    def __str__(self) -> str:
        return f"{self.thickness:.1f} ± {self.uncertainty:.1f} mm"


def estimate_thickness(volume: Volume, axis: int) -> ThicknessEstimate | None:
    """Estimate the slice thickness of a volume in HU; None where the scan does not tell.

    Parameters
    ----------
    axis : int
        Through-plane index axis. Some 8 slices and an in-plane extent of some 8 slice spacings are needed.
    """
    slices, spacing = volume.slices_first(axis), volume.spacing[axis]
    pixels = [volume.spacing[other] for other in (2, 1, 0) if other != axis]
    middle = len(slices) // 2
    slices = slices[max(0, middle - _MOST_SLICES // 2) : middle + _MOST_SLICES // 2]
    extents = [size * pixel for size, pixel in zip(slices.shape[1:], pixels, strict=True)]
    if len(slices) < 8 or min(extents) < 8 * spacing:
        return None
    slices = np.clip(slices.astype(np.float32), *_HU)
    # (shares, axes and blocks, 2 directions, 2 distances)
    differences = np.concatenate(
        [_differences(slices, 0, *pixels, spacing), _differences(slices, 1, *pixels[::-1], spacing)], axis=1
    )
    found = _crossing(differences.sum(axis=1))
    if found is None:
        return None
    random = np.random.default_rng(0)
    blocks = differences.shape[1]
    again = [
        _crossing(differences[:, random.integers(0, blocks, blocks)].sum(axis=1)) for _ in range(_RESAMPLINGS)
    ]
    spread = np.std([value for value in again if value is not None])
    thickness = found * spacing / _ANISOTROPY
    return ThicknessEstimate(thickness, float(np.hypot(spread * spacing / _ANISOTROPY, _SCATTER * thickness)))


def _differences(slices: np.ndarray, along: int, pixel: float, across: float, spacing: float) -> np.ndarray:
    """Mean squares of differences of degraded slices: (shares, blocks, 2, 2).

    The last axes are the direction (from slice to slice, from row to row) and the distance (1, 2).
    """
    slices = slices if along == 0 else slices.transpose(0, 2, 1)
    fine, coarse = (size / across for size in _BAND_MM)
    # Across both directions that are compared, so that neither is favoured. Every other column suffices.
    band = (gaussian_filter1d(slices, fine, axis=2) - gaussian_filter1d(slices, coarse, axis=2))[..., ::2]
    rows = slice_count(slices.shape[1], pixel, spacing)
    found = np.zeros((len(_SHARES), _BLOCKS, 2, 2))
    for index, share in enumerate(_SHARES):
        matrix = sampling_matrix(Acquisition(share * spacing, spacing), rows, slices.shape[1], pixel)
        degraded = matrix.astype(np.float32) @ band
        for block, part in enumerate(np.array_split(degraded, _BLOCKS, axis=2)):
            for distance in (1, 2):
                along_z, along_rows = (
                    part[distance:] - part[:-distance],
                    part[:, distance:] - part[:, :-distance],
                )
                found[index, block, :, distance - 1] = np.mean(along_z**2), np.mean(along_rows**2)
    return found


def _crossing(differences: np.ndarray) -> float | None:
    """Trial thickness, in slice spacings, at which both directions vary alike; None if at none."""
    if not (differences > 0).all():
        return None
    ratio = np.log(differences[..., 0] / differences[..., 1])  # (shares, directions)
    excess = ratio[:, 0] - ratio[:, 1]
    changes = np.flatnonzero((excess[:-1] < 0) & (excess[1:] >= 0))
    if not len(changes):
        return None
    first = changes[0]
    part = excess[first] / (excess[first] - excess[first + 1])
    low, high = np.log(_SHARES[first]), np.log(_SHARES[first + 1])
    return math.exp(low + part * (high - low))
