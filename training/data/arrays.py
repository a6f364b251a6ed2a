"""Prepared data: arrays in HU that are mapped into memory, so that training spends no time on unpacking.

For each split a folder holds ``CASE.thick.npy`` and ``CASE.thin.npy`` (slices, rows, columns; int16 if all HU
are whole numbers, else float32). ``index.json`` has splits, geometry and origin of the data.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.replacing import replacing
from ThickToThinSRLib.volume import Volume, cast

from .cases import INDEX, Case, ScanPair
from .checks import check_pair


def prepare_cases(
    cases: Iterable[Case],
    target: Path,
    factor: int = 5,
    origin: str = "",
    workers: int = 1,
    skip_bad: bool = False,
    say: Callable[[str], None] = print,
) -> dict:
    """Check all pairs and write them as arrays with an index; returns the index.

    Parameters
    ----------
    cases : iterable of Case
        Cases in any layout.
    target : Path
        Folder of the arrays. Cases that it holds already are not read again.
    factor : int
        Upsampling factor.
    origin : str
        The data set, for the index.
    workers : int
        Number of processes.
    skip_bad : bool
        Leave faulty cases out. Otherwise all cases are tried, but no index is written.
    say : callable
        Takes a line for each case.

    Raises
    ------
    UserError
        If a pair is damaged or does not fit, or the disk is full.
    """
    target.mkdir(parents=True, exist_ok=True)
    cases = list(cases)
    work = partial(_prepare_or_fault, target=target, factor=factor)
    entries, faults = [], []
    with _mapping(workers) as mapping:
        for number, (entry, fault) in enumerate(mapping(work, cases), start=1):
            if fault:
                faults.append(fault)
                say(f"refused: {fault}")
            else:
                entries.append(entry)
                say(f"{number}/{len(cases)} {entry['split']} {entry['name']} ({entry['scales']})")
    if faults and not skip_bad:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UserError(f"{faults[0]}{more}; repair or remove it, or skip such cases with --skip-bad")
    if not entries:
        raise UserError(f"{target}: no case to prepare")
    return write_index(target, entries, factor, origin)


def write_index(target: Path, entries: list[dict], factor: int, origin: str) -> dict:
    """Write ``index.json``; returns it."""
    index = {"version": 1, "factor": factor, "origin": origin, "cases": entries}
    with replacing(target / INDEX, ".json") as temporary:
        temporary.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return index


def prepare_case(case: Case, target: Path, factor: int) -> dict:
    """Check one pair and write its two arrays; returns its entry in the index."""
    marker = target / case.split / f"{case.name}.json"
    stamp = [_stamp(case.thick), _stamp(case.thin), factor]
    with contextlib.suppress(OSError, ValueError, KeyError):
        before = json.loads(marker.read_text(encoding="utf-8"))
        files = [target / before["entry"][kind]["file"] for kind in _KINDS]
        if before["stamp"] == stamp and all(file.is_file() for file in files):
            return before["entry"]
    entry = write_pair(target, case.name, case.split, case.read(), factor)
    with replacing(marker, ".json") as temporary:
        temporary.write_text(json.dumps({"stamp": stamp, "entry": entry}), encoding="utf-8")
    return entry


def write_pair(target: Path, name: str, split: str, pair: ScanPair, factor: int) -> dict:
    """Check a pair in memory and write its arrays; returns its entry in the index."""
    check_pair(name, pair, factor)
    (target / split).mkdir(parents=True, exist_ok=True)
    entry = {"name": name, "split": split, "scales": _scales(pair)}
    for kind in _KINDS:
        volume: Volume = getattr(pair, kind)
        file = f"{split}/{name}.{kind}.npy"
        voxels = _compact(volume.voxels)
        with replacing(target / file, ".npy") as temporary, open(temporary, "wb") as stream:
            np.save(stream, voxels)
        entry[kind] = {
            "file": file,
            "shape": list(voxels.shape),
            "spacing": list(volume.spacing),
            "origin": list(volume.origin),
            "direction": np.asarray(volume.direction).tolist(),
        }
    return entry


_KINDS = ("thick", "thin")


def _prepare_or_fault(case: Case, target: Path, factor: int) -> tuple[dict | None, str | None]:
    try:
        return prepare_case(case, target, factor), None
    except UserError as error:
        return None, str(error)


def _compact(voxels: np.ndarray) -> np.ndarray:
    """int16 if that loses nothing within any scanner's range, else float32."""
    if voxels.dtype.kind in "iu":
        return cast(voxels, np.int16)
    whole = all(bool(np.all(plane == np.rint(plane))) for plane in voxels)
    return cast(voxels, np.int16) if whole else voxels.astype(np.float32)


def _scales(pair: ScanPair) -> str:
    words = {"hu": "HU", "unit": "[0, 1]"}
    thick, thin = (words[scale] for scale in pair.scales)
    return f"intensity {thin}" if thick == thin else f"intensity thick {thick}, thin {thin}"


def _stamp(path: Path) -> list:
    status = os.stat(path)
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


@contextlib.contextmanager
def _mapping(workers: int):
    """`map`, over several processes if `workers` is 2 or more."""
    if workers < 2:
        yield map
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield pool.map
