"""What makes a result doubtful: an input unlike what the weights were trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..acquisition import Acquisition
from ..intensity import HU_WINDOW
from ..volume import Volume

# Teeth and implants reach a few thousandths of a scan; less is not worth a word.
_SHARE_WORTH_A_WORD = 0.001


def find_warnings(
    volume: Volume, scale: str, acquisition: Acquisition, trained: dict | None
) -> Iterator[str]:
    """Yield what makes the result doubtful, a line each.

    Parameters
    ----------
    volume : Volume
        The input in HU.
    scale : {"hu", "unit"}
        How its file holds it.
    trained : dict, optional
        If a network is used: what its model card says of the slice ``spacing`` and ``thickness`` in training,
        as far as it does.
    """
    modality = modality_warning(volume.source.get("modality"))
    if modality:
        yield modality
    elif scale == "hu" and float(volume.voxels.min()) > -100:
        yield "no voxel is below -100: this does not look like CT in HU (an MR volume?)"
    if trained is None:
        return
    for quantity, value in (("spacing", acquisition.spacing), ("thickness", acquisition.thickness)):
        low, high = trained.get(quantity, (value, value))
        if not low * 0.99 <= value <= high * 1.01:
            span = f"{low:g} mm" if low == high else f"{low:g} to {high:g} mm"
            yield f"the weights were trained for a slice {quantity} of {span}, not {value:g} mm"
    low, high = HU_WINDOW
    share = share_outside(volume.voxels, low, high)
    if share > _SHARE_WORTH_A_WORD:
        yield (
            f"{100 * share:.1f} % of the voxels lie outside {low:g} to {high:g} HU, the range that the "
            "weights were trained on: there the interpolation stands"
        )


def modality_warning(modality: str | None) -> str | None:
    """A line if `modality` is known and not CT."""
    if modality in (None, "", "CT"):
        return None
    return f"the modality is {modality}, not CT: the result means nothing in HU"


def share_outside(voxels: np.ndarray, low: float, high: float) -> float:
    """Share of the voxels below `low` or above `high`; the lowest value, if below, is taken for padding."""
    lowest = voxels.min()
    count = np.count_nonzero(voxels > high)
    if lowest < low:
        count += np.count_nonzero(voxels < low) - np.count_nonzero(voxels == lowest)
    return count / voxels.size
