"""Positions of the slices of a DICOM series, and the check that they form a regular stack.

Positions come from ``ImagePositionPatient`` of every slice (DICOM PS3.3 C.7.6.2) or, in enhanced multi-frame
objects, from the functional groups of every frame (PS3.3 C.7.6.16). Slices that do not form a regular grid
are rejected with the measured values; they are never resampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UserError

if TYPE_CHECKING:
    from pydicom import Dataset

_DIRECTION_TOLERANCE = 1e-3  # difference of unit vectors, 0.06 degrees
_IN_PLANE_TOLERANCE = 0.1  # mm over the whole stack
_POSITION_TOLERANCE = (0.02, 0.01)  # mm, or as a fraction of the spacing; the larger one applies


@dataclass(frozen=True)
class Slice:
    """One slice: a file, or one frame of a multi-frame file.

    Attributes
    ----------
    position : tuple of 3 floats
        Centre of the first voxel, LPS, mm.
    row, column : tuple of 3 floats
        Unit directions of increasing i and increasing j, LPS.
    pixel_spacing : tuple of 2 floats
        Along i and j, mm.
    shape : tuple of 2 ints
        Rows and columns.
    thickness : float or None
        Slice thickness, mm; None if absent or zero.
    slope, intercept : float
        HU = slope * stored value + intercept.
    """

    path: Path
    frame: int
    instance_uid: str
    position: tuple[float, float, float]
    row: tuple[float, float, float]
    column: tuple[float, float, float]
    pixel_spacing: tuple[float, float]
    shape: tuple[int, int]
    thickness: float | None
    slope: float
    intercept: float
    frame_of_reference: str
    is_frame: bool = False

    @property
    def label(self) -> str:
        """What to call it in an error."""
        return f"{self.path.name}, frame {self.frame + 1}" if self.is_frame else self.path.name


@dataclass(frozen=True)
class Stack:
    """Slices sorted along their normal, with the geometry of the Volume that they form."""

    slices: list[Slice]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: np.ndarray
    thickness: float | None


def slices_of(header: Dataset, path: Path) -> list[Slice]:
    """The slices of a DICOM object: one, or one for each frame. Localizer frames are skipped.

    Raises
    ------
    UserError
        If an attribute that a slice of a volume needs is missing or damaged.
    """
    frames = header.get("PerFrameFunctionalGroupsSequence")
    if not frames:
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise UserError(
                f"{path}: a multi-frame image without positions of its frames cannot be read as a volume"
            )
        return [_slice(path, header, 0, (header,), (header,))]
    shared = header.get("SharedFunctionalGroupsSequence") or [{}]
    if int(header.get("NumberOfFrames") or 1) != len(frames):
        raise UserError(
            f"{path}: damaged, it describes {len(frames)} frames but contains {header.get('NumberOfFrames')}"
        )
    slices = []
    for index, frame in enumerate(frames):
        groups = [item for level in (frame, shared[0]) for item in _first_items(level)]
        kind = next((item.FrameType for item in groups if "FrameType" in item), ())
        if "LOCALIZER" not in kind:
            slices.append(_slice(path, header, index, groups, (*groups, header)))
    return slices


def _first_items(groups: Dataset) -> list[Dataset]:
    """First item of each sequence in the functional groups of a frame."""
    return [element.value[0] for element in groups if element.VR == "SQ" and element.value]


def _slice(
    path: Path, header: Dataset, frame: int, geometries: Sequence[Dataset], scales: Sequence[Dataset]
) -> Slice:
    """Read a slice: geometry and rescaling come from the first of the datasets that has the attribute."""

    def numbers(keyword: str, count: int) -> tuple[float, ...]:
        value = next((geometry[keyword].value for geometry in geometries if keyword in geometry), None)
        values = tuple(float(number) for number in value) if value else ()
        if len(values) != count or not all(math.isfinite(number) for number in values):
            fault = f"its {keyword} is {value}" if value else f"it has no {keyword}"
            raise UserError(f"{path}: damaged or incomplete DICOM image, {fault}")
        return values

    def number(keyword: str, default: float) -> float:
        value = next((scale[keyword].value for scale in scales if keyword in scale), None)
        result = default if value in (None, "") else float(value)
        if not math.isfinite(result):
            raise UserError(f"{path}: damaged DICOM image, its {keyword} is {value}")
        return result

    orientation = np.array(numbers("ImageOrientationPatient", 6)).reshape(2, 3)
    if not np.allclose(orientation @ orientation.T, np.eye(2), atol=_DIRECTION_TOLERANCE):
        raise UserError(f"{path}: damaged DICOM image, its ImageOrientationPatient is not perpendicular")
    between_rows, between_columns = numbers("PixelSpacing", 2)
    thickness, slope = number("SliceThickness", 0.0), number("RescaleSlope", 1.0)
    if slope == 0:
        raise UserError(f"{path}: damaged DICOM image, its RescaleSlope is 0")
    return Slice(
        path=path,
        frame=frame,
        instance_uid=str(header.get("SOPInstanceUID") or ""),
        position=numbers("ImagePositionPatient", 3),
        row=tuple(orientation[0]),
        column=tuple(orientation[1]),
        pixel_spacing=(between_columns, between_rows),
        shape=(int(header.Rows), int(header.Columns)),
        thickness=thickness if thickness > 0 else None,
        slope=slope,
        intercept=number("RescaleIntercept", 0.0),
        frame_of_reference=str(header.get("FrameOfReferenceUID") or ""),
        is_frame="PerFrameFunctionalGroupsSequence" in header,
    )


def regular_stack(slices: list[Slice], name: str) -> Stack:
    """Order slices along their normal and check that they form a regular stack.

    Parameters
    ----------
    name
        Name of the series in error messages.

    Returns
    -------
    Stack
        The normal is the cross product of row and column, so the direction matrix is right-handed.

    Raises
    ------
    UserError
        If the slices differ in size, pixel spacing, orientation or frame of reference; if one is missing or
        duplicated; or if they are unevenly spaced or sheared (gantry tilt).
    """
    if len(slices) < 2:
        raise UserError(
            f"{name}: the series holds one slice only ({slices[0].label}), and two slices are the least: "
            "get the complete series"
        )
    _check_alike(slices, name)
    row = np.mean([piece.row for piece in slices], axis=0)
    row /= np.linalg.norm(row)
    normal = np.cross(row, np.mean([piece.column for piece in slices], axis=0))
    normal /= np.linalg.norm(normal)
    direction = np.stack([row, np.cross(normal, row), normal], axis=1)

    slices = sorted(slices, key=lambda piece: float(np.dot(piece.position, normal)))
    positions = np.array([piece.position for piece in slices])
    heights = positions @ normal
    thicknesses = {piece.thickness for piece in slices}
    thickness = thicknesses.pop() if len(thicknesses) == 1 else None
    _check_heights(heights, [piece.label for piece in slices], name)
    _check_straight(positions, heights, normal, name)
    distance = slice_spacing(positions, heights)
    spacing = (*slices[0].pixel_spacing, distance)
    return Stack(slices, spacing, slices[0].position, direction, thickness)


def slice_spacing(positions: np.ndarray, heights: np.ndarray) -> float:
    """Distance of even slices in mm, such that the last one is as far from the first as it was measured.

    A small tilt makes the way along the stack longer than that along the normal, and positions are rounded:
    of all lengths that both leave open, one of two decimals or less is the one that was set.

    Parameters
    ----------
    positions : ndarray, shape (slices, 3)
        LPS, mm, sorted.
    heights : ndarray, shape (slices,)
        The same along the normal, mm.
    """
    gaps = len(heights) - 1
    along, across = float(np.linalg.norm(positions[-1] - positions[0])), float(heights[-1] - heights[0])
    precision = _precision(positions)
    for decimals in range(3):
        distance = round(along / gaps, decimals)
        if distance > 0 and across - precision <= distance * gaps <= along + precision:
            return distance
    return along / gaps


def _precision(positions: np.ndarray) -> float:
    """Error in mm of the distance between two positions that were written with this many decimals."""
    decimals = next((n for n in range(1, 6) if np.abs(positions - positions.round(n)).max() < 1e-9), 6)
    return max(1e-6, min(0.01, 10.0**-decimals))


def _check_alike(slices: list[Slice], name: str) -> None:
    """Reject slices that differ in size, pixel spacing, orientation or frame of reference."""
    shapes = sorted({piece.shape for piece in slices})
    if len(shapes) > 1:
        sizes = " and ".join(f"{columns} x {rows}" for rows, columns in shapes[:3])
        odd = _odd_ones(slices, [piece.shape for piece in slices])
        raise UserError(f"{name}: slices of different sizes ({sizes} pixels: {odd}) do not form one volume")
    pixels = np.array([piece.pixel_spacing for piece in slices])
    if pixels.min() <= 0:
        raise UserError(f"{name}: damaged, its PixelSpacing is {pixels.min():g} mm")
    if np.ptp(pixels, axis=0).max() > 1e-4:
        raise UserError(
            f"{name}: slices of different pixel spacing ({pixels.min():.6g} to {pixels.max():.6g} mm) "
            "do not form one volume"
        )
    directions = np.array([[*piece.row, *piece.column] for piece in slices])
    largest = np.abs(directions - directions[0]).max()
    if largest > _DIRECTION_TOLERANCE:
        cosines = [
            np.dot(np.cross(d[:3], d[3:]), np.cross(directions[0, :3], directions[0, 3:])) for d in directions
        ]
        angle = math.degrees(math.acos(max(-1.0, min(1.0, min(cosines)))))
        raise UserError(
            f"{name}: slices of different orientation (normals up to {angle:.1f} degrees apart, direction "
            f"cosines up to {largest:.4f}: {_odd_ones(slices, directions.round(3))}) do not form one volume"
        )
    if len({piece.frame_of_reference for piece in slices}) > 1:
        raise UserError(f"{name}: slices of different frames of reference do not form one volume")


def _odd_ones(slices: list[Slice], values: Sequence) -> str:
    """Names of the slices whose value is not the most frequent one."""
    keys = [str(value) for value in values]
    usual = max(dict.fromkeys(keys), key=keys.count)
    odd = [piece.label for piece, key in zip(slices, keys, strict=True) if key != usual]
    return ", ".join(odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")


def _check_heights(heights: np.ndarray, labels: list[str], name: str) -> None:
    """Reject duplicate, missing and unevenly spaced slices; `heights` are sorted, mm along the normal."""
    gaps = np.diff(heights)
    spacing = float(np.median(gaps))
    tolerance = max(_POSITION_TOLERANCE[0], _POSITION_TOLERANCE[1] * spacing)
    double = int(np.sum(gaps < 0.01))
    if double:
        first = int(np.argmax(gaps < 0.01))
        raise UserError(
            f"{name}: {double} slice{'s' if double > 1 else ''} at the same position as another, first "
            f"{labels[first]} and {labels[first + 1]} at {heights[first]:.2f} mm along the normal: if the "
            "series contains several acquisitions or phases, separate them first"
        )
    deviation = float(np.abs(heights - np.linspace(heights[0], heights[-1], len(heights))).max())
    if max(deviation, float(np.abs(gaps - spacing).max())) <= tolerance:
        return
    widest = int(np.argmax(gaps))
    where = (
        f"{gaps[widest]:.3f} mm between {heights[widest]:.2f} and {heights[widest + 1]:.2f} mm, "
        f"{labels[widest]} and {labels[widest + 1]}"
    )
    smallest = float(gaps.min())
    whole = np.rint(gaps / smallest)
    missing = int(np.sum(whole - 1))
    if missing and np.abs(gaps / smallest - whole).max() < 0.05:
        raise UserError(
            f"{name}: {missing} missing slice{'s' if missing > 1 else ''}: the spacing is {smallest:.3f} mm, "
            f"but there are {where}; get the complete series"
        )
    raise UserError(
        f"{name}: uneven slice spacing, {smallest:.3f} to {gaps.max():.3f} mm ({where}; up to "
        f"{deviation:.3f} mm from a regular grid): resample the series to even spacing first"
    )


def _check_straight(positions: np.ndarray, heights: np.ndarray, normal: np.ndarray, name: str) -> None:
    """Reject slices that are displaced in-plane relative to each other (gantry tilt, table motion)."""
    rises = heights - heights[0]
    drift = positions - positions[0] - rises[:, None] * normal
    largest = float(np.linalg.norm(drift, axis=1).max())
    if largest <= _IN_PLANE_TOLERANCE:
        return
    slope = rises @ drift / (rises @ rises)
    rest = float(np.linalg.norm(drift - rises[:, None] * slope, axis=1).max())
    if rest <= max(_IN_PLANE_TOLERANCE, 0.1 * largest):
        angle = math.degrees(math.atan(float(np.linalg.norm(slope))))
        raise UserError(
            f"{name}: gantry tilt of {angle:.2f} degrees, shearing the stack by {largest:.2f} mm in total: "
            "correct the tilt first, for instance with Slicer's DICOM module"
        )
    raise UserError(
        f"{name}: slices are shifted in-plane by up to {largest:.2f} mm: they do not form one volume"
    )
