"""How far the demo's result is from the true thin slices of the bundled phantom, beside cubic interpolation.

``python -m Testing.benchmarks.demo_numbers SAMPLE RESULT``, which ``make demo`` runs on the bundled sample.
The truth is known because the sample is a drawing. Drawing all of it takes more than a minute, so a slab of
:data:`SLICES` thin slices between three thick ones is drawn, at the height of the heart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.io.volume_files import read_volume
from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.phantom.sample import SCAN
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume

from .against_truth import body_mask, errors

FIRST_HEIGHT = -40.0  # mm, where the sample has a thick slice
SLICES = 11
_STEP_HU = 4.0  # the sample is stored in such steps, see ThickToThinSRLib.phantom.sample


def true_slab(first: float = FIRST_HEIGHT, slices: int = SLICES) -> Volume:
    """True thin slices of the sample, every 1 mm from the height `first` in mm on."""
    heights = (first, first + slices - 1)
    drawn = thorax((1.0, 1.0, 1.0), **{**SCAN, "z_range": heights})
    return Volume(np.rint(drawn.voxels / _STEP_HU) * _STEP_HU, drawn.spacing, drawn.origin)


def slab_of(volume: Volume, slab: Volume) -> np.ndarray:
    """The slices of `volume` that lie at those of `slab`; both have slices every 1 mm."""
    first = round(slab.origin[2] - volume.origin[2])
    return volume.voxels[first : first + len(slab.voxels)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sample", type=Path, help="the bundled sample, 5 mm")
    parser.add_argument("result", type=Path, help="what was made of it, 1 mm")
    options = parser.parse_args()
    truth = true_slab()
    cubic, _ = enhance_volume(read_volume(options.sample), Settings(method="interpolation", spacing=1.0))
    body = body_mask(truth.voxels)
    print(f"Error inside the body against the true 1 mm slices ({SLICES} of them, at the heart):")
    for name, volume in (("cubic interpolation", cubic), ("the result", read_volume(options.result))):
        psnr, mean = errors(slab_of(volume, truth), truth.voxels, body)
        print(f"  {name:20} PSNR {psnr:5.2f} dB   mean absolute error {mean:5.2f} HU")


if __name__ == "__main__":
    main()
