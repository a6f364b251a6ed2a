"""NRRD files that ITK does not read, written again so that it does.

It has no bzip2, and refuses a fourth axis, even of one voxel, that has no direction in space.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import shutil
from pathlib import Path

from ..errors import UserError
from . import nrrd_header
from .integrity import naming_damage
from .temporary import temporary_folder

_OPENERS = {"raw": open, "gzip": gzip.open, "gz": gzip.open, "bzip2": bz2.open, "bz2": bz2.open}


@contextlib.contextmanager
def readable_by_itk(path: Path, header: nrrd_header.NrrdHeader):
    """Yield the name of a file with the same volume: `path` itself, or a temporary one."""
    axes = header.single_axes()
    if not (axes or header.bzipped):
        yield path
        return
    if header.encoding not in _OPENERS or header.skips:
        raise UserError(
            f"{path}: an unusual NRRD file ({header.encoding}): write it again with encoding gzip"
        )
    with temporary_folder() as folder:
        plain = Path(folder) / "voxels.nhdr"
        with plain.with_suffix(".raw").open("wb") as target, naming_damage(path, ".nrrd"):
            for source in _voxels(path, header):
                with source:
                    shutil.copyfileobj(source, target, 1 << 24)
        plain.write_text(header.without(axes).text("voxels.raw", "raw"))
        yield plain


def _voxels(path: Path, header: nrrd_header.NrrdHeader):
    """Streams of unpacked voxels, one after the other."""
    opener = _OPENERS[header.encoding]
    for file in header.data_files(path):
        yield opener(file, "rb")
    if not header.names_files:
        with path.open("rb") as stream:
            nrrd_header.parse(stream)
            yield stream if opener is open else opener(stream, "rb")
