"""A DICOM series in: one folder, one series, one Volume."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ...volume import Volume
from .pixels import rescaled, stacked, stored_values
from .stack import Slice, regular_stack, slices_of

if TYPE_CHECKING:
    from pydicom import Dataset

_ATTRIBUTES = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("ImageType", "Modality", "SeriesDescription", "SeriesNumber", "Manufacturer", "ManufacturerModelName"),
    *("PatientPosition", "ConvolutionKernel", "KVP", "SliceThickness", "GantryDetectorTilt"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
# What Volume.source keeps of the first slice; nothing that names the patient.
_SOURCE = {
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "modality": "Modality",
    "series_description": "SeriesDescription",
    "series_number": "SeriesNumber",
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "patient_position": "PatientPosition",
    "kernel": "ConvolutionKernel",
    "kvp": "KVP",
    "gantry_tilt": "GantryDetectorTilt",
    "rescale_type": "RescaleType",
}

_Series = list[tuple[Path, "Dataset"]]


def read_series(folder: str | os.PathLike, series_uid: str | None = None) -> Volume:
    """Read one DICOM series from a folder and its subfolders.

    Localizers and objects that are no slices (reports, structure sets, screenshots) are left out.

    Parameters
    ----------
    folder
        Folder with the files of one series, or of several.
    series_uid
        ``SeriesInstanceUID`` of the series to read, needed where there are several.

    Returns
    -------
    Volume
        Rescaled values (HU for CT) as int16 where that is exact, else int32 or float32; pixel padding is left
        as it is. ``slice_axis`` is 2 (k, along row x column); ``thickness`` is ``SliceThickness`` where all
        slices agree. ``source`` holds identifiers (``instance_uids`` and ``files`` in slice order) and
        acquisition.

    Raises
    ------
    UserError
        If there is no series or more than one to choose from, or if its slices are damaged or do not form a
        regular stack: missing, double, unevenly spaced, sheared or differing slices.
    """
    folder = Path(folder)
    with warnings.catch_warnings():
        # pydicom warns of each value that stretches the standard, which real files are full of.
        warnings.simplefilter("ignore")
        found = _series_in(folder)
        chosen = _chosen(found, folder, series_uid)
        slices = [piece for path, header in chosen for piece in _slices(path, header)]
        if not slices:
            raise UserError(f"{folder}: the series holds localizers only")
        stack = regular_stack(slices, str(folder))
        voxels = stacked(_values(stack.slices))
    source = {key: _text(chosen[0][1], keyword) for key, keyword in _SOURCE.items()}
    source["instance_uids"] = list(dict.fromkeys(piece.instance_uid for piece in stack.slices))
    source["files"] = list(dict.fromkeys(str(piece.path) for piece in stack.slices))
    return Volume(
        voxels,
        stack.spacing,
        stack.origin,
        stack.direction,
        slice_axis=2,
        thickness=stack.thickness,
        source={key: value for key, value in source.items() if value},
    )


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    if value is None:
        return ""
    return value if isinstance(value, str) else str(getattr(value, "original_string", value))


def _series_in(folder: Path) -> dict[str, _Series]:
    """All image objects under `folder`, by series, in the order of their paths."""
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    found: dict[str, _Series] = defaultdict(list)
    empty = True
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        folders.sort()
        for name in sorted(names):
            empty = False
            header = image_header(Path(place) / name)
            if header is not None:
                found[str(header.SeriesInstanceUID)].append((Path(place) / name, header))
    if empty:
        raise UserError(f"{folder}: the folder is empty")
    return dict(found)


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename}: this folder cannot be read ({error.strerror})") from error


def image_header(path: Path) -> Dataset | None:
    """The header of an image; None for other files, other objects, and localizers."""
    import pydicom
    from pydicom.uid import MediaStorageDirectoryStorage

    try:
        with path.open("rb") as file:
            start = file.read(132)
            # Old exports leave out the 128-byte preamble; such files start with group 0002 or 0008.
            if start[128:] != b"DICM" and start[:2] not in (b"\x02\x00", b"\x08\x00"):
                return None
            file.seek(0)
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_ATTRIBUTES, force=True)
            kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
            if start[128:] != b"DICM" and kind is None:
                return None
            # Dose grids and segmentations have positions too, but are no scans.
            if kind == MediaStorageDirectoryStorage or header.get("Modality") in ("RTDOSE", "SEG"):
                return None
            if kind is None or not header.get("SeriesInstanceUID"):
                raise EOFError("it ends before the series is named")
            if "LOCALIZER" in (header.get("ImageType") or ()):
                return None
            return header if "Rows" in header or "Image Storage" in pydicom.uid.UID(kind).name else None
    except PermissionError as error:
        raise UserError(f"{path}: no permission to read this file") from error
    # Damaged headers raise errors of many types, some of them only when a value is looked at.
    except Exception as error:
        raise UserError(f"{path}: damaged DICOM file ({' '.join(str(error).split())[:160]})") from error


def _chosen(found: dict[str, _Series], folder: Path, series_uid: str | None) -> _Series:
    # Screenshots and dose reports are images too, but none of them says where it lies in the patient.
    volumes = {uid: series for uid, series in found.items() if any(has_place(h) for _, h in series)}
    listing = "; ".join(_described(uid, series) for uid, series in volumes.items())
    if series_uid is not None:
        if series_uid not in volumes:
            raise UserError(f"{folder}: no series {series_uid}; there are: {listing or 'none'}")
        return volumes[series_uid]
    if not volumes:
        raise UserError(f"{folder}: no DICOM images of a volume in this folder")
    if len(volumes) > 1:
        raise UserError(
            f"{folder}: {len(volumes)} series, choose one with {{series}} UID: {listing}", "series"
        )
    return next(iter(volumes.values()))


def has_place(header: Dataset) -> bool:
    """Whether an image says where it lies in the patient."""
    return "ImagePositionPatient" in header or "PerFrameFunctionalGroupsSequence" in header


def _described(uid: str, series: _Series) -> str:
    header = series[0][1]
    images = sum(int(h.get("NumberOfFrames") or 1) for _, h in series)
    words = [header.get("Modality"), ascii(_text(header, "SeriesDescription"))]
    return f"{uid} ({', '.join(word for word in words if word)}, {images} image{'s' if images != 1 else ''})"


def _slices(path: Path, header: Dataset) -> list[Slice]:
    try:
        return slices_of(header, path)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: damaged DICOM file ({' '.join(str(error).split())[:160]})") from error


def _values(slices: list[Slice]) -> list[Any]:
    """Rescaled values of every slice; a file with many frames is decoded once."""
    decoded: tuple[Path | None, Any] = (None, None)
    values = []
    for piece in slices:
        if decoded[0] != piece.path:
            decoded = (piece.path, stored_values(piece.path))
        frames = decoded[1]
        if frames.shape[1:] != piece.shape:
            raise UserError(f"{piece.path}: its pixels do not match its size of {piece.shape}")
        values.append(rescaled(frames[piece.frame], piece.slope, piece.intercept))
    return values
