"""The device and the precision with which networks compute."""

from __future__ import annotations

import contextlib

import torch

from ..errors import UserError


def resolve_device(name: str) -> torch.device:
    """The device named ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    ``auto`` is a CUDA GPU if there is one, else the CPU. An Apple GPU is used only if chosen by name, because
    no result on one has been checked.

    Raises
    ------
    UserError
        If the device does not exist; the message says which devices do.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise UserError("device mps: PyTorch finds no Apple GPU here; use {device} auto", "device")
        return torch.device("mps")
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number == "" or number.isdecimal()) or name.endswith(":"):
        raise UserError(f"device must be auto, cpu, cuda, cuda:N or mps, not {name!r}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        available = "no CUDA GPU" if count == 0 else f"{count} CUDA GPU(s), numbered from 0"
        raise UserError(f"device {name}: PyTorch finds {available} here; use {{device}} auto", "device")
    return torch.device("cuda", int(number or 0))


def native_bfloat16() -> bool:
    """Whether this CPU has bfloat16 instructions; other CPUs emulate them, slower than float32."""
    # These functions are private to PyTorch. If a later version renames them, full precision is used.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


def keeps_volumes(device: torch.device) -> bool:
    """Whether volumes stay on the device between two steps. On an Apple GPU nothing of it has been tried."""
    return device.type == "cuda"


def free_memory(device: torch.device) -> float:
    """Bytes that are free on a GPU, with those that PyTorch keeps for itself."""
    if device.type != "cuda":
        return float("inf")
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: str):
    """Compute in half precision (autocast), or in true float32, without the TF32 rounding of GPUs."""
    if precision in ("bfloat16", "float16"):
        with torch.autocast(device.type, getattr(torch, precision)):
            yield
        return
    kept = [getattr(*switch) for switch in _tf32_switches()]
    set_tf32(False)
    try:
        yield
    finally:
        for switch, value in zip(_tf32_switches(), kept, strict=True):
            setattr(*switch, value)


def set_tf32(allowed: bool) -> None:
    """Allow or forbid that GPUs round the factors of float32 products to 10 bits, which is faster."""
    new = _has_new_tf32()
    for switch in _tf32_switches():
        setattr(*switch, ("tf32" if allowed else "ieee") if new else allowed)


def _has_new_tf32() -> bool:
    # PyTorch 2.9 renamed the setting and refuses a mixture of both names.
    return hasattr(torch.backends.cuda.matmul, "fp32_precision")


def _tf32_switches() -> list[tuple[object, str]]:
    """Objects and attributes that hold the setting."""
    if _has_new_tf32():
        owners = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
        return [(owner, "fp32_precision") for owner in owners]
    return [(owner, "allow_tf32") for owner in (torch.backends.cuda.matmul, torch.backends.cudnn)]


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself: NVIDIA cards from Ampere on, some CPUs."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and native_bfloat16()
