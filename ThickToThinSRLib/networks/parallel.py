"""Parallel work on the CPU, one item on each thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch


def for_each(work: Callable[[Any], None], items: Sequence[Any], device: torch.device) -> None:
    """Call `work` for every item without gradients; on a CPU, on as many threads as PyTorch may use.

    PyTorch itself splits every operation between the threads and waits for all of them. For short operations
    this costs more than it gains, and each operation is delayed if another program keeps a core busy. Here
    each thread processes whole items, whose data stays in that core's cache.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or min(threads, len(items)) < 2:
        for item in items:
            work(item)
        return

    # PyTorch keeps these settings for each thread, so they must be set in every one.
    dtype, lowered = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

    def without_gradients(item: Any) -> None:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=lowered):
            work(item)

    torch.set_num_threads(1)  # The setting of the BLAS library is global.
    try:
        for _ in _pool(threads).map(without_gradients, items):
            pass
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "windows", initializer=torch.set_num_threads, initargs=(1,))
