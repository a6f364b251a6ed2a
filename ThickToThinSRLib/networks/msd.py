"""The mixed-scale dense network (MS-D) of SR4ZCT: a hundred layers with one feature each, densely connected.

Pelt and Sethian, PNAS 115(2), 2018, in the configuration of SR4ZCT: 3 x 3 convolutions with dilations cycling
through 1 to 10, each over the input and all previous features, and a final 1 x 1 convolution over all of
them, initialised with zeros.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .window_spec import WindowSpec


class MSD(nn.Module):
    """Predicts the correction of interpolated planes (B, channels, H, W).

    Parameters
    ----------
    channels : int
        Input channels: the interpolated plane on [0, 1], then constant channels that describe the
        acquisition.
    layers : int
        Number of dense layers.
    dilations : int
        The layers cycle through the dilations 1, 2, ..., `dilations`.
    mean, deviation : float
        Mean and standard deviation of the planes' intensity, to normalise the first channel.
    """

    def __init__(
        self,
        channels: int = 1,
        layers: int = 100,
        dilations: int = 10,
        mean: float = 0.25,
        deviation: float = 0.15,
    ):
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.window = window_for(channels, layers, dilations)
        self.dilations = [1 + layer % dilations for layer in range(layers)]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(1, channels + layer, 3, 3)) for layer in range(layers)
        )
        self.biases = nn.Parameter(torch.zeros(layers))
        self.head = nn.Conv2d(channels + layers, 1, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        for weight in self.weights:
            # Every feature contributes to all later ones, so all weights are scaled for the number of inputs
            # of the last layer.
            nn.init.normal_(weight, std=(2.0 / (9 * (channels + layers))) ** 0.5)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to (B, 1, H, W); any H and W."""
        # Autocast is off on CPUs: in the backward pass of one feature of a large plane, oneDNN reads beyond
        # the end of its memory in bfloat16 and the process crashes.
        with torch.autocast("cpu", enabled=False):
            x = torch.cat([(planes[:, :1] - self.mean) / self.deviation, planes[:, 1:]], dim=1)
            return self.head(_Dense.apply(x, self.biases, self.dilations, *self.weights))


class _Dense(torch.autograd.Function):
    """The dense layers, with input and all features in one buffer (B, channels + layers, H, W).

    Each layer writes its feature where the next one reads it, so that nothing is copied; the backward pass
    uses one buffer of gradients likewise. Concatenation would need about fifty times as much memory.
    """

    @staticmethod
    def forward(ctx, x, biases, dilations, *weights):
        channels = x.shape[1]
        buffer = x.new_empty(x.shape[0], channels + len(weights), *x.shape[2:], dtype=_working(x))
        buffer[:, :channels] = x
        for layer, (weight, dilation) in enumerate(zip(weights, dilations, strict=True)):
            inputs = buffer[:, : channels + layer]
            bias = biases[layer : layer + 1].to(inputs)
            feature = F.conv2d(inputs, weight.to(inputs), bias, padding=dilation, dilation=dilation)
            torch.clamp(feature, min=0, out=buffer[:, channels + layer : channels + layer + 1])
        ctx.save_for_backward(buffer, *weights)
        ctx.channels, ctx.dilations = channels, dilations
        return buffer

    @staticmethod
    def backward(ctx, gradient):
        buffer, *weights = ctx.saved_tensors
        gradient = gradient.clone()
        of_weights, of_biases = [None] * len(weights), buffer.new_zeros(len(weights), dtype=torch.float32)
        for layer in reversed(range(len(weights))):
            at, dilation = ctx.channels + layer, ctx.dilations[layer]
            g = gradient[:, at : at + 1] * (buffer[:, at : at + 1] > 0)
            into_input, of_weight, _ = torch.ops.aten.convolution_backward(
                g, buffer[:, :at], weights[layer].to(g), None, (1, 1), (dilation, dilation),
                (dilation, dilation), False, (0, 0), 1, (True, True, False),
            )  # fmt: skip
            gradient[:, :at] += into_input
            of_weights[layer] = of_weight.to(weights[layer])
            of_biases[layer] = g.sum(dtype=torch.float32)
        return gradient[:, : ctx.channels], of_biases, None, *of_weights


def _working(x: torch.Tensor) -> torch.dtype:
    """The type that convolutions compute in: that of autocast if it is enabled, else that of `x`."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x.dtype


def window_for(channels: int = 1, layers: int = 100, dilations: int = 10, **_) -> WindowSpec:
    """Window specification: planes of any size; pixels beyond the margin have no influence."""
    margin = sum(1 + layer % dilations for layer in range(layers))
    return WindowSpec(None, channels, 1, 0, 1, multiple=1, tile=512, margin=margin)
