"""Pieces of work side by side on the CPU, each on one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch


def for_each(work: Callable[[Any], None], items: Sequence[Any], device: torch.device) -> None:
    """Call `work` for every item, without gradients; on the CPU, on as many threads as PyTorch may use.

    PyTorch's own way, to split every operation between the threads and to wait for all after each, costs more
    than it gains where operations are short, and stalls at every one of them where other programs keep a core
    busy. Here each thread takes whole items, and its operations stay in its own cache.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or min(threads, len(items)) < 2:
        for item in items:
            work(item)
        return

    # These settings belong to a thread, so that each must be told.
    dtype, lowered = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

    def without_gradients(item: Any) -> None:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=lowered):
            work(item)

    torch.set_num_threads(1)  # The part of the setting that is not a thread's own, the BLAS library's.
    try:
        for _ in _pool(threads).map(without_gradients, items):
            pass
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "windows", initializer=torch.set_num_threads, initargs=(1,))
