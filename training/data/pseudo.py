"""Pseudo pairs: thick slices made from thin ones by the slice profile."""

from __future__ import annotations

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition, sampling_matrix
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.volume import Volume, through_plane_axis

from .cases import Pair


def pseudo_pair(scan: Volume, factor: int = 5, profile: str = "box") -> Pair:
    """The pair of a thin scan and contiguous slices `factor` times as thick, made from it.

    Both begin at the same place: thick slice i is centred on thin slice ``factor i``. Thin slices at the ends
    that no thick slice's whole profile reaches are left out.

    Parameters
    ----------
    scan : Volume
        Thin slices in HU; they are put first in the result.

    Raises
    ------
    UserError
        If there are too few slices for three thick ones.
    """
    axis = through_plane_axis(scan)
    thin, step = scan.slices_first(axis), scan.spacing[axis]
    margin = factor // 2
    count = (len(thin) - 2 * margin - 1) // factor + 1
    if count < 3:
        raise UserError(f"{len(thin)} thin slices are too few for three thick ones (factor {factor})")
    acquisition = Acquisition(factor * step, factor * step, profile)
    weights = sampling_matrix(acquisition, count, len(thin), step, first_thin=-margin * step)
    thick = np.empty((count, *thin.shape[1:]), np.int16)
    for index, row in enumerate(weights):
        used = np.flatnonzero(row)
        block = thin[used[0] : used[-1] + 1].astype(np.float64)
        thick[index] = np.rint(np.tensordot(row[used[0] : used[-1] + 1], block, axes=1))
    kept = np.ascontiguousarray(thin[margin : margin + factor * (count - 1) + 1])
    order = [a for a in range(3) if a != axis] + [axis]
    direction = scan.direction[:, order]
    origin = tuple(np.asarray(scan.origin) + margin * step * direction[:, 2])
    in_plane = [scan.spacing[a] for a in order[:2]]
    return Pair(
        Volume(thick, (*in_plane, factor * step), origin, direction, slice_axis=2),
        Volume(kept, (*in_plane, step), origin, direction, slice_axis=2),
    )
