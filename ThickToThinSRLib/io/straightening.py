"""From what a file says of its axes to a Volume: nearly perpendicular is perpendicular, and said so."""

from __future__ import annotations

import numpy as np

from ..errors import UserError
from ..volume import Volume, straightened

WORTH_A_NOTE = 0.01  # mm


def straight_volume(voxels: np.ndarray, geometry: tuple, name: str, source: dict | None = None) -> Volume:
    """The Volume of voxels (z, y, x) and a geometry that need not be quite perpendicular.

    Parameters
    ----------
    geometry : tuple
        Spacing, origin and direction of :class:`~ThickToThinSRLib.volume.Volume`.
    name : str
        For errors.
    source : dict, optional
        Of the Volume; gets a line under ``notes`` where straightening moved a voxel by more than 0.01 mm.

    Raises
    ------
    UserError
        If the axes are sheared too much, see :func:`~ThickToThinSRLib.volume.straightened`.
    """
    spacing, origin, direction = geometry
    source = {} if source is None else source
    try:
        volume = Volume(voxels, spacing, origin, direction, source=source)
    except UserError as error:
        raise error.about(name) from error
    moved = straightened(direction, volume.extent)[1]
    if moved > WORTH_A_NOTE:
        source["notes"] = [*source.get("notes", ()), straightening_note(moved)]
    return volume


def straightening_note(moved: float) -> str:
    """The line for the user about axes that were straightened, which moved voxels by up to `moved` mm."""
    return f"the image axes are not quite perpendicular: straightening moved voxels by up to {moved:.2g} mm"


def shortest(value: float) -> float:
    """Undo single precision: 0.7 is stored as 0.699999988, which would cost the last thin slice."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(str(single)) if float(single) == value else float(value)
