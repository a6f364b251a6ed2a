"""Branching trees that fill a volume, like the airways and vessels of a lobe.

A branch grows from its node towards the centre of the points it supplies. There the points are split across
their widest extent, and each half is supplied in the same way (after Tawhai et al., J Appl Physiol 97:2310,
2004). All branches of a generation are computed together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .tubes import Tubes


@dataclass(frozen=True)
class Tree:
    """Branches of a tree, parents before children.

    Parameters
    ----------
    start, end : ndarray, shape (N, 3)
        Start and end of each branch, mm.
    before : ndarray, shape (N, 3)
        Unit direction of each branch at its start.
    load : ndarray, shape (N,)
        Number of points that the branch supplies.
    """

    start: np.ndarray
    end: np.ndarray
    before: np.ndarray
    load: np.ndarray


def grow(points: np.ndarray, root, direction, rng: np.random.Generator) -> Tree:
    """Grow a tree that starts at `root` along `direction` and ends at each of `points` (n, 3), mm."""
    points = np.asarray(points, float)
    group = np.zeros(len(points), int)
    node = np.asarray(root, float)[None]
    heading = np.asarray(direction, float)[None] / np.linalg.norm(direction)
    starts, ends, befores, loads = [], [], [], []
    while len(points):
        count = np.bincount(group)
        centre = np.stack([np.bincount(group, column) for column in points.T], axis=1) / count[:, None]
        share = np.where(count == 1, 1.0, rng.uniform(0.36, 0.52, len(count)))
        end = node + share[:, None] * (centre - node)
        # A branch keeps part of its parent's direction: real airways and vessels bend smoothly.
        length = np.linalg.norm(end - node, axis=1, keepdims=True)
        end += np.where(count > 1, 0.16, 0.0)[:, None] * length * heading
        end += rng.normal(0.0, 0.05, end.shape) * length * (count > 1)[:, None]
        step = end - node
        step /= np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-6)
        starts.append(node)
        ends.append(end)
        befores.append(heading)
        loads.append(count)

        unfinished = count[group] > 1
        points, group = points[unfinished], group[unfinished]
        if not len(points):
            break
        axis = _widest(points - centre[group], group, len(count), step)
        position = ((points - centre[group]) * axis[group]).sum(axis=1)
        spread = np.sqrt(np.bincount(group, position**2, len(count)) / count)
        right = position > (rng.uniform(-0.6, 0.6, len(count)) * spread)[group]
        right = _both_sides(right, position, group, len(count))
        parent, group = np.unique(2 * group + right, return_inverse=True)
        parent = parent // 2
        node, heading = end[parent], step[parent]
    return Tree(*(np.concatenate(part) for part in (starts, ends, befores, loads)))


def _widest(offsets: np.ndarray, group: np.ndarray, groups: int, step: np.ndarray) -> np.ndarray:
    """Direction (groups, 3) of each group's widest extent perpendicular to its branch's direction `step`."""
    across = offsets - (offsets * step[group]).sum(axis=1, keepdims=True) * step[group]
    spread = np.empty((groups, 3, 3))
    for i in range(3):
        for j in range(3):
            spread[:, i, j] = np.bincount(group, across[:, i] * across[:, j], groups)
    axis = np.linalg.eigh(spread)[1][:, :, 2]
    # The sign of an eigenvector is arbitrary. Without this choice the tree would differ between machines.
    return axis * np.where(axis @ (1.0, 0.7, 0.4) < 0, -1.0, 1.0)[:, None]


def _both_sides(right: np.ndarray, position: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """The split `right` of the points into two halves, changed where a half would be empty.

    Such a group is split at its mean, or, if that fails too, its first point is separated.
    """
    ones, size = np.bincount(group, right, groups), np.bincount(group, minlength=groups)
    empty = (ones == 0) | (ones == size)
    half = position > 0
    ones = np.bincount(group, half, groups)
    still_empty = empty & ((ones == 0) | (ones == size))
    first = np.zeros(len(group), bool)
    first[np.unique(group, return_index=True)[1]] = True
    return np.where(still_empty[group], first, np.where(empty[group], half, right))


def tubes(tree: Tree, radius: np.ndarray, shift: np.ndarray | None = None, step: float = 4.0) -> Tubes:
    """The tree's branches as curved, tapering tubes.

    Parameters
    ----------
    tree : Tree
    radius : ndarray, shape (N,)
        Radius of each branch, mm.
    shift : ndarray, shape (N, 3), optional
        Displacement of the end of each branch and the start of its children, mm.
    step : float
        Greatest length of a straight piece, mm.
    """
    start, end = tree.start, tree.end
    parent = _parents(tree)
    if shift is not None:
        end = end + shift
        start = start + np.where(parent[:, None] >= 0, shift[parent], shift[:1])
    chord = end - start
    length = np.linalg.norm(chord, axis=1, keepdims=True)
    own = chord / np.maximum(length, 1e-6)
    wide = np.where(parent >= 0, radius[parent], radius)
    leave = 0.55 * tree.before + 0.45 * own
    pieces = np.clip(np.ceil(length[:, 0] / step), 1, 8).astype(int)
    pieces = np.where((length[:, 0] > 2.5) & (pieces < 2), 2, pieces)
    branch = np.repeat(np.arange(len(start)), pieces)
    first = np.arange(len(branch)) - np.repeat(np.cumsum(pieces) - pieces, pieces)

    def point(t):
        t = t[:, None]
        basis = (2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, -2 * t**3 + 3 * t**2, t**3 - t**2)
        return (
            basis[0] * start[branch] + basis[1] * (length * leave)[branch]
            + basis[2] * end[branch] + basis[3] * (length * own)[branch]
        )  # fmt: skip

    def width(t):
        # The branch starts with a radius close to its parent's and tapers over its first half.
        tapered = np.clip(t / 0.5, 0.0, 1.0)
        mouth = np.minimum(wide, 1.25 * radius)[branch]
        return mouth + (radius[branch] - mouth) * tapered

    t0, t1 = first / pieces[branch], (first + 1) / pieces[branch]
    return Tubes.of(point(t0), point(t1), width(t0), width(t1))


def _parents(tree: Tree) -> np.ndarray:
    """Index (N,) of each branch's parent, -1 for the root; a child starts exactly where its parent ends."""
    ends = {tuple(end): index for index, end in enumerate(tree.end)}
    return np.array([ends.get(tuple(start), -1) for start in tree.start])


def beside(tree: Tree, towards, distance: np.ndarray) -> np.ndarray:
    """Displacements (N, 3) in mm of a second tree that runs beside this one, like arteries beside bronchi.

    Parameters
    ----------
    towards : 3 floats
        Direction of the displacement, made perpendicular to each branch.
    distance : ndarray, shape (N,)
        Its length for each branch, mm.
    """
    own = tree.end - tree.start
    own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-6)
    side = np.asarray(towards, float) - (own @ np.asarray(towards, float))[:, None] * own
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 0.15
    return side * distance[:, None]
