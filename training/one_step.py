"""One step of a training: loss, gradient, update of the weights and of their average."""

from __future__ import annotations

import math

import torch
from torch.nn.parallel import DistributedDataParallel

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.inference.devices import multiplies_bfloat16

from .objectives import CubicWindow, build_objective, decibels
from .ranks import Ranks
from .recipes.base import Recipe
from .state import TrainState


class OneStep:
    """Trains the network of a state by one batch at a time.

    Parameters
    ----------
    recipe : Recipe
        With all settings in place.
    state : TrainState
        What is trained.
    ranks : Ranks
        The processes that take part.
    """

    def __init__(self, recipe: Recipe, state: TrainState, ranks: Ranks):
        self.settings, self.state, self.ranks = recipe.settings, state, ranks
        self.objective = _shared_objective(recipe, state.network, ranks)
        self.cubic = CubicWindow(state.network.window, ranks.device)
        self.precision = arithmetic(recipe.settings.precision, ranks.device)

    def __call__(self, thick: torch.Tensor, thin: torch.Tensor) -> torch.Tensor:
        """Train by one batch; returns loss, PSNR, cubic interpolation's PSNR and the gradient's norm.

        They stay on the device (shape (4,)): reading them would make the processor wait for a GPU.

        Parameters
        ----------
        thick, thin : Tensor, shapes (B, 1, D, H, W) and (B, 1, outputs, H, W)
            In [0, 1].
        """
        state, device = self.state, self.ranks.device
        thick, thin = thick.to(device, non_blocking=True), thin.to(device, non_blocking=True)
        self._seed()
        self.objective.train()
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            loss, prediction = self.objective(thick, thin, state.stage)
        scores = [loss.detach(), decibels(prediction, thin), decibels(self.cubic(thick), thin)]
        return torch.stack([*scores, self._update(loss)])

    def _seed(self) -> None:
        """Let stochastic depth depend on the step alone, not on what was drawn before an interruption."""
        torch.manual_seed(hash((self.settings.seed, self.state.step, self.ranks.rank)) & 0x7FFFFFFF)

    def _update(self, loss: torch.Tensor) -> torch.Tensor:
        """Update weights and average; returns the norm of the gradient."""
        state = self.state
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()
        state.scaler.unscale_(state.optimizer)
        limit = self.settings.clip_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), limit)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.average is not None:
            for key, value in state.network.state_dict().items():
                state.average[key].lerp_(value.detach(), 1 - self.settings.average)
        state.step += 1
        return norm


def check_finite(what: str, value: float, step: int, places: list[str]) -> None:
    """Raise a UserError if a value is NaN or infinite.

    Parameters
    ----------
    what : str
        Name of the value.
    step : int
        Number of finished steps.
    places : list of str
        Where the value comes from.
    """
    if not math.isfinite(value):
        raise UserError(
            f"{what} became {value} at step {step + 1} ({'; '.join(places)}); the state saved before is "
            "unchanged: try a lower learning_rate, clip_norm=1 or precision=float32"
        )


def arithmetic(precision: str, device: torch.device) -> torch.dtype:
    """The number type of a precision setting; ``auto`` is bfloat16 on a GPU that has it, else float32."""
    if precision != "auto":
        return getattr(torch, precision)
    return torch.bfloat16 if device.type == "cuda" and multiplies_bfloat16(device) else torch.float32


def _shared_objective(recipe: Recipe, network: torch.nn.Module, ranks: Ranks) -> torch.nn.Module:
    """The recipe's objective; with several processes, one that averages their gradients."""
    objective = build_objective(recipe, network)
    if ranks.world == 1:
        return objective
    ids = [ranks.device.index] if ranks.device.type == "cuda" else None
    # An objective of a recipe's own may leave weights unused, in one stage or always.
    return DistributedDataParallel(objective, ids, find_unused_parameters=recipe.objective is not None)
