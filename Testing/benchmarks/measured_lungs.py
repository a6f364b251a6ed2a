"""Real lungs read on results: densitometry, lung volume, HU of regions, and radiomic features."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy import ndimage

from Testing.benchmarks.made_thin import END, Run, heading, results
from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.evaluation.lung import densitometry, lung_mask
from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.volume import Volume

_SOFT = (0.0, 100.0)  # HU of the smoothed truth
FACTOR = 5
# Thickness and spacing of whole slices, in thin slices.
PROTOCOLS = ((FACTOR, FACTOR), (FACTOR, 2.5))
PART = (51, 80, 80)  # slices, rows, columns of a part of a scan
# Radiomic features that stand in the table, by their names in the package.
FEATURES = {
    "variance": "stat_var",
    "skewness": "stat_skew",
    "10th percentile": "stat_p10",
    "90th percentile": "stat_p90",
    "GLCM contrast": "cm_contrast",
    "GLCM joint entropy": "cm_joint_entr",
    "GLCM correlation": "cm_corr",
    "short runs emphasis": "rlm_sre",
}
_KINDS = ("stat_", "cm_", "rlm_")


def middle_slices(path: Path, count: int) -> Volume:
    """The slices in the middle of a thin scan."""
    volume = read_input(path)
    first = max(0, len(volume.voxels) - count) // 2
    return replace(volume, voxels=volume.voxels[first : first + count], slice_axis=2, thickness=None)


def soft_tissue(voxels: np.ndarray) -> np.ndarray:
    """Where smoothed slices have the HU of soft tissue."""
    smooth = ndimage.gaussian_filter(voxels.astype(np.float32), 3.0)
    return (smooth > _SOFT[0]) & (smooth < _SOFT[1])


def whole_slices(path: Path, count: int, methods: list[str], run: Run) -> None:
    """Rows of a scan: densitometry in the true lung, volume of the lung that is found in each result."""
    thin = middle_slices(path, count)
    step, scan = thin.spacing[2], path.name.split(".")[0]
    for thickness, spacing in PROTOCOLS:
        truth, label = None, f"{scan}, {thickness:g}/{spacing:g}"
        acquisition = Acquisition(thickness * step, spacing * step)
        for name, found in results(thin, acquisition, methods, run, f"lungs of {label}"):
            inner = slice(END, len(found.voxels) - END)
            own = lung_mask(found)[inner]
            if truth is None:
                lung, soft = own, soft_tissue(found.voxels)[inner]
            numbers = _numbers(found.voxels[inner], lung, soft)
            numbers["ml"] = own.sum() * np.prod(found.spacing) / 1e3
            print(f"| {label} | {name} | {_told(numbers, truth)} |", flush=True)
            truth = truth or numbers


def part_of_lung(path: Path) -> tuple[Volume, np.ndarray]:
    """The part of the middle slices that holds most lung, and the lung in it."""
    thin = middle_slices(path, PART[0])
    lung = lung_mask(thin)
    share = ndimage.uniform_filter(lung.mean(axis=0), PART[1:], mode="constant")
    middle = np.unravel_index(share.argmax(), share.shape)
    row, column = (
        max(0, min(place - side // 2, size - side))
        for place, side, size in zip(middle, PART[1:], share.shape, strict=True)
    )
    cut = np.s_[:, row : row + PART[1], column : column + PART[2]]
    return replace(thin, voxels=thin.voxels[cut]), lung[cut]


def parts(paths: list[Path], methods: list[str], run: Run) -> None:
    """Two tables of a part of each scan: densitometry, and errors of radiomic features."""
    rows = []
    heading("scan", "read on", "LAA-950, points", "Perc15, HU", "mean HU of lung", "standard deviation, HU")
    for path in paths:
        thin, whole = part_of_lung(path)
        step, scan, truth = thin.spacing[2], path.name.split(".")[0], None
        acquisition = Acquisition(FACTOR * step, FACTOR * step)
        for name, found in results(thin, acquisition, methods, run, f"part of {scan}"):
            inner = slice(END, len(found.voxels) - END)
            lung = whole[: len(found.voxels)][inner]
            numbers = _numbers(found.voxels[inner], lung, None)
            print(f"| {scan} | {name} | {_told(numbers, truth)} |", flush=True)
            truth = truth or numbers
            rows.append((scan, name, features(found.voxels[inner], lung)))
    print()
    if find_spec("mirp") is None:
        print("Radiomics: not measured, the package mirp is not installed")
        return
    heading("scan", "read on", *FEATURES, "median absolute error of all features")
    for scan, name, found in rows:
        true = next(values for its_scan, _, values in rows if its_scan == scan)
        if found is true:
            told = [f"{_one(found, key):.4g}" for key in FEATURES.values()] + [f"{len(found)} features"]
        else:
            error = {key: 100 * (value / true[key] - 1) for key, value in found.items() if true[key]}
            told = [f"{_one(error, key):+.0f} %" for key in FEATURES.values()]
            told.append(f"{np.median(np.abs(list(error.values()))):.0f} %")
        print(f"| {scan} | {name} | {' | '.join(told)} |", flush=True)


def features(voxels: np.ndarray, lung: np.ndarray) -> dict[str, float]:
    """First-order, co-occurrence and run-length features by the package `mirp`; empty without it."""
    if find_spec("mirp") is None:
        return {}
    from mirp import extract_features

    logging.disable(logging.WARNING)
    table = extract_features(
        image=voxels.astype(np.float32),
        mask=lung.astype(np.uint8),
        resegmentation_intensity_range=[-1024.0, 500.0],
        base_discretisation_method="fixed_bin_size",
        base_discretisation_bin_width=25.0,
        base_feature_families=["statistics", "glcm", "glrlm"],
        glcm_spatial_method="3d_volume_merge",
        glrlm_spatial_method="3d_volume_merge",
    )[0]
    logging.disable(logging.NOTSET)
    found = {name: float(table[name].iloc[0]) for name in table if name.startswith(_KINDS)}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _one(values: dict[str, float], feature: str) -> float:
    """The feature whose name begins so; the package adds how it was computed."""
    beginnings = (f"{feature}_d1_", f"{feature}_3d_")
    return next(values[name] for name in values if name == feature or name.startswith(beginnings))


def _numbers(voxels: np.ndarray, lung: np.ndarray, soft: np.ndarray | None) -> dict[str, float]:
    core = ndimage.binary_erosion(lung, iterations=3)
    density = densitometry(voxels, lung)
    numbers = {
        "laa": density["laa950_percent"],
        "perc15": density["perc15_hu"],
        "mean": float(voxels[lung].mean()),
        "deviation": float(voxels[core].std()),
    }
    return numbers if soft is None else {**numbers, "soft": float(voxels[soft].mean())}


def _told(numbers: dict[str, float], truth: dict[str, float] | None) -> str:
    """The numbers of the true slices, or the differences from them."""
    if truth is None:
        return " | ".join(f"{value:.{2 if key == 'laa' else 1}f}" for key, value in numbers.items())
    return " | ".join(f"{value - truth[key]:+.{2 if key == 'laa' else 1}f}" for key, value in numbers.items())
