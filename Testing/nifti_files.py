"""NIfTI files of version 1 or 2 with whatever header a test wants, written byte by byte."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

# HU of a place in the patient, mm, LPS: linear, so that right results follow it, and no two places share it.
FIELD = np.array([3.0, 2.0, 5.0])
FIELD_OFFSET = -700.0
# RAS, as NIfTI has it: the geometry of the shared cases.
SPACING = (0.8, 0.9, 5.0)
AFFINE = np.array([[-0.8, 0, 0, 30.0], [0, -0.9, 0, 20.0], [0, 0, 5.0, 100.0]])
HALF_TURN = (0.0, 0.0, 1.0)
SHAPE = (16, 12, 12)


def field(affine=AFFINE, shape=SHAPE, dtype=np.int16) -> np.ndarray:
    """The linear field as a volume placed by `affine` (3 x 4, RAS, mm) has it: voxels (k, j, i)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    lps = (index @ affine[:, :3].T + affine[:, 3]) * (-1, -1, 1)
    return (lps @ FIELD + FIELD_OFFSET).round().astype(dtype).transpose(2, 1, 0)


_FORMS = {
    1: {
        "sizeof": ("i", 0), "dim": ("8h", 40), "datatype": ("h", 70), "bitpix": ("h", 72),
        "pixdim": ("8f", 76), "vox_offset": ("f", 108), "scaling": ("2f", 112), "units": ("B", 123),
        "codes": ("2h", 252), "quaternion": ("3f", 256), "qoffset": ("3f", 268), "sform": ("12f", 280),
        "magic": ("4s", 344),
    },
    2: {
        "sizeof": ("i", 0), "magic": ("8s", 4), "datatype": ("h", 12), "bitpix": ("h", 14), "dim": ("8q", 16),
        "pixdim": ("8d", 104), "vox_offset": ("q", 168), "scaling": ("2d", 176), "codes": ("2i", 344),
        "quaternion": ("3d", 352), "qoffset": ("3d", 376), "sform": ("12d", 400), "units": ("i", 500),
    },
}  # fmt: skip
_SIZES = {1: 348, 2: 540}
_MAGIC = {1: (b"n+1\0", b"ni1\0"), 2: (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")}


def write_nifti(path: Path, voxels=None, order: str = "<", version: int = 1, **fields) -> Path:
    """Write voxels (k, j, i) with a header whose `fields` differ from those of a good file.

    The suffix decides whether it is compressed; ``.hdr`` makes a pair.
    """
    voxels = field() if voxels is None else voxels
    pair, size = ".hdr" in path.suffixes, _SIZES[version]
    values = {
        "sizeof": size,
        "dim": (3, *voxels.shape[::-1], 1, 1, 1, 1),
        "datatype": {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "u2": 512}[voxels.dtype.str[1:]],
        "bitpix": 8 * voxels.dtype.itemsize,
        "pixdim": (1.0, *SPACING, 1, 1, 1, 1),
        "vox_offset": 0 if pair else size + 4,
        "scaling": (1.0, 0.0),
        "units": 2,
        "codes": (1, 1),  # qform, sform
        "quaternion": HALF_TURN,
        "qoffset": tuple(AFFINE[:, 3]),
        "sform": tuple(AFFINE.ravel()),
        "magic": _MAGIC[version][pair],
        **fields,
    }
    header = bytearray(size + 4)
    for name, value in values.items():
        form, at = _FORMS[version][name]
        struct.pack_into(order + form, header, at, *(value if isinstance(value, tuple) else (value,)))
    data = voxels.astype(voxels.dtype.newbyteorder(order)).tobytes()
    packed = (lambda raw: gzip.compress(raw, 1)) if path.suffix == ".gz" else bytes
    if pair:
        image = path.with_name(path.name.replace(".hdr", ".img"))
        image.write_bytes(packed(data))
        path.write_bytes(packed(bytes(header[:size])))
    else:
        path.write_bytes(packed(bytes(header) + data))
    return path
