"""Scans that bundled weights are trained on: found in a folder, read once, chosen by their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.volume import through_plane_axis


@dataclass(frozen=True)
class Scan:
    """One training scan.

    Attributes
    ----------
    name : str
        File name without suffix.
    voxels : ndarray, shape (slices, rows, columns)
        HU.
    spacing : tuple of float
        Distance of slices, rows and columns, mm.
    weight : float
        How often the scan is drawn, relative to others.
    in_plane_only : bool
        Whether its slices are too thick to learn from along the through-plane axis.
    """

    name: str
    voxels: np.ndarray
    spacing: tuple[float, float, float]
    weight: float = 1.0
    in_plane_only: bool = False


class _Weighted(Protocol):
    weight: float


AnyScan = TypeVar("AnyScan", bound=_Weighted)


def scan_paths(folder: Path, leave_out: Sequence[str] = (), dicom: bool = False) -> list[Path]:
    """Scans in a folder, by name: .nii.gz, .npz (of training.pack) and, with `dicom`, folders of a series.

    Parameters
    ----------
    leave_out : sequence of str
        Parts of the names of scans to skip.

    Raises
    ------
    UserError
        If there is no such scan.
    """
    paths = {*folder.glob("[!.]*.nii.gz"), *folder.glob("[!.]*.npz")}
    if dicom:
        paths |= {path for path in folder.glob("[!.]*") if path.is_dir()}
    chosen = sorted(path for path in paths if not any(part in path.name for part in leave_out))
    if not chosen:
        kinds = ".nii.gz file or DICOM folder" if dicom else ".nii.gz file"
        raise UserError(f"{folder}: no {kinds} to learn from")
    return chosen


def read_scan(path: Path, weight: float = 1.0) -> Scan:
    """Read a volume file or DICOM folder with its slices along the first array axis.

    Raises
    ------
    UserError
        If the file is damaged, or a side of the volume has a single voxel.
    """
    if path.suffix == ".npz":  # see training.pack; needs no library that reads files of scans
        with np.load(path) as stored:
            return Scan(path.stem, stored["voxels"], tuple(stored["spacing"].tolist()), weight)
    from ThickToThinSRLib.io.reading import read_input

    volume = read_input(path)
    axis = through_plane_axis(volume)
    slices = volume.slices_first(axis)
    if min(slices.shape) < 2:
        raise UserError(f"{path}: a volume of {slices.shape} voxels is too small to learn from")
    in_plane = [volume.spacing[index] for index in (2, 1, 0) if index != axis]
    return Scan(path.name.split(".")[0], slices, (volume.spacing[axis], *in_plane), weight)


def weight_of(name: str, weights: dict[str, float]) -> float:
    """The weight of the first key that `name` contains; 1 if there is none."""
    return next((weight for key, weight in weights.items() if key in name), 1.0)


def choose_scan(scans: Sequence[AnyScan], generator: np.random.Generator) -> AnyScan:
    """One of the scans, drawn with a probability in proportion to its weight."""
    weights = np.array([scan.weight for scan in scans])
    return scans[generator.choice(len(scans), p=weights / weights.sum())]
