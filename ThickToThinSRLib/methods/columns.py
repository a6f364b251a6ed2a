"""Applies an operation along the through-plane axis to a whole volume, slab by slab."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..interpolation import slab_columns, slabs
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
    for band in slabs(max(count, len(slices)), rows, columns):
        monitor.check()
        solved = solve(slab_columns(slices, band))
        out[:, band] = cast(solved.reshape(count, -1, columns), out.dtype)
        monitor.step(stage, band.stop, rows)
    return out
