"""NIfTI volumes in, of version 1 or 2: ``.nii``, ``.hdr`` with ``.img``, and each compressed.

Read here and not by ITK, which chooses between contradicting positions by rules of its own, applies an
intercept that the standard says not to, and takes what a file lacks for zeros.
"""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..volume import Volume
from .integrity import check_finite, naming_damage
from .nifti_geometry import placement
from .nifti_header import NiftiHeader, opened, read_header
from .straightening import straight_volume

_CHUNK = 1 << 24
# A byte of a compressed file holds no more than this many.
_MOST_DEFLATED = 1032


def read_nifti(path: Path, suffix: str, form: str | None = None) -> Volume:
    """Read the NIfTI volume at `path`.

    Parameters
    ----------
    form : {"sform", "qform"}, optional
        The position to believe where the two in the header contradict each other.

    Returns
    -------
    Volume
        Its type is the stored one or, where the header scales the values, a real one; ``source`` holds
        ``notes`` and ``warnings``.

    Raises
    ------
    UserError
        If it is damaged, incomplete, illegal, contradicts itself, or is no scalar volume.
    """
    pair = suffix.startswith(".hdr")
    with naming_damage(path, suffix), opened(path) as stream:
        header = read_header(stream, path, pair)
        place = placement(header, path, form)
        if not pair:
            _skip(stream, header.offset - header.size)
            voxels = _voxels(stream, header, path)
    if pair:
        image = image_of(path)
        with naming_damage(image, image.suffix), opened(image) as stream:
            _skip(stream, header.offset)
            voxels = _voxels(stream, header, image)
    check_finite(voxels, str(path))
    if header.scaling is not None:
        voxels = _scaled(voxels, *header.scaling)
        check_finite(voxels, str(path))
    return straight_volume(
        voxels,
        (place.spacing, place.origin, place.direction),
        str(path),
        {"notes": place.notes, "warnings": place.warnings},
    )


def image_of(path: Path) -> Path:
    """The file with the voxels of the header at `path`, in the header's own capitals."""
    stem = re.sub(r"\.hdr(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    endings = (".IMG", ".IMG.GZ") if path.suffix.isupper() else (".img", ".img.gz")
    images = [path.with_name(stem + ending) for ending in endings]
    found = next((image for image in images if image.is_file()), None)
    if found is None:
        raise UserError(f"{path}: the file with its voxels, {images[0].name}, is missing: put it beside it")
    return found


def _skip(stream, count: int) -> None:
    while count > 0 and (chunk := stream.read(min(count, _CHUNK))):
        count -= len(chunk)


def _voxels(stream, header: NiftiHeader, path: Path) -> np.ndarray:
    """Voxels (k, j, i) in the machine's byte order; the stream is read to its end, where its checksum is."""
    size = math.prod(header.shape) * header.dtype.itemsize
    compressed = isinstance(stream, gzip.GzipFile)
    there = path.stat().st_size * (_MOST_DEFLATED if compressed else 1)
    if there < header.length:
        raise _incomplete(path, f"{there}" if not compressed else f"{there} at most", header)
    voxels = np.empty(size, np.uint8)
    rest, found = memoryview(voxels), 0
    while found < size and (count := stream.readinto(rest[found : found + _CHUNK])):
        found += count
    while stream.read(_CHUNK):
        pass
    if found < size:
        raise _incomplete(path, str(header.offset + found), header)
    voxels = voxels.view(header.dtype).reshape(header.shape[::-1])
    if not header.dtype.isnative:
        voxels = voxels.byteswap(inplace=True).view(header.dtype.newbyteorder("="))
    return voxels


def _incomplete(path: Path, there: str, header: NiftiHeader) -> UserError:
    return UserError(
        f"{path}: incomplete NIfTI file, {there} bytes of {header.length}: copy or export it again"
    )


def _scaled(voxels: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """slope v + intercept in single precision, or in double where the stored values need it."""
    single = voxels.dtype.kind == "f" or voxels.dtype.itemsize <= 2
    out = np.empty(voxels.shape, np.float32 if single and voxels.dtype.itemsize <= 4 else np.float64)
    with np.errstate(over="ignore"):
        for plane, stored in zip(out, voxels, strict=True):
            plane[...] = stored.astype(np.float64) * slope + intercept
    return out
