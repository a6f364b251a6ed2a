"""The small axial, coronal and sagittal planes of a case that a figure shows."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

_SIDE = 128  # pixels


def crop_places(truth: np.ndarray, factor: int) -> dict[str, tuple]:
    """Indices of the planes: between two thick slices, where the scan changes most from slice to slice.

    Parameters
    ----------
    truth : ndarray, shape (N, H, W)
        Thin slices, HU.
    factor : int
        Upsampling factor.
    """
    slices, height, width = truth.shape
    side_y, side_x = min(_SIDE, height), min(_SIDE, width)
    middle = slices // 2 // factor * factor + factor // 2
    change = np.abs(truth[min(middle + factor, slices - 1)].astype(np.float32) - truth[middle])
    change = uniform_filter(np.clip(change, 0, 400), (side_y // 2, side_x // 2))
    y, x = np.unravel_index(np.argmax(change), change.shape)
    y0 = int(np.clip(y - side_y // 2, 0, height - side_y))
    x0 = int(np.clip(x - side_x // 2, 0, width - side_x))
    half = min(_SIDE, slices) // 2
    z0 = max(0, middle - half)
    z = slice(z0, min(slices, z0 + 2 * half))
    rows, columns = slice(y0, y0 + side_y), slice(x0, x0 + side_x)
    return {"axial": (middle, rows, columns), "coronal": (z, y, columns), "sagittal": (z, rows, x)}


def cut(hu: np.ndarray, places: dict[str, tuple]) -> dict[str, np.ndarray]:
    """The planes of a volume (N, H, W), rounded to whole HU."""
    limits = np.iinfo(np.int16)
    return {
        name: np.clip(np.rint(hu[place]), limits.min, limits.max).astype(np.int16)
        for name, place in places.items()
    }
