"""Runs a network on tiles: chooses device, precision and tile size, and handles a lack of memory."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import UserError
from ..monitor import Monitor
from ..networks.registry import NetworkEntry
from ..networks.window_spec import WindowSpec
from .devices import arithmetic, native_bfloat16, resolve_device

# `auto` uses half precision only if the result on one tile differs by less than this from float32 (HU).
_MEAN_TOLERANCE_HU, _TAIL_TOLERANCE_HU = 0.2, 3.0
# Working memory for a network: bytes on the CPU, share of the free memory on a GPU.
_CPU_BUDGET, _GPU_SHARE = 3 << 30, 0.8
_SMALLEST_TILE = 96
# On the CPU and on an Apple GPU, PyTorch reports a lack of memory by a plain RuntimeError with these words.
_MEMORY_WORDS = ("not enough memory", "can't allocate memory", "MPS backend out of memory")


class Runner:
    """Runs a network on tiles; uses smaller tiles, and finally the CPU, when memory runs out.

    Parameters
    ----------
    network : torch.nn.Module
        Maps ``(1, 1, D, H, W)`` in [0, 1] to ``(1, 1, D_out, H, W)``; in eval mode.
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
        self.tile = self._largest_tile(entry.bytes_per_pixel)

    def _largest_tile(self, bytes_per_pixel: float) -> int:
        budget = _CPU_BUDGET
        if self.device.type == "cuda":
            budget = _GPU_SHARE * torch.cuda.mem_get_info(self.device)[0]
        side = int((budget / bytes_per_pixel) ** 0.5)
        return max(side, _SMALLEST_TILE, 4 * self.window.margin)

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        """Predict one tile: map (D, h, w) float32 in [0, 1] to (D_out, h, w) float32.

        Raises
        ------
        UserError
            If the output contains NaN or infinity.
        MemoryError
            If memory runs out, see :attr:`memory_errors`.
        """
        tensor = torch.from_numpy(tile)[None, None].to(self.device)
        if self.precision == "auto":
            self.precision = self._choose_precision(tensor)
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

    def shrink(self, reason: str, side: int, divisible: bool) -> None:
        """Use less memory after it ran out: halve the tiles; when they are smallest, move to the CPU.

        Parameters
        ----------
        reason : str
            The allocator's message.
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
