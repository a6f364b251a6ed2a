"""Training crops for networks of a fixed factor: simulated thick slices, a teacher's or true thin slices.

Noise in true thin slices cannot be predicted, and it hides what can be predicted. A teacher's estimate has no
such noise, so a network learns from it first and from the truth at the end (Hinton et al., "Distilling the
knowledge in a neural network", 2015).

``python -m training.bundled.distilled SCAN [SCAN ...] --teacher WEIGHTS --output FOLDER`` averages the slices
of thin scans to thick ones, enhances these by the `universal` method, and writes truth and estimates as int16
arrays, which training maps into memory.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.intensity import HU_WINDOW, to_unit
from ThickToThinSRLib.networks.registry import WindowSpec
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume

from ..command import run
from .scans import choose_scan, read_scan, weight_of

_FACTS = "scan.json"
_TRUTH, _TEACHER = "truth.npy", "teacher_{}.npy"
# A crop with less of the body than this share is drawn a tenth as often.
_BODY_SHARE, _BODY_HU = 0.2, -1000
_STORED_HU = (-1024, 3071)


@dataclass(frozen=True)
class DistilledScan:
    """A thin scan with a teacher's estimates of it.

    Attributes
    ----------
    name : str
        File name without suffix.
    truth : ndarray, shape (slices, rows, columns), int16
        The scan's thin slices, HU.
    teacher : dict of int to ndarray
        The teacher's estimate for each phase, int16. Thick slice i was the mean of the `factor` thin slices
        around thin slice phase + factor * i; the first slice of the estimate lies at thin slice `phase`.
    factor : int
        Upsampling factor.
    weight : float
        How often the scan is drawn, relative to others.
    """

    name: str
    truth: np.ndarray
    teacher: dict[int, np.ndarray]
    factor: int
    weight: float = 1.0


def open_scans(folder: Path, weights: dict[str, float], leave_out: Sequence[str]) -> list[DistilledScan]:
    """Scans that :func:`distil` wrote, mapped into memory.

    Parameters
    ----------
    weights : dict
        Weight of the scans whose names contain a key; 1 for others.
    leave_out : sequence of str
        Parts of the names of scans to skip.

    Raises
    ------
    UserError
        If there is no such scan.
    """
    scans = []
    for path in sorted(folder.glob(f"*/{_FACTS}")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        name, place = facts["name"], path.parent
        if any(part in name for part in leave_out):
            continue
        teacher = {phase: np.load(place / _TEACHER.format(phase), mmap_mode="r") for phase in facts["phases"]}
        truth = np.load(place / _TRUTH, mmap_mode="r")
        scans.append(DistilledScan(name, truth, teacher, facts["factor"], weight_of(name, weights)))
    if not scans:
        raise UserError(f"{folder}: no distilled scans; make them by python -m training.bundled.distilled")
    return scans


def thick_slices(truth: np.ndarray, factor: int, phase: int) -> np.ndarray:
    """Means of `factor` (odd) thin slices around thin slices phase, phase + factor, ..., in whole HU."""
    count = (len(truth) - phase - factor // 2 - 1) // factor + 1
    first = phase - factor // 2
    blocks = truth[first : first + count * factor].reshape(count, factor, *truth.shape[1:])
    return np.rint(blocks.mean(axis=1, dtype=np.float32)).astype(np.int16)


def draw_crop(
    scans: Sequence[DistilledScan],
    window: WindowSpec,
    side: int,
    generator: np.random.Generator,
    from_teacher: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """A random crop of one of the scans, randomly flipped and transposed.

    Parameters
    ----------
    window : WindowSpec
        How many thick slices the network reads, and which thin slices it predicts.
    side : int
        In-plane size, pixels.
    from_teacher : bool
        Whether the thin slices are the teacher's or the true ones.

    Returns
    -------
    thick, thin : ndarray, shapes (depth, side, side) and (outputs, side, side)
        HU.
    """
    while True:
        scan = choose_scan(scans, generator)
        factor = scan.factor
        phase = int(generator.choice(list(scan.teacher)))
        estimate = scan.teacher[phase]
        thick_count = (len(estimate) - 1) // factor + 1
        if thick_count < window.depth:
            raise UserError(f"{scan.name}: {thick_count} thick slices; the network reads {window.depth}")
        index = int(generator.integers(0, thick_count - window.depth + 1))
        row, column = (int(generator.integers(0, size - side + 1)) for size in scan.truth.shape[1:])
        crop = np.s_[row : row + side, column : column + side]
        middle = scan.truth[phase + factor * (index + window.depth // 2)][crop]
        if (middle > _BODY_HU).mean() >= _BODY_SHARE or generator.random() < 0.1:
            break
    half = factor // 2
    lowest = phase + factor * index - half  # of the thin slices that the thick ones cover
    covered = scan.truth[lowest : lowest + factor * window.depth][(slice(None), *crop)]
    thick = thick_slices(covered, factor, half)
    first = factor * index + window.first_output
    thin, first = (estimate, first) if from_teacher else (scan.truth, phase + first)
    thin = thin[first : first + window.outputs][(slice(None), *crop)]
    return _flipped_and_transposed(generator, thick, thin)


def _flipped_and_transposed(
    generator: np.random.Generator, thick: np.ndarray, thin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays with the same random flips (along the slices too) and in-plane transposition."""
    flips = tuple(axis for axis in range(3) if generator.random() < 0.5)
    order = (0, 2, 1) if generator.random() < 0.5 else (0, 1, 2)
    return np.flip(thick, flips).transpose(order), np.flip(thin, flips).transpose(order)


