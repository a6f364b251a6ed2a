"""Pack training scans into one small file: ``python -m training.pack DATA OUT --mebibytes 45``.

For machines that can be had for minutes only, and to which little can be copied. Of every scan the file holds
a block around the middle of the body, of equal size for each; with ``--teacher FOLDER`` also the estimates of
it that ``training.bundled.distilled`` wrote. HU are rounded to steps, 4 by default, which is the only loss;
the steps are stored without further loss. ``unpack`` writes what the recipes of bundled weights read.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.replacing import replacing
from ThickToThinSRLib.methods.body import Body

from .bundled.distilled import DistilledScan, open_scans
from .bundled.scans import Scan, read_scan, scan_paths
from .command import run
from .packed_arrays import estimate_slices
from .packed_block import FACTOR, Block, pack_block, part_names, unpack_block

_INDEX = "index.json"
_STORED_HU = (-1024, 3071)
# Slices and pixels that a block has at least, so that crops can be drawn from it.
_LEAST = (48, 96, 96)
_LARGEST_STEP = 4
# Of the slices that networks of a fixed factor learn from.
_PHASE = 2


def pack(
    scans: list[Scan],
    target: Path,
    mebibytes: float,
    step: int = _LARGEST_STEP,
    taught: Sequence[DistilledScan] = (),
) -> list[dict]:
    """Write blocks of scans to one file.

    Parameters
    ----------
    mebibytes : float
        Size that the file does not exceed.
    step : int
        HU are rounded to multiples of it, 1 to 4.
    taught : sequence of DistilledScan
        The same scans with the estimates to pack; or none.

    Returns
    -------
    list of dict
        For each scan its ``name``, ``shape``, ``spacing``, the ``phases`` of its estimates and the HU by
        which voxels were changed, mean and largest: ``changed``, ``teacher_changed``.

    Raises
    ------
    UserError
        If the smallest blocks of all scans are larger than `mebibytes`, there is no scan, or two have one
        name, or if there are estimates, but not of all these scans.
    """
    names = [scan.name for scan in scans]
    if not scans or len(set(names)) < len(names):
        raise UserError(f"{', '.join(names) or 'no scan'}: one scan or more is needed, each of its own name")
    share = mebibytes * 2**20 * 0.98 / len(scans)
    index = []
    with replacing(target, ".zip") as temporary, zipfile.ZipFile(temporary, "w") as file:
        for scan in scans:
            block, parts = _fitting(scan.name, _body(scan, taught), share, step)
            for part, packed in parts.items():
                file.writestr(f"{scan.name}{part}.xz", packed)
            index.append({"name": scan.name, "spacing": list(scan.spacing), **_facts(block, parts, step)})
        file.writestr(_INDEX, json.dumps({"step": step, "scans": index}))
    return index


def unpack(source: Path, folder: Path) -> list[str]:
    """Write the scans of a packed file for :mod:`training.bundled`; returns their names.

    Each is written as ``NAME.npz``, for `universal`, and as ``NAME/``, for the networks of a fixed factor:
    with the teacher's estimates if they were packed, else with its true slices in their place.

    Raises
    ------
    UserError
        If the file is damaged or no packed file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(source) as file:
            index = json.loads(file.read(_INDEX))
            for facts in index["scans"]:
                facts = {"phases": [], "factor": FACTOR, **facts}  # earlier files had scans only
                parts = {part: file.read(f"{facts['name']}{part}.xz") for part in part_names(facts["phases"])}
                _write(facts, unpack_block(parts, facts, index["step"]), folder)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile, lzma.LZMAError) as error:
        raise UserError(f"{source}: damaged, or not written by training.pack ({error})") from error
    return [facts["name"] for facts in index["scans"]]


def _write(facts: dict, block: Block, folder: Path) -> None:
    np.savez(folder / f"{facts['name']}.npz", voxels=block.truth, spacing=np.array(facts["spacing"]))
    own = folder / facts["name"]
    own.mkdir(exist_ok=True)
    np.save(own / "truth.npy", block.truth)
    estimates = block.teacher or {_PHASE: block.truth[_PHASE:]}
    for phase, estimate in estimates.items():
        np.save(own / f"teacher_{phase}.npy", estimate)
    known = {
        "name": facts["name"],
        "factor": block.factor,
        "phases": list(estimates),
        "spacing": facts["spacing"][0],
    }
    (own / "scan.json").write_text(json.dumps(known), encoding="utf-8")


def _facts(block: Block, parts: dict[str, bytes], step: int) -> dict:
    """Shape and phases of a block, and what packing changes."""
    facts = {"shape": list(block.truth.shape), "factor": block.factor, "phases": list(block.teacher)}
    found = unpack_block(parts, facts, step)
    facts["changed"] = _change([(found.truth, block.truth)])
    if block.teacher:
        facts["teacher_changed"] = _change([(found.teacher[phase], e) for phase, e in block.teacher.items()])
    return facts


