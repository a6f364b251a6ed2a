"""Intensity scales: Hounsfield units, and the [0, 1] scale of the networks and of RPLHR-CT files."""

from __future__ import annotations

import numpy as np

from .errors import UserError

HU_WINDOW = (-1024.0, 2048.0)
# Width in HU of the band outside the window in which the network's output fades into the interpolated input.
_BAND = 64.0


def to_unit(hu):
    """Convert HU to the networks' scale: [-1024, 2048] HU becomes [0, 1]; not clipped. Arrays or tensors."""
    low, high = HU_WINDOW
    return (hu - low) / (high - low)


def to_hu(unit):
    """Convert the networks' scale to HU: HU = 3072 v - 1024. Arrays or tensors."""
    low, high = HU_WINDOW
    return unit * (high - low) + low


def detect_intensity(voxels: np.ndarray) -> str:
    """Distinguish HU (``"hu"``) from the [0, 1] scale of RPLHR-CT files (``"unit"``).

    Voxels are on the unit scale if they are floating-point numbers within [0, 1] (with a tolerance of 0.01,
    for interpolated files) and not all whole numbers. Everything else is HU.
    """
    if voxels.dtype.kind != "f":
        return "hu"
    low, high = float(voxels.min()), float(voxels.max())
    if low < -0.01 or high > 1.01:
        return "hu"
    whole = all(bool(np.all(plane == np.rint(plane))) for plane in voxels)
    return "hu" if whole else "unit"


def resolve_intensity(choice: str, voxels: np.ndarray) -> str:
    """The user's choice ``"hu"`` or ``"unit"``; for ``"auto"`` the result of :func:`detect_intensity`.

    Raises
    ------
    UserError
        If the choice is ``"unit"`` for integer voxels.
    """
    if choice == "unit" and voxels.dtype.kind != "f":
        raise UserError(
            f"integer voxels ({voxels.dtype}) cannot be on the [0, 1] scale: use {{intensity}} hu",
            "intensity",
        )
    return detect_intensity(voxels) if choice == "auto" else choice


def outside_window(hu):
    """Weight of the interpolated input: 0 inside the networks' window, rising to 1 over 64 HU outside it.

    Arrays or tensors.
    """
    low, high = HU_WINDOW
    beyond = abs(hu - (low + high) / 2) - (high - low) / 2
    return (beyond / _BAND).clip(0.0, 1.0)
