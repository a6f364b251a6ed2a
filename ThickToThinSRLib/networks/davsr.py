"""DA-VSR: domain-adaptable volumetric super-resolution (Peng et al., MICCAI 2021), after its description.

The paper describes the shared feature extractor, one upsampling head for each plane, and the adaptation at
test time to in-plane data (:mod:`ThickToThinSRLib.methods.davsr`). It leaves open the following, chosen here:
the layers' widths, heads of two convolutions with sub-pixel upsampling, averaging of the two views, and
linear interpolation to which the output is added.
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
    """Upsamples sagittal and coronal images with a shared extractor and one head each, and averages them.

    Parameters
    ----------
    factor : int
        Upsampling factor r along the through-plane axis.
    depth : int
        Thick slices in a window (D).
    features, blocks, layers, growth : int
        Parameters of the extractor, see :class:`~ThickToThinSRLib.networks.rdn.RDN`.
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
        # The axial head is used only for the adaptation.
        self.heads = nn.ModuleDict({plane: upsampling_head(features, factor) for plane in PLANES})
        # Channels in memory at once for each pixel.
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
        """Correction that a head adds to the interpolation: (B, 1, n, length) -> (B, n r, length).

        Row r j of the result lies at row j of the images.
        """
        fine = self.heads[plane](self.extractor(images))  # (B, r, n, length)
        return fine.transpose(1, 2).flatten(1, 2)

    def _planes(self, planes: torch.Tensor, plane: str) -> torch.Tensor:
        """(B, planes, D, length) -> (B, planes, D r, length)."""
        batch, count, depth, length = planes.shape
        images = planes.reshape(batch * count, 1, depth, length)
        fine = in_chunks(lambda part: self.upsampled(part, plane), images, self.held)
        return fine.view(batch, count, -1, length)


def upsampling_head(features: int, factor: int) -> nn.Sequential:
    """Two convolutions, (B, features, H, W) -> (B, r, H, W): channel k is thin row k of each thick row."""
    return nn.Sequential(
        nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, factor, 3, padding=1)
    )


def in_plane_pair(images: torch.Tensor, factor: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Training pair for the adaptation: images degraded along their rows, and the images themselves.

    Parameters
    ----------
    images : Tensor, shape (B, 1, H, W)
    factor : int
        Upsampling factor r.

    Returns
    -------
    low : Tensor, shape (B, 1, n, W)
        Row j is the mean over a width of r rows, centred on row r j of `truth`.
    truth : Tensor, shape (B, 1, r (n - 1) + 1, W)
    """
    first = factor // 2
    count = (images.shape[2] - 2 * first - 1) // factor + 1
    reach = factor * (count - 1) + 1
    # Sums instead of a convolution, which autocast would compute with reduced precision.
    parts = [images[:, :, k : k + reach : factor] for k in range(2 * first + 1)]
    if factor % 2 == 0:
        parts = [(parts[0] + parts[-1]) / 2, *parts[1:-1]]
    return sum(parts) / factor, images[:, :, first : first + reach]


def in_plane_prediction(network: DAVSR, low: torch.Tensor) -> torch.Tensor:
    """Upsample low images with the axial head: (B, 1, n, W) -> (B, 1, r (n - 1) + 1, W)."""
    count = network.factor * (low.shape[2] - 1) + 1
    linear = F.interpolate(low, (count, low.shape[3]), mode="bilinear", align_corners=True)
    return linear + network.upsampled(low, "axial")[:, None, :count]


def window_for(factor: int = 5, depth: int = 8, **_: Any) -> WindowSpec:
    """Window specification of a DA-VSR built with these arguments."""
    return window_spec(factor, depth, multiple=1, margin=16)
