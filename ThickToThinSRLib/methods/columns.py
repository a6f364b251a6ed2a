"""Applies an operation along the through-plane axis to a whole volume, slab by slab."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..interpolation import each_slab, slab_columns
from ..monitor import Monitor
from ..volume import cast


def map_columns(
    solve: Callable[[np.ndarray], np.ndarray], slices: np.ndarray, count: int, stage: str, monitor: Monitor
) -> np.ndarray:
    """Apply an operation from thick to thin voxel columns to all columns of a volume.

    Parameters
    ----------
    solve : callable
        Maps (M, pixels) float32 to (count, pixels).
    slices : ndarray, shape (M, rows, columns)
        Thick slices.
    count : int
        Number of thin slices.
    stage : str
        Name of the stage for the monitor.

    Returns
    -------
    ndarray, shape (count, rows, columns)
        Of the type of `slices`.

    Raises
    ------
    Cancelled
        If the monitor was asked to stop.
    """
    _, rows, columns = slices.shape
    out = np.empty((count, rows, columns), slices.dtype)

    def fill(band: slice) -> None:
        out[:, band] = cast(solve(slab_columns(slices, band)).reshape(count, -1, columns), out.dtype)

    each_slab(fill, (max(count, len(slices)), rows, columns), stage, monitor)
    return out
