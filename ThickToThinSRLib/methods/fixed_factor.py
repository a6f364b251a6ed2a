"""Networks of a fixed upsampling factor over sliding windows: TVSRN, CTH-Net, ResVox, MPU-Net, DA-VSR.

A network gives slices at the input's spacing divided by its factor; another target spacing is reached from
these by cubic B-spline interpolation. The result is made consistent with the input.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..consistency import ConsistencyProjection
from ..errors import UserError
from ..inference.runner import Runner
from ..inference.sliding_window import predict
from ..intensity import HU_WINDOW, to_hu
from ..interpolation import interpolation_matrix, linear_matrix, slab_columns, slabs
from ..monitor import Monitor
from ..networks.registry import NETWORKS
from ..volume import Volume, cast_in_place, refined, slice_count
from .columns import map_columns
from .outside_window import blend_interpolation
from .request import Request


def enhance(volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Run the network of the request's weights."""
    return enhance_with(request.weights.load(), volume, request, monitor)


def enhance_with(network: torch.nn.Module, volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Run a network that is loaded already.

    Raises
    ------
    UserError
        If the authors' tiling is to make slices at another spacing than the network's own.
    """
    settings, acquisition, target = request.settings, request.acquisition, request.target_spacing
    thick = volume.slices_first(request.axis)
    window = network.window if request.tile is None else replace(network.window, tile=request.tile)
    native = acquisition.spacing / window.factor
    resampled = abs(target / native - 1) > 1e-6
    if settings.tiling == "authors" and resampled:
        raise UserError(
            f"the authors' tiling makes slices every {native:g} mm (factor {window.factor}), not every "
            f"{target:g} mm: use {{tiling}} seamless",
            "tiling",
        )
    entry = NETWORKS[network.name]
    runner = Runner(network, window, entry, settings.device, settings.precision, monitor)
    thin = predict(thick, window, settings.tiling, runner, monitor)
    monitor.record(device=str(runner.device), precision=runner.precision)
    if resampled:
        count = slice_count(len(thick), acquisition.spacing, target)
        matrix = interpolation_matrix(len(thin), native, count, target).astype(np.float32)
        thin = map_columns(lambda columns: matrix @ columns, thin, count, "resampling", monitor)
    _finish(thin, thick, request, monitor)
    return refined(volume, request.axis, target, cast_in_place(thin, volume.voxels.dtype))


def _finish(thin: np.ndarray, thick: np.ndarray, request: Request, monitor: Monitor) -> None:
    """Take a network's output `thin` to HU, in place; mend what its window clipped; make it consistent.

    The released test loop (the authors' tiling) ends with the clipped HU of the network.
    """
    acquisition, target = request.acquisition, request.target_spacing
    count, rows, columns = thin.shape
    interpolate = interpolation_matrix(len(thick), acquisition.spacing, count, target)
    spread = linear_matrix(len(thick), acquisition.spacing, count, target)
    project = None
    if request.settings.consistency:
        project = ConsistencyProjection(acquisition, len(thick), count, target)
    for band in slabs(count, rows, columns):
        monitor.check()
        hu = to_hu(thin[:, band].reshape(count, -1))
        if request.settings.tiling == "authors":
            np.clip(hu, *HU_WINDOW, out=hu)
        else:
            measured = slab_columns(thick, band)
            if project is not None:
                # Against what the network saw: metal must not pull at its surroundings.
                hu = project(hu, np.clip(measured, *HU_WINDOW))
            hu = blend_interpolation(hu, measured, interpolate, spread)
        thin[:, band] = hu.reshape(count, -1, columns)
        monitor.step("consistency", band.stop, rows)
