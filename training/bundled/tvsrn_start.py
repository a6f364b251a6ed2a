"""First weights with which an unmodified TVSRN is an interpolation between its four thick slices.

A TVSRN with random weights needs hours of training before it interpolates. But the released architecture can
represent any linear map of its slices exactly, so training can start from one:

* The patch projection writes thin slices 0 to 15 into the 8 channels of thick slices 0 and 1. These have
  slots 0 and 5 of the 16. The released code confuses channels and slots (see :class:`TVSRN`): as a result,
  output slices 0 to 7 read slot 0, and slices 8 to 15 read slot 5, each from channel d % 8.
* The last LayerNorm of each transformer has gain 0 on these channels, so the residual branches add nothing at
  first.
* The slice positions, which are added twice (to the tokens and in the global skip), are subtracted.
* One unit of the head passes the result on; its bias keeps the LeakyReLU in its linear range.
"""

from __future__ import annotations

import torch

from ThickToThinSRLib.networks.through_plane import slice_positions
from ThickToThinSRLib.networks.tvsrn import PATCH, TVSRN

_PIXELS = PATCH * PATCH
# Scale of the spare channels, so that their values are as large as those of the image.
_FEATURE_GAIN = 6.0


@torch.no_grad()
def start_as_interpolation(network: TVSRN, matrix: torch.Tensor, small: float = 1e-3) -> None:
    """Let `network` return ``matrix @ slices``, plus a small contribution of the other weights of its head.

    Parameters
    ----------
    network : TVSRN
        Network of the released shape: depth 4, 8 channels, 16 slots. Its weights are overwritten in place.
    matrix : Tensor, shape (16, 4)
        Gives thin slices 0 to 15 from the thick slices at 0, 5, 10 and 15.
    small : float
        Standard deviation of these other weights; 0 gives the interpolation exactly.
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
    # The channels of the in-plane decoder that the head reads.
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
    """Fill the 16 spare channels with differences between slices and in-plane high-pass filters.

    They have no effect on the output until the network learns to use them. That is faster than learning the
    filters themselves.
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
    """View of the patch projection's weights as (channel, pixel, thick slice, pixel)."""
    shape = (network.depth * network.channels, _PIXELS, network.depth, _PIXELS)
    return network.patch_projection.weight.view(shape)


def _difference(rows: int, columns: int) -> torch.Tensor:
    """Matrix (64, 64): the neighbour at an offset of rows and columns minus the pixel, within a patch."""
    index = torch.arange(_PIXELS).view(PATCH, PATCH)
    moved = torch.zeros(_PIXELS, _PIXELS)
    for y in range(PATCH):
        for x in range(PATCH):
            there = index[min(max(y + rows, 0), PATCH - 1), min(max(x + columns, 0), PATCH - 1)]
            moved[index[y, x], there] += 1
    return moved - torch.eye(_PIXELS)
