"""CT numbers of DICOM slices in any transfer syntax."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ...errors import UserError
from ..temporary import temporary_folder

if TYPE_CHECKING:
    from pydicom import FileDataset

_PIXEL_ATTRIBUTES = (
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "NumberOfFrames", "PixelData"),
)


def stored_values(path: Path) -> np.ndarray:
    """Stored values, shape (frames, rows, columns), before any rescaling.

    Raises
    ------
    UserError
        If the pixels are damaged, truncated, in colour, or in an unknown transfer syntax.
    """
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

    try:
        dataset = pydicom.dcmread(path, force=True)
        if dataset.get("SamplesPerPixel", 1) != 1:
            raise UserError(f"{path}: a colour image, not CT: each pixel must have one value")
        if "ModalityLUTSequence" in dataset:
            raise UserError(
                f"{path}: its values are stored with a lookup table (Modality LUT), which is not supported"
            )
        if "TransferSyntaxUID" not in dataset.file_meta:  # a file without DICOM preamble
            implicit, _ = dataset.original_encoding
            dataset.file_meta.TransferSyntaxUID = (
                ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            )
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated and syntax != RLELossless:
            values = _decode_with_gdcm(dataset)
        else:
            values = dataset.pixel_array
        shape = (int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns))
        return values.reshape(shape)
    except UserError:
        raise
    # pydicom and GDCM raise errors of many types for damaged pixels.
    except Exception as error:
        reason = textwrap.shorten(str(error), 160, placeholder=" ...") or type(error).__name__
        raise UserError(f"{path}: its pixels are damaged, cut off or cannot be decoded ({reason})") from error


def _decode_with_gdcm(dataset: FileDataset) -> np.ndarray:
    """Decode compressed pixels with SimpleITK, which includes GDCM; pydicom's plugins are then not needed.

    GDCM rescales values on reading by its own rules (not at all for MR, by the first frame for enhanced
    objects). A copy of the dataset with the pixels alone makes it return the stored values.
    """
    from pydicom import Dataset
    from pydicom.uid import CTImageStorage, MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid

    copy = Dataset()
    for keyword in _PIXEL_ATTRIBUTES:
        if keyword in dataset:
            copy[keyword] = dataset[keyword]
    many = int(dataset.get("NumberOfFrames") or 1) > 1
    copy.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage if many else CTImageStorage
    copy.SOPInstanceUID = generate_uid()
    copy.RescaleSlope, copy.RescaleIntercept = 1, 0
    copy.file_meta = dataset.file_meta
    copy.file_meta.MediaStorageSOPClassUID = copy.SOPClassUID
    copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    with temporary_folder() as folder:
        name = str(folder / "pixels.dcm")
        copy.save_as(name, enforce_file_format=True)
        return sitk.GetArrayFromImage(sitk.ReadImage(name, imageIO="GDCMImageIO"))


def rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """CT numbers of one slice in the smallest type that can represent them: int16, int32 or float32."""
    if slope.is_integer() and intercept.is_integer():
        values = stored.astype(np.int64) * int(slope) + int(intercept)
        for kind in (np.int16, np.int32):
            limits = np.iinfo(kind)
            if limits.min <= values.min() and values.max() <= limits.max:
                return values.astype(kind)
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def stacked(slices: list[np.ndarray]) -> np.ndarray:
    """Slices as one array in the smallest type that can represent all of them.

    The list is emptied on the way, so that slices and array are not both in memory.
    """
    kinds = {piece.dtype for piece in slices}
    kind = next(k for k in (np.float32, np.int32, np.int16) if np.dtype(k) in kinds)
    volume = np.empty((len(slices), *slices[0].shape), kind)
    for index in reversed(range(len(slices))):
        volume[index] = slices.pop()
    return volume
