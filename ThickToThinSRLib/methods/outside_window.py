"""Outside the networks' HU range, the interpolated values are kept.

Networks read values clipped to [-1024, 2048] HU. For metal, dense contrast and padding values, their result
is replaced by the interpolated input. The blend extends over a narrow band of HU, and along the slices from
each thick slice to the next.
"""

from __future__ import annotations

from typing import Any

from ..intensity import outside_window
from ..interpolation import SliceMap


def interpolation_share(measured: Any, spread: SliceMap) -> Any:
    """Share of the interpolation in thin voxels.

    Parameters
    ----------
    measured : ndarray or tensor, shape (M, pixels), float32
        Thick slices in HU.
    spread : SliceMap
        Linear interpolation to N slices.

    Returns
    -------
    ndarray or tensor, shape (N, pixels), float32
        0 where the network's result counts, 1 where the interpolation does.
    """
    return spread(outside_window(measured)).clip(0.0, 1.0)


def blend_interpolation(hu: Any, measured: Any, interpolate: SliceMap, spread: SliceMap) -> Any:
    """Blend thin columns (N, pixels) to the interpolated input, in place, where the input lies outside.

    Parameters
    ----------
    hu : ndarray, shape (N, pixels)
        Thin columns in HU; changed in place.
    measured, spread
        See :func:`interpolation_share`.
    interpolate : SliceMap
        The interpolation that takes over.
    """
    touched = (outside_window(measured) > 0).any(0)
    if touched.any():
        share = interpolation_share(measured[:, touched], spread)
        hu[:, touched] += share * (interpolate(measured[:, touched]) - hu[:, touched])
    return hu
