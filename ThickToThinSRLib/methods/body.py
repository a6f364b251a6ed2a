"""Where the body lies in a scan, so that networks need not correct the air and the table around it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import ndimage

# Blocks of pixels are of the body where their mean is above this: lungs are, air around and most foam is not.
_BLOCK, _BODY_HU = 4, -930.0
# What is thinner than this, in blocks, is a sheet of the table or clothes: 10 to 20 mm.
_THINNEST = 5
# What is shown around the body, pixels, and what the borders of a box are multiples of: the coarsest grid
# of a network that reads it.
_AROUND, _GRID = 16, 8


class Body:
    """The body in thick slices.

    Parameters
    ----------
    thick : ndarray or tensor, shape (M, rows, columns)
        Thick slices in HU.
    """

    def __init__(self, thick: np.ndarray):
        self._shape = tuple(thick.shape)
        above = np.stack([_block_means(plane) > _BODY_HU for plane in thick])
        opening = np.ones((1, _THINNEST, _THINNEST), bool)
        # What reaches the border of the image goes on beyond it.
        eroded = ndimage.binary_erosion(above, opening, border_value=1)
        self._blocks = ndimage.binary_dilation(eroded, opening)  # (M, rows / 4, columns / 4)

    def box(self, slices: Iterable[int]) -> tuple[slice, slice] | None:
        """Rows and columns around the body in some slices and their neighbours; None if there is but air."""
        near = {index + step for index in slices for step in (-2, -1, 0, 1, 2)}
        shown = self._blocks[[index for index in near if 0 <= index < self._shape[0]]].any(axis=0)
        if not shown.any():
            return None
        return _around(shown.any(axis=1), self._shape[1]), _around(shown.any(axis=0), self._shape[2])

    def span(self, across: int, planes: slice) -> slice | None:
        """Where the body lies in or near coronal (`across` 1) or sagittal planes (2), along their columns."""
        first, last = planes.start - _AROUND, planes.stop + _AROUND
        blocks = slice(max(0, first // _BLOCK), -(-last // _BLOCK))
        shown = self._blocks[:, blocks] if across == 1 else self._blocks[:, :, blocks].swapaxes(1, 2)
        shown = shown.any(axis=(0, 1))
        return _around(shown, self._shape[3 - across]) if shown.any() else None


def _block_means(plane: np.ndarray) -> np.ndarray:
    """Means of blocks of pixels; the last ones of an axis repeat its border."""
    padding = [(0, -size % _BLOCK) for size in plane.shape]
    whole = np.pad(plane, padding, mode="edge")
    rows, columns = (size // _BLOCK for size in whole.shape)
    return whole.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3), dtype=np.float32)


def _around(shown: np.ndarray, size: int) -> slice:
    """Pixels from the first to the last block that is shown, and some around them."""
    found = np.flatnonzero(shown)
    first = (int(found[0]) * _BLOCK - _AROUND) // _GRID * _GRID
    last = -((-(int(found[-1]) + 1) * _BLOCK - _AROUND) // _GRID) * _GRID
    return slice(max(0, first), min(size, last))


def with_margin(
    box: tuple[slice, slice], shape: tuple[int, int], margin: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """A box with a margin of pixels around it, as far as the image goes; and where in this the box lies."""
    seen = tuple(
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, size in zip(box, shape, strict=True)
    )
    inner = tuple(
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(box, seen, strict=True)
    )
    return seen, inner


def cut(volume: Any, slices: np.ndarray, box: tuple[slice, slice]) -> Any:
    """Copy of some slices of a volume (slices, rows, columns), an array or a tensor, within a box."""
    return volume[:, box[0], box[1]][slices]
