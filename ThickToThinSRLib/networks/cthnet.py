"""CTH-Net: a CNN-transformer hybrid for through-plane super-resolution of chest CT.

With the default arguments the module computes what the authors' released code computes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from .authors_names import renamed, swin_block_names, swin_stack_names
from .swin import SwinBlock, SwinGroup, SwinStack, channels_last, initialize
from .through_plane import VIEW, ThroughPlane, head, padded, slice_positions
from .window_spec import WindowSpec, window_spec


class CTHNet(nn.Module):
    """CTH-Net, exact to the authors' released code.

    Parameters
    ----------
    factor : int
        Upsampling factor r along the through-plane axis.
    depth : int
        Thick slices in a window (D). The decoders compute D' thin slices: (D - 1) r + 1, padded to a multiple
        of the through-plane window.
    features : int
        Channels of the encoder.
    channels : int
        Channels of each slice in the decoders (C).
    encoder_blocks : int
        Three-dimensional attention blocks of the encoder.
    through_plane_groups, in_plane_groups : int
        Residual groups of the decoders.
    decoder_blocks : int
        Blocks of each of these groups.
    encoder_window : int
        Side of the encoder's cubic windows.
    window, through_plane_window : int
        Sides of the attention windows in the axial plane and in the sagittal and coronal planes.
    heads : int
        Attention heads of every block.
    mlp_ratio : float
        Width of the MLPs' hidden layers relative to their inputs.
    drop_path : float
        Stochastic depth in training: rate of the last block of each decoder. The encoder has none.
    mask_shifted_windows : bool
        Mask the shifted windows of the decoders (``T_mask`` in the authors' configuration, false as
        released). Without masks they attend across opposite borders of the tile. The encoder's windows are
        never masked.
    """

    def __init__(
        self,
        factor: int = 5,
        depth: int = 8,
        features: int = 32,
        channels: int = 8,
        encoder_blocks: int = 4,
        through_plane_groups: int = 1,
        in_plane_groups: int = 2,
        decoder_blocks: int = 4,
        encoder_window: int = 2,
        window: int = 8,
        through_plane_window: int = 4,
        heads: int = 8,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        mask_shifted_windows: bool = False,
    ):
        super().__init__()
        self.window = window_for(factor, depth, encoder_window, window, through_plane_window)
        self.depth, self.channels, self.encoder_window = depth, channels, encoder_window
        self.thin = (depth - 1) * factor + 1
        self.slices = padded(self.thin, through_plane_window)  # D'
        swin = {"heads": heads, "mlp_ratio": mlp_ratio}
        decoder = {**swin, "drop_path": drop_path, "masked": mask_shifted_windows, "conv": True}
        self.encoder = Encoder(depth, features, encoder_blocks, encoder_window, **swin)
        self.through_plane = ThroughPlane(
            self.slices, channels, through_plane_window, through_plane_groups, decoder_blocks, **decoder
        )
        self.in_plane = SwinStack(
            self.slices * channels, window, groups=in_plane_groups, blocks=decoder_blocks, **decoder
        )
        self.apply(initialize)
        self.reduction = nn.Conv3d(features, channels, 3, padding=1)
        self.fusion = nn.Conv2d(self.slices * channels, self.slices * channels, 3, padding=1)
        self.head = head(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) in [0, 1] -> (B, 1, outputs, H, W); H and W are multiples of 8 pixels."""
        self.window.check(x.shape)
        x = self.encoder(x)  # (B, D, H, W, features)
        x = channels_last(self.reduction, x)  # (B, D, H, W, C)
        first = self._upsample(x)  # (B, H, W, C D'), channel c D' + d
        # As in the released code, channels in the order c D' + d are read here as d C + c; checkpoints depend
        # on it.
        x = self.through_plane(first.unflatten(3, (self.slices, self.channels)))  # (B, H, W, D', C)
        x = self.in_plane(x.flatten(3))
        x = channels_last(self.fusion, x) + first
        x = x.unflatten(3, (self.channels, self.slices))  # (B, H, W, C, D')
        start, count = self.window.first_output, self.window.outputs
        x = self.head(x[..., start : start + count].transpose(3, 4))  # (B, H, W, outputs, 1)
        return x.permute(0, 4, 3, 1, 2).contiguous()

    def _upsample(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D, H, W, C) -> (B, H, W, C D'): for each thin slice a thick one, plus positional encoding."""
        # As released, the thick slice is floor(k D / D'), which is not always the nearest in mm. Padding
        # repeats the last slice.
        source = torch.arange(self.slices, device=x.device) * self.depth // self.thin
        x = x.index_select(1, source.clamp(max=self.depth - 1))  # (B, D', H, W, C)
        x = x + slice_positions(self.slices, self.channels, x.device).to(x.dtype)[:, None, None]
        return x.permute(0, 2, 3, 4, 1).flatten(3)


class Encoder(nn.Module):
    """Convolution, three-dimensional window attention and convolution, with two skip connections."""

    def __init__(self, depth: int, features: int, blocks: int, window: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.depth, self.padded_depth = depth, padded(depth, window)
        half = window // 2
        # Windows that cover the whole depth are not shifted along it.
        shifts = [(0, 0, 0), (half if self.padded_depth > window else 0, half, half)]
        self.conv_in = nn.Conv3d(1, features, (3, 7, 7), padding=(1, 3, 3))
        self.norm_in = nn.LayerNorm(features)
        self.group = SwinGroup(
            [
                # As released, without masks: shifted windows join opposite borders of the tile.
                SwinBlock(features, (window,) * 3, heads, shifts[b % 2], masked=False, mlp_ratio=mlp_ratio)
                for b in range(blocks)
            ],
            ConvNorm(features),
        )
        self.norm_out = nn.LayerNorm(features)
        self.conv_out = nn.Conv3d(features, features, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) -> (B, D, H, W, features)."""
        last = x[:, :, -1:].expand(-1, -1, self.padded_depth - self.depth, -1, -1)
        x = torch.cat([x, last], 2).movedim(1, -1)  # (B, D padded to the windows, H, W, 1)
        first = channels_last(self.conv_in, x)
        x = self.norm_out(self.group(self.norm_in(first)))
        return (channels_last(self.conv_out, x) + first)[:, : self.depth]


class ConvNorm(nn.Module):
    """A 3 x 3 x 3 convolution and a LayerNorm, at the end of the encoder's group."""

    def __init__(self, features: int):
        super().__init__()
        self.conv = nn.Conv3d(features, features, 3, padding=1)
        self.norm = nn.LayerNorm(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) -> the same."""
        return self.norm(self.conv(x).movedim(1, -1)).movedim(-1, 1)


def window_for(
    factor: int = 5,
    depth: int = 8,
    encoder_window: int = 2,
    window: int = 8,
    through_plane_window: int = 4,
    **_: Any,
) -> WindowSpec:
    """Window specification of a CTH-Net built with these arguments."""
    # Unmasked shifted windows mix opposite borders of a tile; this affects at most 32 pixels from the border.
    multiple = math.lcm(VIEW, encoder_window, window, through_plane_window)
    return window_spec(factor, depth, multiple=multiple, margin=32)


def from_authors_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The authors' state dict under this module's names, without the buffers that depend on the crop size."""
    names = [
        (r"Encoder\.conv_first\.(weight|bias)", r"encoder.conv_in.\1"),
        (r"Encoder\.norm_first\.(weight|bias)", r"encoder.norm_in.\1"),
        (r"Encoder\.norm_last\.(weight|bias)", r"encoder.norm_out.\1"),
        (r"Encoder\.conv_after_body\.(weight|bias)", r"encoder.conv_out.\1"),
        (r"Encoder\.layers\.0\.layer_(conv|norm)\.(weight|bias)", r"encoder.group.conv.\1.\2"),
        *swin_block_names(r"Encoder\.layers\.0\.blocks", "encoder.group"),
        (r"conv_after_E\.(weight|bias)", r"reduction.\1"),
        *swin_stack_names("Decoder_T1", "through_plane.stack"),
        *swin_stack_names("Decoder_I1", "in_plane"),
        (r"conv_after_body\.(weight|bias)", r"fusion.\1"),
        (r"conv_before_upsample\.0\.(weight|bias)", r"head.0.\1"),
        (r"conv_last\.(weight|bias)", r"head.2.\1"),
    ]
    # The authors' 1 x 1 x 1 convolutions are linear layers here.
    return renamed(state, names, linear=("head.0.weight", "head.2.weight"))
