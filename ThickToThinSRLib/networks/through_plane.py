"""Parts of TVSRN and CTH-Net besides Swin blocks: through-plane views, positional encoding, output head."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn

from .swin import SwinStack

VIEW = 8  # pixels: neighbouring sagittal or coronal planes whose values become channels of one image


class ThroughPlane(nn.Module):
    """Through-plane attention: one transformer on sagittal and coronal images; the results are added.

    Eight neighbouring sagittal (coronal) planes form one image of slices by rows (columns) with 8 C channels.

    Parameters
    ----------
    slices, channels : int
        Numbers D' of thin slices and C of channels.
    window, groups, blocks, **swin
        Parameters of the transformer, see :class:`SwinStack`.
    """

    def __init__(self, slices: int, channels: int, window: int, groups: int, blocks: int, **swin):
        super().__init__()
        # As released, windows that cover all slices are not shifted.
        shifted = slices > window
        self.stack = SwinStack(channels * VIEW, window, groups=groups, blocks=blocks, shifted=shifted, **swin)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, D', C) -> the same."""
        return self._columns(x) + self._columns(x.transpose(1, 2)).transpose(1, 2)

    def _columns(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, width, slices, channels = x.shape
        x = x.unflatten(2, (-1, VIEW))  # (B, H, W/8, 8, D', C)
        x = x.permute(0, 2, 4, 1, 5, 3)  # (B, W/8, D', H, C, 8)
        x = self.stack(x.reshape(-1, slices, height, channels * VIEW))
        x = x.view(batch, -1, slices, height, channels, VIEW)
        return x.permute(0, 3, 1, 5, 2, 4).reshape(batch, height, width, slices, channels)


def head(channels: int) -> nn.Sequential:
    """Output head: channels of one thin voxel to its intensity (two 1 x 1 x 1 convolutions)."""
    return nn.Sequential(nn.Linear(channels, 16), nn.LeakyReLU(0.01), nn.Linear(16, 1))


def padded(slices: int, window: int) -> int:
    """`slices`, rounded up to a multiple of `window`."""
    return -(-slices // window) * window


@lru_cache(maxsize=16)
def slice_positions(slices: int, channels: int, device: torch.device) -> torch.Tensor:
    """(D', C): sinusoidal encoding of the slice index, base 10000; sine in even channels, cosine in odd."""
    with torch.inference_mode(False):
        channel = torch.arange(channels, dtype=torch.float64)
        angle = torch.arange(slices)[:, None] / 10000.0 ** (channel // 2 * 2 / channels)
        return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float().to(device)
