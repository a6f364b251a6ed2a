"""What a user points at: a volume file, or a folder with a DICOM series."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..volume import Volume
from .volume_files import read_volume


def read_input(path: Path, series: str | None = None, nifti: str | None = None) -> Volume:
    """Read a volume file, or a folder with a DICOM series.

    Parameters
    ----------
    series : str, optional
        UID of the series, where the folder holds several.
    nifti : {"sform", "qform"}, optional
        The position to believe where the two that a NIfTI file holds contradict each other.

    Returns
    -------
    Volume
        Its ``source`` holds ``name``: the path, for errors.

    Raises
    ------
    UserError
        If it cannot be read, or if a series is chosen in what is no folder.
    """
    if Path(path).is_dir():
        from .dicom.series import read_series

        volume = read_series(path, series)
        volume.source["name"] = str(path)
        return volume
    if series is not None:
        raise UserError(
            f"{path}: {{series}} chooses within a DICOM folder, but this is not a folder", "series"
        )
    volume = read_volume(path, nifti)
    volume.source["name"] = str(path)
    return volume
