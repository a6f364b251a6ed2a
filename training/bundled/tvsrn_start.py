"""Weights with which an untouched TVSRN begins as an interpolation between its four thick slices.

A TVSRN with random weights spends its first hours on learning to interpolate. The released architecture can
return any linear map of its slices exactly, so that training starts from there:

* The patch projection writes thin slices 0 to 15 into the 8 channels of the visible slices 0 and 1. These lie
  at slots 0 and 5 of the 16. The released code mixes up channels and slots (see :class:`TVSRN`): afterwards
  output slices 0 to 7 read slot 0 and slices 8 to 15 read slot 5, channel d % 8.
* The last LayerNorm of each transformer has gain 0 on these channels, so that the residual branches add
  nothing at first.
* The slice positions, which enter twice (tokens and global skip), are subtracted again.
* One unit of the head passes the result on; its bias keeps the LeakyReLU on its straight side.
"""

from __future__ import annotations

import torch

from ThickToThinSRLib.networks.through_plane import slice_positions
from ThickToThinSRLib.networks.tvsrn import PATCH, TVSRN

_PIXELS = PATCH * PATCH
# Scale of what the spare channels carry, so that it is as large as the image itself.
_FEATURE_GAIN = 6.0


@torch.no_grad()
def start_as_interpolation(network: TVSRN, matrix: torch.Tensor, small: float = 1e-3) -> None:
    """Let `network` return ``matrix @ slices``, plus the random rest of its head scaled to `small`.

    Parameters
    ----------
    network : TVSRN
        Of the released shape: depth 4, 8 channels, 16 slots. Its weights are overwritten in place.
    matrix : Tensor, shape (16, 4)
        Thin slices 0 to 15 from the thick slices at 0, 5, 10 and 15.
    small : float
        Standard deviation of the head's other weights; 0 gives the interpolation exactly.
    """
    depth, channels, slots = network.depth, network.channels, network.slices
    identity = torch.eye(_PIXELS)
    projection = _projection(network)
    for slot in range(slots):
        for thick in range(depth):
            projection[slot, :, thick, :] = matrix[slot, thick] * identity
    network.patch_projection.bias.zero_()
    network.encoder.norm_out.weight[:slots] = 0
    network.through_plane.stack.norm_out.weight.zero_()
    # The channels that the head reads of the in-plane decoder, after the mix-up.
    first, second = 0, network.factor * channels // slots
    read = torch.zeros(channels, slots, dtype=torch.bool)
    read[[first, second]] = True
    network.in_plane.norm_out.weight[read.flatten()] = 0
    positions = slice_positions(slots, channels, torch.device("cpu"))
    network.in_plane.norm_out.bias.copy_(-2 * positions.flatten())
    hidden, last = network.head[0], network.head[2]
    hidden.weight[0] = 0
    hidden.weight[0, first] = hidden.weight[0, second] = 0.5
    hidden.bias[0] = 0.25
    last.weight.mul_(small / last.weight.std())
    last.weight[0, 0], last.bias[0] = 1.0, -0.25


@torch.no_grad()
def add_features(network: TVSRN) -> None:
    """Fill the 16 spare channels with differences between slices and in-plane high-passes.

    They do not reach the output until the network learns to use them, which is faster than finding them.
    """
    identity = torch.eye(_PIXELS)
    high_pass = identity - torch.full((_PIXELS, _PIXELS), 1 / _PIXELS)
    laplacian = sum(_difference(*to) for to in ((0, 1), (0, -1), (1, 0), (-1, 0)))
    single = [[float(i == k) for i in range(4)] for k in range(4)]
    full, half = _FEATURE_GAIN, _FEATURE_GAIN / 2
    rows = [
        ([-1, 1, 0, 0], full, identity),
        ([0, -1, 1, 0], full, identity),
        ([0, 0, -1, 1], full, identity),
        ([1, -2, 1, 0], full, identity),
        ([0, 1, -2, 1], full, identity),
        *((single[k], half, high_pass) for k in range(4)),
        *((single[k], half, laplacian) for k in (1, 2)),
        *((single[k], full, _difference(*to)) for k in (1, 2) for to in ((0, 1), (1, 0))),
        ([0, -1, 1, 0], half, laplacian),
    ]
    projection = _projection(network)
    for channel, (slices, gain, kernel) in enumerate(rows, network.slices):
        for thick, weight in enumerate(slices):
            projection[channel, :, thick, :] = weight * gain * kernel


def _projection(network: TVSRN) -> torch.Tensor:
    """The patch projection's weights as (channel, pixel, thick slice, pixel); writing to it changes them."""
    shape = (network.depth * network.channels, _PIXELS, network.depth, _PIXELS)
    return network.patch_projection.weight.view(shape)


def _difference(rows: int, columns: int) -> torch.Tensor:
    """(64, 64): each pixel's neighbour so many rows and columns away, minus the pixel, within the patch."""
    index = torch.arange(_PIXELS).view(PATCH, PATCH)
    moved = torch.zeros(_PIXELS, _PIXELS)
    for y in range(PATCH):
        for x in range(PATCH):
            there = index[min(max(y + rows, 0), PATCH - 1), min(max(x + columns, 0), PATCH - 1)]
            moved[index[y, x], there] += 1
    return moved - torch.eye(_PIXELS)
