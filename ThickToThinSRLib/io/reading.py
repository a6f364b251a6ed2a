"""Reads an input: a volume file, or a folder with a DICOM series."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..volume import Volume
from .volume_files import read_volume


def read_input(path: Path, series: str | None = None) -> Volume:
    """Read a volume file, or a folder with a DICOM series.

    Parameters
    ----------
    path : Path
    series : str, optional
        UID of the series to read if the folder holds several.

    Raises
    ------
    UserError
        If the input cannot be read, or if `series` is given but `path` is not a folder.
    """
    if Path(path).is_dir():
        from .dicom.series import read_series

        return read_series(path, series)
    if series is not None:
        raise UserError(
            f"{path}: is not a folder, but {{series}} chooses a series in a DICOM folder", "series"
        )
    return read_volume(path)
