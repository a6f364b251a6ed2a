"""What a folder holds to be enhanced: volume files and DICOM series, each with the name of its result."""

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
    """One input: what the user calls it, file or folder, series within the folder, result, its files."""

    name: str
    source: Path
    target: Path
    series: str | None = None
    files: tuple[Path, ...] = ()


def find_inputs(source: Path, target: Path, monitor: Monitor | None = None) -> list[BatchInput]:
    """The inputs of a folder and its subfolders, in the order of their names.

    Volume files keep name and place; the result of one whose voxels lie apart (``.mhd``) is whole (``.mha``).
    A DICOM series becomes a folder called as the one that its files lie
    in; where another case lies in or beneath that folder, it gets a folder of its UID within. A folder with a
    damaged DICOM file is a case too: enhancing it says what is wrong. Files that are no slices of a scan, and
    series without extent beside a scan of the same study, are left out.

    Parameters
    ----------
    monitor : Monitor, optional
        Takes notes on what was left out; may stop the search.

    Raises
    ------
    UserError
        If `source` is no folder or holds nothing to enhance, or if `target` is `source`.
    """
    source, target, monitor = Path(source), Path(target), monitor or Monitor()
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
    more, notes = _series_inputs(others, {path.parent for path in volumes}, (source, target), monitor)
    inputs += more
    if not inputs:
        raise UserError("; ".join([f"{source}: holds neither volume files nor DICOM series", *notes]))
    for note in notes:
        monitor.note(note)
    return sorted(inputs, key=lambda entry: entry.name)


def _files(source: Path, target: Path) -> tuple[list[Path], list[Path]]:
    """Volume files, and all others, under `source` but not under `target`; hidden ones are left out."""
    volumes, others = [], []
    results = target.resolve()
    for path in walk(source, lambda path: path.name.startswith(".") or path.resolve() == results):
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


def _series_inputs(
    paths: list[Path], elsewhere: set[Path], roots: tuple[Path, Path], monitor: Monitor
) -> tuple[list[BatchInput], list[str]]:
    """The DICOM series among `paths`, and notes on what is none; volume files lie in `elsewhere`."""
    from ..io.dicom.folder import inventory
    from ..io.dicom.notes import notes_of

    found = inventory(paths, monitor.check)
    series = _cases(found)
    places = {uid: {image.path.parent for image in one.images} for uid, one in series.items()}
    inputs = []
    for uid, one in series.items():
        others = elsewhere.union(*(theirs for other, theirs in places.items() if other != uid))
        inputs.append(_series_input(uid, [image.path for image in one.images], others, roots))
    covered = set().union(*places.values())
    damaged: dict[Path, list[Path]] = defaultdict(list)
    for path, _ in found.damaged:
        damaged[path.parent].append(path)
    for folder, files in damaged.items():
        if folder not in covered:
            name, place = _names(folder, *roots)
            inputs.append(BatchInput(name, folder, place, files=tuple(files)))
    chosen = list(series.values())
    return inputs, notes_of(chosen, found.left_out(chosen), roots[0])


def _cases(found: Inventory) -> dict[str, Series]:
    """The series to enhance: stacks, and others in whose study there is none (they say why they fail)."""
    series = {uid: one for uid, one in found.series.items() if one.images}
    with_stack = {one.study for one in series.values() if one.is_stack}
    return {uid: one for uid, one in series.items() if one.is_stack or one.study not in with_stack}


def _series_input(uid: str, files: list[Path], others: set[Path], roots: tuple[Path, Path]) -> BatchInput:
    folder = Path(os.path.commonpath([path.parent for path in files]))
    name, place = _names(folder, *roots)
    # A result's folder is replaced as a whole: none of another case may be, or lie in, the same one.
    if any(other.is_relative_to(folder) for other in others):
        name, place = f"{name}/{uid}", place / uid
    return BatchInput(name, folder, place, uid, tuple(files))


def _names(folder: Path, source: Path, target: Path) -> tuple[str, Path]:
    relative = folder.relative_to(source)
    if relative == Path():  # the series lies in the given folder itself
        relative = Path(folder.resolve().name or "series")
    return relative.as_posix(), target / relative
