"""Whether a scan shows a chest, told from how much of the body is lung."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..volume import Volume

# Lung was 15 to 32 % of the body in nine chest scans; air cells and sinuses were 1 % of a head.
CHEST_FROM_SHARE = 0.06
_COARSE_MM = 4.0
_TISSUE_ABOVE_HU = -300.0
_LUNG_HU = (-980.0, -400.0)


def lung_share(volume: Volume, axis: int) -> float:
    """Share of the body's voxels that are as dense as lung and enclosed by it in their slice.

    Parameters
    ----------
    volume : Volume
        CT in HU.
    axis : int
        Through-plane index axis.

    Returns
    -------
    float
        0 if there is no body.
    """
    slices = volume.slices_first(axis)
    rows, columns = (volume.spacing[index] for index in (2, 1, 0) if index != axis)
    steps = [max(1, round(_COARSE_MM / spacing)) for spacing in (volume.spacing[axis], rows, columns)]
    body = lung = 0
    for plane in slices[:: steps[0]]:
        coarse = _block_means(plane, steps[1], steps[2])
        labels, count = ndimage.label(coarse > _TISSUE_ABOVE_HU)
        if not count:
            continue
        outline = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
        inside = ndimage.binary_fill_holes(outline)
        body += np.count_nonzero(inside)
        lung += np.count_nonzero(inside & (coarse > _LUNG_HU[0]) & (coarse < _LUNG_HU[1]))
    return lung / body if body else 0.0


def is_chest(volume: Volume, axis: int) -> bool:
    """Whether enough of the body is lung."""
    return lung_share(volume, axis) >= CHEST_FROM_SHARE


def _block_means(plane: np.ndarray, rows: int, columns: int) -> np.ndarray:
    kept = plane[: len(plane) // rows * rows, : plane.shape[1] // columns * columns].astype(np.float32)
    return kept.reshape(len(kept) // rows, rows, -1, columns).mean(axis=(1, 3))
