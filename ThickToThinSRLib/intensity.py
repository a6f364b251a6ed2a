"""Intensity: Hounsfield units, the [0, 1] scale of the networks and of RPLHR-CT files."""

from __future__ import annotations

import numpy as np

from .errors import UserError

HU_WINDOW = (-1024.0, 2048.0)
# Width in HU of the band outside the window over which the interpolated input takes over from a network.
_BAND = 64.0


def to_unit(hu):
    """HU to the networks' scale: [-1024, 2048] HU becomes [0, 1]; not clipped. Arrays or tensors."""
    low, high = HU_WINDOW
    return (hu - low) / (high - low)


def to_hu(unit):
    """The networks' scale to HU: HU = 3072 v - 1024. Arrays or tensors."""
    low, high = HU_WINDOW
    return unit * (high - low) + low


def detect_intensity(voxels: np.ndarray) -> str:
    """Tell HU (``"hu"``) from the [0, 1] scale of RPLHR-CT files (``"unit"``).

    Only real-valued voxels that stay within [0, 1] (up to a hundredth, for interpolated files) and are not
    all whole numbers can be of the unit scale; everything else is taken as HU.
    """
    if voxels.dtype.kind != "f":
        return "hu"
    low, high = float(voxels.min()), float(voxels.max())
    if low < -0.01 or high > 1.01:
        return "hu"
    whole = all(bool(np.all(plane == np.rint(plane))) for plane in voxels)
    return "hu" if whole else "unit"


def resolve_intensity(choice: str, voxels: np.ndarray) -> str:
    """``"hu"`` or ``"unit"``: the user's choice, or what :func:`detect_intensity` finds for ``"auto"``."""
    if choice == "unit" and voxels.dtype.kind != "f":
        raise UserError(
            f"whole numbers ({voxels.dtype}) cannot be on the [0, 1] scale: use {{intensity}} hu", "intensity"
        )
    return detect_intensity(voxels) if choice == "auto" else choice


def outside_window(hu: np.ndarray) -> np.ndarray:
    """How far values lie outside the networks' window: 0 inside, 1 from a narrow band outside on."""
    low, high = HU_WINDOW
    return np.clip(np.maximum(low - hu, hu - high) / _BAND, 0.0, 1.0)
