"""Linear interpolation of a window's thick slices: what the convolutional baselines add their output to."""

from __future__ import annotations

import torch

from .window_spec import WindowSpec


def interpolated(x: torch.Tensor, window: WindowSpec) -> torch.Tensor:
    """(B, C, D, H, W) -> (B, C, outputs, H, W): linear between the thick slices, at the predicted ones."""
    place = (window.first_output + torch.arange(window.outputs, device=x.device)) / window.factor
    low = place.long().clamp(max=window.depth - 2)
    share = (place - low).to(x.dtype)[:, None, None]
    return x[:, :, low] * (1 - share) + x[:, :, low + 1] * share
