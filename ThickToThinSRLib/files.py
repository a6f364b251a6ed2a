"""Volumes in files: NIfTI, NRRD and MetaImage through SimpleITK."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import UserError
from .volume import Volume

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
# Temporary files of this process; whoever ends it in a hurry removes them.
_temporaries: set[Path] = set()


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
        raise UserError(f"{path}: no such file")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: no permission to read this file")
    suffix = volume_suffix(path)
    if suffix.startswith(".nii"):
        _check_complete_nifti(path)
    reader = sitk.ImageFileReader()
    with _own_name(path, suffix) as name, _silenced():
        reader.SetFileName(str(name))
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise UserError(f"{path}: not a readable {suffix} volume ({_reason(error)})") from error
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
    """Raise UserError if a voxel is NaN or infinite, with its index (i, j, k)."""
    if voxels.dtype.kind != "f":
        return
    for k, plane in enumerate(voxels):
        finite = np.isfinite(plane)
        if not finite.all():
            j, i = np.argwhere(~finite)[0]
            raise UserError(
                f"{name}: voxel (i, j, k) = ({i}, {j}, {k}) is {plane[j, i]}; replace NaN and infinite "
                "voxels, for instance by -1024 HU"
            )


def write_volume(volume: Volume, path: str | os.PathLike, compress: bool = True) -> None:
    """Write a volume; the suffix of `path` decides the format.

    The file appears whole or not at all: it is written beside `path` under a temporary name, checked and
    renamed. An existing file is replaced.

    Raises
    ------
    UserError
        If the suffix is unknown, the folder is missing or read-only, or the disk is full.
    """
    path = Path(path)
    suffix = volume_suffix(path)
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.voxels))
    image.SetSpacing(volume.spacing)
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction.ravel().tolist())
    with replacing(path, suffix) as temporary, _silenced():
        try:
            sitk.WriteImage(image, str(temporary), useCompression=compress, compressionLevel=3)
        except RuntimeError as error:
            raise UserError(f"{path}: could not be written ({_reason(error)})") from error
        if suffix.startswith(".nii"):
            try:
                _check_complete_nifti(temporary)
            except UserError as error:
                raise UserError(f"{path}: could not be written whole; is the disk full?") from error


@contextlib.contextmanager
def replacing(path: Path, suffix: str):
    """Yield a temporary path beside `path` that takes its place when the block ends without an error."""
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(suffix=suffix, prefix=".thicktothin-", dir=path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot write into the folder {path.parent} ({error.strerror})") from error
    os.close(handle)
    temporary = Path(name)
    _temporaries.add(temporary)
    try:
        yield temporary
        # mkstemp makes the file private to its owner; a result has the permissions of any new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: could not be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)
        _temporaries.discard(temporary)


def remove_temporaries() -> None:
    """Remove the files that this process was about to write; for a process that is ended in a hurry."""
    for path in list(_temporaries):
        with contextlib.suppress(OSError):
            path.unlink()


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


def _check_complete_nifti(path: Path) -> None:
    """SimpleITK fills what a NIfTI file lacks with zeros and says nothing, so the length is checked here."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as stream:
            header = stream.read(352)
            expected = _nifti_length(header)
            length = len(header)
            while chunk := stream.read(1 << 24):
                length += len(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a complete NIfTI file ({error})") from error
    if expected is None:
        raise UserError(f"{path}: not a NIfTI file, whatever its name says")
    if length < expected:
        raise UserError(f"{path}: incomplete NIfTI file: {length} bytes of {expected}")


def _nifti_length(header: bytes) -> int | None:
    """Bytes that a NIfTI-1 or NIfTI-2 file must have by its header; None if it is no such header."""
    for order in "<>":
        if len(header) < 348:
            return None
        size = struct.unpack(order + "i", header[:4])[0]
        if size == 348:
            dimensions = struct.unpack(order + "8h", header[40:56])
            bits = struct.unpack(order + "h", header[72:74])[0]
            offset = struct.unpack(order + "f", header[108:112])[0]
        elif size == 540:
            dimensions = struct.unpack(order + "8q", header[16:80])
            bits = struct.unpack(order + "h", header[14:16])[0]
            offset = struct.unpack(order + "q", header[168:176])[0]
        else:
            continue
        voxels = 1
        for extent in dimensions[1 : 1 + max(0, min(7, dimensions[0]))]:
            voxels *= max(1, extent)
        return int(offset) + voxels * bits // 8
    return None


def _shortest(value: float) -> float:
    """Undo single precision: NIfTI stores 0.7 as 0.699999988, which would cost the last thin slice."""
    single = np.float32(value)
    return float(str(single)) if float(single) == value else float(value)


def _reason(error: Exception) -> str:
    """The last telling line of an ITK error, which spans many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("ITK ERROR: ")[:160] if lines else type(error).__name__


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
