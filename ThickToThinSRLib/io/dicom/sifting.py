"""Which images of a series can form a stack of slices: the others are left out, with what they are.

A series may hold, beside its slices, screen captures, scouts that nothing marks as such, and copies of its
own files. Whatever may be a slice stays, so that a damaged one is refused by name and never lost.
"""

from __future__ import annotations

import filecmp
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UserError
from .headers import Found, text_of
from .kinds import has_place

if TYPE_CHECKING:
    from pydicom import Dataset

_SAME_PLACE = 0.01  # mm
_SCOUT_COSINE = 0.7  # normals further apart than 45 degrees
# Of a stack in another direction there are more.
_MOST_SCOUT_PLACES, _SCOUT_SHARE = 2, 1 / 3


@dataclass
class Series:
    """The images of one series that may be its slices, in the order of their paths, and what else it holds.

    Attributes
    ----------
    left_out : list of (Path, str)
        Files that are no slices, and what they are.
    copies : list of (Path, Path)
        Files that hold the same instance as another, and that other, which stays.
    """

    uid: str
    images: list[Found] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    copies: list[tuple[Path, Path]] = field(default_factory=list)

    @property
    def header(self) -> Dataset:
        """That of the first image."""
        return self.images[0].header

    @property
    def study(self) -> str:
        """UID of the study."""
        return text_of(self.header, "StudyInstanceUID")

    @property
    def count(self) -> int:
        """Number of images, frames counted each."""
        return sum(int(image.header.get("NumberOfFrames") or 1) for image in self.images)

    @property
    def is_stack(self) -> bool:
        """Whether the images lie at two places or more, as far as their headers tell."""
        if any("PerFrameFunctionalGroupsSequence" in image.header for image in self.images):
            return self.count > 1
        planes = [_plane(image) for image in self.images]
        known = [plane for plane in planes if plane is not None]
        return len(known) < len(planes) or _places(known) > 1

    def described(self) -> str:
        """In a line for a user who is to choose."""
        words = [self.header.get("Modality"), ascii(text_of(self.header, "SeriesDescription"))]
        count = f"{self.count} image{'s' if self.count != 1 else ''}"
        return f"{self.uid} ({', '.join([*filter(None, words), count])})"


@dataclass(frozen=True)
class _Plane:
    """Where an image lies: position and normal in LPS, mm; rows and columns."""

    position: np.ndarray
    normal: np.ndarray
    shape: tuple[int, int]


def sifted(uid: str, found: list[Found]) -> Series:
    """The series that the files of one UID make."""
    series = Series(uid)
    _leave_out(series, [(image, image.other) for image in found if image.other is not None])
    images = _without_copies(series, [image for image in found if image.other is None])
    if any(has_place(image.header) for image in images):
        images = _without_foreign(series, images)
        images = _without_captures(series, images)
        images = _without_scouts(series, images)
    else:  # radiographs, or slices that have lost their place
        _leave_out(series, [(image, "image without a position") for image in images])
        images = []
    series.images = images
    return series


def _leave_out(series: Series, images: list[tuple[Found, str]]) -> None:
    series.left_out += [(image.path, kind) for image, kind in images]


def _without_copies(series: Series, images: list[Found]) -> list[Found]:
    """A file is a copy if it has the UID of another; an anonymizer that gave all the same one made none."""
    first: dict[tuple, Found] = {}
    kept = []
    for image in images:
        header = image.header
        keywords = ("SOPInstanceUID", "ImagePositionPatient", "Rows", "Columns", "NumberOfFrames")
        key = tuple(str(header.get(keyword)) for keyword in keywords)
        if header.get("SOPInstanceUID") and key in first:
            series.copies.append((image.path, first[key].path))
        else:
            first[key] = image
            kept.append(image)
    return kept


def _without_foreign(series: Series, images: list[Found]) -> list[Found]:
    """Leave out what has neither position nor orientation, nor the size of the slices."""
    shapes = [_shape(image) for image in images if has_place(image.header)]
    foreign = [
        image
        for image in images
        if not has_place(image.header)
        and not image.header.get("ImageOrientationPatient")
        and "Rows" in image.header
        and _shape(image) not in shapes
    ]
    _leave_out(series, [(image, "image without a position") for image in foreign])
    return [image for image in images if image not in foreign]


def _without_captures(series: Series, images: list[Found]) -> list[Found]:
    """Captures stay where they alone form a stack: some programs write true slices in this class."""
    captures = [image for image in images if image.capture]
    if not captures:
        return images
    if len(captures) == len(images) and (_is_enhanced(captures) or _is_row_of_planes(captures)):
        return images
    _leave_out(series, [(image, "screen capture") for image in captures])
    return [image for image in images if not image.capture]


def _without_scouts(series: Series, images: list[Found]) -> list[Found]:
    """Leave out few images that lie across the many: scouts that nothing marks as such."""
    planes = [_plane(image) for image in images]
    if None in planes or len(images) < 2:
        return images
    normals = np.array([plane.normal for plane in planes])
    along = np.abs(normals @ normals.T) > _SCOUT_COSINE
    across = ~along[int(np.argmax(along.sum(axis=1)))]
    count = int(across.sum())
    if not count or count > _SCOUT_SHARE * (len(images) - count):
        return images
    scouts = [index for index in range(len(images)) if across[index]]
    while scouts:  # one direction after the other
        alike = [index for index in scouts if along[scouts[0], index]]
        if _places([planes[index] for index in alike]) > _MOST_SCOUT_PLACES:
            return images
        scouts = [index for index in scouts if index not in alike]
    _leave_out(series, [(images[i], "localizer") for i in range(len(images)) if across[i]])
    return [image for image, out in zip(images, across, strict=True) if not out]


def _is_row_of_planes(images: list[Found]) -> bool:
    """Whether images of one size lie parallel, each at a place of its own, and are more than scouts are."""
    planes = [_plane(image) for image in images]
    if None in planes or len({plane.shape for plane in planes}) > 1:
        return False
    parallel = all(abs(plane.normal @ planes[0].normal) > _SCOUT_COSINE for plane in planes)
    return parallel and _places(planes) == len(planes) > _MOST_SCOUT_PLACES


def _is_enhanced(images: list[Found]) -> bool:
    return any("PerFrameFunctionalGroupsSequence" in image.header for image in images)


def _shape(image: Found) -> tuple:
    return image.header.get("Rows"), image.header.get("Columns")


def _plane(image: Found) -> _Plane | None:
    """Where a single image lies; None if its header does not tell, or tells of many frames."""
    try:
        header = image.header
        position = np.array([float(value) for value in header.ImagePositionPatient])
        row, column = np.array([float(value) for value in header.ImageOrientationPatient]).reshape(2, 3)
        normal = np.cross(row, column)
        return _Plane(position, normal / np.linalg.norm(normal), (int(header.Rows), int(header.Columns)))
    except Exception:  # whoever reads it as a slice will say what is wrong
        return None


def _places(planes: list[_Plane]) -> int:
    """Number of different heights along the first plane's normal."""
    heights = np.sort([float(plane.position @ planes[0].normal) for plane in planes])
    return 1 + int(np.sum(np.diff(heights) > _SAME_PLACE))


def check_copies(series: Series) -> None:
    """Raise UserError if files of one UID differ in their pixels: nothing tells which is right."""
    from .pixels import stored_values

    for copy, kept in series.copies:
        if filecmp.cmp(copy, kept, shallow=False):
            continue
        if not np.array_equal(stored_values(copy), stored_values(kept)):
            raise UserError(
                f"{copy}: has the SOP Instance UID of {kept}, but other pixels: remove the wrong one"
            )
