"""The lungs: outline, lobes and fissures, parenchyma, airways, vessels and nodules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grid import Grid
from .mediastinum import TRACHEA
from .noise import Section
from .trees import beside, grow, tubes
from .tubes import TubeLayer, Tubes

LOBES = ("right upper", "right middle", "right lower", "left upper", "left lower")

# For each lobe: end and direction of its bronchus; start and direction of its veins; positions in mm.
_ROOTS = {
    "right upper": ((-38, 16, -12), (-0.8, 0.0, 0.6), (-42, -7, -34), (-0.6, -0.3, 0.7)),
    "right middle": ((-38, 6, -46), (-0.6, -0.7, -0.4), (-42, -7, -34), (-0.4, -0.7, -0.6)),
    "right lower": ((-37, 24, -50), (-0.4, 0.5, -0.8), (-38, 24, -60), (-0.6, 0.5, -0.6)),
    "left upper": ((44, 14, -28), (0.7, -0.5, 0.4), (42, -8, -26), (0.5, -0.5, 0.7)),
    "left lower": ((41, 30, -42), (0.4, 0.5, -0.8), (40, 28, -58), (0.6, 0.5, -0.6)),
}
# Main and lobar bronchi: radii and path, mm.
_BRONCHI = (
    ((7.6, 7.0, 6.4), [(1, 15, -1), (-12, 17, -9), (-24, 18, -17)]),
    ((5.2, 4.4), [(-24, 18, -17), (-38, 16, -12)]),
    ((5.6, 5.2, 4.6), [(-24, 18, -17), (-31, 18, -32), (-36, 20, -44)]),
    ((4.0, 3.2), [(-33, 17, -36), (-38, 6, -46)]),
    ((4.6, 4.2), [(-36, 20, -44), (-37, 24, -50)]),
    ((6.8, 6.3, 5.6), [(1, 15, -1), (16, 19, -12), (34, 23, -25)]),
    ((5.2, 4.2), [(34, 23, -25), (44, 14, -28)]),
    ((5.2, 4.4), [(34, 23, -25), (41, 30, -42)]),
)


@dataclass(frozen=True)
class Nodule:
    """A lung nodule: centre (x, y, z) in mm (LPS), diameter in mm, HU, and kind (solid or ground glass)."""

    centre: tuple[float, float, float]
    diameter: float
    hu: float
    kind: str


class Lungs:
    """Apex, fissures and parenchyma of one person's lungs, without vessels, airways and nodules."""

    def __init__(self, rng: np.random.Generator, wide: float):
        self.wide = wide
        self.apex = rng.uniform(80, 92) + np.array((0.0, rng.uniform(-3, 4)))
        self.oblique = rng.uniform(16, 28, 2) + np.array((0.0, 12.0))
        self.steep = rng.uniform(0.85, 1.05, 2)
        self.horizontal = rng.uniform(-36, -26)
        self.bow = rng.uniform(-6, 6, 3)
        self.base_hu = rng.uniform(-872, -850)

    def ceiling(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Height z (y, x) in mm of the lungs' upper surface, and the factor from height to distance."""
        x, y = grid.x[None], grid.y[:, None]
        left = x > 0
        top = np.where(left, self.apex[1], self.apex[0])
        u, v = (np.abs(x) - 46 * self.wide) / 78.0, (y - 24.0) / 125.0
        form = np.sqrt(u**2 + v**2)
        height = np.where(form < 1, top - 110 * (1 - np.sqrt(np.clip(1 - form**2, 0, None))), top - 110)
        # Towards the front the apex slopes down like the first ribs.
        height = height - 0.42 * 12.0 * np.logaddexp(0.0, (8.0 - y) / 12.0)
        slope_y, slope_x = np.gradient(height, *grid.pixel[::-1])
        return height.astype(np.float32), (1 / np.sqrt(1 + slope_x**2 + slope_y**2)).astype(np.float32)

    def fissures(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Heights z (y, x) in mm of the oblique fissures (each side) and the horizontal one (right side)."""
        x, y = grid.x[None], grid.y[:, None]
        side = (x > 0).astype(int)
        across = (np.abs(x) - 70) / 50.0
        oblique = self.oblique[side] - (75 - y) * self.steep[side] * 0.98
        oblique = oblique + self.bow[side] * across + 6.0 * across**2 - 7.0 * np.cos((y - 10) / 40.0)
        horizontal = self.horizontal + self.bow[2] * across - 0.10 * (-y) + 3.0 * np.cos(across * 2 + y / 35)
        return oblique.astype(np.float32), (horizontal + 0 * y).astype(np.float32)


class LungPainter:
    """Draws :class:`Lungs` on sections of one grid.

    Parameters
    ----------
    vessels, airways : Tubes or None
        None when only the outline of the lungs is needed, before the trees are grown in them.
    nodules : sequence of Nodule
    """

    def __init__(
        self,
        lungs: Lungs,
        textures: dict[str, Section],
        grid: Grid,
        vessels: Tubes | None,
        airways: Tubes | None,
        nodules: tuple[Nodule, ...],
    ):
        self.lungs, self.grid, self.nodules = lungs, grid, nodules
        self.top, self.top_factor = lungs.ceiling(grid)
        self.oblique, self.horizontal = lungs.fissures(grid)
        self.steepness = [_steepness(plane, grid) for plane in (self.oblique, self.horizontal)]
        self.textures = textures
        if vessels is not None:
            self.vessels = TubeLayer(vessels, grid, reach=0.75 * grid.edge)
            self.airways = TubeLayer(airways, grid, reach=2.0 + 0.75 * grid.edge)
            self.central = TubeLayer(central_airways(), grid, reach=2.0 + 0.75 * grid.edge)

    def distance(self, z: float, cavity, outline, above) -> np.ndarray:
        """Signed distance (y, x) in mm to the lungs."""
        d = np.maximum(cavity + 1.5, -outline)
        d = np.maximum(d, above)
        return np.maximum(d, (np.float32(z) - self.top) * self.top_factor)

    def lobe(self, z: float) -> np.ndarray:
        """Index into LOBES (y, x) for every pixel, also outside the lungs."""
        lower = z < self.oblique
        right = np.where(lower, 2, np.where(z < self.horizontal, 1, 0))
        return np.where(self.grid.x[None] > 0, np.where(lower, 4, 3), right)

    def parenchyma(self, z: float) -> np.ndarray:
        """HU (y, x) of the lungs with fissures, without airways and vessels."""
        grid, field = self.grid, {name: section(z) for name, section in self.textures.items()}
        hu = self.lungs.base_hu + 0.28 * (grid.y[:, None] - 10.0)
        hu = hu + 9.0 * field["coarse"] + 8.0 * field["middle"] + 9.0 * field["lobule"] + 12.0 * field["fine"]
        for fissure, factor, part in (
            (self.oblique, self.steepness[0], None),
            (self.horizontal, self.steepness[1], self.horizontal),
        ):
            d = np.abs(z - fissure) * factor
            half = np.float32(0.5 * max(grid.edge, 0.7))
            line = np.clip(1.0 - d / (2 * half), 0, 1) * (0.42 / half)
            if part is not None:
                line = line * (z > self.oblique) * (grid.x[None] < 0)
            hu += line * 560.0 * np.clip(0.85 + 0.3 * field["coarse"], 0.25, 1.2)
        return hu

    def trees(self, hu: np.ndarray, z: float, lung: np.ndarray) -> None:
        """Draw vessels and the walls and lumina of airways, in place; `lung` is the distance to the lungs."""
        hu += (38.0 - hu) * self.vessels.cover(z) * self.grid.cover(lung - 5.0)
        for airways, room in ((self.airways, self.grid.cover(lung + 1.0)), (self.central, 1.0)):
            hu += (20.0 - hu) * airways.cover(z, _wall) * room
            hu += (-1000.0 - hu) * airways.cover(z) * room

    def nodule(self, hu: np.ndarray, z: float) -> None:
        """Draw the nodules at height `z`, in place."""
        for number, nodule in enumerate(self.nodules):
            cx, cy, cz = nodule.centre
            reach = 0.75 * nodule.diameter + 2
            if abs(z - cz) > reach:
                continue
            box = self.grid.box(cx - reach, cx + reach, cy - reach, cy + reach)
            x, y = self.grid.sub(box)
            x, y, up = x - cx, y - cy, z - cz
            r = np.sqrt(x**2 + y**2 + up**2) + 1e-3
            # Lobulation by even harmonics only, so that the centre of mass remains at the nodule's centre.
            bumps = np.cos(2 * np.arctan2(y, x) + number) * (1 - (up / r) ** 2) * 0.09
            bumps = bumps + 0.07 * np.cos(4 * np.arctan2(y, x) + 2 * number) * (1 - (up / r) ** 2) ** 2
            d = r - 0.5 * nodule.diameter * (1 + bumps)
            soft = 0.5 if nodule.kind == "solid" else 2.2
            share = np.clip(0.5 - d / max(soft, self.grid.edge), 0, 1)
            part = hu[box]
            part += (np.maximum(nodule.hu, part) - part) * share


def _wall(radius: np.ndarray) -> np.ndarray:
    """Wall thickness in mm of airways with inner radius `radius` in mm."""
    return np.clip(0.16 * radius, 0.35, 1.3)


def central_airways() -> Tubes:
    """Trachea, main and lobar bronchi."""
    return Tubes.join([Tubes.along(path, radii) for radii, path in ((TRACHEA[0], TRACHEA[1]), *_BRONCHI)])


def _steepness(plane: np.ndarray, grid: Grid) -> np.ndarray:
    """Factor (y, x) from the height above a surface z(y, x) to the distance from it."""
    slope_y, slope_x = np.gradient(plane, *grid.pixel[::-1])
    return (1 / np.sqrt(1 + slope_x**2 + slope_y**2)).astype(np.float32)


def plant(
    points: dict[str, np.ndarray], vein_points: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[Tubes, Tubes]:
    """Grow the vessels and airways of all lobes.

    Parameters
    ----------
    points, vein_points : dict of lobe name to ndarray, shape (n, 3)
        End points, in mm, of the arteries (with their airways) and of the veins.

    Returns
    -------
    (vessels, airways) : Tubes
    """
    airways, vessels = [], []
    for lobe in LOBES:
        root, heading, vein, vein_heading = _ROOTS[lobe]
        tree = grow(points[lobe], root, heading, rng)
        size = tree.load ** (1 / 2.75)
        lumen, artery = 0.225 * size, 0.32 * tree.load ** (1 / 2.85)
        wide = lumen > 0.42
        bronchi = tubes(tree, lumen)
        airways.append(bronchi.where(np.minimum(bronchi.start_radius, bronchi.end_radius) > 0.42))
        outward = (-1.0, -0.35, 0.5) if lobe.startswith("right") else (1.0, -0.35, 0.5)
        shift = beside(tree, outward, np.where(wide, lumen * 1.25 + artery + 0.3, lumen + artery))
        vessels.append(tubes(tree, artery, shift))
        vessels.append(_stem(lobe, tree.start[0] + shift[0], artery[0]))
        drain = grow(vein_points[lobe], vein, vein_heading, rng)
        vessels.append(tubes(drain, 0.31 * drain.load ** (1 / 2.85)))
    return Tubes.join(vessels), Tubes.join(airways)


def _stem(lobe: str, end: np.ndarray, radius: float) -> Tubes:
    """The artery from the hilum to the start of the lobe's arteries."""
    begin = {"right": np.array((-36, 6, -21)), "left": np.array((43, 24, -12))}[lobe.split()[0]]
    middle = 0.5 * (begin + end) + np.array((-3.0 if lobe.startswith("right") else 3.0, -1.0, 0.0))
    return Tubes.along([begin, middle, end], (6.5, 5.5, radius))
