"""What methods without weights gain over cubic interpolation on thin CT made thick by averaging.

``python -m Testing.benchmarks.accuracy THIN [THIN ...]`` prints PSNR (window [-1024, 2048] HU, inside the
body, five slices at either end left out) of cubic interpolation and the gain of `consistent` in dB, for
several protocols and true slice profiles; `consistent` always assumes a box.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.intensity import HU_WINDOW
from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import slice_count

# Thickness and spacing in thin slices, and the true profile.
PROTOCOLS = (
    (5, 5, "box"),
    (5, 2.5, "box"),
    (6.25, 2.5, "box"),
    (6.25, 3.75, "box"),
    (3, 2, "box"),
    (5, 5, "gaussian"),
    (5, 2.5, "gaussian"),
    (6.25, 2.5, "trapezoid"),
)


def psnr(estimate: np.ndarray, truth: np.ndarray, body: np.ndarray) -> float:
    """Within the body, over the networks' window, without the five slices at either end."""
    error = np.clip(estimate, *HU_WINDOW) - np.clip(truth, *HU_WINDOW)
    return 10 * np.log10((HU_WINDOW[1] - HU_WINDOW[0]) ** 2 / np.mean(error[5:-5, body] ** 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("thin", nargs="+", type=Path)
    for path in parser.parse_args().thin:
        volume = read_input(path)
        thin = replace(volume, voxels=volume.voxels.astype(np.float32), slice_axis=2, thickness=None)
        step = thin.spacing[2]
        body = thin.voxels.mean(axis=0) > -1000
        print(path.name)
        for thickness, spacing, profile in PROTOCOLS:
            acquisition = Acquisition(thickness * step, spacing * step, profile)
            thick = simulate(thin, acquisition, axis=2)
            thick = replace(thick, voxels=np.rint(thick.voxels))
            count = slice_count(len(thick.voxels), acquisition.spacing, step)
            found = [
                psnr(
                    enhance_volume(thick, Settings(method=method, spacing=step, axis=2))[0].voxels,
                    thin.voxels[:count],
                    body,
                )
                for method in ("interpolation", "consistent")
            ]
            print(
                f"  {thickness * step:5.2f} mm every {spacing * step:5.2f} mm, {profile:9}: "
                f"cubic {found[0]:.2f} dB, consistent {found[1] - found[0]:+.2f} dB",
                flush=True,
            )


if __name__ == "__main__":
    main()
