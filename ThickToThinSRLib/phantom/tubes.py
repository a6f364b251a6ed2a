"""Tubes of short tapered capsules: made from curves and drawn on sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from .grid import Grid

# Capsules are drawn in batches with a square window of one of these sizes, in pixels.
_WINDOWS = (6, 8, 12, 16, 24, 32, 48, 64, 96, 160, 320)


@dataclass(frozen=True)
class Tubes:
    """N tapered capsules.

    Parameters
    ----------
    start, end : ndarray, shape (N, 3), float32
        End points (x, y, z), mm.
    start_radius, end_radius : ndarray, shape (N,), float32
        Radii at the end points, mm.
    """

    start: np.ndarray
    end: np.ndarray
    start_radius: np.ndarray
    end_radius: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def join(cls, parts: list[Tubes]) -> Tubes:
        """All capsules of several sets of tubes."""
        names = ("start", "end", "start_radius", "end_radius")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @classmethod
    def along(cls, points, radii, step: float = 3.0) -> Tubes:
        """Capsules along a smooth curve.

        Parameters
        ----------
        points : array_like, shape (n, 3)
            Points on the curve, mm.
        radii : float or array_like, shape (n,)
            Radius at each point, mm.
        step : float
            Approximate length of a capsule, mm.
        """
        points = np.asarray(points, float)
        radii = np.broadcast_to(np.asarray(radii, float), len(points))
        lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
        at = np.concatenate([[0.0], np.cumsum(np.sqrt(lengths))])
        many = np.linspace(0.0, at[-1], max(int(np.ceil(lengths.sum() / step)), 1) + 1)
        if len(points) > 2:
            curve = CubicSpline(at, points, bc_type="natural")(many)
        else:
            curve = np.stack([np.interp(many, at, column) for column in points.T], axis=1)
        width = PchipInterpolator(at, radii)(many)
        return cls.of(curve[:-1], curve[1:], width[:-1], width[1:])

    @classmethod
    def of(cls, start, end, start_radius, end_radius) -> Tubes:
        """Capsules from plain arrays."""
        return cls(*(np.asarray(part, np.float32) for part in (start, end, start_radius, end_radius)))

    def where(self, keep: np.ndarray) -> Tubes:
        """The capsules selected by a mask or by indices."""
        return Tubes(self.start[keep], self.end[keep], self.start_radius[keep], self.end_radius[keep])


class TubeLayer:
    """Tubes on one grid, sorted by height so that those that meet a section are found quickly.

    Parameters
    ----------
    reach : float
        Greatest distance from a tube's surface that is computed, mm.
    """

    def __init__(self, tubes: Tubes, grid: Grid, reach: float):
        self.grid, self.reach = grid, reach
        radius = np.maximum(tubes.start_radius, tubes.end_radius) + reach
        low = np.minimum(tubes.start[:, 2], tubes.end[:, 2]) - radius
        order = np.argsort(low)
        self.tubes, self.radius, self.low = tubes.where(order), radius[order], low[order]
        self.high = np.maximum(self.tubes.start[:, 2], self.tubes.end[:, 2]) + self.radius
        self.longest = float((self.high - self.low).max(initial=0.0))

    def distance(self, z: float) -> np.ndarray:
        """Signed distance (y, x) in mm to the nearest tube, limited to `reach`."""
        plane = np.full(self.grid.shape, np.float32(self.reach))
        for index, value, _ in self._pieces(z):
            np.minimum.at(plane.reshape(-1), index, value)
        return plane

    def cover(self, z: float, wall: Callable | None = None) -> np.ndarray:
        """Fraction (y, x) of each pixel inside a tube.

        A tube narrower than a pixel is drawn one pixel wide with reduced contrast, which preserves the
        product of its cross-section and its contrast.

        Parameters
        ----------
        wall : callable, optional
            Wall thickness in mm for given inner radii in mm; the tube's outer surface then counts.
        """
        plane = np.zeros(self.grid.shape, np.float32)
        half = np.float32(0.5 * self.grid.edge)
        for index, value, radius in self._pieces(z):
            true = radius if wall is None else radius + wall(radius)
            wide = np.maximum(true, half)
            share = np.clip(0.5 - (value + radius - wide) / (2 * half), 0.0, 1.0) * (true / wide) ** 2
            np.maximum.at(plane.reshape(-1), index, share)
        return plane

    def _pieces(self, z: float):
        """Yield flat pixel indices, distances to the surface and radii of the tubes near height `z`."""
        first, last = np.searchsorted(self.low, (z - self.longest, z))
        near = np.flatnonzero(self.high[first:last] > z) + first
        if not len(near):
            return
        tubes, radius, grid = self.tubes.where(near), self.radius[near], self.grid
        low = np.minimum(tubes.start, tubes.end)[:, :2] - radius[:, None]
        high = np.maximum(tubes.start, tubes.end)[:, :2] + radius[:, None]
        corner = np.array([grid.x[0], grid.y[0]], np.float32)
        pixel = np.array(grid.pixel, np.float32)
        begin = np.floor((low - corner) / pixel).astype(np.intp)
        size = (np.ceil((high - corner) / pixel).astype(np.intp) - begin).max(axis=1) + 1
        window = np.searchsorted(_WINDOWS, size)
        for kind in np.unique(window):
            chosen = window == kind
            width = _WINDOWS[kind] if kind < len(_WINDOWS) else int(size.max())
            yield from self._batch(tubes.where(chosen), begin[chosen], width, z)

    def _batch(self, tubes: Tubes, begin: np.ndarray, width: int, z: float):
        grid = self.grid
        column = begin[:, 0, None] + np.arange(width)
        row = begin[:, 1, None] + np.arange(width)
        x = np.float32(grid.x[0]) + column.astype(np.float32) * np.float32(grid.pixel[0])
        y = np.float32(grid.y[0]) + row.astype(np.float32) * np.float32(grid.pixel[1])
        axis = tubes.end - tubes.start
        squared = np.maximum((axis**2).sum(axis=1), 1e-6)
        along_x = (x - tubes.start[:, 0, None]) * (axis[:, 0] / squared)[:, None]
        along_y = (y - tubes.start[:, 1, None]) * (axis[:, 1] / squared)[:, None]
        along_z = (np.float32(z) - tubes.start[:, 2]) * (axis[:, 2] / squared)
        t = np.clip(along_x[:, None, :] + along_y[:, :, None] + along_z[:, None, None], 0.0, 1.0)
        expand = (slice(None), None, None)
        distance = np.sqrt(
            (x[:, None, :] - tubes.start[:, 0][expand] - t * axis[:, 0][expand]) ** 2
            + (y[:, :, None] - tubes.start[:, 1][expand] - t * axis[:, 1][expand]) ** 2
            + (np.float32(z) - tubes.start[:, 2][expand] - t * axis[:, 2][expand]) ** 2
        )
        radius = tubes.start_radius[expand] + t * (tubes.end_radius - tubes.start_radius)[expand]
        inside = ((row >= 0) & (row < grid.shape[0]))[:, :, None] & (
            (column >= 0) & (column < grid.shape[1])
        )[:, None, :]
        inside &= distance < radius + np.float32(self.reach)
        flat = row[:, :, None] * grid.shape[1] + column[:, None, :]
        yield flat[inside], (distance - radius)[inside], radius[inside]
