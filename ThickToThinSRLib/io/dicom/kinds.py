"""What a DICOM object is that is no slice of a scan: report, contour, screen capture, localizer.

By its SOP class (DICOM PS3.6, table A-1) and, where a scanner puts other images into the class of its slices,
by ``ImageType`` (PS3.3 C.7.6.1.1.2 and C.8.2.1.1.1) and by what an image of a place in the patient has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CAPTURE_CLASS = f"{_STORAGE}7"
# The first that fits, by the number behind the common beginning of all classes.
_OTHER_CLASSES = (
    (r"88\.(67|68|73|74|75|76|77)", "dose report"),
    (r"88\.59", "key object selection"),
    (r"88(\..*)?", "structured report"),
    (r"11(\..*)?", "presentation state"),
    (r"104\..*", "document"),
    (r"66\.4|66\.5|66\.7", "segmentation"),
    (r"66\.[13]", "registration"),
    (r"66(\..*)?", "raw data object"),
    (r"481\.2", "dose distribution"),
    (r"481\.3", "structure set"),
    (r"481\..*", "radiotherapy object"),
    (r"9\..*", "waveform"),
    (r"30", "parametric map"),
    (r"77\..*", "photograph"),
)
_OTHER_MODALITIES = {"RTDOSE": "dose distribution", "RTSTRUCT": "structure set", "SEG": "segmentation"}
_LOCALIZER_WORDS = {"LOCALIZER", "SCOUT", "SURVIEW", "TOPOGRAM", "SCANOGRAM"}
_CAPTURE_WORDS = {"SCREEN", "SCREENSAVE", "SCREENSHOT", "CAPTURE", "PATIENT_INFO", "DOSE_INFO"}
_PAGE_WORDS = {"PROT", "PROTOCOL"}


def other_kind(header: Dataset, kind: str) -> str | None:
    """What an object of the SOP class `kind` is, in two words; None if it may be a slice."""
    number = kind.removeprefix(_STORAGE)
    known = next((name for pattern, name in _OTHER_CLASSES if re.fullmatch(pattern, number)), None)
    known = known or _OTHER_MODALITIES.get(str(header.get("Modality")))
    if known is not None:
        return known
    if not is_image(header, kind):
        return "other object"
    words = {word for value in _image_type(header) for word in re.split(r"[^A-Z0-9_]+", value)}
    words |= {part for word in words for part in word.split("_")}
    if is_capture(kind):
        drawn = _is_coloured(header) or not _says_where(header) or words & _LOCALIZER_WORDS
        return "screen capture" if drawn else None
    if words & _LOCALIZER_WORDS:
        return "localizer"
    if words & _CAPTURE_WORDS:
        return "screen capture"
    if _is_coloured(header):
        return "colour image"
    if words & _PAGE_WORDS and not _says_where(header):
        return "protocol page"
    secondary = _image_type(header)[1:2] == ["SECONDARY"]
    if secondary and not has_place(header) and not header.get("ImageOrientationPatient"):
        return "image without a position"
    return None


def is_image(header: Dataset, kind: str) -> bool:
    """Whether an object holds pixels."""
    from pydicom.uid import UID

    return "Rows" in header or "Image Storage" in UID(kind).name


def is_capture(kind: str) -> bool:
    """Whether a SOP class is one of the Secondary Captures: whatever a program has drawn."""
    return kind == _CAPTURE_CLASS or kind.startswith(f"{_CAPTURE_CLASS}.")


def has_place(header: Dataset) -> bool:
    """Whether an image says where it lies in the patient."""
    return bool(header.get("ImagePositionPatient")) or "PerFrameFunctionalGroupsSequence" in header


def _says_where(header: Dataset) -> bool:
    """Whether an image, or a frame of it, says all that a slice must."""
    frames = header.get("PerFrameFunctionalGroupsSequence")
    if frames:
        return any("PlanePositionSequence" in frame for frame in frames)
    needed = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    return all(header.get(keyword) for keyword in needed)


def _is_coloured(header: Dataset) -> bool:
    photometric = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
    return int(header.get("SamplesPerPixel") or 1) != 1 or not photometric.startswith("MONOCHROME")


def _image_type(header: Dataset) -> list[str]:
    value = header.get("ImageType") or ()
    return [str(word).upper() for word in ([value] if isinstance(value, str) else value)]
