"""Pseudo pairs: thick slices simulated from thin ones."""

from __future__ import annotations

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition, sampling_matrix
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.volume import Volume, through_plane_axis

from .cases import ScanPair


def pseudo_pair(scan: Volume, factor: int = 5, profile: str = "box") -> ScanPair:
    """A thin scan, paired with contiguous slices `factor` times as thick that are simulated from it.

    Thick slice i is centred on thin slice ``factor i`` of the pair. Thin slices at the ends are left out,
    where the profile of a thick slice would not lie inside the scan.

    Parameters
    ----------
    scan : Volume
        Thin slices in HU, along any axis.
    factor : int
        Upsampling factor.
    profile : {"box", "gaussian", "trapezoid"}
        Slice profile.

    Returns
    -------
    ScanPair
        With the slices along the first array axis.

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
    covered = np.ascontiguousarray(thin[margin : margin + factor * (count - 1) + 1])
    order = [a for a in range(3) if a != axis] + [axis]
    direction = scan.direction[:, order]
    origin = tuple(np.asarray(scan.origin) + margin * step * direction[:, 2])
    in_plane = [scan.spacing[a] for a in order[:2]]
    return ScanPair(
        Volume(thick, (*in_plane, factor * step), origin, direction, slice_axis=2),
        Volume(covered, (*in_plane, step), origin, direction, slice_axis=2),
    )
