"""Parts of the TVSRN ablations in Table 1 of the RPLHR-CT paper (Yu et al., MICCAI 2022).

The code of the ablations was not released; this follows the description in the table. All have more weights
than stated in the paper. Without the first layer, the encoder alone comes close (1.62 M, paper 1.58 M); a
difference of 0.1 M without TAB and of 0.5 M with the ViT encoder remains unexplained.
"""

from __future__ import annotations

import torch
from torch import nn

from .window_spec import WindowSpec

VIT_PATCH = 16  # pixels
_SUBPIXEL_CHANNELS = 8  # for each thin voxel, as in the full network


class Subpixel(nn.Module):
    """Sub-pixel upsampling along z: channels of a pixel to channels of its thin voxels."""

    def __init__(self, channels: int, slices: int):
        super().__init__()
        self.slices = slices
        self.layer = nn.Linear(channels, slices * _SUBPIXEL_CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, channels) -> (B, H, W, slices, 8)."""
        return self.layer(x).unflatten(3, (self.slices, _SUBPIXEL_CHANNELS))


class ViTEncoder(nn.Module):
    """A vision transformer on patches of 1 x 16 x 16 voxels, with sub-pixel upsampling along all three axes.

    The paper states tokens of 512 channels and 8 layers; its 17.15 M weights imply MLPs twice as wide as the
    tokens. Positional encodings are sinusoidal, so that a network trained on crops accepts images of any
    size.
    """

    def __init__(self, factor: int, channels: int = 512, layers: int = 8, heads: int = 8):
        super().__init__()
        self.factor = factor
        self.embedding = nn.Linear(VIT_PATCH**2, channels)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                channels, heads, 2 * channels, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.subpixel = nn.Linear(channels, factor * VIT_PATCH**2)

    def forward(self, x: torch.Tensor, window: WindowSpec) -> torch.Tensor:
        """(B, D, H, W) -> (B, outputs, H, W)."""
        patches = x.unflatten(2, (-1, VIT_PATCH)).unflatten(
            4, (-1, VIT_PATCH)
        )  # (B, D, rows, 16, columns, 16)
        patches = patches.permute(0, 1, 2, 4, 3, 5).flatten(4)  # (B, D, rows, columns, 256)
        tokens = self.embedding(patches)
        tokens = tokens + _positions(tokens.shape[1:], x.device).to(tokens.dtype)
        grid = tokens.shape[1:4]
        tokens = tokens.flatten(1, 3)
        for layer in self.layers:
            tokens = layer(tokens)
        fine = self.subpixel(self.norm(tokens)).unflatten(1, grid)
        fine = fine.unflatten(4, (self.factor, VIT_PATCH, VIT_PATCH))  # (B, D, rows, columns, r, 16, 16)
        fine = fine.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)  # (B, D r, H, W)
        # Thick slice j becomes the r thin slices around thin slice r j.
        first = window.first_output + self.factor // 2
        return fine[:, first : first + window.outputs]


def _positions(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """(D, rows, columns, C): sinusoidal encoding, a quarter of the channels for each of the three axes."""
    *grid, channels = shape
    quarter = channels // 4
    angles = 10000.0 ** (-torch.arange(quarter // 2, device=device) * 2 / quarter)
    code = torch.zeros(*grid, channels, device=device)
    for axis, size in enumerate(grid):
        angle = torch.arange(size, device=device)[:, None] * angles
        along = torch.cat([angle.sin(), angle.cos()], 1)
        view = [1, 1, 1, -1]
        view[axis] = size
        code[..., axis * quarter : axis * quarter + along.shape[1]] = along.view(view)
    return code
