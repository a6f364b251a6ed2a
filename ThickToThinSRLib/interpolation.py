"""Linear maps along the through-plane axis, applied to a volume slab by slab.

Every map is a small matrix from slices to slices. A slab is a band of rows with all slices of it, so working
memory is bounded whatever the number of slices.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import map_coordinates

_SLAB_BYTES = 64 << 20


def interpolation_matrix(
    slices: int, spacing: float, target_slices: int, target_spacing: float
) -> np.ndarray:
    """Cubic B-spline interpolation along the slices as a matrix.

    First slice centres coincide. Beyond its ends the spline sees the mirror image of the slices, as SciPy's
    and ITK's B-splines do (Unser, IEEE Signal Processing Magazine 16(6), 1999).

    Returns
    -------
    ndarray, shape (target_slices, slices), float64
    """
    where = np.arange(target_slices) * (target_spacing / spacing)
    unit_responses = np.eye(slices)
    return np.stack(
        [map_coordinates(unit, [where], order=3, mode="mirror") for unit in unit_responses], axis=1
    )


def linear_matrix(slices: int, spacing: float, count: int, target_spacing: float) -> np.ndarray:
    """Linear interpolation along the slices as a matrix, (count, slices)."""
    where = np.arange(count) * (target_spacing / spacing)
    return np.maximum(0.0, 1.0 - np.abs(where[:, None] - np.arange(slices)))


def slabs(slices: int, rows: int, columns: int) -> Iterator[slice]:
    """Bands of rows whose float32 voxels over all `slices` take some 64 MB."""
    height = max(1, _SLAB_BYTES // (4 * max(1, slices) * columns))
    for first in range(0, rows, height):
        yield slice(first, min(first + height, rows))


def slab_columns(slices: np.ndarray, rows: slice) -> np.ndarray:
    """The band `rows` of (slices, rows, columns) as float32 columns: (slices, pixels), a copy."""
    return slices[:, rows].reshape(len(slices), -1).astype(np.float32)
