"""Linear maps along the through-plane axis, applied to a volume slab by slab.

Each map is a small matrix (slices after, slices before). A slab is a band of rows over all slices; working
slab by slab bounds the memory for any number of slices.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.interpolate import CubicSpline

_SLAB_BYTES = 64 << 20


def interpolation_matrix(
    slices: int, spacing: float, target_slices: int, target_spacing: float
) -> np.ndarray:
    """Matrix of cubic spline interpolation along the slices.

    The first slice centres coincide; the targets must not lie beyond the last slice centre,
    except by what spacings are rounded. The spline is the
    natural one, with zero curvature at the first and last slice: it is the spline through slices that
    continue beyond the ends by point reflection, y[-k] = 2 y[0] - y[k]. Hence it reproduces every linear
    change along the slices up to the ends, which a spline through mirrored slices, such as ITK's, flattens.
    Away from the ends both agree (Unser, IEEE Signal Processing Magazine 16(6), 1999).

    Parameters
    ----------
    slices, target_slices : int
        Number of slices before and after interpolation.
    spacing, target_spacing : float
        Distance of slice centres before and after interpolation, mm.

    Returns
    -------
    ndarray, shape (target_slices, slices), float64
        Rows sum to 1.
    """
    if slices == 1:
        return np.ones((target_slices, 1))
    positions = np.arange(target_slices) * (target_spacing / spacing)
    return CubicSpline(np.arange(slices), np.eye(slices), bc_type="natural")(positions)


def linear_matrix(slices: int, spacing: float, target_slices: int, target_spacing: float) -> np.ndarray:
    """Matrix of linear interpolation along the slices; parameters as in :func:`interpolation_matrix`."""
    # Targets may lie behind the last slice by what its spacing is rounded.
    positions = np.minimum(np.arange(target_slices) * (target_spacing / spacing), slices - 1)
    return np.maximum(0.0, 1.0 - np.abs(positions[:, None] - np.arange(slices)))


def slabs(slices: int, rows: int, columns: int) -> Iterator[slice]:
    """Bands of rows, each about 64 MB of float32 voxels over all `slices`."""
    height = max(1, _SLAB_BYTES // (4 * max(1, slices) * columns))
    for first in range(0, rows, height):
        yield slice(first, min(first + height, rows))


def slab_columns(slices: np.ndarray, rows: slice) -> np.ndarray:
    """Copy of the band `rows` of `slices` (slices, rows, columns) as float32 columns (slices, pixels)."""
    return slices[:, rows].reshape(len(slices), -1).astype(np.float32)
