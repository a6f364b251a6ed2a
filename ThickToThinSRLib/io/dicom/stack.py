"""The slices of a DICOM series: positions and pixels' scale of each, and their order.

Positions come from ``ImagePositionPatient`` of every slice (DICOM PS3.3 C.7.6.2) or, in enhanced multi-frame
objects, from the functional groups of every frame (PS3.3 C.7.6.16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UserError
from ...volume import MOST_MOVED

if TYPE_CHECKING:
    from pydicom import Dataset

DIRECTION_TOLERANCE = 1e-3  # difference of unit vectors, 0.06 degrees
_ROUNDED_LENGTH = 2e-3  # of a unit vector
_LARGEST = 1e9  # of any number that a slice needs, whatever its unit


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
    sheared : float
        How far from perpendicular rows and columns are, mm over the image.
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
    sheared: float = 0.0
    is_frame: bool = False

    @property
    def label(self) -> str:
        """What to call it in an error."""
        return f"{self.path.name}, frame {self.frame + 1}" if self.is_frame else self.path.name


@dataclass(frozen=True)
class Stack:
    """Slices sorted along their normal.

    Attributes
    ----------
    direction : ndarray, shape (3, 3)
        Columns: rows' and columns' direction, normal; the normal is the cross product of row and column, so
        the matrix is right-handed.
    thickness : float or None
        That of all slices, mm; None if they differ or do not tell.
    """

    slices: list[Slice]
    direction: np.ndarray
    thickness: float | None

    @property
    def positions(self) -> np.ndarray:
        """Centres of the first voxels, LPS, mm, shape (slices, 3)."""
        return np.array([piece.position for piece in self.slices])

    @property
    def heights(self) -> np.ndarray:
        """The same along the normal, mm, shape (slices,), rising."""
        return self.positions @ self.direction[:, 2]

    @property
    def drift(self) -> np.ndarray:
        """How far each slice lies from the normal through the first one, LPS, mm, shape (slices, 3)."""
        rises = self.heights - self.heights[0]
        return self.positions - self.positions[0] - rises[:, None] * self.direction[:, 2]


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
        if len(values) != count or not all(abs(number) <= _LARGEST for number in values):  # or NaN
            fault = f"its {keyword} is {value}" if value else f"it has no {keyword}"
            raise UserError(f"{path}: damaged or incomplete DICOM image, {fault}")
        return values

    def number(keyword: str, default: float) -> float:
        value = next((scale[keyword].value for scale in scales if keyword in scale), None)
        result = default if value in (None, "") else float(value)
        if not abs(result) <= _LARGEST:
            raise UserError(f"{path}: damaged DICOM image, its {keyword} is {value}")
        return result

    orientation = np.array(numbers("ImageOrientationPatient", 6)).reshape(2, 3)
    if np.abs(orientation).max() > 2:
        raise UserError(f"{path}: damaged DICOM image, its ImageOrientationPatient holds no directions")
    lengths = np.linalg.norm(orientation, axis=1)
    if np.abs(lengths - 1).max() <= _ROUNDED_LENGTH:  # written with three digits
        orientation /= lengths[:, None]
    between_rows, between_columns = numbers("PixelSpacing", 2)
    sheared = abs(float(orientation[0] @ orientation[1])) * between_rows * max(int(header.Rows) - 1, 1)
    unit = np.abs(np.linalg.norm(orientation, axis=1) - 1).max() <= DIRECTION_TOLERANCE
    if not unit or sheared > MOST_MOVED:
        by = f" by {sheared:.2g} mm" if unit else ""
        raise UserError(f"{path}: damaged DICOM image, its ImageOrientationPatient is not perpendicular{by}")
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
        sheared=sheared,
        is_frame="PerFrameFunctionalGroupsSequence" in header,
    )


def ordered_stack(slices: list[Slice]) -> Stack:
    """Slices of one orientation in order along their normal."""
    row = np.mean([piece.row for piece in slices], axis=0)
    row /= np.linalg.norm(row)
    normal = np.cross(row, np.mean([piece.column for piece in slices], axis=0))
    normal /= np.linalg.norm(normal)
    direction = np.stack([row, np.cross(normal, row), normal], axis=1)
    slices = sorted(slices, key=lambda piece: float(np.dot(piece.position, normal)))
    thicknesses = {piece.thickness for piece in slices}
    return Stack(slices, direction, thicknesses.pop() if len(thicknesses) == 1 else None)


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