def _change(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict:
    """Mean and largest difference of arrays of HU."""
    change = np.concatenate([np.abs(one.astype(np.int32) - other).ravel() for one, other in pairs])
    return {"mean": round(float(change.mean()), 3), "largest": int(change.max())}


def _fitting(name: str, whole: Block, share: float, step: int) -> tuple[Block, dict[str, bytes]]:
    """The largest block around the middle of the body whose packed size is at most `share` bytes."""
    shape = whole.truth.shape
    scale = 1.0
    while True:
        sizes = [min(size, max(least, int(size * scale))) for size, least in zip(shape, _LEAST, strict=True)]
        firsts = [(size - kept) // 2 for size, kept in zip(shape, sizes, strict=True)]
        firsts[0] -= firsts[0] % whole.factor
        block = whole.part([slice(f, f + kept) for f, kept in zip(firsts, sizes, strict=True)])
        parts = pack_block(block, step)
        packed = sum(map(len, parts.values()))
        if packed <= share:
            return block, parts
        if all(kept <= least for kept, least in zip(sizes, _LEAST, strict=True)):
            raise UserError(
                f"{name}: its smallest block has {packed / 2**20:.1f} MiB, more than the "
                f"{share / 2**20:.1f} MiB for each scan: allow more --mebibytes or give fewer scans"
            )
        scale *= min(0.97, (share / packed) ** (1 / 3))


def _body(scan: Scan, taught: Sequence[DistilledScan]) -> Block:
    """The box around the body."""
    truth, teacher, factor = np.rint(scan.voxels).clip(*_STORED_HU).astype(np.int16), {}, FACTOR
    if taught:
        own = next((other for other in taught if other.name == scan.name), None)
        problem = _mismatch(own, truth)
        if problem:
            raise UserError(f"{scan.name}: {problem}; make them by python -m training.bundled.distilled")
        teacher, factor = own.teacher, own.factor
    rows, columns = Body(scan.voxels).box(range(len(truth))) or (slice(None), slice(None))
    cut = {phase: estimate[:, rows, columns] for phase, estimate in teacher.items()}
    return Block(truth[:, rows, columns], cut, factor)


def _mismatch(own: DistilledScan | None, truth: np.ndarray) -> str | None:
    """Why these are no estimates of a scan; None if they are."""
    if own is None:
        return "no teacher's estimates"
    if own.truth.shape != truth.shape:
        return "the teacher's estimates have another size"
    if not np.array_equal(own.truth, truth):
        return "the teacher's estimates are of another scan"
    for phase, estimate in own.teacher.items():
        if estimate.shape != (estimate_slices(len(truth), phase, own.factor), *truth.shape[1:]):
            return f"the teacher's estimate of phase {phase} has another size"
    return None


def _taught(folder: Path, phases: list[int], leave_out: list[str]) -> list[DistilledScan]:
    """Distilled scans with the estimates of some phases."""
    scans = open_scans(folder, {}, leave_out)
    for scan in scans:
        missing = [phase for phase in phases if phase not in scan.teacher]
        if missing:
            known = ", ".join(map(str, sorted(scan.teacher)))
            raise UserError(f"{scan.name}: its teacher has no phase {missing[0]}; give --phases of {known}")
    return [replace(scan, teacher={phase: scan.teacher[phase] for phase in phases}) for scan in scans]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="training.pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of thin scans (.nii.gz)")
    parser.add_argument("target", type=Path, metavar="OUT", help="file to write")
    parser.add_argument("--mebibytes", type=float, default=45.0, help="largest size (default: %(default)g)")
    parser.add_argument("--step", type=int, default=_LARGEST_STEP, choices=range(1, _LARGEST_STEP + 1))
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="NAME", help="skip such scans")
    parser.add_argument(
        "--teacher", type=Path, metavar="FOLDER", help="what training.bundled.distilled wrote of these scans"
    )
    parser.add_argument(
        "--phases", type=int, nargs="+", metavar="N",
        help=f"with --teacher: of its estimates, those to pack (default: {_PHASE})",
    )  # fmt: skip
    options = parser.parse_args()
    if options.phases and not options.teacher:
        parser.error("--phases needs --teacher")
    phases = options.phases or [_PHASE]
    taught = _taught(options.teacher, phases, options.leave_out) if options.teacher else []
    scans = [read_scan(path) for path in scan_paths(options.data, options.leave_out)]
    for facts in pack(scans, options.target, options.mebibytes, options.step, taught):
        shape = " x ".join(map(str, facts["shape"]))
        print(f"{facts['name']}: {shape}, changed by {_told(facts['changed'])}")
        if options.teacher:
            print(f"  its teacher's estimates, changed by {_told(facts['teacher_changed'])}")
    print(f"{options.target}: {options.target.stat().st_size / 2**20:.1f} MiB")


def _told(change: dict) -> str:
    return f"{change['mean']} HU on average, {change['largest']} at most"


if __name__ == "__main__":
    sys.exit(run(main))
