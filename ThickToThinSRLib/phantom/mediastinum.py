"""Mediastinum: heart, great vessels, trachea, oesophagus and fat; its outline bounds the lungs."""

from __future__ import annotations

import numpy as np

from .grid import Grid, ellipsoid, turned
from .noise import Section
from .spine import Spine
from .tubes import TubeLayer, Tubes

FAR = np.float32(30.0)  # mm: distance that stands for "far outside the mediastinum"

# Name: (radii, path) in mm; x to the left, y to the back, z up from the carina. Includes muscles of the neck.
_VESSELS = {
    "aorta": (
        (15, 16, 16, 15, 14, 13.5, 13, 12.5, 12, 11.5, 11, 10.5, 10),
        [(-1, -16, -56), (-11, -25, -30), (-16, -27, -5), (-13, -22, 18), (0, -9, 31), (14, 10, 32),
         (22, 29, 20),
         (24, 38, 0), (23, 43, -40), (19, 44, -85), (10, 42, -130), (4, 38, -180), (2, 34, -290)],
    ),
    "pulmonary trunk": ((15, 14.5, 14, 13), [(14, -50, -64), (19, -42, -36), (22, -24, -16),
         (24, -8, -10)]),
    "left pulmonary artery": ((12.5, 12, 10.5, 8.5), [(24, -8, -10), (32, 8, -3), (42, 22, -8),
         (46, 29, -24)]),
    "right pulmonary artery": ((11.5, 11, 9.5, 8), [(20, -14, -15), (-4, -4, -17), (-30, 3, -18),
         (-44, 10, -28)]),
    "superior vena cava": ((8.5, 9, 9.5, 10), [(-25, -17, 46), (-28, -16, 10), (-30, -15, -28),
         (-30, -20, -55)]),
    "right brachiocephalic vein": ((8.5, 7.5, 7, 6), [(-25, -17, 46), (-35, -18, 68), (-45, -12, 100),
         (-49, -8, 180)]),
    "left brachiocephalic vein": ((7, 7, 7, 6.5, 6), [(-25, -18, 47), (-3, -32, 53), (24, -30, 64),
         (44, -18, 92), (50, -10, 180)]),
    "brachiocephalic artery": ((7.5, 6.5, 6, 5), [(-6, -14, 30), (-12, -9, 55), (-26, -4, 84),
         (-36, 0, 180)]),
    "left carotid artery": ((5, 4, 4), [(6, -3, 34), (16, -3, 70), (26, -2, 180)]),
    "left subclavian artery": ((6, 5, 5, 4.5), [(15, 10, 33), (27, 10, 66), (42, 5, 95), (75, -4, 108)]),
    "right subclavian artery": ((5, 5, 4.5), [(-26, -4, 84), (-46, 4, 100), (-75, -4, 108)]),
    "inferior vena cava": ((11, 11.5, 11, 11), [(-26, -2, -82), (-25, 10, -112), (-22, 20, -165),
         (-20, 24, -290)]),
    "azygos vein": ((3.2, 3.6, 4.2, 4.2, 4.2, 4), [(-7, 42, -290), (-6, 43, -60), (-7, 40, -4),
         (-16, 27, 12), (-27, 8, 12), (-28, -10, 8)]),
    "right thyroid lobe": ((4, 7, 7.5, 5), [(-15, 2, 72), (-14, 1, 84), (-15, -1, 100), (-17, -4, 118)]),
    "left thyroid lobe": ((4, 7, 7.5, 5), [(14, 2, 74), (14, 1, 86), (15, -1, 102), (17, -4, 120)]),
    "right scalene muscles": ((7, 12, 13, 12), [(-76, -4, 90), (-60, 4, 104), (-42, 14, 126),
         (-30, 20, 180)]),
    "left scalene muscles": ((7, 12, 13, 12), [(76, -4, 90), (60, 4, 104), (42, 14, 126), (30, 20, 180)]),
    "right neck muscles": ((6, 8, 10), [(-20, -44, 60), (-30, -32, 100), (-50, -4, 180)]),
    "left neck muscles": ((6, 8, 10), [(20, -44, 60), (30, -32, 100), (50, -4, 180)]),
    "right strap muscles": ((4, 4.5, 5), [(-12, -40, 46), (-11, -24, 88), (-10, -22, 180)]),
    "left strap muscles": ((4, 4.5, 5), [(12, -40, 46), (11, -24, 88), (10, -22, 180)]),
    "right long neck muscle": ((3, 6, 8), [(-10, 26, 60), (-11, 8, 100), (-12, -4, 180)]),
    "left long neck muscle": ((3, 6, 8), [(10, 26, 60), (11, 8, 100), (12, -4, 180)]),
    "hemiazygos vein": ((2.4, 2.4, 2.2), [(10, 48, -290), (11, 52, -100), (8, 50, -40)]),
    "right inferior pulmonary vein": ((8, 7, 6.5), [(-14, 18, -56), (-27, 20, -58), (-38, 24, -60)]),
    "right superior pulmonary vein": ((8, 7, 6.5), [(-16, 2, -44), (-29, -6, -40), (-42, -7, -34)]),
    "left inferior pulmonary vein": ((8, 7, 6.5), [(18, 18, -52), (29, 24, -54), (40, 28, -58)]),
    "left superior pulmonary vein": ((8, 7, 6.5), [(20, 2, -40), (32, -5, -34), (42, -8, -26)]),
}  # fmt: skip
_OESOPHAGUS = ((6.5, 6.5, 7, 6.5, 7, 7.5, 9, 9),
           [(3, 18, 180), (2, 21, 100), (3, 27, 45), (4, 32, -8), (8, 38, -55), (12, 33, -95),
         (22, 20, -122), (36, 5, -140)])  # fmt: skip
