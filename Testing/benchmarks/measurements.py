"""What the methods do to measurements: nodules, vessels, airways, densitometry, lung volume, radiomics.

``python -m Testing.benchmarks.measurements [--scan THIN ...] [--universal WEIGHTS]`` prints the tables of
docs/measurements.md. Thick slices are averaged from thin ones, each method makes thin slices again, and the
same measurement is read on all of them; what it reads on the true thin slices stands in the first row.
`--universal` names weights that have not seen the scans. Networks that are slow on a processor read the
tubes, a sixth of the nodules and a part of each scan only. Radiomics: ``pip install mirp``. What is done and
how much time is left goes to standard error.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from Testing.benchmarks import measured_lungs, measured_nodules
from Testing.benchmarks.made_thin import NOISE, THICK, Run, heading, results
from Testing.benchmarks.measured_lungs import middle_slices
from Testing.tubes import AIR_HU, BLOOD_HU, LENGTH, LUNG_HU, block
from ThickToThinSRLib.acquisition import Acquisition

QUICK = (THICK, "interpolation", "consistent", "universal", f"universal{NOISE}")
SLOW = ("sr4zct", "tvsrn", "cthnet", "resvox", "mpunet", "davsr", "saint")


def airways_and_vessels(acquisition: Acquisition, methods: list[str], run: Run) -> None:
    """Table of tubes: sizes from volumes over half contrast, divided by the known length."""
    thin, placed = block()
    heading("read on", "vessel diameter: mean error", "mean absolute error",
            "airway lumen diameter: mean error", "wall area: mean error")  # fmt: skip
    voxel = float(np.prod(thin.spacing))
    for name, volume in results(thin, acquisition, methods, run, "tubes"):
        vessels, lumens, walls = [], [], []
        for tube, box in placed:
            inside = volume.voxels[box].astype(np.float32)
            dense = (inside > 0.5 * (BLOOD_HU + LUNG_HU)).sum() * voxel / LENGTH
            if not tube.lumen:
                vessels.append(np.sqrt(4 / np.pi * dense) - tube.diameter)
                continue
            hollow = (inside < 0.5 * (AIR_HU + LUNG_HU)).sum() * voxel / LENGTH
            lumens.append(np.sqrt(4 / np.pi * hollow) - tube.lumen)
            walls.append(100 * (dense / (np.pi / 4 * (tube.diameter**2 - tube.lumen**2)) - 1))
        print(
            f"| {name} | {np.mean(vessels):+.2f} mm | {np.mean(np.abs(vessels)):.2f} mm | "
            f"{np.mean(lumens):+.2f} mm | {np.mean(walls):+.0f} % |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scan", nargs="*", type=Path, default=[], help="thin scans of chests")
    parser.add_argument("--universal", type=Path, help="weights that have not seen the scans")
    parser.add_argument("--method", nargs="+", default=[*QUICK, *SLOW])
    parser.add_argument("--slices", type=int, default=91, help="in the middle of each scan; 0: a part only")
    parser.add_argument("--nodules", type=int, default=360, help="a sixth for slow networks; 0: no phantom")
    options = parser.parse_args()
    started = time.monotonic()
    # Noise decides about densitometry, hardly about sizes; a part of the lung is too small to measure it.
    plain = [name for name in options.method if not name.endswith(NOISE)]
    quick = [name for name in options.method if name in QUICK]
    shares = [
        ([name for name in plain if name in methods], number)
        for methods, number in ((QUICK, options.nodules), (SLOW, options.nodules // 6))
    ]
    run = Run(options.universal)
    if options.nodules:
        for methods, number in shares:
            run.left.plan(methods, measured_nodules.voxels(number))
        run.left.plan(plain, block()[0].voxels.size)
    for path in options.scan:
        if options.slices:
            whole = middle_slices(path, options.slices).voxels.size
            run.left.plan(quick, len(measured_lungs.PROTOCOLS) * whole)
        run.left.plan(plain, int(np.prod(measured_lungs.PART)))
    if options.nodules:
        # The phantom has been seen by no weights: those that ship.
        phantom = replace(run, weights=None)
        acquisition = Acquisition(5.0, 5.0)
        measured_nodules.heads()
        for methods, number in shares:
            if methods:
                measured_nodules.rows(acquisition, methods, number, phantom)
        print()
        airways_and_vessels(acquisition, plain, phantom)
        print()
    if options.scan and options.slices:
        heading("scan, thickness/spacing in thin slices", "read on", "LAA-950, points", "Perc15, HU",
                "mean HU of lung", "standard deviation, HU", "mean HU of soft tissue",
                "lung volume, ml")  # fmt: skip
        for path in options.scan:
            measured_lungs.whole_slices(path, options.slices, quick, run)
        print()
    if options.scan:
        measured_lungs.parts(options.scan, plain, run)
    print(f"\n{(time.monotonic() - started) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
