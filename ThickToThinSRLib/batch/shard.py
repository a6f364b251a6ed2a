"""Which part of a list of inputs this process does, where several share it.

Rank and world size come from the environment: torchrun, Open MPI, SLURM (srun, job array), Grid Engine's and
AWS Batch's job arrays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from ..errors import UserError

T = TypeVar("T")
# (rank, world size) of launchers that start several processes at once.
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
# (number of the job, its first, their count) of job arrays; one without a first counts from zero.
_ARRAYS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"),
    ("AWS_BATCH_JOB_ARRAY_INDEX", None, "AWS_BATCH_JOB_ARRAY_SIZE"),
)


def rank_and_size(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Rank from 0 and world size of this process; (0, 1) where it is alone.

    A job array each of whose jobs starts several processes counts both.

    Raises
    ------
    UserError
        If the variables are no numbers, or contradict each other.
    """
    rank, size = 0, 1
    for rank_name, size_name in _LAUNCHERS:
        if rank_name in environment and size_name in environment:
            rank, size = _number(environment, rank_name), _number(environment, size_name)
            break
    job, jobs = _job(environment)
    rank, size = job * size + rank, jobs * size
    if not 0 <= rank < size:
        raise UserError(f"rank {rank} of {size} processes is impossible: check RANK and WORLD_SIZE")
    return rank, size


def _job(environment: Mapping[str, str]) -> tuple[int, int]:
    for number, first, count in _ARRAYS:
        if number in environment and count in environment:
            step = (
                _number(environment, "SLURM_ARRAY_TASK_STEP") if "SLURM_ARRAY_TASK_STEP" in environment else 1
            )
            start = _number(environment, first) if first else 0
            return (_number(environment, number) - start) // max(1, step), _number(environment, count)
    if environment.get("SGE_TASK_ID", "undefined").isdigit():
        first, last, step = (_number(environment, f"SGE_TASK_{n}") for n in ("FIRST", "LAST", "STEPSIZE"))
        return (_number(environment, "SGE_TASK_ID") - first) // step, (last - first) // step + 1
    return 0, 1


def _number(environment: Mapping[str, str], name: str) -> int:
    try:
        return int(environment[name])
    except (KeyError, ValueError):
        raise UserError(f"the variable {name} is {environment.get(name)!r}, not a number") from None


def share(entries: Sequence[T], rank: int, size: int) -> list[T]:
    """Every `size`-th case from the `rank`-th on: neighbours, often of a size, go to different processes."""
    return list(entries[rank::size])


def local_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """The GPU of this process among those of its machine, where `device` leaves it open."""
    local = environment.get("LOCAL_RANK", environment.get("OMPI_COMM_WORLD_LOCAL_RANK"))
    if device != "auto" or local is None or not local.isdigit():
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{int(local) % count}" if count else device
