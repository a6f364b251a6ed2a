"""Linear interpolation of a window's thick slices, to which the convolutional baselines add their output."""

from __future__ import annotations

import torch

from .window_spec import WindowSpec


def interpolated(x: torch.Tensor, window: WindowSpec) -> torch.Tensor:
    """Interpolate linearly at the predicted thin slices: (B, C, D, H, W) -> (B, C, outputs, H, W)."""
    position = (window.first_output + torch.arange(window.outputs, device=x.device)) / window.factor
    low = position.long().clamp(max=window.depth - 2)
    share = (position - low).to(x.dtype)[:, None, None]
    return x[:, :, low] * (1 - share) + x[:, :, low + 1] * share
