"""Draws the wall of the trunk: skin, fat, muscle, ribs, sternum, shoulder girdle, and the scanner table."""

from __future__ import annotations

import numpy as np

from .grid import ANGLES, POLAR_Y, Grid, ellipsoid, lay_bone
from .noise import Section
from .tubes import TubeLayer, Tubes
from .wall import RIB_LAYER, Wall, row_at


class WallPainter:
    """Draws a :class:`Wall` on sections of one grid."""

    def __init__(self, wall: Wall, textures: dict[str, Section], grid: Grid):
        self.wall, self.grid = wall, grid
        self.coarse, self.lobule, self.middle, self.fine = (
            textures[name] for name in ("coarse", "lobule", "middle", "fine")
        )
        self.bones = TubeLayer(_clavicles(wall), grid, reach=grid.edge)
        self.axilla = TubeLayer(_axillary_vessels(wall), grid, reach=grid.edge)

    def table(self, hu: np.ndarray) -> None:
        """Draw the scanner's curved table top, two thin shells with foam in between, in place."""
        x, y = self.grid.x[None], self.grid.y[:, None]
        sag = self.wall.table_y - x**2 / 1400.0
        depth = (y - sag) / np.sqrt(1 + (x / 700.0) ** 2)
        across = np.abs(x) - 205.0
        self.grid.lay(hu, -930.0, np.maximum(np.abs(depth - 12.0) - 12.0, across))
        for shell in (1.0, 24.0):
            self.grid.lay(hu, -150.0, np.maximum(np.abs(depth - shell) - 1.0, across))

    def soft(self, z: float, cavity: np.ndarray, skin: np.ndarray) -> np.ndarray:
        """HU (y, x) of skin, fat and muscle; the chest cavity is filled with fat."""
        grid, wall = self.grid, self.wall
        coarse, middle, lobule = self.coarse(z), self.middle(z), self.lobule(z)
        hu = -104.0 + 4.0 * middle + 4.0 * coarse
        # Fine septa in the fat.
        hu += np.clip(1.0 - np.abs(lobule + 0.5 * coarse) / 0.07, 0, 1) * np.float32(20.0)
        self._breast(hu, z, skin, coarse, middle)
        outer = wall.muscle.distance(grid, z) + 0.5 * lobule + 1.4 * coarse
        layer = wall.muscle.radius(z) - wall.cavity.radius(z) - RIB_LAYER
        thickness = np.maximum(layer, 1.0)[grid.angle]
        depth = (cavity - RIB_LAYER) / thickness
        # Above the lungs the neck muscles extend towards the midline.
        inward = max(0.0, 0.6 * (z - 72.0))
        share = grid.cover(np.maximum(outer, -cavity - inward))
        seam = np.zeros(grid.shape, np.float32)
        thick = np.clip(layer / 16.0, 0.0, 1.4)[grid.angle]
        for level, bend in ((0.0, 0.0), (0.36, 3.2), (0.68, -2.6)):
            off = np.abs((depth - level) * thickness - bend * coarse)
            width = thick * np.clip(0.4 + 0.35 * lobule + 0.85 * coarse, 0.0, 2.4)
            seam = np.maximum(seam, np.clip(0.5 + (width - off) / 1.2, 0, 1) * np.clip(2 * width, 0, 0.9))
        share = share * (1 - seam * (cavity > 2.0))
        muscle = 52.0 + 5.0 * middle - 40.0 * np.clip(middle * 0.8 + coarse * 0.5 - 1.1, 0, 1.2)
        hu += (muscle - hu) * share
        self._axillae(hu, z)
        hu += (22.0 - hu) * grid.cover(-(skin + 1.7))
        return hu

    def _breast(self, hu, z, skin, coarse, middle):
        bulge = row_at(self.wall.breast, z)
        if bulge.max() < 6.0:
            return
        depth = bulge[self.grid.angle]
        gland = np.clip(1.4 * middle + 1.1 * coarse - 0.2 + (depth - 14.0) / 9.0, 0, 1)
        hu += (28.0 - hu) * gland * np.clip((-skin - 7.0) / 3.0, 0, 1) * np.clip((depth - 6) / 5, 0, 1)

    def _axillae(self, hu, z):
        grid = self.grid
        if not -20 < z < 110:
            return
        for side in (-1, 1):
            centre = (side * (128 * self.wall.wide - 0.25 * max(z - 30, 0)), -12.0 + 0.1 * z, 38.0)
            box = grid.box(centre[0] - 40, centre[0] + 40, -60, 50)
            x, y = grid.sub(box)
            d = ellipsoid(x, y, z, centre, (24.0, 23.0, 54.0)) + 2.5 * self.lobule(z, box)
            d += 6.0 * self.coarse(z, box)
            hu[box] += (-102.0 - hu[box]) * np.clip(0.5 - d / 2.5, 0, 1)
        grid_cover = self.axilla.cover(z)
        hu += (42.0 - hu) * grid_cover

    def bone(self, hu: np.ndarray, z: float, cavity: np.ndarray) -> None:
        """Draw ribs with cartilage, sternum, scapulae and clavicles, in place."""
        self._intercostal(hu, z, cavity)
        self._rib_layer(hu, z, cavity)
        self._sternum(hu, z, cavity)
        self._scapulae(hu, z, cavity)
        d = self.bones.distance(z)
        lay_bone(self.grid, hu, d, 1.6, 180.0 + 60.0 * self.fine(z), (slice(None), slice(None)))

    def _intercostal(self, hu, z, cavity):
        layer = np.maximum(np.abs(cavity - 5.5) - 4.2, -self.grid.rho + 20)
        self.grid.lay(hu, 38.0 + 9.0 * self.middle(z), layer)

    def _rib_layer(self, hu, z, cavity):
        grid, ribs = self.grid, self.wall.ribs
        inside = np.flatnonzero((cavity > -3.5) & (cavity < 20.0))
        depth, angle = cavity.reshape(-1)[inside], grid.angle.reshape(-1)[inside]
        rho = grid.rho.reshape(-1)[inside]
        side = np.abs(grid.x[inside % grid.shape[1]])
        texture = self.fine(z).reshape(-1)[inside]
        flat = hu.reshape(-1)
        values = flat[inside]
        for rib in range(12):
            line = ribs.height[rib]
            if z > line.max() + 10 or z < line.min() - 10:
                continue
            near = np.flatnonzero(np.abs(z - line[angle]) < 22.0)
            if not len(near):
                continue
            at = angle[near]
            tilt = ribs.slope[rib][at] / rho[near]
            up = (z - line[at]) / np.sqrt(1 + tilt**2)
            thin, tall, middle = (3.6, 6.6, 5.6) if rib else (5.4, 3.3, 6.5)
            u, v = (depth[near] - middle) / thin, up / tall
            form = np.sqrt(u**2 + v**2) + 1e-4
            d = (form - 1) * form / np.sqrt((u / thin) ** 2 + (v / tall) ** 2 + 1e-9)
            end = (13.0 if rib < 11 else 24.0) - side[near]
            whole = np.maximum(np.maximum(d, end), ribs.whole[rib][at] * rho[near])
            bony = np.maximum(np.maximum(d, end), ribs.bony[rib][at] * rho[near])
            here = values[near]
            shell = np.clip(1 - np.abs(whole + 0.8) / 1.2, 0, 1) * 90.0 * np.clip(texture[near], 0, 2)
            here += (95.0 + shell - here) * grid.cover(whole)
            core = 210.0 + 70.0 * texture[near]
            here += (880.0 - here) * grid.cover(bony)
            here += (core - here) * grid.cover(bony + 1.15)
            values[near] = here
        flat[inside] = values

    def _sternum(self, hu, z, cavity):
        grid = self.grid
        if not -135 < z < 50:
            return
        width = float(np.interp(z, (-135, -122, -108, -90, -50, -8, -4, 25, 42, 48),
                                (3.0, 5.0, 11.0, 18.0, 16.0, 12.0, 15.0, 27.0, 25.0, 15.0)))  # fmt: skip
        box = grid.box(-40, 40, -130, POLAR_Y - 25)
        x, _ = grid.sub(box)
        depth = cavity[box] - 6.0
        # The jugular notch and the joint between manubrium and body.
        top = z - (44.0 - 8.0 * np.exp(-((x / 12.0) ** 2)))
        joint = 1.6 - abs(z + 1.0)
        d = np.hypot(np.maximum(np.abs(x) - width + 4.0, 0), np.maximum(np.abs(depth) - 1.2, 0)) - 4.2
        d = np.maximum(np.maximum(d, top), joint)
        lay_bone(grid, hu, d, 1.1, 130.0 + 60.0 * self.fine(z, box), box)

    def _scapulae(self, hu, z, cavity):
        grid = self.grid
        if not -50 < z < 110:
            return
        share = np.clip((z + 45) / 130.0, 0, 1)
        for side in (-1, 1):
            box = grid.box(-200, -20, -40, 140) if side < 0 else grid.box(20, 200, -40, 140)
            angle = (grid.angle[box] + 0.5) / ANGLES * 360 - 180
            turn = np.abs(angle)
            rho = grid.rho[box]
            medial = 147.0 - 8.0 * share
            lateral = 132.0 - 42.0 * share
            lift = 7.0 + 17.0 * share + (medial - turn) * (0.10 + 0.42 * share)
            depth = cavity[box] - RIB_LAYER - lift
            arc = np.maximum(turn - medial, lateral - turn) * (np.pi / 180) * rho
            border = np.clip((turn - lateral) / 9.0, 0, 1)
            thick = 1.5 + 3.0 * (1 - border) + 4.0 * share * np.clip((0.25 - border) * 4, 0, 1)
            blade = np.hypot(np.maximum(np.abs(depth) - thick + 1, 0), np.maximum(arc + 1, 0)) - 1
            blade = np.maximum(blade, np.abs(z - 30) - 72)
            # The spine of the scapula: a ridge on the back of the blade that rises laterally.
            ridge_z = 46.0 + (medial - turn) * 0.7
            away = 1.0 + (medial - turn) * 0.62
            ridge = np.maximum(np.abs(z - ridge_z) - 13.0, np.abs(depth - away) - 2.2 - border)
            ridge = np.maximum(ridge, np.maximum(turn - medial + 3, 88.0 - turn) * (np.pi / 180) * rho)
            d = np.minimum(blade, ridge)
            lay_bone(grid, hu, d, 1.2, 190.0 + 70.0 * self.fine(z, box), box)


