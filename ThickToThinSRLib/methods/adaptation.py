"""Adaptation: a network learns from the scan itself before it is used. All such methods share this loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from ..monitor import Monitor

# Held-out data are looked at so often in a budget, but not after fewer steps; so many looks without
# improvement end the adaptation.
_LOOKS, _STEPS_BETWEEN_LOOKS, _PATIENCE = 12, 25, 5


@dataclass(frozen=True)
class Budget:
    """How long to adapt: for so many seconds, or for so many steps."""

    seconds: float | None = None
    steps: int | None = None

    @property
    def nothing(self) -> bool:
        return not (self.seconds or self.steps)

    def spent(self, step: int, started: float) -> float:
        """Share of the budget that is spent at `step` of an adaptation begun at `started` (monotonic)."""
        if self.steps is not None:
            return step / self.steps if self.steps else 1.0
        return (time.monotonic() - started) / self.seconds if self.seconds else 1.0

    def progress(self, step: int, started: float) -> tuple[int, int]:
        """Done and total, for the monitor; a budget of time never shows more than its total."""
        if self.steps is not None:
            return step, self.steps
        return min(1000, int(1000 * self.spent(step, started))), 1000


class HeldOutPairs(Protocol):
    """Training pairs that a network never learns from."""

    def errors(self, network: torch.nn.Module) -> tuple[float, float]:
        """Mean squares, in the same unit: what the interpolation lacks, and what the network leaves of it."""


class HeldOutValidator:
    """Gain over the interpolation on held-out pairs, in dB; keeps the best weights seen.

    Attributes
    ----------
    latest, best : float
        Gain at the last look and the largest one, dB.
    looks_without_improvement : int
        Since the best one.
    """

    def __init__(self, network: torch.nn.Module, pairs: HeldOutPairs):
        self._network, self._pairs, self._weights = network, pairs, None
        self.latest = self.best = -math.inf
        self.looks_without_improvement = 0

    def look(self) -> float:
        """Measure the present weights."""
        self._network.eval()
        with torch.no_grad():
            lacking, left = self._pairs.errors(self._network)
        self.latest = 10 * math.log10(lacking / left) if lacking > 0 and left > 0 else 0.0
        if self.latest > self.best:
            self.best, self.looks_without_improvement = self.latest, 0
            self._weights = {key: value.clone() for key, value in self._network.state_dict().items()}
        else:
            self.looks_without_improvement += 1
        return self.latest

    def restore_best(self) -> None:
        """Give the network the best weights seen."""
        self._network.load_state_dict(self._weights)


@dataclass(frozen=True)
class Adaptation:
    """How a network adapts.

    Attributes
    ----------
    network : torch.nn.Module
        Adapted in place; it ends in eval mode.
    loss : callable
        Number of a step to its loss.
    optimizer : Optimizer
        Of the parameters that are to learn.
    budget : Budget
    relative_rate : callable, optional
        (step, share of the budget spent) to the learning rate over its full value; constant by default.
    clip_norm : float, optional
        Gradients are scaled down to this norm.
    validator : HeldOutValidator, optional
        Judges the weights; the best ones are kept in the end.
    looks_between : bool
        Whether the validator looks in between too, which may end the adaptation early.
    """

    network: torch.nn.Module
    loss: Callable[[int], torch.Tensor]
    optimizer: torch.optim.Optimizer
    budget: Budget
    relative_rate: Callable[[int, float], float] | None = None
    clip_norm: float | None = None
    validator: HeldOutValidator | None = None
    looks_between: bool = False

    def run(self, monitor: Monitor) -> int:
        """Adapt; returns the number of steps.

        Raises
        ------
        Cancelled
            If the monitor was asked to stop.
        """
        full_rates = [group["lr"] for group in self.optimizer.param_groups]
        started, step = time.monotonic(), 0
        looked_at, looked_share = 0, 0.0
        while (share := self.budget.spent(step, started)) < 1:
            monitor.check()
            if self.relative_rate is not None:
                for group, rate in zip(self.optimizer.param_groups, full_rates, strict=True):
                    group["lr"] = rate * self.relative_rate(step, share)
            self._one_step(step)
            step += 1
            share = self.budget.spent(step, started)
            due = share - looked_share >= 1 / _LOOKS and step - looked_at >= _STEPS_BETWEEN_LOOKS
            if self.looks_between and due and share < 1:
                looked_at, looked_share = step, share
                self.validator.look()
                if self.validator.looks_without_improvement >= _PATIENCE:
                    monitor.note(f"adaptation: held-out slices stopped improving after {step} steps")
                    break
            monitor.step(self._stage(), *self.budget.progress(step, started))
        if self.validator is not None:
            if step:
                self.validator.look()
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
        if not self.looks_between:
            return "adaptation"
        return f"adaptation (held-out slices {self.validator.best:+.2f} dB)"
