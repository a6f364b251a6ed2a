"""Finds the inputs of a batch in a folder (volume files and DICOM series) and names their results."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..io.volume_files import data_files, volume_suffix, written_name
from ..io.walking import walk
from ..monitor import Monitor

if TYPE_CHECKING:
    from ..io.dicom.folder import Inventory
    from ..io.dicom.sifting import Series


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


def find_inputs(source: Path, target: Path, monitor: Monitor | None = None) -> list[BatchInput]:
    """Find the inputs in a folder and its subfolders, sorted by name.

    The result of a volume file has the same relative path under `target`; if the voxels of the input are in a
    file of their own (``.mhd``), the result is a single file (``.mha``). The result of a DICOM series is a
    folder with the name of the folder that holds the series; if that folder also holds another input, a
    subfolder named by the series UID. A folder with a damaged DICOM file is listed as an input too: enhancing
    it reports the error. Left out are files that are not slices of a scan and, beside a CT scan of the same
    study, series that are no stacks of slices or none of CT.

    Parameters
    ----------
    source : Path
        Folder of the inputs.
    target : Path
        Folder for the results.
    monitor : Monitor, optional
        Receives notes on what was left out; may stop the search.

    Raises
    ------
    UserError
        If `source` is not a folder or contains no inputs, or if `target` is a file or the folder `source`.
    """
    source, target, monitor = Path(source), Path(target), monitor or Monitor()
    if not source.is_dir():
        raise UserError(f"{source}: {'not a folder' if source.exists() else 'no such folder'}")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is a file; give the name of a folder for the results")
    if target.resolve() == source.resolve():
        raise UserError(f"{target}: is the folder of the inputs; choose another one for the results")
    volumes, other_files = _files(source, target)
    inputs = _volume_inputs(volumes, source, target)
    voxel_files = {path.resolve() for entry in inputs for path in entry.files[1:]}
    other_files = [path for path in other_files if path.resolve() not in voxel_files]
    more, notes = _series_inputs(other_files, {path.parent for path in volumes}, (source, target), monitor)
    inputs += more
    if not inputs:
        raise UserError("; ".join([f"{source}: contains neither volume files nor DICOM series", *notes]))
    for note in notes:
        monitor.note(note)
    return sorted(inputs, key=lambda entry: entry.name)


def _files(source: Path, target: Path) -> tuple[list[Path], list[Path]]:
    """Volume files and all other files under `source`, without those under `target` and hidden ones."""
    volumes, other_files = [], []
    results = target.resolve()
    for path in walk(source, lambda path: path.name.startswith(".") or path.resolve() == results):
        try:
            volume_suffix(path)
            volumes.append(path)
        except UserError:
            other_files.append(path)
    return volumes, other_files


def _volume_inputs(paths: list[Path], source: Path, target: Path) -> list[BatchInput]:
    inputs = []
    taken = {path for path in paths if written_name(path.name) == path.name}
    for path in paths:
        relative = path.relative_to(source)
        name = written_name(path.name)
        if name != path.name and path.with_name(name) in taken:
            # scan.mhd beside scan.mha: the result of neither may replace the other's.
            name = path.name + Path(name).suffix
        taken.add(path.with_name(name))
        result, files = target / relative.with_name(name), (path, *data_files(path))
        inputs.append(BatchInput(relative.as_posix(), path, result, files=files))
    return inputs


def _series_inputs(
    paths: list[Path], volume_folders: set[Path], roots: tuple[Path, Path], monitor: Monitor
) -> tuple[list[BatchInput], list[str]]:
    """The DICOM series among `paths`, and notes on what was left out."""
    from ..io.dicom.folder import inventory
    from ..io.dicom.notes import notes_of

    found = inventory(paths, monitor.check)
    series = _cases(found)
    folders = {uid: {image.path.parent for image in one.images} for uid, one in series.items()}
    inputs = []
    for uid, one in series.items():
        occupied = volume_folders.union(*(used for other, used in folders.items() if other != uid))
        inputs.append(_series_input(uid, [image.path for image in one.images], occupied, roots))
    covered = set().union(*folders.values())
    damaged: dict[Path, list[Path]] = defaultdict(list)
    for path, _ in found.damaged:
        damaged[path.parent].append(path)
    for folder, files in damaged.items():
        if folder not in covered:
            name, result = _name_and_target(folder, *roots)
            inputs.append(BatchInput(name, folder, result, files=tuple(files)))
    chosen = list(series.values())
    return inputs, notes_of(chosen, found.left_out(chosen), roots[0])


def _cases(found: Inventory) -> dict[str, Series]:
    """The series to enhance: those of each study between which a user could choose."""
    from ..io.dicom.folder import choices

    studies: dict[str, dict[str, Series]] = defaultdict(dict)
    for uid, one in found.series.items():
        if one.images:
            studies[one.study][uid] = one
    chosen = set().union(*(choices(study) for study in studies.values()))
    return {uid: one for uid, one in found.series.items() if uid in chosen}


def _series_input(uid: str, files: list[Path], occupied: set[Path], roots: tuple[Path, Path]) -> BatchInput:
    """The input for one series; `occupied` are the folders that hold other inputs."""
    folder = Path(os.path.commonpath([path.parent for path in files]))
    name, result = _name_and_target(folder, *roots)
    # A result folder is replaced as a whole, so the results of other inputs must not lie in it.
    if any(other.is_relative_to(folder) for other in occupied):
        name, result = f"{name}/{uid}", result / uid
    return BatchInput(name, folder, result, uid, tuple(files))


def _name_and_target(folder: Path, source: Path, target: Path) -> tuple[str, Path]:
    relative = folder.relative_to(source)
    if relative == Path():  # the series lies directly in `source`
        relative = Path(folder.resolve().name or "series")
    return relative.as_posix(), target / relative
