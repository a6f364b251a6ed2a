"""TVSRN: the through-plane view transformer of the RPLHR-CT paper.

Yu et al., "RPLHR-CT dataset and transformer baseline for volumetric super-resolution from CT scans",
MICCAI 2022.

With the default arguments the module computes the same as the authors' released code, which differs from the
paper in details; with `learned_mask_tokens` the mask tokens are learned, as in the paper.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from ..errors import UserError
from .authors_names import renamed, swin_stack_names
from .swin import SwinStack, initialize
from .through_plane import ThroughPlane, head, padded, slice_positions
from .tvsrn_ablations import VIT_PATCH, Subpixel, ViTEncoder
from .window_spec import WindowSpec, window_spec

PATCH = 8  # pixels: side of the patches that the first layer projects
VARIANTS = ("full", "without_tab", "encoder_only", "vit_encoder")


class TVSRN(nn.Module):
    """TVSRN (MICCAI 2022), exact to the authors' released code.

    Parameters
    ----------
    factor : int
        Upsampling factor r along the through-plane axis.
    depth : int
        Thick slices in a window (D). The decoders compute D' thin slices: (D - 1) r + 1, padded to a multiple
        of the through-plane window.
    channels : int
        Channels of each slice (C).
    encoder_blocks : int
        Blocks of the encoder's single group.
    through_plane_groups, in_plane_groups : int
        Residual groups of the through-plane attention block (TAB) and of the in-plane decoder.
    decoder_blocks : int
        Blocks of each of these groups.
    window, through_plane_window : int
        Sides of the attention windows in the axial plane and in the sagittal and coronal planes.
    heads : int
        Attention heads of every block.
    mlp_ratio : float
        Width of the MLPs' hidden layers relative to their inputs.
    drop_path : float
        Stochastic depth in training: rate of the last block of each transformer.
    learned_mask_tokens : bool
        Learn the tokens of the missing slices, as in the paper. The released code does not register them as
        parameters, so they remain zero and its checkpoints contain none.
    variant : {"full", "without_tab", "encoder_only", "vit_encoder"}
        The full network, or an ablation of the paper's Table 1: without the through-plane attention block;
        the encoder alone with sub-pixel upsampling (8 blocks and 32 channels in the paper); a plain vision
        transformer.

    Raises
    ------
    UserError
        If an argument has an impossible value.
    """

    def __init__(
        self,
        factor: int = 5,
        depth: int = 4,
        channels: int = 8,
        encoder_blocks: int = 4,
        through_plane_groups: int = 1,
        in_plane_groups: int = 2,
        decoder_blocks: int = 4,
        window: int = 8,
        through_plane_window: int = 4,
        heads: int = 8,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        learned_mask_tokens: bool = False,
        variant: str = "full",
    ):
        super().__init__()
        if variant not in VARIANTS:
            raise UserError(f"tvsrn: variant must be one of {', '.join(VARIANTS)}, not {variant!r}")
        self.factor, self.depth, self.channels, self.variant = factor, depth, channels, variant
        self.window = window_for(factor, depth, window, through_plane_window, variant)
        self.slices = padded((depth - 1) * factor + 1, through_plane_window)  # D'
        if variant == "vit_encoder":
            self.encoder = ViTEncoder(factor)
            return
        swin = {"heads": heads, "mlp_ratio": mlp_ratio, "drop_path": drop_path}
        self.encoder = SwinStack(depth * channels, window, groups=1, blocks=encoder_blocks, **swin)
        if variant == "encoder_only":
            self.subpixel = Subpixel(depth * channels, self.slices)
            self.apply(initialize)
            self.patch_projection = nn.Linear(depth * PATCH**2, depth * channels * PATCH**2)
            self.head = head(self.subpixel.layer.out_features // self.slices)
            return
        if variant == "full":
            self.through_plane = ThroughPlane(
                self.slices, channels, through_plane_window, through_plane_groups, decoder_blocks, **swin
            )
        self.in_plane = SwinStack(
            self.slices * channels, window, groups=in_plane_groups, blocks=decoder_blocks, **swin
        )
        self.apply(initialize)
        self.patch_projection = nn.Linear(depth * PATCH**2, depth * channels * PATCH**2)
        self.head = head(channels)
        self.mask_tokens = None
        if learned_mask_tokens:
            self.mask_tokens = nn.Parameter(torch.zeros(self.slices - depth, channels))
            nn.init.trunc_normal_(self.mask_tokens, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) in [0, 1] -> (B, 1, outputs, H, W); H and W are multiples of 8 pixels."""
        self.window.check(x.shape)
        first, count = self.window.first_output, self.window.outputs
        if self.variant == "vit_encoder":
            return self.encoder(x[:, 0], self.window)[:, None]
        x = self._project(x[:, 0])  # (B, H, W, D C), channel d C + c
        x = x + self.encoder(x)
        if self.variant == "encoder_only":
            x = self.head(self.subpixel(x)[..., first : first + count, :])
            return x.permute(0, 4, 3, 1, 2).contiguous()
        tokens = self._tokens(x)  # (B, H, W, D', C)
        x = tokens + self.through_plane(tokens) if self.variant == "full" else tokens
        x = x.flatten(3)  # (B, H, W, D' C), channel d C + c
        x = x + self.in_plane(x)
        x = x + tokens.flatten(3)
        # As in the released code, channels in the order d C + c are read here as c D' + d; checkpoints depend
        # on it.
        x = x.unflatten(3, (self.channels, self.slices))  # (B, H, W, C, D')
        x = self.head(x[..., first : first + count].transpose(3, 4))  # (B, H, W, outputs, 1)
        return x.permute(0, 4, 3, 1, 2).contiguous()

    def _project(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D, H, W) -> (B, H, W, D C): a linear layer on every 8 x 8 patch of all slices."""
        x = x.unflatten(2, (-1, PATCH)).unflatten(4, (-1, PATCH))  # (B, D, rows, 8, columns, 8)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (B, rows, columns, D 8 8)
        x = self.patch_projection(x)
        x = x.unflatten(3, (-1, PATCH, PATCH))  # (B, rows, columns, D C, 8, 8)
        x = x.permute(0, 1, 4, 2, 5, 3)  # (B, rows, 8, columns, 8, D C)
        return x.flatten(3, 4).flatten(1, 2)

    def _tokens(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, D C) -> (B, H, W, D', C): thick slices, mask tokens between them, positional encoding."""
        visible = torch.arange(self.depth, device=x.device) * self.factor
        base = slice_positions(self.slices, self.channels, x.device).to(x.dtype)  # (D', C)
        if self.mask_tokens is not None:
            hidden = _hidden(self.slices, self.depth, self.factor, x.device)
            base = base.index_add(0, hidden, self.mask_tokens.to(x.dtype))
        tokens = base.expand(*x.shape[:3], -1, -1)
        return tokens.index_add(3, visible, x.unflatten(3, (self.depth, self.channels)))


