"""Runs a network on tiles: device, precision, and what happens when memory runs out."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import UserError
from ..monitor import Monitor
from ..networks.registry import NetworkEntry
from ..networks.window_spec import WindowSpec
from .devices import arithmetic, native_bfloat16, resolve_device

# `auto` lowers the precision only if one tile, run both ways, differs by less than this (HU).
_MEAN_TOLERANCE_HU, _TAIL_TOLERANCE_HU = 0.2, 3.0
# Working memory of a network on the CPU; on a GPU, this part of what is free.
_CPU_BUDGET, _GPU_SHARE = 3 << 30, 0.8
_SMALLEST_TILE = 96
# How PyTorch's allocators of CPU and Apple GPU complain: by a plain RuntimeError.
_MEMORY_WORDS = ("not enough memory", "can't allocate memory", "MPS backend out of memory")


class Runner:
    """Runs a network on tiles; gives way step by step when memory runs out.

    Parameters
    ----------
    network : torch.nn.Module
        ``(1, 1, D, H, W)`` in [0, 1] to ``(1, 1, D_out, H, W)``, in eval mode.
    window : WindowSpec
        What it needs of tiles.
    entry : NetworkEntry
        Of the registry: its working memory, and the HU of what it predicts.
    device : str
        See :func:`resolve_device`.
    precision : {"auto", "float32", "bfloat16", "float16"}
        ``auto`` lowers it on a CUDA GPU, and where `halve_on_cpu` on CPUs that can, if one tile, run both
        ways, stays within 0.2 HU on average and 3 HU at the 99.9th percentile.
    monitor : Monitor
        Is told what had to give way.
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
        self.tile = self._largest_tile(entry.bytes_per_pixel)

    def _largest_tile(self, bytes_per_pixel: float) -> int:
        budget = _CPU_BUDGET
        if self.device.type == "cuda":
            budget = _GPU_SHARE * torch.cuda.mem_get_info(self.device)[0]
        side = int((budget / bytes_per_pixel) ** 0.5)
        return max(side, _SMALLEST_TILE, 4 * self.window.margin)

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        """Predict one tile: (D, h, w) float32 in [0, 1] to (D_out, h, w) float32."""
        tensor = torch.from_numpy(tile)[None, None].to(self.device)
        if self.precision == "auto":
            self.precision = self._precise_enough(tensor)
        predicted = self._forward(tensor, self.precision)[0, 0].float().cpu().numpy()
        if not np.isfinite(predicted).all():
            raise UserError(
                f"the network's output contains NaN or infinity (precision {self.precision}): its weights "
                "may come from a failed training; if not, use {precision} float32",
                "precision",
            )
        return predicted

    def _forward(self, tensor: torch.Tensor, precision: str) -> torch.Tensor:
        try:
            with torch.inference_mode(), arithmetic(self.device, precision):
                return self.network(tensor)
        except RuntimeError as error:
            if any(words in str(error) for words in _MEMORY_WORDS):
                raise MemoryError(str(error)) from None
            raise

    def _precise_enough(self, tensor: torch.Tensor) -> str:
        """The lowered precision if this tile bears it, else ``float32``."""
        exact = self._forward(tensor, "float32").float()
        lowered = self._forward(tensor, self.lowered).float()
        error = (lowered - exact).abs().flatten() * self.unit_hu
        tail = float(np.percentile(error.cpu().numpy(), 99.9))
        mean = float(error.mean())
        # Written so that a NaN, which half precision can produce, keeps the full one.
        bears = mean < _MEAN_TOLERANCE_HU and tail < _TAIL_TOLERANCE_HU
        chosen = self.lowered if bears else "float32"
        self.monitor.note(
            f"precision {chosen}: half differs by {mean:.2f} HU on average, {tail:.1f} HU at 99.9 %"
        )
        return chosen

    def shrink(self, reason: str, side: int, divisible: bool) -> None:
        """Make room after memory ran out: halve the tiles, at last move to the CPU.

        Parameters
        ----------
        reason : str
            What the allocator said.
        side : int
            Larger side of the tile that did not fit, pixels.
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
        if divisible and side > smallest:
            self.tile = max(smallest, side // 2)
            self.monitor.note(f"out of memory on {self.device}: going on with tiles of {self.tile} pixels")
        elif self.device.type != "cpu":
            self._move_to_cpu(f"tiles of {side} pixels")
        else:
            raise UserError(
                f"out of memory even with tiles of {side} pixels ({reason}): close other programs"
            )

    def _move_to_cpu(self, what: str) -> None:
        self.monitor.note(f"{self.device} has no memory for {what}: going on on the CPU")
        self.device = torch.device("cpu")
        self.network.cpu()
        self.precision = "float32"
