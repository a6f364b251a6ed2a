"""Noise that thin slices would have, synthesised where the thick slices cannot contradict it.

Averaging over a thick slice averages noise away. A thin result made from thick slices is therefore smoother
than a thin slice would be, and measures that count voxels below a threshold come out wrong. The noise w of
thin slices is a random field: in a slice it has the spectrum of the thick slices' noise; from slice to slice
it has the covariance T of thin profiles. What the thick slices hold of it, A w, is in the result already.
The rest is drawn from the distribution of w given A w (conditional simulation, Journel & Huijbregts, Mining
Geostatistics, 1978):

    n = w - T A' (A T A')^-1 A w

Hence A n = 0: averaged over the slice profile, the result still reproduces the input.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import fft

from ..acquisition import Acquisition
from ..interpolation import linear_matrix, slabs
from ..monitor import Monitor
from ..volume import cast
from .noise_estimate import SliceNoise, between, estimate_noise, noise_amplitude, strengths

# Shares of a slice's own noise and of its neighbours': neighbours then correlate by 0.51. In five chest scans
# of four scanners with contiguous slices of 1 and 1.25 mm, and overlapping ones, it was 0.31 to 0.56: the
# profiles of spiral scans reach into the neighbours.
_SHARES = np.array([0.28, np.sqrt(1 - 2 * 0.28**2), 0.28])
# Components of A w that the profile attenuates below this variance, relative to the largest, stay as they
# are; they occur only where the overlap is near half the thickness, and are too weak to matter.
_LEAST_VARIANCE = 1e-5
_THREADS = 2
_COMPARED = 24  # slices of the result whose noise is measured


@dataclass(frozen=True)
class Restored:
    """What was added, for the provenance.

    Attributes
    ----------
    seed : int
    thick_hu, thin_hu : float
        Median strength of the noise of the thick slices, and of slices as thin as the result's, HU.
    added_hu : float
        Of what was added.
    """

    seed: int
    thick_hu: float
    thin_hu: float
    added_hu: float


def restore_noise(
    thin: np.ndarray,
    thick: np.ndarray,
    acquisition: Acquisition,
    target_spacing: float,
    seed: int,
    monitor: Monitor,
) -> Restored | None:
    """Add the noise that thin slices would have, in place.

    Parameters
    ----------
    thin, thick : ndarray, shape (N, rows, columns) and (M, rows, columns)
        Thin slices, overwritten, and the thick slices that they were made from, HU.
    acquisition : Acquisition
        How the thick slices were made.
    target_spacing : float
        Spacing and thickness of the thin slices, mm.
    seed : int
        The same seed gives the same noise.

    Returns
    -------
    Restored or None
        None if the noise of the thick slices cannot be estimated; then nothing is added.
    """
    noise = estimate_noise(thick)
    if noise is None:
        return None
    model = _Model(acquisition, len(thick), len(thin), target_spacing)
    share = _missing_share(thin, noise, model)
    fields = _Fields(noise, thick, model, seed)
    held = np.zeros(thick.shape, np.float32)
    for done, field in enumerate(fields):
        for index in np.flatnonzero(model.matrix[:, done]):
            held[index] += np.float32(model.matrix[index, done]) * field
        monitor.step("noise", done + 1, 2 * len(thin))
    for band in slabs(len(thick), *thick.shape[1:]):
        columns = held[:, band].reshape(len(thick), -1)
        held[:, band] = (model.inverse @ columns).reshape(held[:, band].shape)
    for done, field in enumerate(fields):
        for index in np.flatnonzero(np.abs(model.spread[done]) > 1e-9):
            field -= np.float32(model.spread[done, index]) * held[index]
        field *= share
        _add(thin[done], field)
        monitor.step("noise", len(thin) + done + 1, 2 * len(thin))
    strength = float(np.median(noise.strength))
    added = strength * model.ratio * share * np.sqrt(model.free.mean())
    return Restored(seed, *(round(float(v), 2) for v in (strength, strength * model.ratio, added)))


class _Model:
    """Covariances along the slices, of noise whose strength in a thin slice is 1."""

    def __init__(self, acquisition: Acquisition, thick_slices: int, thin_slices: int, target_spacing: float):
        self.to_slices = linear_matrix(thick_slices, acquisition.spacing, thin_slices, target_spacing)
        self.matrix = acquisition.matrix(thick_slices, thin_slices, target_spacing)
        sharing = sum(share * np.eye(thin_slices, thin_slices + 2, k) for k, share in enumerate(_SHARES))
        thin = sharing @ sharing.T
        self.spread = thin @ self.matrix.T  # T A'
        thick = self.matrix @ self.spread  # A T A'
        self.inverse = np.linalg.pinv(thick, rcond=_LEAST_VARIANCE, hermitian=True).astype(np.float32)
        # Strength of a thin slice's noise relative to that of a thick slice.
        inside = acquisition.inside(thick_slices, thin_slices, target_spacing)
        variances = np.diag(thick)[inside] if inside.any() else np.diag(thick)
        self.ratio = float(1 / np.sqrt(variances.mean()))
        # Variance of n in each thin slice.
        self.free = np.clip(np.diag(thin - self.spread @ self.inverse @ self.spread.T), 0.0, None)


class _Fields:
    """The random fields w of the thin slices, one after the other, the same ones every time."""

    def __init__(self, noise: SliceNoise, thick: np.ndarray, model: _Model, seed: int):
        self.thick, self.seed = thick, seed
        self.to_slices = model.to_slices
        rows, columns = thick.shape[1:]
        self.amplitude = noise_amplitude(noise.spectrum, rows, columns)
        self.rows, self.columns = (
            between(noise.at_rows, np.arange(rows)),
            between(noise.at_columns, np.arange(columns)).T,
        )
        along = between(noise.at_slices, np.arange(len(thick))) @ noise.strength.reshape(
            len(noise.strength), -1
        )
        strength = model.ratio * (self.to_slices @ along)
        self.strength = strength.reshape(-1, *noise.strength.shape[1:]).astype(np.float32)
        self.lowest = thick.min()

    def __iter__(self):
        count = len(self.strength)
        shares = _SHARES.astype(np.float32)
        with ThreadPoolExecutor(_THREADS) as pool:
            whites: list[np.ndarray] = []
            made = 0
            for index in range(count):
                while made < index + len(shares):
                    ahead = range(made, min(made + 4 * _THREADS, count + 2))
                    whites += pool.map(self._coloured, ahead)
                    made = ahead.stop
                field = shares[0] * whites[0]
                for share, white in zip(shares[1:], whites[1:], strict=False):
                    field += share * white
                del whites[0]
                field *= (self.rows @ self.strength[index]) @ self.columns
                field[self._is_padding(index)] = 0.0
                yield field

    def _coloured(self, index: int) -> np.ndarray:
        """Noise of strength 1 with the spectrum of the scan's."""
        rows, half = self.amplitude.shape
        columns = self.columns.shape[1]
        rng = np.random.default_rng([self.seed, index])
        white = rng.standard_normal((rows, 2 * half), np.float32).view(np.complex64)
        # The Fourier transform of white noise of strength 1, but for the few real frequencies.
        white *= self.amplitude * np.float32(np.sqrt(rows * columns / 2))
        return fft.irfft2(white, s=(rows, columns))

    def _is_padding(self, index: int) -> np.ndarray:
        """Where the thick slices around a thin one have their lowest value, which is no measurement."""
        around = np.flatnonzero(self.to_slices[index])
        return (self.thick[around] <= self.lowest).all(axis=0)


def _missing_share(thin: np.ndarray, noise: SliceNoise, model: _Model) -> np.float32:
    """How strong n has to be for the result's noise to become that of thin slices, relative to w.

    A result holds more than the least that A w implies: interpolation carries a slice's noise to its
    neighbours, and sharpening amplifies it.
    """
    chosen = np.unique(np.linspace(0, len(thin) - 1, _COMPARED).round().astype(int))
    along = between(noise.at_slices, np.arange(model.to_slices.shape[1]))
    thick = np.tensordot(model.to_slices[chosen].astype(np.float32) @ along, noise.strength, axes=1)
    ratios = strengths(thin[chosen], noise.spectrum) / thick
    held = float(np.nanmedian(ratios)) ** 2
    missing = (model.ratio**2 - held) / (model.ratio**2 * max(model.free.mean(), 1e-6))
    return np.float32(np.sqrt(np.clip(missing, 0.0, 1.0)))


def _add(slice_: np.ndarray, field: np.ndarray) -> None:
    slice_[...] = cast(slice_ + field, slice_.dtype)
