"""A CT volume: voxels together with their position in the patient.

Conventions used in the whole library:

* ``voxels`` has shape (z, y, x) = (k, j, i), the layout of NumPy views of ITK images;
* ``spacing`` and ``origin`` are in ITK's order (x, y, z) = (i, j, k), millimetres, patient axes LPS;
* ``direction`` is 3 x 3; its columns are the unit directions of the index axes i, j, k in LPS;
* an *index axis* is a number: 0 = i, 1 = j, 2 = k; it is array axis 2 - number.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace

import numpy as np

from .errors import UserError

# Axes are straightened where that moves no voxel farther (mm), and where they are off by a degree at most.
MOST_MOVED = 0.1
_MOST_SKEW = 0.02  # cosine between two axes, or difference of a squared length from 1
# The share of a length that is lost where it is stored in single precision or with six digits, and the most
# that the last thin slice may lie behind the last thick one, in target spacings.
_ROUNDED_OFF, _MOST_BEYOND = 5e-6, 0.01
# What rounding in double precision does; not worth another matrix.
_ROUNDING = 1e-7  # mm
_LARGEST = 1e100  # the square of a larger number would overflow


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with spacing, origin and direction.

    Parameters
    ----------
    voxels : ndarray, shape (z, y, x)
        Integers or floating-point numbers, usually in HU; all finite.
    spacing : tuple of 3 floats
        Distance of voxel centres along i, j, k, mm.
    origin : tuple of 3 floats
        LPS position of the centre of voxel (0, 0, 0), mm.
    direction : ndarray, shape (3, 3)
        Columns are the LPS directions of the index axes i, j, k: orthonormal, may be left-handed. A matrix
        that is nearly so is replaced by the nearest one that is, see :func:`straightened`.
    slice_axis : int, optional
        Index axis along which the slices were acquired, if the source states it (DICOM does).
    thickness : float, optional
        Nominal slice thickness in mm, if the source states it (DICOM does).
    source : dict, optional
        Further information from the source, such as modality and identifiers. ``notes`` and ``warnings`` are
        lines for the user, see :class:`~ThickToThinSRLib.monitor.Monitor`; ``name`` is for errors.

    Raises
    ------
    UserError
        If a value is invalid; the message names it.
    """

    voxels: np.ndarray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: np.ndarray = field(default_factory=lambda: np.eye(3))
    slice_axis: int | None = None
    thickness: float | None = None
    source: dict = field(default_factory=dict)

    def __post_init__(self):
        voxels = np.asarray(self.voxels)
        if voxels.ndim != 3 or 0 in voxels.shape:
            raise UserError(
                f"a volume needs three dimensions with one voxel or more each, not {voxels.shape}"
            )
        if voxels.dtype.kind not in "iuf":
            raise UserError(f"voxels must be integers or floating-point numbers, not {voxels.dtype}")
        spacing = _numbers(self.spacing, 3)
        if spacing is None or min(spacing) <= 0:
            raise UserError(f"the spacing must be three positive numbers in mm, not {self.spacing}")
        origin = _numbers(self.origin, 3)
        if origin is None:
            raise UserError(f"the origin must be three finite numbers in mm, not {self.origin}")
        direction = _numbers(self.direction, 9)
        if direction is None:
            raise UserError(
                "the direction must be a matrix of 3 x 3 finite numbers, not "
                f"{np.asarray(self.direction).tolist()}"
            )
        direction = np.reshape(direction, (3, 3))
        if self.slice_axis not in (None, 0, 1, 2):
            raise UserError(f"the slice axis must be 0, 1 or 2 (i, j or k), not {self.slice_axis}")
        extent = np.multiply(spacing, np.maximum(np.array(voxels.shape[::-1]) - 1, 1))
        straight, moved = straightened(direction, extent)
        if straight is None or moved > MOST_MOVED:
            by = f" by {moved:.2g} mm over the volume" if straight is not None else ""
            raise UserError(
                f"the index axes are not perpendicular{by} (direction "
                f"{np.round(direction, 4).tolist()}): resample the volume onto a straight grid first"
            )
        direction = straight
        for name, value in (
            ("voxels", voxels),
            ("spacing", spacing),
            ("origin", origin),
            ("direction", direction),
        ):
            object.__setattr__(self, name, value)

    @property
    def extent(self) -> np.ndarray:
        """Length along i, j, k between the outer voxel centres, mm; of one voxel, its size."""
        return np.multiply(self.spacing, np.maximum(np.array(self.voxels.shape[::-1]) - 1, 1))

    def position(self, i: float, j: float, k: float) -> np.ndarray:
        """LPS position in mm, shape (3,), of the voxel index (i, j, k)."""
        return np.asarray(self.origin) + self.direction @ (np.asarray(self.spacing) * (i, j, k))

    def slices_first(self, axis: int) -> np.ndarray:
        """View of the voxels with index axis `axis` first, shape (slices, rows, columns)."""
        return np.moveaxis(self.voxels, 2 - axis, 0)


