"""One system on one case, run as a user runs it, and its cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.consistency import ConsistencyProjection
from ThickToThinSRLib.intensity import HU_WINDOW
from ThickToThinSRLib.interpolation import slab_columns, slabs
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.methods.request import Request
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.settings import Settings

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


@dataclass(frozen=True)
class Computing:
    """Where and how systems compute.

    Attributes
    ----------
    device, precision : str
        As in :class:`~ThickToThinSRLib.settings.Settings`.
    monitor : Monitor
        Is told the progress.
    """

    device: str
    precision: str
    monitor: Monitor = field(default_factory=Monitor)


def predict_pair(
    system: System, pair: ScanPair, protocol: str, computing: Computing, tile: int = AUTHORS_TILE
) -> Prediction:
    """Run a system on the thick slices of a pair.

    Systems with tiles give what the protocol asks for. Others give, for both, their result before it is made
    consistent with the thick slices; :func:`made_consistent` does the rest.

    Parameters
    ----------
    protocol : {"authors", "seamless"}
        How the windows are placed.
    computing : Computing
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
        multiple = system.checkpoint.window.multiple
        authors_tile = -(-min(tile, max(height, width)) // multiple) * multiple
        padding = [(0, -size % authors_tile) for size in (height, width)]
        padded = np.pad(thick.voxels, [(0, 0), *padding], constant_values=HU_WINDOW[0])
        thick = replace(thick, voxels=padded)
    spacing = thick.spacing[2]
    request = Request(
        axis=2,
        target_spacing=spacing / factor,
        acquisition=Acquisition(spacing, spacing),  # contiguous slices
        weights=system.checkpoint,
        tile=authors_tile,
        settings=Settings(
            tiling="seamless" if authors_tile is None else "authors",
            device=computing.device,
            precision=computing.precision,
            consistency=system.tiled,
            **system.adaptation,
        ),
    )
    identity = system.checkpoint.sha256 if system.checkpoint else system.name
    with Work(identity) as work, PeakMemory(computing.device) as memory:
        started = time.perf_counter()
        thin = METHODS[system.method].enhance(thick, request, computing.monitor)
        seconds = time.perf_counter() - started
    return Prediction(thin.voxels[:, :height, :width], seconds, memory.mib, work.gflop, authors_tile)


def made_consistent(prediction: Prediction, pair: ScanPair) -> Prediction:
    """The prediction with the smoothest correction that reproduces the thick slices, as in ``enhance``."""
    started = time.perf_counter()
    thin, thick = prediction.hu.copy(), pair.thick
    count, rows, columns = thin.shape
    spacing = thick.spacing[2]
    acquisition = Acquisition(spacing, spacing)
    factor = (count - 1) // (len(thick.voxels) - 1)
    project = ConsistencyProjection(acquisition, len(thick.voxels), count, spacing / factor)
    for band in slabs(count, rows, columns):
        solved = project(thin[:, band].reshape(count, -1), slab_columns(thick.voxels, band))
        thin[:, band] = solved.reshape(count, -1, columns)
    return replace(prediction, hu=thin, seconds=prediction.seconds + time.perf_counter() - started)
