"""ResVox: a residual voxel network (Ge et al., MICCAI 2019), after the description in its paper.

The paper describes three-dimensional multi-scale residual blocks and sub-pixel upsampling along z; as in the
RPLHR-CT paper, noise reduction and adversarial training are omitted. It leaves open the following, chosen
here: the layers' widths, the number of blocks, the two scales of a block (one and two 3 x 3 x 3
convolutions), and linear interpolation to which the output is added.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .convolution import Conv3d
from .through_plane_interpolation import interpolated
from .window_spec import WindowSpec, window_spec


class ResVox(nn.Module):
    """Multi-scale residual blocks on thick slices, sub-pixel upsampling, and a convolution on thin slices.

    Parameters
    ----------
    factor : int
        Upsampling factor r along the through-plane axis.
    depth : int
        Thick slices in a window (D).
    features, thin_features : int
        Channels for each voxel of thick and of thin slices.
    blocks : int
        Residual blocks.
    """

    def __init__(
        self, factor: int = 5, depth: int = 4, features: int = 32, thin_features: int = 8, blocks: int = 6
    ):
        super().__init__()
        self.factor, self.thin_features = factor, thin_features
        self.window = window_for(factor, depth)
        self.conv_in = Conv3d(1, features)
        self.blocks = nn.Sequential(*(MultiScaleBlock(features) for _ in range(blocks)))
        self.conv_up = Conv3d(features, thin_features * factor)
        self.conv_out = Conv3d(thin_features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) in [0, 1] -> (B, 1, outputs, H, W)."""
        self.window.check(x.shape)
        features = self.conv_in(x)
        features = self.conv_up(self.blocks(features) + features)  # (B, c r, D, H, W)
        # Sub-pixel: thick slice j becomes the thin slices r j - r // 2 ... r j + r - 1 - r // 2.
        fine = features.unflatten(1, (self.thin_features, self.factor)).transpose(2, 3).flatten(2, 3)
        first = self.window.first_output + self.factor // 2
        fine = self.conv_out(F.leaky_relu(fine, 0.1))[:, :, first : first + self.window.outputs]
        return fine + interpolated(x, self.window)


class MultiScaleBlock(nn.Module):
    """Branches with receptive fields of 3 and 5 voxels, fused by a 1 x 1 x 1 convolution, plus the input."""

    def __init__(self, features: int):
        super().__init__()
        self.small = Conv3d(features, features)
        self.large = nn.Sequential(
            Conv3d(features, features),
            nn.LeakyReLU(0.1),
            Conv3d(features, features),
        )
        self.gather = nn.Conv3d(2 * features, features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) -> the same."""
        return x + self.gather(F.leaky_relu(torch.cat([self.small(x), self.large(x)], 1), 0.1))


def window_for(factor: int = 5, depth: int = 4, **_: Any) -> WindowSpec:
    """Window specification of a ResVox built with these arguments."""
    return window_spec(factor, depth, multiple=1, margin=16)
