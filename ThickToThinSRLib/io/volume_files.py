"""Volumes in files: NIfTI, NRRD and MetaImage."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import UserError
from ..volume import Volume
from . import metaimage_header, nrrd_header
from .integrity import check_finite, check_whole, naming_damage
from .nifti import image_of, read_nifti
from .nrrd_plain import readable_by_itk
from .replacing import replacing
from .straightening import shortest, straight_volume

# ITK's readers by suffix; left to choose, it does not know suffixes in capitals.
_READERS = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
}
_NIFTI = (".nii.gz", ".nii", ".hdr.gz", ".hdr")
# Of files that a header names, and that are no volume without it.
_VOXELS_ALONE = (".img", ".img.gz", ".raw", ".raw.gz", ".zraw")
# What is written in place of what is only read: results are one file.
_WRITTEN = {
    **{suffix: suffix for suffix in (".nii.gz", ".nii", ".nrrd", ".mha")},
    ".hdr": ".nii", ".hdr.gz": ".nii.gz", ".nhdr": ".nrrd", ".mhd": ".mha",
}  # fmt: skip
WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")
SUFFIXES = (*WRITABLE, ".mhd", ".nhdr", ".hdr", ".hdr.gz")
# Level 3 made a chest of 316 slices 1 % smaller in a tenth more time, level 1 a third larger.
_COMPRESSION = 2


def volume_suffix(path: str | os.PathLike) -> str:
    """The suffix that decides a file's format; UserError if it is none of :data:`SUFFIXES`."""
    name = Path(path).name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return suffix
    if name.endswith(_VOXELS_ALONE):
        raise UserError(f"{path}: holds voxels without their size and place: give the header beside it")
    raise UserError(f"{path}: the name of a volume file must end in one of {', '.join(SUFFIXES)}")


def written_suffix(path: str | os.PathLike) -> str:
    """The suffix of a file to write; UserError if it is none of :data:`WRITABLE`."""
    with contextlib.suppress(UserError):
        if volume_suffix(path) in WRITABLE:
            return volume_suffix(path)
    raise UserError(f"{path}: the name of a volume file to write must end in one of {', '.join(WRITABLE)}")


def written_name(name: str) -> str:
    """What the result of an input called `name` is called: the same, as one file."""
    suffix = volume_suffix(name)
    return name if suffix in WRITABLE else name[: -len(suffix)] + _WRITTEN[suffix]


def data_files(path: str | os.PathLike) -> list[Path]:
    """The files with voxels that a volume file names, whether they are there or not; none if it is whole."""
    path = Path(path)
    suffix = volume_suffix(path)
    try:
        if suffix.startswith(".hdr"):
            return [image_of(path)]
        if suffix in _NIFTI:
            return []
        with path.open("rb") as stream:
            header = metaimage_header if suffix in (".mha", ".mhd") else nrrd_header
            return header.parse(stream).data_files(path)
    except (OSError, UserError):
        return []


def read_volume(path: str | os.PathLike, nifti: str | None = None) -> Volume:
    """Read a volume from a NIfTI, NRRD or MetaImage file.

    Parameters
    ----------
    nifti : {"sform", "qform"}, optional
        The position to believe where the two that a NIfTI file holds contradict each other.

    Returns
    -------
    Volume
        Voxels in the file's type (with NIfTI's scaling applied); geometry in LPS millimetres; what the user
        should know of it in ``source``, under ``notes`` and ``warnings``.

    Raises
    ------
    UserError
        If the file, or one with its voxels, is missing, damaged or incomplete, if it is not three-dimensional
        or not scalar, holds NaN, or contradicts itself.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: {'is not a volume file' if path.exists() else 'no such file'}")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: no permission to read this file")
    suffix = volume_suffix(path)
    if suffix in _NIFTI:
        return read_nifti(path, suffix, nifti)
    check_whole(path, suffix)
    nrrd = suffix in (".nrrd", ".nhdr")
    with naming_damage(path, suffix), path.open("rb") as stream:
        header = (nrrd_header if nrrd else metaimage_header).parse(stream)
    if not nrrd:
        header.check_directions(str(path))
    unit = header.millimetres(str(path))
    with readable_by_itk(path, header) if nrrd else contextlib.nullcontext(path) as name, _silenced():
        image = _read(name, suffix, path)
    volume = from_image(image, str(path), unit)
    if header.lacks_spacing:
        volume.source["warnings"] = [
            f"the {suffix} header does not state how far apart the voxels are along each axis: where it does "
            "not, 1 mm is taken"
        ]
    return volume


def _read(name: Path, suffix: str, path: Path) -> sitk.Image:
    """What ITK reads from the file `name`; errors name `path`."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_READERS[suffix])
    reader.SetFileName(str(name))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UserError(f"{path}: not a {suffix} volume that can be read ({_reason(error)})") from error
    _check_kind(reader, path)
    try:
        return _three_dimensional(reader.Execute())
    except RuntimeError as error:
        raise UserError(f"{path}: damaged or incomplete {suffix} volume ({_reason(error)})") from error


