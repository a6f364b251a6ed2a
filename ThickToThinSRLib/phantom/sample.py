"""The bundled sample scan. ``python -m ThickToThinSRLib.phantom.sample OUT.nrrd`` makes it again."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from ..volume import Volume
from .scan import thorax

SCAN = {"seed": 0, "size_mm": (320.0, 264.0), "z_range": (-160.0, 95.0), "noise": 5.0, "kernel": 1.2}


def sample(slice_spacing: float = 5.0) -> Volume:
    """The sample scan with contiguous slices; with a spacing of 1.0 mm, the thin ground truth of the sample.

    Values are rounded to multiples of 4 HU, as some scanners do: this is below the noise and keeps the file
    small.
    """
    scan = thorax((1.0, 1.0, slice_spacing), **SCAN)
    return replace(scan, voxels=(np.rint(scan.voxels / 4.0) * 4).astype(np.int16))


def main(path: str) -> None:
    """Write the sample with the strongest compression of the format."""
    scan = sample()
    image = sitk.GetImageFromArray(scan.voxels)
    image.SetSpacing(scan.spacing)
    image.SetOrigin(scan.origin)
    sitk.WriteImage(image, path, useCompression=True, compressionLevel=9)


if __name__ == "__main__":
    main(sys.argv[1])
