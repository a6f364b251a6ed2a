"""The mixed-scale dense network of SR4ZCT: a hundred layers of one feature each, all connected to all.

Pelt and Sethian, PNAS 115(2), 2018; as SR4ZCT uses it: 3 x 3 convolutions with dilations 1 to 10 in turn,
each over the input and all features before it, and a last 1 x 1 layer over all of them that starts at zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .window_spec import WindowSpec


class MSD(nn.Module):
    """Correction of planes (B, channels, H, W).

    Parameters
    ----------
    channels : int
        Input channels: the interpolated plane in [0, 1], then what describes its acquisition.
    layers : int
        Number of dense layers.
    dilations : int
        Dilations 1, 2, ... that the layers take in turn.
    mean, deviation : float
        Of the planes' intensity, to normalise the first channel.
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
            # Every feature adds to all later ones: each gets the share of a layer that sees them all.
            nn.init.normal_(weight, std=(2.0 / (9 * (channels + layers))) ** 0.5)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to (B, 1, H, W); any H and W."""
        # Not in half precision on CPUs: backwards through one feature of a large plane, oneDNN reads beyond
        # the end of its memory in bfloat16, and the process dies.
        with torch.autocast("cpu", enabled=False):
            x = torch.cat([(planes[:, :1] - self.mean) / self.deviation, planes[:, 1:]], dim=1)
            return self.head(_Dense.apply(x, self.biases, self.dilations, *self.weights))


class _Dense(torch.autograd.Function):
    """Input and the features of all dense layers in one buffer (B, channels + layers, H, W).

    Each layer writes its feature where the next one reads it, so that nothing is copied; backwards the same
    with one buffer of gradients. Concatenation would keep some fifty times as much.
    """

    @staticmethod
    def forward(ctx, x, biases, dilations, *weights):
        channels = x.shape[1]
        buffer = x.new_empty(x.shape[0], channels + len(weights), *x.shape[2:], dtype=_working(x))
        buffer[:, :channels] = x
        for layer, (weight, dilation) in enumerate(zip(weights, dilations, strict=True)):
            seen = buffer[:, : channels + layer]
            feature = F.conv2d(
                seen, weight.to(seen), biases[layer : layer + 1].to(seen), padding=dilation, dilation=dilation
            )
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
    """The precision that convolutions work in: that of autocast, where it is on."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x.dtype


def window_for(channels: int = 1, layers: int = 100, dilations: int = 10, **_) -> WindowSpec:
    """Its planes: any size; what lies further than the margin away has no influence."""
    margin = sum(1 + layer % dilations for layer in range(layers))
    return WindowSpec(None, channels, 1, 0, 1, multiple=1, tile=512, margin=margin)
