"""Which images of a series can form a stack of slices: the others are left out, with what they are.

A series may hold, beside its slices, screen captures, scouts that nothing marks as such, and copies of its
own files. Whatever may be a slice stays, so that a damaged one is refused by name and never lost.
"""

from __future__ import annotations

import filecmp
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UserError
from .headers import Found, text_of
from .kinds import has_place
from .stack import slices_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom import Dataset

_SAME_PLACE = 0.01  # mm
_SCOUT_COSINE = 0.7  # normals further apart than 45 degrees
_PARALLEL_COSINE = 0.9998  # normals within a degree; reading the series is more exact
# Beyond these, orientation and position (mm) are no plane's.
_LARGEST_COSINE, _LEAST_SINE, _FARTHEST = 2.0, 0.1, 1e9
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
    def modality(self) -> str:
        """As the first image has it; empty if it does not tell."""
        return text_of(self.header, "Modality")

    @property
    def count(self) -> int:
        """Number of images, frames counted each."""
        return sum(int(image.header.get("NumberOfFrames") or 1) for image in self.images)

    @property
    def is_stack(self) -> bool:
        """Whether parallel images lie at two places or more, as far as their headers tell."""
        planes_of = [_planes(image) for image in self.images]
        if None in planes_of:  # reading it will say what is wrong
            return True
        directions = _by_direction(list(itertools.chain(*planes_of)), _PARALLEL_COSINE)
        return any(_places(parallel) > 1 for parallel in directions)

    def described(self) -> str:
        """In a line for a user who is to choose."""
        words = [self.modality, ascii(text_of(self.header, "SeriesDescription"))]
        count = f"{self.count} image{'s' if self.count != 1 else ''}"
        return f"{self.uid} ({', '.join([*filter(None, words), count])})"


@dataclass(frozen=True, eq=False)
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
    """Leave out what has neither position nor orientation, nor the size of the slices or that of a pixel."""
    shapes = [_shape(image) for image in images if has_place(image.header)]
    foreign = [
        image
        for image in images
        if not has_place(image.header)
        and not image.header.get("ImageOrientationPatient")
        and "Rows" in image.header
        and (_shape(image) not in shapes or not image.header.get("PixelSpacing"))
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
    planes_of = [_planes(image) for image in images]
    if None in planes_of:
        return images
    directions = _by_direction(list(itertools.chain(*planes_of)), _SCOUT_COSINE)
    most = max(directions, key=len, default=[])
    scouts = [planes for planes in directions if planes is not most]
    if sum(map(len, scouts)) > _SCOUT_SHARE * len(most):
        return images
    if any(_places(parallel) > _MOST_SCOUT_PLACES for parallel in scouts):
        return images
    slices = set(most)
    across = [slices.isdisjoint(planes) for planes in planes_of]
    _leave_out(series, [(images[i], "localizer") for i in range(len(images)) if across[i]])
    return [image for image, out in zip(images, across, strict=True) if not out]


def _is_row_of_planes(images: list[Found]) -> bool:
    """Whether images of one size lie parallel, each at a place of its own, and are more than scouts are."""
    planes = [plane for image in images for plane in _planes(image) or [None]]
    if None in planes or len({plane.shape for plane in planes}) > 1:
        return False
    return (
        len(_by_direction(planes, _SCOUT_COSINE)) == 1 and _places(planes) == len(planes) > _MOST_SCOUT_PLACES
    )


def _is_enhanced(images: list[Found]) -> bool:
    return any("PerFrameFunctionalGroupsSequence" in image.header for image in images)


def _shape(image: Found) -> tuple:
    return image.header.get("Rows"), image.header.get("Columns")


def _planes(image: Found) -> list[_Plane] | None:
    """Where an image, or each of its frames, lies; None if its header does not tell."""
    try:
        header = image.header
        if "PerFrameFunctionalGroupsSequence" in header:
            slices = slices_of(header, image.path)
            return [_plane(piece.position, [*piece.row, *piece.column], piece.shape) for piece in slices]
        shape = int(header.Rows), int(header.Columns)
        return [_plane(header.ImagePositionPatient, header.ImageOrientationPatient, shape)]
    except Exception:  # whoever reads it as a slice will say what is wrong
        return None


def _plane(position: Sequence, orientation: Sequence, shape: tuple[int, int]) -> _Plane:
    directions = np.array([float(value) for value in orientation]).reshape(2, 3)
    place = np.array([float(value) for value in position])
    if not (np.abs(directions) <= _LARGEST_COSINE).all() or not (np.abs(place) <= _FARTHEST).all():  # or NaN
        raise ValueError("no plane")
    normal = np.cross(*directions)
    length = np.linalg.norm(normal)
    if length < _LEAST_SINE:
        raise ValueError("no plane")
    return _Plane(place, normal / length, shape)


def _by_direction(planes: list[_Plane], least_cosine: float) -> list[list[_Plane]]:
    """The planes in groups whose normals lie near each other's."""
    groups, rest = [], planes
    while rest:
        near = np.abs([plane.normal @ rest[0].normal for plane in rest]) > least_cosine
        groups.append([plane for plane, is_near in zip(rest, near, strict=True) if is_near])
        rest = [plane for plane, is_near in zip(rest, near, strict=True) if not is_near]
    return groups


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
