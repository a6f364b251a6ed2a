"""Outside the networks' HU range, the interpolated values are kept.

Networks read values clipped to [-1024, 2048] HU. For metal, dense contrast and padding values, their result
is replaced by the interpolated input. The blend extends over a narrow band of HU, and along the slices from
each thick slice to the next.
"""

from __future__ import annotations

import numpy as np

from ..intensity import outside_window


def interpolation_share(measured: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Share of the interpolated input in each thin voxel.

    Parameters
    ----------
    measured : ndarray, shape (M, pixels)
        Thick slices in HU.
    spread : ndarray, shape (N, M)
        Matrix of the linear interpolation between the slices.

    Returns
    -------
    ndarray, shape (N, pixels), float32
        0: only the network's result; 1: only the interpolation.
    """
    return np.clip(spread.astype(np.float32) @ outside_window(measured), 0.0, 1.0)


def blend_interpolation(
    hu: np.ndarray, measured: np.ndarray, interpolate: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Replace a network's result by the interpolated input where the input lies outside the HU range.

    Parameters
    ----------
    hu : ndarray, shape (N, pixels)
        Thin columns in HU; changed in place.
    measured, spread
        See :func:`interpolation_share`.
    interpolate : ndarray, shape (N, M)
        Matrix of the interpolation.

    Returns
    -------
    ndarray
        `hu`.
    """
    affected = (outside_window(measured) > 0).any(axis=0)
    if not affected.any():
        return hu
    share = interpolation_share(measured[:, affected], spread)
    interpolated = interpolate.astype(np.float32) @ measured[:, affected]
    hu[:, affected] += share * (interpolated - hu[:, affected])
    return hu
