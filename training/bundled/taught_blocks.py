"""Blocks of simulated thick slices with the mean of several networks' results, to train `universal` on.

Noise in true thin slices cannot be predicted, and it hides what can be. The mean of the results of
`universal`, on mirrored slices too, and of `sr4zct`, made consistent with the slices by their true profile,
is nearer to the truth than any of them. So a network can learn from it what the truth alone does not teach it
(Hinton et al., "Distilling the knowledge in a neural network", 2015).

``python -m training.bundled.taught_blocks FOLDER --data SCANS --teacher WEIGHTS`` writes one file for each
block; an interrupted call goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition, sampling_matrix
from ThickToThinSRLib.consistency import ConsistencyProjection
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume, slice_count

from ..command import run
from .recipes.universal_first import Pairs
from .scans import Scan, choose_scan
from .shapes import draw_shapes
from .taught import NAMES, TEACHER, TaughtBlock
from .universal_pairs import (
    Block,
    as_other_scanners,
    assumed_thickness,
    chosen_axis,
    draw_acquisition,
    draw_block,
)

# Thick slices of a block, and its side in pixels.
_THICK, _SIDE = 13, 176
# Share of sr4zct in the mean of the teachers where slices touch, and where half of each overlaps: the better
# it is there (docs/universal_training.md).
_SR4ZCT_SHARES = 1 / 3, 2 / 3
# Of this many blocks, one shows shapes instead of a scan.
_SHAPED_EVERY = 6
_MIRRORED = ((), (1, 2))  # axes along which slices are mirrored for `universal`


def draw_shaped(generator: np.random.Generator) -> TaughtBlock:
    """A block of smooth bodies, where the truth can be predicted and needs no teacher."""
    acquisition = draw_acquisition(generator, 1.0, settling=True)
    outside = 1.4 * acquisition.thickness + 2.0
    block = draw_shapes(generator, (_THICK - 1) * acquisition.spacing + 2 * outside, _SIDE)
    thick, truth, assumed = _made_thick(block, block.voxels, acquisition, outside, generator)
    return TaughtBlock(thick, truth, truth, assumed, block.step, block.pixel)


def draw_taught(scans: Sequence[Scan], generator: np.random.Generator, teacher: Path) -> TaughtBlock:
    """A block of one of the scans, as an imagined scanner would have made it, with its taught thin slices."""
    block = None
    while block is None:
        scan = choose_scan(scans, generator)
        axis = chosen_axis(scan, generator)
        step = scan.spacing[axis]
        acquisition = draw_acquisition(generator, step, settling=True)
        outside = 1.4 * acquisition.thickness + step  # that the outermost thick slices see
        reach = 0.5 * (_THICK - 1) * acquisition.spacing + outside
        block = draw_block(scan, axis, reach, _SIDE, generator)
    voxels = as_other_scanners(block.voxels, generator)
    thick, truth, assumed = _made_thick(block, voxels, acquisition, outside, generator)
    count = len(truth)
    volume = Volume(thick, (block.pixel, block.pixel, acquisition.spacing), slice_axis=2)
    taught = _taught(volume, assumed, step, teacher)
    solve = ConsistencyProjection(acquisition, _THICK, count, step)
    taught = solve(taught.reshape(count, -1), thick.reshape(_THICK, -1)).reshape(taught.shape)
    return TaughtBlock(thick, truth, taught, assumed, step, block.pixel)


def _made_thick(
    block: Block, voxels: np.ndarray, acquisition: Acquisition, outside: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Acquisition]:
    """Thick slices, the thin ones from the first thick one on, and the acquisition that is stated.

    `outside` mm of thin slices lie before the first thick slice.
    """
    step = block.step
    stated = replace(acquisition, thickness=assumed_thickness(acquisition, step, generator), profile="box")
    before = int(outside / step)
    count = slice_count(_THICK, acquisition.spacing, step)
    weights = sampling_matrix(acquisition, _THICK, len(voxels), step, first_thin=-before * step)
    thick = np.rint(np.tensordot(weights.astype(np.float32), voxels, axes=1))
    return thick, voxels[before : before + count], stated


def _taught(volume: Volume, assumed: Acquisition, step: float, teacher: Path) -> np.ndarray:
    """The weighted mean of the teachers' results, not made consistent."""
    settings = Settings(spacing=step, thickness=assumed.thickness, axis=2, consistency=False, profile="box")
    by_universal = replace(settings, checkpoint=teacher)
    mirrored = [_enhanced(volume, by_universal, axes) for axes in _MIRRORED]
    overlap = np.clip(assumed.thickness / assumed.spacing - 1, 0, 1)
    share = float(np.interp(overlap, (0, 1), _SR4ZCT_SHARES))
    by_planes = _enhanced(volume, replace(settings, method="sr4zct"))
    return (share * by_planes + (1 - share) * np.mean(mirrored, axis=0)).astype(np.float32)


def _enhanced(volume: Volume, settings: Settings, axes: tuple[int, ...] = ()) -> np.ndarray:
    """The result for the slices mirrored along `axes`, mirrored back."""
    from ThickToThinSRLib.enhance import enhance_volume

    mirrored = replace(volume, voxels=np.ascontiguousarray(np.flip(volume.voxels, axes)))
    return np.flip(enhance_volume(mirrored, settings)[0].voxels, axes)


def _begin(folder: Path, teacher: Path, names: list[str]) -> None:
    """Put the teacher's weights and the names of the scans into the folder; UserError if it has others."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = {TEACHER: teacher.read_bytes(), NAMES: json.dumps(names).encode()}
    for name, content in expected.items():
        path = folder / name
        if path.exists() and path.read_bytes() != content:
            raise UserError(
                f"{folder}: holds blocks of another teacher or of other scans; choose a new folder"
            )
    for name, content in expected.items():
        (folder / name).write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the blocks")
    parser.add_argument("--data", type=Path, required=True, metavar="SCANS", help="folder of thin scans")
    parser.add_argument(
        "--teacher", type=Path, required=True, metavar="WEIGHTS", help="weights of `universal`"
    )
    parser.add_argument(
        "--leave-out", nargs="*", default=[], metavar="NAME", help="skip scans whose names contain NAME"
    )
    parser.add_argument(
        "--count", type=int, default=200, metavar="N", help="number of blocks (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: all cores)")
    options = parser.parse_args()
    if options.count < 1:
        raise UserError(f"--count must be 1 or more, not {options.count}")
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    scans = Pairs(options.data, options.leave_out).scans
    _begin(options.folder, options.teacher, [scan.name for scan in scans])
    # Another teacher shows other places of the scans, so that blocks of several folders add up.
    seed = zlib.crc32(options.teacher.read_bytes())
    for number in range(options.count):
        path = options.folder / f"block_{number:04}.npz"
        if not path.exists():
            generator = np.random.default_rng([seed, number])
            shaped = number % _SHAPED_EVERY == _SHAPED_EVERY - 1
            block = draw_shaped(generator) if shaped else draw_taught(scans, generator, options.teacher)
            block.save(path)
            print(f"{path.name} of {options.count}", flush=True)


if __name__ == "__main__":
    sys.exit(run(main))
