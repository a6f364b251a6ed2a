"""One person: the whole anatomy from one seed, and axial sections through it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .abdomen import Abdomen, AbdomenPainter
from .grid import Grid
from .lungs import LOBES, LungPainter, Lungs, Nodule, plant
from .mediastinum import Mediastinum, MediastinumPainter
from .noise import Texture
from .spine import Spine, SpinePainter
from .tubes import Tubes
from .wall import Wall
from .wall_painter import WallPainter


@dataclass(frozen=True)
class Anatomy:
    """All parts of one person's anatomy."""

    spine: Spine
    wall: Wall
    mediastinum: Mediastinum
    abdomen: Abdomen
    lungs: Lungs
    textures: dict[str, Texture]
    vessels: Tubes
    airways: Tubes
    nodules: tuple[Nodule, ...]


@lru_cache(maxsize=4)
def anatomy(seed: int = 0) -> Anatomy:
    """The person with this random seed: the same on every machine."""

    def rng(part: int) -> np.random.Generator:
        return np.random.default_rng([seed, part])

    spine = Spine(rng(1))
    wall = Wall(rng(2), spine.levels[2:14])
    parts = {
        "spine": spine,
        "wall": wall,
        "mediastinum": Mediastinum(rng(3), wall.deep),
        "abdomen": Abdomen(rng(4), wall.wide, wall.deep),
        "lungs": Lungs(rng(5), wall.wide),
        "textures": {
            "coarse": Texture(rng(10), 16.0, 32),
            "lobule": Texture(rng(11), 6.0, 64),
            "middle": Texture(rng(12), 3.2, 96),
            "fine": Texture(rng(13), 0.9, 128),
        },
    }
    # Vessels, airways and nodules are placed inside the lungs, so the lungs must be known first.
    without_trees = Anatomy(**parts, vessels=None, airways=None, nodules=())
    inside, lobe, depth = _lung_points(without_trees)
    generator = rng(6)
    nodules = _nodules(inside, depth, generator)
    supplied = _clear_of(inside, nodules)
    sets = [
        {
            name: _scatter(inside[supplied & (lobe == number)], 7.2, generator)
            for number, name in enumerate(LOBES)
        }
        for _ in range(2)
    ]
    vessels, airways = plant(*sets, generator)
    return Anatomy(**parts, vessels=vessels, airways=airways, nodules=nodules)


def _lung_points(person: Anatomy, step: float = 4.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a coarse grid inside the lungs, 3 mm or more from their surface.

    Returns
    -------
    points : ndarray, shape (n, 3)
        Positions, mm.
    lobes : ndarray, shape (n,)
        Index into LOBES of each point.
    depths : ndarray, shape (n,)
        Distance of each point from the lungs' surface, mm.
    """
    grid = Grid(np.arange(-150, 150, step), np.arange(-130, 130, step))
    section = SectionPainter(person, grid)
    points, lobes, depths = [], [], []
    for z in np.arange(-185.0, 110.0, step):
        lung = section.lung(z)
        row, column = np.nonzero(lung < -3.0)
        depths.append(-lung[row, column])
        points.append(np.stack([grid.x[column], grid.y[row], np.full(len(row), z)], axis=1))
        lobes.append(section.lungs.lobe(z)[row, column])
    return np.concatenate(points), np.concatenate(lobes), np.concatenate(depths)


def _scatter(points: np.ndarray, block: float, rng: np.random.Generator) -> np.ndarray:
    """One point from each cube of `block` mm, slightly displaced: evenly spread but not on a lattice."""
    order = rng.permutation(len(points))
    cube = np.floor((points[order] + rng.uniform(0, block, 3)) / block).astype(int)
    first = np.unique(cube, axis=0, return_index=True)[1]
    return points[order][first] + rng.uniform(-2.0, 2.0, (len(first), 3))


# Kind and typical diameter, mm.
_NODULES = (
    ("solid", 3.0), ("solid", 5.0), ("ground glass", 7.0), ("solid", 8.5), ("ground glass", 12.0),
    ("solid", 4.0), ("ground glass", 9.5),
)  # fmt: skip


def _nodules(inside: np.ndarray, depth: np.ndarray, rng: np.random.Generator) -> tuple[Nodule, ...]:
    """Nodules of the kinds in `_NODULES`, inside the lateral lung and at least 35 mm apart."""
    nodules: list[Nodule] = []
    lateral = np.abs(inside[:, 0]) > 55
    while len(nodules) < len(_NODULES):
        kind, diameter = _NODULES[len(nodules)]
        fits = inside[lateral & (depth > 0.5 * diameter + 4.0)]
        centre = fits[rng.integers(len(fits))] + rng.uniform(-1.0, 1.0, 3)
        if any(np.linalg.norm(centre - np.array(other.centre)) < 35 for other in nodules):
            continue
        diameter = float(np.clip(diameter * rng.uniform(0.9, 1.15), 3.0, 12.0))
        hu = float(rng.uniform(10, 45)) if kind == "solid" else float(rng.uniform(-660, -560))
        nodules.append(Nodule(tuple(float(v) for v in centre), diameter, hu, kind))
    return tuple(nodules)


def _clear_of(points: np.ndarray, nodules: tuple[Nodule, ...]) -> np.ndarray:
    """Mask (n,) of the points that lie outside all solid nodules."""
    keep = np.ones(len(points), bool)
    for nodule in nodules:
        if nodule.kind == "solid":
            keep &= np.linalg.norm(points - np.array(nodule.centre), axis=1) > 0.5 * nodule.diameter + 1
    return keep


class SectionPainter:
    """Draws axial sections of a person at any height on one in-plane grid."""

    def __init__(self, person: Anatomy, grid: Grid):
        self.grid, self.person = grid, person
        textures = {name: texture.on(grid) for name, texture in person.textures.items()}
        self.wall = WallPainter(person.wall, textures, grid)
        self.spine = SpinePainter(person.spine, textures, grid)
        self.mediastinum = MediastinumPainter(person.mediastinum, person.spine, textures, grid)
        self.abdomen = AbdomenPainter(person.abdomen, textures, grid)
        self.lungs = LungPainter(person.lungs, textures, grid, person.vessels, person.airways, person.nodules)

    def lung(self, z: float) -> np.ndarray:
        """Signed distance (y, x) in mm to the lungs."""
        cavity = self.person.wall.cavity.distance(self.grid, z)
        return self.lungs.distance(z, cavity, self.mediastinum.section(z)[0], self.abdomen.above(z))

    def hu(self, z: float) -> np.ndarray:
        """Section at height `z` mm, HU (y, x), float32, without noise and blur."""
        grid, wall = self.grid, self.person.wall
        cavity = wall.cavity.distance(grid, z)
        skin = wall.skin.distance(grid, z)
        outline, distances = self.mediastinum.section(z)
        body = self.wall.soft(z, cavity, skin)
        self.mediastinum.paint(body, z, distances)
        self.abdomen.paint(body, z, cavity)
        self.wall.bone(body, z, cavity)
        self.spine.paint(body, z)
        lung = self.lungs.distance(z, cavity, outline, self.abdomen.above(z))
        body += (self.lungs.parenchyma(z) - body) * grid.cover(lung)
        self.lungs.nodule(body, z)
        self.lungs.trees(body, z, lung)
        hu = np.full(grid.shape, np.float32(-1000.0))
        self.wall.table(hu)
        hu += (body - hu) * grid.cover(skin)
        return hu
