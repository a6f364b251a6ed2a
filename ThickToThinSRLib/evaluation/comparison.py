"""Comparison pictures: one row for each volume, three planes through one position, three CT windows.

The planes are anatomical (patient axes), independent of a volume's index axes. Every point shows the nearest
voxel, so that thick slices look as thick as they are. The patient's right is on the left side of the picture.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..errors import UserError
from ..intensity import detect_intensity, to_hu
from ..io.volume_files import replacing
from ..volume import Volume
from .lung import lung_mask

WINDOWS = {"Lung": (1500, -500), "Soft tissue": (400, 40), "Bone": (1800, 400)}  # width and level in HU
# For each plane: patient axis and sign of the direction to the right; the same downwards; letters of the left
# and the right edge.
PLANES = {
    "axial": ((0, 1), (1, 1), "RL"),
    "coronal": ((0, 1), (2, -1), "RL"),
    "sagittal": ((1, 1), (2, -1), "AP"),
}
ZOOM = 3
ZOOMED_PLANE = {"Lung": "coronal", "Soft tissue": "sagittal", "Bone": "coronal"}
# Grey values that count in the choice of the enlarged part: vessels rather than bone in the lung window, bone
# rather than air in the others.
ZOOMED_GREYS = {"Lung": (0.0, 0.6), "Soft tissue": (0.3, 1.0), "Bone": (0.4, 1.0)}
MAX_VOLUMES = 12

_PLANES_WIDTH, _ROW_HEIGHT = 1400, 560  # pixels: width of the three planes together, greatest height of a row
_GAP, _TITLE, _CAPTION, _MARGIN = 8, 46, 26, 16
_SUPERSAMPLING = 2  # points for each pixel in each direction, averaged to avoid aliasing of fine voxels
_BODY_ABOVE_HU = -300
_SMALLEST_FIELD_MM = 30.0


@dataclass(frozen=True)
class _Entry:
    """A volume with its label; `unit` if its voxels are on the [0, 1] scale."""

    label: str
    volume: Volume
    unit: bool

    def overview(self) -> Volume:
        """Every n-th voxel, at most 2.5 mm apart where the volume is finer, in HU."""
        steps = [max(1, int(2.5 / spacing)) for spacing in self.volume.spacing]
        voxels = self.volume.voxels[tuple(slice(None, None, step) for step in reversed(steps))]
        spacing = tuple(s * step for s, step in zip(self.volume.spacing, steps, strict=True))
        return replace(self.volume, voxels=to_hu(voxels) if self.unit else voxels, spacing=spacing)

    def sample(self, view: _View) -> np.ndarray:
        """HU of the nearest voxels at the points of a view; NaN outside the volume."""
        volume = self.volume
        points = view.points() - np.reshape(volume.origin, (3, 1, 1))
        axes = volume.direction.T / np.reshape(volume.spacing, (3, 1))
        index = np.rint(np.tensordot(axes, points, axes=1)).astype(np.int64)[::-1]
        size = np.reshape(volume.voxels.shape, (3, 1, 1))
        inside = ((index >= 0) & (index < size)).all(axis=0)
        values = volume.voxels[tuple(np.clip(index, 0, size - 1))].astype(np.float32)
        return np.where(inside, to_hu(values) if self.unit else values, np.nan)


@dataclass(frozen=True)
class _View:
    """A rectangle of an anatomical plane, in pixels of `pixel` mm around `centre` (LPS, mm)."""

    plane: str
    centre: np.ndarray
    width: int
    height: int
    pixel: float

    def points(self) -> np.ndarray:
        """LPS positions in mm, shape (3, rows, columns), `_SUPERSAMPLING` per pixel and direction."""
        (across, right), (down, downwards), _ = PLANES[self.plane]
        rows, columns = self.height * _SUPERSAMPLING, self.width * _SUPERSAMPLING
        step = self.pixel / _SUPERSAMPLING
        points = np.broadcast_to(self.centre.reshape(3, 1, 1), (3, rows, columns)).copy()
        points[across] += right * step * (np.arange(columns) - (columns - 1) / 2)
        points[down] += downwards * step * (np.arange(rows) - (rows - 1) / 2)[:, None]
        return points

    def part(self, column: float, row: float, width: int, height: int) -> _View:
        """The view of `width` x `height` pixels around a pixel, enlarged by `ZOOM`."""
        (across, right), (down, downwards), _ = PLANES[self.plane]
        centre = self.centre.copy()
        centre[across] += right * self.pixel * (column - self.width / 2)
        centre[down] += downwards * self.pixel * (row - self.height / 2)
        return _View(self.plane, centre, width, height, self.pixel / ZOOM)

    def corner(self, part: _View) -> tuple[float, float]:
        """Column and row of the upper left corner of a part in this view."""
        (across, right), (down, downwards), _ = PLANES[self.plane]
        offset = (part.centre - self.centre) / self.pixel
        column = self.width / 2 + right * offset[across] - part.width / ZOOM / 2
        row = self.height / 2 + downwards * offset[down] - part.height / ZOOM / 2
        return float(column), float(row)


def compare(
    volumes: Sequence[tuple[str, Volume]],
    output_png: str | os.PathLike,
    position: Sequence[float] | None = None,
) -> None:
    """Write a picture that compares volumes at the same position in the patient.

    Parameters
    ----------
    volumes : sequence of (label, Volume)
        1 to 12 CT volumes, each in HU or on [0, 1] (detected); their grids may differ. The first one
        determines the default position and the field of view.
    output_png : path
        The picture, written atomically; an existing file is replaced.
    position : 3 floats, optional
        LPS position in mm; by default inside the larger lung at the depth of the spine, or the middle of the
        body if there is no lung.

    Raises
    ------
    UserError
        If the number of volumes or the position is invalid, matplotlib is missing, or the file cannot be
        written.
    """
    if not 1 <= len(volumes) <= MAX_VOLUMES:
        raise UserError(f"a picture compares 1 to {MAX_VOLUMES} volumes, not {len(volumes)}")
    entries = [_Entry(label, volume, detect_intensity(volume.voxels) == "unit") for label, volume in volumes]
    _check_overlap(volumes)
    overview = entries[0].overview()
    low, high = _field(overview)
    centre = _default_position(overview) if position is None else _checked_position(position, volumes[0][1])
    views = _views(np.minimum(low, centre), np.maximum(high, centre), centre)
    figure = _draw(entries, views)
    with replacing(Path(output_png), ".png") as temporary:
        figure.savefig(temporary, format="png", dpi=figure.dpi, facecolor="black")


def _check_overlap(volumes: Sequence[tuple[str, Volume]]) -> None:
    """Raise UserError if a volume shares no place in the patient with the first."""
    boxes = []
    for label, volume in volumes:
        ends = ((-0.5, n - 0.5) for n in reversed(volume.voxels.shape))
        corners = np.array([volume.position(*index) for index in itertools.product(*ends)])
        boxes.append((label, corners.min(axis=0), corners.max(axis=0)))
    first, low, high = boxes[0]
    for label, lowest, highest in boxes[1:]:
        gap = float(np.maximum(lowest - high, low - highest).max())
        if gap >= 0:
            raise UserError(
                f"{label} and {first} do not overlap, {gap:.4g} mm lie between them: compare volumes of one "
                "place"
            )


def _field(overview: Volume) -> tuple[np.ndarray, np.ndarray]:
    """LPS corners in mm of the body with a small margin, or of the whole volume if there is no body."""
    labels, count = ndimage.label(ndimage.binary_opening(overview.voxels > _BODY_ABOVE_HU, iterations=2))
    if count:
        body = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    else:
        body = np.ones(overview.voxels.shape, bool)
    points = _positions(overview, body)
    ends = ((0, n - 1) for n in reversed(body.shape))
    corners = np.array([overview.position(*index) for index in itertools.product(*ends)])
    low = np.maximum(points.min(axis=1) - 5, corners.min(axis=0))
    high = np.minimum(points.max(axis=1) + 5, corners.max(axis=0))
    short = np.maximum(0, _SMALLEST_FIELD_MM - (high - low)) / 2
    return low - short, high + short


def _positions(volume: Volume, mask: np.ndarray) -> np.ndarray:
    """LPS positions in mm of the voxels in a mask, shape (3, voxels)."""
    index = np.array(np.nonzero(mask))[::-1] * np.reshape(volume.spacing, (3, 1))
    return volume.direction @ index + np.reshape(volume.origin, (3, 1))


def _default_position(overview: Volume) -> np.ndarray:
    """LPS position in the larger lung, at the depth of the spine, where all CT windows show structures."""
    lungs = lung_mask(overview)
    if lungs.any():
        points = _positions(overview, lungs)
        right = points[0] < points[0].mean()
        lung = points[:, right if 2 * right.sum() >= right.size else ~right]
        return np.array([lung[0].mean(), np.percentile(points[1], 76), points[2].mean()])
    body = overview.voxels > _BODY_ABOVE_HU
    return _positions(overview, body if body.any() else ~body).mean(axis=1)


def _checked_position(position: Sequence[float], volume: Volume) -> np.ndarray:
    """`position` as an array; UserError unless it lies inside the volume."""
    point = np.asarray(position, np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise UserError(f"the position must be three numbers in mm (LPS), not {position}")
    index = volume.direction.T @ (point - volume.origin) / volume.spacing
    if (index < -0.5).any() or (index > np.array(volume.voxels.shape[::-1]) - 0.5).any():
        raise UserError(f"the position {tuple(point.tolist())} mm (LPS) lies outside the first volume")
    return point


def _views(low: np.ndarray, high: np.ndarray, position: np.ndarray) -> dict[str, _View]:
    """The three planes through `position` at one scale; `low` and `high` are corners of the field, mm."""
    extent = high - low
    tallest = max(extent[PLANES[plane][1][0]] for plane in PLANES)
    pixel = max(sum(extent[PLANES[plane][0][0]] for plane in PLANES) / _PLANES_WIDTH, tallest / _ROW_HEIGHT)
    views = {}
    for plane, ((across, _), (down, _), _) in PLANES.items():
        centre = (low + high) / 2
        through = 3 - across - down
        centre[through] = position[through]
        size = (max(1, math.ceil(extent[axis] / pixel)) for axis in (across, down))
        views[plane] = _View(plane, centre, *size, pixel)
    return views


def _windowed(hu: np.ndarray, window: str) -> np.ndarray:
    """Grey values in [0, 1] of the pixels of a sampled view; black outside the volume."""
    width, level = WINDOWS[window]
    grey = np.nan_to_num(np.clip((hu - level) / width + 0.5, 0, 1))
    rows, columns = (n // _SUPERSAMPLING for n in grey.shape)
    return grey.reshape(rows, _SUPERSAMPLING, columns, _SUPERSAMPLING).mean(axis=(1, 3))


def _zoomed_part(entry: _Entry, view: _View, window: str, width: int, height: int) -> _View:
    """The part of a view with the strongest vertical changes, preferring the middle to the edges."""
    grey = np.clip(_windowed(entry.sample(view), window), *ZOOMED_GREYS[window])
    part = [min(n, max(1, size // ZOOM)) for n, size in zip(grey.shape, (height, width), strict=True)]
    change = ndimage.uniform_filter(np.abs(np.gradient(grey, axis=0)) if len(grey) > 1 else grey, part)
    for axis, (n, size) in enumerate(zip(grey.shape, part, strict=True)):
        weight = np.sin(np.pi * (np.arange(n) + 0.5) / n)
        weight[: size // 2] = weight[n - size // 2 :] = 0  # the part must lie inside the view
        change = change * np.expand_dims(weight + 1e-9, 1 - axis)
    row, column = np.unravel_index(np.argmax(change), change.shape)
    return view.part(column, row, width, height)


def _draw(entries: list[_Entry], views: dict[str, _View]):
    """Figure with a block for each CT window and a row for each volume: three planes and an enlarged part."""
    height = max(view.height for view in views.values())
    zoom_width = max(180, round(0.75 * height))
    lefts = np.cumsum([_MARGIN] + [view.width + _GAP for view in views.values()]).tolist()
    row_height = _CAPTION + height + _GAP
    block_height = _TITLE + len(entries) * row_height
    width = lefts[-1] + zoom_width + _MARGIN
    page = _Page(width, len(WINDOWS) * block_height + _MARGIN)
    finest = min(entries, key=lambda entry: max(entry.volume.spacing))
    sampled = [{plane: entry.sample(view) for plane, view in views.items()} for entry in entries]
    for block, window in enumerate(WINDOWS):
        top = block * block_height
        zoomed = ZOOMED_PLANE[window]
        part = _zoomed_part(finest, views[zoomed], window, zoom_width, height)
        title = f"{window} (width {WINDOWS[window][0]}, level {WINDOWS[window][1]} HU)"
        page.text(lefts[0], top + _TITLE / 2 + 4, title, size=15, weight="bold")
        for number, (entry, planes) in enumerate(zip(entries, sampled, strict=True)):
            y = top + _TITLE + number * row_height
            page.text(lefts[0], y + _CAPTION / 2, _caption(entry), size=11)
            y += _CAPTION
            for left, plane in zip(lefts, PLANES, strict=False):
                page.picture(left, y, _windowed(planes[plane], window), plane, PLANES[plane][2])
            page.picture(lefts[-1], y, _windowed(entry.sample(part), window), f"{zoomed}, {ZOOM} x")
            column, row = views[zoomed].corner(part)
            left = lefts[list(PLANES).index(zoomed)]
            page.box(left + column, y + row, part.width / ZOOM, part.height / ZOOM)
            page.box(lefts[-1], y, zoom_width, height)
        page.scale_bar(lefts[0], top + _TITLE + row_height - 2 * _GAP, views["axial"].pixel)
    return page.figure()


def _caption(entry: _Entry) -> str:
    """Label (at most 80 characters) and voxel spacing."""
    spacing = " x ".join(f"{value:.3g}" for value in entry.volume.spacing)
    label = entry.label if len(entry.label) <= 80 else entry.label[:79] + "…"
    return f"{label}  ({spacing} mm)"


class _Page:
    """A black page with grey pictures and marks on them; pixel coordinates, origin at the top left."""

    def __init__(self, width: int, height: int):
        self.grey = np.zeros((height, width))
        self.marks: list = []  # functions of the figure, its width and its height in pixels

    def picture(self, left: int, top: int, grey: np.ndarray, name: str, letters: str = "") -> None:
        """Place a picture with its name in the corner and the letters of its left and right edge."""
        rows, columns = grey.shape
        self.grey[top : top + rows, left : left + columns] = grey
        self.text(left + 6, top + 11, name, size=9, color="0.85")
        for letter, x in zip(letters, (left + 8, left + columns - 8), strict=False):
            self.text(x, top + rows / 2, letter, size=9, color="0.85", ha="center")

    def text(self, x: float, y: float, text: str, ha: str = "left", color: str = "white", **style) -> None:
        def draw(figure, width, height):
            from matplotlib.patheffects import withStroke

            # A file name may contain a $, which would start a formula.
            figure.text(
                x / width, 1 - y / height, text, ha=ha, va="center", color=color, parse_math=False,
                path_effects=[withStroke(linewidth=2.5, foreground="black")], **style,
            )  # fmt: skip

        self.marks.append(draw)

    def box(self, left: float, top: float, width: float, height: float, filled: bool = False) -> None:
        def draw(figure, _, page_height):
            from matplotlib.patches import Rectangle
            from matplotlib.transforms import IdentityTransform

            corner = left, page_height - top - height
            figure.add_artist(
                Rectangle(
                    corner, width, height, fill=filled, color="#ffc83d", lw=1.2, transform=IdentityTransform()
                )
            )

        self.marks.append(draw)

    def scale_bar(self, left: int, bottom: int, pixel: float) -> None:
        millimetres = max((n for n in (5, 10, 20, 50, 100) if n <= 110 * pixel), default=2)
        self.box(left + 4, bottom - 3, millimetres / pixel, 3, filled=True)
        self.text(left + 10 + millimetres / pixel, bottom - 3, f"{millimetres} mm", size=8, color="#ffc83d")

    def figure(self):
        """The matplotlib figure, which is saved with exactly these pixels."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise UserError(
                'pictures need matplotlib, which is not installed: pip install "thicktothin[measure]"'
            ) from error
        dpi = 100
        height, width = self.grey.shape
        figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="black")
        FigureCanvasAgg(figure)
        figure.figimage(self.grey, cmap="gray", vmin=0, vmax=1, origin="upper")
        for draw in self.marks:
            draw(figure, width, height)
        return figure
