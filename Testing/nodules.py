"""Nodules planted into thin scans of the phantom: where they are, how large and how dense is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from ThickToThinSRLib.volume import Volume

_FINE = 5  # subdivisions of a voxel along each axis
_LUNG_HU = -860.0


@dataclass(frozen=True)
class Planted:
    """A ball in the lung.

    Attributes
    ----------
    centre : 3 floats
        Index coordinates (z, y, x); need not be whole.
    diameter : float
        mm.
    hu : float
        Of the ball.
    """

    centre: tuple[float, float, float]
    diameter: float
    hu: float

    def box(self, volume: Volume, margin: float) -> tuple[slice, ...]:
        """Voxels within `margin` mm of the ball's surface."""
        reach = 0.5 * self.diameter + margin
        return tuple(
            slice(max(0, int(c - reach / step)), min(size, int(c + reach / step) + 2))
            for c, step, size in zip(self.centre, volume.spacing[::-1], volume.voxels.shape, strict=True)
        )

    def cover(self, volume: Volume, box: tuple[slice, ...]) -> np.ndarray:
        """Share of each voxel of a box that lies in the ball."""
        offsets = (np.arange(_FINE) + 0.5) / _FINE - 0.5
        axes = [
            ((np.arange(part.start, part.stop)[:, None] + offsets).ravel() - c) * step
            for part, c, step in zip(box, self.centre, volume.spacing[::-1], strict=True)
        ]
        z, y, x = np.meshgrid(*axes, indexing="ij")
        inside = (z**2 + y**2 + x**2 <= (0.5 * self.diameter) ** 2).astype(np.float32)
        shape = [size for part in box for size in (part.stop - part.start, _FINE)]
        return inside.reshape(shape).mean(axis=(1, 3, 5))


def plant(volume: Volume, nodules: list[Planted], kernel: float = 1.1) -> Volume:
    """A copy with nodules, blurred in-plane as the scan's anatomy is (full width `kernel` mm)."""
    voxels = volume.voxels.astype(np.float32)
    sigma = [0.0, *(kernel / 2.355 / step for step in volume.spacing[1::-1])]
    for nodule in nodules:
        box = nodule.box(volume, 5.0)
        voxels[box] += (nodule.hu - _LUNG_HU) * gaussian_filter(nodule.cover(volume, box), sigma)
    return replace(volume, voxels=np.rint(voxels).astype(np.int16))


def free_places(
    volume: Volume, lung: np.ndarray, clear: float, margin: tuple[int, int, int], number: int, seed: int
) -> list[np.ndarray]:
    """Random centres (z, y, x), not whole, `clear` mm from vessels and walls, `margin` voxels from the ends.

    Places can lie close to each other: where the lung is full of vessels, few are free.
    """
    smooth = gaussian_filter(volume.voxels.astype(np.float32), [0.7 / s for s in volume.spacing[::-1]])
    room = distance_transform_edt(lung & (smooth < -750), sampling=volume.spacing[::-1])
    inner = np.zeros_like(lung)
    inner[tuple(slice(m, -m) for m in margin)] = True
    candidates = np.argwhere((room >= clear) & inner)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(candidates), size=number)
    return list(candidates[chosen] + rng.uniform(-0.5, 0.5, (number, 3)))
