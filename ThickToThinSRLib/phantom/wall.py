"""The wall of the trunk: chest cavity, muscles and skin as polar surfaces, and the course of the ribs."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator, RectBivariateSpline
from scipy.ndimage import gaussian_filter

from .grid import ANGLES, POLAR_Y, Grid

Z = np.arange(-280.0, 181.0, 2.0)  # mm: heights of the polar tables
ANGLE = (np.arange(ANGLES) + 0.5) / ANGLES * 2 * np.pi - np.pi  # radians, 0 at the front, left positive
RIB_LAYER = 12.0  # mm from the cavity to the muscles outside the ribs

# Half width, front and back extent of the chest cavity from the polar origin, mm, by height z.
_CAVITY_Z = (-280, -220, -170, -130, -90, -50, 0, 30, 55, 80, 105, 130, 180)
_CAVITY_SIDE = (126, 129, 131, 131, 129, 126, 117, 108, 97, 78, 52, 40, 36)
_CAVITY_FRONT = (104, 108, 110, 109, 107, 100, 86, 74, 62, 48, 35, 27, 24)
_CAVITY_BACK = (86, 88, 92, 95, 97, 96, 88, 79, 69, 58, 44, 34, 30)

# Thickness of the muscles outside the ribs and of the fat under the skin, mm: rows by height, columns by
# angle from the front (0) to the back (180 degrees).
_DEGREES = (0, 18, 35, 55, 75, 92, 110, 128, 145, 158, 168, 174, 180)
_WALL_Z = (-280, -160, -110, -70, -40, -10, 20, 50, 80, 110, 180)
_MUSCLE = (
    (7, 10, 9, 9, 10, 10, 10, 11, 17, 32, 41, 42, 40),
    (4, 9, 7, 6, 8, 9, 9, 9, 16, 32, 41, 42, 40),
    (1, 5, 5, 5, 8, 10, 10, 9, 14, 30, 40, 41, 39),
    (1, 4, 6, 6, 9, 13, 14, 12, 14, 28, 39, 40, 38),
    (1, 5, 10, 11, 13, 19, 22, 18, 15, 27, 38, 39, 37),
    (1, 8, 15, 18, 22, 29, 33, 27, 19, 25, 36, 37, 35),
    (1, 9, 18, 24, 33, 43, 46, 39, 25, 26, 35, 36, 34),
    (3, 11, 20, 31, 48, 61, 60, 50, 34, 30, 36, 36, 34),
    (12, 15, 23, 40, 67, 85, 81, 66, 47, 40, 42, 42, 38),
    (18, 20, 28, 48, 80, 98, 94, 80, 62, 50, 48, 46, 44),
    (18, 20, 28, 48, 84, 104, 100, 86, 66, 52, 50, 48, 46),
)
_FAT = (
    (18, 20, 21, 20, 17, 15, 14, 13, 11, 9, 8, 7, 7),
    (14, 17, 18, 17, 15, 13, 13, 12, 10, 9, 8, 7, 7),
    (9, 13, 15, 15, 14, 13, 13, 12, 10, 9, 8, 7, 6),
    (7, 11, 15, 16, 14, 13, 13, 13, 11, 9, 8, 7, 6),
    (6, 10, 14, 15, 14, 12, 12, 13, 12, 10, 8, 7, 6),
    (6, 8, 12, 13, 12, 11, 11, 13, 12, 10, 8, 7, 6),
    (6, 8, 10, 11, 10, 10, 10, 12, 12, 10, 9, 8, 7),
    (6, 8, 9, 9, 9, 9, 9, 11, 12, 11, 9, 8, 7),
    (6, 7, 8, 8, 8, 8, 9, 10, 12, 12, 10, 9, 8),
    (6, 7, 7, 8, 8, 8, 9, 10, 12, 12, 11, 10, 9),
    (6, 7, 7, 8, 8, 8, 9, 10, 12, 12, 11, 10, 9),
)


class Surface:
    """A closed surface around the trunk's axis, given by a table of radii (heights Z, ANGLES) in mm."""

    def __init__(self, table: np.ndarray):
        self.table = table.astype(np.float32)
        around = (np.roll(table, -8, axis=1) - np.roll(table, 8, axis=1)) / (16 * 2 * np.pi / ANGLES) / table
        along = np.gradient(table, Z, axis=0)
        self.steepness = (1 / np.sqrt(1 + around**2 + along**2)).astype(np.float32)

    def radius(self, z: float) -> np.ndarray:
        """Radius (ANGLES,) in mm at height `z`."""
        return row_at(self.table, z)

    def distance(self, grid: Grid, z: float) -> np.ndarray:
        """Signed distance (y, x) in mm, negative inside."""
        return (grid.rho - self.radius(z)[grid.angle]) * row_at(self.steepness, z)[grid.angle]