def _clavicles(wall: Wall) -> Tubes:
    front = POLAR_Y - float(wall.cavity.radius(44.0)[ANGLES // 2]) - 9.0
    path = np.array(
        [
            (22, front + 1, 42),
            (48, front - 7, 57),
            (80, front + 4, 76),
            (118, front + 34, 94),
            (150, front + 62, 102),
        ]
    )
    return Tubes.join([Tubes.along(path * (side, 1, 1), (8.5, 6.5, 5.6, 5.6, 6.5)) for side in (-1, 1)])


def _axillary_vessels(wall: Wall) -> Tubes:
    parts = []
    for side in (-1, 1):
        for number, radius in enumerate((4.0, 4.8, 2.0, 1.5)):
            shift = np.array((0.0, 9.0 * number - 12.0, -9.0 * number))
            path = (
                np.array([(72, -10, 104), (104, -12, 84), (128, -8, 52), (150, 2, 38), (190, 8, 48)]) + shift
            )
            parts.append(Tubes.along(path * (side, 1, 1), radius))
        parts.append(
            Tubes.along(
                np.array([(118, -14, 40), (127, -16, 10), (132, -10, -40), (135, -5, -90)]) * (side, 1, 1),
                (2.0, 1.6, 1.0, 0.6),
            )
        )
    return Tubes.join(parts)
