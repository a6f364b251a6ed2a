"""Consistency: averaging thin slices over the slice profile must reproduce the measured thick slices.

With A the sampling matrix (:mod:`~ThickToThinSRLib.acquisition`), y the thick and x the thin slices, the
inconsistency is C = A x - y, in HU. Only thick slices whose whole profile lies inside the volume count.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from scipy.linalg import solveh_banded

from .acquisition import Acquisition, sampling_matrix
from .interpolation import slab_columns, slabs
from .monitor import Monitor

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
    thin: np.ndarray, thick: np.ndarray, acquisition: Acquisition, target_spacing: float
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
        simulated = np.tensordot(weights[index, used[0] : used[-1] + 1].astype(np.float32), block, axes=1)
        error = np.abs(simulated - thick[index])
        means.append(float(error.mean(dtype=np.float64)))
        histogram += np.bincount(np.minimum(error.ravel() / width, bins - 1).astype(np.int64), minlength=bins)
    reached = np.searchsorted(np.cumsum(histogram), 0.999 * histogram.sum())
    return Consistency(float(np.mean(means)), float((reached + 1) * width), max(means), len(inside))


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
        self.weights = weights.astype(np.float32)
        self.solution = _solve_banded(normal, weights.T).astype(np.float32)
        self.passes = _BOUND_PASSES if acquisition.overlap <= _BOUNDED_UP_TO_OVERLAP * spacing else 0
        positions = (first + np.arange(extended) * target_spacing) / spacing
        # A thin slice that lies exactly on a thick slice is bounded by both neighbours of it, so that the
        # result does not depend on the direction of the slice axis, nor on the last digits of a spacing.
        self.below = np.clip(np.ceil(positions - 1 - _ON_A_SLICE).astype(int), 0, thick_slices - 1)
        self.above = np.clip(np.floor(positions + 1 + _ON_A_SLICE).astype(int), 0, thick_slices - 1)
        self.nearest = np.clip(np.rint(positions).astype(int), 0, thick_slices - 1)

    def __call__(self, thick: np.ndarray) -> np.ndarray:
        """Interpolate thick columns (M, pixels) to thin columns (N, pixels), float32, HU."""
        thin = self.solution @ thick
        if self.passes:
            below, nearest, above = thick[self.below], thick[self.nearest], thick[self.above]
            low = np.minimum(np.minimum(below, above), nearest)
            high = np.maximum(np.maximum(below, above), nearest)
            for _ in range(self.passes):
                np.clip(thin, low, high, out=thin)
                thin += self.solution @ (thick - self.weights @ thin)
        return thin[self.margin : self.margin + self.thin_slices]


class ConsistencyProjection:
    """Makes thin slices consistent with the thick slices by the smoothest possible correction.

    The correction d minimises ``(s/u)^3 ||D2 d||^2 + (u/s) ||d||^2`` subject to A d = -C over the thick
    slices whose profile lies inside the volume. It has no steps and fades beyond the outermost of these
    slices. Components of C that the profile attenuates to less than 1 % are not corrected; they occur only
    when the overlap is near half the thickness. Parameters as in :class:`ConsistentInterpolation`.
    """

    def __init__(self, acquisition: Acquisition, thick_slices: int, thin_slices: int, target_spacing: float):
        self.inside = acquisition.inside(thick_slices, thin_slices, target_spacing)
        weights = acquisition.matrix(thick_slices, thin_slices, target_spacing)[self.inside]
        self.weights = weights.astype(np.float32)
        self.correction = np.zeros((thin_slices, len(weights)), np.float32)
        if not len(weights):
            return
        left, gains, _ = np.linalg.svd(weights, full_matrices=False)
        correctable = left[:, gains > _LEAST_GAIN * gains[0]]
        ratio = acquisition.spacing / target_spacing
        second = np.diff(np.eye(thin_slices), 2, axis=0)
        roughness = ratio**3 * second.T @ second + np.eye(thin_slices) / ratio
        spread = _solve_banded(roughness, weights.T @ correctable)
        gain = correctable.T @ weights @ spread
        self.correction = (spread @ np.linalg.solve(gain, correctable.T)).astype(np.float32)

    def __call__(self, thin: np.ndarray, thick: np.ndarray) -> np.ndarray:
        """Correct thin columns (N, pixels) with thick columns (M, pixels); float32, HU."""
        return thin + self.correction @ (thick[self.inside] - self.weights @ thin)


def _solve_banded(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve a linear system with a symmetric positive definite band matrix."""
    size = len(matrix)
    rows, columns = np.nonzero(matrix)
    width = int(np.max(columns - rows))
    bands = np.zeros((width + 1, size))
    for offset in range(width + 1):
        bands[width - offset, offset:] = np.diagonal(matrix, offset)
    return solveh_banded(bands, right)


def project_in_place(
    thin: np.ndarray, thick: np.ndarray, acquisition: Acquisition, target_spacing: float, monitor: Monitor
) -> None:
    """Make thin slices (N, H, W) consistent with thick slices (M, H, W), one slab of rows at a time.

    Parameters
    ----------
    thin : ndarray, float32
        Thin slices in HU, overwritten.
    monitor : Monitor
        Is told the rows done after each slab.

    Raises
    ------
    Cancelled
        If the monitor is asked to stop, between two slabs.
    """
    count, rows, columns = thin.shape
    project = ConsistencyProjection(acquisition, len(thick), count, target_spacing)
    for band in slabs(count, rows, columns):
        monitor.check()
        solved = project(thin[:, band].reshape(count, -1), slab_columns(thick, band))
        thin[:, band] = solved.reshape(count, -1, columns)
        monitor.step("consistency", band.stop, rows)
