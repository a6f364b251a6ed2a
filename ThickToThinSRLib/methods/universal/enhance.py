"""The method `universal`: a network corrects the consistent interpolation, slice by slice.

Around each thick slice the network (:mod:`~ThickToThinSRLib.networks.universal`) gives a correction that is
continuous along z; neighbouring slices' corrections fade into each other. The result is then made consistent
with the input. Air and the table around the body keep the interpolation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ...arrays import as_float, beside, larger, stacked
from ...consistency import ConsistentInterpolation
from ...inference.conditioned import ConditionedNetwork
from ...inference.devices import resolve_device
from ...inference.place import Place
from ...inference.runner import Runner
from ...inference.sliding_window import middle_first, predict_blocks
from ...intensity import outside_window
from ...interpolation import slab_columns
from ...monitor import Monitor
from ...networks.registry import NETWORKS
from ...networks.universal import NEIGHBOURS, SAMPLES, cosine_series, describe_acquisition
from ...volume import Volume, refined, slice_count
from ..body import Body, cut, with_margin
from ..project import project
from ..request import Request
from .adaptation import adapt
from .network_input import DIFFERENCE_UNIT, share, universal_input

# Samples of the interpolation per thick slice spacing; the network reads some of them.
_SAMPLES_PER_SPACING = 4
# What the network sees in the outer third of its margin changes nothing: of 83 million voxels of a 5 mm chest
# 212 by more than 1 HU, 3 HU at most, all at the image's border.
_SEEN_SHARE = 2 / 3


def enhance(volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Interpolate consistently and correct the result; any spacing and overlap."""
    network = request.weights.load()
    if request.settings.minutes:
        _adapt(network, volume, request, monitor)
    runner = _runner(network, volume, request, monitor)
    place = _interpolated(volume.slices_first(request.axis), request, runner, monitor)
    _correct(place, Body(volume.slices_first(request.axis)), request, runner, monitor)
    del place.volumes["samples"]
    monitor.record(device=str(runner.device), precision=runner.precision)
    if request.settings.consistency:
        project(place, request, monitor)
    return refined(volume, request.axis, request.target_spacing, place.result("thin", volume.voxels.dtype))


def _adapt(network: torch.nn.Module, volume: Volume, request: Request, monitor: Monitor) -> None:
    """Adapt the network to the scan, and note the result."""
    # The array axes are the index axes in reverse order, so the spacing of the rows comes first.
    rows, columns = (volume.spacing[index] for index in (2, 1, 0) if index != request.axis)
    minutes = request.settings.minutes
    network.to(resolve_device(request.settings.device))
    thick = volume.slices_first(request.axis)
    result = adapt(network, thick, (rows, columns), request.acquisition, minutes, monitor)
    outcome = "adapted weights used" if result["kept"] else "no improvement: original weights used"
    monitor.note(
        f"adaptation: {result['steps']} steps; gain over the interpolation on held-out pairs "
        f"{result['before_db']:.2f} dB before, {result['after_db']:.2f} dB after; {outcome}"
    )
    if result["kept"] and request.acquisition.thickness <= request.acquisition.spacing:
        monitor.note(
            "adaptation to slices that do not overlap lost 0.1 to 0.8 dB on the scans measured; "
            "the gain above is of simulated slices along the rows and columns"
        )
    monitor.record(adaptation={"minutes": minutes, **result})


def pixel_size(volume: Volume, axis: int) -> float:
    """Mean in-plane spacing in mm."""
    return float(np.mean([spacing for index, spacing in enumerate(volume.spacing) if index != axis]))


def shares(slices: int, count: int, spacing: float, target_spacing: float) -> np.ndarray:
    """Share of each thick slice's correction in each thin slice: (count, slices), rows sum to 1."""
    return share(np.arange(count)[:, None] * (target_spacing / spacing) - np.arange(slices))


def _runner(network: torch.nn.Module, volume: Volume, request: Request, monitor: Monitor) -> Runner:
    """The network as :func:`predict_blocks` calls it, told of the acquisition."""
    acquisition, pixel = request.acquisition, pixel_size(volume, request.axis)
    description = describe_acquisition(acquisition.thickness, acquisition.spacing, pixel)
    entry, settings = NETWORKS["universal"], request.settings
    conditioned = ConditionedNetwork(network, description)
    window = network.window
    window = replace(window, margin=round(_SEEN_SHARE * window.margin / window.multiple) * window.multiple)
    return Runner(conditioned, window, entry, settings.device, settings.precision, monitor)


