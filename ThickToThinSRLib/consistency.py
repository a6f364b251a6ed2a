"""Consistency: averaging thin slices over the slice profile must reproduce the measured thick slices.

With A the sampling matrix (:mod:`~ThickToThinSRLib.acquisition`), y the thick and x the thin slices, the
inconsistency is C = A x - y, in HU. Only thick slices whose whole profile lies inside the volume count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.linalg import solveh_banded

from .acquisition import Acquisition, sampling_matrix
from .arrays import Constant, larger, smaller
from .interpolation import SliceMap, by_chunks

# Weight of smoothness relative to agreement in the consistent interpolation. A smaller weight follows the
# input more closely but amplifies noise where slices overlap. Chosen on real chest CT (docs/results.md).
_SMOOTHNESS = 1e-4
# Without overlap the smoothest solution rings beside ribs and at the lung apex. There, steps that bound x by
# the thick voxels around it alternate with steps towards agreement. With this number of passes an edge
# undershoots less than with cubic interpolation.
_BOUNDED_UP_TO_OVERLAP = 0.2
_BOUND_PASSES = 6
# The projection leaves components of C that the profile attenuates below this gain: correcting them would
# amplify noise more than a hundredfold.
_LEAST_GAIN = 0.01
# A thin slice this near to a thick one, in slice spacings, lies on it: files round their spacings.
_ON_A_SLICE = 1e-4


@dataclass(frozen=True)
class Consistency:
    """Inconsistency of a result with its input, in HU.

    Attributes
    ----------
    mean, percentile_99_9 : float
        Mean and 99.9th percentile of abs(C).
    worst_slice : float
        Largest mean of abs(C) over a thick slice.
    slices : int
        Number of thick slices that were compared.
    """

    mean: float
    percentile_99_9: float
    worst_slice: float
    slices: int

    def as_dict(self) -> dict:
        return asdict(self)


def measure(
    thin: np.ndarray,
    thick: np.ndarray,
    acquisition: Acquisition,
    target_spacing: float,
    place: Callable[[np.ndarray], Any] = np.asarray,
) -> Consistency | None:
    """Measure the inconsistency C = A x - y of thin slices with the thick slices they were made from.

    Parameters
    ----------
    thin, thick : ndarray, shape (N, rows, columns) and (M, rows, columns)
        Thin slices x and thick slices y, in HU.
    acquisition : Acquisition
        Thickness, spacing and profile of the thick slices.
    target_spacing : float
        Spacing of the thin slices, mm.
    place : callable
        From a float32 array to where it is computed with: itself, or a tensor.

    Returns
    -------
    Consistency or None
        None if no thick slice has its whole profile inside the volume. The percentile is exact to 0.01 HU: it
        comes from a histogram, which needs less memory than sorting the voxels.
    """
    weights = acquisition.matrix(len(thick), len(thin), target_spacing)
    inside = np.flatnonzero(acquisition.inside(len(thick), len(thin), target_spacing))
    if not len(inside):
        return None
    width, bins = 0.01, 1 << 20
    histogram = np.zeros(bins, np.int64)
    means = []
    for index in inside:
        used = np.flatnonzero(weights[index])
        block = thin[used[0] : used[-1] + 1].astype(np.float32)
        share = place(weights[index : index + 1, used[0] : used[-1] + 1].astype(np.float32))
        simulated = share @ place(block.reshape(len(block), -1))
        error = abs(simulated - place(thick[index].astype(np.float32).reshape(1, -1)))[0]
        means.append(float(error.mean()))
        histogram += _counts((error / width).clip(0, bins - 1), bins)
    reached = np.searchsorted(np.cumsum(histogram), 0.999 * histogram.sum())
    return Consistency(float(np.mean(means)), float((reached + 1) * width), max(means), len(inside))


def _counts(values: Any, bins: int) -> np.ndarray:
    """How many values, an array or a tensor, have each whole part."""
    if isinstance(values, np.ndarray):
        return np.bincount(values.astype(np.int64), minlength=bins)
    return values.long().bincount(minlength=bins).cpu().numpy()


class ConsistentInterpolation:
    """The smoothest thin slices that reproduce the thick slices when averaged over the slice profile.

    Minimises ``||A x - y||^2 + lambda (s/u)^3 ||D2 x||^2`` for each voxel column, where D2 takes second
    differences, s is the slice spacing and u the target spacing. The solution extends beyond the first and
    last slice, so that their whole profiles count. Where slices overlap by less than a fifth of the spacing,
    passes that bound x by the thick voxels around it alternate with passes towards agreement with the input.

    Parameters
    ----------
    acquisition : Acquisition
        Thickness, spacing and profile of the thick slices; if the profile is unknown, assume a box.
    thick_slices, thin_slices : int
        Numbers M of thick and N of thin slices.
    target_spacing : float
        Spacing u of the thin slices, mm.
    """

    def __init__(self, acquisition: Acquisition, thick_slices: int, thin_slices: int, target_spacing: float):
        spacing = acquisition.spacing
        self.margin = math.ceil(1.5 * acquisition.thickness / target_spacing)
        self.thin_slices = thin_slices
        extended = thin_slices + 2 * self.margin
        first = -self.margin * target_spacing
        weights = sampling_matrix(acquisition, thick_slices, extended, target_spacing, first_thin=first)
        second = np.diff(np.eye(extended), 2, axis=0)
        first_differences = np.diff(np.eye(extended), axis=0)
        normal = (
            weights.T @ weights
            + _SMOOTHNESS * (spacing / target_spacing) ** 3 * second.T @ second
            # With a single thick slice the slope is undetermined. This small term makes it zero.
            + 1e-6 * first_differences.T @ first_differences
        )
        self.weights = SliceMap(weights)
        self.solution = SliceMap(_solve_banded(normal, weights.T))
        self.passes = _BOUND_PASSES if acquisition.overlap <= _BOUNDED_UP_TO_OVERLAP * spacing else 0
        positions = (first + np.arange(extended) * target_spacing) / spacing
        # A thin slice that lies exactly on a thick slice is bounded by both neighbours of it, so that the
        # result does not depend on the direction of the slice axis, nor on the last digits of a spacing.
        last = thick_slices - 1
        self.below = Constant(np.clip(np.ceil(positions - 1 - _ON_A_SLICE).astype(int), 0, last))
        self.above = Constant(np.clip(np.floor(positions + 1 + _ON_A_SLICE).astype(int), 0, last))
        self.nearest = Constant(np.clip(np.rint(positions).astype(int), 0, last))

    def __call__(self, thick: Any) -> Any:
        """Interpolate thick columns (M, pixels) to thin columns (N, pixels), float32, HU.

        Tensors may have axes in front of these two.
        """
        kept = slice(self.margin, self.margin + self.thin_slices)
        if isinstance(thick, np.ndarray):
            return by_chunks(lambda columns: self._extended(columns)[kept], self.thin_slices, thick)
        return self._extended(thick)[..., kept, :]

    def _extended(self, thick: Any) -> Any:
        """Thin slices in the volume and in the margins on either side of it."""
        thin = self.solution(thick)
        if self.passes:
            below, nearest, above = (
                thick[..., index.like(thick), :] for index in (self.below, self.nearest, self.above)
            )
            low = smaller(smaller(below, above), nearest)
            high = larger(larger(below, above), nearest)
        for _ in range(self.passes):
            thin = smaller(larger(thin, low), high)
            thin += self.solution(thick - self.weights(thin))
        return thin


class ConsistencyProjection:
    """Makes thin slices consistent with the thick slices by the smoothest possible correction.

    The correction d minimises ``(s/u)^3 ||D2 d||^2 + (u/s) ||d||^2`` subject to A d = -C over the thick
    slices whose profile lies inside the volume. It has no steps and fades beyond the outermost of these
    slices. Components of C that the profile attenuates to less than 1 % are not corrected; they occur only
    when the overlap is near half the thickness. Parameters as in :class:`ConsistentInterpolation`.
    """

    def __init__(self, acquisition: Acquisition, thick_slices: int, thin_slices: int, target_spacing: float):
        inside = acquisition.inside(thick_slices, thin_slices, target_spacing)
        weights = acquisition.matrix(thick_slices, thin_slices, target_spacing)[inside]
        self.counted = Constant(np.flatnonzero(inside))
        self.weights = SliceMap(weights)
        self.correction = SliceMap(np.zeros((thin_slices, len(weights))))
        if not len(weights):
            return
        left, gains, _ = np.linalg.svd(weights, full_matrices=False)
        correctable = left[:, gains > _LEAST_GAIN * gains[0]]
        ratio = acquisition.spacing / target_spacing
        second = np.diff(np.eye(thin_slices), 2, axis=0)
        roughness = ratio**3 * second.T @ second + np.eye(thin_slices) / ratio
        spread = _solve_banded(roughness, weights.T @ correctable)
        gain = correctable.T @ weights @ spread
        self.correction = SliceMap(spread @ np.linalg.solve(gain, correctable.T))

    def __call__(self, thin: Any, thick: Any) -> Any:
        """Correct thin columns (N, pixels) with thick columns (M, pixels); float32, HU."""
        if isinstance(thin, np.ndarray):
            return by_chunks(self._corrected, len(thin), thin, thick)
        return self._corrected(thin, thick)

    def _corrected(self, thin: Any, thick: Any) -> Any:
        return thin + self.correction(thick[self.counted.like(thick)] - self.weights(thin))


def _solve_banded(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve a linear system with a symmetric positive definite band matrix."""
    size = len(matrix)
    rows, columns = np.nonzero(matrix)
    width = int(np.max(columns - rows))
    bands = np.zeros((width + 1, size))
    for offset in range(width + 1):
        bands[width - offset, offset:] = np.diagonal(matrix, offset)
    return solveh_banded(bands, right)
