"""The scans that the universal network learns from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.consistency import ConsistentInterpolation
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.interpolation import slab_columns, slabs
from ThickToThinSRLib.io.volume_files import read_volume
from ThickToThinSRLib.volume import through_plane_axis

# Scans with thicker slices teach by their rows and columns alone, after interpolation to about this, mm.
_FINE = 0.9


@dataclass(frozen=True)
class Scan:
    """One scan.

    Attributes
    ----------
    name : str
        The file's name without its suffix.
    voxels : ndarray, shape (slices, rows, columns)
        HU.
    spacing : tuple of float
        Of the array's axes, mm.
    in_plane_only : bool
        Whether its slices are too thick to learn from along z.
    weight : float
        How often it is drawn, relative to others.
    """

    name: str
    voxels: np.ndarray
    spacing: tuple[float, float, float]
    in_plane_only: bool
    weight: float


def read_scan(path: Path, weight: float = 1.0, in_plane_only: bool = False) -> Scan:
    """Read a scan; thick slices are interpolated (`in_plane_only` is set for them)."""
    volume = read_volume(path)
    axis = through_plane_axis(volume)
    slices = volume.slices_first(axis)
    spacing = volume.spacing[axis]
    others = [volume.spacing[index] for index in (2, 1, 0) if index != axis]
    if min(slices.shape) < 2:
        raise UserError(f"{path}: nothing to learn from a volume of {slices.shape} voxels")
    if spacing > 1.5:
        slices, spacing = _interpolated(slices, spacing)
        in_plane_only = True
    name = path.name.split(".")[0]
    return Scan(name, slices, (spacing, *others), in_plane_only, weight)


def _interpolated(slices: np.ndarray, spacing: float) -> tuple[np.ndarray, float]:
    factor = math.ceil(spacing / _FINE)
    count = (len(slices) - 1) * factor + 1
    solve = ConsistentInterpolation(Acquisition(spacing, spacing), len(slices), count, spacing / factor)
    out = np.empty((count, *slices.shape[1:]), np.int16)
    for band in slabs(count, *slices.shape[1:]):
        thin = np.rint(solve(slab_columns(slices, band))).clip(-1024, 3071)
        out[:, band] = thin.reshape(count, -1, slices.shape[2])
    return out, spacing / factor
