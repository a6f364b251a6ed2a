"""Sliding windows: where they lie, what they read, and how their predictions are blended.

A window reads `depth` thick slices of a tile and predicts some of the thin slices between them. Windows are
placed separately along the slices, the rows and the columns. Along each axis, the blending shares of all
windows that write one thin slice, row or column sum to one, so that predictions are simply added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import as_float, beside, zeros
from ..errors import UserError
from ..intensity import to_unit
from ..monitor import Monitor

if TYPE_CHECKING:  # importing the networks would import torch
    from ..networks.window_spec import WindowSpec

# Neighbouring tiles fade into each other over this many pixels, beyond the margins that are discarded.
_FADE = 16


@dataclass(frozen=True)
class WindowPlacement:
    """One window along one axis.

    Attributes
    ----------
    start, length : int
        Input indices ``start .. start + length - 1``; those outside the volume are padding.
    target : slice
        Output indices that the window writes.
    offset : int
        Index, within the window's prediction, of the first output that it writes.
    shares : ndarray, shape (outputs written,), float32
        The window's blending share in each of these outputs.
    """

    start: int
    length: int
    target: slice
    offset: int
    shares: np.ndarray


def depth_placements(slices: int, window: WindowSpec, tiling: str) -> list[WindowPlacement]:
    """Windows along `slices` thick slices, for ``factor (slices - 1) + 1`` thin ones.

    ``seamless`` covers all thin slices; neighbouring windows fade into each other over one thick slice
    spacing, and the end slices are repeated beyond the ends. ``authors`` is the loop of the published test
    code: a window every `window.stride` slices, then one at the end; later windows overwrite earlier ones,
    and no window writes the first and last `window.first_output` thin slices.

    Returns
    -------
    list of WindowPlacement
        In the order of the slices.

    Raises
    ------
    UserError
        For ``authors`` with fewer slices than a window has (the published code fails there too).
    """
    factor, thin = window.factor, window.factor * (slices - 1) + 1
    if tiling == "authors":
        if slices < window.depth:
            raise UserError(
                f"the authors' tiling needs at least {window.depth} thick slices, not {slices}: "
                "use {tiling} seamless",
                "tiling",
            )
        starts = list(range(0, slices - window.depth, window.stride))
        if slices - window.depth not in starts:
            starts.append(slices - window.depth)
    else:
        # End with the first window that reaches the last thin slice.
        last = -((window.first_output + window.outputs - 1 - (thin - 1)) // factor)
        starts = list(range(-1, last, max(1, window.depth - 3)))
        starts.append(max(last, -1))
    first_outputs = [factor * start + window.first_output for start in starts]
    written = [(max(first, 0), min(first + window.outputs, thin)) for first in first_outputs]
    shares = _last_window_only(written, thin) if tiling == "authors" else _cross_fade(written, thin)
    return [
        WindowPlacement(start, window.depth, slice(*span), span[0] - first, share)
        for start, first, span, share in zip(starts, first_outputs, written, shares, strict=True)
    ]


def tile_placements(size: int, tile: int, window: WindowSpec, tiling: str) -> list[WindowPlacement]:
    """Tiles along an in-plane axis of `size` pixels, each reading at most `tile` pixels.

    ``seamless``: the outer `window.margin` pixels of a tile are discarded (beyond the image the input is
    mirrored), and neighbouring tiles fade into each other; a single tile if that is enough. ``authors``:
    tiles side by side.

    Returns
    -------
    list of WindowPlacement
        In the order of the pixels.

    Raises
    ------
    UserError
        For ``authors`` if `size` is not a multiple of the tile (the published code fails there too), or if
        `tile` is not larger than the margins.
    """
    if tiling == "authors":
        if size % window.tile:
            raise UserError(
                f"the authors' tiling needs in-plane sizes that are multiples of {window.tile} pixels, "
                f"not {size}: use {{tiling}} seamless",
                "tiling",
            )
        ones = np.ones(window.tile, np.float32)
        return [
            WindowPlacement(start, window.tile, slice(start, start + window.tile), 0, ones)
            for start in range(0, size, window.tile)
        ]
    margin, multiple = window.margin, window.multiple
    whole = _round_up(size + 2 * margin, multiple)
    length = min(whole, tile // multiple * multiple)
    step = (length - 2 * margin - _FADE) // multiple * multiple
    starts = [-margin]
    if length < whole:
        if step < multiple:
            raise UserError(f"tiles of {tile} pixels are too small: all of their pixels would be discarded")
        starts = [*range(-margin, whole - margin - length, step), whole - margin - length]
    written = [(max(start + margin, 0), min(start + length - margin, size)) for start in starts]
    return [
        WindowPlacement(start, length, slice(*span), span[0] - start, share)
        for start, span, share in zip(starts, written, _cross_fade(written, size), strict=True)
    ]


def predict(
    thick: Any,
    window: WindowSpec,
    tiling: str,
    runner: Callable[[Any], Any],
    monitor: Monitor,
    out: Any = None,
) -> Any:
    """Thin slices that a network predicts from thick ones.

    Parameters
    ----------
    thick : ndarray or tensor, shape (L, H, W)
        Thick slices in HU, any type; clipped to the networks' window.
    window : WindowSpec
        What the network reads and predicts.
    tiling : {"seamless", "authors"}
        See :func:`depth_placements` and :func:`tile_placements`.
    runner : callable
        ``(B, depth, h, w)`` float32 in [0, 1] to ``(B, outputs, h, w)``, arrays or tensors; has ``tile``, the
        largest side of a tile, ``at_once(pixels)``, how many tiles of so many pixels it takes in one call,
        ``memory_errors``, what it raises when memory runs out, and
        ``shrink(reason, tiles, side, divisible)``, which then makes room or raises.
    out : ndarray or tensor, shape (factor (L - 1) + 1, H, W), float32, optional
        Zeros, to which the predictions are added; a new array by default.

    Returns
    -------
    ndarray or tensor
        `out`, on the networks' scale; thin slices that no window writes (``authors``) are 0.
    """
    slices, height, width = thick.shape
    if out is None:
        out = np.zeros((window.factor * (slices - 1) + 1, height, width), np.float32)
    # The middle first: the runner chooses the precision on its first tile, which should show the body.
    depth = middle_first(depth_placements(slices, window, tiling))
    done = 0
    while done < len(depth):
        group = depth[done : done + runner.at_once(height * width)]
        blocks = _unit_blocks(thick, group)

        def on_tile(number: int, total: int, first: int = done, windows: int = len(group)) -> None:
            monitor.step("network", first * total + number * windows, len(depth) * total)

        predictions = predict_blocks(blocks, window, tiling, runner, on_tile)
        for placement, prediction in zip(group, predictions, strict=True):
            used = prediction[placement.offset : placement.offset + len(placement.shares)]
            share = beside(placement.shares[:, None, None], out)
            out[placement.target] += share * beside(used, out)
        done += len(group)
    return out


def predict_blocks(
    blocks: Any,
    window: WindowSpec,
    tiling: str,
    runner: Callable[[Any], Any],
    on_tile: Callable[[int, int], None],
    region: tuple[slice, slice] | None = None,
) -> Any:
    """Predict all outputs of some windows over whole slices, tile by tile.

    Parameters
    ----------
    blocks : ndarray or tensor, shape (B, depth, H, W), float32
        What the network reads, several windows at once.
    runner
        See :func:`predict`.
    on_tile : callable
        Takes the tiles done and their total, after each of them; may raise to stop.
    region : tuple of 2 slices, optional
        Rows and columns to predict; what lies around is read only. All by default.

    Returns
    -------
    ndarray or tensor, shape (B, outputs, H, W) or the region's, float32
    """
    height, width = blocks.shape[2:]
    region = region or (slice(0, height), slice(0, width))
    sizes = [part.stop - part.start for part in region]
    while True:
        rows, columns = (tile_placements(size, runner.tile, window, tiling) for size in sizes)
        tiles = [(row, column) for row in middle_first(rows) for column in middle_first(columns)]
        at_once = runner.at_once(rows[0].length * columns[0].length)
        prediction = None
        try:
            for number, (row, column) in enumerate(tiles):
                tile = _tile(blocks, (row, column), region)
                for first in range(0, len(tile), at_once):
                    part = slice(first, first + at_once)
                    predicted = runner(tile[part])
                    if prediction is None:
                        prediction = zeros((len(blocks), window.outputs, *sizes), predicted)
                    _fade_in(prediction[part], predicted, row, column)
                on_tile(number + 1, len(tiles))
            return prediction
        except runner.memory_errors as error:
            # Shrink only after this block: until then the traceback keeps the failed tensors in memory.
            reason = str(error)
        prediction = predicted = tile = None
        side = max(rows[0].length, columns[0].length)
        runner.shrink(reason, min(at_once, len(blocks)), side, tiling != "authors")


def middle_first(items: list) -> list:
    """Items sorted by their distance from the middle of the list."""
    return [item for _, item in sorted(enumerate(items), key=lambda pair: abs(pair[0] - len(items) // 2))]


def _unit_blocks(thick: Any, placements: list[WindowPlacement]) -> Any:
    """The slices of some windows on [0, 1]; beyond the ends the end slices are repeated."""
    indices = np.stack([placement.start + np.arange(placement.length) for placement in placements])
    return to_unit(as_float(thick[indices.clip(0, len(thick) - 1)])).clip(0.0, 1.0)


def _tile(blocks: Any, placements: tuple[WindowPlacement, WindowPlacement], region: tuple) -> Any:
    """What a tile reads of some windows, (B, depth, h, w), contiguous."""
    for axis, (placement, part) in enumerate(zip(placements, region, strict=True), 2):
        index = _mirrored(placement.start + part.start, placement.length, blocks.shape[axis])
        blocks = blocks[:, :, index] if axis == 2 else blocks[:, :, :, index]
    return np.ascontiguousarray(blocks) if isinstance(blocks, np.ndarray) else blocks.contiguous()


def _fade_in(prediction: Any, predicted: Any, row: WindowPlacement, column: WindowPlacement) -> None:
    """Add a tile's share of the predictions of some windows, in place."""
    used = predicted[
        :, :, row.offset : row.offset + len(row.shares), column.offset : column.offset + len(column.shares)
    ]
    share = beside(row.shares[:, None] * column.shares, prediction)
    prediction[:, :, row.target, column.target] += share * beside(used, prediction)


