"""SAINT: spatially aware interpolation network (Peng et al., CVPR 2020), after its released code.

Layers, their order and their numbers of weights (3,158,817, of which 371,105 in the fusion network) are
those of the released code. Ours are: windows of thick slices instead of whole views, the thick slice's
distance to the new slice in slice spacings (k / r), and intensities on [0, 1] instead of rounded whole
numbers up to 4000.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .rdn import RDN, in_chunks
from .window_spec import WindowSpec, window_spec


class SAINT(nn.Module):
    """Stage one interpolates sagittal and coronal views, stage two fuses them on axial slices.

    Parameters
    ----------
    factor : int
        Upsampling factor r along the through-plane axis.
    depth : int
        Thick slices in a window (D).
    features, blocks, layers, growth : int
        Of the first stage's residual dense network.
    fusion_blocks, fusion_layers, fusion_growth : int
        Of the second stage's.
    """

    def __init__(
        self,
        factor: int = 5,
        depth: int = 8,
        features: int = 64,
        blocks: int = 6,
        layers: int = 8,
        growth: int = 32,
        fusion_blocks: int = 4,
        fusion_layers: int = 6,
        fusion_growth: int = 12,
    ):
        super().__init__()
        self.factor, self.depth = factor, depth
        self.window = window_for(factor, depth)
        self.extractor = RDN(3, features, blocks, layers, growth)
        self.filters = FilterGenerator(features)
        self.fusion = nn.Sequential(
            RDN(2, features, fusion_blocks, fusion_layers, fusion_growth),
            nn.Conv2d(features, 1, 3, padding=1),
        )
        self.held = (blocks + 2) * features + 2 * (features + layers * growth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) in [0, 1] -> (B, 1, outputs, H, W)."""
        return self.fuse(self.views(x))

    def views(self, x: torch.Tensor) -> torch.Tensor:
        """Stage one: (B, 1, D, H, W) -> (B, 2, outputs, H, W), from the sagittal and the coronal view."""
        self.window.check(x.shape)
        sagittal = self._view(x[:, 0].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # planes along W
        coronal = self._view(x[:, 0].permute(0, 2, 1, 3)).permute(0, 2, 1, 3)  # planes along H
        return torch.stack([sagittal, coronal], 1)

    def fuse(self, views: torch.Tensor) -> torch.Tensor:
        """Stage two: (B, 2, outputs, H, W) -> (B, 1, outputs, H, W)."""
        batch, _, slices, height, width = views.shape
        axial = views.transpose(1, 2).reshape(batch * slices, 2, height, width)
        fused = in_chunks(self.fusion, axial, self.held) + axial.mean(1, keepdim=True)
        return fused.view(batch, 1, slices, height, width)

    def _view(self, planes: torch.Tensor) -> torch.Tensor:
        """(B, planes, D, length) -> (B, planes, outputs, length): each plane with its two neighbours."""
        batch, count, _, length = planes.shape
        padded = torch.cat([planes[:, :1], planes, planes[:, -1:]], 1)
        three = torch.stack([padded[:, i : i + count] for i in range(3)], 2).flatten(0, 1)
        filters = self.filters(torch.arange(self.factor, device=planes.device) / self.factor)

        def upsampled(images: torch.Tensor) -> torch.Tensor:
            return F.conv2d(self.extractor(images), filters, padding=1)  # (B', r, D, length)

        fine = in_chunks(upsampled, three, self.held).transpose(1, 2).flatten(1, 2)  # (B', D r, length)
        first = self.window.first_output
        return fine[:, first : first + self.window.outputs].view(batch, count, -1, length)


class FilterGenerator(nn.Module):
    """Distances of new slices to their thick one -> the 3 x 3 filters that make them ("meta-upscaler")."""

    def __init__(self, features: int):
        super().__init__()
        widths = [1, 32, features, features, features, features]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """(r,) in slice spacings -> (r, features, 3, 3)."""
        x = distances.view(-1, 1, 1, 1).expand(-1, 1, 3, 3)
        for conv in self.convs[:-1]:
            x = F.relu(conv(x))
        return self.convs[-1](x)


def window_for(factor: int = 5, depth: int = 8, **_: Any) -> WindowSpec:
    """Windows of a SAINT built with these arguments."""
    return window_spec(factor, depth, multiple=1, margin=16)
