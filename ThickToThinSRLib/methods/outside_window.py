"""What lies outside the networks' HU window: there the interpolation stands.

In metal, dense contrast and padding values a network saw clipped values. Its result fades to the interpolated
input over a narrow band of HU, and along the slices from each thick slice towards the next one.
"""

from __future__ import annotations

import numpy as np

from ..intensity import outside_window


def interpolation_share(measured: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Share of the interpolation in thin voxels.

    Parameters
    ----------
    measured : ndarray, shape (M, pixels)
        Thick slices in HU.
    spread : ndarray, shape (N, M)
        Linear interpolation between the slices.

    Returns
    -------
    ndarray, shape (N, pixels), float32
        0 where the network's result counts, 1 where the interpolation does.
    """
    return np.clip(spread.astype(np.float32) @ outside_window(measured), 0.0, 1.0)


def blend_interpolation(
    hu: np.ndarray, measured: np.ndarray, interpolate: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Blend thin columns (N, pixels) to the interpolated input, in place, where the input lies outside.

    Parameters
    ----------
    measured, spread
        See :func:`interpolation_share`.
    interpolate : ndarray, shape (N, M)
        The interpolation that takes over.
    """
    touched = (outside_window(measured) > 0).any(axis=0)
    if not touched.any():
        return hu
    share = interpolation_share(measured[:, touched], spread)
    interpolated = interpolate.astype(np.float32) @ measured[:, touched]
    hu[:, touched] += share * (interpolated - hu[:, touched])
    return hu
