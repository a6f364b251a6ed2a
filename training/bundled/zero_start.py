"""First weights with which a network adds nothing to its interpolation."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .recipe import Source


def zero_layers(*names: str) -> Callable[[torch.nn.Module, Source], None]:
    """The start of a recipe that sets the weights and the bias of these layers to 0."""

    @torch.no_grad()
    def start(network: torch.nn.Module, source: Source) -> None:
        for name in names:
            layer = network.get_submodule(name)
            layer.weight.zero_()
            layer.bias.zero_()

    return start
