"""CT scan of the phantom: slice profile, reconstruction kernel and noise applied to the anatomy."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from ..acquisition import Acquisition, sampling_matrix
from ..errors import UserError
from ..volume import Volume
from .grid import Grid
from .noise import QuantumNoise
from .person import SectionPainter, anatomy

CELL = 0.5  # mm along z: anatomy and noise are evaluated once per cell and averaged to slices
Z_LIMITS = (-240.0, 130.0)  # mm: lowest and highest slice centre that the anatomy supports


def thorax(
    spacing: tuple[float, float, float] = (0.7, 0.7, 1.0),
    thickness: float | None = None,
    seed: int = 0,
    *,
    size_mm: tuple[float, float] = (358.4, 358.4),
    z_range: tuple[float, float] = (-180.0, 105.0),
    noise: float = 15.0,
    kernel: float = 1.1,
) -> Volume:
    """Make a CT scan of the digital thorax phantom.

    All scans with the same seed show the same person with the same noise, and anatomy and noise are both
    averaged over a box-shaped slice profile. Thin and thick slices therefore form exact pairs: the mean of
    five contiguous 1 mm slices is the 5 mm slice at the same centre. For thick slices with another slice
    profile, simulate them from a thin scan (:func:`ThickToThinSRLib.acquisition.simulate`).

    Parameters
    ----------
    spacing : 3 floats
        Pixel size (x, y) and distance of slice centres, mm.
    thickness : float, optional
        Slice thickness, mm; equal to the slice spacing by default.
    seed : int
        Random seed of the person (size, shape, vessels, airways, nodules) and of the noise; 0 or larger.
    size_mm : 2 floats
        Field of view (x, y) in mm.
    z_range : 2 floats
        Height of the first slice centre and upper limit of the last one, mm above the carina, both within
        -240 to 130 mm. The body continues beyond both ends.
    noise : float
        Standard deviation of the noise in HU, for a 1 mm slice in the middle of the body; 0 for none.
    kernel : float
        In-plane full width at half maximum of the reconstruction kernel, mm: about 0.7 sharp, 1.1 standard,
        1.6 soft.

    Returns
    -------
    Volume
        int16, HU; index axes along LPS, x = 0 in the midline, z = 0 at the carina.

    Raises
    ------
    UserError
        If a number is out of range.

    Examples
    --------
    >>> thick = thorax((2.0, 2.0, 5.0), z_range=(-20.0, 0.0))
    >>> thick.voxels.shape, thick.thickness
    ((5, 179, 179), 5.0)
    """
    thickness = spacing[2] if thickness is None else thickness
    acquisition = Acquisition(thickness, spacing[2])
    x, y = _pixels(spacing, size_mm)
    grid = Grid(x, y)
    _check(seed, z_range, noise, kernel)
    count = math.floor((z_range[1] - z_range[0]) / spacing[2] + 1e-6) + 1
    quantum = QuantumNoise(seed, noise, kernel, CELL, grid) if noise else None
    cells = _Cells(SectionPainter(anatomy(seed), grid), quantum)
    voxels = np.empty((count, *grid.shape), np.int16)
    for number in range(count):
        plane = cells.slice(z_range[0] + number * spacing[2], acquisition, kernel)
        voxels[number] = np.rint(plane)
    origin = (float(x[0]), float(y[0]), float(z_range[0]))
    return Volume(voxels, tuple(spacing), origin, np.eye(3), slice_axis=2, thickness=thickness)


def _pixels(spacing, size_mm) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres x and y in mm, centred on the body."""
    if not all(math.isfinite(step) and step > 0 for step in spacing[:2]):
        raise UserError(f"the pixel spacing must be two positive numbers of mm, not {tuple(spacing[:2])}")
    count = [math.floor(extent / step + 1e-6) for extent, step in zip(size_mm, spacing[:2], strict=True)]
    if min(count) < 8:
        raise UserError(f"the field of view must be at least 8 pixels wide, not {tuple(size_mm)} mm")
    centred = [(np.arange(n) - 0.5 * (n - 1)) * step for n, step in zip(count, spacing[:2], strict=True)]
    return centred[0], centred[1] + 8.0


def _check(seed: int, z_range, noise: float, kernel: float) -> None:
    if seed != int(seed) or seed < 0:
        raise UserError(f"the seed must be a whole number of 0 or more, not {seed}")
    if not (math.isfinite(noise) and noise >= 0):
        raise UserError(f"the noise must be a finite number of 0 HU or more, not {noise}")
    if not (math.isfinite(kernel) and kernel > 0):
        raise UserError(f"the kernel's width must be a positive number of mm, not {kernel}")
    if not (Z_LIMITS[0] <= z_range[0] <= z_range[1] <= Z_LIMITS[1]):
        raise UserError(
            f"z_range must lie between {Z_LIMITS[0]:g} and {Z_LIMITS[1]:g} mm, lower end first, "
            f"not {tuple(z_range)}"
        )


class _Cells:
    """Cells along z: computed when first needed and cached for the following slices.

    Cell `index` covers the heights from ``CELL * index`` to ``CELL * (index + 1)``.
    """

    def __init__(self, painter: SectionPainter, noise: QuantumNoise | None):
        self.painter, self.noise = painter, noise
        # Cell index to the section's HU and its white noise.
        self.cache: dict[int, tuple[np.ndarray, np.ndarray | float]] = {}

    def slice(self, z: float, acquisition: Acquisition, kernel: float) -> np.ndarray:
        """HU (y, x) of the slice centred at `z`: weighted mean of the cells, blurred in-plane, with noise."""
        cells, weights = _weights(z, acquisition)
        self.cache = {index: cell for index, cell in self.cache.items() if index >= cells[0]}
        hu = np.zeros(self.painter.grid.shape, np.float32)
        white = np.float32(0.0)
        for index, weight in zip(cells, weights.astype(np.float32), strict=True):
            if index not in self.cache:
                cell_noise = self.noise.cell(index) if self.noise else np.float32(0.0)
                self.cache[index] = self.painter.hu((index + 0.5) * CELL), cell_noise
            section, cell_noise = self.cache[index]
            hu += weight * section
            white = white + weight * cell_noise
        sigma = [kernel / (math.sqrt(8 * math.log(2)) * step) for step in self.painter.grid.pixel[::-1]]
        blurred = gaussian_filter(hu, sigma, mode="nearest")
        return blurred + self.noise.colour(white) if self.noise else blurred


def _weights(z: float, acquisition: Acquisition) -> tuple[range, np.ndarray]:
    """Indices of the cells under the slice profile centred at `z`, and their weights."""
    reach = 1.5 * acquisition.thickness + CELL
    first, last = math.floor((z - reach) / CELL), math.ceil((z + reach) / CELL)
    row = sampling_matrix(acquisition, 1, last - first, CELL, first_thin=(first + 0.5) * CELL - z)[0]
    used = np.flatnonzero(row > 1e-9)
    return range(first + used[0], first + used[-1] + 1), row[used[0] : used[-1] + 1]
