"""Finds the inputs of a batch in a folder (volume files and DICOM series) and names their results."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..io.volume_files import volume_suffix


@dataclass(frozen=True)
class BatchInput:
    """One input of a batch.

    Attributes
    ----------
    name : str
        Shown to the user: path relative to the folder of inputs.
    source : Path
        Volume file, or folder with the DICOM series.
    target : Path
        File or folder of the result.
    series : str, optional
        UID of the DICOM series.
    files : tuple of Path
        All files of the input.
    """

    name: str
    source: Path
    target: Path
    series: str | None = None
    files: tuple[Path, ...] = ()


def find_inputs(source: Path, target: Path) -> list[BatchInput]:
    """Find the inputs in a folder and its subfolders, sorted by name.

    The result of a volume file has the same relative path under `target`. The result of a DICOM series is a
    folder with the name of the folder that holds the series; if that folder also holds another input, a
    subfolder named by the series UID. A folder with a damaged DICOM file is listed as an input too: enhancing
    it reports the error.

    Raises
    ------
    UserError
        If `source` is not a folder or contains no inputs, or if `target` is a file or the folder `source`.
    """
    source, target = Path(source), Path(target)
    if not source.is_dir():
        raise UserError(f"{source}: {'not a folder' if source.exists() else 'no such folder'}")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is a file; give the name of a folder for the results")
    if target.resolve() == source.resolve():
        raise UserError(f"{target}: is the folder of the inputs; choose another one for the results")
    volumes, other_files = _files(source, target)
    inputs = [_volume_input(path, source, target) for path in volumes]
    inputs += _series_inputs(other_files, {path.parent for path in volumes}, source, target)
    if not inputs:
        raise UserError(f"{source}: contains neither volume files nor DICOM series")
    return sorted(inputs, key=lambda entry: entry.name)


def _files(source: Path, target: Path) -> tuple[list[Path], list[Path]]:
    """Volume files and all other files under `source`, without those under `target` and hidden ones."""
    volumes, other_files = [], []
    results = target.resolve()
    for place, folders, names in os.walk(source):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and (Path(place) / name).resolve() != results
        )
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(place) / name
            try:
                volume_suffix(path)
                volumes.append(path)
            except UserError:
                other_files.append(path)
    return volumes, other_files


def _volume_input(path: Path, source: Path, target: Path) -> BatchInput:
    relative = path.relative_to(source)
    return BatchInput(relative.as_posix(), path, target / relative, files=(path,))


def _series_inputs(
    paths: list[Path], volume_folders: set[Path], source: Path, target: Path
) -> list[BatchInput]:
    from ..io.dicom.series import has_place, image_header

    series: dict[str, list[Path]] = defaultdict(list)
    damaged: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        try:
            header = image_header(path)
        except UserError:
            damaged[path.parent].append(path)
            continue
        # Screenshots and dose reports have no position in the patient.
        if header is not None and has_place(header):
            series[str(header.SeriesInstanceUID)].append(path)
    folders = {uid: {path.parent for path in files} for uid, files in series.items()}
    inputs = []
    for uid, files in series.items():
        occupied = volume_folders.union(*(used for other, used in folders.items() if other != uid))
        inputs.append(_series_input(uid, files, occupied, source, target))
    covered = set().union(*folders.values())
    for folder, files in damaged.items():
        if folder not in covered:
            name, result = _name_and_target(folder, source, target)
            inputs.append(BatchInput(name, folder, result, files=tuple(files)))
    return inputs


def _series_input(uid: str, files: list[Path], occupied: set[Path], source: Path, target: Path) -> BatchInput:
    """The input for one series; `occupied` are the folders that hold other inputs."""
    folder = Path(os.path.commonpath([path.parent for path in files]))
    name, result = _name_and_target(folder, source, target)
    # A result folder is replaced as a whole, so the results of other inputs must not lie in it.
    if any(other.is_relative_to(folder) for other in occupied):
        name, result = f"{name}/{uid}", result / uid
    return BatchInput(name, folder, result, uid, tuple(files))


def _name_and_target(folder: Path, source: Path, target: Path) -> tuple[str, Path]:
    relative = folder.relative_to(source)
    if relative == Path():  # the series lies directly in `source`
        relative = Path(folder.resolve().name or "series")
    return relative.as_posix(), target / relative