def _mirrored(start: int, length: int, size: int) -> np.ndarray | slice:
    """Indices that a tile reads; beyond the image it is mirrored about its border pixels."""
    if start >= 0 and start + length <= size:
        return slice(start, start + length)
    period = max(1, 2 * (size - 1))
    indices = np.abs(np.arange(start, start + length)) % period
    return np.minimum(indices, period - indices) if size > 1 else np.zeros(length, int)


def _cross_fade(written: list[tuple[int, int]], size: int) -> list[np.ndarray]:
    """Normalised triangular shares: a linear cross-fade where windows overlap, 1 elsewhere."""
    triangles = []
    total = np.zeros(size)
    for first, stop in written:
        index = np.arange(first, stop)
        triangles.append(np.minimum(index - first, stop - 1 - index) + 1.0)
        total[first:stop] += triangles[-1]
    return [
        (triangle / total[first:stop]).astype(np.float32)
        for triangle, (first, stop) in zip(triangles, written, strict=True)
    ]


def _last_window_only(written: list[tuple[int, int]], size: int) -> list[np.ndarray]:
    """Share 1 for the last window that writes an output, 0 for earlier ones."""
    owner = np.full(size, -1)
    for number, (first, stop) in enumerate(written):
        owner[first:stop] = number
    return [(owner[first:stop] == number).astype(np.float32) for number, (first, stop) in enumerate(written)]


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
