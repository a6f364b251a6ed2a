"""Checks of a pair before it is used for training or evaluation."""

from __future__ import annotations

import numpy as np

from ThickToThinSRLib.errors import UserError

from .alignment import measure_alignment
from .cases import ScanPair

_LEAST_SPAN_HU = 200.0
_SPACING_TOLERANCE = 0.02


def check_pair(name: str, pair: ScanPair, factor: int) -> None:
    """Refuse a pair whose scans do not match.

    Parameters
    ----------
    name : str
        The case, for messages.
    pair : ScanPair
        Scans in HU.
    factor : int
        Upsampling factor.

    Raises
    ------
    UserError
        If the in-plane sizes differ, L thick slices do not come with ``factor (L - 1) + 1`` thin ones, the
        values are not HU, the spacings contradict the factor, or the slices are displaced, reversed or of
        another patient. The message names the case and the measured numbers.
    """
    thick, thin = pair.thick.voxels, pair.thin.voxels
    if len(thick) < 2:
        raise UserError(f"case {name}: a single thick slice; at least two are needed")
    if thick.shape[1:] != thin.shape[1:]:
        raise UserError(
            f"case {name}: in-plane sizes differ, thick {_size(thick)} against thin {_size(thin)} pixels"
        )
    expected = factor * (len(thick) - 1) + 1
    if len(thin) != expected:
        raise UserError(
            f"case {name}: {len(thick)} thick slices need {expected} thin ones (factor {factor}), not "
            f"{len(thin)}"
        )
    for kind in ("thick", "thin"):
        _check_values(name, kind, getattr(pair, kind).voxels)
    _check_spacings(name, pair, factor)
    fault = measure_alignment(thick, thin, factor).fault()
    if fault:
        raise UserError(f"case {name}: {fault}; thick slice i must lie at thin slice {factor} i")


def _check_values(name: str, kind: str, voxels: np.ndarray) -> None:
    """Refuse stored values without rescaling, and [0, 1] with overshoot: both lack the HU of fat and air."""
    low, high = float(voxels.min()), float(voxels.max())
    if low >= 0 or high - low < _LEAST_SPAN_HU:
        raise UserError(
            f"case {name}: the {kind} scan's values, {low:g} to {high:g}, are neither HU nor on [0, 1]"
        )


def _check_spacings(name: str, pair: ScanPair, factor: int) -> None:
    """Refuse spacings that contradict the pair, where both files have their spacing."""
    thick, thin = pair.thick.spacing, pair.thin.spacing
    if (1, 1, 1) in (tuple(thick), tuple(thin)):
        return
    if any(abs(a / b - 1) > _SPACING_TOLERANCE for a, b in zip(thick[:2], thin[:2], strict=True)):
        raise UserError(
            f"case {name}: pixels of {thick[0]:g} x {thick[1]:g} mm (thick) and {thin[0]:g} x {thin[1]:g} mm "
            "(thin) cannot lie over each other"
        )
    ratio = thick[2] / thin[2]
    if abs(ratio / factor - 1) > _SPACING_TOLERANCE:
        raise UserError(
            f"case {name}: slices every {thick[2]:g} mm (thick) and {thin[2]:g} mm (thin) do not have the "
            f"factor {factor}"
        )


def _size(voxels) -> str:
    return f"{voxels.shape[2]} x {voxels.shape[1]}"