def _numbers(values: object, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers; None if `values` are not that."""
    try:
        found = np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return None
    return tuple(found.tolist()) if len(found) == count and (np.abs(found) <= _LARGEST).all() else None


def straightened(direction: np.ndarray, extent: np.ndarray) -> tuple[np.ndarray | None, float]:
    """The nearest matrix with perpendicular columns of length 1, and how far it moves the voxels of a volume.

    Parameters
    ----------
    direction : ndarray, shape (3, 3)
        Columns are the directions of the index axes.
    extent : 3 floats
        Length of the volume along them, mm.

    Returns
    -------
    matrix : ndarray, shape (3, 3), or None
        Same handedness; `direction` itself where the difference is rounding, None where the columns are no
        axes or are more than about a degree off.
    moved : float
        Distance in mm by which the farthest corner moves, the first voxel staying where it is.
    """
    direction = np.asarray(direction, np.float64)
    if not (np.abs(direction) <= 2).all() or np.abs(direction.T @ direction - np.eye(3)).max() > _MOST_SKEW:
        return None, math.inf
    left, _, right = np.linalg.svd(direction)
    straight = left @ right
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=3))) * extent
    moved = float(np.linalg.norm(corners @ (straight - direction).T, axis=1).max())
    return (direction if moved <= _ROUNDING else straight), moved


def through_plane_axis(volume: Volume, override: int | None = None) -> int:
    """Index axis (0 = i, 1 = j, 2 = k) along which the slices are stacked.

    It is the axis whose spacing clearly differs from the other two: on a logarithmic scale, its difference
    from the nearer one must be more than twice the difference between those two. If no axis does (thin,
    almost isotropic slices), it is the slice axis stated by the source, or k.

    Parameters
    ----------
    override : int, optional
        Index axis to use instead.

    Raises
    ------
    UserError
        If `override` is not 0, 1 or 2.
    """
    if override is not None:
        if override not in (0, 1, 2):
            raise UserError(f"the axis must be 0, 1 or 2 (i, j or k), not {override}")
        return override
    order = np.argsort(volume.spacing, kind="stable")
    low, middle, high = np.log(np.asarray(volume.spacing)[order])
    below, above = middle - low, high - middle
    if max(below, above) > 0.01:
        if above > 2 * below:
            return int(order[2])
        if below > 2 * above:
            return int(order[0])
    return 2 if volume.slice_axis is None else volume.slice_axis


def slice_count(slices: int, spacing: float, target_spacing: float) -> int:
    """Number of slices with `target_spacing` from the first to the last of `slices` slice centres.

    The first slice centres coincide; the last one may lie up to one target spacing before the last thick one.
    It may also lie behind it by what files round off: their spacings have six or seven digits, so that twelve
    slices every 4.9999998 mm are 55 mm long.
    """
    steps = (slices - 1) * spacing / target_spacing
    return math.floor(steps + max(1e-6, min(_ROUNDED_OFF * steps, _MOST_BEYOND))) + 1


def check_target_spacing(target_spacing: float, spacing: float) -> float:
    """Return `target_spacing` (mm) if slices with the given spacing (mm) can be refined to it.

    Raises
    ------
    UserError
        If it is not a positive number or is coarser than `spacing`.
    """
    if not (math.isfinite(target_spacing) and target_spacing > 0):
        raise UserError(f"the target spacing must be a positive number of mm, not {target_spacing:g}")
    if target_spacing > spacing * (1 + 1e-6):
        raise UserError(
            f"the target spacing of {target_spacing:g} mm is coarser than the input's {spacing:g} mm: "
            "choose a finer one"
        )
    return target_spacing


def refined(volume: Volume, axis: int, target_spacing: float, slices: np.ndarray) -> Volume:
    """Copy of `volume` with new slices, `target_spacing` mm apart along index axis `axis`.

    The first slice centres coincide, so origin and direction do not change.

    Parameters
    ----------
    slices : ndarray, shape (thin slices, rows, columns)
        The new voxels, in the layout of :meth:`Volume.slices_first`.
    """
    spacing = list(volume.spacing)
    spacing[axis] = float(target_spacing)
    return replace(
        volume,
        voxels=np.moveaxis(slices, 0, 2 - axis),
        spacing=tuple(spacing),
        slice_axis=axis,
        thickness=float(target_spacing),
    )


def cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert floating-point `values` to `dtype`; integer types are rounded and clipped to their range."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "iu":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    # float32 cannot represent the limits of 32-bit integers, nor float64 the upper limit of 64-bit integers.
    exact = values.astype(np.float64) if dtype.itemsize > 2 else values
    highest = limits.max if dtype.itemsize < 8 else np.nextafter(float(limits.max), 0.0)
    return np.clip(np.rint(exact), limits.min, highest).astype(dtype)


def cast_in_place(slices: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert float32 `slices` (n, rows, columns) to `dtype`, slice by slice, as :func:`cast` does.

    Types of up to four bytes reuse the memory of `slices`, which must not be used afterwards. This is safe
    because a converted slice is not larger than the original: it never overwrites values not yet converted.
    """
    dtype = np.dtype(dtype)
    if dtype == slices.dtype:
        return slices
    if dtype.itemsize <= slices.dtype.itemsize and slices.flags.c_contiguous:
        out = slices.reshape(-1).view(dtype)[: slices.size].reshape(slices.shape)
    else:
        out = np.empty(slices.shape, dtype)
    for index in range(len(slices)):
        out[index] = cast(slices[index], dtype)
    return out
