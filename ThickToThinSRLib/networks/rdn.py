"""Residual dense network: the feature extractor of SAINT and DA-VSR (Zhang et al., CVPR 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ResidualDenseBlock(nn.Module):
    """Densely connected convolutions, a 1 x 1 convolution that fuses their features, plus the input."""

    def __init__(self, features: int, layers: int, growth: int):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(features + i * growth, growth, 3, padding=1) for i in range(layers)
        )
        self.gather = nn.Conv2d(features + layers * growth, features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same."""
        features = x
        for conv in self.convs:
            features = torch.cat([features, F.relu(conv(features))], 1)
        return self.gather(features) + x


class RDN(nn.Module):
    """Two convolutions, residual dense blocks, fusion of all blocks' features, plus the first features.

    Parameters
    ----------
    inputs, features : int
        Input and output channels.
    blocks, layers, growth : int
        Number of residual dense blocks, of convolutions in each, and of channels that each convolution adds.
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


def in_chunks(network, x: torch.Tensor, held: int) -> torch.Tensor:
    """Apply `network` to images (B, C, H, W) in chunks that bound the memory, if gradients are off.

    On a CPU larger chunks would also be slower, because their arrays are allocated anew for every layer.

    Parameters
    ----------
    network : callable
        Maps images to images of the same batch size.
    held : int
        Channels that the network keeps in memory at once, for each pixel of an image.
    """
    limit = 1 << (23 if x.device.type == "cpu" else 26)
    chunk = limit // (held * x.shape[2] * x.shape[3])
    if torch.is_grad_enabled() or chunk >= len(x):
        return network(x)
    return torch.cat([network(part) for part in x.split(max(1, chunk))])
