"""The largest structure that a result holds and its input does not support, or lacks and its input shows.

A nodule h HU brighter than its surroundings and l mm long through-plane adds ``h l / t`` HU to a thick slice
of thickness t. If the thin slices hold it and the thick ones do not, the inconsistency C = A x - y times t is
its size in HU mm: 300 is a nodule of 100 HU that is 3 mm long. C is averaged over the area of a small nodule,
so that rounding and single voxels do not count.

What cancels within a thick slice, such as a bright and an equally dark structure next to each other, cannot
be seen in this way: the input says nothing about it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from ..acquisition import Acquisition

_AREA = 3.0  # mm: side of the square over which C is averaged


@dataclass(frozen=True)
class Unsupported:
    """Where result and input differ most.

    Attributes
    ----------
    hu_mm : float
        Size of the structure: positive if the result holds it without support, negative if it lacks it.
    slice, row, column : int
        Thick slice and pixel at its middle.
    """

    hu_mm: float
    slice: int
    row: int
    column: int

    def as_dict(self) -> dict:
        return asdict(self)


def largest_unsupported(
    thin: np.ndarray,
    thick: np.ndarray,
    acquisition: Acquisition,
    target_spacing: float,
    pixel: float,
) -> Unsupported | None:
    """Find the largest structure on which thin and thick slices disagree.

    Parameters
    ----------
    thin, thick : ndarray, shape (N, rows, columns) and (M, rows, columns)
        Thin slices and the thick slices they were made from, HU.
    acquisition : Acquisition
        How the thick slices were made.
    target_spacing : float
        Spacing of the thin slices, mm.
    pixel : float
        In-plane spacing, mm.

    Returns
    -------
    Unsupported or None
        None if no thick slice has its whole profile inside the volume.
    """
    weights = acquisition.matrix(len(thick), len(thin), target_spacing).astype(np.float32)
    side = max(1, round(_AREA / pixel))
    worst = None
    for index in np.flatnonzero(acquisition.inside(len(thick), len(thin), target_spacing)):
        used = np.flatnonzero(weights[index])
        simulated = sum(weights[index, place] * thin[place] for place in used)
        structure = acquisition.thickness * uniform_filter(simulated - thick[index], side, mode="nearest")
        row, column = np.unravel_index(np.abs(structure).argmax(), structure.shape)
        found = Unsupported(round(float(structure[row, column]), 2), int(index), int(row), int(column))
        if worst is None or abs(found.hu_mm) > abs(worst.hu_mm):
            worst = found
    return worst
