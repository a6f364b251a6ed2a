"""Training pairs of `universal`: random acquisitions of random blocks of the scans.

Thickness, spacing, slice profile, pixel size, kernel and noise are all random, so that the network is not
tuned to one scanner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.consistency import ConsistentInterpolation
from ThickToThinSRLib.interpolation import interpolation_matrix, slab_columns, slabs
from ThickToThinSRLib.methods.universal.pairs import CorrectionPair, make_pair, reach_of

from .scans import Scan, choose_scan

CROP = 96  # pixels
# Slices farther apart than this (mm) are too thick to learn from along z. They are interpolated to about
# `_FINE` mm, and only their rows and columns are used.
_THICK, _FINE = 1.5, 0.9
# Share of pairs that take rows or columns of a scan for its slices.
_IN_PLANE = 0.2
# Spacing and thickness in mm that clinics use most.
_COMMON = ((5, 5), (3, 3), (2.5, 2.5), (2.5, 5), (2, 3), (2.5, 6.25))
# Shares of contiguous, overlapping, gapped and common acquisitions; in the settling steps closer to what
# clinics use.
_SHARES, _SETTLING_SHARES = (0.35, 0.35, 0.10, 0.20), (0.40, 0.25, 0.05, 0.30)
# A crop with less of the body than this share is mostly drawn again, since air alone teaches little.
_BODY_SHARE, _BODY_HU = 0.2, -1000


def with_fine_slices(scan: Scan) -> Scan:
    """The scan; if its slices are thick, interpolated and marked for in-plane use only."""
    spacing = scan.spacing[0]
    if spacing <= _THICK:
        return scan
    factor = math.ceil(spacing / _FINE)
    thick = scan.voxels
    count = (len(thick) - 1) * factor + 1
    solve = ConsistentInterpolation(Acquisition(spacing, spacing), len(thick), count, spacing / factor)
    fine = np.empty((count, *thick.shape[1:]), np.int16)
    for band in slabs(count, *thick.shape[1:]):
        slab = np.rint(solve(slab_columns(thick, band))).clip(-1024, 3071)
        fine[:, band] = slab.reshape(count, -1, thick.shape[2])
    return replace(scan, voxels=fine, spacing=(spacing / factor, *scan.spacing[1:]), in_plane_only=True)


def draw_acquisition(generator: np.random.Generator, step: float, settling: bool) -> Acquisition:
    """A slice thickness, spacing and profile, for thin slices every `step` mm."""
    thinnest = max(2 * step, 2.0)
    kind = generator.choice(4, p=_SETTLING_SHARES if settling else _SHARES)
    if kind == 0:
        thickness = spacing = generator.uniform(thinnest, 7.5)
    elif kind == 1:
        thickness = generator.uniform(thinnest, 8.0)
        spacing = max(thickness * generator.uniform(0.4, 1.0), 1.5 * step)
    elif kind == 2:
        spacing = generator.uniform(3.0, 7.0)
        thickness = spacing * generator.uniform(0.5, 1.0)
    else:
        common = (*_COMMON, (5, 5), (5, 5)) if settling else _COMMON
        spacing, thickness = common[generator.integers(len(common))]
    profile = generator.choice(["box", "gaussian", "trapezoid"], p=[0.6, 0.2, 0.2])
    return Acquisition(max(thickness, 1.3 * step), spacing, str(profile))


def draw_pair(scans: Sequence[Scan], generator: np.random.Generator, settling: bool) -> CorrectionPair:
    """A pair from one of the scans."""
    block = None
    while block is None:
        scan = choose_scan(scans, generator)
        axis = chosen_axis(scan, generator)
        acquisition = draw_acquisition(generator, scan.spacing[axis], settling)
        block = draw_block(scan, axis, reach_of(acquisition, scan.spacing[axis]), CROP, generator)
    assumed = assumed_thickness(acquisition, block.step, generator)
    whole_hu = generator.random() < 0.7
    voxels = as_other_scanners(block.voxels, generator)
    return make_pair(
        voxels,
        (block.first, block.step),
        acquisition,
        Acquisition(assumed, acquisition.spacing),
        block.pixel,
        generator,
        whole_hu,
    )


def chosen_axis(scan: Scan, generator: np.random.Generator) -> int:
    """The axis of a scan that a pair takes for the through-plane one."""
    in_plane = scan.in_plane_only or generator.random() < _IN_PLANE
    return int(generator.integers(1, 3)) if in_plane else 0


def assumed_thickness(acquisition: Acquisition, step: float, generator: np.random.Generator) -> float:
    """The thickness that is stated, which sometimes is not quite what the scanner did; mm."""
    if generator.random() < 0.2:
        return max(acquisition.thickness * generator.uniform(0.85, 1.15), 1.2 * step)
    return acquisition.thickness


@dataclass(frozen=True)
class Block:
    """Thin slices (n, side, side) around position 0: position of the first, their distance, pixel; mm."""

    voxels: np.ndarray
    first: float
    step: float
    pixel: float


def draw_block(
    scan: Scan, axis: int, reach: float, kept: int, generator: np.random.Generator
) -> Block | None:
    """A block around a random position along `axis`.

    Parameters
    ----------
    reach : float
        How far it extends to either side of the position, mm.
    kept : int
        Its side, pixels.

    Returns
    -------
    Block or None
        None if the scan is too small, or mostly air is seen.
    """
    slices, step = np.moveaxis(scan.voxels, axis, 0), scan.spacing[axis]
    pixel = float(np.mean([spacing for index, spacing in enumerate(scan.spacing) if index != axis]))
    length = (len(slices) - 1) * step
    # Sometimes with larger or smaller pixels, 0.5 to 1.05 mm.
    zoom = 1.0
    if generator.random() < 0.3:
        zoom = float(np.clip(np.exp(generator.uniform(-0.35, 0.3)), 0.5 / pixel, 1.05 / pixel))
    side = round((kept - 1) * zoom) + 1
    height, width = slices.shape[1:]
    if 2 * reach >= length or min(height, width) < side:
        return None
    centre = generator.uniform(reach, length - reach)
    low, high = int(np.floor((centre - reach) / step)), int(np.ceil((centre + reach) / step))
    row, column = generator.integers(0, height - side + 1), generator.integers(0, width - side + 1)
    crop = np.s_[row : row + side, column : column + side]
    middle = slices[round(centre / step)][crop]
    if (middle > _BODY_HU).mean() < _BODY_SHARE and generator.random() < 0.9:
        return None
    voxels = slices[low : high + 1][(slice(None), *crop)].astype(np.float32)
    if side != kept:
        resample = interpolation_matrix(side, 1.0, kept, (side - 1) / (kept - 1)).astype(np.float32)
        voxels = resample @ voxels @ resample.T
    return Block(voxels, low * step - centre, step, pixel * (side - 1) / (kept - 1))


def as_other_scanners(block: np.ndarray, generator: np.random.Generator) -> np.ndarray:
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
