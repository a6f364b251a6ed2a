"""What a folder holds to be enhanced: volume files and DICOM series, each with the name of its result."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..io.volume_files import data_files, volume_suffix, written_name


@dataclass(frozen=True)
class BatchInput:
    """One input: what the user calls it, file or folder, series within the folder, result, its files."""

    name: str
    source: Path
    target: Path
    series: str | None = None
    files: tuple[Path, ...] = ()


def find_inputs(source: Path, target: Path) -> list[BatchInput]:
    """The inputs of a folder and its subfolders, in the order of their names.

    Volume files keep name and place; the result of one whose voxels lie apart (``.mhd``) is whole (``.mha``).
    A DICOM series becomes a folder called as the one that its files lie
    in; where another case lies in or beneath that folder, it gets a folder of its UID within. A folder with a
    damaged DICOM file is a case too: enhancing it says what is wrong.

    Raises
    ------
    UserError
        If `source` is no folder or holds nothing to enhance, or if `target` is `source`.
    """
    source, target = Path(source), Path(target)
    if not source.is_dir():
        raise UserError(f"{source}: {'not a folder' if source.exists() else 'no such folder'}")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is a file; give the name of a folder for the results")
    if target.resolve() == source.resolve():
        raise UserError(f"{target}: is the folder of the inputs; choose another one for the results")
    volumes, others = _files(source, target)
    inputs = _volume_inputs(volumes, source, target)
    voxels = {path.resolve() for entry in inputs for path in entry.files[1:]}
    others = [path for path in others if path.resolve() not in voxels]
    inputs += _series_inputs(others, {path.parent for path in volumes}, source, target)
    if not inputs:
        raise UserError(f"{source}: holds neither volume files nor DICOM series")
    return sorted(inputs, key=lambda entry: entry.name)


def _files(source: Path, target: Path) -> tuple[list[Path], list[Path]]:
    """Volume files, and all others, under `source` but not under `target`; hidden ones are left out."""
    volumes, others = [], []
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
                others.append(path)
    return volumes, others


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


def _series_inputs(paths: list[Path], elsewhere: set[Path], source: Path, target: Path) -> list[BatchInput]:
    from ..io.dicom.series import has_place, image_header

    series: dict[str, list[Path]] = defaultdict(list)
    damaged: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        try:
            header = image_header(path)
        except UserError:
            damaged[path.parent].append(path)
            continue
        # Screenshots and dose reports have no place in the patient.
        if header is not None and has_place(header):
            series[str(header.SeriesInstanceUID)].append(path)
    places = {uid: {path.parent for path in files} for uid, files in series.items()}
    inputs = []
    for uid, files in series.items():
        others = elsewhere.union(*(theirs for other, theirs in places.items() if other != uid))
        inputs.append(_series_input(uid, files, others, source, target))
    covered = set().union(*places.values())
    for folder, files in damaged.items():
        if folder not in covered:
            name, place = _names(folder, source, target)
            inputs.append(BatchInput(name, folder, place, files=tuple(files)))
    return inputs


def _series_input(uid: str, files: list[Path], others: set[Path], source: Path, target: Path) -> BatchInput:
    folder = Path(os.path.commonpath([path.parent for path in files]))
    name, place = _names(folder, source, target)
    # A result's folder is replaced as a whole: none of another case may be, or lie in, the same one.
    if any(other.is_relative_to(folder) for other in others):
        name, place = f"{name}/{uid}", place / uid
    return BatchInput(name, folder, place, uid, tuple(files))


def _names(folder: Path, source: Path, target: Path) -> tuple[str, Path]:
    relative = folder.relative_to(source)
    if relative == Path():  # the series lies in the given folder itself
        relative = Path(folder.resolve().name or "series")
    return relative.as_posix(), target / relative
