"""Makes two-dimensional networks with channels usable for the sliding window."""

from __future__ import annotations

import torch


class ConditionedNetwork(torch.nn.Module):
    """Passes tiles to a two-dimensional network, with a description of the acquisition if it reads one.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (B, channels, h, w), and a description (B, n), to (B, outputs, h, w).
    description : list of float, optional
        The n numbers that describe the acquisition to the network.
    """

    def __init__(self, network: torch.nn.Module, description: list[float] | None = None):
        super().__init__()
        self.network = network.eval().to(memory_format=torch.channels_last)
        values = None if description is None else torch.tensor([description])
        self.register_buffer("description", values)

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """(B, 1, channels, h, w) to (B, 1, outputs, h, w)."""
        channels = tiles[:, 0].contiguous(memory_format=torch.channels_last)
        if self.description is None:
            return self.network(channels)[:, None]
        return self.network(channels, self.description.expand(len(channels), -1))[:, None]
