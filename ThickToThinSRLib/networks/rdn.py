"""Residual dense network: the feature extractor of SAINT and DA-VSR (Zhang et al., CVPR 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ResidualDenseBlock(nn.Module):
    """Convolutions that each see all before them, a 1 x 1 convolution that gathers them, plus the input."""

    def __init__(self, features: int, layers: int, growth: int):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(features + i * growth, growth, 3, padding=1) for i in range(layers)
        )
        self.gather = nn.Conv2d(features + layers * growth, features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same."""
        seen = x
        for conv in self.convs:
            seen = torch.cat([seen, F.relu(conv(seen))], 1)
        return self.gather(seen) + x


class RDN(nn.Module):
    """Two shallow convolutions, dense blocks whose results are all gathered, plus the first convolution's.

    Parameters
    ----------
    inputs, features : int
        Channels that come in and that go out.
    blocks, layers, growth : int
        Residual dense blocks, convolutions in each, channels that each of these adds.
    """

    def __init__(self, inputs: int, features: int, blocks: int, layers: int, growth: int):
        super().__init__()
        self.shallow = nn.Conv2d(inputs, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualDenseBlock(features, layers, growth) for _ in range(blocks))
        self.gather = nn.Sequential(
            nn.Conv2d(blocks * features, features, 1), nn.Conv2d(features, features, 3, padding=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, features, H, W)."""
        first = self.shallow(x)
        x = self.second(first)
        results = []
        for block in self.blocks:
            x = block(x)
            results.append(x)
        return self.gather(torch.cat(results, 1)) + first


def in_chunks(network, x: torch.Tensor, numbers_per_value: int) -> torch.Tensor:
    """Apply `network` to some images (B, C, H, W) at a time where gradients are off: it bounds the memory.

    On a CPU larger chunks are slower: their arrays are fetched from the system anew for every layer.

    Parameters
    ----------
    numbers_per_value : int
        Channels that the network holds at once, for each pixel of an image.
    """
    numbers = 1 << (23 if x.device.type == "cpu" else 26)
    most = numbers // (numbers_per_value * x.shape[2] * x.shape[3])
    if torch.is_grad_enabled() or most >= len(x):
        return network(x)
    return torch.cat([network(part) for part in x.split(max(1, most))])
