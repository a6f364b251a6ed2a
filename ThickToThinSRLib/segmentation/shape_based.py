"""Shape-based interpolation of labels between the slices (Raya and Udupa, IEEE TMI 1990).

The signed distance to the surface of each label is interpolated between the slices; the label is where it is
negative. Its outline moves from slice to slice, where copied slices would make steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import distance_transform_edt, find_objects

from ..errors import UserError
from ..interpolation import slabs
from ..volume import Volume, refined, slice_count

# Slices and pixels around a label in which its distances are computed.
_MARGIN = 2
_HALVINGS = 20


def carried(
    labels: Volume,
    axis: int,
    target_spacing: float,
    on_label: Callable[[int], None] = lambda label: None,
) -> Volume:
    """Labels on the thin slices of a result.

    Each label keeps its volume: its surface is the level of the interpolated distance that bounds this
    volume. Without that, round shapes would shrink by some percent, because distances are interpolated along
    chords.
    Labels that touch do so in the result, too.

    Parameters
    ----------
    labels : Volume
        Integers; 0 is outside all labels.
    axis : int
        Index axis along which the slices are stacked.
    target_spacing : float
        Distance of the thin slices in mm.
    on_label : callable
        Called with each label before it is carried; what it raises ends the work.

    Returns
    -------
    Volume
        Same type and direction; the first slice centres coincide.

    Raises
    ------
    UserError
        If the voxels are not integers, or negative.
    """
    if labels.voxels.dtype.kind not in "iu" or labels.voxels.min() < 0:
        raise UserError("labels must be integers of 0 or more: choose a label map or a segmentation")
    thick = labels.slices_first(axis)
    spacing = _slices_first(labels.spacing, axis)
    before = np.arange(len(thick)) * spacing[0]
    count = slice_count(len(thick), spacing[0], target_spacing)
    after = np.minimum(np.arange(count) * target_spacing, before[-1])
    thin = np.zeros((count, *thick.shape[1:]), thick.dtype)
    least = np.zeros(thin.shape, np.float32)  # of the distances so far
    for number, box in enumerate(find_objects(thick.astype(np.int32, copy=False)), start=1):
        if box is None:
            continue
        on_label(number)
        slices, rows, columns = (slice(max(0, part.start - _MARGIN), part.stop + _MARGIN) for part in box)
        first, last = before[slices][[0, -1]]
        new = slice(*np.searchsorted(after, (first, last + 1e-6 * spacing[0])))
        inside = thick[slices, rows, columns] == number
        distance = _interpolated(_signed_distance(inside, spacing), before[slices], after[new])
        areas = np.interp(after[new], before[slices], inside.sum(axis=(1, 2)))
        weights = np.ones(count)
        weights[[0, -1]] = 0.5  # half of what these slices stand for lies outside the volume
        distance -= _level(distance, areas, weights[new], 0.5 * spacing[0])
        closer = distance < least[new, rows, columns]
        least[new, rows, columns][closer] = distance[closer]
        thin[new, rows, columns][closer] = number
    return refined(labels, axis, target_spacing, thin)


def _slices_first(spacing: tuple[float, float, float], axis: int) -> tuple[float, float, float]:
    """Spacing in mm along the array axes of :meth:`Volume.slices_first`."""
    others = list(spacing[::-1])
    return others.pop(2 - axis), *others


def _signed_distance(inside: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Distance to the nearest voxel on the other side of the surface, mm, float32; negative inside."""
    if inside.all():
        return np.full(inside.shape, -spacing[0], np.float32)
    distance = distance_transform_edt(~inside, sampling=spacing)
    distance -= distance_transform_edt(inside, sampling=spacing)
    return distance.astype(np.float32)


def _interpolated(distance: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Distances (slices, rows, columns) at heights `before`, interpolated to `after` without overshoot."""
    if len(before) == 1:
        return np.repeat(distance, len(after), axis=0)
    result = np.empty((len(after), *distance.shape[1:]), np.float32)
    for rows in slabs(len(after), *distance.shape[1:]):
        result[:, rows] = PchipInterpolator(before, distance[:, rows])(after)
    return result


def _level(distance: np.ndarray, areas: np.ndarray, weights: np.ndarray, most: float) -> float:
    """The level, at most `most` mm from 0, that bounds slices of these areas on the whole, by bisection."""
    wanted, low, high = areas @ weights, -most, most
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if np.count_nonzero(distance < middle, axis=(1, 2)) @ weights < wanted:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