TRACHEA = ((8.8, 8.8, 9.2, 9.6, 8.5),
           [(0, -6, 180), (0, 0, 90), (0, 6, 50), (1, 13, 12), (1, 15, -1)])  # fmt: skip

# Chambers: centre, semi-axes, direction of the first axis.
_CHAMBERS = {
    "left ventricle": ((42, -22, -83), (48, 33, 33), (0.72, -0.52, -0.46)),
    "right ventricle": ((8, -50, -84), (45, 24, 30), (0.80, -0.22, -0.50)),
    "outflow": ((15, -48, -62), (20, 17, 22), (0.3, 0.2, 0.9)),
    "right atrium": ((-28, -23, -72), (26, 29, 32), (1, 0, 0)),
    "left atrium": ((2, 12, -49), (35, 19, 22), (1, 0, 0)),
    "crux": ((8, -6, -80), (32, 24, 28), (1, 0, 0)),
    "left auricle": ((34, -10, -40), (16, 9, 10), (0.4, -0.8, 0.2)),
    "right auricle": ((-20, -42, -48), (15, 11, 18), (0.5, -0.7, 0.3)),
}


class Mediastinum:
    """Heart and vessels of one person; `deep` scales the depth of the trunk.

    Attributes
    ----------
    vessels, oesophagus : Tubes
    chambers : list of (centre, radii, axes)
    """

    def __init__(self, rng: np.random.Generator, deep: float):
        self.deep, size = deep, rng.uniform(0.92, 1.07)
        swell = rng.uniform(0.92, 1.1)
        self.vessels = Tubes.join(
            [Tubes.along(_jitter(rng, path), np.array(radii) * swell) for radii, path in _VESSELS.values()]
        )
        self.oesophagus = Tubes.along(np.array(_OESOPHAGUS[1]), _OESOPHAGUS[0])
        self.gas = rng.uniform(-40, 60, 3)
        middle = np.array((10.0, -18.0, -70.0))
        self.chambers = []
        for centre, radii, first in _CHAMBERS.values():
            centre = middle + (np.array(centre) - middle) * size + rng.normal(0, 0.8, 3)
            self.chambers.append((centre, np.array(radii) * size, turned(first, (0.1, 1.0, 0.05))))
        self.nodes = [
            (np.array(place) + rng.normal(0, 2.0, 3), rng.uniform(2.2, 4.2) * np.array((1.0, 0.8, 1.4)))
            for place in ((-14, -2, 6), (-17, 2, 22), (-9, -6, 34), (12, -12, 2), (8, 22, -18), (30, -30, 8),
                          (26, -18, 12), (6, -44, 30), (-6, -40, 14), (-4, 24, -30))
        ]  # fmt: skip
        self.calcified = [
            (np.array(place) + rng.normal(0, 1.0, 3), rng.uniform(0.8, 2.2, 3))
            for place in ((18, 2, 42), (27, 22, 33), (20, -28, -46), (28, -34, -52), (31, 37, -8))
            if rng.random() < 0.6
        ]


