"""What a recipe for bundled weights tells the trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from .optimizers import Optimizers

Batch = dict[str, torch.Tensor]


class Source(Protocol):
    """Where batches come from."""

    names: list[str]

    def batch(self, generator: np.random.Generator, step: int, settling: bool) -> Batch:
        """A batch drawn by `generator`; near the end (`settling`) it may be of another kind."""


@dataclass(frozen=True)
class Objective:
    """What a batch gave.

    Attributes
    ----------
    loss : Tensor
        To go down.
    before, after : Tensor
        Mean square of what the network has to add to its baseline, and of what it leaves.
    """

    loss: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor


@dataclass(frozen=True)
class BundledRecipe:
    """One set of weights that ships with the project.

    Attributes
    ----------
    name : str
        Of the recipe and of the file of weights.
    network : str
        In the registry of networks.
    arguments : dict
        Of its constructor, as in the file.
    source : callable
        (data folder, names to leave out) to the :class:`Source`.
    start : callable
        Sets the first weights in place: (network, source).
    optimizers : callable
        Network and learning rate to the optimizers.
    objective : callable
        (network, batch, settling, precision) to the :class:`Objective`.
    steps, settling : int
        In all; of these the last ones, in which the rate falls by a cosine.
    rate : float
        Full learning rate.
    average : float
        Most that the running mean of the weights keeps of itself in a step.
    card : dict
        Title, licence, limits, trained ranges for the model card.
    in_training : dict
        Constructor arguments in training only (such as ``drop_path``).
    """

    name: str
    network: str
    arguments: dict[str, Any]
    source: Callable[..., Source]
    start: Callable[[torch.nn.Module, Source], None]
    optimizers: Callable[[torch.nn.Module, float], Optimizers]
    objective: Callable[[torch.nn.Module, Batch, bool, str], Objective]
    steps: int
    settling: int
    rate: float
    card: dict[str, Any]
    average: float = 0.998
    in_training: dict[str, Any] = field(default_factory=dict)
