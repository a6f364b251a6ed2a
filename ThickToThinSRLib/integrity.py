"""Whether a volume file is whole: what ITK's readers would pass over in silence is checked here.

They fill what a NIfTI file lacks with zeros, turn its NaN into zeros, take 1 mm where its spacing is no
number, and read on when the compressed voxels of a MetaImage or NRRD file are damaged.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import UserError

_CHUNK = 1 << 24
# Bytes a voxel by NIfTI's data type code.
_NIFTI_BYTES = {
    2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 1536: 16,
    1792: 16, 2048: 32, 2304: 4,
}  # fmt: skip
_NIFTI_FLOATS = {16: "f4", 64: "f8"}


@dataclass(frozen=True)
class _NiftiHeader:
    order: str
    extents: tuple[int, ...]
    spacing: tuple[float, ...]
    datatype: int
    offset: int

    @property
    def length(self) -> int:
        """Bytes that the file must have."""
        return self.offset + math.prod(self.extents) * _NIFTI_BYTES.get(self.datatype, 0)


def check_whole(path: Path, suffix: str) -> None:
    """Raise UserError if the file at `path`, of the format of `suffix`, is cut off or damaged.

    NIfTI: the length, NaN and infinite voxels, spacing. NRRD and MetaImage: the checksum of compressed voxels
    (their headers, and the length of plain voxels, are checked by ITK).
    """
    opener = gzip.open if suffix == ".nii.gz" else open
    try:
        with opener(path, "rb") as stream:
            if suffix.startswith(".nii"):
                _check_nifti(stream, path)
            elif suffix == ".nrrd":
                _check_nrrd(stream)
            else:
                _check_metaimage(stream)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: not a {suffix} file, or a damaged or incomplete one ({error}): copy or export it again"
        ) from error


def _check_nifti(stream, path: Path) -> None:
    start = stream.read(352)
    header = _nifti_header(start)
    if header is None:
        raise UserError(f"{path}: not a NIfTI file, whatever its name says")
    if not all(math.isfinite(value) and value != 0 for value in header.spacing):
        raise UserError(
            f"{path}: its header gives a voxel spacing of {header.spacing} mm: export the volume again"
        )
    length = len(start)
    rest = start[header.offset :]
    kind = _NIFTI_FLOATS.get(header.datatype)
    voxels = 0
    while chunk := stream.read(_CHUNK):
        skipped = max(0, header.offset - length)
        length += len(chunk)
        if kind is None:
            continue
        block = rest + chunk[skipped:]
        usable = len(block) // np.dtype(kind).itemsize * np.dtype(kind).itemsize
        rest = block[usable:]
        values = np.frombuffer(block[:usable], header.order + kind)[: math.prod(header.extents) - voxels]
        finite = np.isfinite(values)
        if not finite.all():
            first = int(np.argmin(finite))
            index = np.unravel_index(voxels + first, (*header.extents, 1, 1), order="F")
            raise UserError(not_finite(path, index[:3], values[first]))
        voxels += len(values)
    if length < header.length:
        raise UserError(
            f"{path}: incomplete NIfTI file, {length} bytes of {header.length}: copy or export it again"
        )


def not_finite(name: object, index: tuple[int, int, int], value: float) -> str:
    """The message about a voxel that is no CT number."""
    i, j, k = index
    return (
        f"{name}: voxel (i, j, k) = ({i}, {j}, {k}) is {value:g}; replace NaN, infinite and absurd "
        "voxels, for instance by -1024 HU"
    )


def _nifti_header(header: bytes) -> _NiftiHeader | None:
    """What a NIfTI-1 or NIfTI-2 header says; None if it is none."""
    if len(header) < 348:
        return None
    for order in "<>":
        size = struct.unpack_from(order + "i", header)[0]
        if size == 348:
            dimensions = struct.unpack_from(order + "8h", header, 40)
            datatype = struct.unpack_from(order + "h", header, 70)[0]
            spacing = struct.unpack_from(order + "3f", header, 80)
            offset = struct.unpack_from(order + "f", header, 108)[0]
        elif size == 540:
            dimensions = struct.unpack_from(order + "8q", header, 16)
            datatype = struct.unpack_from(order + "h", header, 12)[0]
            spacing = struct.unpack_from(order + "3d", header, 112)
            offset = struct.unpack_from(order + "q", header, 168)[0]
        else:
            continue
        if not math.isfinite(offset):
            return None
        extents = tuple(max(1, extent) for extent in dimensions[1 : 1 + max(0, min(7, dimensions[0]))])
        # Voxels that are said to lie inside the header lie behind it, as ITK has it.
        return _NiftiHeader(order, extents, spacing[: len(extents)], datatype, max(size, int(offset)))
    return None


def _check_nrrd(stream) -> None:
    fields = {}
    for line in _lines(stream):
        if not line.strip():
            break
        key, colon, value = line.partition(b":")
        if colon:
            fields[key.strip().lower()] = value.strip().lower()
    detached = {b"data file", b"datafile"} & fields.keys()
    if fields.get(b"encoding") in (b"gzip", b"gz") and not detached and b"byte skip" not in fields:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            while unpacked.read(_CHUNK):
                pass


def _check_metaimage(stream) -> None:
    compressed = False
    for line in _lines(stream):
        key, _, value = (part.strip().lower() for part in line.partition(b"="))
        if key == b"compresseddata":
            compressed = value == b"true"
        if key == b"elementdatafile":
            if compressed and value == b"local":
                _check_deflated(stream)
            return


def _lines(stream) -> Iterator[bytes]:
    """Lines of a text header; a file without line ends comes in pieces."""
    return iter(lambda: stream.readline(1 << 16), b"")


def _check_deflated(stream) -> None:
    """Unpack a zlib stream to nowhere; EOFError if it is cut off."""
    # 32 + 15: a zlib or a gzip header, as MetaIO accepts both.
    unpacker = zlib.decompressobj(47)
    while not unpacker.eof:
        chunk = stream.read(_CHUNK)
        if not chunk:
            raise EOFError("the compressed voxels end too early")
        while chunk:
            unpacker.decompress(chunk, _CHUNK)
            chunk = unpacker.unconsumed_tail
