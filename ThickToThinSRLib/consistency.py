"""Results that agree with what was measured: averaged over the profile, thin slices give the thick ones.

With A the sampling matrix (:mod:`~ThickToThinSRLib.acquisition`), y the thick and x the thin slices, the
inconsistency is C = A x - y. It is measured over thick slices whose profile lies inside the volume.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from scipy.linalg import solveh_banded

from .acquisition import Acquisition, sampling_matrix
from .interpolation import slab_columns, slabs
from .monitor import Monitor

# Weight of smoothness against agreement in the consistent interpolation. Smaller follows the input more
# closely and amplifies noise where slices overlap; measured on real chest CT (docs/results.md).
_SMOOTHNESS = 1e-4
# Without overlap the smoothest solution rings beside ribs and at the lung apex. There x is kept between the
# two thick voxels around it, in turn with agreement; so many turns leave an edge less undershoot than cubic.
_BOUNDED_UP_TO_OVERLAP = 0.2
_BOUND_PASSES = 6
# Parts of C that the profile passes with less than this gain are left alone by the projection: they could
# only be met by amplifying noise more than a hundredfold.
_LEAST_GAIN = 0.01


@dataclass(frozen=True)
class Consistency:
    """How far a result is from its input, in HU: over the thick voxels whose profile lies inside.

    Attributes
    ----------
    mean, percentile_99_9 : float
        Mean and 99.9th percentile of abs(C).
    worst_slice : float
        Mean of abs(C) over the slice where it is largest.
    slices : int
        Number of thick slices measured.
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
    """Measure C = A x - y of thin slices x (N, rows, columns) against thick ones y (M, rows, columns).

    The percentile is exact to 0.01 HU (it comes from a histogram of that width, so that no array of the size
    of the input is needed). Returns None where no thick slice lies wholly inside.
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
    """The smoothest thin slices whose profile-averaged sums are the thick ones.

    Minimises ``||A x - y||^2 + lambda (s/u)^3 ||D2 x||^2`` (D2: second differences) for each voxel column, on
    a range that reaches beyond the first and last slice so that their whole profiles count. Where slices do
    not overlap (by more than a fifth of the spacing), x is also drawn between the two thick voxels around it,
    by alternating between that bound and agreement with the input.

    Parameters
    ----------
    acquisition : Acquisition
        How the thick slices were made; an assumed box is safe.
    thick_slices, thin_slices : int
        Numbers M and N of slices.
    target_spacing : float
        Distance u of thin slices, mm.
    """

    def __init__(self, acquisition: Acquisition, thick_slices: int, thin_slices: int, target_spacing: float):
        spacing = acquisition.spacing
        self.margin = math.ceil(1.5 * acquisition.thickness / target_spacing)
        self.thin_slices = thin_slices
        extended = thin_slices + 2 * self.margin
        first = -self.margin * target_spacing
        weights = sampling_matrix(
            thick_slices, spacing, extended, target_spacing, acquisition.thickness, acquisition.profile,
            first_thin=first,
        )  # fmt: skip
        second = np.diff(np.eye(extended), 2, axis=0)
        first_differences = np.diff(np.eye(extended), axis=0)
        normal = (
            weights.T @ weights
            + _SMOOTHNESS * (spacing / target_spacing) ** 3 * second.T @ second
            # A single slice leaves the slope open; this closes it without weight elsewhere.
            + 1e-6 * first_differences.T @ first_differences
        )
        self.weights = weights.astype(np.float32)
        self.solution = _solve_banded(normal, weights.T).astype(np.float32)
        self.passes = _BOUND_PASSES if acquisition.overlap <= _BOUNDED_UP_TO_OVERLAP * spacing else 0
        place = (first + np.arange(extended) * target_spacing) / spacing
        # Where x lies on a thick slice, both its neighbours bound it: up and down alike.
        self.below = np.clip(np.ceil(place - 1 - 1e-6).astype(int), 0, thick_slices - 1)
        self.above = np.clip(np.floor(place + 1 + 1e-6).astype(int), 0, thick_slices - 1)
        self.nearest = np.clip(np.rint(place).astype(int), 0, thick_slices - 1)

    def __call__(self, thick: np.ndarray) -> np.ndarray:
        """Thin columns (N, pixels) of thick columns (M, pixels), float32 in HU."""
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
    """Makes C vanish by the smoothest correction of thin slices.

    The correction d minimises ``(s/u)^3 ||D2 d||^2 + (u/s) ||d||^2`` subject to A d = -C over the thick
    slices whose profile lies inside: it shows no steps and fades beyond the last of them. Parts of C that the
    profile all but annihilates (gain under 1 %, only with overlap near half the thickness) are left.
    """

    def __init__(self, acquisition: Acquisition, thick_slices: int, thin_slices: int, target_spacing: float):
        self.inside = acquisition.inside(thick_slices, thin_slices, target_spacing)
        weights = acquisition.matrix(thick_slices, thin_slices, target_spacing)[self.inside]
        self.weights = weights.astype(np.float32)
        self.correction = np.zeros((thin_slices, len(weights)), np.float32)
        if not len(weights):
            return
        left, gains, _ = np.linalg.svd(weights, full_matrices=False)
        kept = left[:, gains > _LEAST_GAIN * gains[0]]
        ratio = acquisition.spacing / target_spacing
        second = np.diff(np.eye(thin_slices), 2, axis=0)
        roughness = ratio**3 * second.T @ second + np.eye(thin_slices) / ratio
        spread = _solve_banded(roughness, weights.T @ kept)
        self.correction = (spread @ np.linalg.solve(kept.T @ weights @ spread, kept.T)).astype(np.float32)

    def __call__(self, thin: np.ndarray, thick: np.ndarray) -> np.ndarray:
        """Corrected thin columns (N, pixels), given thick columns (M, pixels); float32 in HU."""
        return thin + self.correction @ (thick[self.inside] - self.weights @ thin)


def _solve_banded(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve for a symmetric positive definite matrix whose entries vanish away from the diagonal."""
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
    """Make the thin slices (N, H, W) consistent with the thick ones (M, H, W), a slab of rows at a time.

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
