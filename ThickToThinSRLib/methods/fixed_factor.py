"""Networks of a fixed upsampling factor over sliding windows: TVSRN, CTH-Net, ResVox, MPU-Net, DA-VSR.

A network gives slices at the input's spacing divided by its factor; another target spacing is reached from
these by cubic B-spline interpolation. The result is made consistent with the input.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..consistency import ConsistencyProjection
from ..errors import UserError
from ..inference.place import Place
from ..inference.runner import Runner
from ..inference.sliding_window import predict
from ..intensity import HU_WINDOW, to_hu
from ..interpolation import SliceMap, interpolation_matrix, linear_matrix, slab_columns
from ..monitor import Monitor
from ..networks.registry import NETWORKS
from ..volume import Volume, refined, slice_count
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
    count = slice_count(len(thick), acquisition.spacing, target)
    _, rows, columns = thick.shape
    predicted = window.factor * (len(thick) - 1) + 1
    place = Place(runner.device, (len(thick) + predicted + count * resampled) * rows * columns, monitor)
    volumes = place.volumes
    volumes["thick"], volumes["thin"] = place.put(thick), place.zeros((predicted, rows, columns))
    predict(volumes["thick"], window, settings.tiling, runner, monitor, volumes["thin"])
    monitor.record(device=str(runner.device), precision=runner.precision)
    if resampled:
        _resample(place, SliceMap(interpolation_matrix(predicted, native, count, target)), monitor)
    _finish(place, request, monitor)
    return refined(volume, request.axis, target, place.result("thin", volume.voxels.dtype))


def _resample(place: Place, solve: SliceMap, monitor: Monitor) -> None:
    """Interpolate the network's own slices to those that are asked for."""
    volumes = place.volumes
    volumes["native"] = volumes["thin"]
    shape = (len(solve.whole.array), *volumes["native"].shape[1:])
    volumes["thin"] = place.zeros(shape)

    def fill(band: slice) -> None:
        solved = solve(slab_columns(volumes["native"], band))
        volumes["thin"][:, band] = solved.reshape(shape[0], -1, shape[2])

    place.each_slab(fill, (max(shape[0], len(volumes["native"])), *shape[1:]), "resampling", monitor)
    del volumes["native"]


def _finish(place: Place, request: Request, monitor: Monitor) -> None:
    """Take a network's output "thin" to HU, in place; mend what its window clipped; make it consistent.

    The released test loop (the authors' tiling) ends with the clipped HU of the network.
    """
    acquisition, target, volumes = request.acquisition, request.target_spacing, place.volumes
    shape, slices = volumes["thin"].shape, len(volumes["thick"])
    count = shape[0]
    interpolate = SliceMap(interpolation_matrix(slices, acquisition.spacing, count, target))
    spread = SliceMap(linear_matrix(slices, acquisition.spacing, count, target))
    project = None
    if request.settings.consistency:
        project = ConsistencyProjection(request.profiled, slices, count, target)

    def finish(band: slice) -> None:
        thin = volumes["thin"]
        hu = to_hu(thin[:, band].reshape(count, -1))
        if request.settings.tiling == "authors":
            hu = hu.clip(*HU_WINDOW)
        else:
            measured = slab_columns(volumes["thick"], band)
            if project is not None:
                # Against what the network saw: metal must not pull at its surroundings.
                hu = project(hu, measured.clip(*HU_WINDOW))
            hu = blend_interpolation(hu, measured, interpolate, spread)
        thin[:, band] = hu.reshape(count, -1, shape[2])

    place.each_slab(finish, tuple(shape), "consistency", monitor)
