"""The loop that trains bundled weights: deterministic whatever its interruptions, saved every minute."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import replacing
from ThickToThinSRLib.networks.registry import build

from .recipe import BundledRecipe, Source

_WARM_UP, _FLOOR = 100, 0.01
_TOLD_EVERY = 100


@dataclass
class TrainState:
    """Everything a run goes on from.

    Attributes
    ----------
    network, optimizers
        With their own state.
    mean : dict
        Running mean of the weights: what ships.
    step : int
        Steps done.
    seconds : float
        Of training so far.
    """

    network: torch.nn.Module
    optimizers: object
    mean: dict[str, torch.Tensor] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Replace the file at once, so that an interruption leaves a whole one."""
        saved = {
            "network": self.network.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "mean": self.mean,
            "step": self.step,
            "seconds": self.seconds,
        }
        with replacing(path, ".pt") as temporary:
            torch.save(saved, temporary)

    def load(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        self.network.load_state_dict(saved["network"])
        self.optimizers.load_state_dict(saved["optimizers"])
        self.mean, self.step, self.seconds = saved["mean"], saved["step"], saved["seconds"]


def begin(recipe: BundledRecipe, source: Source, seed: int) -> TrainState:
    """The state before the first step."""
    torch.manual_seed(seed)
    network = build(recipe.network, **recipe.arguments, **recipe.in_training).train()
    recipe.start(network, source)
    mean = {key: value.detach().clone() for key, value in network.state_dict().items()}
    return TrainState(network, recipe.optimizers(network, recipe.rate), mean)


def train(
    recipe: BundledRecipe,
    source: Source,
    path: Path,
    *,
    seed: int = 0,
    stop: int | None = None,
    precision: str = "bfloat16",
    save_seconds: float = 60.0,
) -> TrainState:
    """Train up to the recipe's steps, or to step `stop`, from the state at `path` if there is one.

    Raises
    ------
    UserError
        If the loss is no number; the state saved before stays.
    """
    state = begin(recipe, source, seed)
    if path.exists():
        state.load(path)
    settled_from = recipe.steps - recipe.settling
    last = recipe.steps if stop is None else min(stop, recipe.steps)
    clock = saved_at = time.monotonic()
    before = after = 0.0
    while state.step < last:
        step = state.step
        # A generator of the step's own number: an interruption changes nothing.
        batch = source.batch(np.random.default_rng([seed, step]), step, step >= settled_from)
        state.optimizers.set_relative_rate(relative_rate(step, recipe.steps, settled_from))
        objective = recipe.objective(state.network, batch, step >= settled_from, precision)
        if not math.isfinite(objective.loss.item()):
            raise UserError(f"step {step}: the loss is not a number; {path} holds the last good weights")
        state.optimizers.zero_grad()
        objective.loss.backward()
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
        state.optimizers.step()
        keep = min(recipe.average, step / (step + 10))
        for key, value in state.network.state_dict().items():
            state.mean[key].lerp_(value, 1 - keep)
        before, after = before + objective.before.item(), after + objective.after.item()
        now = time.monotonic()
        state.step, state.seconds, clock = step + 1, state.seconds + now - clock, now
        if state.step % _TOLD_EVERY == 0:
            gain = 10 * math.log10(before / after)
            print(f"step {state.step}: {gain:+.2f} dB, {state.seconds:.0f} s", flush=True)
            before = after = 0.0
        if now - saved_at > save_seconds or state.step == last:
            state.save(path)
            saved_at = now
    return state


def relative_rate(step: int, steps: int, settled_from: int) -> float:
    """Learning rate over its full value: up in 100 steps, level, then down by a cosine to a hundredth."""
    if step < settled_from:
        return min(1.0, (step + 1) / _WARM_UP)
    share = (step - settled_from) / (steps - settled_from)
    return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * share))
