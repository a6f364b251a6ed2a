"""The small axial, coronal and sagittal planes of a case that a figure shows."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter, uniform_filter1d

_SIDE = 128  # pixels
_BONE_HU = 200
_SPINE = 9  # columns over which bone is looked for


def crop_places(truth: np.ndarray, factor: int) -> dict[str, tuple]:
    """Indices of the planes.

    Axial and coronal planes lie between two thick slices, where the scan changes most from slice to slice;
    the sagittal plane lies where there is most bone: in a chest it shows the spine.

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
    return {
        "axial": (middle, rows, columns),
        "coronal": (z, y, columns),
        "sagittal": _sagittal(truth, z, side_y),
    }


def _sagittal(truth: np.ndarray, z: slice, side: int) -> tuple[slice, slice, int]:
    """Slices, rows and column of the sagittal plane."""
    bone = np.count_nonzero(truth[z] > _BONE_HU, axis=0)  # (rows, columns)
    x = int(np.argmax(uniform_filter1d(bone.sum(0).astype(np.float32), _SPINE, mode="constant")))
    near = bone[:, max(0, x - _SPINE // 2) : x + _SPINE // 2 + 1].sum(1).astype(np.float32)
    y = int(np.argmax(uniform_filter1d(near, side // 2, mode="constant")))
    first = int(np.clip(y - side // 2, 0, truth.shape[1] - side))
    return z, slice(first, first + side), x


def cut(hu: np.ndarray, places: dict[str, tuple]) -> dict[str, np.ndarray]:
    """The planes of a volume (N, H, W), rounded to whole HU."""
    limits = np.iinfo(np.int16)
    return {
        name: np.clip(np.rint(hu[place]), limits.min, limits.max).astype(np.int16)
        for name, place in places.items()
    }
