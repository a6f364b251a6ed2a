"""Linear maps along the through-plane axis, applied to a volume slab by slab.

Each map is a small matrix (slices after, slices before). A slab is a band of rows over all slices; working
slab by slab bounds the memory for any number of slices.

Columns are NumPy arrays, on all cores, or PyTorch tensors, where these are; this file does not import
PyTorch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from .arrays import Constant
from .monitor import Monitor

# Of a slab; each core works on one. So many columns at a time stay in a core's cache with all that is made
# from them.
_SLAB_BYTES, _CHUNK = 8 << 20, 256
# Share of the values that may be left out of a product: 0.01 HU.
_LEFT_OUT = 1e-6
# NumPy's OpenBLAS computes products up to this size in the thread that asks. Larger ones are shared between
# threads of its own, for which the threads here would wait in turn.
_BLOCK_ROWS, _LARGEST_PRODUCT = 32, 1 << 18


def interpolation_matrix(
    slices: int, spacing: float, target_slices: int, target_spacing: float
) -> np.ndarray:
    """Matrix of cubic spline interpolation along the slices.

    The first slice centres coincide; the targets must not lie beyond the last slice centre,
    except by what spacings are rounded. The spline is the
    natural one, with zero curvature at the first and last slice: it is the spline through slices that
    continue beyond the ends by point reflection, y[-k] = 2 y[0] - y[k]. Hence it reproduces every linear
    change along the slices up to the ends, which a spline through mirrored slices, such as ITK's, flattens.
    Away from the ends both agree (Unser, IEEE Signal Processing Magazine 16(6), 1999).

    Parameters
    ----------
    slices, target_slices : int
        Number of slices before and after interpolation.
    spacing, target_spacing : float
        Distance of slice centres before and after interpolation, mm.

    Returns
    -------
    ndarray, shape (target_slices, slices), float64
        Rows sum to 1.
    """
    if slices == 1:
        return np.ones((target_slices, 1))
    positions = np.arange(target_slices) * (target_spacing / spacing)
    return CubicSpline(np.arange(slices), np.eye(slices), bc_type="natural")(positions)


def linear_matrix(slices: int, spacing: float, target_slices: int, target_spacing: float) -> np.ndarray:
    """Matrix of linear interpolation along the slices; parameters as in :func:`interpolation_matrix`."""
    # Targets may lie behind the last slice by what its spacing is rounded.
    positions = np.minimum(np.arange(target_slices) * (target_spacing / spacing), slices - 1)
    return np.maximum(0.0, 1.0 - np.abs(positions[:, None] - np.arange(slices)))


class SliceMap:
    """A matrix (slices after, slices before), applied in float32 to columns.

    The matrices here are practically zero far from their diagonal. So NumPy columns are multiplied by blocks
    of rows, each with only those slices that count; what is left out is below 1e-6 of the values. Tensors,
    which may be on a GPU, are multiplied in one product.
    """

    def __init__(self, matrix: np.ndarray):
        self.whole = Constant(np.ascontiguousarray(matrix, np.float32))
        self._blocks = _banded(self.whole.array)

    def __call__(self, columns: Any) -> Any:
        """(before, pixels) to (after, pixels); tensors may have axes in front of these two."""
        if not isinstance(columns, np.ndarray):
            return self.whole.like(columns) @ columns
        out = np.empty((len(self.whole.array), columns.shape[1]), np.float32)
        for rows, used, part in self._blocks:
            np.matmul(part, columns[used], out=out[rows])
        return out


def _banded(matrix: np.ndarray) -> list[tuple[slice, slice, np.ndarray]]:
    """Blocks of rows, as many as make small products, without the columns that are practically zero."""
    rows = _BLOCK_ROWS
    while True:
        firsts = range(0, len(matrix), rows)
        blocks = [_without_zeros(matrix, slice(first, first + rows)) for first in firsts]
        if rows == 1 or all(part.size * _CHUNK <= _LARGEST_PRODUCT for _, _, part in blocks):
            return blocks
        rows //= 2


def _without_zeros(matrix: np.ndarray, rows: slice) -> tuple[slice, slice, np.ndarray]:
    """Some rows of a matrix, without the columns at either end in which they are practically zero."""
    part = matrix[rows]
    sizes = np.abs(part).astype(np.float64)
    from_left, from_right = sizes.cumsum(1), sizes[:, ::-1].cumsum(1)[:, ::-1]
    kept = np.flatnonzero((from_left > _LEFT_OUT).any(0) & (from_right > _LEFT_OUT).any(0))
    used = slice(int(kept[0]), int(kept[-1]) + 1) if len(kept) else slice(0, 0)
    return rows, used, np.ascontiguousarray(part[:, used])


def by_chunks(work: Callable[..., np.ndarray], count: int, *columns: np.ndarray) -> np.ndarray:
    """Apply `work` to chunks of columns, (slices, pixels) each, that stay in a core's cache.

    Parameters
    ----------
    work : callable
        Contiguous float32 chunks of all `columns` to (count, pixels).
    """
    pixels = columns[0].shape[1]
    out = np.empty((count, pixels), np.float32)
    for first in range(0, pixels, _CHUNK):
        part = slice(first, first + _CHUNK)
        out[:, part] = work(*(np.ascontiguousarray(values[:, part], np.float32) for values in columns))
    return out


def slabs(slices: int, rows: int, columns: int) -> Iterator[slice]:
    """Bands of rows, each about 8 MB of float32 voxels over all `slices`."""
    height = max(1, _SLAB_BYTES // (4 * max(1, slices) * columns))
    for first in range(0, rows, height):
        yield slice(first, min(first + height, rows))


def each_slab(
    work: Callable[[slice], None], shape: tuple[int, int, int], stage: str, monitor: Monitor
) -> None:
    """Call `work` for every band of rows of a volume (slices, rows, columns), on all cores.

    Parameters
    ----------
    stage : str
        What the monitor calls the work.

    Raises
    ------
    Cancelled
        If the monitor is asked to stop, between two slabs.
    """
    monitor.check()
    bands = list(slabs(*shape))
    with ThreadPoolExecutor(cores(), "slabs") as pool:
        waiting = [pool.submit(work, band) for band in bands]
        try:
            for band, job in zip(bands, waiting, strict=True):
                job.result()
                monitor.step(stage, band.stop, shape[1])
        finally:
            for job in waiting:
                job.cancel()


def cores() -> int:
    """Cores that this process may use: those the system gives it, or fewer by ``OMP_NUM_THREADS``."""
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(given, int(asked)) if asked.isdecimal() and int(asked) > 0 else given


def slab_columns(slices: Any, rows: slice) -> Any:
    """Copy of the band `rows` of `slices` (slices, rows, columns) as float32 columns (slices, pixels)."""
    if isinstance(slices, np.ndarray):
        return np.array(slices[:, rows], np.float32, order="C").reshape(len(slices), -1)
    return slices[:, rows].flatten(1).float()
