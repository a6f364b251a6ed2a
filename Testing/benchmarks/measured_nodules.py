"""Nodules of known size in the digital phantom's lung, at every position between the slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from Testing.benchmarks.made_thin import Run, heading, results
from Testing.nodules import Planted, free_places, plant
from Testing.tubes import LUNG_HU
from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.evaluation.lung import lung_mask
from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.volume import Volume

KINDS = {"solid": 30.0, "ground glass": -600.0}
SIZES = ((3.0, 5.0), (5.0, 8.0), (8.0, 12.0))
_SIDES = (20, 24, 30)  # pixels of the part of lung around a nodule of each size
_SLICES = 26  # six thick slices
_POSITIONS = 5  # thin slices in a thick one
_SEED = 20
_CLEAR = 1.5  # mm between a nodule and the nearest vessel, at least


def nodule_scans(
    number: int, seed: int, size_mm=(300.0, 190.0), z_range=(-110.0, 0.0)
) -> list[tuple[Volume, list[tuple[str, Planted]]]]:
    """A scan for each size: parts of the phantom's lung side by side, a nodule in the middle of each."""
    thin = thorax((0.7, 0.7, 1.0), seed=seed, size_mm=size_mm, z_range=z_range)
    lung = lung_mask(thin)
    rng = np.random.default_rng(seed)
    scans = []
    for size, (low, high) in enumerate(SIZES):
        side = _SIDES[size]
        margin = (_SLICES // 2 + _POSITIONS // 2 + 1, side // 2 + 1, side // 2 + 1)
        clear = 0.5 * high + _CLEAR
        chosen = free_places(thin, lung, clear, margin, number // len(SIZES), seed)
        across = _across(len(chosen))
        voxels = np.full((_SLICES, across * side, across * side), LUNG_HU, np.int16)
        planted = []
        for index, place in enumerate(chosen):
            kind = list(KINDS)[index % 2]
            start = np.rint(place).astype(int) - (_SLICES // 2, side // 2, side // 2)
            start[0] += index // 2 % _POSITIONS - _POSITIONS // 2
            corner = np.array((0, *divmod(index, across))) * side
            part = tuple(slice(a, a + n) for a, n in zip(start, (_SLICES, side, side), strict=True))
            voxels[:, corner[1] : corner[1] + side, corner[2] : corner[2] + side] = thin.voxels[part]
            nodule = Planted(tuple(place - start + corner), float(rng.uniform(low, high)), KINDS[kind])
            planted.append((kind, nodule))
        scan = replace(thin, voxels=voxels, slice_axis=2)
        scans.append((plant(scan, [nodule for _, nodule in planted]), planted))
    return scans


def measured_nodule(volume: Volume, nodule: Planted) -> tuple[float | None, float, float]:
    """Volume in mm3 by the half-contrast threshold (None if not found), mean HU of the core, CNR."""
    box = nodule.box(volume, 3.0)
    inside = volume.voxels[box].astype(np.float32)
    cover = nodule.cover(volume, box)
    background = float(np.median(inside[cover == 0]))
    spread = 1.4826 * float(np.median(np.abs(inside[cover == 0] - background)))
    labels, _ = ndimage.label(inside > 0.5 * (nodule.hu + LUNG_HU))
    at = tuple(round(c) - part.start for c, part in zip(nodule.centre, box, strict=True))
    label = labels[at]
    core = float(np.average(inside, weights=cover))
    found = float((labels == label).sum() * np.prod(volume.spacing)) if label else None
    return found, core, (core - background) / max(spread, 1.0)


def heads() -> None:
    """First lines of the table."""
    heading("kind, diameter", "number", "read on", "missed", "volume: mean error", "mean absolute error",
            "diameter: mean absolute error", "mean HU", "contrast to noise")  # fmt: skip


def voxels(number: int) -> int:
    """Of all scans with so many nodules."""
    across = _across(number // len(SIZES))
    return sum(_SLICES * (across * side) ** 2 for side in _SIDES)


def rows(acquisition: Acquisition, methods: list[str], number: int, run: Run) -> None:
    """Print a row for each kind, size and method."""
    for (low, high), (thin, planted) in zip(SIZES, nodule_scans(number, _SEED), strict=True):
        for name, volume in results(thin, acquisition, methods, run, f"nodules, {low:g} to {high:g} mm"):
            for kind in KINDS:
                nodules = [nodule for its_kind, nodule in planted if its_kind == kind]
                print(f"| {kind}, {low:g} to {high:g} mm | {_row(name, volume, nodules)}", flush=True)


def _across(number: int) -> int:
    """Parts in a row, so that their scan is square."""
    return int(np.ceil(np.sqrt(number)))


def _row(name: str, volume: Volume, nodules: list[Planted]) -> str:
    measured = [measured_nodule(volume, nodule) for nodule in nodules]
    diameter = np.array([nodule.diameter for nodule in nodules])
    there = np.array([found is not None for found, _, _ in measured])
    # A nodule that is missed has no volume: an error of -100 %.
    volumes = np.array([found or 0.0 for found, _, _ in measured])
    error = 100 * (volumes / (np.pi / 6 * diameter**3) - 1)
    across = np.abs(np.cbrt(6 / np.pi * volumes) - diameter)
    core, contrast = np.mean([entry[1:] for entry in measured], axis=0)
    return (
        f"{len(nodules)} | {name} | {100 * (1 - there.mean()):.0f} % | {error.mean():+.0f} % | "
        f"{np.abs(error).mean():.0f} % | {across.mean():.2f} mm | {core:.0f} | {contrast:.1f} |"
    )
