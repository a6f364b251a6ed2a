"""SAINT: spatially aware interpolation network, exact to its released code.

Paper: Peng et al., CVPR 2020 (https://arxiv.org/abs/2001.00704). Code: https://github.com/cpeng93/SAINT.

Images of the views have the in-plane axis first and the slices last, and axial images have the columns first,
as in the released code; so kernels are used as they were stored. Intensities inside are HU + 1024, from 0 to
4000. The windows of thick slices are ours: the released code reads whole volumes, but it trains on
``depth`` thick slices at a time.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import UserError
from ..intensity import HU_WINDOW
from .authors_names import renamed
from .rdn import RDN, in_chunks
from .window_spec import WindowSpec, window_spec

_LARGEST = 4000  # of the intensities HU + 1024 between the stages
_SCALE = HU_WINDOW[1] - HU_WINDOW[0]  # from [0, 1] to HU + 1024


class SAINT(nn.Module):
    """Stage one interpolates sagittal and coronal views, stage two fuses them on axial slices.

    No weight depends on the upsampling factor, the spacings or the depth: networks of any of these can share
    one state dict.

    Parameters
    ----------
    factor : int
        Upsampling factor r along the through-plane axis. The released weights were trained for 4 and 6.
    depth : int
        Thick slices in a window (D).
    features, blocks, layers, growth : int
        Channels, residual dense blocks, convolutions in each, and channels that each of these adds, in the
        first stage.
    fusion_blocks, fusion_layers, fusion_growth : int
        The same in the second stage.
    thin_spacing, row_spacing, column_spacing : float
        Spacing of the new slices and of the pixels in mm: of rows along sagittal views, of columns along
        coronal views.

    Raises
    ------
    UserError
        If a spacing is not positive and finite.
    """

    def __init__(
        self,
        factor: int = 4,
        depth: int = 10,
        features: int = 64,
        blocks: int = 6,
        layers: int = 8,
        growth: int = 32,
        fusion_blocks: int = 4,
        fusion_layers: int = 6,
        fusion_growth: int = 12,
        thin_spacing: float = 1.0,
        row_spacing: float = 0.75,
        column_spacing: float = 0.75,
    ):
        super().__init__()
        for spacing in (thin_spacing, row_spacing, column_spacing):
            if not 0 < spacing < math.inf:
                raise UserError(f"a spacing must be a positive number of mm, not {spacing}")
        self.factor, self.depth = factor, depth
        self.thin_spacing, self.row_spacing, self.column_spacing = thin_spacing, row_spacing, column_spacing
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
        volume = x[:, 0] * _SCALE
        sagittal = self._view(volume.permute(0, 3, 2, 1), self.row_spacing)  # (B, W, H, outputs)
        coronal = self._view(volume.permute(0, 2, 3, 1), self.column_spacing)  # (B, H, W, outputs)
        return torch.stack([sagittal.permute(0, 3, 2, 1), coronal.permute(0, 3, 1, 2)], 1) / _SCALE

    def fuse(self, views: torch.Tensor) -> torch.Tensor:
        """Stage two: (B, 2, outputs, H, W) -> (B, 1, outputs, H, W).

        The views are clamped and rounded to whole numbers first, so no gradient reaches stage one.
        """
        batch, _, slices, height, width = views.shape
        whole = (views.float() * _SCALE).clamp(0, _LARGEST).round()
        axial = whole.permute(0, 2, 1, 4, 3).reshape(batch * slices, 2, width, height)
        fused = in_chunks(self.fuse_images, axial, self.held)
        return fused.view(batch, 1, slices, width, height).transpose(3, 4) / _SCALE

    def interpolate(self, images: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Planes with their neighbours (B, 3, length, D), maps (r, 3, 3) -> planes (B, length, D r)."""
        filters = self.filters(distances)

        def upsampled(part: torch.Tensor) -> torch.Tensor:
            features = self.extractor(part)
            # Half precision cannot hold whole numbers up to 4000.
            with torch.autocast(features.device.type, enabled=False):
                return F.conv2d(features.float(), filters.float(), padding=1)  # (B', r, length, D)

        return in_chunks(upsampled, images, self.held).permute(0, 2, 3, 1).flatten(2)

    def fuse_images(self, axial: torch.Tensor) -> torch.Tensor:
        """Axial images of both views (B, 2, W, H) -> (B, 1, W, H)."""
        return self.fusion(axial) + axial.mean(1, keepdim=True)

    def _view(self, planes: torch.Tensor, pixel: float) -> torch.Tensor:
        """(B, planes, length, D) -> (B, planes, length, outputs); beyond the volume there is air."""
        batch, count, length, _ = planes.shape
        padded = F.pad(planes, (0, 0, 0, 0, 1, 1))
        three = torch.stack([padded[:, i : i + count] for i in range(3)], 2).flatten(0, 1)
        distances = distance_maps(self.factor, pixel, self.thin_spacing).to(planes.device)
        fine = self.interpolate(three, distances)  # (B planes, length, D r)
        first = self.window.first_output
        return fine[..., first : first + self.window.outputs].view(batch, count, length, -1)