@lru_cache(maxsize=16)
def _hidden(slices: int, depth: int, factor: int, device: torch.device) -> torch.Tensor:
    """Thin slices that are no thick ones; found once, as a GPU would have to wait for it."""
    visible = {index * factor for index in range(depth)}
    with torch.inference_mode(False):
        return torch.tensor([index for index in range(slices) if index not in visible], device=device)


def window_for(
    factor: int = 5,
    depth: int = 4,
    window: int = 8,
    through_plane_window: int = 4,
    variant: str = "full",
    **_: Any,
) -> WindowSpec:
    """Window specification of a TVSRN built with these arguments."""
    # At 16 pixels from the border of a tile, the prediction hardly depends on what lies outside.
    patch = VIT_PATCH if variant == "vit_encoder" else PATCH
    return window_spec(factor, depth, multiple=math.lcm(patch, window, through_plane_window), margin=16)


def from_authors_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The authors' state dict under this module's names, without the buffers that depend on the crop size."""
    names = [
        (r"LP\.(weight|bias)", r"patch_projection.\1"),
        *swin_stack_names("Encoder", "encoder"),
        *swin_stack_names("Decoder_T1", "through_plane.stack"),
        *swin_stack_names("Decoder_I1", "in_plane"),
        (r"conv_before_upsample\.0\.(weight|bias)", r"head.0.\1"),
        (r"conv_last\.(weight|bias)", r"head.2.\1"),
    ]
    # The authors' 1 x 1 convolutions are linear layers here.
    return renamed(state, names, linear=("patch_projection.weight", "head.0.weight", "head.2.weight"))