def row_at(table: np.ndarray, z: float) -> np.ndarray:
    """Row (ANGLES,) of a polar table (heights Z, ANGLES) at height `z`, linearly interpolated."""
    position = np.clip((z - Z[0]) / (Z[1] - Z[0]), 0, len(Z) - 1.001)
    lower = int(position)
    part = np.float32(position - lower)
    return table[lower] * (1 - part) + table[lower + 1] * part


class Wall:
    """Shape of one person's trunk wall.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the person's width, depth, muscle, fat, breasts and slope of the ribs.
    vertebrae : ndarray, shape (12,)
        Heights z of the vertebrae T1 .. T12, where the ribs begin, mm.
    """

    def __init__(self, rng: np.random.Generator, vertebrae: np.ndarray):
        wide, deep = rng.uniform(0.95, 1.06), rng.uniform(0.95, 1.06)
        self.deep = deep
        muscle, fat = rng.uniform(0.8, 1.1), rng.uniform(0.9, 1.8)
        breast = max(rng.uniform(-22.0, 26.0), 0.0)
        side, front, back = (
            PchipInterpolator(_CAVITY_Z, row)(Z)[:, None] * scale
            for row, scale in ((_CAVITY_SIDE, wide), (_CAVITY_FRONT, deep), (_CAVITY_BACK, deep))
        )
        turn, front_facing = np.abs(ANGLE)[None], np.cos(ANGLE)[None] > 0
        power = np.where(front_facing, 2.25, 2.45)
        reach = np.where(front_facing, front, back)
        cavity = (np.abs(np.sin(turn) / side) ** power + np.abs(np.cos(turn) / reach) ** power) ** (
            -1 / power
        )
        # The spine indents the back of the cavity; random terms make the two halves slightly asymmetric.
        cavity *= 1 - 0.36 * np.exp(-(np.abs((np.pi - turn) / 0.29) ** 2.6))
        wobble = sum(
            rng.normal(0, 0.006) * np.cos(k * ANGLE + rng.uniform(0, 6.3) + rng.normal(0, 0.004) * Z[:, None])
            for k in (1, 2, 3, 4, 5)
        )
        cavity *= 1 + wobble
        # Real patients are not built, and do not lie, quite symmetrically.
        lean = 1 + rng.normal(0, 0.035) * np.sin(ANGLE)[None] + rng.normal(0, 0.03) * np.sin(2 * ANGLE)[None]
        thickness = _table(_MUSCLE) * muscle * lean
        below = _table(_FAT) * fat * (1 + rng.normal(0, 0.08) * np.sin(ANGLE)[None])
        breast_shape = np.exp(
            -(((turn - 0.66) / 0.36) ** 2) - (((Z[:, None] + 48) / np.where(Z[:, None] < -48, 32, 55)) ** 2)
        )
        below = below + breast * breast_shape
        self.cavity = Surface(cavity)
        self.muscle = Surface(cavity + RIB_LAYER + thickness)
        skin = cavity + RIB_LAYER + thickness + below
        skin = _flattened_back(skin, POLAR_Y)
        self.skin = Surface(skin)
        self.breast = breast * breast_shape.astype(np.float32)
        self.table_y = float((POLAR_Y - skin * np.cos(ANGLE)).max()) + 3.0
        self.ribs = _ribs(rng, vertebrae)
        self.wide = wide


