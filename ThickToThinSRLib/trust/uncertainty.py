"""How far off a thin voxel is expected to be, in HU.

A small regression tells it from what the slices themselves show around the voxel: how much neighbouring thick
slices differ and bend, how steep the anatomy is in-plane, how far the method departs from a straight line
between the slices, the noise that thick slices average away, where between the slices the voxel lies, and
how dense it and its surroundings are (edges of bone are not those of vessels). It was fitted for each method
to errors on scans whose thin slices are known (``python -m training.expected_error``); the fit makes the
prediction the mean absolute error of voxels that look alike.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter

from ..acquisition import Acquisition
from ..interpolation import linear_matrix
from ..monitor import Monitor
from .error_coefficients import COEFFICIENTS
from .noise_estimate import between, estimate_noise

# The methods whose errors were measured.
METHODS = tuple(COEFFICIENTS)
# Numbers that describe a voxel, see `ErrorFeatures.at`.
FEATURES = 10
LOGARITHMS = (-0.7, 7.6)  # limits of the prediction: 0.5 and 2000 HU
# Noise below this counts as this, HU: the quietest chest of the fit has 8. Scans with less, such as heads,
# would have features beyond the fit's.
_LEAST_NOISE = 8.0
# Which of the features are the departure from a straight line, the logarithm of the noise, and the HU here.
DEPARTURE, NOISE, LEVEL = 3, 4, 8
LEVEL_UNIT = 500.0  # HU; of the levels among the features
_LEVELS = (-1000.0, 1200.0)  # HU; outside, the nearest value
_AROUND = 5  # at half the resolution: where the brightest thick voxel is looked for
# Ranges of slice spacing (mm) and thickness / spacing in the fit; outside, the nearest value.
_SPACINGS, _RATIOS = (1.5, 6.5), (0.9, 2.1)


class ErrorFeatures:
    """What a voxel's error is told from, at half the in-plane resolution.

    Parameters
    ----------
    thick : ndarray, shape (M, rows, columns)
        Thick slices, HU.
    acquisition : Acquisition
        How they were made.
    thin_slices : int
        Number N of slices of the result.
    target_spacing : float
        Their spacing, mm.
    """

    def __init__(self, thick: np.ndarray, acquisition: Acquisition, thin_slices: int, target_spacing: float):
        self.thick = thick
        count = len(thick)
        self.to_thin = linear_matrix(count, acquisition.spacing, thin_slices, target_spacing)
        self.to_thin = self.to_thin.astype(np.float32)
        places = np.arange(thin_slices) * (target_spacing / acquisition.spacing)
        self.distance = np.abs(places - np.rint(places))
        # Differences lie half way between slices, bends on all but the outer slices.
        self.to_gaps = between(np.arange(count - 1) + 0.5, places)
        self.to_bends = between(np.arange(1, count - 1), places) if count > 2 else self.to_gaps
        self.slopes, self.brightest, gaps, bends = [], [], [], []
        planes = [np.asarray(plane, np.float32) for plane in thick[:2]]
        for index in range(count):
            level = halved(planes[0])
            self.slopes.append(_smooth(_slope(level)))
            self.brightest.append(maximum_filter(np.rint(level.clip(*_LEVELS)).astype(np.int16), _AROUND))
            if index + 1 < count:
                gaps.append(_smooth(halved(np.abs(planes[1] - planes[0]))))
            if index + 2 < count:
                planes.append(np.asarray(thick[index + 2], np.float32))
                bends.append(_smooth(halved(np.abs(planes[2] - 2 * planes[1] + planes[0]))))
            del planes[0]
        self.gaps, self.bends = gaps, bends or gaps
        noise = estimate_noise(thick)
        self.noise = np.zeros_like(self.slopes)
        if noise is not None:
            rows, columns = (2 * np.arange(size) + 0.5 for size in self.slopes[0].shape)
            along = between(noise.at_slices, np.arange(count)) @ noise.strength.reshape(
                len(noise.strength), -1
            )
            along = along.reshape(count, *noise.strength.shape[1:])
            self.noise = between(noise.at_rows, rows) @ along @ between(noise.at_columns, columns).T
        spacing = np.clip(acquisition.spacing, *_SPACINGS)
        ratio = np.clip(acquisition.thickness / acquisition.spacing, *_RATIOS)
        self.constant = np.array([np.log(spacing / 3), ratio - 1.5], np.float32)

    def at(self, index: int, plane: np.ndarray) -> np.ndarray:
        """Features of thin slice `index`, which is `plane` (rows, columns): (10, rows / 2, columns / 2)."""
        plane = np.asarray(plane, np.float32)
        straight = _mixed(self.thick, self.to_thin[index])
        departure = _smooth(halved(np.abs(plane - straight)))
        magnitudes = (
            _mixed(self.gaps, self.to_gaps[index]),
            _mixed(self.bends, self.to_bends[index]),
            _mixed(self.slopes, self.to_thin[index]),
            departure,
        )
        noise = np.maximum(_mixed(self.noise, self.to_thin[index]), _LEAST_NOISE)
        features = np.empty((FEATURES, *noise.shape), np.float32)
        # Errors grow in proportion to what they come from: the regression sees multiples of the noise.
        for row, magnitude in zip(features, magnitudes, strict=False):
            np.log(magnitude / noise + 0.3, out=row)
        np.log(noise, out=features[4])
        features[5] = 4 * self.distance[index] - 1
        features[6:LEVEL] = self.constant[:, None, None]
        features[LEVEL] = _smooth(halved(plane))
        # Rounding leaves traces of other slices in the weights.
        around = np.flatnonzero(self.to_thin[index] > 1e-5)
        np.maximum.reduce([self.brightest[slice_] for slice_ in around], out=features[LEVEL + 1])
        features[LEVEL:] = np.clip(features[LEVEL:], *_LEVELS) / LEVEL_UNIT
        return features


def expected_error(
    thin: np.ndarray,
    thick: np.ndarray,
    acquisition: Acquisition,
    target_spacing: float,
    method: str,
    monitor: Monitor,
) -> np.ndarray:
    """Expected absolute error of each thin voxel.

    Parameters
    ----------
    thin, thick : ndarray, shape (N, rows, columns) and (M, rows, columns)
        The result and the thick slices it was made from, HU.
    acquisition : Acquisition
        How the thick slices were made.
    target_spacing : float
        Spacing of the thin slices, mm.
    method : str
        One of `METHODS`.

    Returns
    -------
    ndarray, shape (N, rows, columns), int16
        HU; the same for each 2 x 2 pixels.
    """
    features = ErrorFeatures(thick, acquisition, len(thin), target_spacing)
    result = np.empty(thin.shape, np.int16)
    rows, columns = thin.shape[1:]
    for index, plane in enumerate(thin):
        expected = predict(features.at(index, plane), COEFFICIENTS[method])
        result[index] = np.rint(expected).astype(np.int16).repeat(2, 0).repeat(2, 1)[:rows, :columns]
        monitor.step("expected error", index + 1, len(thin))
    return result


# Tissues by the HU of the result.
_TISSUES = {"lung": (-1000, -500), "soft tissue": (-200, 250), "bone and contrast": (250, 3000)}


def mean_by_tissue(error: np.ndarray, thin: np.ndarray) -> dict[str, float]:
    """Mean expected error of the tissues that there are, HU; of every second row and column."""
    totals = {tissue: np.zeros(2) for tissue in _TISSUES}
    for errors, plane in zip(error, thin, strict=True):
        errors, plane = errors[::2, ::2], plane[::2, ::2]
        for tissue, (low, high) in _TISSUES.items():
            there = errors[(plane > low) & (plane <= high)]
            totals[tissue] += there.sum(dtype=float), there.size
    return {tissue: round(float(total / n), 1) for tissue, (total, n) in totals.items() if n}


def in_words(means: dict[str, float]) -> str:
    """The means of :func:`mean_by_tissue` in one line, "expected error: lung 18 HU, soft tissue 12 HU"."""
    return "expected error: " + ", ".join(f"{tissue} {mean:.0f} HU" for tissue, mean in means.items())


def predict(features: np.ndarray, coefficients: dict) -> np.ndarray:
    """The regression: one hidden layer; its output is the logarithm of the error in multiples of noise."""
    weights = {name: np.asarray(values, np.float32) for name, values in coefficients.items()}
    flat = features.reshape(FEATURES, -1)
    relative = np.delete(flat, NOISE, axis=0)
    hidden = weights["hidden"] @ relative
    hidden += weights["offset"][:, None]
    np.maximum(hidden, 0.0, out=hidden)
    logarithm = weights["output"] @ hidden + weights["direct"] @ relative + weights["constant"]
    logarithm += flat[NOISE]
    return np.exp(np.clip(logarithm, *LOGARITHMS)).reshape(features.shape[1:])


def halved(plane: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels, the last row and column repeated where their number is odd."""
    if plane.shape[0] % 2 or plane.shape[1] % 2:
        plane = np.pad(plane, [(0, size % 2) for size in plane.shape], mode="edge")
    rows = plane[::2] + plane[1::2]
    return 0.25 * (rows[:, ::2] + rows[:, 1::2])


def _smooth(plane: np.ndarray) -> np.ndarray:
    return uniform_filter(plane, 3)


def _slope(level: np.ndarray) -> np.ndarray:
    """Steepness in-plane, HU over two pixels."""
    return np.hypot(*np.gradient(level))


def _mixed(planes, weights: np.ndarray) -> np.ndarray:
    """Weighted sum of those planes that have a weight."""
    used = np.flatnonzero(weights)
    return sum(np.float32(weights[index]) * planes[index] for index in used)
