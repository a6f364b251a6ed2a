"""First weights with which an unmodified SAINT interpolates quadratically, and learns fast from there.

SAINT has no skip connection to an interpolation: its first stage multiplies features by filters that a small
network makes from distances. So training starts as follows:

* The extractor's first convolution, which a global skip passes on, keeps the image in channel 0. All its
  values are scaled down, because the network works on intensities up to 4000.
* Channels 1 to 31 of that convolution see differences of neighbours, amplified. Their filters are 0.
* Channels 32 to 63 are what the extractor adds; at the start it adds nothing. Their filters are cosines over
  the position between two thick slices. So all of these channels reach the result from the first step on.
* The last layer of the filter generator is solved by least squares, over many factors and spacings: for
  channel 0 it gives Lagrange's weights of the previous, the own and the next thick slice.
* The last convolution of the second stage is 0, so the fusion is the mean of both views.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ThickToThinSRLib.networks.saint import SAINT, FilterGenerator, distance_maps

# Features are this share of the intensities.
_FEATURE_SCALE = 1 / 30
# Of differences of neighbours, which are much smaller than the intensities.
_DIFFERENCE_SCALE = 4 * _FEATURE_SCALE
# Of channel 0 beside these differences, for the layers that follow.
_IMAGE_SHARE = 0.1
_FIRST_ADDED = 32
# An added channel counts this many times in the result.
_ADDED_SCALE = 2.0
_COSINES = 5
_FACTORS = (2, 3, 4, 5, 6, 7, 8)
_THIN_SPACINGS = (0.6, 0.8, 1.0, 1.25, 1.5)
_PIXELS = (0.4, 0.6, 0.8, 1.0)
_RIDGE = 1e-7
_SUM_WEIGHT = 10.0


@torch.no_grad()
def start_as_interpolation(network: SAINT) -> None:
    """Let the network interpolate, whatever factor and spacings it is told; overwrites weights in place."""
    extractor = network.extractor
    first, last = extractor.shallow, extractor.gather[1]
    first.weight.sub_(first.weight.mean((1, 2, 3), keepdim=True)).mul_(_DIFFERENCE_SCALE)
    first.weight[_FIRST_ADDED:] = 0
    first.weight[0] = 0
    first.weight[0, 1, 1, 1] = _FEATURE_SCALE
    first.bias.zero_()
    extractor.second.weight[:, 0].mul_(_IMAGE_SHARE)
    last.weight[0] = 0
    last.weight[_FIRST_ADDED:] = 0
    last.bias.zero_()
    _solve_filters(network.filters)
    network.fusion[1].weight.zero_()
    network.fusion[1].bias.zero_()


def lagrange_weights(factor: int) -> torch.Tensor:
    """(factor, 3): weights of the previous, the own and the next slice, for the slice k / factor after it."""
    t = torch.arange(factor) / factor
    return torch.stack([t * (t - 1) / 2, 1 - t * t, t * (t + 1) / 2], 1)


def _wanted_kernels(factor: int) -> torch.Tensor:
    """(factor, 1 + cosines, 3, 3): of channel 0, then of the channels that are added."""
    kernels = torch.zeros(factor, 1 + _COSINES, 3, 3)
    # Kernels have pixels as rows and slices as columns.
    kernels[:, 0, 1] = lagrange_weights(factor) / _FEATURE_SCALE
    place = torch.arange(factor)[:, None] / factor
    kernels[:, 1:, 1, 1] = _ADDED_SCALE * torch.cos(math.pi * place * torch.arange(_COSINES))
    return kernels


def _solve_filters(filters: FilterGenerator) -> None:
    """Set the last layer by least squares over factors and spacings."""
    last = filters.convs[-1]
    rows, wanted = [], []
    for factor in _FACTORS:
        kernels = _wanted_kernels(factor)
        for spacing in _THIN_SPACINGS:
            for pixel in _PIXELS:
                x = distance_maps(factor, pixel, spacing)[:, None]
                for conv in filters.convs[:-1]:
                    x = torch.relu(conv(x))
                taps = F.unfold(x, 3, padding=1).transpose(1, 2)  # (factor, places, weights)
                taps = F.pad(taps, (0, 1), value=1.0)  # the bias
                # The sums of the kernels matter most: errors there make the result too bright or too dark.
                rows += [taps.flatten(0, 1), _SUM_WEIGHT * taps.sum(1)]
                wanted += [
                    kernels.flatten(2).transpose(1, 2).flatten(0, 1),
                    _SUM_WEIGHT * kernels.sum((2, 3)),
                ]
    hidden = torch.cat(rows).double()
    products = hidden.T @ hidden
    products.diagonal().add_(_RIDGE * products.diagonal().mean())
    solved = torch.linalg.solve(products, hidden.T @ torch.cat(wanted).double()).float()
    last.weight.zero_()
    last.bias.zero_()
    added = torch.arange(_FIRST_ADDED, len(last.weight))
    channels = torch.cat([torch.zeros(1, dtype=torch.long), added])
    column = torch.cat([torch.zeros(1, dtype=torch.long), 1 + added % _COSINES])
    last.weight[channels] = solved[:-1, column].T.view(len(channels), *last.weight.shape[1:])
    last.bias[channels] = solved[-1, column]
