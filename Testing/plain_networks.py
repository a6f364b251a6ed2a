"""TVSRN and CTH-Net written out the textbook way: an independent oracle, and the benchmark's yardstick.

Every step is spelled out as the published descriptions have it (partition into windows, explicit masks,
softmax, roll and roll back; all channels-first), one image at a time, without regard to speed. The functions
take a module of ``ThickToThinSRLib.networks`` for its weights and sizes; nothing of its computation is used.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn


def plain_tvsrn(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """TVSRN on (B, 1, D, H, W), image by image."""
    return torch.cat([_tvsrn(network, image[None]) for image in x])


def plain_cthnet(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """CTH-Net on (B, 1, D, H, W), image by image."""
    return torch.cat([_cthnet(network, image[None]) for image in x])


def _tvsrn(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    depth, channels, slices = net.depth, net.channels, net.slices
    height, width = x.shape[-2:]
    rows, columns = height // 8, width // 8
    x = x.reshape(1, depth, rows, 8, columns, 8).permute(0, 1, 3, 5, 2, 4)
    x = x.reshape(1, depth * 64, rows, columns)
    weight = net.patch_projection.weight[:, :, None, None]
    x = F.conv2d(x, weight, net.patch_projection.bias)
    x = x.reshape(1, depth * channels, 8, 8, rows, columns).permute(0, 1, 4, 2, 5, 3)
    x = x.reshape(1, depth * channels, height, width)
    x = _stack(net.encoder, x, masked=True) + x

    tokens = torch.zeros(slices, channels, height, width)
    hidden = [d for d in range(slices) if d % net.factor or d // net.factor >= depth]
    for k in range(depth):
        tokens[k * net.factor] = x[0, k * channels : (k + 1) * channels]
    if net.mask_tokens is not None:
        tokens[hidden] += net.mask_tokens[:, :, None, None]
    tokens = tokens + _positions(slices, channels)[:, :, None, None]

    y = _views(net.through_plane, tokens, masked=True) + tokens
    y = y.reshape(1, slices * channels, height, width)
    y = _stack(net.in_plane, y, masked=True) + y
    y = y + tokens.reshape(1, slices * channels, height, width)
    return _head(net, y)


def _cthnet(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    depth, channels, slices = net.depth, net.channels, net.slices
    height, width = x.shape[-2:]
    masked = net.through_plane.stack.groups[0].blocks[0].masked
    encoder = net.encoder
    while x.shape[2] % net.encoder_window:
        x = torch.cat([x, x[:, :, -1:]], 2)
    first = encoder.conv_in(x)
    x = y = _norm(encoder.norm_in, first)
    for block in encoder.group.blocks:
        y = _block(block, y, masked=False)
    x = _norm(encoder.group.conv.norm, encoder.group.conv.conv(y)) + x
    x = encoder.conv_out(_norm(encoder.norm_out, x)) + first
    x = net.reduction(x[:, :, :depth])

    thin = (depth - 1) * net.window.factor + 1
    source = [min(k * depth // thin, depth - 1) for k in range(slices)]
    x = x[0][:, source] + _positions(slices, channels).t()[:, :, None, None]
    first = x.reshape(1, channels * slices, height, width)
    y = _views(net.through_plane, first.reshape(slices, channels, height, width), masked)
    y = _stack(net.in_plane, y.reshape(1, slices * channels, height, width), masked)
    return _head(net, net.fusion(y) + first)


def _head(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(1, n, H, W) taken as (C, D') whatever it was: conv, LeakyReLU, conv, crop."""
    x = x.reshape(1, net.channels, net.slices, *x.shape[-2:])
    x = F.conv3d(x, net.head[0].weight[:, :, None, None, None], net.head[0].bias)
    x = F.leaky_relu(x, 0.01)
    x = F.conv3d(x, net.head[2].weight[:, :, None, None, None], net.head[2].bias)
    trim = net.window.factor - net.window.factor // 2
    return x[:, :, trim : (net.depth - 1) * net.window.factor + 1 - trim]


