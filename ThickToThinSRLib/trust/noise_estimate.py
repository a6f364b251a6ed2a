"""The noise of CT slices, read from the slices themselves: its strength from place to place, its spectrum.

Anatomy is kept out in two ways. What is looked at is a high-pass residue in small blocks, and of the blocks
around a place those with the weakest residue count: vessels, edges and fine texture only ever add to it. How
far below the mean such a low quantile lies is found by the same estimate on noise of known strength.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

_BLOCK = 16  # pixels
_HIGH_PASS = 0.6  # standard deviation in pixels of the smoothing that is taken away
# Blocks around one that are compared: slices, rows, columns.
_AROUND = (3, 5, 5)
_QUANTILE = 0.1
_MOST_SLICES = 32
_LEAST_HU = 0.3  # weaker residues are padding or rounding
_PATCH = 32
# Share of the patches of soft tissue, the smoothest, that make the spectrum. With more, anatomy is in it, as
# three scans (LIDC-IDRI-0314 and two of FUMPE) showed beside their true thin slices.
_PATCHES = 0.02
_FEWEST_PATCHES = 8
_SOFT = (-200.0, 250.0)  # HU
# Spatial frequencies of a spectrum, cycles a pixel; 0.71 is the corner of the frequency plane.
FREQUENCIES = np.linspace(0.0, 0.72, 25)


@dataclass(frozen=True)
class SliceNoise:
    """The noise of a stack of slices.

    Attributes
    ----------
    spectrum : ndarray, shape (25,)
        Power at `FREQUENCIES`, of any direction in the slice; white noise of strength 1 has 1 everywhere.
    strength : ndarray, shape (slices, rows, columns)
        Standard deviation in HU, at the middles of blocks of pixels of some of the slices.
    at_slices, at_rows, at_columns : ndarray
        Where these are, in slices and pixels.
    """

    spectrum: np.ndarray
    strength: np.ndarray
    at_slices: np.ndarray
    at_rows: np.ndarray
    at_columns: np.ndarray


def estimate_noise(slices: np.ndarray) -> SliceNoise | None:
    """Estimate the noise of slices (M, rows, columns) in HU.

    Returns
    -------
    SliceNoise or None
        None if there is no smooth tissue to read it from.
    """
    count, rows, columns = slices.shape
    if min(rows, columns) < 2 * _PATCH:
        return None
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MOST_SLICES)).round().astype(int))
    spectrum = _spectrum(slices[chosen])
    if spectrum is None:
        return None
    strength = strengths(slices[chosen], spectrum)
    if not np.isfinite(strength).any():
        return None
    filled = np.where(np.isfinite(strength), strength, np.nanmedian(strength))
    middle = 0.5 * (_BLOCK - 1)
    at_rows, at_columns = (np.arange(size) * _BLOCK + middle for size in strength.shape[1:])
    return SliceNoise(spectrum, filled.astype(np.float32), chosen, at_rows, at_columns)


def between(at: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Linear interpolation from values at `at` to `places`, constant beyond: (places, at), float32."""
    return np.stack([np.interp(places, at, unit) for unit in np.eye(len(at))], axis=1).astype(np.float32)


def strengths(slices: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """Noise of blocks of 16 x 16 pixels, HU; not a number where there is none."""
    return _low_quantile(_residues(slices)) / _bias(spectrum)


def noise_amplitude(spectrum: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Filter that makes noise of strength 1, for :func:`scipy.fft.irfft2`: (rows, columns // 2 + 1)."""
    vertical, horizontal = fft.fftfreq(rows)[:, None], fft.fftfreq(columns)[None]
    power = np.interp(np.hypot(vertical, horizontal), FREQUENCIES, spectrum)
    half = np.interp(np.hypot(vertical, fft.rfftfreq(columns)[None]), FREQUENCIES, spectrum)
    return np.sqrt(half / power.mean()).astype(np.float32)


def _spectrum(slices: np.ndarray) -> np.ndarray | None:
    """Mean periodogram of the smoothest patches of soft tissue, over rings of frequency."""
    found = np.concatenate([_detrended_patches(plane) for plane in slices])
    if len(found) < _FEWEST_PATCHES:
        return None
    smoothest = np.argsort(found.var(axis=(1, 2)))[: max(_FEWEST_PATCHES, round(_PATCHES * len(found)))]
    window = np.outer(*[np.hanning(_PATCH + 2)[1:-1]] * 2)
    power = np.square(np.abs(fft.fft2(found[smoothest] * window))).mean(axis=0)
    if not power.max() > 0:
        return None
    frequency = np.hypot(*np.meshgrid(*[fft.fftfreq(_PATCH)] * 2))
    nearest = np.abs(frequency.ravel()[:, None] - FREQUENCIES).argmin(axis=1)
    total = np.bincount(nearest, power.ravel(), minlength=len(FREQUENCIES))
    cells = np.bincount(nearest, minlength=len(FREQUENCIES))
    rings = np.interp(FREQUENCIES, FREQUENCIES[cells > 0], total[cells > 0] / cells[cells > 0])
    return rings / power.mean()


def _detrended_patches(plane: np.ndarray) -> np.ndarray:
    """Patches of soft tissue without their quadratic trend: (n, 32, 32)."""
    rows, columns = (size // _PATCH for size in plane.shape)
    cut = plane[: rows * _PATCH, : columns * _PATCH].astype(np.float32)
    patches = cut.reshape(rows, _PATCH, columns, _PATCH).swapaxes(1, 2).reshape(-1, _PATCH * _PATCH)
    means = patches.mean(axis=1)
    patches = patches[(means > _SOFT[0]) & (means < _SOFT[1])]
    place = np.linspace(-1, 1, _PATCH)
    y, x = (axis.ravel() for axis in np.meshgrid(place, place, indexing="ij"))
    trend = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1))[0]
    trend = trend.astype(np.float32)
    return (patches - (patches @ trend) @ trend.T).reshape(-1, _PATCH, _PATCH)


def _residues(slices: np.ndarray) -> np.ndarray:
    """Median of the absolute high-pass residue in each block, as a standard deviation."""
    found = []
    for plane in slices:
        plane = plane.astype(np.float32)
        residue = np.abs(plane - gaussian_filter(plane, _HIGH_PASS, truncate=3.0))
        rows, columns = (size // _BLOCK for size in plane.shape)
        blocks = residue[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
        found.append(np.median(blocks.swapaxes(1, 2).reshape(rows, columns, -1), axis=-1))
    median = 1.4826 * np.stack(found)
    return np.where(median > _LEAST_HU, median, np.nan)


def _low_quantile(residues: np.ndarray) -> np.ndarray:
    """Low quantile of the blocks around each block, without those that are not numbers."""
    margin = [(size // 2, size // 2) for size in _AROUND]
    padded = np.pad(residues, margin, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, _AROUND).reshape(*residues.shape, -1)
    ordered = np.sort(around, axis=-1)  # what is not a number comes last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    index = np.maximum(np.rint(_QUANTILE * (count - 1)).astype(int), 0)
    return np.take_along_axis(ordered, index, axis=-1)[..., 0]


def _bias(spectrum: np.ndarray) -> float:
    """What the estimate says of noise of this spectrum and of strength 1."""
    size = 8 * _BLOCK
    rng = np.random.default_rng(0)
    white = fft.rfft2(rng.standard_normal((5, size, size), np.float32))
    # Far above the least residue that counts.
    noise = 100 * fft.irfft2(white * noise_amplitude(spectrum, size, size), s=(size, size))
    return float(_low_quantile(_residues(noise))[2, 2:-2, 2:-2].mean() / 100)
