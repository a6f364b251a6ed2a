"""A straight, even stack from slices that are not: shear undone, uneven positions resampled.

Arrays in, arrays out; nothing here knows files. Slices of a tilted gantry follow each other along the table
and not along their normal: each is shifted in its plane to where it lies in the patient. Slices at uneven
heights become even ones by the smoothest fine profile whose averages over the measured slices, at their true
heights, are the measured values (as in :mod:`~ThickToThinSRLib.consistency`), averaged again at even heights.
"""

from __future__ import annotations

import math

import numpy as np

from ...interpolation import slab_columns, slabs
from ...volume import cast

# Weights of smoothness and of flatness beyond the ends, as in the consistent interpolation.
_SMOOTHNESS, _FLATNESS = 1e-4, 1e-6
_FINE_STEPS = 8  # of the shortest gap or the thickness; more is slower and changes nothing
_MOST_FINE = 3000
_LEAST_SHIFT = 1e-6  # pixels


def unsheared(voxels: np.ndarray, shifts: np.ndarray, fill: float) -> tuple[np.ndarray, tuple[int, int]]:
    """Slices shifted in their planes, on a grid that holds all of them.

    Parameters
    ----------
    voxels : ndarray, shape (slices, rows, columns)
    shifts : ndarray, shape (slices, 2)
        How far each slice lies from the grid of the first, in pixels along columns (j) and rows (i).
    fill : float
        Value where a slice holds nothing.

    Returns
    -------
    voxels : ndarray, shape (slices, rows + more, columns + more)
        In the same type, interpolated by cubic convolution, without overshoot.
    start : (int, int)
        Index (j, i) on the old grid of the new one's first pixel.
    """
    first = np.floor(shifts.min(axis=0) + _LEAST_SHIFT).astype(int)
    last = np.ceil(shifts.max(axis=0) - _LEAST_SHIFT).astype(int)
    count, rows, columns = voxels.shape
    out = np.empty((count, rows + last[0] - first[0], columns + last[1] - first[1]), voxels.dtype)
    for index in range(count):
        plane = voxels[index].astype(np.float64)
        for axis in (0, 1):
            places = np.arange(out.shape[1 + axis]) + first[axis] - shifts[index, axis]
            plane = _resampled(plane, places, axis, fill)
        out[index] = cast(plane, voxels.dtype)
    return out, (int(first[0]), int(first[1]))


def _resampled(plane: np.ndarray, places: np.ndarray, axis: int, fill: float) -> np.ndarray:
    """`plane` at fractional indices along `axis`, by the four pixels around each; `fill` beyond its ends."""
    lines = np.moveaxis(plane, axis, 0)
    size = len(lines)
    base = np.floor(places + _LEAST_SHIFT).astype(int)
    part = (places - base)[:, None]
    taps = [lines[np.clip(base + offset, 0, size - 1)] for offset in (-1, 0, 1, 2)]
    weights = (  # Keys, IEEE Transactions on Acoustics, Speech and Signal Processing 29(6), 1981
        part * (-0.5 + part * (1 - 0.5 * part)),
        1 + part**2 * (-2.5 + 1.5 * part),
        part * (0.5 + part * (2 - 1.5 * part)),
        part**2 * (-0.5 + 0.5 * part),
    )
    # Beyond an end the line goes on straight, so that a slope reaches the border.
    taps[0] = np.where((base < 1)[:, None], 2 * taps[1] - taps[2], taps[0])
    taps[3] = np.where((base + 2 > size - 1)[:, None], 2 * taps[2] - taps[1], taps[3])
    values = sum(weight * tap for weight, tap in zip(weights, taps, strict=True))
    values = np.clip(values, np.minimum.reduce(taps), np.maximum.reduce(taps))
    outside = (places < -_LEAST_SHIFT) | (places > size - 1 + _LEAST_SHIFT)
    values[outside] = fill
    return np.moveaxis(values, 0, axis)


def even_heights(heights: np.ndarray) -> np.ndarray:
    """Even heights in mm from the first to the last of `heights`, as far apart as most of these are."""
    whole = heights[-1] - heights[0]
    return np.linspace(heights[0], heights[-1], 1 + max(1, round(whole / float(np.median(np.diff(heights))))))


def evened(voxels: np.ndarray, heights: np.ndarray, thickness: float) -> np.ndarray:
    """Slices at :func:`even_heights`, as thick as the measured ones.

    Parameters
    ----------
    voxels : ndarray, shape (slices, rows, columns)
    heights : ndarray, shape (slices,)
        Of their centres along the normal, mm, rising.
    thickness : float
        Of every slice, mm.

    Returns
    -------
    ndarray, shape (even slices, rows, columns)
        In the same type, within the values of the four measured slices around each.
    """
    targets = even_heights(heights)
    matrix = even_matrix(heights, targets, thickness).astype(np.float32)
    after = np.searchsorted(heights, targets - 1e-6)
    around = [np.clip(after + offset, 0, len(heights) - 1) for offset in (-2, -1, 0, 1)]
    out = np.empty((len(targets), *voxels.shape[1:]), voxels.dtype)
    for band in slabs(len(heights), *voxels.shape[1:]):
        columns = slab_columns(voxels, band)
        near = [columns[index] for index in around]
        values = np.clip(matrix @ columns, np.minimum.reduce(near), np.maximum.reduce(near))
        out[:, band] = cast(values, voxels.dtype).reshape(len(targets), -1, voxels.shape[2])
    return out


def even_matrix(heights: np.ndarray, targets: np.ndarray, thickness: float) -> np.ndarray:
    """The map from slices at `heights` to slices at `targets`, both `thickness` thick; mm."""
    gaps = np.diff(heights)
    spacing = float(np.median(gaps))
    whole = heights[-1] - heights[0] + 4 * thickness
    step = max(min(thickness, float(gaps.min())) / _FINE_STEPS, whole / _MOST_FINE)
    margin = math.ceil(2 * thickness / step)
    count = math.ceil((heights[-1] - heights[0]) / step) + 2 * margin + 1
    edges = heights[0] + (np.arange(count + 1) - margin - 0.5) * step
    measured = _averages(heights, edges, thickness)
    second, first = np.diff(np.eye(count), 2, axis=0), np.diff(np.eye(count), axis=0)
    normal = (
        measured.T @ measured
        + _SMOOTHNESS * (spacing / step) ** 3 * second.T @ second
        + _FLATNESS * first.T @ first
    )
    return _averages(targets, edges, thickness) @ np.linalg.solve(normal, measured.T)


def _averages(centres: np.ndarray, edges: np.ndarray, thickness: float) -> np.ndarray:
    """Weights of fine slices between `edges` in boxes of `thickness` around `centres`; rows sum to 1."""
    reached = np.clip((edges[None] - centres[:, None]) / thickness + 0.5, 0.0, 1.0)
    weights = np.diff(reached, axis=1)
    return weights / weights.sum(axis=1, keepdims=True)
