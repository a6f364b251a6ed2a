"""Adaptation: the training loop of all methods whose network learns from the scan before it is used."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from ..monitor import Monitor

# Validations in one budget (early stopping); least number of steps between two of them; number of validations
# without improvement after which the adaptation stops.
_VALIDATIONS, _STEPS_BETWEEN, _PATIENCE = 12, 25, 5


@dataclass(frozen=True)
class Budget:
    """How long to adapt: a number of seconds, or a number of steps."""

    seconds: float | None = None
    steps: int | None = None

    @property
    def nothing(self) -> bool:
        return not (self.seconds or self.steps)

    def spent(self, step: int, started: float) -> float:
        """Share of the budget that is spent at `step` if the adaptation started at `started` (monotonic)."""
        if self.steps is not None:
            return step / self.steps if self.steps else 1.0
        return (time.monotonic() - started) / self.seconds if self.seconds else 1.0

    def progress(self, step: int, started: float) -> tuple[int, int]:
        """Done and total, for the monitor."""
        if self.steps is not None:
            return step, self.steps
        return min(1000, int(1000 * self.spent(step, started))), 1000


class HeldOutPairs(Protocol):
    """Pairs for validation, on which the network is not trained."""

    def errors(self, network: torch.nn.Module) -> tuple[float, float]:
        """Mean squared errors of the interpolation and of the network's result, in the same unit."""


class HeldOutValidator:
    """Measures the gain over the interpolation on held-out pairs, and remembers the best weights.

    Attributes
    ----------
    latest, best : float
        Gain at the latest validation and the largest gain so far, dB.
    without_improvement : int
        Number of validations since the best one.
    """

    def __init__(self, network: torch.nn.Module, pairs: HeldOutPairs):
        self._network, self._pairs, self._weights = network, pairs, None
        self.latest = self.best = -math.inf
        self.without_improvement = 0

    def validate(self) -> float:
        """Measure the gain of the network's present weights, in dB."""
        self._network.eval()
        with torch.no_grad():
            interpolation_error, network_error = self._pairs.errors(self._network)
        self.latest = 0.0
        if interpolation_error > 0 and network_error > 0:
            self.latest = 10 * math.log10(interpolation_error / network_error)
        if self.latest > self.best:
            self.best, self.without_improvement = self.latest, 0
            self._weights = {key: value.clone() for key, value in self._network.state_dict().items()}
        else:
            self.without_improvement += 1
        return self.latest

    def restore_best(self) -> None:
        """Load the best weights into the network."""
        self._network.load_state_dict(self._weights)


@dataclass(frozen=True)
class Adaptation:
    """One adaptation of a network.

    Attributes
    ----------
    network : torch.nn.Module
        Adapted in place; in eval mode afterwards.
    loss : callable
        Computes the loss of a step from its number.
    optimizer : Optimizer
        Holds the parameters to train.
    budget : Budget
    relative_rate : callable, optional
        Computes the learning rate, relative to its full value, from the step and the share of the budget
        spent; constant by default.
    clip_norm : float, optional
        Largest norm of the gradients; larger ones are scaled down.
    validator : HeldOutValidator, optional
        Validates the weights; the best ones are loaded at the end.
    stop_early : bool
        Whether to validate during the adaptation too, and to stop when nothing improves.
    """

    network: torch.nn.Module
    loss: Callable[[int], torch.Tensor]
    optimizer: torch.optim.Optimizer
    budget: Budget
    relative_rate: Callable[[int, float], float] | None = None
    clip_norm: float | None = None
    validator: HeldOutValidator | None = None
    stop_early: bool = False

    def run(self, monitor: Monitor) -> int:
        """Adapt the network.

        Returns
        -------
        int
            Number of steps.

        Raises
        ------
        Cancelled
            If the monitor was asked to stop.
        """
        full_rates = [group["lr"] for group in self.optimizer.param_groups]
        started, step = time.monotonic(), 0
        validated_step, validated_share = 0, 0.0
        while (share := self.budget.spent(step, started)) < 1:
            monitor.check()
            if self.relative_rate is not None:
                for group, rate in zip(self.optimizer.param_groups, full_rates, strict=True):
                    group["lr"] = rate * self.relative_rate(step, share)
            self._one_step(step)
            step += 1
            share = self.budget.spent(step, started)
            due = share - validated_share >= 1 / _VALIDATIONS and step - validated_step >= _STEPS_BETWEEN
            if self.stop_early and due and share < 1:
                validated_step, validated_share = step, share
                self.validator.validate()
                if self.validator.without_improvement >= _PATIENCE:
                    monitor.note(f"adaptation: held-out slices stopped improving after {step} steps")
                    break
            monitor.step(self._stage(), *self.budget.progress(step, started))
        if self.validator is not None:
            if step:
                self.validator.validate()
            self.validator.restore_best()
        self.network.eval()
        return step

    def _one_step(self, step: int) -> None:
        self.network.train()
        loss = self.loss(step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimizer.step()

    def _stage(self) -> str:
        if not self.stop_early:
            return "adaptation"
        return f"adaptation (held-out slices {self.validator.best:+.2f} dB)"
