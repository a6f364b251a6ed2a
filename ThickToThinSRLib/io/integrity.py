"""Whether a volume file is whole: what ITK's readers would pass over in silence is checked here.

They fill what a NIfTI file lacks with zeros, turn its NaN into zeros, put 1 mm and 0 where its spacing
and position are no numbers, and read on when the compressed voxels of a MetaImage or NRRD file are damaged.
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

from ..errors import UserError

_CHUNK = 1 << 24
# Bytes a voxel by NIfTI's data type code.
_NIFTI_BYTES = {
    2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 1536: 16,
    1792: 16, 2048: 32, 2304: 4,
}  # fmt: skip
# Form and place of the fields of the header (NIfTI-1, which is what ITK reads).
_NIFTI_FIELDS = {
    "dimensions": ("8h", 40), "datatype": ("h", 70), "spacing": ("3f", 80), "offset": ("f", 108),
    "quaternion_code": ("h", 252), "matrix_code": ("h", 254), "quaternion": ("6f", 256),
    "matrix": ("12f", 280),
}  # fmt: skip
_NIFTI_LENGTH = 348
_NIFTI_FLOATS = {16: "f4", 64: "f8"}


@dataclass(frozen=True)
class _NiftiHeader:
    order: str
    extents: tuple[int, ...]
    spacing: tuple[float, ...]
    placing: tuple[float, ...]
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
    header = _nifti_header(stream.read(_NIFTI_LENGTH))
    if header is None:
        raise UserError(f"{path}: not a NIfTI-1 file, whatever its name says")
    if not all(math.isfinite(value) and value != 0 for value in header.spacing):
        raise UserError(
            f"{path}: its header gives a voxel spacing of {header.spacing} mm: export the volume again"
        )
    if not all(map(math.isfinite, header.placing)):
        raise UserError(f"{path}: its header gives no position and directions: export the volume again")
    stream.seek(0)
    kind = _NIFTI_FLOATS.get(header.datatype)
    length, voxels, rest = 0, 0, b""
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
    """What a NIfTI-1 header says; None if it is none."""
    for order in "<>":
        if header[:4] != struct.pack(order + "i", _NIFTI_LENGTH) or len(header) < _NIFTI_LENGTH:
            continue
        field = {
            name: struct.unpack_from(order + form, header, at) for name, (form, at) in _NIFTI_FIELDS.items()
        }
        if not math.isfinite(field["offset"][0]):
            return None
        dimension, *extents = field["dimensions"]
        extents = tuple(max(1, extent) for extent in extents[: max(0, min(7, dimension))])
        placing = [*field["quaternion"]] if field["quaternion_code"][0] > 0 else []
        placing += field["matrix"] if field["matrix_code"][0] > 0 else []
        return _NiftiHeader(
            order,
            extents,
            field["spacing"][: len(extents)],
            tuple(placing),
            field["datatype"][0],
            # Voxels that are said to lie inside the header lie behind it, as ITK has it.
            max(_NIFTI_LENGTH, int(field["offset"][0])),
        )
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
