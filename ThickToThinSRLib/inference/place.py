"""Where the volumes of a job lie: in memory, or on the GPU that runs the network if they fit there.

Arrays on the CPU are NumPy's, on a GPU tensors. What computes with them works on both
(:mod:`~ThickToThinSRLib.interpolation`), so that nothing is copied between the network and what surrounds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..arrays import to_array
from ..interpolation import each_slab, slabs
from ..monitor import Monitor
from ..volume import cast_in_place
from .devices import arithmetic, free_memory, keeps_volumes

# Of the GPU's free memory, for the volumes; the rest is the network's.
_SHARE = 0.5
# Working memory beside the volumes: a few slabs.
_SLABS_BYTES = 256 << 20


class Place:
    """The volumes of one job, by name.

    Parameters
    ----------
    device : torch.device
        Where the network runs.
    voxels : int
        Of all volumes together, float32.
    monitor : Monitor
        Is told if they had to move.

    Attributes
    ----------
    volumes : dict
        Name to array or tensor. After :meth:`retreat` they are others: look them up again.
    """

    def __init__(self, device: torch.device, voxels: int, monitor: Monitor):
        self.monitor = monitor
        self.volumes: dict[str, Any] = {}
        self.device = None
        if keeps_volumes(device) and 4 * voxels + _SLABS_BYTES < _SHARE * free_memory(device):
            self.device = device

    def put(self, array: np.ndarray) -> Any:
        """The array as it is, or as float32 tensor on the GPU."""
        if self.device is None:
            return array
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device)

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """Float32 zeros."""
        if self.device is None:
            return np.zeros(shape, np.float32)
        return torch.zeros(shape, device=self.device)

    def each_slab(
        self, work: Callable[[slice], None], shape: tuple[int, int, int], stage: str, monitor: Monitor
    ) -> None:
        """Call `work`, which looks up the volumes, for every band of rows; goes on on the CPU if need be.

        See :func:`~ThickToThinSRLib.interpolation.each_slab`.
        """
        if self.device is None:
            each_slab(work, shape, stage, monitor)
            return
        for band in slabs(*shape):
            monitor.check()
            if not self._done_on_gpu(work, band):
                work(band)
            monitor.step(stage, band.stop, shape[1])

    def _done_on_gpu(self, work: Callable[[slice], None], band: slice) -> bool:
        if self.device is None:
            return False
        try:
            with torch.inference_mode(), arithmetic(self.device, "float32"):
                work(band)
            return True
        except torch.OutOfMemoryError:
            # Not inside the handler's frame: the traceback would keep the failed tensors alive.
            pass
        self.retreat()
        return False

    def retreat(self) -> None:
        """Move all volumes to the CPU."""
        self.monitor.note(f"not enough memory on {self.device} for the volumes: continuing on the CPU")
        self.device = None
        for name in self.volumes:
            self.volumes[name] = to_array(self.volumes[name])

    def result(self, name: str, dtype: np.dtype) -> np.ndarray:
        """A volume as array of a type, rounded if it holds integers. The volume is used up."""
        values = self.volumes.pop(name)
        if isinstance(values, np.ndarray):
            return cast_in_place(values, dtype)
        out = np.empty(values.shape, dtype)
        for number, plane in enumerate(values):
            out[number] = cast_in_place(to_array(plane)[None], dtype)[0]
        return out