def _table(rows) -> np.ndarray:
    """Smooth polar table (heights Z, ANGLES) in mm from rows by `_WALL_Z` and columns by `_DEGREES`."""
    spline = RectBivariateSpline(_WALL_Z, np.radians(_DEGREES), np.array(rows, float), kx=1, ky=1)
    table = spline(Z, np.linspace(0, np.pi, 361))
    table = gaussian_filter(table, (6, 9), mode="nearest")
    turn = np.abs(ANGLE)
    return np.stack([np.interp(turn, np.linspace(0, np.pi, 361), row) for row in table])


def _flattened_back(skin: np.ndarray, centre: float) -> np.ndarray:
    """The skin surface with the back flattened by the table; tissue is compressed, not cut off."""
    back = centre - skin * np.cos(ANGLE)
    level = float(np.quantile(back[(Z > -150) & (Z < 90)].max(axis=1), 0.35))
    over = np.maximum(back - level, 0)
    pressed = level + 7.0 * (1 - np.exp(-over / 7.0))
    return np.where(over > 0, skin * (pressed - centre) / np.maximum(back - centre, 1.0), skin)


# Front end of each rib's bone: degrees from the front, and mm below its vertebra. End of its cartilage at the
# sternum or at the cartilage above: degrees from the front, and height z in mm.
_RIB_END = (36, 31, 31, 34, 38, 43, 49, 57, 66, 76, 98, 128)
_RIB_DROP = (30, 56, 68, 80, 89, 95, 98, 97, 88, 74, 50, 30)
_CARTILAGE_END = (14, 8, 6, 6, 6, 6, 7, 17, 30, 45)
_CARTILAGE_Z = (36, 2, -22, -43, -62, -80, -94, -118, -141, -160)


class Ribs:
    """Twelve pairs of ribs as curves on the chest wall.

    Attributes
    ----------
    height : ndarray, shape (12, ANGLES)
        Height z of the centre line, mm.
    bony, whole : ndarray, shape (12, ANGLES)
        Signed angle in radians to the end of the bone, and to the end of its cartilage; negative inside.
    """

    def __init__(self, height, bony, whole):
        self.height, self.bony, self.whole = (np.asarray(part, np.float32) for part in (height, bony, whole))
        self.slope = np.gradient(self.height, 2 * np.pi / ANGLES, axis=1)


def _ribs(rng: np.random.Generator, vertebrae: np.ndarray) -> Ribs:
    """Ribs that descend from their vertebrae to the front; `vertebrae` are heights of T1 .. T12 in mm."""
    steep = rng.uniform(0.9, 1.12)
    turn = np.abs(ANGLE)
    left = ANGLE > 0
    height, bony, whole = np.empty((12, ANGLES)), np.empty((12, ANGLES)), np.empty((12, ANGLES))
    for rib in range(12):
        for side in (False, True):
            half = left == side
            drop = _RIB_DROP[rib] * steep * rng.normal(1, 0.02)
            end = np.radians(_RIB_END[rib] + rng.normal(0, 1.0))
            top = vertebrae[rib] + 5 + rng.normal(0, 1.0)
            back = np.pi - 0.22
            share = np.clip((back - turn[half]) / (back - end), 0, None)
            line = top - drop * np.where(share < 1, 0.6 * share + 0.4 * share**1.5, 1 + 1.2 * (share - 1))
            stop = end
            if rib < len(_CARTILAGE_END):
                stop = np.radians(_CARTILAGE_END[rib])
                past = np.clip((end - turn[half]) / (end - stop), 0, 1)
                low = top - drop
                rise = _CARTILAGE_Z[rib] - low
                line = np.where(turn[half] < end, low + rise * (past**1.6), line)
            height[rib, half] = line
            bony[rib, half] = end - turn[half]
            whole[rib, half] = stop - turn[half]
    kernel = np.hanning(161)
    kernel /= kernel.sum()
    smooth = np.stack([np.convolve(np.pad(row, 80, mode="wrap"), kernel, mode="valid") for row in height])
    return Ribs(smooth, bony, whole)