class FilterGenerator(nn.Module):
    """Distances around a new slice -> the 3 x 3 filters that predict it ("meta-upscaler")."""

    def __init__(self, features: int):
        super().__init__()
        widths = [1, 32, features, features, features, features]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """(r, 3, 3) in mm -> (r, features, 3, 3)."""
        x = distances[:, None]
        for conv in self.convs[:-1]:
            x = F.relu(conv(x))
        return self.convs[-1](x)


def distance_maps(factor: int, pixel: float, thin_spacing: float) -> torch.Tensor:
    """Distances in mm from each new slice to the 3 x 3 pixels around it, shape (factor, 3, 3).

    Rows are the previous, the own and the next thick slice, columns the pixels before, at and after. (The
    released code applies the filters to images whose rows are pixels; the weights are trained for that.)
    """
    new = torch.arange(factor, dtype=torch.float64)[:, None, None]
    thick = factor * torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)[:, None]
    across = pixel * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    return torch.hypot((new - thick).abs() * thin_spacing, across).float()


def window_for(factor: int = 4, depth: int = 10, **_: Any) -> WindowSpec:
    """Windows of a SAINT built with these arguments."""
    return window_spec(factor, depth, multiple=1, margin=16)


def from_authors_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A released state dict under this module's names.

    In some published copies the fusion network's kernels have a fifth axis of length 1, which is removed.
    """
    names = [
        *_rdn_names("", "extractor"),
        *_rdn_names(r"RFN\.", "fusion.0"),
        (r"RFN\.UPNet\.0\.(weight|bias)", r"fusion.1.\1"),
        *((rf"GW\.meta_block\.{2 * i}\.(weight|bias)", rf"filters.convs.{i}.\1") for i in range(5)),
    ]
    return {
        key: value.squeeze(4) if value.dim() == 5 else value
        for key, value in renamed(state, names, linear=()).items()
    }


def _rdn_names(theirs: str, ours: str) -> list[tuple[str, str]]:
    """Patterns for a residual dense network."""
    block = rf"{theirs}RDBs\.(\d+)"
    return [
        (rf"{theirs}SFENet1\.(weight|bias)", rf"{ours}.shallow.\1"),
        (rf"{theirs}SFENet2\.(weight|bias)", rf"{ours}.second.\1"),
        (rf"{block}\.convs\.(\d+)\.conv\.0\.(weight|bias)", rf"{ours}.blocks.\1.convs.\2.\3"),
        (rf"{block}\.LFF\.(weight|bias)", rf"{ours}.blocks.\1.gather.\2"),
        (rf"{theirs}GFF\.([01])\.(weight|bias)", rf"{ours}.gather.\1.\2"),
    ]
