"""Slice thickness estimated from the image, for files that do not state it.

The slices are blurred and resampled along an in-plane axis as by a box-shaped slice profile of a trial
thickness. At the right thickness, fine structure changes from row to row as it does from slice to slice. The
measure of change is the ratio of the mean squared difference between neighbours to that between slices two
apart, in which the contrast of the anatomy and the strength of the noise cancel. The result is the width of
the box that blurs as much as the true profile, which for a Gaussian is about 1.5 times its full width at half
maximum. The shape of the profile cannot be estimated from this ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..acquisition import Acquisition, sampling_matrix
from ..volume import Volume, slice_count

# Standard deviations of the two Gaussians of the band-pass filter, mm. Larger structures hardly depend on the
# thickness.
_BAND_MM = 0.8, 4.0
_HU = -1000.0, 400.0  # clipping range; otherwise metal and dense bone would dominate
_SHARES = np.geomspace(0.45, 4.0, 12)  # trial thicknesses in slice spacings
# Anatomy changes more slowly along the body than across it, so that widths come out too large by the first
# factor. The second is the relative standard deviation of the corrected widths. Both were measured on four
# chest scans with eight simulated protocols (Testing/benchmarks/thickness.py).
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
    """Estimate the slice thickness of a volume in HU.

    Parameters
    ----------
    axis : int
        Through-plane index axis.

    Returns
    -------
    ThicknessEstimate or None
        None if the image does not determine the thickness, or is too small: at least 8 slices and, in-plane,
        16 pixels and an extent of 8 slice spacings are needed.
    """
    slices, spacing = volume.slices_first(axis), volume.spacing[axis]
    pixels = [volume.spacing[other] for other in (2, 1, 0) if other != axis]
    middle = len(slices) // 2
    slices = slices[max(0, middle - _MOST_SLICES // 2) : middle + _MOST_SLICES // 2]
    extents = [size * pixel for size, pixel in zip(slices.shape[1:], pixels, strict=True)]
    # Every other column is used, in blocks that must not be empty.
    if len(slices) < 8 or min(slices.shape[1:]) < 2 * _BLOCKS or min(extents) < 8 * spacing:
        return None
    slices = np.clip(slices.astype(np.float32), *_HU)
    # (trial thicknesses, axes and blocks, 2 directions, 2 distances)
    differences = np.concatenate(
        [_differences(slices, 0, *pixels, spacing), _differences(slices, 1, *pixels[::-1], spacing)], axis=1
    )
    share = _crossing(differences.sum(axis=1))
    if share is None:
        return None
    random = np.random.default_rng(0)
    blocks = differences.shape[1]
    # Bootstrap over the blocks.
    resampled = [
        _crossing(differences[:, random.integers(0, blocks, blocks)].sum(axis=1)) for _ in range(_RESAMPLINGS)
    ]
    found = [value for value in resampled if value is not None]
    if not found:
        return None
    spread = np.std(found)
    thickness = share * spacing / _ANISOTROPY
    return ThicknessEstimate(thickness, float(np.hypot(spread * spacing / _ANISOTROPY, _SCATTER * thickness)))


def _differences(slices: np.ndarray, along: int, pixel: float, across: float, spacing: float) -> np.ndarray:
    """Mean squared differences of the degraded slices, shape (trial thicknesses, blocks, 2, 2).

    The last axes are the direction (from slice to slice, from row to row) and the distance (1, 2).

    Parameters
    ----------
    slices : ndarray, shape (slices, rows, columns)
    along : int
        In-plane axis to degrade: 0 for rows, 1 for columns.
    pixel, across, spacing : float
        Pixel spacing along that axis and across it, and slice spacing, mm.
    """
    slices = slices if along == 0 else slices.transpose(0, 2, 1)
    fine, coarse = (size / across for size in _BAND_MM)
    # The filter works perpendicular to both directions that are compared, so that neither is favoured. Every
    # other column suffices.
    band = (gaussian_filter1d(slices, fine, axis=2) - gaussian_filter1d(slices, coarse, axis=2))[..., ::2]
    rows = slice_count(slices.shape[1], pixel, spacing)
    squares = np.zeros((len(_SHARES), _BLOCKS, 2, 2))
    for index, share in enumerate(_SHARES):
        matrix = sampling_matrix(Acquisition(share * spacing, spacing), rows, slices.shape[1], pixel)
        degraded = matrix.astype(np.float32) @ band
        for block, part in enumerate(np.array_split(degraded, _BLOCKS, axis=2)):
            for distance in (1, 2):
                along_z, along_rows = (
                    part[distance:] - part[:-distance],
                    part[:, distance:] - part[:, :-distance],
                )
                squares[index, block, :, distance - 1] = np.mean(along_z**2), np.mean(along_rows**2)
    return squares


def _crossing(differences: np.ndarray) -> float | None:
    """Trial thickness, in slice spacings, at which both directions have the same ratio, or None."""
    if not (differences > 0).all():
        return None
    ratio = np.log(differences[..., 0] / differences[..., 1])  # (trial thicknesses, directions)
    excess = ratio[:, 0] - ratio[:, 1]
    changes = np.flatnonzero((excess[:-1] < 0) & (excess[1:] >= 0))
    if not len(changes):
        return None
    first = changes[0]
    part = excess[first] / (excess[first] - excess[first + 1])
    low, high = np.log(_SHARES[first]), np.log(_SHARES[first + 1])
    return math.exp(low + part * (high - low))
