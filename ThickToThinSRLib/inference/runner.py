"""Runs a network on tiles: chooses device, precision and tile size, and handles a lack of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import UserError
from ..monitor import Monitor
from ..networks.parallel import for_each
from ..networks.registry import NetworkEntry
from ..networks.window_spec import WindowSpec
from .devices import arithmetic, free_memory, keeps_volumes, native_bfloat16, resolve_device

# `auto` uses half precision only if the result on one tile differs by less than this from float32 (HU).
_MEAN_TOLERANCE_HU, _TAIL_TOLERANCE_HU = 0.2, 3.0
# Working memory for a network: bytes on the CPU, share of the free memory on a GPU.
_CPU_BUDGET, _GPU_SHARE = 3 << 30, 0.8
# More tiles at once keep a GPU no busier.
_MOST_AT_ONCE = 32
_SMALLEST_TILE = 96
# On the CPU and on an Apple GPU, PyTorch reports a lack of memory by a plain RuntimeError with these words.
_MEMORY_WORDS = ("not enough memory", "can't allocate memory", "MPS backend out of memory")


class Runner:
    """Runs a network on tiles; uses smaller tiles, and finally the CPU, when memory runs out.

    Parameters
    ----------
    network : torch.nn.Module
        ``(B, 1, D, H, W)`` in [0, 1] to ``(B, 1, D_out, H, W)``, in eval mode.
    window : WindowSpec
        What the network requires of its tiles.
    entry : NetworkEntry
        The network's entry in the registry: memory per pixel, HU per unit of output.
    device : str
        See :func:`resolve_device`.
    precision : {"auto", "float32", "bfloat16", "float16"}
        ``auto``: half precision on a CUDA GPU, and on CPUs with bfloat16 if the entry allows it
        (`halve_on_cpu`), provided that on the first tile it differs from float32 by less than 0.2 HU on
        average and 3 HU at the 99.9th percentile.
    monitor : Monitor
        Notes the choice of precision, and smaller tiles or a change of device.

    Raises
    ------
    UserError
        If the device does not exist.
    """

    memory_errors = (torch.OutOfMemoryError, MemoryError)

    def __init__(
        self,
        network: torch.nn.Module,
        window: WindowSpec,
        entry: NetworkEntry,
        device: str = "auto",
        precision: str = "auto",
        monitor: Monitor | None = None,
    ):
        self.window = window
        self.unit_hu = entry.output_hu
        self.device = resolve_device(device)
        self.network = network
        self.monitor = monitor or Monitor()
        self.precision = precision
        try:
            self.network.to(self.device)
        except torch.OutOfMemoryError:
            self._move_to_cpu("the weights")
        lowered = {"cuda": "float16"}
        if entry.halve_on_cpu and native_bfloat16():
            lowered["cpu"] = "bfloat16"
        self.lowered = lowered.get(self.device.type, "float32")
        if precision == "auto" and self.lowered == "float32":
            self.precision = "float32"
        self._bytes_per_pixel = entry.bytes_per_pixel
        self._most_at_once = _MOST_AT_ONCE
        side = int((self._budget() / entry.bytes_per_pixel) ** 0.5)
        self.tile = max(side, _SMALLEST_TILE, 4 * window.margin)

    def _budget(self) -> float:
        """Working memory that the network may use, bytes."""
        return _GPU_SHARE * free_memory(self.device) if self.device.type == "cuda" else _CPU_BUDGET

    def at_once(self, pixels: int) -> int:
        """How many tiles of so many pixels are predicted in one call.

        On a GPU as many as fit. On a CPU one on each core, where that needs little memory: it is faster than
        sharing every operation between the cores.
        """
        tile = self._bytes_per_pixel * pixels
        if self.device.type == "cpu":
            threads = min(torch.get_num_threads(), self._most_at_once)
            return threads if threads * tile <= _CPU_BUDGET / 2 else 1
        return max(1, min(self._most_at_once, int(self._budget() / tile)))

    def __call__(self, tiles: Any) -> Any:
        """Predict tiles: (B, D, h, w) float32 in [0, 1] to (B, D_out, h, w) float32.

        Arrays or tensors; the result is a tensor where volumes stay on the device, else an array.
        """
        tensor = self._on_device(tiles)[:, None]
        if self.precision == "auto":
            self.precision = self._choose_precision(tensor[:1])
        predicted = self._forward(tensor, self.precision)[:, 0].float()
        if not torch.isfinite(predicted).all():
            raise UserError(
                f"the network's output contains NaN or infinity (precision {self.precision}): its weights "
                "may come from a failed training; if not, use {precision} float32",
                "precision",
            )
        return predicted if keeps_volumes(self.device) else predicted.cpu().numpy()

    def _on_device(self, tiles: Any) -> torch.Tensor:
        if isinstance(tiles, torch.Tensor):
            return tiles.to(self.device)
        tensor = torch.from_numpy(tiles)
        if self.device.type == "cuda":
            # From such memory the card reads while the CPU goes on.
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _forward(self, tensor: torch.Tensor, precision: str) -> torch.Tensor:
        try:
            with torch.inference_mode(), arithmetic(self.device, precision):
                if self.device.type != "cpu" or len(tensor) == 1:
                    return self.network(tensor)
                parts: list = [None] * len(tensor)

                def work(index: int) -> None:
                    parts[index] = self.network(tensor[index : index + 1])

                for_each(work, range(len(tensor)), self.device)
                return torch.cat(parts)
        except RuntimeError as error:
            if any(words in str(error) for words in _MEMORY_WORDS):
                raise MemoryError(str(error)) from None
            raise

    def _choose_precision(self, tensor: torch.Tensor) -> str:
        """Half precision if it hardly changes the result on this tile, else ``float32``."""
        exact = self._forward(tensor, "float32").float()
        lowered = self._forward(tensor, self.lowered).float()
        error = (lowered - exact).abs().flatten() * self.unit_hu
        tail = float(np.percentile(error.cpu().numpy(), 99.9))
        mean = float(error.mean())
        # Half precision can produce NaN: then both comparisons are false, and float32 is used.
        accurate = mean < _MEAN_TOLERANCE_HU and tail < _TAIL_TOLERANCE_HU
        precision = self.lowered if accurate else "float32"
        self.monitor.note(
            f"precision {precision}: half precision changes the result by {mean:.2f} HU on average, "
            f"less than {tail:.1f} HU in 99.9 % of the voxels"
        )
        return precision

    def shrink(self, reason: str, tiles: int, side: int, divisible: bool) -> None:
        """Make room after memory ran out: fewer tiles at once, then smaller ones, at last the CPU.

        Parameters
        ----------
        reason : str
            What the allocator said.
        tiles : int
            How many tiles at once did not fit.
        side : int
            Their larger side, pixels.
        divisible : bool
            Whether tiles may be smaller.

        Raises
        ------
        UserError
            If the smallest tiles do not fit on the CPU either.
        """
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        smallest = max(_SMALLEST_TILE, 4 * self.window.margin)
        if tiles > 1:
            self._most_at_once = max(1, tiles // 2)
            self.monitor.note(f"out of memory on {self.device}: going on with {self._most_at_once} at once")
        elif divisible and side > smallest:
            self.tile = max(smallest, side // 2)
            self.monitor.note(f"out of memory on {self.device}: continuing with tiles of {self.tile} pixels")
        elif self.device.type != "cpu":
            self._move_to_cpu(f"tiles of {side} pixels")
        else:
            raise UserError(
                f"out of memory even with tiles of {side} pixels ({reason}): close other programs"
            )

    def _move_to_cpu(self, item: str) -> None:
        self.monitor.note(f"not enough memory on {self.device} for {item}: continuing on the CPU")
        self.device = torch.device("cpu")
        self.network.cpu()
        self.precision = "float32"
