"""Random fields fixed in patient coordinates: tissue texture and quantum noise."""

from __future__ import annotations

import numpy as np
from scipy import fft

from .grid import Grid


class Texture:
    """A smooth, periodic random field with mean 0 and standard deviation 1, fixed in patient coordinates.

    It is a sum of cubic B-splines on a lattice of random numbers. Being separable, a whole section costs two
    small matrix products.

    Parameters
    ----------
    rng : numpy.random.Generator
    grain : float
        Lattice constant, mm; the structures are about twice as wide.
    nodes : int
        Lattice points per axis; the field repeats after ``grain * nodes`` mm.
    """

    def __init__(self, rng: np.random.Generator, grain: float, nodes: int = 48):
        self.grain, self.nodes = grain, nodes
        # Cubic B-spline weights times unit white noise have a mean variance of (151 / 315)^3.
        self.lattice = (rng.standard_normal((nodes,) * 3) * (315 / 151) ** 1.5).astype(np.float32)

    def weights(self, positions: np.ndarray) -> np.ndarray:
        """Matrix (positions, nodes) that evaluates the field along one axis, at positions in mm."""
        scaled = np.asarray(positions, np.float64) / self.grain
        cell = np.floor(scaled).astype(int)
        t = scaled - cell
        parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        matrix = np.zeros((len(scaled), self.nodes), np.float32)
        for offset, part in enumerate(parts):
            np.add.at(matrix, (np.arange(len(scaled)), (cell + offset - 1) % self.nodes), part / 6)
        return matrix

    def on(self, grid: Grid) -> Section:
        """The field prepared for sections on `grid`."""
        return Section(self, grid)


class Section:
    """A :class:`Texture` on one grid; call it with a height z in mm for an array of shape (y, x)."""

    def __init__(self, texture: Texture, grid: Grid):
        self.texture = texture
        self.rows = texture.weights(grid.y)
        self.columns = texture.weights(grid.x).T.copy()
        self._z, self._plane = None, None

    def __call__(self, z: float, box: tuple[slice, slice] = (slice(None), slice(None))) -> np.ndarray:
        if z != self._z:  # the painters request the same height one after the other
            lattice = np.tensordot(self.texture.weights(np.array([z]))[0], self.texture.lattice, axes=1)
            self._z, self._plane = z, (self.rows @ lattice) @ self.columns
        return self._plane[box]


class QuantumNoise:
    """Quantum noise of a scan, fixed in patient coordinates: slices of any spacing and thickness share it.

    White noise is drawn in cells `step` mm thick, on a periodic in-plane lattice of `pitch` mm. The noise of
    a slice is the weighted mean of its cells, filtered in-plane as in filtered back-projection (power rises
    with frequency and is cut off by the reconstruction kernel), interpolated to the grid and attenuated
    towards the body surface, where the rays pass through less tissue. All steps are linear, so averaging thin
    slices gives exactly the noise of the thick slice.

    Parameters
    ----------
    seed : int
        Random seed.
    sigma : float
        Standard deviation in HU, for a 1 mm slice in the middle of the body.
    fwhm : float
        In-plane full width at half maximum of the reconstruction kernel, mm.
    step : float
        Thickness of the cells, mm.
    """

    pitch, size = 0.5, 768

    def __init__(self, seed: int, sigma: float, fwhm: float, step: float, grid: Grid):
        self.seed = seed
        frequency = np.hypot(
            fft.fftfreq(self.size, self.pitch)[:, None], fft.rfftfreq(self.size, self.pitch)[None]
        )
        blur = np.exp(-((np.pi * frequency * fwhm) ** 2) / (4 * np.log(2)))
        shape = np.sqrt(frequency + 0.02) * blur
        power = 2 * (shape**2).sum() - (shape[:, 0] ** 2).sum() - (shape[:, -1] ** 2).sum()
        gain = sigma / np.sqrt(step * power / self.size**2)
        self.filter = (shape * gain).astype(np.float32)
        self.rows = _interpolation(grid.y / self.pitch, self.size)
        self.columns = _interpolation(grid.x / self.pitch, self.size)
        self.rim = (0.35 + 0.65 * np.exp(-((grid.rho / 160.0) ** 4))).astype(np.float32)

    def cell(self, index: int) -> np.ndarray:
        """White noise of one cell along z, shape (size, size), float32."""
        rng = np.random.default_rng([self.seed, 77, index + 2**20])
        return rng.standard_normal((self.size, self.size), np.float32)

    def colour(self, white: np.ndarray) -> np.ndarray:
        """Noise of a slice on the grid, HU (y, x), from the weighted mean of the white noise of its cells."""
        plane = fft.irfft2(fft.rfft2(white) * self.filter, s=white.shape)
        plane = sum(plane[index] * weight[:, None] for index, weight in self.rows)
        return sum(plane[:, index] * weight for index, weight in self.columns) * self.rim


def _interpolation(positions: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices and weights of cubic convolution (Keys 1981) on a periodic axis.

    Linear interpolation would attenuate the noise more.
    """
    lower = np.floor(positions)
    t = (positions - lower).astype(np.float32)
    weights = (
        -0.5 * t**3 + t**2 - 0.5 * t,
        1.5 * t**3 - 2.5 * t**2 + 1,
        -1.5 * t**3 + 2 * t**2 + 0.5 * t,
        0.5 * t**3 - 0.5 * t**2,
    )
    return [((lower.astype(int) + offset - 1) % size, weight) for offset, weight in enumerate(weights)]
