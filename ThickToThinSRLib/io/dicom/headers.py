"""The header of one DICOM file: what it is, or why it cannot be read."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError
from .kinds import is_capture, other_kind

if TYPE_CHECKING:
    from pydicom import Dataset

_ENDINGS = (".dcm", ".ima")
_ATTRIBUTES = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("ImageType", "Modality", "SeriesDescription", "SeriesNumber", "Manufacturer", "ManufacturerModelName"),
    *("PatientPosition", "ConvolutionKernel", "KVP", "SliceThickness", "GantryDetectorTilt"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PixelPaddingValue"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("PixelRepresentation", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]


@dataclass(frozen=True, eq=False)
class Found:
    """A DICOM file.

    Attributes
    ----------
    header : Dataset
        Without pixels, and without what names the patient.
    series : str
        UID of its series, empty if it has none.
    other : str or None
        What it is, if it cannot be a slice of a scan.
    capture : bool
        Whether its class is that of screen captures, some of which are true slices.
    """

    path: Path
    header: Dataset
    series: str
    other: str | None
    capture: bool = False


def is_dicom_file(path: Path) -> bool:
    """Whether `path` is a DICOM file by its first bytes."""
    if not Path(path).is_file():  # a pipe would never answer
        return False
    try:
        with Path(path).open("rb") as file:
            return _is_dicom(file.read(132))
    except OSError:
        return False


def _is_dicom(start: bytes) -> bool:
    # Old exports leave out the 128-byte preamble; such files start with group 0002 or 0008.
    return start[128:] == b"DICM" or start[:2] in (b"\x02\x00", b"\x08\x00")


def look_at(path: Path) -> Found | None:
    """What a file is; None if it is not DICOM.

    Raises
    ------
    UserError
        If it is DICOM but damaged, or may not be read.
    """
    try:
        with warnings.catch_warnings():
            # pydicom warns of each value that stretches the standard, which real files are full of.
            warnings.simplefilter("ignore", UserWarning)
            return _look_at(path)
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f"{path}: no permission to read this file") from error
    # Damaged headers raise errors of many types, some of them only when a value is looked at.
    except Exception as error:
        raise UserError(f"{path}: damaged DICOM file ({' '.join(str(error).split())[:160]})") from error


def _look_at(path: Path) -> Found | None:
    import pydicom
    from pydicom.uid import MediaStorageDirectoryStorage

    with path.open("rb") as file:
        start = file.read(132)
        if not start and path.suffix.lower() in _ENDINGS:
            return Found(path, pydicom.Dataset(), "", "empty file")  # perhaps a slice once
        if not _is_dicom(start):
            return None
        file.seek(0)
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_ATTRIBUTES, force=True)
    kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    if kind is None and start[128:] != b"DICM":
        return None
    if kind == MediaStorageDirectoryStorage:
        return None
    if kind is None:
        raise UserError(f"{path}: damaged DICOM file (it is cut off, or does not say what it holds)")
    other, series = other_kind(header, str(kind)), str(header.get("SeriesInstanceUID") or "")
    if not series and other is None:
        raise UserError(f"{path}: damaged DICOM file (it is cut off, or does not name its series)")
    return Found(path, header, series, other, is_capture(str(kind)))


def text_of(header: Dataset, keyword: str) -> str:
    """An attribute as text, empty if it is absent."""
    value = header.get(keyword)
    if value is None:
        return ""
    return value if isinstance(value, str) else str(getattr(value, "original_string", value))