def _share(distance: np.ndarray, limit: float = 70.0) -> np.ndarray:
    """Contribution of a part to the smooth union of parts, from its distance; zero from `limit` mm on."""
    return np.maximum(np.exp(np.clip(-distance / 3.5, -20, 40)) - np.float32(np.exp(-limit / 3.5)), 0.0)


def _jitter(rng: np.random.Generator, path) -> np.ndarray:
    """The path with slightly displaced points, except the end points, where vessels join."""
    path = np.array(path, float)
    path[1:-1] += rng.normal(0, 1.0, path[1:-1].shape)
    return path


class MediastinumPainter:
    """Draws a :class:`Mediastinum` on sections of one grid."""

    def __init__(self, parts: Mediastinum, spine: Spine, textures: dict[str, Section], grid: Grid):
        self.parts, self.spine, self.grid = parts, spine, grid
        self.middle, self.coarse = textures["middle"], textures["coarse"]
        self.vessels = TubeLayer(parts.vessels, grid, reach=12.0)
        self.oesophagus = TubeLayer(parts.oesophagus, grid, reach=9.0)
        self.trachea = TubeLayer(Tubes.along(TRACHEA[1], TRACHEA[0]), grid, reach=9.0)
        self.box = grid.box(-105, 125, -130, 105)

    def section(self, z: float) -> tuple[np.ndarray, list]:
        """Outline of the mediastinum, and its parts, as signed distances in mm.

        Returns
        -------
        outline : ndarray, shape (y, x)
        distances : list
            To vessels, oesophagus and heart (None away from it), on the window `self.box`.
        """
        grid, box = self.grid, self.box
        x, y = grid.sub(box)
        tubes = self.vessels.distance(z)[box]
        oesophagus = self.oesophagus.distance(z)[box]
        heart = self._heart(x, y, z)
        # Distances to tubes are limited to the layer's reach, so their contribution must vanish there.
        near = _share(tubes - 2.6, self.vessels.reach - 2.6) + _share(
            oesophagus - 2.0, self.oesophagus.reach - 2.0
        )
        near += _share(self.trachea.distance(z)[box] - 3.2, self.trachea.reach - 3.2)
        parts = []
        if heart is not None:
            parts.append(heart[0] - 3.6)
        parts.append(self._column(x, y, z) - 3.0)
        parts.append(self._septum(x, y, z))
        parts += self._fat_pads(x, y, z)
        near += sum(_share(part) for part in parts)
        outline = np.full(grid.shape, FAR)
        outline[box] = -3.5 * np.log(near + 2e-4) + 0.25 * self.middle(z, box)
        return outline, [tubes, oesophagus, heart]

    def paint(self, hu: np.ndarray, z: float, distances: list) -> None:
        """Draw heart, vessels, oesophagus and lymph nodes in place; `distances` come from :meth:`section`."""
        grid, box = self.grid, self.box
        part = hu[box]
        x, y = grid.sub(box)
        tubes, oesophagus, heart = distances
        blood = 40.0 + 2.0 * self.coarse(z, box)
        thymus = ellipsoid(x, y, z, (3, -52 * self.parts.deep, 8), (24, 9, 34)) + 3 * self.middle(z, box)
        part += (-62.0 + 20 * self.middle(z, box) - part) * 0.7 * grid.cover(thymus)
        for centre, radii in self.parts.nodes:
            if abs(z - centre[2]) < 1.2 * radii[2] + 1:
                grid.lay(part, 42.0, ellipsoid(x, y, z, centre, radii))
        grid.lay(part, -40.0, tubes - 0.5)
        if heart is not None:
            sac, muscle = heart
            grid.lay(part, -88.0 + 5 * self.middle(z, box), sac)
            shell = np.abs(sac - 0.6) - 0.5
            grid.lay(part, 10.0, shell)
            grid.lay(part, 46.0 + 2.0 * self.coarse(z, box), muscle)
        grid.lay(part, blood, tubes)
        grid.lay(part, 44.0, oesophagus)
        gas = np.exp(-(((z - self.parts.gas[0]) / 14.0) ** 2))
        if gas > 0.1:
            grid.lay(part, -850.0, oesophagus + 3.4 + 5.0 * (1 - gas))
        for centre, radii in self.parts.calcified:
            if abs(z - centre[2]) < radii[2] + 1:
                grid.lay(part, 480.0, ellipsoid(x, y, z, centre, radii))

    def _heart(self, x, y, z):
        """Distances to the pericardium and to the chambers; None away from the heart."""
        if not -135 < z < -10:
            return None
        chambers = [ellipsoid(x, y, z, *chamber) for chamber in self.parts.chambers]
        sac = -6.0 * np.log(sum(np.exp(np.clip(-d / 6.0, -8, 10)) for d in chambers)) - 0.5
        muscle = -1.6 * np.log(sum(np.exp(np.clip(-d / 1.6, -30, 40)) for d in chambers) + 1e-9)
        return sac, muscle + 0.6 * self.middle(z, self.box)

    def _column(self, x, y, z):
        """Distance to the spine with the tissue in front of it and beside it."""
        cx, cy = (float(value) for value in self.spine.centre(z))
        wide, deep = self.spine.size(z)
        wide, deep = wide + 2.5, deep + 2.0
        behind = np.clip((y - cy) / 25.0, 0, 1.5)
        form = np.sqrt(((x - cx) / (wide + 5 * behind)) ** 2 + (np.minimum(y - cy, 0) / deep) ** 2)
        return (form - 1) * 0.6 * (wide + deep)

    def _septum(self, x, y, z):
        """Distance to the tissue between sternum and spine, which is widest at the top in front."""
        front = np.clip(-(y + 5.0) / 60.0, 0, 1)
        high = float(np.interp(z, (-140, -60, 10, 45, 70, 110), (6, 4, 6, 15, 26, 40)))
        half = 5.0 + (high - 4.0) * front
        top = float(np.interp(z, (-150, -108, -75, 40, 75, 110), (22, 14, 0, 0, 13, 25)))
        return np.abs(x - 3.0 * front) - half - top * np.clip(1.2 - np.abs(y) / 60, 0, 1)

    def _fat_pads(self, x, y, z):
        """Distances to the fat between heart and diaphragm, right and left, and to the hila."""
        parts = []
        front = -58 * self.parts.deep
        for centre, radii in (
            ((-38, front, -112), (22, 20, 26)),
            ((62, front + 6, -116), (24, 22, 22)),
            ((14, front - 22, -88), (33, 17, 44)),
            ((3, front + 3, -14), (17, 24, 44)),
            ((18, 10, 3), (15, 18, 16)),
            ((-30, 8, -24), (13, 16, 20)),
            ((31, 12, -20), (14, 17, 18)),
        ):
            if abs(z - centre[2]) < radii[2] + 14:
                parts.append(ellipsoid(x, y, z, centre, radii))
        return parts
