"""MPU-Net: progressive upsampling network (Liu et al., MICCAI 2020), after the description in its paper.

The paper describes the encoder-decoder and the progressive upsampling along z; as in the RPLHR-CT paper,
there is a single stream. It leaves open the following, chosen here: the layers' widths, three levels, the
numbers of slices at each level, and linear interpolation to which the output is added.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .convolution import Conv3d
from .through_plane_interpolation import interpolated
from .window_spec import WindowSpec, window_spec


class MPUNet(nn.Module):
    """An encoder that halves the in-plane size twice; a decoder that restores it while adding slices.

    Parameters
    ----------
    factor : int
        Upsampling factor r along the through-plane axis.
    depth : int
        Thick slices in a window (D).
    features : int
        Channels at full in-plane size; twice as many at half, four times as many at a quarter.
    """

    def __init__(self, factor: int = 5, depth: int = 4, features: int = 16):
        super().__init__()
        self.window = window_for(factor, depth)
        halfway = math.ceil(math.sqrt(factor))  # for factor 5: 3, so that both steps have a similar ratio
        self.slices = [(depth - 1) * step + 1 for step in (halfway, factor)]
        widths = [features, 2 * features, 4 * features]
        self.encoder = nn.ModuleList(
            double_conv(a, b) for a, b in zip([1, *widths[:-1]], widths, strict=True)
        )
        self.decoder = nn.ModuleList(
            double_conv(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.conv_out = Conv3d(features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) in [0, 1] -> (B, 1, outputs, H, W); H and W are multiples of 4 pixels."""
        self.window.check(x.shape)
        y, skips = x, []
        for level, block in enumerate(self.encoder):
            y = block(y if level == 0 else F.avg_pool3d(y, (1, 2, 2)))
            skips.append(y)
        for block, slices, skip in zip(self.decoder, self.slices, skips[-2::-1], strict=True):
            size = (slices, *skip.shape[3:])
            y = block(torch.cat([resized(y, size), resized(skip, size)], 1))
        first = self.window.first_output
        y = self.conv_out(y)[:, :, first : first + self.window.outputs]
        return y + interpolated(x, self.window)


def resized(x: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    """Resize to (D, H, W): nearest neighbour in-plane, linear along z with fixed end slices."""
    x = F.interpolate(x, (x.shape[2], *size[1:]), mode="nearest")
    place = torch.linspace(0, x.shape[2] - 1, size[0], device=x.device)
    low = place.long().clamp(max=x.shape[2] - 2)
    share = (place - low).to(x.dtype)[:, None, None]
    return x[:, :, low] * (1 - share) + x[:, :, low + 1] * share


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 x 3 x 3 convolutions, each followed by a leaky ReLU."""
    return nn.Sequential(
        Conv3d(inputs, outputs),
        nn.LeakyReLU(0.1),
        Conv3d(outputs, outputs),
        nn.LeakyReLU(0.1),
    )


def window_for(factor: int = 5, depth: int = 4, **_: Any) -> WindowSpec:
    """Window specification of an MPU-Net built with these arguments."""
    return window_spec(factor, depth, multiple=4, margin=16)
