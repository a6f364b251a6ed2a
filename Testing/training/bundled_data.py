"""Tiny training data for each recipe of bundled weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.bundled import bundled_for
from training.bundled.taught import NAMES, TEACHER, TaughtBlock

FACTOR = 5


def noise_and_blocks(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """HU (slices, rows, columns) of blocks of 5 x 8 x 8 voxels, with noise; `shape` counts the blocks."""
    generator = np.random.default_rng(seed)
    voxels = generator.normal(0, 200, shape).repeat(5, axis=0).repeat(8, axis=1).repeat(8, axis=2)
    return np.rint(voxels + generator.normal(0, 20, voxels.shape)).astype(np.int16)


def write_thin_scan(path: Path, blocks: tuple[int, int, int] = (16, 13, 14), spacing: float = 1.0) -> None:
    """A scan of noise and blocks, small but larger than a crop."""
    volume = Volume(noise_and_blocks(blocks), (0.7, 0.7, spacing), (0, 0, 0), np.eye(3), slice_axis=2)
    write_volume(volume, path)


def write_distilled_scan(folder: Path, truth: np.ndarray | None = None, error: int = 0) -> np.ndarray:
    """A scan as ``training.bundled.distilled`` writes it, its teacher off by `error` HU; gives the truth."""
    truth = noise_and_blocks((9, 9, 9)) if truth is None else truth
    folder.mkdir(parents=True)
    np.save(folder / "truth.npy", truth)
    phases = list(range(FACTOR // 2, FACTOR // 2 + FACTOR))
    for phase in phases:
        thick = (len(truth) - phase - FACTOR // 2 - 1) // FACTOR + 1
        np.save(
            folder / f"teacher_{phase}.npy", truth[phase : phase + FACTOR * (thick - 1) + 1] + np.int16(error)
        )
    facts = {"name": folder.name, "factor": FACTOR, "phases": phases, "spacing": 1.0}
    (folder / "scan.json").write_text(json.dumps(facts))
    return truth


def write_taught_blocks(folder: Path, count: int = 2) -> None:
    """Blocks as ``training.bundled.taught_blocks`` writes them: 13 slices of 5 mm, 61 of 1 mm."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(bundled_for("universal").path, folder / TEACHER)
    (folder / NAMES).write_text(json.dumps(["lidc_a"]))
    for number in range(count):
        truth = noise_and_blocks((14, 18, 18), seed=number)[:65].astype(np.float32)
        thick = truth.reshape(13, 5, 144, 144).mean(axis=1)
        thin = truth[2:63]
        TaughtBlock(thick, thin, thin, Acquisition(5, 5), 1.0, 0.7).save(folder / f"block_{number:04}.npz")
