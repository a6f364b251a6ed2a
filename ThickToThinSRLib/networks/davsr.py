"""DA-VSR: domain-adaptable volumetric super-resolution (Peng et al., MICCAI 2021), after its description.

Known are the shared feature extractor, one upsampling head a plane, and the adaptation at test time on
in-plane data (:mod:`ThickToThinSRLib.methods.davsr`). Widths, the heads' form (two convolutions,
sub-pixel), the mean of the two views and the linear interpolation under the output are ours.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .rdn import RDN, in_chunks
from .through_plane_interpolation import interpolated
from .window_spec import WindowSpec, window_spec

PLANES = ("sagittal", "coronal", "axial")


class DAVSR(nn.Module):
    """Sagittal and coronal images through one extractor and a head each; the mean of both.

    Parameters
    ----------
    factor : int
        Upsampling factor r along the through-plane axis.
    depth : int
        Thick slices in a window (D).
    features, blocks, layers, growth : int
        Of the extractor, a residual dense network.
    """

    def __init__(
        self,
        factor: int = 5,
        depth: int = 8,
        features: int = 32,
        blocks: int = 6,
        layers: int = 4,
        growth: int = 16,
    ):
        super().__init__()
        self.factor = factor
        self.window = window_for(factor, depth)
        self.extractor = RDN(1, features, blocks, layers, growth)
        # The axial one serves the adaptation alone.
        self.heads = nn.ModuleDict({plane: upsampling_head(features, factor) for plane in PLANES})
        self.held = (blocks + 2) * features + 2 * (features + layers * growth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) in [0, 1] -> (B, 1, outputs, H, W)."""
        self.window.check(x.shape)
        first, count = self.window.first_output, self.window.outputs
        sagittal = self._planes(x[:, 0].permute(0, 3, 1, 2), "sagittal").permute(0, 2, 3, 1)
        coronal = self._planes(x[:, 0].permute(0, 2, 1, 3), "coronal").permute(0, 2, 1, 3)
        mean = (sagittal + coronal)[:, None, first : first + count] / 2
        return mean + interpolated(x, self.window)

    def upsampled(self, images: torch.Tensor, plane: str) -> torch.Tensor:
        """What a head adds to the interpolation: (B, 1, n, length) -> (B, n r, length), row r j at row j."""
        fine = self.heads[plane](self.extractor(images))  # (B, r, n, length)
        return fine.transpose(1, 2).flatten(1, 2)

    def _planes(self, planes: torch.Tensor, plane: str) -> torch.Tensor:
        batch, count, depth, length = planes.shape
        images = planes.reshape(batch * count, 1, depth, length)
        fine = in_chunks(lambda part: self.upsampled(part, plane), images, self.held)
        return fine.view(batch, count, -1, length)


def upsampling_head(features: int, factor: int) -> nn.Sequential:
    """Two convolutions; the channels that come out are the r rows that one row becomes."""
    return nn.Sequential(
        nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, factor, 3, padding=1)
    )


def in_plane_pair(images: torch.Tensor, factor: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Degrade images along their rows as slices are thickened: (B, 1, H, W) -> low (B, 1, n, W) and truth.

    Row j of the low one is the mean over the width of `factor` rows around row ``factor j`` of the truth
    (B, 1, ``factor (n - 1) + 1``, W).
    """
    first = factor // 2
    count = (images.shape[2] - 2 * first - 1) // factor + 1
    reach = factor * (count - 1) + 1
    # Sums, not a convolution: autocast would make it coarse.
    parts = [images[:, :, k : k + reach : factor] for k in range(2 * first + 1)]
    if factor % 2 == 0:
        parts = [(parts[0] + parts[-1]) / 2, *parts[1:-1]]
    return sum(parts) / factor, images[:, :, first : first + reach]


def in_plane_prediction(network: DAVSR, low: torch.Tensor) -> torch.Tensor:
    """The axial head's upsampling of low images (B, 1, n, W): (B, 1, r (n - 1) + 1, W)."""
    count = network.factor * (low.shape[2] - 1) + 1
    linear = F.interpolate(low, (count, low.shape[3]), mode="bilinear", align_corners=True)
    return linear + network.upsampled(low, "axial")[:, None, :count]


def window_for(factor: int = 5, depth: int = 8, **_: Any) -> WindowSpec:
    """Windows of a DA-VSR built with these arguments."""
    return window_spec(factor, depth, multiple=1, margin=16)
