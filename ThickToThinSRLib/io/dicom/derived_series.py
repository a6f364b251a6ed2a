"""A derived CT series out: what a method made of a DICOM series, as DICOM again.

Every new slice takes patient, study, frame of reference and the facts of the scan from the source slice that
lies nearest; series and instances are new. Attributes are copied by name (:mod:`dicom_copied`), never all of
them: what is unknown might not be true of the result. Modules: DICOM PS3.3 A.3 (CT Image), C.7.6.1 (General
Image: derivation), C.8.2.1 (CT Image).
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
# Of what is a file's name, not a folder's ("CT 1.5mm" is a folder's).
_FILE_SUFFIX = re.compile(
    r"\.(nii|nrrd|nhdr|mh[ad]|hdr|img|raw|gz|zip|dcm|dicom|ima|png|jpe?g|tiff?|vtk|vti|np[yz]|json|txt)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Source:
    """One object of the source: header without pixels, height along the normal in mm."""

    header: Dataset
    height: float


def wants_series(source: Path, target: Path) -> bool:
    """Whether `target` names a folder for a DICOM series: the source is one and no file's suffix is given."""
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
        fault = f"and this is {modality}" if modality else "and this series does not say what it is"
        raise UserError(
            f"{name}: a derived DICOM series can be made of CT only, {fault}: write a file (.nii.gz, .nrrd)"
        )


def write_series(
    thin: Volume,
    folder: Path,
    report: dict,
    monitor: Monitor,
) -> None:
    """Write `thin`, enhanced from a DICOM series, as a series of its own into a new `folder`.

    The folder appears whole or not at all; an existing one is replaced.

    Parameters
    ----------
    thin : Volume
        ``source["files"]`` names the source's files in slice order, as :func:`~.dicom.read_series` leaves it.
    report : dict
        Provenance: what made the result.

    Raises
    ------
    UserError
        If the source is not CT or cannot be read any more, if values do not fit 16 bits or the disk is full.
    Cancelled
        If the monitor is asked to stop; nothing is left then.
    """
    import pydicom

    with warnings.catch_warnings():
        # pydicom warns of each value that stretches the standard, which real files are full of.
        warnings.simplefilter("ignore")
        sources = _sources(thin)
        storage = storage_for(thin.voxels, [piece.header for piece in sources])
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
    """The source's headers, by height."""
    import pydicom

    found = []
    for name in thin.source.get("files", ()):
        try:
            header = pydicom.dcmread(name, stop_before_pixels=True, force=True)
            position = header.get("ImagePositionPatient")  # absent in multi-frame objects
            height = 0.0 if position is None else _height(thin, [float(value) for value in position])
        except Exception as error:
            raise UserError(f"{name}: cannot be read any more ({' '.join(str(error).split())})") from error
        check_modality(header.get("Modality"), name)
        found.append(_Source(header, height))
    if not found:
        raise UserError("a derived DICOM series can be made of a DICOM series only: write a file (.nii.gz)")
    return sorted(found, key=lambda piece: piece.height)


def _height(thin: Volume, position) -> float:
    """Distance along the normal of a position from the first slice, mm."""
    return float((np.asarray(position) - thin.origin) @ thin.direction[:, 2])


def _series_attributes(source: Dataset, report: dict) -> Dataset:
    """What all new slices share beyond the source's attributes."""
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
    machine = Dataset()
    machine.PurposeOfReferenceCodeSequence = Sequence([_code("109102", "Processing Equipment")])
    machine.Manufacturer, machine.ManufacturerModelName = "ThickToThinSR", "thicktothin"
    machine.SoftwareVersions = __version__
    machine.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    machine.ContributionDescription = f"through-plane resolution, method {report['method']}"
    shared.ContributingEquipmentSequence = Sequence([machine])
    return shared


def _new_number(source: Dataset) -> int:
    """A series number beside the source's: 3 becomes 3001, then 3002 and so on if it is enhanced again."""
    try:
        number = int(source.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        number = 0
    return number * 1000 + 1 if 0 <= number < 1000 else number + 1


def _kind(report: dict) -> str:
    """What to call the result: only what a trained network made is AI."""
    return (
        "AI-enhanced"
        if report.get("learned", report.get("checkpoint") is not None)
        else "Enhanced without AI"
    )


def series_description(source: str | None, report: dict) -> str:
    """At most 64 characters (VR LO): what is new and the warning first of all, then the source's."""
    made = f"{_kind(report)} {report['target_spacing_mm']:g} mm, {WARNING}"
    if report.get("synthetic_noise"):  # both must fit into the 64 characters
        made = f"{_kind(report)} {report['target_spacing_mm']:g} mm, synthetic noise, not for diagnosis"
    return f"{made}: {source}"[:64].rstrip() if source else made[:64]


def derivation_description(report: dict) -> str:
    """Method, weights and version, spacing and thickness; at most 1024 characters (VR ST)."""
    card = report.get("checkpoint")
    weights = f"weights {card['title']} {card['version']}, sha256 {card['sha256']}" if card else "no weights"
    words = (
        f"{_kind(report)} through-plane resolution by {report.get('program', _PROGRAM)}, method "
        f"{report['method']}, {weights}: slices every {report['target_spacing_mm']:g} mm from slices every "
        f"{report['spacing_mm']:g} mm, {report['thickness_mm']:g} mm thick ({report['thickness_from']}). "
        f"{_straightened(report)}"
        f"{_noise(report)}"
        f"What lies between the measured slices is an estimate: research use, {WARNING}."
    )
    return words.encode("ascii", "replace").decode().replace("\\", "/")[:1024]


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
    nearest = min(sources, key=lambda piece: abs(piece.height - height)).header
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
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian  # no compression, nothing lost
    axes = thin.direction[:, :2].T.ravel()
    dataset.ImagePositionPatient = [format_number_as_ds(float(value)) for value in position]
    dataset.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in axes]
    dataset.PixelSpacing = [format_number_as_ds(value) for value in (thin.spacing[1], thin.spacing[0])]
    across = thin.slice_axis == 2
    own = nearest.get("SliceThickness")  # in-plane refinement leaves the slices as thick as they were
    dataset.SliceThickness = format_number_as_ds(thin.spacing[2]) if across else own
    dataset.SliceLocation = format_number_as_ds(float(position @ thin.direction[:, 2]))
    dataset.SourceImageSequence = Sequence([_reference(piece.header) for piece in _around(sources, height)])
    return dataset


def _around(sources: list[_Source], height: float) -> list[_Source]:
    """The source slices between which a height lies, or the one at which it lies."""
    below = [piece for piece in sources if piece.height <= height + 1e-3][-1:]
    above = [piece for piece in sources if piece.height >= height - 1e-3][:1]
    return below + [piece for piece in above if piece not in below] or sources[:1]


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
    """A code of DICOM's own dictionary (PS3.16, annex D)."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
