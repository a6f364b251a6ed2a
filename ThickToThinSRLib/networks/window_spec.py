"""What the sliding window has to know about a network."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UserError


@dataclass(frozen=True)
class WindowSpec:
    """The windows that a network reads and predicts; all a caller needs besides the module itself.

    Attributes
    ----------
    factor : int or None
        Upsampling factor r: thick slice i lies at thin slice ``r i``. None: any target spacing; windows are
        then channels of one thick slice, in and out.
    depth : int
        Thick slices that one window reads (D).
    stride : int
        Thick slices from one window to the next in the released test loops.
    first_output : int
        Thin index, counted from the window's first thick slice, of its first predicted slice.
    outputs : int
        Thin slices that one window predicts.
    multiple : int
        Height and width of a tile must be multiples of this, in pixels.
    tile : int
        Side of the in-plane crops in training, pixels; the tiles of the released test loops.
    margin : int
        Border of a tile, in pixels, whose prediction is to be discarded.
    """

    factor: int | None
    depth: int
    stride: int
    first_output: int
    outputs: int
    multiple: int
    tile: int
    margin: int

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a UserError unless `shape` is that of an input: (B, 1, depth, H, W)."""
        fits = len(shape) == 5 and tuple(shape[1:3]) == (1, self.depth)
        if not fits or any(size < 1 or size % self.multiple for size in shape[3:]):
            raise UserError(
                f"the network reads (B, 1, {self.depth}, H, W) with H and W multiples of {self.multiple}, "
                f"not {tuple(shape)}"
            )


def window_spec(factor: int, depth: int, *, multiple: int, margin: int, tile: int = 256) -> WindowSpec:
    """Windows of a network that reads `depth` thick slices and trims r - r // 2 thin slices at either end.

    Windows `depth` - 2 thick slices apart then leave no thin slice out between them, whatever the factor.

    Raises
    ------
    UserError
        If `factor` is under 2, or `depth` under 3, where nothing would remain after trimming.
    """
    if factor < 2 or depth < 3:
        raise UserError(f"a network needs a factor of 2 or more and 3 or more slices, not {factor}, {depth}")
    first = factor - factor // 2
    outputs = (depth - 1) * factor + 1 - 2 * first
    return WindowSpec(factor, depth, depth - 2, first, outputs, multiple, tile, margin)
