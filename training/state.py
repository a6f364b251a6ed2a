"""The whole state of a training in one file, from which it continues as if it had never stopped."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.replacing import replacing

from .schedule import Schedule

STATE = "state.safetensors"


@dataclass
class TrainState:
    """Everything that changes while a network is trained.

    Attributes
    ----------
    network : Module
        With the current weights.
    optimizer : Optimizer
        With its moments and learning rate.
    scaler : GradScaler
        Loss scale; does something in float16 only.
    average : dict, optional
        Moving average of the weights, if the recipe has one.
    stage_two_from : int
        First step of the second stage. A run that is made longer keeps it.
    schedule : Schedule
        Progress towards the next drop of the learning rate, and the end.
    step : int
        Number of finished steps.
    seconds : float
        Training time so far.
    best : dict, optional
        Scores and step of the best validation.
    sums : list of float
        Loss, PSNR and cubic interpolation's PSNR, summed over the steps of the current epoch.
    """

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: dict[str, torch.Tensor] | None = None
    stage_two_from: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    step: int = 0
    seconds: float = 0.0
    best: dict[str, Any] | None = None
    sums: list[float] = field(default_factory=lambda: [0.0] * 3)

    @property
    def stage(self) -> int:
        """1 or, from the second stage on, 2."""
        return 1 if self.step < self.stage_two_from else 2

    @property
    def best_weights(self) -> dict[str, torch.Tensor]:
        """What is validated and saved as best: the average of the weights, or without one the weights."""
        return self.network.state_dict() if self.average is None else self.average

    def save(self, folder: Path) -> None:
        """Write everything as one file, complete or not at all.

        The new file is written beside the old one, flushed to the disk and renamed, so that a process killed
        in the middle leaves the old one intact.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        facts = {
            "version": 1,
            "learning_rates": [group["lr"] for group in self.optimizer.param_groups],
            "counters": self._counters(),
        }
        path = folder / STATE
        with replacing(path, ".safetensors") as temporary:
            try:
                save_file(self._tensors(), temporary, {"state": json.dumps(facts)})
            except SafetensorError as error:  # what it raises where the disk is full
                raise UserError(f"{path}: could not be written ({error}); is the disk full?") from error
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())

    def load(self, folder: Path) -> bool:
        """Continue from the saved state; returns whether there was one.

        Raises
        ------
        UserError
            If the file is damaged or of another network.
        """
        from safetensors import safe_open

        path = folder / STATE
        if not path.is_file():
            return False
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads(file.metadata()["state"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.network.load_state_dict(_with_prefix(tensors, "weights."))
            averaged = _with_prefix(tensors, "average.")
            for key, value in (self.average or {}).items():
                value.copy_(averaged[key])
            _load_optimizer(self.optimizer, _with_prefix(tensors, "optimizer."), facts["learning_rates"])
            self._set_counters(facts["counters"])
        except Exception as error:
            raise UserError(f"{path}: damaged, or of another network ({error})") from error
        return True

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {f"weights.{key}": value for key, value in self.network.state_dict().items()}
        tensors |= {f"average.{key}": value for key, value in (self.average or {}).items()}
        for number, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{key}": torch.as_tensor(value) for key, value in entry.items()}
        return {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}

    def _counters(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "stage_two_from": self.stage_two_from,
            "seconds": self.seconds,
            "saved_best": self.best,
            "sums": self.sums,
            "schedule": self.schedule.as_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def _set_counters(self, counters: dict[str, Any]) -> None:
        self.step, self.seconds = counters["step"], counters["seconds"]
        self.stage_two_from = counters["stage_two_from"]
        self.best, self.sums = counters["saved_best"], counters["sums"]
        self.schedule = Schedule(**counters["schedule"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(counters["scaler"])


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict, rates: list[float]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
