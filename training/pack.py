"""Pack training scans into one small file: ``python -m training.pack DATA OUT --mebibytes 45``.

For machines that can be had for minutes only, and to which little can be copied. Of every scan the file holds
a block around the middle of the body, of equal size for each. HU are rounded to steps, 4 by default, which is
the only loss; the steps are stored without further loss. ``unpack`` writes what the recipes of bundled
weights read.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
import zipfile
from pathlib import Path

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.replacing import replacing
from ThickToThinSRLib.methods.body import Body

from .bundled.scans import Scan, read_scan, scan_paths
from .command import run

_INDEX = "index.json"
_STORED_HU = (-1024, 3071)
# Slices and pixels that a block has at least, so that crops can be drawn from it.
_LEAST = (48, 96, 96)
_LARGEST_STEP = 4
# The networks of a fixed factor learn from these: see training.bundled.distilled.
_FACTOR, _PHASE = 5, 2


def pack(scans: list[Scan], target: Path, mebibytes: float, step: int = _LARGEST_STEP) -> list[dict]:
    """Write blocks of scans to one file.

    Parameters
    ----------
    mebibytes : float
        Size that the file does not exceed.
    step : int
        HU are rounded to multiples of it, 1 to 4.

    Returns
    -------
    list of dict
        For each scan its ``name``, ``shape``, ``spacing`` and the HU by which its voxels were changed:
        ``mean`` and ``largest``.

    Raises
    ------
    UserError
        If the smallest blocks of all scans are larger than `mebibytes`.
    """
    share = mebibytes * 2**20 * 0.98 / len(scans)
    index = []
    with replacing(target, ".zip") as temporary, zipfile.ZipFile(temporary, "w") as file:
        for scan in scans:
            block, packed = _fitting(scan, share, step)
            change = np.abs(_unpacked(packed, block.shape, step) - block.astype(np.int32))
            index.append(
                {
                    "name": scan.name,
                    "shape": list(block.shape),
                    "spacing": list(scan.spacing),
                    "mean": round(float(change.mean()), 3),
                    "largest": int(change.max()),
                }
            )
            file.writestr(f"{scan.name}.xz", packed)
        file.writestr(_INDEX, json.dumps({"step": step, "scans": index}))
    return index


def unpack(source: Path, folder: Path) -> list[str]:
    """Write the scans of a packed file for :mod:`training.bundled`; returns their names.

    Each is written as ``NAME.npz``, for `universal`, and as ``NAME/`` with its true slices in place of a
    teacher's, for the networks of a fixed factor.

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
                packed = file.read(f"{facts['name']}.xz")
                _write(facts, _unpacked(packed, tuple(facts["shape"]), index["step"]), folder)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, lzma.LZMAError) as error:
        raise UserError(f"{source}: damaged, or not written by training.pack ({error})") from error
    return [facts["name"] for facts in index["scans"]]


def _write(facts: dict, voxels: np.ndarray, folder: Path) -> None:
    np.savez(folder / f"{facts['name']}.npz", voxels=voxels, spacing=np.array(facts["spacing"]))
    own = folder / facts["name"]
    own.mkdir(exist_ok=True)
    np.save(own / "truth.npy", voxels)
    np.save(own / f"teacher_{_PHASE}.npy", voxels[_PHASE:])
    known = {"name": facts["name"], "factor": _FACTOR, "phases": [_PHASE], "spacing": facts["spacing"][0]}
    (own / "scan.json").write_text(json.dumps(known), encoding="utf-8")


def _fitting(scan: Scan, share: float, step: int) -> tuple[np.ndarray, bytes]:
    """The largest block around the middle of the body whose packed size is at most `share` bytes."""
    whole = _body(scan)
    scale = 1.0
    while True:
        sizes = [
            min(size, max(least, int(size * scale))) for size, least in zip(whole.shape, _LEAST, strict=True)
        ]
        firsts = [(size - kept) // 2 for size, kept in zip(whole.shape, sizes, strict=True)]
        block = whole[tuple(slice(first, first + kept) for first, kept in zip(firsts, sizes, strict=True))]
        packed = _packed(block, step)
        if len(packed) <= share:
            return block, packed
        if all(kept <= least for kept, least in zip(sizes, _LEAST, strict=True)):
            raise UserError(
                f"{scan.name}: its smallest block has {len(packed) / 2**20:.1f} MiB, more than the "
                f"{share / 2**20:.1f} MiB for each scan: allow more --mebibytes or give fewer scans"
            )
        scale *= min(0.97, (share / len(packed)) ** (1 / 3))


def _body(scan: Scan) -> np.ndarray:
    """The box around the body, int16."""
    box = Body(scan.voxels).box(range(len(scan.voxels)))
    voxels = scan.voxels if box is None else scan.voxels[:, box[0], box[1]]
    return np.rint(voxels).clip(*_STORED_HU).astype(np.int16)


def _packed(block: np.ndarray, step: int) -> bytes:
    """Steps of HU as differences along the rows, low bytes before high ones, which packs best."""
    steps = np.rint(block / np.float32(step)).astype(np.int16)
    differences = np.diff(steps, axis=2, prepend=np.int16(0))
    return lzma.compress(differences.astype("<i2").view(np.uint8).reshape(-1, 2).T.tobytes(), preset=1)


def _unpacked(packed: bytes, shape: tuple[int, ...], step: int) -> np.ndarray:
    stored = np.frombuffer(lzma.decompress(packed), np.uint8).reshape(2, -1).T.copy()
    differences = stored.view("<i2").reshape(shape)
    return (differences.cumsum(axis=2, dtype=np.int16) * np.int16(step)).astype(np.int16)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="training.pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of thin scans (.nii.gz)")
    parser.add_argument("target", type=Path, metavar="OUT", help="file to write")
    parser.add_argument("--mebibytes", type=float, default=45.0, help="largest size (default: %(default)g)")
    parser.add_argument("--step", type=int, default=_LARGEST_STEP, choices=range(1, _LARGEST_STEP + 1))
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="NAME", help="skip such scans")
    options = parser.parse_args()
    scans = [read_scan(path) for path in scan_paths(options.data, options.leave_out)]
    for facts in pack(scans, options.target, options.mebibytes, options.step):
        shape = " x ".join(map(str, facts["shape"]))
        print(
            f"{facts['name']}: {shape}, changed by {facts['mean']} HU on average, {facts['largest']} at most"
        )
    print(f"{options.target}: {options.target.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    sys.exit(run(main))
