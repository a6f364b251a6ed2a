"""First weights with which an unmodified SAINT interpolates quadratically between its thick slices.

SAINT has no skip connection to an interpolation: its first stage multiplies features by filters that a small
network makes from distances. So training starts as follows:

* The extractor's first convolution, which a global skip passes on, keeps the image in channel 0. All its
  values are scaled down, because the network works on intensities up to 4000.
* The last layer of the filter generator is solved by least squares, over many factors and spacings: for
  channel 0 it gives Lagrange's weights of the previous, the own and the next thick slice, for the others 0.
* The last convolution of the second stage is 0, so the fusion is the mean of both views.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ThickToThinSRLib.networks.saint import SAINT, FilterGenerator, distance_maps

# Features are this share of the intensities.
_FEATURE_SCALE = 1 / 30
_FACTORS = (2, 3, 4, 5, 6, 7, 8)
_THIN_SPACINGS = (0.6, 0.8, 1.0, 1.25, 1.5)
_PIXELS = (0.4, 0.6, 0.8, 1.0)
_RIDGE = 1e-7
_SUM_WEIGHT = 10.0


@torch.no_grad()
def start_as_interpolation(network: SAINT) -> None:
    """Let the network interpolate, whatever factor and spacings it is told; overwrites weights in place."""
    extractor = network.extractor
    extractor.shallow.weight.mul_(_FEATURE_SCALE)
    extractor.shallow.bias.zero_()
    extractor.shallow.weight[0] = 0
    extractor.shallow.weight[0, 1, 1, 1] = _FEATURE_SCALE
    extractor.gather[1].weight[0] = 0
    extractor.gather[1].bias[0] = 0
    _solve_filters(network.filters)
    network.fusion[1].weight.zero_()
    network.fusion[1].bias.zero_()


def lagrange_weights(factor: int) -> torch.Tensor:
    """(factor, 3): weights of the previous, the own and the next slice, for the slice k / factor after it."""
    t = torch.arange(factor) / factor
    return torch.stack([t * (t - 1) / 2, 1 - t * t, t * (t + 1) / 2], 1)


def _solve_filters(filters: FilterGenerator) -> None:
    """Set the last layer by least squares over factors and spacings."""
    last = filters.convs[-1]
    rows, wanted = [], []
    for factor in _FACTORS:
        for spacing in _THIN_SPACINGS:
            for pixel in _PIXELS:
                x = distance_maps(factor, pixel, spacing)[:, None]
                for conv in filters.convs[:-1]:
                    x = torch.relu(conv(x))
                taps = F.unfold(x, 3, padding=1).transpose(1, 2)  # (factor, places, weights)
                taps = F.pad(taps, (0, 1), value=1.0)  # the bias
                kernels = torch.zeros(factor, 3, 3)
                # Kernels have pixels as rows and slices as columns.
                kernels[:, 1] = lagrange_weights(factor) / _FEATURE_SCALE
                # The sums of the kernels matter most: errors there make the result too bright or too dark.
                rows += [taps.flatten(0, 1), _SUM_WEIGHT * taps.sum(1)]
                wanted += [kernels.flatten(), _SUM_WEIGHT * kernels.sum((1, 2))]
    hidden = torch.cat(rows).double()
    products = hidden.T @ hidden
    products.diagonal().add_(_RIDGE * products.diagonal().mean())
    solved = torch.linalg.solve(products, hidden.T @ torch.cat(wanted).double()).float()
    last.weight.zero_()
    last.bias.zero_()
    last.weight[0] = solved[:-1].view(last.weight[0].shape)
    last.bias[0] = solved[-1]
