"""What a NIfTI header of version 1 or 2 says; what the standard does not know is refused, not interpreted."""

from __future__ import annotations

import gzip
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError

# Bytes of the header; a single file's voxels begin behind it and the four bytes that announce extensions.
_SIZES = {1: 348, 2: 540}
_EXTENSIONS = 4
# Form and place of the fields.
_FIELDS = {
    1: {
        "dim": ("8h", 40), "datatype": ("h", 70), "pixdim": ("4f", 76), "vox_offset": ("f", 108),
        "scaling": ("2f", 112), "units": ("B", 123), "codes": ("2h", 252), "quaternion": ("3f", 256),
        "qoffset": ("3f", 268), "sform": ("12f", 280), "magic": ("4s", 344),
    },
    2: {
        "dim": ("8q", 16), "datatype": ("h", 12), "pixdim": ("4d", 104), "vox_offset": ("q", 168),
        "scaling": ("2d", 176), "units": ("i", 500), "codes": ("2i", 344), "quaternion": ("3d", 352),
        "qoffset": ("3d", 376), "sform": ("12d", 400), "magic": ("8s", 4),
    },
}  # fmt: skip
# Of a single file, and of the header of two.
_MAGIC = {
    1: (b"n+1\0", b"ni1\0"),
    2: (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n"),
}
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_SEVERAL_VALUES = {32: (2, "complex"), 1792: (2, "complex"), 2048: (2, "complex"), 128: (3, "RGB"),
                   2304: (4, "RGBA")}  # fmt: skip
# Millimetres in the unit of length; 0 is "unknown", which everybody takes for millimetres.
_UNITS = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
_LARGEST_FORM_CODE = 5
_LENGTHS = ("pixdim", "quaternion", "qoffset", "sform")
# What version 1 can hold. Squares of larger numbers, which version 2 can, would overflow.
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class NiftiHeader:
    """A legal header of one volume of one number a voxel.

    Attributes
    ----------
    size : int
        Bytes of the header itself.
    shape : tuple of 3 ints
        Voxels along i, j, k.
    dtype : dtype
        Of the stored voxels, in the file's byte order.
    offset : int
        Byte at which they begin.
    scaling : (slope, intercept), optional
        None where the stored values are the voxels.
    unit : float
        Millimetres in the unit of all lengths of this header.
    pixdim : tuple of 4 floats
        Handedness of the qform, voxel size along i, j, k; as stored.
    qform_code, sform_code : int
        0 where the form is not set.
    quaternion, qoffset : tuples of 3 floats
        The qform's (b, c, d) and position; as stored.
    sform : ndarray, shape (3, 4)
        As stored.
    """

    size: int
    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int
    scaling: tuple[float, float] | None
    unit: float
    pixdim: tuple[float, ...]
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    qoffset: tuple[float, ...]
    sform: np.ndarray

    @property
    def length(self) -> int:
        """Bytes that the file with the voxels must have."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def opened(path: Path):
    """The bytes of the file at `path`, unpacked if it is compressed by gzip, whatever its name says."""
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")


def read_header(stream, path: Path, pair: bool = False) -> NiftiHeader:
    """Read the header of the file at `path`; the stream stands behind it afterwards.

    Parameters
    ----------
    stream : binary file
        See :func:`opened`.
    pair : bool
        Whether the voxels are in a file of their own (``.hdr`` and ``.img``).

    Raises
    ------
    UserError
        If it is none, if a value is illegal, or if it is not that of a scalar volume.
    """
    raw = stream.read(_SIZES[1])
    version, order = _version(raw, path)
    raw += stream.read(_SIZES[version] - len(raw))
    if len(raw) < _SIZES[version]:
        raise UserError(f"{path}: incomplete NIfTI file, its header is cut off: copy or export it again")
    fields = _FIELDS[version]
    field = {name: struct.unpack_from(order + form, raw, at) for name, (form, at) in fields.items()}
    field.update({name: tuple(map(_bounded, field[name])) for name in _LENGTHS})
    _check_magic(field["magic"][0], _MAGIC[version], path, pair)
    qform_code, sform_code = field["codes"]
    for name, code in (("qform_code", qform_code), ("sform_code", sform_code)):
        if not 0 <= code <= _LARGEST_FORM_CODE:
            raise _illegal(path, name, code)
    if field["units"][0] & 7 not in _UNITS:
        raise _illegal(path, "unit of length (xyzt_units)", field["units"][0])
    return NiftiHeader(
        len(raw),
        _shape(field["dim"], path),
        np.dtype(order + _type(field["datatype"][0], path)),
        _offset(field["vox_offset"][0], 0 if pair else len(raw) + _EXTENSIONS, path),
        _scaling(*field["scaling"], path),
        _UNITS[field["units"][0] & 7],
        field["pixdim"],
        qform_code,
        sform_code,
        field["quaternion"],
        field["qoffset"],
        np.reshape(field["sform"], (3, 4)),
    )


def _illegal(path: Path, name: str, value: object) -> UserError:
    return UserError(
        f"{path}: damaged NIfTI header, its {name} is {value}: export the volume again from its source"
    )


def _bounded(value: float) -> float:
    """A number that no geometry has is infinite, which is refused."""
    return value if abs(value) <= _LARGEST or math.isnan(value) else math.copysign(math.inf, value)


def _version(raw: bytes, path: Path) -> tuple[int, str]:
    """The version of NIfTI, and the byte order."""
    for version, size in _SIZES.items():
        for order in "<>":
            if len(raw) == _SIZES[1] and raw[:4] == struct.pack(order + "i", size):
                return version, order
    raise UserError(f"{path}: not a NIfTI file, whatever its name says")


def _check_magic(magic: bytes, known: tuple[bytes, bytes], path: Path, pair: bool) -> None:
    if magic not in known:
        raise UserError(
            f"{path}: not a NIfTI file (an Analyze file, perhaps, which does not tell left from right): "
            "export the volume again as NIfTI"
        )
    if (magic == known[1]) != pair:
        is_, must = ("single file", ".nii") if pair else ("header of two files", ".hdr, the other's .img")
        raise UserError(f"{path}: is the {is_} of NIfTI: its name must end in {must}")


def _shape(dim: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    count, extents = dim[0], dim[1 : 1 + max(0, dim[0])]
    if not 1 <= count <= 7 or min(extents) < 1:
        raise _illegal(path, "size (dim)", list(dim[: 1 + max(1, min(7, count))]))
    if math.prod(extents[4:]) > 1 and math.prod(extents[3:4]) == 1:
        raise UserError(f"{path}: holds {math.prod(extents[4:])} values a voxel; one CT number is needed")
    while len(extents) > 3 and extents[-1] == 1:
        extents = extents[:-1]
    if len(extents) != 3:
        raise UserError(f"{path}: holds a {len(extents)}-dimensional image; a single 3-D volume is needed")
    return tuple(extents)


def _type(code: int, path: Path) -> str:
    if code in _SEVERAL_VALUES:
        count, kind = _SEVERAL_VALUES[code]
        raise UserError(f"{path}: holds {count} values a voxel ({kind}); one CT number is needed")
    if code not in _TYPES:
        raise _illegal(path, "type of voxels (datatype)", code)
    return _TYPES[code]


def _offset(value: float, least: int, path: Path) -> int:
    if not (math.isfinite(value) and value >= least and value == int(value)):
        fault = f"{value:g}, not a whole number of {least} or more"
        raise _illegal(path, "place of the voxels (vox_offset)", fault)
    return int(value)


def _scaling(slope: float, intercept: float, path: Path) -> tuple[float, float] | None:
    # The standard: a slope of 0 means "not scaled", whatever the intercept. Readers take NaN likewise.
    if slope == 0 or not math.isfinite(slope):
        return None
    if not math.isfinite(intercept):
        raise _illegal(path, "intercept (scl_inter)", f"{intercept:g}")
    return None if (slope, intercept) == (1, 0) else (slope, intercept)
