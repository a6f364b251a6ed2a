"""The whole state of a training in one file, from which it goes on as if it had never stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import replacing

STATE = "state.safetensors"


def save_state(
    folder: Path,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, torch.Tensor] | None,
    counters: dict[str, Any],
) -> None:
    """Write weights, optimiser, average and counters as one file, whole or not at all.

    A process killed while it writes leaves the file before untouched: the new one is made beside it, brought
    to the disk and renamed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {f"weights.{key}": value for key, value in network.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in (average or {}).items()}
    for number, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": torch.as_tensor(value) for key, value in entry.items()}
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    rates = [group["lr"] for group in optimizer.param_groups]
    text = json.dumps({"version": 1, "learning_rates": rates, "counters": counters})
    with replacing(folder / STATE, ".safetensors") as temporary:
        try:
            save_file(tensors, temporary, {"state": text})
        except SafetensorError as error:  # it reports a full disk by an error of its own
            raise UserError(f"{folder / STATE}: could not be written ({error}); is the disk full?") from error
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())


def load_state(
    folder: Path,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, torch.Tensor] | None,
) -> dict[str, Any] | None:
    """Put a saved state back; returns the counters, or None if none was saved yet.

    Raises
    ------
    UserError
        If the file is damaged or of another network.
    """
    from safetensors import safe_open

    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            saved = json.loads(file.metadata()["state"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        network.load_state_dict(_part(tensors, "weights."))
        if average is not None:
            averaged = _part(tensors, "average.")
            for key, value in average.items():
                value.copy_(averaged[key])
        _load_optimizer(optimizer, _part(tensors, "optimizer."), saved["learning_rates"])
    except Exception as error:
        raise UserError(f"{path}: damaged, or of another network ({error})") from error
    return saved["counters"]


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict, rates: list[float]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
