"""Lossless storage of CT numbers in the 16 bits of a DICOM slice, with the source's rescaling if possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UserError

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Storage:
    """Rescaling and type of stored values.

    Attributes
    ----------
    slope, intercept : float
        HU = slope * stored value + intercept.
    dtype : numpy.dtype
        int16 or uint16.
    padding : (float, float or None), optional
        Padding value and limit of the padding range, HU.
    """

    slope: float
    intercept: float
    dtype: np.dtype
    padding: tuple[float, float | None] | None

    def put(self, dataset: Dataset, hu: np.ndarray) -> None:
        """Set the pixel attributes of a slice; `hu` has shape (rows, columns)."""
        from pydicom.valuerep import format_number_as_ds

        signed = self.dtype.kind == "i"
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = hu.shape
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelRepresentation = int(signed)
        dataset.RescaleSlope = format_number_as_ds(self.slope)
        dataset.RescaleIntercept = format_number_as_ds(self.intercept)
        if self.padding is not None:
            keywords = ("PixelPaddingValue", "PixelPaddingRangeLimit")
            for keyword, value in zip(keywords, self.padding, strict=True):
                if value is not None:
                    dataset.add_new(keyword, "SS" if signed else "US", int(self._stored(value)))
        little = self._stored(hu).astype(self.dtype.newbyteorder("<"))
        dataset.add_new("PixelData", "OW", little.tobytes())

    def _stored(self, hu) -> np.ndarray:
        return np.rint((np.asarray(hu, np.float64) - self.intercept) / self.slope)

    def fits(self, values) -> bool:
        """Whether these HU, and the padding values, are within the range of the type."""
        limits = np.iinfo(self.dtype)
        padding = [] if self.padding is None else [value for value in self.padding if value is not None]
        stored = self._stored([*values, *padding])
        return bool(limits.min <= stored.min() and stored.max() <= limits.max)


def storage_for(voxels: np.ndarray, headers: Sequence[Dataset]) -> Storage:
    """The storage for all `voxels` in HU, given the headers of the source's slices.

    It is that of the source, unless the values exceed its range or need finer steps.

    Raises
    ------
    UserError
        If the values do not fit any 16-bit type.
    """
    scales = {(_number(h, "RescaleSlope", 1.0), _number(h, "RescaleIntercept", 0.0)) for h in headers}
    own = scales.pop() if len(scales) == 1 else (1.0, 0.0)
    if own[0] > 1:  # such steps are too coarse for values between the source's
        own = (1.0, own[1])
    unsigned_source = headers[0].get("PixelRepresentation", 0) == 0
    kinds = (np.uint16, np.int16) if unsigned_source else (np.int16, np.uint16)
    padding = padding_of(headers[0])
    extremes = (voxels.min(), voxels.max())
    # A padding value that does not fit cannot occur in any voxel, so it can be dropped.
    for padding_or_none in (padding, None):
        for slope, intercept in (own, (1.0, 0.0)):
            if (slope, intercept) == (1.0, 0.0) and voxels.dtype.kind == "f" and own != (1.0, 0.0):
                continue  # whole HU would be coarser than the source's steps
            for kind in kinds:
                storage = Storage(slope, intercept, np.dtype(kind), padding_or_none)
                if storage.fits(extremes):
                    return storage
    raise UserError(
        f"values from {extremes[0]:g} to {extremes[1]:g} do not fit 16 bits: write a file instead of DICOM"
    )


def padding_of(header: Dataset) -> tuple[float, float | None] | None:
    """The source's padding value and padding range limit in HU; None if it has none."""
    if header.get("PixelPaddingValue") is None:
        return None
    slope, intercept = _number(header, "RescaleSlope", 1.0), _number(header, "RescaleIntercept", 0.0)

    def hu(keyword: str) -> float | None:
        value = header.get(keyword)
        if value is None:
            return None
        # Some writers store this value with a different signedness than the pixels.
        stored = int(value if not isinstance(value, bytes) else int.from_bytes(value, "little"))
        kind = np.int16 if header.get("PixelRepresentation", 0) else np.uint16
        return float(np.array(stored & 0xFFFF, np.uint16).astype(kind)) * slope + intercept

    return hu("PixelPaddingValue"), hu("PixelPaddingRangeLimit")


def _number(header: Dataset, keyword: str, default: float) -> float:
    """An attribute of an object, or of the functional groups of its first frame, as a number."""
    value = next((level[keyword].value for level in _levels(header) if keyword in level), None)
    return default if value in (None, "") else float(value)


def _levels(header: Dataset) -> Iterator[Dataset]:
    """Yield an object and, if it is enhanced, the functional groups of its first frame."""
    yield header
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in (header.get(keyword) or ())[:1]:
            yield from (element.value[0] for element in groups if element.VR == "SQ" and element.value)