def _interpolated(thick: np.ndarray, request: Request, runner: Runner, monitor: Monitor) -> Place:
    """The volumes "thick", "thin" and "samples".

    The last two are the consistent interpolation at the target's slices, and where the network reads it.
    """
    slices, rows, columns = thick.shape
    acquisition, target = request.acquisition, request.target_spacing
    count = slice_count(slices, acquisition.spacing, target)
    sampled = (slices - 1) * _SAMPLES_PER_SPACING + 1
    solved = {
        "thin": ConsistentInterpolation(acquisition, slices, count, target),
        "samples": ConsistentInterpolation(
            acquisition, slices, sampled, acquisition.spacing / _SAMPLES_PER_SPACING
        ),
    }
    place = Place(runner.device, (slices + count + sampled) * rows * columns, monitor)
    place.volumes["thick"] = place.put(thick)
    for name, solve in solved.items():
        place.volumes[name] = place.zeros((solve.thin_slices, rows, columns))

    def fill(band: slice) -> None:
        measured = slab_columns(place.volumes["thick"], band)
        for name, solve in solved.items():
            place.volumes[name][:, band] = solve(measured).reshape(solve.thin_slices, -1, columns)

    place.each_slab(fill, (max(count, sampled), rows, columns), "interpolation", monitor)
    return place


def _correct(place: Place, body: Body, request: Request, runner: Runner, monitor: Monitor) -> None:
    """Add the network's correction to "thin", in place."""
    slices, rows, columns = place.volumes["thick"].shape
    # The middle first: the runner chooses the precision on its first tile, which should show the body.
    order, done = middle_first(list(range(slices))), 0
    while done < slices:
        group = order[done : done + runner.at_once(rows * columns)]
        box = body.box(group)
        if box is not None:
            _correct_slices(place, group, box, request, runner)
        done += len(group)
        monitor.step("network", done, slices)


def _correct_slices(
    place: Place, group: list[int], box: tuple[slice, slice], request: Request, runner: Runner
) -> None:
    """Add the network's corrections around some thick slices, within a box of pixels."""
    thick, samples, thin = (place.volumes[name] for name in ("thick", "samples", "thin"))
    window, spacing = runner.window, request.acquisition.spacing
    all_shares = shares(len(thick), len(thin), spacing, request.target_spacing).astype(np.float32)
    offsets = np.rint(np.array(SAMPLES) * _SAMPLES_PER_SPACING).astype(int)
    seen, inner = with_margin(box, thick.shape[1:], window.margin)
    blocks = []
    for index in group:
        near = np.clip(index + np.array(NEIGHBOURS), 0, len(thick) - 1)
        around = np.clip(_SAMPLES_PER_SPACING * index + offsets, 0, len(samples) - 1)
        blocks.append(universal_input(as_float(cut(thick, near, seen)), cut(samples, around, seen)))
    predicted = predict_blocks(stacked(blocks), window, "seamless", runner, lambda *_: None, inner)
    for index, coefficients in zip(group, predicted, strict=True):
        coefficients = beside(coefficients, thin)
        reached = np.flatnonzero(all_shares[:, index])
        position = torch.tensor(reached * (request.target_spacing / spacing) - index, dtype=torch.float32)
        terms = cosine_series(position, window.outputs).numpy() * DIFFERENCE_UNIT
        weights = beside(terms * all_shares[reached, index, None], thin)
        correction = weights @ coefficients.reshape(window.outputs, -1)
        # Where a slice or its neighbours lie outside the networks' window, the interpolation stands.
        nearest = np.clip([index - 1, index, index + 1], 0, len(thick) - 1)
        before, there, after = outside_window(as_float(cut(thick, nearest, box)))
        inside = 1.0 - larger(larger(before, after), there)
        where = slice(int(reached[0]), int(reached[-1]) + 1)
        thin[(where, *box)] += inside * correction.reshape(-1, *inside.shape)