def as_batch(crops: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Crops in HU as ``thick`` (B, 1, depth, H, W) and ``thin`` (B, 1, outputs, H, W) in [0, 1]."""
    stacks = (np.stack(arrays).astype(np.float32).clip(*HU_WINDOW) for arrays in zip(*crops, strict=True))
    thick, thin = (torch.from_numpy(to_unit(stack))[:, None] for stack in stacks)
    return {"thick": thick, "thin": thin}


def distil(path: Path, teacher: Path, output: Path, factor: int) -> None:
    """Write a scan's thin slices and the teacher's estimates at every phase to ``output/<name of the scan>``.

    Parameters
    ----------
    path : Path
        The thin scan.
    teacher : Path
        Weights of `universal`.
    factor : int
        Upsampling factor, odd.
    """
    scan = read_scan(path)
    truth = np.rint(scan.voxels).clip(*_STORED_HU).astype(np.int16)
    spacing, rows, columns = scan.spacing
    folder = output / scan.name
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / _TRUTH, truth)
    phases = list(range(factor // 2, factor // 2 + factor))
    for phase in phases:
        thick = thick_slices(truth, factor, phase).astype(np.float32)
        estimate = _enhanced(Volume(thick, (columns, rows, factor * spacing)), teacher, spacing)
        np.save(folder / _TEACHER.format(phase), np.rint(estimate).clip(*_STORED_HU).astype(np.int16))
        print(f"{scan.name}: phase {phase} of {phases[-1]}", flush=True)
    facts = {"name": scan.name, "factor": factor, "phases": phases, "spacing": spacing}
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _enhanced(thick: Volume, teacher: Path, spacing: float) -> np.ndarray:
    """Contiguous thick slices, along the last index axis, enhanced by `universal` to `spacing` mm."""
    # Only making the data needs the libraries that read scans, not learning from it.
    from ThickToThinSRLib.enhance import enhance_volume

    settings = Settings(
        method="universal",
        checkpoint=teacher,
        spacing=spacing,
        thickness=thick.spacing[2],
        axis=2,
        profile="box",
    )
    return enhance_volume(thick, settings)[0].voxels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scans", type=Path, nargs="+", metavar="SCAN")
    parser.add_argument(
        "--teacher", type=Path, required=True, metavar="WEIGHTS", help="weights of `universal`"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--factor", type=int, default=5, metavar="N", help="upsampling factor, odd (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.factor < 3 or options.factor % 2 == 0:
        raise UserError(f"--factor must be an odd number of 3 or more, not {options.factor}")
    for path in options.scans:
        distil(path, options.teacher, options.output, options.factor)


if __name__ == "__main__":
    sys.exit(run(main))
