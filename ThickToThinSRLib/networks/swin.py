"""Shifted-window transformer blocks for images and volumes, shared by TVSRN and CTH-Net.

The blocks are those of the Swin Transformer (Liu et al., ICCV 2021) with the cyclic shift, relative position
bias and pre-normalisation of SwinIR (Liang et al., ICCV Workshops 2021). For speed, a block processes a chunk
of windows from gathering to writing back, small enough for the processor's cache; gathering the tokens of a
window includes the cyclic shift. Tokens are channels-last, (B, *grid, C).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import UserError
from .parallel import for_each
from .windows import Reordered, WindowKind, relative_position_index, window_kinds

# Elements in the largest intermediate result (attention scores or hidden layer) of a chunk of windows. On a
# CPU a few MB stay in the cache and are reused by the allocator. A GPU needs enough work for all its cores,
# but its kernels accept at most 65535 windows at once.
_CPU_NUMBERS = 1 << 21
_GPU_NUMBERS, _GPU_WINDOWS = 1 << 28, 65535
# The fused attention of GPUs takes heads of a multiple of this many channels in half precision.
_HEAD_MULTIPLE = 8
# Added to the scores of token pairs that must not attend to each other, as in the released code.
_BLOCKED = -100.0
# Windows with fewer tokens than this are combined into groups, see WindowAttention.forward.
_SMALLEST_PRODUCT = 16
# See attend.
_SHORT_SOFTMAX = 32


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias for each relative position."""

    def __init__(self, channels: int, window: tuple[int, ...], heads: int):
        super().__init__()
        if channels % heads:
            raise UserError(f"{heads} attention heads cannot share {channels} channels evenly")
        self.window, self.heads = window, heads
        self.scale = (channels // heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)
        self.position_bias = nn.Parameter(torch.zeros(math.prod(2 * w - 1 for w in window), heads))
        nn.init.trunc_normal_(self.position_bias, std=0.02)

    def bias(self, blocked: torch.Tensor | None) -> torch.Tensor:
        """(heads, N, N): bias that is added to the scaled scores of windows with this mask."""
        index = relative_position_index(self.window, self.position_bias.device)
        bias = self.position_bias[index].permute(2, 0, 1)
        return bias.contiguous() if blocked is None else bias + _BLOCKED * blocked

    def forward(self, x: torch.Tensor, kinds: list[tuple[int, torch.Tensor]]) -> torch.Tensor:
        """Attend within windows.

        Parameters
        ----------
        x : Tensor, shape (B, windows, N, C)
        kinds : list of (int, Tensor)
            How many windows in turn have which bias (heads, N, N).

        Returns
        -------
        Tensor, shape (B, windows, N, C)
        """
        qkv = linear(self.qkv, x)
        counts = [count for count, _ in kinds]
        parts = [
            self._attended(part, bias)
            for part, (_, bias) in zip(qkv.split(counts, dim=1), kinds, strict=True)
        ]
        return linear(self.projection, parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))

    def _attended(self, qkv: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(B, windows, N, 3 C) of windows that share a bias (heads, N, N) -> (B, windows, N, C)."""
        batch, windows, tokens, channels = *qkv.shape[:3], qkv.shape[3] // 3
        group = 1
        if qkv.device.type == "cpu" and tokens < _SMALLEST_PRODUCT:
            # Matrix products and softmax over very short rows are slow. Several windows are combined into
            # one, in which tokens of different windows do not attend to each other.
            group = math.gcd(_SMALLEST_PRODUCT // tokens, batch * windows)
            bias = _block_diagonal(bias, group)
        # (3, windows, heads, N, C / heads), in one copy for all the products that follow
        qkv = qkv.reshape(batch * windows // group, group * tokens, 3, self.heads, -1)
        qkv = qkv.permute(2, 0, 3, 1, 4).contiguous()
        x = attend(*qkv, bias.to(qkv.dtype), self.scale)
        return x.transpose(1, 2).reshape(batch, windows, tokens, channels)


class SwinBlock(nn.Module):
    """LayerNorm, window attention, residual; LayerNorm, MLP with GELU, residual.

    Parameters
    ----------
    channels, window, heads
        Parameters of the attention; `window` has one size for each axis of the grid.
    shift : tuple of int
        Displacement of the windows along each axis, 0 for none.
    masked : bool
        Prevent attention between tokens that are neighbours only because of the cyclic shift.
    mlp_ratio : float
        Width of the MLP's hidden layer relative to `channels`.
    drop_path : float
        Stochastic depth: probability that an image skips a residual branch in training.
    """

    def __init__(
        self,
        channels: int,
        window: tuple[int, ...],
        heads: int,
        shift: tuple[int, ...],
        masked: bool = True,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
    ):
        super().__init__()
        # This form of the comparison also rejects NaN.
        if not (0 <= drop_path < 1 and 1 <= channels * mlp_ratio < 1e6):
            raise UserError(
                "drop_path must be from 0 to less than 1 and mlp_ratio positive, "
                f"not {drop_path} and {mlp_ratio}"
            )
        self.window, self.shift, self.masked, self.drop_path = window, shift, masked, drop_path
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, window, heads)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp_in = nn.Linear(channels, int(channels * mlp_ratio))
        self.mlp_out = nn.Linear(int(channels * mlp_ratio), channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, *grid, C) -> the same; if gradients are off, `x` is overwritten and returned."""
        batch, *grid, channels = x.shape
        kinds = window_kinds(tuple(grid), self.window, self.shift, self.masked, x.device)
        x = x.view(batch, -1, channels)
        chunks = self._chunks(kinds, self._windows_at_a_time(x.device) // batch, x.device)
        gains = [self._branch_gain(x), self._branch_gain(x)] if self.training and self.drop_path else None

        if torch.is_grad_enabled():
            order = torch.cat([index.flatten() for index, _ in chunks])
            back = order.argsort()
            parts = Reordered.apply(x, order, back).split([index.numel() for index, _ in chunks], 1)
            parts = [
                self._windows(part, biases, gains) for part, (_, biases) in zip(parts, chunks, strict=True)
            ]
            return Reordered.apply(torch.cat(parts, 1), back, order).view(batch, *grid, channels)

        def compute(chunk: tuple[torch.Tensor, list[tuple[int, torch.Tensor]]]) -> None:
            index = chunk[0].flatten()
            x.index_copy_(1, index, self._windows(x.index_select(1, index), chunk[1], gains))

        for_each(compute, chunks, x.device)
        return x.view(batch, *grid, channels)

    def _chunks(
        self, kinds: tuple[WindowKind, ...], limit: int, device: torch.device
    ) -> list[tuple[torch.Tensor, list[tuple[int, torch.Tensor]]]]:
        """Windows that are computed together, at most `limit`, and which of them have which bias.

        On a CPU the windows of a chunk share a bias. On a GPU few large chunks are faster, and only attention
        itself is computed separately for each bias.
        """
        biases = [(kind, self.attention.bias(kind.blocked)) for kind in kinds]
        total = sum(len(kind.index) for kind in kinds)
        if device.type != "cpu" and total <= limit:
            index = torch.cat([kind.index for kind in kinds])
            return [(index, [(len(kind.index), bias) for kind, bias in biases])]
        return [(index, [(len(index), bias)]) for kind, bias in biases for index in kind.chunks(limit)]

    def _windows_at_a_time(self, device: torch.device) -> int:
        tokens = math.prod(self.window)
        widest = max(self.attention.heads * tokens, self.mlp_in.out_features)
        if device.type == "cpu":
            return _CPU_NUMBERS // (widest * tokens)
        return min(_GPU_NUMBERS // (widest * tokens), _GPU_WINDOWS)

    def _windows(
        self, x: torch.Tensor, biases: list[tuple[int, torch.Tensor]], gains: list | None
    ) -> torch.Tensor:
        """Apply the block to tokens (B, windows * N, C) that are ordered by window."""
        batch, _, channels = x.shape
        in_windows = self.attention_norm(x).view(batch, -1, math.prod(self.window), channels)
        branch = self.attention(in_windows, biases).view(x.shape)
        x = x + (branch if gains is None else branch * gains[0])
        branch = linear(self.mlp_out, F.gelu(linear(self.mlp_in, self.mlp_norm(x))))
        return x + (branch if gains is None else branch * gains[1])

    def _branch_gain(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, 1): 0 for images that skip the branch, else 1 / (1 - drop_path) to preserve the mean."""
        keep = 1.0 - self.drop_path
        return x.new_empty(len(x), 1, 1).bernoulli_(keep) / keep


class SwinGroup(nn.Module):
    """Blocks with alternately unshifted and shifted windows, an optional convolution, plus the input."""

    def __init__(self, blocks: list[SwinBlock], conv: nn.Module | None = None):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, *grid, C) -> the same."""
        y = x.clone()  # The blocks overwrite their input if gradients are off.
        for block in self.blocks:
            y = block(y)
        if self.conv is not None:
            y = channels_last(self.conv, y)
        return y.add_(x) if not torch.is_grad_enabled() else y + x


class SwinStack(nn.Module):
    """LayerNorm, groups of blocks, LayerNorm: the two-dimensional transformer of both networks.

    Parameters
    ----------
    channels, window, heads, masked, mlp_ratio
        Parameters of every block; `window` is the side of the square windows.
    groups, blocks : int
        Number of residual groups, and of blocks in each.
    drop_path : float
        Stochastic depth: rate of the last block; it increases linearly from 0 at the first block.
    shifted : bool
        Shift the windows of every second block by half a window.
    conv : bool
        End each group with a 3 x 3 convolution.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        heads: int,
        groups: int,
        blocks: int = 4,
        masked: bool = True,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        shifted: bool = True,
        conv: bool = False,
    ):
        super().__init__()
        rates = torch.linspace(0, drop_path, groups * blocks, device="cpu").tolist()
        half = window // 2 if shifted else 0
        shifts = [((0, 0), (half, half))[i % blocks % 2] for i in range(groups * blocks)]
        layers = [
            SwinBlock(channels, (window, window), heads, shift, masked, mlp_ratio, rate)
            for shift, rate in zip(shifts, rates, strict=True)
        ]
        self.norm_in = nn.LayerNorm(channels)
        self.groups = nn.ModuleList(
            SwinGroup(layers[i : i + blocks], nn.Conv2d(channels, channels, 3, padding=1) if conv else None)
            for i in range(0, groups * blocks, blocks)
        )
        self.norm_out = nn.LayerNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) -> the same."""
        x = self.norm_in(x)
        for group in self.groups:
            x = group(x)
        return self.norm_out(x)


def channels_last(conv: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Apply a 2D or 3D convolution to channels-last tokens (B, *grid, C)."""
    return conv(x.movedim(-1, 1)).movedim(1, -1).contiguous()


def linear(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """Apply a linear layer to (..., C)."""
    rows = x.numel() // x.shape[-1]
    onednn = x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    if not onednn or torch.is_grad_enabled() or rows % 16:
        return layer(x)
    # The same product as a 1 x 1 convolution of 16 images (PyTorch does not use oneDNN for smaller batches).
    # It is up to twice as fast as the matrix product of the BLAS library, which does not use all instructions
    # of some processors.
    images = x.reshape(16, 1, rows // 16, -1).permute(0, 3, 1, 2)
    y = F.conv2d(images, layer.weight[:, :, None, None], layer.bias)
    return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def initialize(module: nn.Module) -> None:
    """Initial weights of the Swin Transformer; for ``Module.apply``."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor, scale: float
) -> torch.Tensor:
    """Softmax attention of q, k, v (n, heads, N, c); `bias` (heads, N, N) is added to the scaled scores."""
    if q.device.type == "cuda":
        # cuDNN's attention is left out: with a bias, one version of it gave NaN gradients.
        with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
            return padded_attention(q, k, v, bias, scale)
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, bias, scale=scale)
    # For so few tokens in a window, plain batched products are faster on a CPU than the fused kernel.
    scores = torch.matmul(q, k.transpose(-2, -1))
    if torch.is_grad_enabled():
        scores = torch.add(bias, scores, alpha=scale)
        # The gradient of a softmax over few numbers is nine times as fast in float32 as in half precision.
        short = scores.itemsize == 2 and scores.shape[-1] <= _SHORT_SOFTMAX
        return scores.softmax(-1, dtype=torch.float32 if short else None).to(v.dtype) @ v
    torch.add(bias, scores, alpha=scale, out=scores)
    return torch.softmax(scores, -1, out=scores) @ v


def padded_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor, scale: float
) -> torch.Tensor:
    """The fused attention; heads are filled up with zeros to a size that it takes in half precision.

    Zeros add nothing to the scores, and what they give is cut off.
    """
    channels = q.shape[-1]
    missing = -channels % _HEAD_MULTIPLE
    if missing:
        q, k, v = (F.pad(part, (0, missing)) for part in (q, k, v))
    bias = bias.expand(len(q), -1, -1, -1)
    return F.scaled_dot_product_attention(q, k, v, bias, scale=scale)[..., :channels]


def _block_diagonal(bias: torch.Tensor, group: int) -> torch.Tensor:
    """Repeat (heads, N, N) on the diagonal of (heads, group N, group N), with minus infinity elsewhere."""
    heads, tokens, _ = bias.shape
    wide = bias.new_full((heads, group, tokens, group, tokens), float("-inf"))
    for i in range(group):
        wide[:, i, :, i] = bias
    return wide.view(heads, group * tokens, group * tokens)
