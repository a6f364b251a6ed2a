"""Vessels and airways in a block of lung tissue with noise, thin slices of 1 mm: all sizes are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ThickToThinSRLib.volume import Volume

PIXEL, STEP = 0.7, 1.0  # mm
CELL = 18.0  # mm of the block for each tube
LENGTH = 14.0  # mm
LUNG_HU, BLOOD_HU, AIR_HU = -860.0, 40.0, -1000.0
_FINE = 4


@dataclass(frozen=True)
class Tube:
    """A vessel, or an airway if it has a lumen.

    Attributes
    ----------
    diameter, lumen : float
        Outer and inner diameter, mm.
    tilt : float
        Angle to the slices' normal, degrees.
    """

    diameter: float
    lumen: float
    tilt: float


def tubes() -> list[Tube]:
    """Vessels of 2 to 6 mm and airways of 4 to 9 mm with walls of 1 to 1.5 mm, at three tilts."""
    vessels = [Tube(diameter, 0.0, tilt) for diameter in (2.0, 3.0, 4.5, 6.0) for tilt in (0, 45, 90)]
    sizes = ((4.0, 2.0), (6.0, 4.0), (9.0, 6.0), (6.0, 3.0))
    return vessels + [Tube(*size, tilt) for size in sizes for tilt in (0, 45, 90)]


def block(seed: int = 0, noise: float = 15.0) -> tuple[Volume, list[tuple[Tube, tuple[slice, ...]]]]:
    """The scan, and where each tube lies; positions between the slices are random."""
    rng = np.random.default_rng(seed)
    found = [tube for tube in tubes() for _ in range(2)]
    across = int(CELL / PIXEL)
    side = int(np.ceil(np.sqrt(len(found))))
    count = 36
    voxels = gaussian_filter(rng.standard_normal((count, side * across, side * across)), [0.4, 0.7, 0.7])
    voxels = LUNG_HU + noise / voxels.std() * voxels.astype(np.float32)
    placed = []
    for number, tube in enumerate(found):
        row, column = (part * across for part in divmod(number, side))
        box = (slice(10, count - 10), slice(row, row + across), slice(column, column + across))
        azimuth = rng.uniform(0, 2 * np.pi)
        tilt = np.deg2rad(tube.tilt)
        along = (np.cos(tilt), np.sin(tilt) * np.sin(azimuth), np.sin(tilt) * np.cos(azimuth))
        shape = (count - 20, across, across)
        outer, inner = _shares(tube, shape, np.array(along), rng.uniform(-0.5, 0.5, 3))
        change = (BLOOD_HU - LUNG_HU) * (outer - inner) + (AIR_HU - LUNG_HU) * inner
        voxels[box] += gaussian_filter(change, [0, 1.1 / 2.355 / PIXEL, 1.1 / 2.355 / PIXEL])
        placed.append((tube, box))
    volume = Volume(np.rint(voxels).astype(np.int16), (PIXEL, PIXEL, STEP), slice_axis=2, thickness=STEP)
    return volume, placed


def _shares(tube: Tube, shape, along: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of each voxel inside the outer and the inner surface of a tube of `LENGTH` mm."""
    offsets = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    axes = [
        ((np.arange(size)[:, None] + offsets).ravel() - 0.5 * (size - 1) - moved) * step
        for size, moved, step in zip(shape, shift, (STEP, PIXEL, PIXEL), strict=True)
    ]
    place = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    lengthwise = np.tensordot(along.astype(np.float32), place, axes=1)
    radius = np.sqrt(np.maximum(np.square(place).sum(axis=0) - lengthwise**2, 0.0))
    within = np.abs(lengthwise) <= 0.5 * LENGTH
    split = [size for count in shape for size in (count, _FINE)]
    return tuple(
        (within & (radius <= 0.5 * diameter)).astype(np.float32).reshape(split).mean(axis=(1, 3, 5))
        for diameter in (tube.diameter, tube.lumen)
    )
