"""Training pairs of `sr4zct_unet`: planes of the scans, degraded along their rows by random acquisitions.

Two kinds of planes are used: axial slices, degraded along either in-plane axis, and, of scans with thin
slices, coronal and sagittal planes, degraded along the through-plane axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.consistency import ConsistentInterpolation
from ThickToThinSRLib.methods.sr4zct.planes import (
    RESIDUAL_SCALE,
    acquisition_channels,
    along_rows,
    plane_input,
    thick_matrix,
    thin_matrix,
)

from .scans import Scan, choose_scan

# Ranges from which acquisitions are drawn, mm; those of thickness and spacing stand in the model card.
THICKNESS, SPACING, TARGET = (2.0, 8.0), (1.25, 8.0), (0.6, 1.6)
PLANES, SIDE = 8, 96  # planes in a batch, and the side of each in pixels
# Up to this spacing (mm), coronal and sagittal planes show as much as thin slices do.
_THIN = 1.0
# A crop whose mean lies below this is drawn again, up to 20 times.
_BODY_HU, _TRIES = -700.0, 20


def draw_acquisition(generator: np.random.Generator) -> tuple[Acquisition, float, float]:
    """A random acquisition, the thickness that the network is told, and a target spacing, all in mm."""
    target = generator.uniform(*TARGET) if generator.random() < 0.6 else 1.0
    thickness = generator.uniform(max(THICKNESS[0], 1.5 * target), THICKNESS[1])
    # Contiguous in 40 %; overlapping by half in 20 %, by up to 60 % in 30 %; a little overlap or gap in 10 %.
    overlap = generator.choice(
        [0.0, 0.5, generator.uniform(0.0, 0.6), generator.uniform(-0.2, 0.1)], p=[0.4, 0.2, 0.3, 0.1]
    )
    spacing = float(np.clip(thickness * (1 - overlap), max(SPACING[0], 1.25 * target), SPACING[1]))
    profile = generator.choice(["box", "gaussian", "trapezoid"], p=[0.6, 0.2, 0.2])
    assumed = thickness * (generator.uniform(0.9, 1.1) if generator.random() < 0.25 else 1.0)
    return Acquisition(thickness, spacing, str(profile)), assumed, target


def draw_batch(scans: Sequence[Scan], generator: np.random.Generator) -> dict[str, torch.Tensor]:
    """A batch of planes that share one acquisition, in units of the pixels along their rows.

    Returns
    -------
    dict
        ``planes``, the network's input (PLANES, channels, SIDE, SIDE), and ``difference``, what it should
        predict (PLANES, 1, SIDE, SIDE).
    """
    acquisition, thickness, target = draw_acquisition(generator)
    scan, through_plane = _draw_scan(scans, target, generator)
    pixel = scan.spacing[2]
    step = scan.spacing[0] if through_plane else pixel
    limit = len(scan.voxels) if through_plane else min(scan.voxels.shape[1:])
    # The crop is longer than needed, so that its borders look like the inside of a plane.
    margin = 2 * acquisition.spacing + acquisition.thickness
    rows = min(limit, int(np.ceil((SIDE * target + 2 * margin) / step)) + 1)
    crops = [_draw_crop(scan.voxels, through_plane, rows, generator) for _ in range(PLANES)]
    images = torch.from_numpy(np.stack(crops))
    truth = along_rows(thin_matrix(rows, step, target), images)
    thick = along_rows(thick_matrix(rows, step, acquisition), images)
    assumed = Acquisition(thickness, acquisition.spacing)
    base = ConsistentInterpolation(assumed, thick.shape[1], truth.shape[1], target)(thick)
    description = acquisition_channels(truth.shape[1], assumed, target, pixel)
    first = generator.integers(0, max(1, truth.shape[1] - SIDE + 1))
    part = slice(first, first + SIDE)
    base, truth = base[:, part], truth[:, part]
    difference = (truth.clamp(-1024, 2048) - base.clamp(-1024, 2048)) * RESIDUAL_SCALE
    return {"planes": plane_input(base, description[:, part]), "difference": difference[:, None]}


def _draw_scan(scans: Sequence[Scan], target: float, generator: np.random.Generator) -> tuple[Scan, bool]:
    """A scan, and whether its through-plane axis is used."""
    thin = [scan for scan in scans if scan.spacing[0] <= min(_THIN + 1e-6, target * 1.3)]
    through_plane = bool(thin) and generator.random() < 0.4
    return choose_scan(thin if through_plane else scans, generator), through_plane


def _draw_crop(
    voxels: np.ndarray, through_plane: bool, rows: int, generator: np.random.Generator
) -> np.ndarray:
    """A random image (rows, SIDE), float32, that shows some of the body."""
    slices, height, width = voxels.shape
    for _ in range(_TRIES):
        if through_plane:
            z = generator.integers(0, slices - rows + 1)
            coronal = generator.random() < 0.5
            index = generator.integers(height if coronal else width)
            plane = voxels[:, index] if coronal else voxels[:, :, index]
            x = generator.integers(0, plane.shape[1] - SIDE + 1)
            image = plane[z : z + rows, x : x + SIDE]
        else:
            plane = voxels[generator.integers(slices)]
            if generator.random() < 0.5:
                plane = plane.T
            y = generator.integers(0, plane.shape[0] - rows + 1)
            x = generator.integers(0, plane.shape[1] - SIDE + 1)
            image = plane[y : y + rows, x : x + SIDE]
        if image.mean() > _BODY_HU:
            break
    image = image[::-1] if generator.random() < 0.5 else image
    image = image[:, ::-1] if generator.random() < 0.5 else image
    return np.ascontiguousarray(image, np.float32)
