"""The spine from C6 to L3: vertebral bodies, discs, spinal canal and posterior elements."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from .grid import Grid, lay_bone
from .noise import Section
from .tubes import TubeLayer, Tubes

_PITCH = (
    16,
    17,
    18,
    19.5,
    20.5,
    21,
    21.5,
    22,
    22.5,
    23,
    24,
    25,
    26,
    27,
    29,
    31,
    32,
)  # C6, C7, T1 .. T12, L1 ..
# Front-to-back position y of the vertebral bodies by height z, mm.
_CURVE_Z = (-290, -220, -160, -110, -60, -10, 40, 80, 110, 140, 190)
_CURVE_Y = (44, 49, 55, 60, 61, 56, 44, 28, 14, 2, -6)


class Spine:
    """Positions of one person's vertebrae.

    Attributes
    ----------
    levels : ndarray, shape (17,)
        Height z of the vertebral centres from C6 downwards, mm; T1 has index 2.
    half : ndarray, shape (17,)
        Half the distance between the discs of each vertebra, mm.
    """

    def __init__(self, rng: np.random.Generator):
        pitch = np.array(_PITCH) * rng.uniform(0.97, 1.03)
        below = np.concatenate([[0.0], np.cumsum(0.5 * (pitch[:-1] + pitch[1:]))])
        self.levels = -12.0 + rng.uniform(-4, 4) + below[6] - below  # the carina lies at T5
        self.half = pitch / 2
        bend = rng.normal(0, 1.5, len(_CURVE_Z))
        self._y = PchipInterpolator(_CURVE_Z, np.array(_CURVE_Y) + rng.uniform(-2, 2))
        self._x = PchipInterpolator(_CURVE_Z, np.convolve(bend, (0.3, 0.4, 0.3), "same"))
        self.contrast = rng.uniform(0.8, 1.2)

    def centre(self, z) -> tuple:
        """Position (x, y) in mm of the middle of the vertebral bodies at height `z`."""
        return self._x(z), self._y(z)

    def size(self, z: float) -> tuple[float, float]:
        """Half width and half depth of the vertebral bodies at height `z`, mm."""
        return (
            float(np.interp(z, (-250, -150, -60, 60, 110), (22, 19, 15.5, 15, 14))),
            float(np.interp(z, (-250, -150, -60, 60, 110), (16, 15.5, 14.5, 10, 8.5))),
        )

    def posterior(self) -> Tubes:
        """Pedicles, laminae, and articular, transverse and spinous processes as tubes."""
        parts = []
        for level, half in zip(self.levels, self.half, strict=True):
            cx, cy = (float(value) for value in self.centre(level))
            _, depth = self.size(level)
            tilt = float(self._y.derivative()(level))
            drop = float(np.interp(level, (-230, -150, -100, 20, 70, 110), (4, 12, 24, 24, 14, 6)))

            def bone(points, radii, cx=cx, cy=cy, depth=depth, tilt=tilt, level=level):
                points = np.array(points, float)
                shifted = np.stack(
                    [
                        cx + points[:, 0],
                        cy + depth + points[:, 1],
                        level + points[:, 2] - tilt * points[:, 1],
                    ],
                    1,
                )
                parts.append(Tubes.along(shifted, radii))

            for side in (-1, 1):
                for up in (1.0, 5.0):
                    bone([(11.5 * side, -3, up), (12.5 * side, 12, up)], (3.6, 3.0))
                bone(
                    [(12 * side, 15, -0.85 * half), (12 * side, 13, 0), (13 * side, 12, 0.95 * half)],
                    (4.2, 3.6, 3.8),
                )
                for up in np.arange(-9.0, 3.5, 2.2):
                    bone([(13 * side, 14, up), (6 * side, 20, up - 2), (0, 23.5, up - 4)], (2.6, 2.4, 2.8))
                bone([(13 * side, 14, 2), (22 * side, 18, 4), (31 * side, 23, 6)], (3.8, 3.3, 4.6))
            for offset in (0.0, 2.5, 5.0, 7.5):
                bone([(0, 23, -4 - offset), (0, 32, -5 - offset - 0.5 * drop), (0, 41, -7 - offset - drop)],
                     (2.6, 2.0, 2.9))  # fmt: skip
        return Tubes.join(parts)


class SpinePainter:
    """Draws a :class:`Spine` on sections of one grid."""

    def __init__(self, spine: Spine, textures: dict[str, Section], grid: Grid):
        self.spine, self.grid = spine, grid
        self.fine, self.middle = textures["fine"], textures["middle"]
        self.arches = TubeLayer(spine.posterior(), grid, reach=grid.edge)

    def paint(self, hu: np.ndarray, z: float) -> None:
        """Draw discs, vertebral bodies, canal and arches at height `z`, in place."""
        grid = self.grid
        cx, cy = (float(value) for value in self.spine.centre(z))
        box = grid.box(cx - 50, cx + 50, cy - 30, cy + 90)
        part = hu[box]
        x, y = grid.sub(box)
        x, y = x - np.float32(cx), y - np.float32(cy)
        grain = self.fine(z, box)
        cover_arch = self.arches.distance(z)
        self._canal(part, x, y, z)
        lay_bone(grid, hu, cover_arch, 1.1, (200.0 + 70.0 * self.fine(z)), (slice(None), slice(None)))
        self._column(part, x, y, z, grain)

    def _canal(self, part, x, y, z):
        depth = self.spine.size(z)[1]
        form = np.sqrt((x / 11.0) ** 2 + ((y - depth - 10.5) / 9.5) ** 2)
        self.grid.lay(part, -60.0, (form - 1) * 9.0)
        self.grid.lay(part, 14.0, (np.sqrt((x / 9.0) ** 2 + ((y - depth - 9.0) / 7.6) ** 2) - 1) * 7.5)
        self.grid.lay(part, 38.0, (np.sqrt((x / 5.4) ** 2 + ((y - depth - 9.0) / 4.0) ** 2) - 1) * 4.5)

    def _column(self, part, x, y, z, grain):
        grid, spine = self.grid, self.spine
        wide, deep = spine.size(z)
        tilt = float(spine._y.derivative()(z))
        # Vertebral bodies are perpendicular to the curved spine, so their height changes from front to back.
        height = np.float32(z) + np.float32(tilt) * y
        nearest = np.abs(height[..., None] - spine.levels).argmin(axis=-1)
        half = spine.half[nearest].astype(np.float32)
        up = height - spine.levels[nearest].astype(np.float32)
        body = half - 2.3
        waist = 1 - 0.09 * (1 - np.clip(np.abs(up) / body, 0, 1) ** 2)
        notch = 3.0 * np.exp(-((x / 8.0) ** 2)) * np.clip(y / deep, 0, 1)
        form = (np.abs(x / (wide * waist)) ** 2.4 + np.abs((y + notch) / (deep * waist)) ** 2.4) ** (1 / 2.4)
        around = (form - 1) * 0.5 * (wide + deep)
        grid.lay(part, 80.0, np.maximum(around - 0.3, np.abs(up) - half))
        # End plates are slightly concave with raised rims.
        end = np.abs(up) - body + 1.0 * np.clip(1 - form, 0, 1)
        d = np.maximum(around, end)
        grid.lay(part, 620.0, d)
        d_core = np.maximum(around + 0.9, end + 1.0)
        basivertebral = 60.0 * np.exp(-((x / 2.5) ** 2) - (up / 2.5) ** 2) * (y > -2)
        grid.lay(part, spine.contrast * 185.0 + 62.0 * grain - basivertebral, d_core)
