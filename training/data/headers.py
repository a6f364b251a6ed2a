"""The size of a scan from its headers, without its voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.volume import Volume, through_plane_axis


def shape_in_headers(path: Path) -> tuple[int, int, int] | None:
    """Slices, rows and columns of a volume file or a folder of DICOM files; None if they cannot be read.

    In a DICOM folder every file counts as a slice.
    """
    return _shape_of_series(path) if path.is_dir() else _shape_of_file(path)


def _shape_of_file(path: Path) -> tuple[int, int, int] | None:
    # Training on prepared data goes without the libraries that read scans.
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    size, spacing = reader.GetSize()[:3], reader.GetSpacing()[:3]
    try:
        # A volume with this geometry and hardly any memory.
        axis = through_plane_axis(Volume(np.broadcast_to(np.int16(0), size[::-1]), spacing))
    except UserError:
        return None
    columns, rows = (size[index] for index in range(3) if index != axis)
    return size[axis], rows, columns


def _shape_of_series(folder: Path) -> tuple[int, int, int] | None:
    import pydicom

    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    if not files:
        return None
    try:
        header = pydicom.dcmread(files[0], stop_before_pixels=True)
        return len(files) * int(header.get("NumberOfFrames", 1)), int(header.Rows), int(header.Columns)
    except Exception:  # of many types; preparing the case says what is wrong
        return None
