"""The processes that work together: those that torchrun started, or this one alone."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.inference.runner import resolve_device

# The others wait while one process validates or prepares data.
_PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class Ranks:
    """This process among others.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    world : int
        Number of processes.
    device : torch.device
        Device of this process.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is process 0, which writes the files."""
        return self.rank == 0

    def mean(self, values: list[float]) -> list[float]:
        """Means over all processes."""
        if self.world == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self._exchange)
        torch.distributed.all_reduce(tensor)
        return (tensor / self.world).tolist()

    def gathered(self, item: Any) -> list[Any]:
        """The items of all processes, in their order."""
        if self.world == 1:
            return [item]
        items: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(items, item)
        return items

    def share(self, items: list) -> list:
        """This process's share: every `world`-th of the items."""
        return items[self.rank :: self.world]

    @property
    def _exchange(self) -> torch.device:
        return self.device if torch.distributed.get_backend() == "nccl" else torch.device("cpu")


def joined(device: str = "auto") -> Ranks:
    """The processes that torchrun started, or this one alone.

    Processes stay joined until they end. Joining again could receive messages that the first time left.

    Parameters
    ----------
    device : str
        auto, cpu, cuda, cuda:N or mps; under torchrun auto, cpu or cuda.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks(0, 1, resolve_device(device))
    local = int(os.environ["LOCAL_RANK"])
    chosen = _own_device(device, local)
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(backend, timeout=_PATIENCE)
        atexit.register(torch.distributed.destroy_process_group)
    return Ranks(torch.distributed.get_rank(), world, chosen)


def _own_device(device: str, local: int) -> torch.device:
    if device in ("auto", "cuda"):
        chosen = resolve_device(device)
        if chosen.type != "cuda":
            return chosen
        cards = torch.cuda.device_count()
        if local >= cards:
            raise UserError(
                f"torchrun started more processes than this machine has GPUs ({cards}): give it "
                f"--nproc-per-node {cards}"
            )
        return torch.device("cuda", local)
    if device != "cpu":
        raise UserError(f"device {device}: under torchrun every process takes its own; use auto, cuda or cpu")
    return torch.device("cpu")
