"""Training pairs for networks of a fixed factor: pseudo thick slices, a teacher's thin slices, the true ones.

Noise in true thin slices cannot be predicted and hides what can. A teacher's estimate holds no such noise, so a
network learns from it first and from the truth at the end (Hinton et al., "Distilling the knowledge in a neural
network", 2015).

``python -m training.bundled.distilled SCAN [SCAN ...] --teacher WEIGHTS --output FOLDER`` makes thick scans of
thin ones by averaging, lets the `universal` method enhance them, and keeps both results as int16 arrays that
training maps into memory.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ThickToThinSRLib.enhance import Settings, enhance_volume
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.intensity import HU_WINDOW, to_unit
from ThickToThinSRLib.io.volume_files import read_volume
from ThickToThinSRLib.networks.registry import WindowSpec
from ThickToThinSRLib.volume import Volume, through_plane_axis

from ..command import run

_FACTS = "scan.json"
_TRUTH, _TEACHER = "truth.npy", "teacher_{}.npy"
# Crops with less of the body than this share are drawn a tenth as often.
_BODY_SHARE, _BODY_HU = 0.2, -1000


@dataclass(frozen=True)
class Scan:
    """A thin scan with a teacher's estimates.

    Attributes
    ----------
    name : str
        File name without its suffix.
    truth : ndarray, shape (slices, rows, columns), int16
        HU of the thin slices.
    teacher : dict
        Phase to the teacher's estimate, int16: thick slice i was the mean of the `factor` thin slices around
        phase + factor i, and the estimate begins at thin slice `phase`.
    factor : int
        Thin slices to a thick one.
    weight : float
        How often the scan is drawn, relative to others.
    """

    name: str
    truth: np.ndarray
    teacher: dict[int, np.ndarray]
    factor: int
    weight: float


def open_scans(folder: Path, weights: dict[str, float], leave_out: list[str]) -> list[Scan]:
    """Scans that :func:`distil` wrote, mapped into memory.

    Parameters
    ----------
    weights : dict
        Weight of the scans whose names hold a key; 1 for others.
    leave_out : list of str
        Parts of names of scans to skip.
    """
    found = []
    for facts_path in sorted(folder.glob(f"*/{_FACTS}")):
        facts = json.loads(facts_path.read_text(encoding="utf-8"))
        name, here = facts["name"], facts_path.parent
        if any(part in name for part in leave_out):
            continue
        weight = next((value for key, value in weights.items() if key in name), 1.0)
        teacher = {phase: np.load(here / _TEACHER.format(phase), mmap_mode="r") for phase in facts["phases"]}
        found.append(Scan(name, np.load(here / _TRUTH, mmap_mode="r"), teacher, facts["factor"], weight))
    if not found:
        raise UserError(f"{folder}: holds no scans; make them by python -m training.bundled.distilled")
    return found


def thick_slices(truth: np.ndarray, factor: int, phase: int) -> np.ndarray:
    """Means of `factor` (odd) thin slices around thin slices phase, phase + factor, ..., rounded to whole HU."""
    count = (len(truth) - phase - factor // 2 - 1) // factor + 1
    first = phase - factor // 2
    blocks = truth[first : first + count * factor].reshape(count, factor, *truth.shape[1:])
    return np.rint(blocks.mean(axis=1, dtype=np.float32)).astype(np.int16)


def draw_crop(
    scans: list[Scan], window: WindowSpec, side: int, generator: np.random.Generator, from_teacher: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A random crop, turned and flipped: thick (depth, side, side) and thin (outputs, side, side) slices, HU."""
    weights = np.array([scan.weight for scan in scans])
    while True:
        scan = scans[generator.choice(len(scans), p=weights / weights.sum())]
        phase = int(generator.choice(list(scan.teacher)))
        estimate = scan.teacher[phase]
        thick_count = (len(estimate) - 1) // scan.factor + 1
        if thick_count < window.depth:
            raise UserError(f"{scan.name}: {thick_count} thick slices, fewer than the network reads")
        index = int(generator.integers(0, thick_count - window.depth + 1))
        row, column = (int(generator.integers(0, size - side + 1)) for size in scan.truth.shape[1:])
        crop = np.s_[row : row + side, column : column + side]
        middle = scan.truth[phase + scan.factor * (index + window.depth // 2)][crop]
        if (middle > _BODY_HU).mean() >= _BODY_SHARE or generator.random() < 0.1:
            break
    start = phase + scan.factor * index
    half, span = scan.factor // 2, scan.factor * window.depth
    thick = thick_slices(
        scan.truth[start - half : start - half + span][(slice(None), *crop)], scan.factor, half
    )
    first = scan.factor * index + window.first_output
    if from_teacher:
        thin = estimate[first : first + window.outputs][(slice(None), *crop)]
    else:
        thin = scan.truth[phase + first : phase + first + window.outputs][(slice(None), *crop)]
    return _turned(generator, thick, thin)


def _turned(generator: np.random.Generator, *arrays: np.ndarray) -> list[np.ndarray]:
    """The same random flips, along the slices too, and transposition of all arrays."""
    flips = tuple(axis for axis in range(3) if generator.random() < 0.5)
    order = (0, 2, 1) if generator.random() < 0.5 else (0, 1, 2)
    return [np.flip(array, flips).transpose(order) for array in arrays]


def as_batch(crops: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Crops in HU as the network's input and target: (B, 1, depth, H, W) and (B, 1, outputs, H, W) in [0, 1]."""
    stacks = (np.stack(arrays).astype(np.float32).clip(*HU_WINDOW) for arrays in zip(*crops, strict=True))
    thick, thin = (torch.from_numpy(to_unit(stack))[:, None] for stack in stacks)
    return {"thick": thick, "thin": thin}


def distil(path: Path, teacher: Path, output: Path, factor: int) -> None:
    """Write the truth and the teacher's estimates at every phase to a folder of the scan's name."""
    volume = read_volume(path)
    axis = through_plane_axis(volume)
    truth = np.rint(volume.slices_first(axis)).clip(-1024, 3071).astype(np.int16)
    spacing = volume.spacing[axis]
    name = path.name.split(".")[0]
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / _TRUTH, truth)
    phases = list(range(factor // 2, factor // 2 + factor))
    # slices_first keeps the order of the other array axes, which is the reverse of the index axes'.
    columns, rows = (volume.spacing[index] for index in range(3) if index != axis)
    for phase in phases:
        thick = thick_slices(truth, factor, phase)
        made = Volume(thick.astype(np.float32), (columns, rows, factor * spacing))
        settings = Settings("universal", teacher, spacing=spacing, thickness=factor * spacing, axis=2)
        thin, _ = enhance_volume(made, settings)
        np.save(folder / _TEACHER.format(phase), np.rint(thin.voxels).clip(-1024, 3071).astype(np.int16))
        print(f"{name}: phase {phase} of {phases[-1]}", flush=True)
    facts = {"name": name, "factor": factor, "phases": phases, "spacing": spacing}
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scans", type=Path, nargs="+", metavar="SCAN")
    parser.add_argument("--teacher", type=Path, required=True, metavar="WEIGHTS", help="of `universal`")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--factor", type=int, default=5, metavar="N", help="odd; default: %(default)s")
    options = parser.parse_args()
    if options.factor < 3 or options.factor % 2 == 0:
        raise UserError(f"the factor must be an odd number of 3 or more, not {options.factor}")
    for path in options.scans:
        distil(path, options.teacher, options.output, options.factor)


if __name__ == "__main__":
    sys.exit(run(main))
