"""Warnings about inputs that differ from what the weights were trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..acquisition import Acquisition
from ..intensity import HU_WINDOW
from ..volume import Volume

# Large enough teeth and implants occupy a few thousandths of a scan; fewer voxels need no warning.
_SHARE_TO_WARN = 0.001
# High-resolution CT once had 1 mm every 10 mm; as little today is rather a wrong unit.
_THIN_SHARE = 0.15


def find_warnings(
    volume: Volume, scale: str, acquisition: Acquisition, trained: dict | None
) -> Iterator[str]:
    """Yield a one-line warning for each reason to doubt the result.

    Parameters
    ----------
    volume : Volume
        The input in HU.
    scale : {"hu", "unit"}
        Intensity scale of the input file.
    acquisition : Acquisition
        Thickness and spacing of the input's slices.
    trained : dict, optional
        If a network is used: the ranges of slice ``spacing`` and ``thickness`` in its training, as far as the
        model card gives them.
    """
    if volume.voxels.min() == volume.voxels.max():
        yield f"all voxels are {volume.voxels.flat[0]:g}: there is nothing to see in this volume"
    modality = modality_warning(volume.source.get("modality"))
    if modality:
        yield modality
    elif scale == "hu" and float(volume.voxels.min()) > -100:
        yield "no voxel is below -100: this does not look like CT in HU (an MR volume?)"
    if acquisition.thickness <= _THIN_SHARE * acquisition.spacing:
        yield (
            f"slices {acquisition.thickness:g} mm thick every {acquisition.spacing:g} mm leave most of the "
            "body unmeasured: is the thickness in centimetres?"
        )
    if trained is None:
        return
    for quantity, value in (("spacing", acquisition.spacing), ("thickness", acquisition.thickness)):
        low, high = trained.get(quantity, (value, value))
        if not low * 0.99 <= value <= high * 1.01:
            span = f"{low:g} mm" if low == high else f"{low:g} to {high:g} mm"
            yield f"the weights were trained for a slice {quantity} of {span}, not {value:g} mm"
    low, high = HU_WINDOW
    share = share_outside(volume.voxels, low, high)
    if share > _SHARE_TO_WARN:
        yield (
            f"{100 * share:.1f} % of the voxels lie outside {low:g} to {high:g} HU, the range of the "
            "training data: these are interpolated without the network"
        )


def modality_warning(modality: str | None) -> str | None:
    """A one-line warning if `modality` is known and not CT."""
    if modality in (None, "", "CT"):
        return None
    return f"the modality is {modality}, not CT: the methods expect HU, so the result is not reliable"


def share_outside(voxels: np.ndarray, low: float, high: float) -> float:
    """Fraction of the voxels below `low` or above `high`; the minimum, if below `low`, counts as padding."""
    lowest = voxels.min()
    count = np.count_nonzero(voxels > high)
    if lowest < low:
        count += np.count_nonzero(voxels < low) - np.count_nonzero(voxels == lowest)
    return count / voxels.size
