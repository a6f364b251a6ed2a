"""Whether a volume file is whole: what ITK's readers would pass over in silence is checked here.

They read on when the compressed voxels of a MetaImage or NRRD file are damaged, and do not say which file
with voxels is missing or too short.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from pathlib import Path

import numpy as np

from ..errors import UserError
from . import metaimage_header, nifti_header, nrrd_header

_CHUNK = 1 << 24
# The work is done in single precision; voxels near its end would overflow in sums.
_LARGEST = 1e30


@contextlib.contextmanager
def naming_damage(path: Path, suffix: str):
    """Turn what reading a damaged file raises into a UserError that names it."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: not a {suffix} file, or a damaged or incomplete one ({error}): copy or export it again"
        ) from error


def check_finite(voxels: np.ndarray, name: str) -> None:
    """Raise UserError if a voxel is NaN, infinite or beyond single precision, with its index (i, j, k)."""
    if voxels.dtype.kind != "f":
        return
    for k, plane in enumerate(voxels):
        with np.errstate(all="ignore"):
            finite = np.abs(plane) < _LARGEST  # false for NaN
        if not finite.all():
            j, i = np.argwhere(~finite)[0]
            raise UserError(
                f"{name}: voxel (i, j, k) = ({i}, {j}, {k}) is {plane[j, i]:g}; replace NaN, infinite and "
                "absurd voxels, for instance by -1024 HU"
            )


def check_whole(path: Path, suffix: str) -> None:
    """Raise UserError if the file at `path`, of the format of `suffix`, is cut off or damaged.

    NIfTI: the length. NRRD and MetaImage: the files with voxels that they name, and the checksum of
    compressed voxels (their headers, and the length of plain voxels, are checked by ITK).
    """
    if suffix.startswith(".nii"):
        _check_nifti(path, suffix)
    elif suffix in (".nrrd", ".nhdr"):
        _check_nrrd(path, suffix)
    else:
        _check_metaimage(path, suffix)


def _check_nifti(path: Path, suffix: str) -> None:
    with naming_damage(path, suffix), nifti_header.opened(path) as stream:
        header = nifti_header.read_header(stream, path)
        length = header.size + _drained(stream)
    if length < header.length:
        raise UserError(
            f"{path}: incomplete NIfTI file, {length} bytes of {header.length}: copy or export it again"
        )


def _check_nrrd(path: Path, suffix: str) -> None:
    with naming_damage(path, suffix), path.open("rb") as stream:
        header = nrrd_header.parse(stream)
        if header.gzipped and not header.names_files and not header.skips:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                _drained(unpacked)
    for file in header.data_files(path):
        _check_there(file, path)
        if header.gzipped and not header.skips:
            with naming_damage(file, suffix), gzip.open(file) as unpacked:
                _drained(unpacked)


def _check_metaimage(path: Path, suffix: str) -> None:
    with naming_damage(path, suffix), path.open("rb") as stream:
        header = metaimage_header.parse(stream)
        if header.compressed and header.local:
            _check_deflated(stream)
    files = header.data_files(path)
    for file in files:
        _check_there(file, path)
        if header.compressed:
            with naming_damage(file, suffix), file.open("rb") as stream:
                _check_deflated(stream)
    there, needed = sum(file.stat().st_size for file in files), header.bytes
    if files and not header.compressed and needed is not None and there < needed:
        raise UserError(
            f"{path}: its voxels in {files[0].name} are incomplete, {there} bytes of {needed}: copy or "
            "export them again"
        )


def _check_there(file: Path, path: Path) -> None:
    if not file.is_file():
        raise UserError(f"{path}: the file with its voxels, {file}, is missing: put it there")


def _drained(stream) -> int:
    """Read a stream to its end, where its checksum is; the number of bytes."""
    return sum(map(len, iter(lambda: stream.read(_CHUNK), b"")))


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
