"""Blocks of smooth bodies with sharp edges and hardly any noise, as no scan shows them.

Scans teach a network what is likely in noise and with the edges of their kernels. From scans alone,
`universal` draws a bright rim along the diaphragm of a phantom, and rings for vessels that cross slices.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from .universal_pairs import Block

_BACKGROUNDS = (-870.0, -870.0, -100.0, 45.0)  # HU: lung, fat, muscle
# HU of large bodies (lung, fat, organs), and of small ones and tubes (air, lung, vessels, bone too).
_LARGE_HU = (-870.0, -870.0, -100.0, 20.0, 45.0, 60.0)
_SMALL_HU = (-1000.0, -870.0, -870.0, -100.0, 45.0, 45.0, 60.0, 120.0, 200.0, 400.0, 900.0)
# Numbers of large bodies, of small ones and of tubes in a block, at most.
_LARGE, _SMALL, _TUBES = 4, 12, 14


def draw_shapes(generator: np.random.Generator, length: float, side: int) -> Block:
    """Random bodies and tubes in lung, fat or muscle.

    Parameters
    ----------
    generator : Generator
        Source of randomness.
    length : float
        Extent along the slice axis, mm.
    side : int
        Rows and columns, pixels.
    """
    step, pixel = generator.uniform(0.7, 1.1), generator.uniform(0.6, 1.0)
    count = int(np.ceil(length / step)) + 1
    places = np.meshgrid(
        (np.arange(count) - (count - 1) / 2) * step,
        *[(np.arange(side) - (side - 1) / 2) * pixel] * 2,
        indexing="ij",
        sparse=True,
    )
    half = np.array([count * step, side * pixel, side * pixel]) / 2
    voxels = np.full((count, side, side), generator.choice(_BACKGROUNDS), np.float32)
    for most, sizes, tissues in ((_LARGE, (25.0, 150.0), _LARGE_HU), (_SMALL, (1.5, 25.0), _SMALL_HU)):
        for _ in range(generator.integers(1, most + 1)):
            radii = np.exp(generator.uniform(*np.log(sizes))) * generator.uniform(0.6, 1.6, 3)
            surface = _ellipsoid(places, generator.uniform(-half, half), radii, _turned(generator))
            _paint(voxels, surface / step, generator.choice(tissues), generator)
    for _ in range(generator.integers(1, _TUBES + 1)):
        radius = np.exp(generator.uniform(*np.log((0.7, 9.0))))
        surface = _tube(places, generator.uniform(-half, half), _turned(generator)[0], radius)
        _paint(voxels, surface / step, generator.choice(_SMALL_HU), generator)
    blur = generator.uniform(0.0, 0.9)  # of the kernel, in pixels
    voxels = gaussian_filter(voxels, (0.0, blur, blur))
    voxels += np.float32(generator.uniform(0, 4)) * generator.standard_normal(voxels.shape, dtype=np.float32)
    return Block(voxels, -(count - 1) / 2 * step, step, pixel)


def _turned(generator: np.random.Generator) -> np.ndarray:
    """A random rotation."""
    return np.linalg.qr(generator.normal(size=(3, 3)))[0]


def _paint(voxels: np.ndarray, surface: np.ndarray, tissue: float, generator: np.random.Generator) -> None:
    """Fill a body, given the distance from its surface in voxels (negative inside); edges are averaged."""
    share = np.clip(0.5 - surface, 0.0, 1.0).astype(np.float32)
    voxels += share * (np.float32(tissue + generator.normal(0, 15)) - voxels)


def _ellipsoid(places, centre, radii, rotation) -> np.ndarray:
    """Distance from the surface of an ellipsoid, about."""
    shifted = [place - middle for place, middle in zip(places, centre, strict=True)]
    scaled = [
        sum(row * axis for row, axis in zip(rotation[k], shifted, strict=True)) / radii[k] for k in range(3)
    ]
    level = np.sqrt(sum(np.square(one) for one in scaled)) + 1e-6
    slope = np.sqrt(sum(np.square(one / radius) for one, radius in zip(scaled, radii, strict=True))) + 1e-6
    return (level - 1) * level / slope


def _tube(places, centre, direction, radius) -> np.ndarray:
    """Distance from the surface of an endless tube."""
    shifted = [place - middle for place, middle in zip(places, centre, strict=True)]
    along = sum(part * axis for part, axis in zip(direction, shifted, strict=True))
    return np.sqrt(np.maximum(sum(np.square(one) for one in shifted) - along**2, 0)) - radius
