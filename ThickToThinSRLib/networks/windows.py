"""Attention windows over an image or a volume: the tokens in them and the masks between tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch


@dataclass(frozen=True)
class WindowKind:
    """Windows that share one attention mask.

    Attributes
    ----------
    index : Tensor
        (windows, N) int64: flat positions of each window's tokens.
    blocked : Tensor or None
        (N, N) bool, true for pairs of tokens that must not attend to each other; None if all may.
    """

    index: torch.Tensor
    blocked: torch.Tensor | None

    def chunks(self, windows: int) -> Iterator[torch.Tensor]:
        """`index` in chunks of at most this many windows."""
        return iter(self.index.split(max(1, windows)))


class Reordered(torch.autograd.Function):
    """Tokens (B, N, C) in another order, each exactly once.

    The gradient is put back by the opposite order. PyTorch's own gradient of indexing would fill zeros and
    add to them, as an index might occur twice.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, order: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        """`back` is the order that restores `x`."""
        ctx.back = back
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient.index_select(1, ctx.back), None, None


@lru_cache(maxsize=64)
def window_kinds(
    shape: tuple[int, ...],
    window: tuple[int, ...],
    shift: tuple[int, ...],
    masked: bool,
    device: torch.device,
) -> tuple[WindowKind, ...]:
    """The windows of a grid after a cyclic shift, grouped by the mask they need.

    After the shift, a window at the end of an axis contains tokens from both ends of the grid, which are not
    neighbours. With `masked` they do not attend to each other (Liu et al., Swin Transformer, ICCV 2021,
    section 3.2). Only such windows need a mask. In d dimensions there are at most 2^d different masks, so the
    windows share them.

    Parameters
    ----------
    shape : tuple of int
        Size of the grid along each axis, a multiple of `window`.
    window, shift : tuple of int
        Size and displacement of the windows along each axis, in tokens.
    """
    # Created outside inference mode, because the cache is also used in training.
    with torch.inference_mode(False):
        position = torch.arange(math.prod(shape), device=device).view(shape)
        index = _partition(position.roll([-s for s in shift], list(range(len(shape)))), window)
        if not (masked and any(shift)):
            return (WindowKind(index, None),)
        side = torch.zeros(shape, dtype=torch.long, device=device)
        for axis, moved in enumerate(shift):
            if moved:  # After the shift, the last `moved` rows come from the other end.
                side.narrow(axis, shape[axis] - moved, moved).add_(1 << axis)
        side = _partition(side, window)
        # The mask of a window depends on the axes along which it joins two ends.
        joins = side[:, -1] - side[:, 0]
        kinds = []
        for join in joins.unique().tolist():
            chosen = joins == join
            one = side[chosen][0]
            blocked = one[:, None] != one[None, :] if join else None
            kinds.append(WindowKind(index[chosen], blocked))
        return tuple(kinds)


@lru_cache(maxsize=64)
def relative_position_index(window: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """(N, N) int64: row of the relative position bias table for query i and key j.

    The rows of the table are the displacements -w+1 ... w-1 along each axis, the last axis fastest.
    """
    with torch.inference_mode(False):
        axes = [torch.arange(size, device=device) for size in window]
        positions = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
        index = torch.zeros(positions.shape[1], positions.shape[1], dtype=torch.long, device=device)
        for size, along in zip(window, positions, strict=True):
            index = index * (2 * size - 1) + (along[:, None] - along[None, :] + size - 1)
        return index


def _partition(grid: torch.Tensor, window: tuple[int, ...]) -> torch.Tensor:
    """(*shape) -> (windows, N): windows and their tokens, both in row-major order."""
    axes = len(window)
    split = [part for size, w in zip(grid.shape, window, strict=True) for part in (size // w, w)]
    order = [*range(0, 2 * axes, 2), *range(1, 2 * axes, 2)]
    return grid.view(split).permute(order).reshape(-1, math.prod(window))
