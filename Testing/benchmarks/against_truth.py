"""Errors inside the body against known thin slices, as the demo and the picture of the README print them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ThickToThinSRLib.intensity import HU_WINDOW

_BODY_ABOVE_HU = -300


def body_mask(hu: np.ndarray) -> np.ndarray:
    """The patient without the air and the table around: bool, shape (slices, rows, columns) of `hu`."""
    above = ndimage.binary_opening(hu > _BODY_ABOVE_HU, np.ones((1, 3, 3), bool), iterations=2)
    labels, count = ndimage.label(above)
    if not count:
        return np.zeros(hu.shape, bool)
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return np.stack([ndimage.binary_fill_holes(plane) for plane in largest])


def errors(estimate: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """PSNR in dB (window [-1024, 2048] HU) and mean absolute error in HU of the voxels in `mask`."""
    low, high = HU_WINDOW
    found, true = (np.clip(hu[mask].astype(np.float64), low, high) for hu in (estimate, truth))
    difference = found - true
    mean_square = float(np.square(difference).mean())
    psnr = np.inf if mean_square == 0 else 10 * np.log10((high - low) ** 2 / mean_square)
    return float(psnr), float(np.abs(difference).mean())
