"""The pixel grid of an axial section of the phantom, and how shapes are drawn on it."""

from __future__ import annotations

import numpy as np

# y in mm of the origin of the polar coordinates that describe the trunk: a little behind the middle of the
# chest.
POLAR_Y = 10.0
ANGLES = 4096  # number of directions in the polar tables


class Grid:
    """Pixel centres of an axial section in Cartesian and polar coordinates.

    Parameters
    ----------
    x, y : ndarray, 1-D
        Pixel centres, mm: x towards the patient's left, y towards the back (LPS).

    Attributes
    ----------
    edge : float
        Width in mm over which the edge of a shape is blended (partial volume).
    rho, angle : ndarray, shape (y, x)
        Distance from the trunk's axis in mm; index of the direction from that axis, 0 .. ANGLES - 1: front at
        ANGLES / 2, the patient's left at 3 / 4 ANGLES.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray):
        self.x = np.asarray(x, np.float32)
        self.y = np.asarray(y, np.float32)
        self.shape = (len(self.y), len(self.x))
        self.pixel = (_step(self.x), _step(self.y))
        self.edge = max(0.4, 0.5 * sum(self.pixel))
        across, ahead = np.meshgrid(self.x, POLAR_Y - self.y)
        self.rho = np.hypot(across, ahead)
        turn = np.arctan2(across, ahead) / (2 * np.pi) + 0.5
        self.angle = (turn * ANGLES).astype(np.intp) % ANGLES

    def box(self, left: float, right: float, front: float, back: float) -> tuple[slice, slice]:
        """Index window (row slice, column slice) of the pixels inside these limits in mm."""
        return (
            slice(*np.searchsorted(self.y, (front, back))),
            slice(*np.searchsorted(self.x, (left, right))),
        )

    def sub(self, box: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates x (1, columns) and y (rows, 1) of an index window, mm."""
        return self.x[None, box[1]], self.y[box[0], None]

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Fraction of each pixel inside a shape, from its signed distance (mm, negative inside)."""
        return np.clip(0.5 - distance / np.float32(self.edge), 0.0, 1.0)

    def lay(self, hu: np.ndarray, value, distance: np.ndarray) -> None:
        """Draw a shape of `value` HU over `hu`, in place, from its signed distance in mm."""
        hu += (value - hu) * self.cover(distance)


def lay_bone(grid: Grid, hu, distance, shell: float, core, box) -> None:
    """Draw cortical bone, `shell` mm thick, around cancellous bone of `core` HU over `hu[box]`, in place."""
    part = hu[box]
    part += (950.0 - part) * grid.cover(distance)
    part += (core - part) * grid.cover(distance + shell)


def _step(values: np.ndarray) -> float:
    return float(values[1] - values[0]) if len(values) > 1 else 1.0


def ellipsoid(x, y, z: float, centre, radii, axes: np.ndarray | None = None) -> np.ndarray:
    """Approximate signed distance in mm (negative inside) to an ellipsoid, on the plane at height `z`.

    Parameters
    ----------
    x, y : ndarray
        Coordinates in mm, broadcastable.
    centre, radii : 3 floats
        Centre and semi-axes, mm.
    axes : ndarray, shape (3, 3), optional
        Rows are the directions of the semi-axes; x, y, z by default.
    """
    offset = (x - centre[0], y - centre[1], z - centre[2])
    if axes is not None:
        offset = tuple(sum(float(row[i]) * offset[i] for i in range(3)) for row in axes)
    first = np.sqrt(sum((part / radius) ** 2 for part, radius in zip(offset, radii, strict=True)))
    second = np.sqrt(sum((part / radius**2) ** 2 for part, radius in zip(offset, radii, strict=True)))
    return (first * (first - 1.0) / (second + 1e-6)).astype(np.float32)


def turned(*directions) -> np.ndarray:
    """Orthonormal axes (3, 3) as rows, by Gram-Schmidt from two directions and their cross product."""
    first = np.asarray(directions[0], float)
    first /= np.linalg.norm(first)
    second = np.asarray(directions[1], float)
    second = second - first * (first @ second)
    second /= np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)])
