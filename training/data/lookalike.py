"""A small data set in the layout and intensity of RPLHR-CT, from the digital thorax phantom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ThickToThinSRLib.intensity import to_unit
from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.volume import Volume

from .cases import SPLITS


def write_lookalike(
    target: Path,
    cases: tuple[int, int, int] = (2, 1, 2),
    side: int = 128,
    thick_slices: int = 9,
    seed: int = 0,
) -> None:
    """Write ``{train,val,test}/{1mm,5mm}/CT*.nii.gz``, float32 in [0, 1]: each case is another person.

    Parameters
    ----------
    target : Path
        Folder to write.
    cases : 3 ints
        Number of cases of each split.
    side : int
        Rows and columns of a slice; the field of view is always that of a chest.
    thick_slices : int
        Number of 5 mm slices; there are ``5 (thick_slices - 1) + 1`` thin ones.
    seed : int
        Decides the persons.
    """
    pixel = 320.0 / side
    person = seed
    for split, count in zip(SPLITS, cases, strict=True):
        for number in range(count):
            for kind, spacing in (("1mm", 1.0), ("5mm", 5.0)):
                folder = target / split / kind
                folder.mkdir(parents=True, exist_ok=True)
                scan = thorax(
                    (pixel, pixel, spacing),
                    seed=person,
                    size_mm=(320.0, 320.0),
                    z_range=(-60.0, -60.0 + 5.0 * (thick_slices - 1)),
                    noise=8.0,
                )
                write_volume(_as_rplhr(scan), folder / f"CT{number + 1:08d}.nii.gz")
            person += 1


def _as_rplhr(scan: Volume) -> Volume:
    """The scan clipped to the networks' window and scaled to [0, 1] in single precision."""
    voxels = np.clip(to_unit(scan.voxels.astype(np.float64)), 0, 1).astype(np.float32)
    return replace(scan, voxels=voxels)
