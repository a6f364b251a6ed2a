"""What expected error and restored noise cost: ``python -m Testing.benchmarks.trust_cost THIN``.

Five thin slices of the middle of a scan are averaged to one. Prints processor seconds of each step, all in
one process, and their share of those of `universal`; then the peak memory of whole runs, each a process of
its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from Testing.benchmarks.all_methods import FACTOR, region
from Testing.benchmarks.processes import use_of
from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.enhance import plan_for
from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.trust.noise import restore_noise
from ThickToThinSRLib.trust.uncertainty import expected_error
from ThickToThinSRLib.volume import Volume

METHOD = "universal"


def seconds(thick: Volume, step: float) -> dict[str, float]:
    """Processor seconds of each step."""
    plan = plan_for(thick, Settings(method=METHOD, spacing=step, axis=2))
    acquisition, found = plan.request.acquisition, {}
    steps = {
        METHOD: lambda: METHODS[METHOD].enhance(plan.hu, plan.request, Monitor()).voxels,
        "expected error": lambda: expected_error(thin, thick.voxels, acquisition, step, METHOD, Monitor()),
        "noise": lambda: restore_noise(thin, thick.voxels, acquisition, step, 0, Monitor()),
    }
    for name, do in steps.items():
        started = time.process_time()
        result = do()
        found[name] = time.process_time() - started
        if name == METHOD:
            thin = result
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("thin", type=Path)
    parser.add_argument("--shape", type=int, nargs=2, default=(256, 256), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--slices", type=int, default=76, help="thin ones")
    options = parser.parse_args()
    thin = region(options.thin, (80, 120), options.shape, options.slices)
    step = thin.spacing[2]
    made = simulate(thin, Acquisition(FACTOR * step, FACTOR * step), axis=2)
    thick = replace(made, voxels=np.rint(made.voxels).astype(np.int16))
    found = seconds(thick, step)
    for name, value in found.items():
        print(f"{name:16} {value:7.2f} s {100 * value / found[METHOD]:5.1f} %", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        source, target, error = (Path(folder) / name for name in ("thick.nrrd", "thin.nrrd", "error.nrrd"))
        write_volume(thick, source, compress=False)
        command = ["-m", "ThickToThinSRLib", "enhance", str(source), str(target), "--overwrite"]
        command += ["--progress", "none", "--method", METHOD, "--spacing", f"{step:g}"]
        options = {
            METHOD: [],
            "expected error": ["--uncertainty", str(error)],
            "noise": ["--noise", "restore"],
        }
        for name, more in options.items():
            print(f"{name:16} {use_of([*command, *more]).peak:7.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
