"""Where and how exactly a network runs: device, precision, and what happens when memory runs out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import torch

from ..errors import UserError
from ..intensity import HU_WINDOW
from ..networks.window_spec import WindowSpec

# `auto` lowers the precision only if one tile, run both ways, differs by less than this (HU).
_MEAN_TOLERANCE_HU, _TAIL_TOLERANCE_HU = 0.2, 3.0
# Working memory of a network on the CPU; on a GPU, this part of what is free.
_CPU_BUDGET, _GPU_SHARE = 3 << 30, 0.8
_SMALLEST_TILE = 96
# How PyTorch's allocators of CPU and Apple GPU complain: by a plain RuntimeError.
_MEMORY_WORDS = ("not enough memory", "can't allocate memory", "MPS backend out of memory")


def resolve_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    ``auto`` is a CUDA GPU where there is one, else the CPU. An Apple GPU must be asked for by name: no result
    on one has been checked.

    Raises
    ------
    UserError
        If it is not there; the message says what is.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise UserError("device mps: PyTorch finds no Apple GPU here; use --device auto")
        return torch.device("mps")
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number == "" or number.isdecimal()) or name.endswith(":"):
        raise UserError(f"device must be auto, cpu, cuda, cuda:N or mps, not {name!r}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        there = "no CUDA GPU" if count == 0 else f"{count} CUDA GPU(s), numbered from 0"
        raise UserError(f"device {name}: PyTorch finds {there} here; use --device auto")
    return torch.device("cuda", int(number or 0))


def native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself; others only emulate it, slower than float32."""
    # PyTorch tells it by functions of its own that a later version may rename: then full precision stays.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


class Runner:
    """Runs a network on tiles; gives way step by step when memory runs out.

    Parameters
    ----------
    network : torch.nn.Module
        ``(1, 1, D, H, W)`` in [0, 1] to ``(1, 1, D_out, H, W)``, in eval mode.
    window : WindowSpec
        What it needs of tiles.
    bytes_per_pixel : float
        Its working memory, in float32, for one pixel of a tile.
    device : str
        See :func:`resolve_device`.
    precision : {"auto", "float32", "bfloat16", "float16"}
        ``auto`` lowers it on a CUDA GPU, and where `halve_on_cpu` on CPUs that can, if one tile, run both
        ways, stays within 0.2 HU on average and 3 HU at the 99.9th percentile.
    say : callable
        Takes a line for the user.
    unit_hu : float
        HU of one unit of what the network predicts.
    halve_on_cpu : bool
        Whether ``auto`` may lower the precision on the CPU too: for networks that predict small corrections.
    """

    memory_errors = (torch.OutOfMemoryError, MemoryError)

    def __init__(
        self,
        network: torch.nn.Module,
        window: WindowSpec,
        bytes_per_pixel: float,
        device: str = "auto",
        precision: str = "auto",
        say: Callable[[str], None] = lambda line: None,
        unit_hu: float = HU_WINDOW[1] - HU_WINDOW[0],
        halve_on_cpu: bool = False,
    ):
        self.window = window
        self.unit_hu = unit_hu
        self.device = resolve_device(device)
        self.network = network
        self.say = say
        self.precision = precision
        try:
            self.network.to(self.device)
        except torch.OutOfMemoryError:
            self._move_to_cpu("the weights")
        lowered = {"cuda": "float16"}
        if halve_on_cpu and native_bfloat16():
            lowered["cpu"] = "bfloat16"
        self.lowered = lowered.get(self.device.type, "float32")
        if precision == "auto" and self.lowered == "float32":
            self.precision = "float32"
        self.tile = self._largest_tile(bytes_per_pixel)

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
                f"the network's result is no number in places (precision {self.precision}): are its weights "
                "those of a training that went wrong? If not, use --precision float32"
            )
        return predicted

    def _forward(self, tensor: torch.Tensor, precision: str) -> torch.Tensor:
        try:
            with torch.inference_mode(), _arithmetic(self.device, precision):
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
        self.say(f"precision {chosen}: half differs by {mean:.2f} HU on average, {tail:.1f} HU at 99.9 %")
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
            self.say(f"out of memory on {self.device}: going on with tiles of {self.tile} pixels")
        elif self.device.type != "cpu":
            self._move_to_cpu(f"tiles of {side} pixels")
        else:
            raise UserError(
                f"out of memory even with tiles of {side} pixels ({reason}): close other programs"
            )

    def _move_to_cpu(self, what: str) -> None:
        self.say(f"{self.device} has no memory for {what}: going on on the CPU")
        self.device = torch.device("cpu")
        self.network.cpu()
        self.precision = "float32"


@contextlib.contextmanager
def _arithmetic(device: torch.device, precision: str):
    """Half precision by autocast, or true float32: without the TF32 rounding that GPUs do unasked."""
    if precision in ("bfloat16", "float16"):
        with torch.autocast(device.type, getattr(torch, precision)):
            yield
        return
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept
