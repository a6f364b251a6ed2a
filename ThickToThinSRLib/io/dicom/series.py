"""A DICOM series in: one folder, one series, one Volume."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ...monitor import Monitor
from ...volume import Volume
from ..straightening import WORTH_A_NOTE, straightening_note
from ..walking import walk
from .folder import BROKEN_LINK, Inventory, inventory
from .headers import look_at, text_of
from .notes import counted, notes_of
from .pixels import rescaled, stacked, stored_values
from .regularity import Repairs, check_alike, needed_repairs
from .repairing import repaired
from .sifting import Series, check_copies
from .stack import Slice, ordered_stack, slices_of
from .storage import padding_of

if TYPE_CHECKING:
    from pydicom import Dataset

_AIR = -1024.0
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


def read_series(
    folder: str | os.PathLike,
    series_uid: str | None = None,
    monitor: Monitor | None = None,
    repairs: Repairs | None = None,
) -> Volume:
    """Read one DICOM series from a folder and its subfolders.

    What is no slice of a scan (localizers, screen captures, reports, contours) is left out, and so are copies
    of a slice; the monitor is told.

    Parameters
    ----------
    folder
        Folder with the files of one series, or of several.
    series_uid
        ``SeriesInstanceUID`` of the series to read, needed where there are several.
    monitor
        Takes notes on what was left out and repaired; may stop the reading.
    repairs
        What may be done to slices that form no regular stack; nothing by default.

    Returns
    -------
    Volume
        Rescaled values (HU for CT) as int16 where that is exact, else int32 or float32; pixel padding is left
        as it is. ``slice_axis`` is 2 (k, along row x column); ``thickness`` is ``SliceThickness`` where all
        slices agree. ``source`` holds identifiers (``instance_uids`` and ``files`` in slice order),
        acquisition and, under ``straightening``, how far repairs moved each slice.

    Raises
    ------
    UserError
        If there is no series or more than one to choose from, or if its slices are damaged or do not form a
        regular stack: missing, double, unevenly spaced, sheared or differing slices, or a single one; but not
        where `repairs` mend it.
    """
    folder, monitor = Path(folder), monitor or Monitor()
    with warnings.catch_warnings():
        # pydicom warns of each value that stretches the standard, which real files are full of.
        warnings.simplefilter("ignore", UserWarning)
        found = _inventory(folder, monitor)
        chosen = _chosen(found, folder, series_uid)
        slices = [piece for image in chosen.images for piece in _slices(image.path, image.header)]
        if not slices:
            raise UserError(f"{folder}: the series holds localizers only")
        _check_links(found, chosen)
        check_copies(chosen)
        check_alike(slices, str(folder))
        stack = ordered_stack(slices)
        needed = needed_repairs(stack, str(folder), repairs or Repairs())
        voxels = stacked(_values(stack.slices, monitor))
    result = repaired(voxels, stack, needed, _outside(chosen.header))
    # Other series are no news to whoever has chosen one.
    others = found.left_out([chosen]) if series_uid is None else []
    for note in [*notes_of([chosen], others, folder), *result.notes]:
        monitor.note(note)
    source = {key: text_of(chosen.header, keyword) for key, keyword in _SOURCE.items()}
    source["instance_uids"] = list(dict.fromkeys(piece.instance_uid for piece in stack.slices))
    source["files"] = list(dict.fromkeys(str(piece.path) for piece in stack.slices))
    source["straightening"] = result.facts
    sheared = max(piece.sheared for piece in slices)
    if sheared > WORTH_A_NOTE:
        monitor.note(straightening_note(sheared))
    if "RescaleIntercept" not in chosen.header and "PerFrameFunctionalGroupsSequence" not in chosen.header:
        source["warnings"] = [
            "the DICOM files do not say how stored values become HU (RescaleIntercept): they are taken for HU"
        ]
    return Volume(
        result.voxels,
        (*stack.slices[0].pixel_spacing, result.spacing),
        tuple(result.origin),
        stack.direction,
        slice_axis=2,
        thickness=stack.thickness,
        source={key: value for key, value in source.items() if value},
    )


def series_of_file(path: Path) -> str | None:
    """UID of the series that a DICOM file belongs to; None if the file is not DICOM.

    Raises
    ------
    UserError
        If the file is damaged, or no slice of a scan.
    """
    found = look_at(Path(path))
    if found is None:
        return None
    if found.other is not None:
        raise UserError(f"{path}: is no slice of a scan but a {found.other}; give a slice, or its folder")
    return found.series


def _inventory(folder: Path, monitor: Monitor) -> Inventory:
    """All DICOM files under `folder`, by series, in the order of their paths."""
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    paths = list(walk(folder))
    if not paths:
        raise UserError(f"{folder}: the folder is empty")
    found = inventory(paths, monitor.check)
    if found.damaged:
        raise found.damaged[0][1]
    return found


def _chosen(found: Inventory, folder: Path, series_uid: str | None) -> Series:
    candidates = found.candidates()
    listing = "; ".join(series.described() for series in candidates.values())
    if series_uid is not None:
        asked = found.series.get(series_uid)
        if asked is None:
            raise UserError(f"{folder}: no series {series_uid}; there are: {listing or 'none'}")
        if not asked.images:
            held = counted(asked.left_out, folder)
            raise UserError(f"{folder}: series {series_uid} holds no slices of a scan: {held}")
        return asked
    if not candidates:
        left_out = found.left_out([])
        held = f", only {counted(left_out, folder)}" if left_out else ""
        raise UserError(f"{folder}: no DICOM images of a volume in this folder{held}")
    if len(candidates) > 1:
        raise UserError(
            f"{folder}: {len(candidates)} series, choose one with {{series}} UID: {listing}", "series"
        )
    return next(iter(candidates.values()))


def _check_links(found: Inventory, chosen: Series) -> None:
    """Raise UserError if a slice may be missing because only the link to it is there."""
    places = {image.path.parent for image in chosen.images}
    for path, kind in found.others:
        if kind == BROKEN_LINK and path.parent in places:
            raise UserError(f"{path}: a link to a file that is not there: get the file, or remove the link")


def _outside(header: Dataset) -> float:
    """The value outside what was scanned: padding, else air."""
    padding = padding_of(header)
    return _AIR if padding is None else padding[0]


def _slices(path: Path, header: Dataset) -> list[Slice]:
    try:
        return slices_of(header, path)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: damaged DICOM file ({' '.join(str(error).split())[:160]})") from error


def _values(slices: list[Slice], monitor: Monitor) -> list[Any]:
    """Rescaled values of every slice; a file with many frames is decoded once."""
    decoded: tuple[Path | None, Any] = (None, None)
    values = []
    for piece in slices:
        monitor.check()
        if decoded[0] != piece.path:
            decoded = (piece.path, stored_values(piece.path))
        frames = decoded[1]
        if frames.shape[1:] != piece.shape:
            raise UserError(f"{piece.path}: its pixels do not match its size of {piece.shape}")
        values.append(rescaled(frames[piece.frame], piece.slope, piece.intercept))
    return values
