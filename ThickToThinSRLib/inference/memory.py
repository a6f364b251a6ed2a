"""How much memory is available, and whether a result fits into it."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from ..acquisition import Acquisition
    from ..volume import Volume
    from ..weights.checkpoint import Weights


def check_result_fits(
    volume: Volume, axis: int, acquisition: Acquisition, target_spacing: float, weights: Weights | None
) -> None:
    """Raise UserError, before the work begins, if the result does not fit into memory."""
    thin, needed = memory_of(volume, axis, acquisition, target_spacing, weights)
    available = available_memory()
    if not needed < (math.inf if available is None else available):
        free = "" if available is None else f", but only {available / 2**30:.1f} GiB are free"
        raise UserError(
            f"{thin:.4g} slices every {target_spacing:g} mm need {needed / 2**30:.3g} GiB of memory{free}: "
            "choose a larger {spacing}",
            "spacing",
        )


def memory_of(
    volume: Volume, axis: int, acquisition: Acquisition, target_spacing: float, weights: Weights | None
) -> tuple[float, float]:
    """The number of slices of the result, and the memory in bytes to make it, without that of the input."""
    slices = volume.voxels.shape[2 - axis]
    pixels = volume.voxels.size // slices
    # In floating point: an absurdly small spacing then gives infinity instead of an error.
    thin = (slices - 1) * acquisition.spacing / target_spacing + 1
    # The result of a network is float32 until the end; the writer needs a copy in the type of the input.
    itemsize = volume.voxels.dtype.itemsize
    needed = thin * pixels * (max(itemsize, 4 if weights else 0) + itemsize)
    if weights:
        # Plus the slices that the network predicts before resampling, or the interpolation that it reads.
        factor = weights.factor or 4
        if abs(acquisition.spacing / target_spacing / factor - 1) > 1e-6 or weights.factor is None:
            needed += ((slices - 1) * factor + 1) * pixels * 4
    # Plus about four float64 matrices that act along the slices.
    extended = thin + 3 * acquisition.thickness / target_spacing
    needed += 4 * 8 * extended * extended
    return thin, needed


def available_memory() -> int | None:
    """Bytes that this process can still allocate; None if the system does not say.

    The smallest of: the memory that the kernel calls available, the rest of the container's limit, and the
    rest of this process's limit of address space.
    """
    limits = [value for value in (_machine(), _container(), _process()) if value is not None]
    return min(limits, default=None)


def _machine() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if os.name == "nt":
        return _windows()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _container() -> int | None:
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text())
        return max(0, limit - int((group / "memory.current").read_text()))
    return None


def _process() -> int | None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            return max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))
    return None


def _windows() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "available", "page", "page_free")),
            *((name, ctypes.c_ulonglong) for name in ("virtual", "virtual_free", "extended")),
        )

    status = Status(length=ctypes.sizeof(Status))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return status.available
