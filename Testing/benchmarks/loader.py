"""Crops a second that one core reads from prepared arrays, beside reading the scans they were prepared from.

``python -m Testing.benchmarks.loader`` writes pairs of 512 x 512 pixels of noise in RPLHR-CT's layout to a
temporary folder, prepares them, and draws the training crops of TVSRN and CTH-Net from both. What the network
takes for a crop says how many cores keep a GPU busy (docs/training.md, "Scale").
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.networks.registry import NETWORKS
from ThickToThinSRLib.volume import Volume
from training.data.arrays import prepare_cases
from training.data.cases import find_cases
from training.data.crops import CropPlan, Crops

SIDE, CROP = 512, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--slices", type=int, default=40, help="thick slices of a case")
    parser.add_argument("--crops", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary, "source"), Path(temporary, "arrays")
        write_pairs(source, options.cases, options.slices)
        cases = find_cases(source)[1]
        prepare_cases(cases, target, say=lambda line: None)
        started = time.process_time()
        cases[0].read()
        scan = time.process_time() - started
        for name in ("tvsrn", "cthnet"):
            crops = Crops(find_cases(target)[1], NETWORKS[name].window(), CropPlan(CROP, 0.5, 1, 0))
            for number in range(10):
                crops[number]
            started = time.process_time()
            for number in range(10, 10 + options.crops):
                crops[number]
            each = (time.process_time() - started) / options.crops
            print(
                f"{name}: {1 / each:.0f} crops of {CROP} x {CROP} a second of one core from the arrays (in "
                f"the page cache); unpacking a scan for each would take {scan / each:.0f} times as long"
            )


def write_pairs(folder: Path, count: int, slices: int) -> None:
    """Pairs that fit, on [0, 1]: noise compresses as badly as that of a scan."""
    rng = np.random.default_rng(0)
    for number in range(count):
        thin = rng.normal(0, 100, (5 * (slices - 1) + 1, SIDE, SIDE)).astype(np.float32)
        thin += 500 * np.sin(np.arange(len(thin)) / 7)[:, None, None].astype(np.float32) - 500
        padded = np.pad(thin, ((2, 2), (0, 0), (0, 0)), mode="edge")
        thick = sum(padded[k : k + len(thin) : 5] for k in range(5)) / 5
        for kind, hu, spacing in (("1mm", thin, 1.0), ("5mm", thick, 5.0)):
            (folder / "train" / kind).mkdir(parents=True, exist_ok=True)
            unit = np.clip((np.rint(hu) + 1024) / 3072, 0, 1).astype(np.float32)
            write_volume(Volume(unit, (0.7, 0.7, spacing)), folder / "train" / kind / f"CT{number}.nii.gz")


if __name__ == "__main__":
    main()
