"""The universal network: corrects an interpolation at any position, for any slice spacing and thickness.

The network works in-plane on one thick slice, at half its resolution. Neighbouring thick slices and the
interpolation around the slice are input channels. The output is continuous along z: for each pixel it
consists of the coefficients of a cosine series in the position between slices, so that one pass serves any
number of thin slices. The acquisition scales and shifts the features of every block (FiLM, Perez et al., AAAI
2018).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from .window_spec import WindowSpec

# Thick slices i - 2 .. i + 2, and the interpolation at these positions around slice i (in slice spacings).
NEIGHBOURS = (-2, -1, 0, 1, 2)
SAMPLES = (-0.5, -0.25, 0.0, 0.25, 0.5)
# Ranges of thickness / spacing, and of spacing, pixel spacing and thickness in mm, in the training data.
_TRAINED_RANGES = ((0.5, 2.5), (1.5, 8.0), (0.45, 1.25), (1.5, 8.0))
CHANNELS = len(NEIGHBOURS) + len(SAMPLES)
_DESCRIPTION = 4  # length of the description of an acquisition, see `describe_acquisition`


class Block(nn.Module):
    """Two 3 x 3 convolutions with a residual connection; initially the identity."""

    def __init__(self, features: int):
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.gelu(self.first(x)))


class Universal(nn.Module):
    """Predicts the coefficients of the correction around one thick slice.

    Parameters
    ----------
    features : int
        Channels of the residual blocks.
    blocks : int
        Residual blocks.
    coefficients : int
        Terms K of the cosine series along z.
    """

    def __init__(self, features: int = 96, blocks: int = 6, coefficients: int = 8):
        super().__init__()
        self.window = window_for(features, blocks, coefficients)
        self.head = nn.Conv2d(4 * CHANNELS, features, 3, padding=1)
        self.modulation = nn.Sequential(
            nn.Linear(_DESCRIPTION, 64), nn.GELU(), nn.Linear(64, 2 * features * blocks)
        )
        nn.init.zeros_(self.modulation[2].weight)
        nn.init.zeros_(self.modulation[2].bias)
        self.blocks = nn.ModuleList(Block(features) for _ in range(blocks))
        self.tail = nn.Conv2d(features, 4 * coefficients, 3, padding=1)

    def forward(self, channels: torch.Tensor, acquisition: torch.Tensor) -> torch.Tensor:
        """Predict coefficients (B, K, H, W).

        Parameters
        ----------
        channels : Tensor, shape (B, 10, H, W)
            Thick slices at `NEIGHBOURS` and the interpolation at `SAMPLES`; H and W even.
        acquisition : Tensor, shape (B, 4)
            See :func:`describe_acquisition`.
        """
        x = self.head(F.pixel_unshuffle(channels, 2))  # (B, C, H/2, W/2)
        modulation = self.modulation(acquisition).view(len(x), len(self.blocks), 2, -1, 1, 1)
        for index, block in enumerate(self.blocks):
            x = block(x * (1 + modulation[:, index, 0]) + modulation[:, index, 1])
        return F.pixel_shuffle(self.tail(x), 2)


def cosine_series(positions: torch.Tensor, coefficients: int) -> torch.Tensor:
    """Terms cos(pi k (p + 1) / 2), k = 0 .. K - 1, at positions p in [-1, 1] slice spacings: (..., K).

    Their slope is zero at the ends p = -1 and 1, the centres of the neighbouring slices.
    """
    order = torch.arange(coefficients, dtype=positions.dtype, device=positions.device)
    return torch.cos(math.pi * order * (positions[..., None] + 1) / 2)


def describe_acquisition(thickness: float, spacing: float, pixel: float) -> list[float]:
    """Description of an acquisition for the network: four numbers of about -1 to 1.

    Values outside the range of the training data are replaced by the nearest value inside. Otherwise, for
    slabs of 10 mm every 1.2 mm or pixels of 3 mm, the network would predict thousands of HU.

    Parameters
    ----------
    thickness, spacing, pixel : float
        Slice thickness, slice spacing and in-plane pixel spacing, mm.
    """
    overlap, spacing, pixel, thickness = (
        min(max(value, low), high)
        for value, (low, high) in zip(
            (thickness / spacing, spacing, pixel, thickness), _TRAINED_RANGES, strict=True
        )
    )
    return [overlap - 1, (spacing - 4) / 2, (pixel - 0.75) * 4, thickness / 4 - 1]


def window_for(features: int = 96, blocks: int = 6, coefficients: int = 8) -> WindowSpec:
    """Window specification of the network.

    Each 3 x 3 convolution works at half resolution, so it extends the receptive field by two pixels.
    """
    margin = 2 * (2 * blocks + 2) + 2
    return WindowSpec(None, CHANNELS, 1, 0, coefficients, multiple=2, tile=96, margin=margin)
