"""The method `universal`: a network corrects the consistent interpolation, slice by slice.

Around each thick slice the network (:mod:`~ThickToThinSRLib.networks.universal`) predicts a correction that
is continuous along z; the corrections of neighbouring slices fade into each other half way between them. The
result is then made consistent with the input.
"""

from __future__ import annotations

import numpy as np
import torch

from ...consistency import ConsistentInterpolation, project_in_place
from ...inference.conditioned import ConditionedNetwork
from ...inference.devices import resolve_device
from ...inference.runner import Runner
from ...inference.sliding_window import WindowPlacement, middle_first, predict_block
from ...intensity import outside_window
from ...interpolation import slab_columns, slabs
from ...monitor import Monitor
from ...networks.registry import NETWORKS
from ...networks.universal import NEIGHBOURS, SAMPLES, cosine_series, describe_acquisition
from ...volume import Volume, cast_in_place, refined, slice_count
from ..request import Request
from .adaptation import adapt
from .network_input import DIFFERENCE_UNIT, REACH, universal_input

# Samples of the interpolation per thick slice spacing; the network reads some of them.
_SAMPLES_PER_SPACING = 4


def enhance(volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Interpolate consistently and correct the result; for any spacing and overlap."""
    thick, acquisition = volume.slices_first(request.axis), request.acquisition
    network = request.weights.load()
    if request.settings.minutes:
        _adapt(network, volume, request, monitor)
    runner = _runner(network, volume, request, monitor)
    thin, samples = _interpolate(thick, request, monitor)
    _correct(thin, samples, thick, request, runner, monitor)
    del samples
    monitor.record(device=str(runner.device), precision=runner.precision)
    if request.settings.consistency:
        project_in_place(thin, thick, acquisition, request.target_spacing, monitor)
    return refined(volume, request.axis, request.target_spacing, cast_in_place(thin, volume.voxels.dtype))


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
    monitor.record(adaptation={"minutes": minutes, **result})


def pixel_size(volume: Volume, axis: int) -> float:
    """Mean in-plane spacing in mm."""
    return float(np.mean([spacing for index, spacing in enumerate(volume.spacing) if index != axis]))


def shares(slices: int, count: int, spacing: float, target_spacing: float) -> np.ndarray:
    """Share of each thick slice's correction in each thin slice: (count, slices), rows sum to 1."""
    distance = np.abs(np.arange(count)[:, None] * (target_spacing / spacing) - np.arange(slices))
    fade = 2 * (REACH - 0.5)
    weights = np.clip((REACH - distance) / fade, 0.0, 1.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _runner(network: torch.nn.Module, volume: Volume, request: Request, monitor: Monitor) -> Runner:
    """The network with the description of this acquisition, ready for :func:`predict_block`."""
    acquisition, pixel = request.acquisition, pixel_size(volume, request.axis)
    description = describe_acquisition(acquisition.thickness, acquisition.spacing, pixel)
    entry, settings = NETWORKS["universal"], request.settings
    conditioned = ConditionedNetwork(network, description)
    return Runner(conditioned, network.window, entry, settings.device, settings.precision, monitor)


def _interpolate(thick: np.ndarray, request: Request, monitor: Monitor) -> tuple[np.ndarray, np.ndarray]:
    """The consistent interpolation at the thin slices, and at the samples that the network reads."""
    slices, rows, columns = thick.shape
    acquisition, target = request.acquisition, request.target_spacing
    count = slice_count(slices, acquisition.spacing, target)
    sampled = (slices - 1) * _SAMPLES_PER_SPACING + 1
    to_target = ConsistentInterpolation(acquisition, slices, count, target)
    to_samples = ConsistentInterpolation(
        acquisition, slices, sampled, acquisition.spacing / _SAMPLES_PER_SPACING
    )
    thin = np.empty((count, rows, columns), np.float32)
    samples = np.empty((sampled, rows, columns), np.float32)
    for band in slabs(max(count, sampled), rows, columns):
        monitor.check()
        thick_columns = slab_columns(thick, band)
        thin[:, band] = to_target(thick_columns).reshape(count, -1, columns)
        samples[:, band] = to_samples(thick_columns).reshape(sampled, -1, columns)
        monitor.step("interpolation", band.stop, rows)
    return thin, samples


def _correct(
    thin: np.ndarray,
    samples: np.ndarray,
    thick: np.ndarray,
    request: Request,
    runner: Runner,
    monitor: Monitor,
) -> None:
    """Add the network's correction to `thin`, in place."""
    window, spacing = runner.window, request.acquisition.spacing
    step = request.target_spacing / spacing
    all_outputs = WindowPlacement(
        0, window.depth, slice(0, window.outputs), 0, np.ones(window.outputs, np.float32)
    )
    share = shares(len(thick), len(thin), spacing, request.target_spacing).astype(np.float32)
    offsets = np.rint(np.array(SAMPLES) * _SAMPLES_PER_SPACING).astype(int)
    # The middle first: the runner chooses the precision on its first tile, which should show the body.
    for done, index in enumerate(middle_first(list(range(len(thick))))):
        near = np.clip(index + np.array(NEIGHBOURS), 0, len(thick) - 1)
        around = np.clip(_SAMPLES_PER_SPACING * index + offsets, 0, len(samples) - 1)
        channels = universal_input(thick[near].astype(np.float32), samples[around])
        coefficients = predict_block(
            channels, all_outputs, window, "seamless", runner, lambda *_: monitor.check()
        )
        corrected = np.flatnonzero(share[:, index])
        position = torch.tensor(corrected * step - index, dtype=torch.float32)
        terms = cosine_series(position, window.outputs).numpy() * DIFFERENCE_UNIT
        terms *= share[corrected, index, None]
        correction = (terms @ coefficients.reshape(window.outputs, -1)).reshape(-1, *channels.shape[1:])
        # Where the slice or a neighbour lies outside the networks' HU range, keep the interpolated values.
        correction *= 1.0 - outside_window(thick[near[1:4]].astype(np.float32)).max(axis=0)
        thin[corrected] += correction
        monitor.step("network", done + 1, len(thick))
