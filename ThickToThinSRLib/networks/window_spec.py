"""The window specification of a network, used by sliding-window inference and training."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UserError


@dataclass(frozen=True)
class WindowSpec:
    """Input and output windows of a network: all that a caller needs besides the module itself.

    Attributes
    ----------
    factor : int or None
        Upsampling factor r: thick slice i lies at thin slice ``r i``. None if the network works for any
        target spacing; `depth` and `outputs` are then input and output channels for one thick slice.
    depth : int
        Thick slices in one window (D).
    stride : int
        Thick slices from one window to the next in the released test loops.
    first_output : int
        Index of the first predicted thin slice, counted from the window's first thick slice.
    outputs : int
        Thin slices that are predicted from one window.
    multiple : int
        Height and width of a tile must be multiples of this number of pixels.
    tile : int
        Side of the in-plane training crops, and of the tiles in the released test loops, pixels.
    margin : int
        Width of a tile's border whose prediction must be discarded, pixels.
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
        """Raise a UserError unless `shape` is that of a valid input: (B, 1, depth, H, W)."""
        fits = len(shape) == 5 and tuple(shape[1:3]) == (1, self.depth)
        if not fits or any(size < 1 or size % self.multiple for size in shape[3:]):
            raise UserError(
                f"the network reads (B, 1, {self.depth}, H, W) with H and W multiples of {self.multiple}, "
                f"not {tuple(shape)}"
            )


def window_spec(factor: int, depth: int, *, multiple: int, margin: int, tile: int = 256) -> WindowSpec:
    """Windows of a network that takes `depth` thick slices and trims r - r // 2 thin slices at each end.

    With this trimming, windows with a stride of `depth` - 2 thick slices leave no gap, for any factor.

    Raises
    ------
    UserError
        If `factor` is less than 2, or `depth` less than 3, so that no slices would remain after trimming.
    """
    if factor < 2 or depth < 3:
        raise UserError(
            f"a network needs a factor of 2 or more and a depth of 3 or more slices, not {factor} and {depth}"
        )
    first = factor - factor // 2
    outputs = (depth - 1) * factor + 1 - 2 * first
    return WindowSpec(factor, depth, depth - 2, first, outputs, multiple, tile, margin)
