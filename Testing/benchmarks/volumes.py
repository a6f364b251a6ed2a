"""Seconds and peak memory of whole `enhance` runs as separate processes, beside an older commit if you like.

``python -m Testing.benchmarks.volumes [CHECKPOINT ...] [--scan FILE] [--against REVISION]`` prints a line for
each method, on half the slices and on all: the second tells whether memory grows with them. The scan is the
digital phantom, 512 x 512 x 60, or yours. Memory is that of the process at its peak, less what importing
alone takes; beside it stand the sizes of input and result. The second line of a method says how long the
older commit took in the same run, with the same weights, as a ratio to the present one, and by how many HU
the results differ.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.volume import Volume, through_plane_axis
from ThickToThinSRLib.weights.bundled import bundled_for

from .processes import Use, files_of, use_of

# Height of the middle slice of the phantom, mm.
_MIDDLE = -55.0
_METHODS = ("interpolation", "consistent", "universal", "sr4zct")


def phantom(slices: int) -> Volume:
    """Slices of 5 mm of the digital thorax, 512 x 512 pixels; about a second of one core for each."""
    half = 2.5 * (slices - 1)
    return thorax((0.7, 0.7, 5.0), z_range=(_MIDDLE - half, _MIDDLE + half))


def middle_half(volume: Volume) -> Volume:
    """The middle half of the slices; the position of the volume is of no interest here."""
    axis = 2 - through_plane_axis(volume)
    count = volume.voxels.shape[axis]
    kept = np.arange(count // 4, count // 4 + count // 2)
    return replace(volume, voxels=volume.voxels.take(kept, axis=axis))


def jobs(methods: list[str], checkpoints: list[Path], device: str) -> list[list[str]]:
    """Arguments of `enhance` for each run."""
    listed = [["--method", name] for name in methods if name in ("interpolation", "consistent")]
    if "universal" in methods:
        listed.append(["--method", "universal", "--checkpoint", str(bundled_for("universal").path)])
    if "sr4zct" in methods:
        weights = ["--method", "sr4zct", "--checkpoint", str(bundled_for("unet").path)]
        listed += [[*weights, "--minutes", minutes] for minutes in ("0", "1")]
    return listed + [["--checkpoint", str(path), "--device", device] for path in checkpoints]


def enhanced(thick: Path, thin: Path, job: list[str], folder: Path = CHECKOUT) -> tuple[Use, str]:
    """What a run took, and its method."""
    command = ["-m", "ThickToThinSRLib", "enhance", str(thick), str(thin), "--overwrite", "--progress"]
    use = use_of([*command, "none", *job], folder)
    return use, json.loads(thin.with_name(f"{thin.name}.provenance.json").read_text())["method"]


def compared(present: Use, before: Use, thin: Path, older: Path) -> str:
    """Both as ratios, and how much the results differ."""
    ratios = f"{before.seconds / present.seconds:.2f} times as long"
    ratios += f" ({before.processor / present.processor:.2f} times the processor seconds)"
    one, other = read_volume(thin).voxels, read_volume(older).voxels
    if one.shape != other.shape:
        return f"{ratios}; its result has another size"
    largest, total = 0.0, 0.0
    for a, b in zip(one, other, strict=True):
        difference = np.abs(a.astype(np.float32) - b)
        largest, total = max(largest, float(difference.max())), total + float(difference.mean())
    return f"{ratios}; results differ by {total / len(one):.3f} HU on average, {largest:g} at most"


def main() -> None:
    options = _parsed()
    listed = jobs(options.methods, [path.resolve() for path in options.checkpoints], options.device)
    importing = use_of(["-c", "import ThickToThinSRLib.cli.main"]).peak
    whole = phantom(options.slices) if options.scan is None else read_volume(options.scan)
    print(
        f"{'method':16} {'voxels':>14} {'seconds':>8} {'processor':>9} {'peak MiB':>8} {'in':>5} {'out':>5}"
    )
    older = files_of(options.against) if options.against else nullcontext()
    with tempfile.TemporaryDirectory() as folder, older as code:
        thick, thin, old = (Path(folder) / f"{name}.nrrd" for name in ("thick", "thin", "old"))
        for volume in (middle_half(whole), whole):
            write_volume(volume, thick, compress=False)
            voxels = " x ".join(map(str, volume.voxels.shape[::-1]))
            for job in listed:
                use, name = enhanced(thick, thin, job)
                sizes = " ".join(f"{path.stat().st_size / 2**20:5.0f}" for path in (thick, thin))
                figures = f"{use.seconds:8.1f} {use.processor:9.1f} {use.peak - importing:8.0f} {sizes}"
                print(f"{name:16} {voxels:>14} {figures}", flush=True)
                if code is not None:
                    print(f"  {options.against}: {_older(thick, old, job, code, (use, thin))}", flush=True)
                thin.unlink()


def _older(thick: Path, old: Path, job: list[str], code: Path, present: tuple[Use, Path]) -> str:
    """The line of the older commit."""
    try:
        use, _ = enhanced(thick, old, job, code)
    except UserError:
        return "this command fails there"
    return f"{use.seconds:.1f} s, {compared(present[0], use, present[1], old)}"


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="*", type=Path, metavar="CHECKPOINT", help="further weights")
    parser.add_argument("--methods", nargs="*", choices=_METHODS, default=_METHODS, metavar="NAME")
    parser.add_argument("--device", default="cpu", help="for the further weights (default: %(default)s)")
    parser.add_argument("--slices", type=int, default=60, help="of the phantom (default: %(default)s)")
    parser.add_argument("--scan", type=Path, metavar="FILE", help="a volume file instead of the phantom")
    parser.add_argument("--against", metavar="REVISION", help="an older commit to compare with")
    options = parser.parse_args()
    if options.slices < 4:
        parser.error(
            f"--slices {options.slices}: at least 4 are needed, since half of them are measured, too"
        )
    return options


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"volumes: {error}")
