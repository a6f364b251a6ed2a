"""Random acquisitions of random pieces of the scans, so that the network is not tuned to one scanner."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.interpolation import interpolation_matrix
from ThickToThinSRLib.methods.universal.pairs import Pair, make_pair, reach_of

from .scans import Scan

CROP = 96
# Share of pairs that take rows or columns of a scan for its slices.
_IN_PLANE = 0.2
# Spacing and thickness in mm that clinics use most.
_COMMON = ((5, 5), (3, 3), (2.5, 2.5), (2.5, 5), (2, 3), (2.5, 6.25))
# Shares of contiguous, overlapping, gapped and common acquisitions; later nearer to what clinics have.
_SHARES, _SETTLED_SHARES = (0.35, 0.35, 0.10, 0.20), (0.40, 0.25, 0.05, 0.30)


def draw_acquisition(generator: np.random.Generator, step: float, settled: bool) -> Acquisition:
    """A slice thickness, spacing and profile, for thin slices every `step` mm."""
    least = max(2 * step, 2.0)
    kind = generator.choice(4, p=_SETTLED_SHARES if settled else _SHARES)
    if kind == 0:
        thickness = spacing = generator.uniform(least, 7.5)
    elif kind == 1:
        thickness = generator.uniform(least, 8.0)
        spacing = max(thickness * generator.uniform(0.4, 1.0), 1.5 * step)
    elif kind == 2:
        spacing = generator.uniform(3.0, 7.0)
        thickness = spacing * generator.uniform(0.5, 1.0)
    else:
        common = (*_COMMON, (5, 5), (5, 5)) if settled else _COMMON
        spacing, thickness = common[generator.integers(len(common))]
    profile = generator.choice(["box", "gaussian", "trapezoid"], p=[0.6, 0.2, 0.2])
    return Acquisition(max(thickness, 1.3 * step), spacing, str(profile))


def draw_pair(scans: list[Scan], generator: np.random.Generator, settled: bool) -> Pair:
    """A pair out of one of the scans."""
    weights = np.array([scan.weight for scan in scans])
    while True:
        scan = scans[generator.choice(len(scans), p=weights / weights.sum())]
        in_plane = scan.in_plane_only or generator.random() < _IN_PLANE
        axis = int(generator.integers(1, 3)) if in_plane else 0
        step = scan.spacing[axis]
        acquisition = draw_acquisition(generator, step, settled)
        found = _cut(np.moveaxis(scan.voxels, axis, 0), step, _mean_pixel(scan, axis), acquisition, generator)
        if found is not None:
            break
    block, first, pixel = found
    assumed = acquisition.thickness
    if generator.random() < 0.2:  # what DICOM says is not quite what the scanner did
        assumed = max(assumed * generator.uniform(0.85, 1.15), 1.2 * step)
    whole = generator.random() < 0.7
    block = _as_other_scanners(block, generator)
    return make_pair(
        block, first, step, acquisition, Acquisition(assumed, acquisition.spacing), pixel, generator, whole
    )


def _mean_pixel(scan: Scan, axis: int) -> float:
    return float(np.mean([spacing for index, spacing in enumerate(scan.spacing) if index != axis]))


def _cut(slices, step, pixel, acquisition, generator):
    """Block of thin slices around a random position, its first slice's position, its pixel; None if empty."""
    reach = reach_of(acquisition, step)
    length = (len(slices) - 1) * step
    # Sometimes with larger or smaller pixels, 0.5 to 1.05 mm.
    zoom = 1.0
    if generator.random() < 0.3:
        zoom = float(np.clip(np.exp(generator.uniform(-0.35, 0.3)), 0.5 / pixel, 1.05 / pixel))
    side = round((CROP - 1) * zoom) + 1
    height, width = slices.shape[1:]
    if 2 * reach >= length or min(height, width) < side:
        return None
    centre = generator.uniform(reach, length - reach)
    low, high = int(np.floor((centre - reach) / step)), int(np.ceil((centre + reach) / step))
    row, column = generator.integers(0, height - side + 1), generator.integers(0, width - side + 1)
    middle = slices[round(centre / step), row : row + side, column : column + side]
    # Air alone teaches little.
    if (middle > -1000).mean() < 0.2 and generator.random() < 0.9:
        return None
    block = slices[low : high + 1, row : row + side, column : column + side].astype(np.float32)
    if side != CROP:
        resample = interpolation_matrix(side, 1.0, CROP, (side - 1) / (CROP - 1)).astype(np.float32)
        block = resample @ block @ resample.T
    return block, low * step - centre, pixel * (side - 1) / (CROP - 1)


def _as_other_scanners(block: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Noise where the air was masked; sharper and softer kernels; more noise."""
    masked = block <= -1023
    if masked.any() and generator.random() < 0.5:
        noise = np.abs(generator.normal(0, generator.uniform(5, 30), block.shape))
        block = block + masked * noise.astype(np.float32)
    kernel = generator.random()
    if kernel < 0.2:
        sharpened = block - _blurred(block, generator.uniform(0.6, 1.2))
        block = block + np.float32(generator.uniform(0.3, 1.5)) * sharpened
    elif kernel < 0.35:
        block = _blurred(block, generator.uniform(0.4, 0.9))
    if generator.random() < 0.15:
        noise = generator.standard_normal(block.shape, dtype=np.float32)
        block = block + np.float32(generator.uniform(3, 25)) * noise
    return np.clip(block, -1100, 3100)


def _blurred(block: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred in-plane by a Gaussian of `sigma` pixels."""
    return gaussian_filter1d(gaussian_filter1d(block, sigma, axis=1), sigma, axis=2)
