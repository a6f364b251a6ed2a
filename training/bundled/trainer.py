"""The training loop of bundled weights: an interrupted run ends in the same bits as an uninterrupted one.

The batch of a step is drawn by a random generator that is seeded with the step's number. The whole state is
saved every minute.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.replacing import replacing
from ThickToThinSRLib.networks.registry import build

from ..stopping import ignore_stop_signals
from .optimizers import Optimizers
from .recipe import Batch, BundledRecipe, Objective, Source

_REPORT_EVERY = 100  # steps
_PREFETCH = 8  # batches that a drawing process prepares in advance
_LARGEST_GRADIENT = 1.0  # norm to which the gradient is clipped


@dataclass(frozen=True)
class RunOptions:
    """What may differ between runs of one recipe.

    Attributes
    ----------
    seed : int
        Decides the first weights and all batches.
    stop : int, optional
        Interrupt the run at this step.
    precision : {"bfloat16", "float32"}
        Arithmetic of the network.
    workers : int
        Processes that draw batches; 0: the training process draws them itself.
    save_seconds : float
        Seconds between two saves of the state.
    """

    seed: int = 0
    stop: int | None = None
    precision: str = "bfloat16"
    workers: int = 0
    save_seconds: float = 60.0


@dataclass
class BundledState:
    """Everything that a run needs to continue.

    Attributes
    ----------
    network : Module
        With the current weights.
    optimizers : Optimizers
        With their moments.
    mean : dict
        Running mean of the weights: what ships.
    step : int
        Number of finished steps.
    seconds : float
        Training time so far.
    """

    network: torch.nn.Module
    optimizers: Optimizers
    mean: dict[str, torch.Tensor] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Replace the file in one move, so that an interruption leaves a complete one."""
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
        """Continue from a saved state; raises UserError if the file is damaged or of another recipe."""
        try:
            saved = torch.load(path, weights_only=True)
            self.network.load_state_dict(saved["network"])
            self.optimizers.load_state_dict(saved["optimizers"])
            self.mean, self.step, self.seconds = saved["mean"], saved["step"], saved["seconds"]
        except Exception as error:  # of many types: torch, zipfile and pickle each have their own
            raise UserError(f"{path}: damaged, or saved by another recipe ({error})") from error


def begin(recipe: BundledRecipe, source: Source, seed: int) -> BundledState:
    """The state before the first step."""
    torch.manual_seed(seed)
    network = build(recipe.network, **recipe.arguments, **recipe.in_training).train()
    recipe.start(network, source)
    mean = {key: value.detach().clone() for key, value in network.state_dict().items()}
    return BundledState(network, recipe.optimizers(network, recipe.rate), mean)


def train(recipe: BundledRecipe, source: Source, path: Path, options: RunOptions) -> BundledState:
    """Train to the end of the recipe, or to step ``options.stop``.

    Parameters
    ----------
    path : Path
        File of the state; if it exists, the run continues from it.

    Raises
    ------
    UserError
        If the loss or the gradient is NaN or infinite; the state saved before stays.
    """
    state = begin(recipe, source, options.seed)
    if path.exists():
        state.load(path)
    last = recipe.steps if options.stop is None else min(options.stop, recipe.steps)
    report = _Report()
    clock = saved_at = time.monotonic()
    for batch in drawn_batches(recipe, source, options, range(state.step, last)):
        objective = _one_step(recipe, state, batch, options.precision, path)
        now = time.monotonic()
        state.seconds, clock = state.seconds + now - clock, now
        report.add(state, objective)
        if now - saved_at > options.save_seconds or state.step == last:
            state.save(path)
            saved_at = now
    return state


def _one_step(
    recipe: BundledRecipe, state: BundledState, batch: Batch, precision: str, path: Path
) -> Objective:
    """One optimizer step and update of the running mean."""
    step, settled_from = state.step, recipe.settled_from
    state.optimizers.set_relative_rate(recipe.relative_rate(step, recipe.steps, settled_from))
    objective = recipe.objective(state.network, batch, step >= settled_from, precision)
    _check_finite("loss", objective.loss, step, path)
    state.network.zero_grad(set_to_none=True)
    objective.loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), _LARGEST_GRADIENT)
    _check_finite("gradient", norm, step, path)
    state.optimizers.step()
    update_mean(state.mean, state.network, min(recipe.average, step / (step + 10)))
    state.step += 1
    return objective


def _check_finite(what: str, value: torch.Tensor, step: int, path: Path) -> None:
    if not math.isfinite(value.item()):
        raise UserError(f"step {step}: the {what} is NaN or infinite; {path} holds the last good weights")


def update_mean(mean: dict[str, torch.Tensor], network: torch.nn.Module, decay: float) -> None:
    """Move a running mean towards the network's weights: ``mean = decay * mean + (1 - decay) * weights``."""
    for key, value in network.state_dict().items():
        mean[key].lerp_(value.detach(), 1 - decay)


class _Report:
    """Prints the gain over the baseline every hundred steps."""

    def __init__(self):
        self.before = self.after = 0.0

    def add(self, state: BundledState, objective: Objective) -> None:
        self.before += objective.before.item()
        self.after += objective.after.item()
        if state.step % _REPORT_EVERY == 0:
            gain = 10 * math.log10(self.before / self.after)
            print(f"step {state.step}: {gain:+.2f} dB, {state.seconds:.0f} s", flush=True)
            self.before = self.after = 0.0


class _Batches(Dataset):
    """The batch of each step, drawn by a generator that is seeded with the step's number."""

    def __init__(self, source: Source, seed: int, settled_from: int):
        self.source, self.seed, self.settled_from = source, seed, settled_from

    def __getitem__(self, step: int) -> Batch:
        generator = np.random.default_rng([self.seed, step])
        return self.source.batch(generator, step, step >= self.settled_from)


def drawn_batches(
    recipe: BundledRecipe, source: Source, options: RunOptions, steps: range
) -> Iterator[Batch]:
    """The batches of `steps`, drawn in this process or in ``options.workers`` others."""
    return iter(
        DataLoader(
            _Batches(source, options.seed, recipe.settled_from),
            batch_size=None,
            sampler=steps,
            num_workers=options.workers,
            prefetch_factor=_PREFETCH if options.workers else None,
            worker_init_fn=ignore_stop_signals,
        )
    )
