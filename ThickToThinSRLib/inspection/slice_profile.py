"""How far the slice profile is rounded off, read from the noise of the slices.

Noise is nearly independent from place to place. So the noise of two slices correlates only as far as their
profiles overlap: that of touching slices with a box profile not at all, that with a Gaussian of the same
width at half maximum by a quarter. What is looked at is a high-pass residue of the smoothest blocks of soft
tissue. Anatomy in it correlates over any distance: the correlation of slices too far apart to share noise is
taken away.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from ..acquisition import LARGEST_ROUNDING, Acquisition, cumulative

_BLOCK = 16  # pixels
_HIGH_PASS = 0.8  # standard deviation in pixels of the smoothing that is taken away
_SOFT = (-200.0, 250.0)  # HU
_SMOOTHEST = 0.05  # share of the blocks
_FEWEST_BLOCKS = 40
_LEAST_HU = 0.3  # weaker residues are padding or rounding
_MOST_SLICES = 32
# Noise of thin slices is itself blurred along z, over about this length in mm.
_THIN = 1.3
# Slices this many thicknesses apart share no noise.
_FAR = 2.0
# Where more than this correlates at such a distance, too little is noise.
_MOST_ANATOMY = 0.3
# Slices this many thicknesses apart, at most, tell profiles apart.
_NEAR = 1.1
# Below this thickness in mm, the blur of the noise itself hides the profile.
_THINNEST = 3.5
# Less rounding than this is taken for none: boxes and trapezoids came out at up to 0.22 (docs/results.md). To
# take a box for a Gaussian costs more accuracy than the opposite.
_LEAST = 0.24
_ROUNDINGS = np.linspace(0.0, LARGEST_ROUNDING, 33)


def with_rounding(acquisition: Acquisition, slices: np.ndarray) -> Acquisition:
    """An acquisition of a box profile, rounded off as far as the noise of its slices says.

    Parameters
    ----------
    slices : ndarray, shape (M, rows, columns)
        HU.

    Returns
    -------
    Acquisition
        The same one where little rounding is found, or nothing can be said: there are too few slices, too
        little smooth tissue, or the slices are too thin.
    """
    rounding = measured_rounding(slices, acquisition)
    return replace(acquisition, rounding=rounding) if rounding and rounding >= _LEAST else acquisition


def measured_rounding(slices: np.ndarray, acquisition: Acquisition) -> float | None:
    """How far the profile is rounded off, in slice thicknesses; None if nothing can be said.

    Parameters as of :func:`with_rounding`.
    """
    thickness, spacing = acquisition.thickness, acquisition.spacing
    far = math.ceil(_FAR * thickness / spacing)
    near = [distance for distance in range(1, far) if distance * spacing <= _NEAR * thickness]
    first = max(0, (len(slices) - _MOST_SLICES) // 2)
    slices = slices[first : first + _MOST_SLICES].astype(np.float32)
    if thickness < _THINNEST or not near or len(slices) < far + 2 or min(slices.shape[1:]) < _BLOCK:
        return None
    found = _correlations(slices, [*near, far])
    if found is None:
        return None
    *measured, anatomy = found
    if anatomy > _MOST_ANATOMY:
        return None
    roundings = []
    for one, distance in zip(measured, near, strict=True):
        shared = (one - anatomy) / (1 - anatomy)
        roundings.append(float(np.interp(shared, expected_correlations(acquisition, distance), _ROUNDINGS)))
    return min(roundings)


def expected_correlations(acquisition: Acquisition, distance: int) -> np.ndarray:
    """Correlation of the noise of slices at a distance (in slices), for each of the roundings."""
    thickness = acquisition.thickness
    step = thickness / 200
    edges = np.arange(-3 * thickness, 3 * thickness, step)
    thin = np.ones(max(1, round(_THIN / step)))
    found = []
    for rounding in _ROUNDINGS:
        rounded = Acquisition(thickness, acquisition.spacing, rounding=float(rounding))
        profile = np.convolve(np.diff(cumulative(edges, thickness, rounded)), thin)
        shift = round(distance * acquisition.spacing / step)
        shared = (profile[shift:] * profile[: len(profile) - shift]).sum() if shift < len(profile) else 0.0
        found.append(shared / np.square(profile).sum())
    return np.array(found)


def _correlations(slices: np.ndarray, distances: list[int]) -> list[float] | None:
    """Correlation of the noise of slices at some distances (in slices); None if there is too little of it."""
    smoothed = (gaussian_filter(plane, _HIGH_PASS, truncate=2.0) for plane in slices)
    residues = np.stack([_blocks(plane - smooth) for plane, smooth in zip(slices, smoothed, strict=True)])
    means = np.stack([_blocks(plane).mean(axis=1) for plane in slices])
    energy = np.square(residues).mean(axis=2)
    smooth = (means > _SOFT[0]) & (means < _SOFT[1]) & (energy > _LEAST_HU**2)
    found = []
    for distance in distances:
        usable = smooth[distance:] & smooth[:-distance]
        if usable.sum() * _SMOOTHEST < _FEWEST_BLOCKS:
            return None
        larger = np.maximum(energy[distance:], energy[:-distance])
        usable &= larger <= np.quantile(larger[usable], _SMOOTHEST)
        one, other = residues[distance:][usable], residues[:-distance][usable]
        found.append(float((one * other).sum() / math.sqrt(np.square(one).sum() * np.square(other).sum())))
    return found


def _blocks(plane: np.ndarray) -> np.ndarray:
    """Blocks of 16 x 16 pixels of a plane: (blocks, 256)."""
    rows, columns = (size // _BLOCK for size in plane.shape)
    cut = plane[: rows * _BLOCK, : columns * _BLOCK]
    return cut.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2).reshape(rows * columns, -1)
