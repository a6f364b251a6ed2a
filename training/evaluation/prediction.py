"""One system on one case, run as a user runs it, and its cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.intensity import HU_WINDOW
from ThickToThinSRLib.methods.registry import METHODS, Options
from ThickToThinSRLib.volume import Volume

from ..data.cases import ScanPair
from .cost import PeakMemory, Work
from .systems import System

AUTHORS_TILE = 256  # pixels: side of the tiles in the released test loops


@dataclass(frozen=True)
class Prediction:
    """Predicted thin slices and their cost.

    Attributes
    ----------
    hu : ndarray, shape (N, H, W), float32
        Thin slices, HU.
    seconds : float
        Run time, with the adaptation to the scan if there is one.
    peak_mib : float or None
        See :class:`~training.evaluation.cost.PeakMemory`.
    gflop : float or None
        Operations of the network on all windows, see :class:`~training.evaluation.cost.Work`.
    tile : int or None
        Side of the authors' tiles, pixels; None if there are none.
    """

    hu: np.ndarray
    seconds: float
    peak_mib: float | None
    gflop: float | None
    tile: int | None


def predict_pair(
    system: System, pair: ScanPair, protocol: str, device: str, precision: str, tile: int = AUTHORS_TILE
) -> Prediction:
    """Run a system on the thick slices of a pair.

    Parameters
    ----------
    protocol : {"authors", "seamless"}
        How the windows are placed.
    device, precision : str
        Where and how to compute.
    tile : int
        Side of the authors' tiles, whatever crop the weights were trained with. If a slice is smaller, the
        tile is the smallest multiple that the network accepts and that covers it. The released code fails
        where tiles do not fit; here the slices are padded with air.
    """
    thick = replace(pair.thick, voxels=np.asarray(pair.thick.voxels, np.float32))
    factor = (len(pair.thin.voxels) - 1) // (len(thick.voxels) - 1)
    height, width = thick.voxels.shape[1:]
    authors_tile = None
    if protocol == "authors" and system.tiled:
        multiple = system.card["window"]["multiple"]
        authors_tile = -(-min(tile, max(height, width)) // multiple) * multiple
        padding = [(0, -size % authors_tile) for size in (height, width)]
        padded = np.pad(thick.voxels, [(0, 0), *padding], constant_values=HU_WINDOW[0])
        thick = replace(thick, voxels=padded)
    options = _options(system, authors_tile, device, precision)
    with Work(system.card["sha256"] if system.card else system.name) as work, PeakMemory(device) as memory:
        started = time.perf_counter()
        thin = _enhanced(system, thick, factor, options)
        seconds = time.perf_counter() - started
    return Prediction(thin.voxels[:, :height, :width], seconds, memory.mib, work.gflop, authors_tile)


def _options(system: System, authors_tile: int | None, device: str, precision: str) -> Options:
    return Options(
        axis=2,
        checkpoint=Path(system.card["path"]) if system.card else None,
        tiling="seamless" if authors_tile is None else "authors",
        tile=authors_tile,
        device=device,
        precision=precision,
        epochs=system.epochs,
        minutes=system.minutes,
        network=system.network,
    )


def _enhanced(system: System, thick: Volume, factor: int, options: Options) -> Volume:
    """Contiguous thick slices, enhanced by a method of the library."""
    spacing = thick.spacing[2]
    acquisition = Acquisition(spacing, spacing)
    enhance = METHODS[system.method].enhance
    return enhance(thick, spacing / factor, acquisition, options, lambda *step: None, lambda: False)
