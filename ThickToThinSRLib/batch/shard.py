"""Divides a list of inputs among several processes, on one or several machines.

Rank and world size come from environment variables of torchrun, Open MPI, SLURM (srun, job arrays), and the
job arrays of Grid Engine and AWS Batch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from ..errors import UserError

T = TypeVar("T")
# Variables (rank, world size) of launchers that start several processes at once.
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
# Variables (job number, first job number, number of jobs) of job arrays; None: the first job number is 0.
_ARRAYS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"),
    ("AWS_BATCH_JOB_ARRAY_INDEX", None, "AWS_BATCH_JOB_ARRAY_SIZE"),
)


def rank_and_size(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Rank (from 0) and world size of this process; (0, 1) if it is alone.

    If each job of a job array starts several processes, all processes of all jobs are counted.

    Raises
    ------
    UserError
        If a variable is not a number, or the variables contradict each other.
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
    """Index (from 0) of this job in its job array, and the number of jobs."""
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
        value = environment.get(name)
        raise UserError(f"the environment variable {name} must be a number, not {value!r}") from None


def share(entries: Sequence[T], rank: int, size: int) -> list[T]:
    """Every `size`-th entry from `rank` on: neighbours, often equally large, go to different processes."""
    return list(entries[rank::size])


def local_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """The device for this process: with ``auto``, each local rank gets its own GPU of the machine."""
    local = environment.get("LOCAL_RANK", environment.get("OMPI_COMM_WORLD_LOCAL_RANK"))
    if device != "auto" or local is None or not local.isdigit():
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{int(local) % count}" if count else device