def _views(through_plane: nn.Module, x: torch.Tensor, masked: bool) -> torch.Tensor:
    """Sagittal and coronal view of (D', C, H, W), each with eight neighbouring planes as channels."""
    slices, channels, height, width = x.shape
    sagittal = x.reshape(slices, channels, height, width // 8, 8).permute(3, 1, 4, 0, 2)
    sagittal = _stack(through_plane.stack, sagittal.reshape(width // 8, channels * 8, slices, height), masked)
    sagittal = sagittal.reshape(width // 8, channels, 8, slices, height).permute(3, 1, 4, 0, 2)
    coronal = x.reshape(slices, channels, height // 8, 8, width).permute(2, 1, 3, 0, 4)
    coronal = _stack(through_plane.stack, coronal.reshape(height // 8, channels * 8, slices, width), masked)
    coronal = coronal.reshape(height // 8, channels, 8, slices, width).permute(3, 1, 0, 2, 4)
    return sagittal.reshape(x.shape) + coronal.reshape(x.shape)


def _stack(stack: nn.Module, x: torch.Tensor, masked: bool) -> torch.Tensor:
    x = _norm(stack.norm_in, x)
    for group in stack.groups:
        y = x
        for block in group.blocks:
            y = _block(block, y, masked)
        x = x + (y if group.conv is None else group.conv(y))
    return _norm(stack.norm_out, x)


def _norm(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return norm(x.movedim(1, -1)).movedim(-1, 1)


def _block(block: nn.Module, x: torch.Tensor, masked: bool) -> torch.Tensor:
    """One Swin block on (B, C, *grid)."""
    grid, shift, axes = x.shape[2:], block.shift, tuple(range(2, x.dim()))
    skip = x
    x = _norm(block.attention_norm, x)
    x = torch.roll(x, tuple(-s for s in shift), axes)
    windows = _partitioned(x, block.window)  # (B, windows, N, C)
    mask = _mask(grid, block.window, shift) if masked and any(shift) else torch.zeros(1, 1, 1)
    x = _joined(_attention(block.attention, windows, mask), block.window, x.shape)
    x = skip + torch.roll(x, shift, axes)
    y = _norm(block.mlp_norm, x).movedim(1, -1)
    y = block.mlp_out(F.gelu(block.mlp_in(y))).movedim(-1, 1)
    return x + y


def _attention(attention: nn.Module, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    batch, windows, tokens, channels = x.shape
    heads = attention.heads
    qkv = attention.qkv(x).reshape(batch, windows, tokens, 3, heads, channels // heads)
    q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)
    scores = (q * (channels // heads) ** -0.5) @ k.transpose(-2, -1)
    scores = scores + _bias(attention)[None, None] + mask[None, :, None]
    x = scores.softmax(-1) @ v
    return attention.projection(x.transpose(2, 3).reshape(batch, windows, tokens, channels))


def _bias(attention: nn.Module) -> torch.Tensor:
    """(heads, N, N), each pair of tokens looked up by its displacement."""
    window = attention.window
    places = torch.tensor(list(itertools.product(*[range(w) for w in window])))
    displacement = places[:, None] - places[None] + torch.tensor(window) - 1
    row = torch.zeros(displacement.shape[:2], dtype=torch.long)
    for axis, size in enumerate(window):
        row = row * (2 * size - 1) + displacement[..., axis]
    return attention.position_bias[row].permute(2, 0, 1)


def _mask(grid: torch.Size, window: tuple, shift: tuple) -> torch.Tensor:
    """(windows, N, N): -100 for pairs from different regions of the shifted grid (Swin, section 3.2)."""
    region = torch.zeros(1, 1, *grid)
    sections = [
        (slice(0, -w), slice(-w, -s), slice(-s, None)) if s else (slice(None),)
        for w, s in zip(window, shift, strict=True)
    ]
    for number, section in enumerate(itertools.product(*sections)):
        region[(0, 0, *section)] = number
    region = _partitioned(region, window)[0, :, :, 0]
    return torch.where(region[:, :, None] == region[:, None, :], 0.0, -100.0)


def _partitioned(x: torch.Tensor, window: tuple) -> torch.Tensor:
    """(B, C, *grid) -> (B, windows, N, C)."""
    for axis, size in reversed(list(enumerate(window))):
        x = x.unflatten(2 + axis, (-1, size))
    axes = len(window)
    outer, inner = [2 + 2 * a for a in range(axes)], [3 + 2 * a for a in range(axes)]
    x = x.permute(0, *outer, *inner, 1)
    return x.flatten(1 + axes, 2 * axes).flatten(1, axes)


def _joined(x: torch.Tensor, window: tuple, shape: torch.Size) -> torch.Tensor:
    """(B, windows, N, C) -> (B, C, *grid)."""
    grid, axes = shape[2:], len(window)
    counts = [size // w for size, w in zip(grid, window, strict=True)]
    x = x.reshape(shape[0], *counts, *window, shape[1])
    order = [part for a in range(axes) for part in (1 + a, 1 + axes + a)]
    return x.permute(0, 1 + 2 * axes, *order).reshape(shape)


def _positions(slices: int, channels: int) -> torch.Tensor:
    """(slices, channels): sine in even channels, cosine in odd ones."""
    table = torch.zeros(slices, channels)
    for d in range(slices):
        for c in range(channels):
            angle = torch.tensor(d / 10000 ** (2 * (c // 2) / channels), dtype=torch.float64)
            table[d, c] = angle.cos() if c % 2 else angle.sin()
    return table
