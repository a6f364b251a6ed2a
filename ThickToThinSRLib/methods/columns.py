"""Maps along the through-plane axis applied to whole volumes, slab by slab."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..interpolation import each_slab, slab_columns
from ..monitor import Monitor
from ..volume import cast


def map_columns(
    solve: Callable[[np.ndarray], np.ndarray], slices: np.ndarray, count: int, stage: str, monitor: Monitor
) -> np.ndarray:
    """Apply a map from thick to thin voxel columns to all columns of a volume.

    Parameters
    ----------
    solve : callable
        (M, pixels) float32 to (count, pixels).
    slices : ndarray, shape (M, rows, columns)
    count : int
        Number of thin slices.
    stage : str
        What the monitor calls the work.

    Returns
    -------
    ndarray, shape (count, rows, columns)
        Of the type of `slices`.
    """
    _, rows, columns = slices.shape
    out = np.empty((count, rows, columns), slices.dtype)

    def fill(band: slice) -> None:
        out[:, band] = cast(solve(slab_columns(slices, band)).reshape(count, -1, columns), out.dtype)

    each_slab(fill, (max(count, len(slices)), rows, columns), stage, monitor)
    return out
