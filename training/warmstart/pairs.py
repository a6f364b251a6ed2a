"""Training pairs of the warm start: planes of several scans degraded by random acquisitions.

A scan gives two kinds of planes whose rows are degraded: axial slices along either in-plane axis, and, where
its slices are thin, coronal and sagittal planes along the through-plane axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.enhance import read_input
from ThickToThinSRLib.methods.sr4zct.planes import (
    RESIDUAL_SCALE,
    PlaneInterpolation,
    along_rows,
    describe,
    network_input,
    thick_matrix,
    thin_matrix,
)

# Ranges from which acquisitions are drawn (mm); the model card's `trained`.
THICKNESS, SPACING, TARGET = (2.0, 8.0), (1.25, 8.0), (0.6, 1.6)
# Slices up to this spacing are thin enough for coronal and sagittal planes to show what thin slices show.
_THIN = 1.0
_BODY_HU = -700.0


@dataclass(frozen=True)
class Scan:
    """HU (slices, rows, columns), their spacing and the in-plane pixel in mm; how often it is drawn."""

    name: str
    voxels: np.ndarray
    spacing: float
    pixel: float
    weight: float = 1.0


def read_scan(path, weight: float = 1.0) -> Scan:
    """A volume file or DICOM folder as a Scan; its slices lie along the last index axis."""
    volume = read_input(path)
    return Scan(path.name, volume.voxels.astype(np.int16), volume.spacing[2], volume.spacing[0], weight)


def draw_acquisition(random: np.random.Generator) -> tuple[Acquisition, float, float]:
    """A random acquisition, the thickness by which it is known, and a target spacing, all in mm."""
    target = random.uniform(*TARGET) if random.random() < 0.6 else 1.0
    thickness = random.uniform(max(THICKNESS[0], 1.5 * target), THICKNESS[1])
    # Contiguous as often as overlapping; half of these by half.
    overlap = random.choice(
        [0.0, 0.5, random.uniform(0.0, 0.6), random.uniform(-0.2, 0.1)], p=[0.4, 0.2, 0.3, 0.1]
    )
    spacing = float(np.clip(thickness * (1 - overlap), max(SPACING[0], 1.25 * target), SPACING[1]))
    profile = random.choice(["box", "gaussian", "trapezoid"], p=[0.6, 0.2, 0.2])
    known = thickness * (random.uniform(0.9, 1.1) if random.random() < 0.25 else 1.0)
    return Acquisition(thickness, spacing, str(profile)), known, target


def batch(
    scans: list[Scan], random: np.random.Generator, count: int = 8, side: int = 96
) -> tuple[torch.Tensor, torch.Tensor]:
    """Network input (count, channels, side, side) and the difference to predict (count, 1, side, side).

    All planes of a batch have one acquisition, in units of the pixels along their rows.
    """
    acquisition, known, target = draw_acquisition(random)
    thin_scans = [scan for scan in scans if scan.spacing <= _THIN + 1e-6 and scan.spacing <= target * 1.3]
    through_plane = bool(thin_scans) and random.random() < 0.4
    chosen = thin_scans if through_plane else scans
    weights = np.array([scan.weight for scan in chosen])
    source = chosen[random.choice(len(chosen), p=weights / weights.sum())]
    step = source.spacing if through_plane else source.pixel
    limit = len(source.voxels) if through_plane else min(source.voxels.shape[1:])
    # Beyond the crop, so that its borders are like the inside of a plane.
    margin = 2 * acquisition.spacing + acquisition.thickness
    rows = min(limit, int(np.ceil((side * target + 2 * margin) / step)) + 1)
    images = np.stack([_crop(source, random, through_plane, rows, side) for _ in range(count)])
    images = torch.from_numpy(images)
    truth = along_rows(thin_matrix(rows, step, target), images)
    thick = along_rows(thick_matrix(rows, step, acquisition), images)
    assumed = Acquisition(known, acquisition.spacing)
    base = PlaneInterpolation(assumed, thick.shape[1], truth.shape[1], target)(thick)
    description = describe(truth.shape[1], assumed, target, source.pixel)
    first = random.integers(0, max(1, truth.shape[1] - side + 1))
    kept = slice(first, first + side)
    base, truth = base[:, kept], truth[:, kept]
    difference = (truth.clamp(-1024, 2048) - base.clamp(-1024, 2048)) * RESIDUAL_SCALE
    return network_input(base, description[:, kept]), difference[:, None]


def _crop(scan: Scan, random: np.random.Generator, through_plane: bool, rows: int, side: int) -> np.ndarray:
    """A random image (rows, side), float32, that shows some of the body."""
    voxels = scan.voxels
    slices, height, width = voxels.shape
    for _ in range(20):
        if through_plane:
            z = random.integers(0, slices - rows + 1)
            coronal = random.random() < 0.5
            along = voxels[:, random.integers(height)] if coronal else voxels[:, :, random.integers(width)]
            x = random.integers(0, along.shape[1] - side + 1)
            image = along[z : z + rows, x : x + side]
        else:
            plane = voxels[random.integers(slices)]
            if random.random() < 0.5:
                plane = plane.T
            y = random.integers(0, plane.shape[0] - rows + 1)
            x = random.integers(0, plane.shape[1] - side + 1)
            image = plane[y : y + rows, x : x + side]
        if image.mean() > _BODY_HU:
            break
    image = image[::-1] if random.random() < 0.5 else image
    image = image[:, ::-1] if random.random() < 0.5 else image
    return np.ascontiguousarray(image, np.float32)
