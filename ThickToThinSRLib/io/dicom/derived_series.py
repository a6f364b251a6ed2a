"""Writes the result of a DICOM series as a derived CT series.

Every new slice copies patient, study, frame of reference and scan parameters from the nearest source slice;
series and instances are new. Only listed attributes are copied (:mod:`~.copied_attributes`), because others
may be wrong for the result. Modules: DICOM PS3.3 A.3 (CT Image), C.7.6.1 (General Image: derivation), C.8.2.1
(CT Image).
"""

from __future__ import annotations

import copy
import datetime
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ... import __version__
from ...errors import UserError
from ...monitor import Monitor
from ...volume import Volume
from ..replacing import folder_replacing
from ..volume_files import volume_suffix
from .copied_attributes import COPIED, EMPTY_IF_UNKNOWN
from .headers import is_dicom_file
from .storage import storage_for

if TYPE_CHECKING:
    from pydicom import Dataset

WARNING = "not for primary diagnosis"
_PROGRAM = f"thicktothin {__version__}"
# A target with one of these suffixes is a file ("CT 1.5mm" is a folder).
_FILE_SUFFIX = re.compile(
    r"\.(nii|nrrd|nhdr|mh[ad]|hdr|img|raw|gz|zip|dcm|dicom|ima|png|jpe?g|tiff?|vtk|vti|np[yz]|json|txt)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Source:
    """One slice of the source: header without pixels, and position along the slice normal in mm."""

    header: Dataset
    height: float


def wants_series(source: Path, target: Path) -> bool:
    """Whether to write a DICOM series: `source` is one or a file of one, `target` has no suffix of a file."""
    if not (Path(source).is_dir() or is_dicom_file(source)):
        return False
    try:
        volume_suffix(target)
    except UserError:
        return not _FILE_SUFFIX.fullmatch(Path(target).suffix)
    return False


def check_modality(modality: str | None, name: str) -> None:
    """Raise UserError if a series of this modality cannot be written."""
    if modality != "CT":
        fault = f"the modality is {modality}" if modality else "no modality is given"
        raise UserError(
            f"{name}: {fault}, but a derived DICOM series can be made from CT only: "
            "write a file (.nii.gz, .nrrd)"
        )


def write_series(
    thin: Volume,
    folder: Path,
    report: dict,
    monitor: Monitor,
) -> None:
    """Write `thin`, enhanced from a DICOM series, as a new series into `folder`.

    An existing folder is replaced. If writing fails, nothing is changed.

    Parameters
    ----------
    thin : Volume
        Result in HU. ``thin.source["files"]`` lists the source files in slice order, see
        :func:`~.series.read_series`.
    report : dict
        The provenance.

    Raises
    ------
    UserError
        If the source is not CT or can no longer be read, if values do not fit 16 bits or the disk is full.
    Cancelled
        If the monitor was asked to stop; nothing is written.
    """
    import pydicom

    with warnings.catch_warnings():
        # pydicom warns of every value that deviates from the standard, and real files have many.
        warnings.simplefilter("ignore", UserWarning)
        sources = _sources(thin)
        storage = storage_for(thin.voxels, [source.header for source in sources])
        series = _series_attributes(sources[0].header, report)
        with folder_replacing(folder) as temporary:
            for k, pixels in enumerate(thin.voxels):
                monitor.check()
                dataset = _slice(thin, k, sources, series, report)
                storage.put(dataset, pixels)
                try:
                    pydicom.dcmwrite(temporary / f"{k + 1:04d}.dcm", dataset, enforce_file_format=True)
                except OSError as error:
                    raise UserError(f"{folder}: could not be written ({error.strerror or error})") from error
                monitor.step("writing DICOM", k + 1, len(thin.voxels))


def _sources(thin: Volume) -> list[_Source]:
    """The source slices, sorted by height."""
    import pydicom

    sources = []
    for name in thin.source.get("files", ()):
        try:
            header = pydicom.dcmread(name, stop_before_pixels=True, force=True)
            position = header.get("ImagePositionPatient")  # absent in multi-frame objects
            height = 0.0 if position is None else _height(thin, [float(value) for value in position])
        except Exception as error:
            raise UserError(f"{name}: can no longer be read ({' '.join(str(error).split())})") from error
        check_modality(header.get("Modality"), name)
        sources.append(_Source(header, height))
    if not sources:
        raise UserError("a derived DICOM series can be made from a DICOM series only: write a file (.nii.gz)")
    return sorted(sources, key=lambda source: source.height)


def _height(thin: Volume, position) -> float:
    """Distance of a position from the first slice along the slice normal, mm."""
    return float((np.asarray(position) - thin.origin) @ thin.direction[:, 2])


def _series_attributes(source: Dataset, report: dict) -> Dataset:
    """The new attributes that all slices share."""
    from pydicom import Dataset
    from pydicom.sequence import Sequence
    from pydicom.uid import CTImageStorage, generate_uid

    now = datetime.datetime.now()
    shared = Dataset()
    shared.SOPClassUID, shared.Modality = CTImageStorage, "CT"
    shared.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    shared.SeriesInstanceUID = generate_uid(prefix=None)
    shared.FrameOfReferenceUID = source.get("FrameOfReferenceUID") or generate_uid(prefix=None)
    shared.SeriesNumber = _new_number(source)
    shared.SeriesDescription = series_description(source.get("SeriesDescription"), report)
    for kind in ("InstanceCreation", "Series", "Content"):
        setattr(shared, f"{kind}Date", now.strftime("%Y%m%d"))
        setattr(shared, f"{kind}Time", now.strftime("%H%M%S"))
    shared.DerivationDescription = derivation_description(report)
    shared.DerivationCodeSequence = Sequence([_code("113085", "Spatial resampling")])
    noise = "; synthetic noise" if report.get("synthetic_noise") else ""
    shared.ImageComments = f"{_kind(report)}{noise}; {WARNING}"
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = Sequence([_code("109102", "Processing Equipment")])
    equipment.Manufacturer, equipment.ManufacturerModelName = "ThickToThinSR", "thicktothin"
    equipment.SoftwareVersions = __version__
    equipment.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    equipment.ContributionDescription = f"through-plane resolution, method {report['method']}"
    shared.ContributingEquipmentSequence = Sequence([equipment])
    return shared


def _new_number(source: Dataset) -> int:
    """A series number near that of the source: 3 becomes 3001; a result of 3001 becomes 3002, and so on."""
    try:
        number = int(source.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        number = 0
    return number * 1000 + 1 if 0 <= number < 1000 else number + 1


def _kind(report: dict) -> str:
    """How the description calls the result: "AI" only if a network was used."""
    return (
        "AI-enhanced"
        if report.get("learned", report.get("checkpoint") is not None)
        else "Enhanced without AI"
    )


def series_description(source: str | None, report: dict) -> str:
    """At most 64 characters (VR LO): kind, spacing and warning, then the description of the source."""
    text = f"{_kind(report)} {report['target_spacing_mm']:g} mm, {WARNING}"
    if report.get("synthetic_noise"):  # both must fit into the 64 characters
        text = f"{_kind(report)} {report['target_spacing_mm']:g} mm, synthetic noise, not for diagnosis"
    return f"{text}: {source}"[:64].rstrip() if source else text[:64]


def derivation_description(report: dict) -> str:
    """Method, weights, spacing and thickness; at most 1024 characters (VR ST)."""
    card = report.get("checkpoint")
    weights = f"weights {card['title']} {card['version']}, sha256 {card['sha256']}" if card else "no weights"
    text = (
        f"{_kind(report)} through-plane resolution by {report.get('program', _PROGRAM)}, method "
        f"{report['method']}, {weights}: slices every {report['target_spacing_mm']:g} mm from slices every "
        f"{report['spacing_mm']:g} mm, {report['thickness_mm']:g} mm thick ({report['thickness_from']}). "
        f"{_straightened(report)}"
        f"{_noise(report)}"
        f"What lies between the measured slices is an estimate: research use, {WARNING}."
    )
    return text.encode("ascii", "replace").decode().replace("\\", "/")[:1024]


def _straightened(report: dict) -> str:
    done = report.get("straightening") or {}
    words = {"untilt": "Gantry tilt undone before. ", "resample_uneven": "Uneven slices resampled before. "}
    return "".join(word for name, word in words.items() if name in done)


def _noise(report: dict) -> str:
    noise = report.get("synthetic_noise")
    return f"Synthetic noise was added (seed {noise['seed']}). " if noise else ""


def _slice(thin: Volume, k: int, sources: list[_Source], series: Dataset, report: dict) -> Dataset:
    """Slice `k` without its pixels."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid
    from pydicom.valuerep import format_number_as_ds

    position = thin.position(0, 0, k)
    height = _height(thin, position)
    nearest = min(sources, key=lambda source: abs(source.height - height)).header
    dataset = Dataset()
    for keyword in COPIED:
        if keyword in nearest:
            dataset[keyword] = copy.deepcopy(nearest[keyword])
    if "untilt" in (report.get("straightening") or {}):
        dataset.pop("GantryDetectorTilt", None)  # programs would undo it again
    for keyword in EMPTY_IF_UNKNOWN:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    dataset.update(series)
    dataset.SOPInstanceUID, dataset.InstanceNumber = generate_uid(prefix=None), k + 1
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian  # uncompressed
    axes = thin.direction[:, :2].T.ravel()
    dataset.ImagePositionPatient = [format_number_as_ds(float(value)) for value in position]
    dataset.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in axes]
    dataset.PixelSpacing = [format_number_as_ds(value) for value in (thin.spacing[1], thin.spacing[0])]
    # If an in-plane axis was refined, the slices are as thick as before.
    refined = thin.slice_axis == 2
    source_thickness = nearest.get("SliceThickness")
    dataset.SliceThickness = format_number_as_ds(thin.spacing[2]) if refined else source_thickness
    dataset.SliceLocation = format_number_as_ds(float(position @ thin.direction[:, 2]))
    dataset.SourceImageSequence = Sequence([_reference(source.header) for source in _around(sources, height)])
    return dataset


def _around(sources: list[_Source], height: float) -> list[_Source]:
    """The source slices below and above a height, or the one at this height."""
    below = [source for source in sources if source.height <= height + 1e-3][-1:]
    above = [source for source in sources if source.height >= height - 1e-3][:1]
    return below + [source for source in above if source not in below] or sources[:1]


def _reference(header: Dataset) -> Dataset:
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = Sequence(
        [_code("121322", "Source image for image processing operation")]
    )
    return item


def _code(value: str, meaning: str) -> Dataset:
    """A code of the DICOM Controlled Terminology (PS3.16, annex D)."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
