"""The universal network: corrects an interpolation anywhere between slices of any spacing and thickness.

The trunk works in-plane, on one thick slice at half its resolution; neighbouring slices and the interpolation
around it are channels. The head is continuous along z: it gives, for each pixel, the coefficients of a cosine
series in the position between the slices, so one pass through the trunk serves any number of thin slices. The
acquisition scales and shifts the features of every block (FiLM, Perez et al., AAAI 2018).
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
# Thickness over spacing, spacing, pixel and thickness (mm) that the network may be told.
_TOLD = ((0.5, 2.5), (1.5, 8.0), (0.45, 1.25), (1.5, 8.0))
CHANNELS = len(NEIGHBOURS) + len(SAMPLES)
# Numbers that describe an acquisition, see `describe_acquisition`.
_DESCRIPTION = 4


class Block(nn.Module):
    """Two 3 x 3 convolutions with a residual; the identity at first."""

    def __init__(self, features: int):
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.gelu(self.first(x)))


class Universal(nn.Module):
    """Coefficients of the correction around one thick slice.

    Parameters
    ----------
    features : int
        Channels of the trunk.
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
        """Channels (B, 10, H, W), H and W even, and :func:`describe_acquisition` (B, 4) to (B, K, H, W)."""
        x = self.head(F.pixel_unshuffle(channels, 2))  # (B, C, H/2, W/2)
        modulation = self.modulation(acquisition).view(len(x), len(self.blocks), 2, -1, 1, 1)
        for index, block in enumerate(self.blocks):
            x = block(x * (1 + modulation[:, index, 0]) + modulation[:, index, 1])
        return F.pixel_shuffle(self.tail(x), 2)


def cosine_series(positions: torch.Tensor, coefficients: int) -> torch.Tensor:
    """Terms cos(pi k (p + 1) / 2), k = 0 .. K - 1, at positions p in [-1, 1]: (..., K).

    Their slope is zero at both ends, which lie beyond the neighbouring slices' own reach.
    """
    order = torch.arange(coefficients, dtype=positions.dtype, device=positions.device)
    return torch.cos(math.pi * order * (positions[..., None] + 1) / 2)


def describe_acquisition(thickness: float, spacing: float, pixel: float) -> list[float]:
    """What the network is told of an acquisition (all mm), about -1 to 1 over what clinics have.

    What lies beyond its training is told as the nearest that does not: told of slabs of 10 mm every 1.2 mm,
    or of pixels of 3 mm, as they are, the network answers with thousands of HU.
    """
    overlap, spacing, pixel, thickness = (
        min(max(value, low), high)
        for value, (low, high) in zip((thickness / spacing, spacing, pixel, thickness), _TOLD, strict=True)
    )
    return [overlap - 1, (spacing - 4) / 2, (pixel - 0.75) * 4, thickness / 4 - 1]


def window_for(features: int = 96, blocks: int = 6, coefficients: int = 8) -> WindowSpec:
    """Tiles of the network: each 3 x 3 convolution at half resolution reaches two pixels further."""
    margin = 2 * (2 * blocks + 2) + 2
    return WindowSpec(None, CHANNELS, 1, 0, coefficients, multiple=2, tile=96, margin=margin)
