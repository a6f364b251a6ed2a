"""First weights with which an unmodified CTH-Net is close to the best linear map of its thick slices.

CTH-Net's outer skip connection repeats thick slices: thin slice d gets the features of one of them, plus a
positional encoding. So training starts as follows:

* The encoder passes the image and its differences to the neighbouring slices on, in 3 of the channels.
* The residual branches are small, so the decoders do little more than to normalise. As the positions dominate
  the variance that LayerNorm divides by, this is nearly linear.
* The last convolution adds what the repeated slice lacks: the ridge regression, on random crops, from the
  decoders' output to the true slice minus the repeated one. Its bias subtracts the positions.
* One unit of the head passes the result on; its bias keeps the LeakyReLU in its linear range.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ThickToThinSRLib.networks.cthnet import CTHNet
from ThickToThinSRLib.networks.swin import SwinGroup
from ThickToThinSRLib.networks.through_plane import slice_positions

# Gain of the slice differences, so that their values are as large as those of the image.
_DIFFERENCE_GAIN = 3.0
# Size of the random weights that remain on the way of the image, relative to their usual size.
_SMALL = 0.01
_RIDGE = 1e-3  # relative to the mean variance of a feature


@torch.no_grad()
def pass_image_on(network: CTHNet, small: float = _SMALL) -> None:
    """Set all layers but the last convolution; the network then returns repeated thick slices.

    Parameters
    ----------
    network : CTHNet
        Its weights are changed in place.
    small : float
        Relative size of the random weights that remain beside those that pass the image on.
    """
    encoder, reduction = network.encoder, network.reduction
    _scale(encoder.conv_out, small)
    for module in (network.through_plane.stack, network.in_plane):
        for group in module.groups:
            if isinstance(group, SwinGroup) and group.conv is not None:
                _scale(group.conv, small)
    kernel = encoder.conv_in.weight[:3, 0]  # (3, slices, rows, columns)
    kernel.zero_()
    encoder.conv_in.bias[:3] = 0
    centre = kernel.shape[-1] // 2
    kernel[0, 1, centre, centre] = 1.0
    for channel, neighbour in ((1, 0), (2, 2)):
        kernel[channel, 1, centre, centre] = -_DIFFERENCE_GAIN
        kernel[channel, neighbour, centre, centre] = _DIFFERENCE_GAIN
    _scale(reduction, small)
    reduction.weight[:, :, 1, 1, 1] += torch.eye(network.channels, reduction.in_channels)
    reduction.weight[0] = 0
    reduction.weight[0, 0, 1, 1, 1] = 1.0
    _scale(network.fusion, small)
    _start_head(network, small)
    rows = _rows(network)
    network.fusion.weight[rows] = 0
    network.fusion.bias[rows] = -slice_positions(network.slices, network.channels, torch.device("cpu"))[:, 0]


@torch.no_grad()
def add_what_lacks(
    network: CTHNet, draw: Callable[[], tuple[torch.Tensor, torch.Tensor]], count: int
) -> None:
    """Set the last convolution by a ridge regression on `count` crops.

    Parameters
    ----------
    network : CTHNet
        After :func:`pass_image_on`.
    draw : callable
        Returns thick (1, 1, D, H, W) and thin (1, 1, outputs, H, W) crops.
    """
    width = network.slices * network.channels
    products, targets = torch.zeros(width + 1, width + 1, dtype=torch.float64), 0.0
    kept = {}
    handle = network.in_plane.register_forward_hook(lambda _, __, output: kept.update(features=output))
    for _ in range(count):
        thick, thin = draw()
        lacking = (thin - network(thick))[0, 0].flatten(1).T.double()  # (pixels, outputs)
        features = kept["features"].flatten(0, 2).double()  # (pixels, width)
        features = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
        products += features.T @ features
        targets = targets + features.T @ lacking
    handle.remove()
    ridge = _RIDGE * products.diagonal()[:width].mean() * torch.ones(width + 1, dtype=torch.float64)
    ridge[width] = 0
    solved = torch.linalg.solve(products + ridge.diag(), targets).float()  # (width + 1, outputs)
    first, outputs = network.window.first_output, network.window.outputs
    rows = _rows(network)[first : first + outputs]
    network.fusion.weight[rows, :, 1, 1] = solved[:width].T
    network.fusion.bias[rows] += solved[width]


def _rows(network: CTHNet) -> torch.Tensor:
    """Output channels of the last convolution that hold the image: channel 0 of each thin slice."""
    return torch.arange(network.slices)


def _start_head(network: CTHNet, small: float) -> None:
    """Pass channel 0 on, plus a small contribution of the other units."""
    hidden, last = network.head[0], network.head[2]
    hidden.weight[0] = 0
    hidden.weight[0, 0], hidden.bias[0] = 1.0, 0.25
    _scale(last, small)
    last.weight[0, 0], last.bias[0] = 1.0, -0.25


def _scale(layer: torch.nn.Module, share: float) -> None:
    layer.weight.mul_(share)
    layer.bias.mul_(share)