def from_image(image: sitk.Image, name: str, unit: float = 1.0) -> Volume:
    """The Volume that a scalar three-dimensional SimpleITK image holds.

    Parameters
    ----------
    name : str
        For errors.
    unit : float
        Millimetres in the unit of the image's lengths.
    """
    voxels = sitk.GetArrayFromImage(image)
    check_finite(voxels, name)
    geometry = (
        tuple(unit * shortest(value) for value in image.GetSpacing()),
        tuple(unit * value for value in image.GetOrigin()),
        np.array(image.GetDirection()).reshape(3, 3),
    )
    return straight_volume(voxels, geometry, name)


def write_volume(volume: Volume, path: str | os.PathLike, compress: bool = True) -> None:
    """Write a volume; the suffix of `path` decides the format.

    The file appears whole or not at all: it is written beside `path` under a temporary name, checked and
    renamed. An existing file is replaced.

    Raises
    ------
    UserError
        If the suffix is unknown, a voxel is no number or of a type that no format has, the folder is missing
        or read-only, or the disk full.
    """
    path = Path(path)
    suffix = written_suffix(path)
    check_finite(volume.voxels, str(path))
    image = sitk.GetImageFromArray(_storable(volume.voxels, path))
    image.SetSpacing(volume.spacing)
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction.ravel().tolist())
    with replacing(path, suffix) as temporary, _silenced():
        try:
            sitk.WriteImage(image, str(temporary), useCompression=compress, compressionLevel=_COMPRESSION)
        except RuntimeError as error:
            raise UserError(f"{path}: could not be written ({_reason(error)}); is the disk full?") from error
        try:
            check_whole(temporary, suffix)
        except UserError as error:
            raise UserError(f"{path}: could not be written whole; is the disk full?") from error


def _storable(voxels: np.ndarray, path: Path) -> np.ndarray:
    """The voxels in the machine's byte order; half precision, which no format has, in single."""
    dtype = voxels.dtype.newbyteorder("=")
    if dtype == np.float16:
        dtype = np.dtype(np.float32)
    if dtype.itemsize > 8:
        raise UserError(f"{path}: voxels of type {dtype} cannot be written: convert them to float64")
    return np.ascontiguousarray(voxels, dtype)


def _check_kind(reader: sitk.ImageFileReader, path: Path) -> None:
    dimension = reader.GetDimension()
    if dimension < 3 or any(extent != 1 for extent in reader.GetSize()[3:]):
        raise UserError(f"{path}: holds a {dimension}-dimensional image; a single 3-D volume is needed")
    components = reader.GetNumberOfComponents()
    pixel = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if components != 1 or "complex" in pixel:
        raise UserError(f"{path}: holds {components} values a voxel ({pixel}); one CT number is needed")


def _three_dimensional(image: sitk.Image) -> sitk.Image:
    """The image without axes of one voxel behind the third, and without vectors of one number."""
    if "vector" in image.GetPixelIDTypeAsString():
        image = sitk.VectorIndexSelectionCast(image, 0)
    while image.GetDimension() > 3:
        size = [*image.GetSize()[:-1], 0]
        image = sitk.Extract(
            image, size, [0] * len(size), sitk.ExtractImageFilter.DIRECTIONCOLLAPSETOSUBMATRIX
        )
    return image


def _reason(error: Exception) -> str:
    """The telling line of an ITK error, which spans many."""
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
