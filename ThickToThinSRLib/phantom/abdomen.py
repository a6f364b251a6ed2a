"""Diaphragm and upper abdomen: liver, stomach, spleen, fat."""

from __future__ import annotations

import numpy as np

from .grid import Grid, ellipsoid
from .noise import Section
from .trees import grow, tubes
from .tubes import TubeLayer

# Domes of the diaphragm: centre (x, y); half width and half depth; height of the dome above its rim; all in
# mm.
_DOMES = {
    "right": ((-65, 4), (64.5, 95), 84),
    "left": ((66, 4), (62.5, 93), 82),
    "centre": ((12, -30), (64, 66), 60),
}


class Abdomen:
    """Diaphragm and abdominal organs of one person; `wide` and `deep` scale the trunk's width and depth."""

    def __init__(self, rng: np.random.Generator, wide: float, deep: float):
        right = rng.uniform(-102, -88)
        self.tops = {"right": right, "left": right - rng.uniform(6, 16), "centre": right - 19}
        self.wide, self.deep = wide, deep
        sag = right + 95
        self.liver = [
            ((-66 * wide, 4, -166 + sag), (76 * wide, 98 * deep, 80)),
            ((-60 * wide, -20 * deep, -142 + sag), (64 * wide, 80 * deep, 56)),
            ((0, -44 * deep, -148 + sag), (52, 46, 38)),
        ]
        self.spleen = ((92 * wide, 48, -164 + sag), (27, 46, 48))
        self.stomach = ((63, -8, -147 + sag), (47, 58, 50 + rng.uniform(-4, 4)))
        self.air = rng.uniform(-34, -10)
        self.vessels = self._veins(rng)

    def _veins(self, rng: np.random.Generator):
        points = rng.uniform(-1, 1, (900, 3))
        points = points[np.linalg.norm(points, axis=1) < 0.86]
        centre, radii = self.liver[0]
        tree = grow(np.array(centre) + points * radii, (-24, 12, centre[2] + 46), (-0.6, -0.2, -0.6), rng)
        return tubes(tree, np.minimum(0.55 * tree.load ** (1 / 2.5), 5.0), step=6.0)

    def domes(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Height z (y, x) in mm of the diaphragm's upper surface, and the factor from height to distance."""
        x, y = grid.x[None], grid.y[:, None]
        heights = []
        for name, (centre, radii, rise) in _DOMES.items():
            u, v = (
                (x - centre[0] * self.wide) / (radii[0] * self.wide),
                (y - centre[1]) / (radii[1] * self.deep),
            )
            form = np.sqrt(u**2 + v**2)
            dome = np.where(form < 1, np.clip(1 - form**2.3, 0, None) ** 0.62, -1.2 * (form - 1))
            front = np.clip(-v, 0, 1)
            heights.append(self.tops[name] - rise * (1 - 0.6 * front) * (1 - dome) - 0.16 * (y - centre[1]))
        height = 5.0 * np.log(sum(np.exp(h / 5.0 + 25) for h in heights)) - 125.0
        slope_y, slope_x = np.gradient(height, *grid.pixel[::-1])
        return height.astype(np.float32), (1 / np.sqrt(1 + slope_x**2 + slope_y**2)).astype(np.float32)


class AbdomenPainter:
    """Draws an :class:`Abdomen` on sections of one grid."""

    def __init__(self, abdomen: Abdomen, textures: dict[str, Section], grid: Grid):
        self.abdomen, self.grid = abdomen, grid
        self.height, self.factor = abdomen.domes(grid)
        self.middle, self.coarse, self.fine = (textures[name] for name in ("middle", "coarse", "fine"))
        self.veins = TubeLayer(abdomen.vessels, grid, reach=grid.edge)

    def above(self, z: float) -> np.ndarray:
        """Signed distance (y, x) in mm to the space above the diaphragm; negative above it."""
        return (self.height - np.float32(z)) * self.factor

    def paint(self, hu: np.ndarray, z: float, cavity: np.ndarray) -> None:
        """Draw diaphragm and organs at height `z` inside the trunk's cavity, in place."""
        if z > self.height.max() + 2:
            return
        grid, parts = self.grid, self.abdomen
        above = self.above(z)
        under = -above  # negative below the diaphragm
        inner = np.maximum(under, cavity + 2.0)
        grid.lay(hu, -102.0 + 6 * self.middle(z) + 4 * self.coarse(z), inner)
        grid.lay(hu, 48.0, np.maximum(np.abs(above - 1.3) - 1.3, cavity))
        # The liver touches the diaphragm; on the left there is some fat in between.
        inner += np.clip(3.2 + 0.04 * grid.x[None], 1.6, 4.0)
        box = grid.box(-140, 140, -130, 130)
        x, y = grid.sub(box)
        part, room = hu[box], inner[box]
        middle, coarse = self.middle(z, box), self.coarse(z, box)
        wavy = 0.2 * middle + 1.8 * coarse
        spleen = np.maximum(ellipsoid(x, y, z, *parts.spleen) + wavy, room)
        grid.lay(part, 49.0 + 1.5 * middle, spleen)
        self._stomach(hu, z, box, room, spleen)
        lobes = [ellipsoid(x, y, z, *lobe) for lobe in parts.liver]
        liver = -9.0 * np.log(sum(np.exp(np.clip(-d / 9.0, -8, 8)) for d in lobes))
        liver = np.maximum(liver + 0.3 * coarse, room)
        texture = 58.0 + 1.5 * middle + 1.5 * coarse - 15.0 * self.veins.cover(z)[box]
        grid.lay(part, texture, liver)

    def _stomach(self, hu, z, box, room, spleen):
        grid = self.grid
        part, (x, y) = hu[box], grid.sub(box)
        middle, coarse = self.middle(z, box), self.coarse(z, box)
        bag = ellipsoid(x, y, z, *self.abdomen.stomach) + 2.0 * coarse
        bag = np.maximum(np.maximum(bag, room + 1.0), 3.0 - spleen)
        grid.lay(part, 42.0, bag)
        inside = bag + 3.6 + 0.3 * middle
        grid.lay(part, 24.0 + 9.0 * middle + 6.0 * self.fine(z, box), inside)
        grid.lay(part, -985.0, np.maximum(inside, y - self.abdomen.air))
