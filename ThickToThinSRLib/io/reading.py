"""Reads an input: a volume file, a folder with a DICOM series, or one file of such a series."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..monitor import Monitor
from ..volume import Volume
from .dicom.headers import is_dicom_file
from .dicom.regularity import Repairs
from .volume_files import read_volume


def read_input(
    path: Path,
    series: str | None = None,
    nifti: str | None = None,
    monitor: Monitor | None = None,
    repairs: Repairs | None = None,
) -> Volume:
    """Read a volume file, a folder with a DICOM series, or the series that a DICOM file belongs to.

    Parameters
    ----------
    path : Path
    series : str, optional
        UID of the series to read if the folder holds several.
    nifti : {"sform", "qform"}, optional
        The position to use where the two in a NIfTI file contradict each other.
    monitor : Monitor, optional
        Receives notes on what was left out or assumed.
    repairs : Repairs, optional
        What may be done to DICOM slices that do not form a regular stack.

    Returns
    -------
    Volume
        Its ``source`` holds ``name``: the path, for errors.

    Raises
    ------
    UserError
        If the input cannot be read, or if `series` is given but `path` is not a folder.
    """
    path, monitor = Path(path), monitor or Monitor()
    if path.is_dir():
        from .dicom.series import read_series

        volume = read_series(path, series, monitor, repairs)
    elif is_dicom_file(path):
        volume = _read_series_of(path, series, monitor, repairs)
    elif series is not None:
        raise UserError(
            f"{path}: is not a folder, but {{series}} chooses a series in a DICOM folder", "series"
        )
    else:
        volume = read_volume(path, nifti)
    volume.source["name"] = str(path)
    return volume


def _read_series_of(path: Path, series: str | None, monitor: Monitor, repairs: Repairs | None) -> Volume:
    """The series of the folder that a DICOM file belongs to."""
    from .dicom.series import read_series, series_of_file

    uid = series_of_file(path)
    if uid is None:
        return read_volume(path)  # says what is wrong
    if series not in (None, uid):
        raise UserError(f"{path}: belongs to series {uid}, not to {{series}} {series}", "series")
    volume = read_series(path.parent, uid, monitor, repairs)
    if len(volume.source["files"]) > 1:
        monitor.note(
            f"{path.name} is one file of a series: the whole series is taken, {len(volume.voxels)} slices in "
            f"{path.parent}"
        )
    return volume
