"""The slice profile read from the noise of thin CT made thick, against the true one.

``python -m Testing.benchmarks.slice_profile THIN [THIN ...]`` prints the rounding that is found for each
scan, kernel, protocol and profile, then the range over all of them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from ThickToThinSRLib.acquisition import PROFILES, Acquisition, simulate
from ThickToThinSRLib.inspection.slice_profile import measured_rounding
from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.volume import Volume

# Thickness and spacing in thin slices.
PROTOCOLS = ((3, 3), (3, 2), (5, 5), (5, 4), (5, 2.5), (6.25, 2.5), (6, 3), (7, 7))
SLICES = 95
KERNELS = ("plain", "softer", "sharper")


def of_kernel(voxels: np.ndarray, kernel: str) -> np.ndarray:
    """Slices as another reconstruction kernel would have made them."""
    if kernel == "plain":
        return voxels
    softer = gaussian_filter(voxels, (0.0, 0.9, 0.9))
    return softer if kernel == "softer" else 2 * voxels - softer


def thin_slices(path: Path) -> Volume:
    """The slices in the middle of a scan, as floating-point numbers."""
    volume = read_input(path)
    first = max(0, (len(volume.voxels) - SLICES) // 2)
    kept = volume.voxels[first : first + SLICES].astype(np.float32)
    return replace(volume, voxels=kept, slice_axis=2, thickness=None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("thin", nargs="+", type=Path)
    ranges = defaultdict(list)
    for path in parser.parse_args().thin:
        volume = thin_slices(path)
        step = volume.spacing[2]
        for kernel in KERNELS:
            thin = replace(volume, voxels=of_kernel(volume.voxels, kernel))
            for thickness, spacing in PROTOCOLS:
                assumed = Acquisition(thickness * step, spacing * step)
                found = {}
                for profile in PROFILES:
                    thick = simulate(thin, replace(assumed, profile=profile), axis=2)
                    found[profile] = measured_rounding(np.rint(thick.voxels), assumed)
                    if found[profile] is not None:
                        ranges[f"{thickness:g}/{spacing:g} {profile}"].append(found[profile])
                shown = ", ".join(
                    f"{name} {'nothing' if one is None else f'{one:.2f}'}" for name, one in found.items()
                )
                print(f"{path.name}, {kernel}, {thickness:g}/{spacing:g}: {shown}", flush=True)
    for name, values in ranges.items():
        print(f"{name}: {min(values):.2f} to {max(values):.2f}, median {np.median(values):.2f}")


if __name__ == "__main__":
    main()
