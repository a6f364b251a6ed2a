"""What a pair must fulfil before it is trained or tested on."""

from __future__ import annotations

from ThickToThinSRLib.errors import UserError

from .alignment import measure_alignment
from .cases import Pair


def check_pair(name: str, pair: Pair, factor: int) -> None:
    """Refuse a pair whose scans do not lie over each other.

    Raises
    ------
    UserError
        If in-plane sizes differ, the thin scan has not ``factor (L - 1) + 1`` slices, or the slices are
        displaced, reversed or of another patient; the message names the case and the numbers measured.
    """
    thick, thin = pair.thick.voxels, pair.thin.voxels
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
    fault = measure_alignment(thick, thin, factor).fault()
    if fault:
        raise UserError(f"case {name}: {fault}; thick slice i must lie at thin slice {factor} i")


def _size(voxels) -> str:
    return f"{voxels.shape[2]} x {voxels.shape[1]}"
