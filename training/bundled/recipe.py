"""What the trainer needs to know about one set of bundled weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ThickToThinSRLib.errors import UserError

from .optimizers import Optimizers

Batch = dict[str, torch.Tensor]
Weights = dict[str, torch.Tensor]


class Source(Protocol):
    """Training scans, from which batches are drawn.

    Attributes
    ----------
    names : list of str
        Names of the scans, for the model card.
    """

    names: list[str]

    def batch(self, generator: np.random.Generator, step: int, settling: bool) -> Batch:
        """Draw the batch of a step.

        Parameters
        ----------
        generator : Generator
            The only source of randomness, so that a step always has the same batch.
        step : int
            Counted from 0.
        settling : bool
            Whether the step is one of the last ones, in which the learning rate falls.
        """


@dataclass(frozen=True)
class Objective:
    """Loss and error of one batch.

    Attributes
    ----------
    loss : Tensor
        The value to minimize.
    before, after : Tensor
        Mean squared error of the baseline (an interpolation), and of the network.
    """

    loss: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor


@dataclass(frozen=True)
class BundledRecipe:
    """How one set of bundled weights is trained.

    Attributes
    ----------
    name : str
        Name of the recipe and of the weights file.
    network : str
        Name in the registry of networks.
    arguments : dict
        Arguments of the network's constructor, as they stand in the weights file.
    source : callable
        (data folder, parts of names to leave out) to the :class:`Source`.
    start : callable
        (network, source): sets the first weights, in place.
    optimizers : callable
        (network, learning rate) to the optimizers.
    objective : callable
        (network, batch, settling, precision) to the :class:`Objective`.
    relative_rate : callable
        (step, steps, first settling step) to the learning rate over its full value, see :mod:`.rates`.
    steps : int
        Number of training steps.
    settling : int or float
        The last steps, in which the learning rate falls: their number, or, below 1, their share of `steps`.
    rate : float
        Full learning rate.
    average : float
        Largest decay of the running mean of the weights, which is what ships.
    card : dict
        Title, version, licence, limits and trained ranges for the model card. In ``limits``, ``{scans}``
        stands for the number of training scans.
    finish : callable
        (running mean of the weights, source) to the weights that ship; by default the mean itself.
    in_training : dict
        Constructor arguments for training only (such as ``drop_path``).
    """

    name: str
    network: str
    arguments: dict[str, Any]
    source: Callable[[Path, list[str]], Source]
    start: Callable[[torch.nn.Module, Source], None]
    optimizers: Callable[[torch.nn.Module, float], Optimizers]
    objective: Callable[[torch.nn.Module, Batch, bool, str], Objective]
    relative_rate: Callable[[int, int, int], float]
    steps: int
    settling: int | float
    rate: float
    card: dict[str, Any]
    average: float = 0.998
    finish: Callable[[Weights, Source], Weights] = lambda mean, source: mean
    in_training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.steps < 1:
            raise UserError(f"steps must be 1 or more, not {self.steps}")
        if not 0 <= self.settling_steps <= self.steps:
            raise UserError(f"settling must lie between 0 and the {self.steps} steps, not {self.settling}")

    @property
    def settling_steps(self) -> int:
        """Number of steps in which the learning rate falls."""
        return round(self.settling * self.steps) if 0 < self.settling < 1 else int(self.settling)

    @property
    def settled_from(self) -> int:
        """First step in which the learning rate falls."""
        return self.steps - self.settling_steps


def channels_last(network: torch.nn.Module, source: Source) -> None:
    """Keep the random first weights, in the memory layout that convolutions on the CPU are fastest with."""
    network.to(memory_format=torch.channels_last)
