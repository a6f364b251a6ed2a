"""Volumes in files: NIfTI, NRRD and MetaImage through SimpleITK."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import UserError
from ..volume import Volume
from .integrity import check_whole, not_finite
from .replacing import replacing

# ITK's readers by suffix; left to choose, it does not know suffixes in capitals.
_READERS = {".nii.gz": "NiftiImageIO", ".nii": "NiftiImageIO", ".nrrd": "NrrdImageIO", ".mha": "MetaImageIO"}
SUFFIXES = tuple(_READERS)
# The work is done in single precision; voxels near its end would overflow in sums.
_LARGEST = 1e30


def volume_suffix(path: str | os.PathLike) -> str:
    """The suffix that decides a file's format; UserError if it is none of :data:`SUFFIXES`."""
    name = Path(path).name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return suffix
    raise UserError(f"{path}: the name of a volume file must end in one of {', '.join(SUFFIXES)}")


def read_volume(path: str | os.PathLike) -> Volume:
    """Read a volume from a NIfTI, NRRD or MetaImage file.

    Returns
    -------
    Volume
        Voxels in the file's type (with NIfTI's scaling applied); geometry in LPS millimetres.

    Raises
    ------
    UserError
        If the file is missing, damaged, incomplete, not three-dimensional, not scalar, or holds NaN.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: {'is not a volume file' if path.exists() else 'no such file'}")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: no permission to read this file")
    suffix = volume_suffix(path)
    check_whole(path, suffix)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_READERS[suffix])
    with _own_name(path, suffix) as name, _silenced():
        reader.SetFileName(str(name))
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise UserError(f"{path}: not a {suffix} volume that can be read ({_reason(error)})") from error
        _check_kind(reader, path)
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise UserError(f"{path}: damaged or incomplete {suffix} volume ({_reason(error)})") from error
    return from_image(image, str(path))


def from_image(image: sitk.Image, name: str) -> Volume:
    """The Volume that a scalar three-dimensional SimpleITK image holds; `name` is used in errors."""
    voxels = sitk.GetArrayFromImage(image)
    check_finite(voxels, name)
    try:
        return Volume(
            voxels,
            tuple(_shortest(value) for value in image.GetSpacing()),
            image.GetOrigin(),
            np.array(image.GetDirection()).reshape(3, 3),
        )
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def check_finite(voxels: np.ndarray, name: str) -> None:
    """Raise UserError if a voxel is NaN, infinite or beyond single precision, with its index (i, j, k)."""
    if voxels.dtype.kind != "f":
        return
    for k, plane in enumerate(voxels):
        finite = np.abs(plane) < _LARGEST  # false for NaN
        if not finite.all():
            j, i = np.argwhere(~finite)[0]
            raise UserError(not_finite(name, (i, j, k), plane[j, i]))


def write_volume(volume: Volume, path: str | os.PathLike, compress: bool = True) -> None:
    """Write a volume; the suffix of `path` decides the format.

    The file appears whole or not at all: it is written beside `path` under a temporary name, checked and
    renamed. An existing file is replaced.

    Raises
    ------
    UserError
        If the suffix is unknown, a voxel is no number, the folder is missing or read-only, or the disk full.
    """
    path = Path(path)
    suffix = volume_suffix(path)
    check_finite(volume.voxels, str(path))
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.voxels))
    image.SetSpacing(volume.spacing)
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction.ravel().tolist())
    with replacing(path, suffix) as temporary, _silenced():
        try:
            sitk.WriteImage(image, str(temporary), useCompression=compress, compressionLevel=3)
        except RuntimeError as error:
            raise UserError(f"{path}: could not be written ({_reason(error)}); is the disk full?") from error
        try:
            check_whole(temporary, suffix)
        except UserError as error:
            raise UserError(f"{path}: could not be written whole; is the disk full?") from error


@contextlib.contextmanager
def _own_name(path: Path, suffix: str):
    """A name under which ITK reads `path` and nothing else.

    Asked for a.nii.gz, its NIfTI library takes the header from there but the voxels from a.nii, if that lies
    beside it.
    """
    if suffix != ".nii.gz" or not path.with_name(path.name[:-3]).exists():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        alias = Path(folder) / path.name
        try:
            alias.symlink_to(path.resolve())
        except OSError:  # not everybody may make links on Windows
            shutil.copyfile(path, alias)
        yield alias


def _check_kind(reader: sitk.ImageFileReader, path: Path) -> None:
    dimension = reader.GetDimension()
    if dimension != 3:
        raise UserError(f"{path}: holds a {dimension}-dimensional image; a single 3-D volume is needed")
    components = reader.GetNumberOfComponents()
    pixel = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if components != 1 or "complex" in pixel:
        raise UserError(f"{path}: holds {components} values a voxel ({pixel}); one CT number is needed")


def _shortest(value: float) -> float:
    """Undo single precision: NIfTI stores 0.7 as 0.699999988, which would cost the last thin slice."""
    single = np.float32(value)
    return float(str(single)) if float(single) == value else float(value)


def _reason(error: Exception) -> str:
    """The telling line of an ITK error, which spans many."""
    if "orthonormal" in str(error):
        return "its index axes are not perpendicular: resample the volume onto a straight grid first"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # "Reason:" quotes the operating system's last error, which had nothing to do with it.
    telling = [line for line in lines if not line.startswith("Reason:")] or lines or [type(error).__name__]
    # ITK names its classes and their addresses.
    return re.sub(r"^ITK ERROR: |\b\w+\(0x[0-9a-f]+\): ", "", telling[-1])[:160]


@contextlib.contextmanager
def _silenced():
    """ITK's readers print straight to the process's standard streams; errors must stay one line."""
    kept = []
    try:
        with open(os.devnull, "w") as sink:
            for stream in (1, 2):
                with contextlib.suppress(OSError):
                    kept.append((os.dup(stream), stream))
                    os.dup2(sink.fileno(), stream)
        yield
    finally:
        for copy, stream in kept:
            os.dup2(copy, stream)
            os.close(copy)
