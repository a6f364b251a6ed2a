"""One system on one case, run as a user runs it, and what it cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.intensity import HU_WINDOW
from ThickToThinSRLib.methods.registry import METHODS, Options

from ..data.cases import Pair
from .cost import PeakMemory, Work
from .systems import System

AUTHORS_TILE = 256  # pixels: side of the tiles of the released test loops


@dataclass(frozen=True)
class Prediction:
    """Thin slices (N, H, W) in HU, float32, and what they cost.

    Attributes
    ----------
    seconds : float
        With an adaptation to the scan, where there is one.
    peak_mib : float or None
        See :class:`~training.evaluation.cost.PeakMemory`.
    gflop : float or None
        Of the network on all windows that were run, see :class:`~training.evaluation.cost.Work`.
    tile : int or None
        Side of the authors' tiles, pixels; None where there are none.
    """

    hu: np.ndarray
    seconds: float
    peak_mib: float | None
    gflop: float | None
    tile: int | None


def predict_pair(
    system: System, pair: Pair, protocol: str, device: str, precision: str, tile: int = AUTHORS_TILE
) -> Prediction:
    """Run a system on the thick slices of a pair.

    Parameters
    ----------
    protocol : {"authors", "seamless"}
        How windows lie.
    tile : int
        Side of the authors' tiles, whatever crop the weights were trained at. Where a slice is smaller, the
        tile is the least multiple of what the network needs that covers it; what tiles do not fill, on which
        the released code fails, is filled up with air.
    """
    thick = replace(pair.thick, voxels=np.asarray(pair.thick.voxels, np.float32))
    factor = (len(pair.thin.voxels) - 1) // (len(thick.voxels) - 1)
    spacing = thick.spacing[2]
    height, width = thick.voxels.shape[1:]
    released = protocol == "authors" and system.tiled
    if released:
        multiple = system.card["window"]["multiple"]
        tile = -(-min(tile, max(height, width)) // multiple) * multiple
        gaps = [(0, -size % tile) for size in (height, width)]
        padded = np.pad(thick.voxels, [(0, 0), *gaps], constant_values=HU_WINDOW[0])
        thick = replace(thick, voxels=padded)
    options = Options(
        axis=2,
        checkpoint=Path(system.card["path"]) if system.card else None,
        tiling="authors" if released else "seamless",
        tile=tile if released else None,
        device=device,
        precision=precision,
        epochs=system.epochs,
        minutes=system.minutes,
        network=system.network,
    )
    with Work(system.card["sha256"] if system.card else system.name) as work, PeakMemory(device) as memory:
        started = time.perf_counter()
        thin = METHODS[system.method].enhance(
            thick,
            spacing / factor,
            Acquisition(spacing, spacing),
            options,
            lambda *step: None,
            lambda: False,
        )
        seconds = time.perf_counter() - started
    hu = thin.voxels[:, :height, :width]
    return Prediction(hu, seconds, memory.mib, work.gflop, options.tile)
