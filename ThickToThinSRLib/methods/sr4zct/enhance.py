"""The method `sr4zct`: a network, which can adapt to the scan, corrects its coronal and sagittal planes.

After "SR4ZCT: Self-supervised Through-plane Resolution Enhancement for CT Images with Arbitrary Resolution
and Overlap" (Shi, Pelt, Batenburg, MLMI 2023). Unlike in the paper, planes are interpolated consistently with
the slice profile instead of linearly, the network predicts the difference to the truth, and the result is
made consistent with the input.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from ...consistency import project_in_place
from ...errors import UserError
from ...inference.conditioned import ConditionedNetwork
from ...inference.devices import native_bfloat16, resolve_device
from ...inference.runner import Runner
from ...inference.sliding_window import WindowPlacement, middle_first, predict_block
from ...interpolation import linear_matrix, slabs
from ...monitor import Monitor
from ...networks.registry import NETWORKS, build
from ...volume import Volume, cast_in_place, refined, slice_count
from ...weights.checkpoint import save_network
from ..adaptation import Budget
from ..outside_window import interpolation_share
from ..request import Request
from .adaptation import adapt
from .pairs import PlanePairs
from .planes import CONDITIONS, RESIDUAL_SCALE, PlaneInterpolation, acquisition_channels, plane_input

# Default minutes of adaptation for untrained weights. Adaptation is off by default for trained ones: on the
# scans that were measured, it improved nothing.
_MINUTES_UNTRAINED = 10.0
# Columns without voxels above _AIR_HU are air around the body and are not corrected. The network sees
# _AIR_PIXELS of them on either side; widths are multiples of _AIR_PIXELS, so that few different widths occur.
_AIR_HU, _AIR_PIXELS = -900.0, 32


def enhance(volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Interpolate consistently and correct the coronal and sagittal planes; for any spacing and overlap."""
    thick, settings = volume.slices_first(request.axis), request.settings
    network = _network(request)
    facts = {"network": network.name, "planes": settings.planes or "both"}
    minutes = _minutes(request, network, monitor)
    if minutes or settings.epochs:
        facts |= _adapt(network, volume, request, minutes, monitor)
    runner = _runner(network, request, monitor)
    thin = _correct(thick, pixels_of(volume, request.axis), request, runner, monitor)
    if settings.consistency:
        project_in_place(thin, thick, request.acquisition, request.target_spacing, monitor)
    monitor.record(device=str(runner.device), precision=runner.precision, adaptation=facts)
    if settings.save_weights is not None:
        _save(network, volume, request, facts)
    return refined(volume, request.axis, request.target_spacing, cast_in_place(thin, volume.voxels.dtype))


def pixels_of(volume: Volume, axis: int) -> tuple[float, float]:
    """Spacing of the rows and of the columns of the slices, mm."""
    rows, columns = (volume.spacing[index] for index in (2, 1, 0) if index != axis)
    return rows, columns


def _network(request: Request) -> torch.nn.Module:
    """The network with the request's weights, or an untrained one."""
    if request.weights is not None:
        return request.weights.load()
    torch.manual_seed(0)
    name = request.settings.network or "unet"
    network = build(name, channels=1 + CONDITIONS if name == "unet" else 1)
    network.name = name
    return network


def _minutes(request: Request, network: torch.nn.Module, monitor: Monitor) -> float:
    """How long to adapt, unless a number of epochs is given.

    Raises
    ------
    UserError
        If adaptation is off, but the weights are untrained or adapted weights are to be saved.
    """
    settings, trained = request.settings, request.weights is not None
    minutes = settings.minutes
    if minutes is None:
        minutes = 0.0 if trained or settings.epochs is not None else _MINUTES_UNTRAINED
        if minutes:
            monitor.note(f"adapting for {minutes:g} min, the default for untrained weights")
    if not (minutes or settings.epochs):
        if not trained:
            raise UserError(
                f"network {network.name} has no weights: give {{minutes}}, {{epochs}} or {{checkpoint}}",
                *("minutes", "epochs", "checkpoint"),
            )
        if settings.save_weights is not None:
            raise UserError(
                "there are no adapted weights to save, because adaptation is off: give {minutes} or {epochs}",
                *("minutes", "epochs"),
            )
    return minutes


def _adapt(
    network: torch.nn.Module, volume: Volume, request: Request, minutes: float, monitor: Monitor
) -> dict:
    """Adapt `network` in place to the scan; returns facts for the provenance."""
    device = resolve_device(request.settings.device)
    network.to(device, memory_format=torch.channels_last)
    half = device.type == "cuda"
    if device.type == "cpu":
        half = NETWORKS[network.name].halve_on_cpu and native_bfloat16()
    precision = "bfloat16" if half and request.settings.precision in ("auto", "bfloat16") else "float32"
    pairs = PlanePairs(
        volume.slices_first(request.axis),
        pixels_of(volume, request.axis),
        request.acquisition,
        request.target_spacing,
        device,
        described=network.window.depth > 1,
        whole=network.name == "msd",
    )
    epochs = request.settings.epochs
    steps = None if epochs is None else epochs * pairs.steps_per_epoch()
    budget = Budget(seconds=60.0 * minutes if steps is None else None, steps=steps)
    started = time.monotonic()
    result = adapt(network, pairs, budget, precision, monitor, trained=request.weights is not None)
    return {**result, "precision": precision, "seconds": round(time.monotonic() - started, 1)}


def _runner(network: torch.nn.Module, request: Request, monitor: Monitor) -> Runner:
    """The network, ready for :func:`predict_block`."""
    entry, settings = NETWORKS[network.name], request.settings
    conditioned = ConditionedNetwork(network)
    return Runner(conditioned, network.window, entry, settings.device, settings.precision, monitor)


def _correct(
    thick: np.ndarray, pixels: tuple[float, float], request: Request, runner: Runner, monitor: Monitor
) -> np.ndarray:
    """Interpolated and corrected slices, (count, rows, columns) float32 in HU."""
    acquisition, target_spacing = request.acquisition, request.target_spacing
    count = slice_count(len(thick), acquisition.spacing, target_spacing)
    interpolate = PlaneInterpolation(acquisition, len(thick), count, target_spacing)
    spread = linear_matrix(len(thick), acquisition.spacing, count, target_spacing)
    thin = np.empty((count, *thick.shape[1:]), np.float32)
    # The pixels of a coronal plane lie along a row of the slices, those of a sagittal plane along a column.
    passes = [("coronal", 1, pixels[1]), ("sagittal", 2, pixels[0])]
    passes = [entry for entry in passes if request.settings.planes in (None, "both", entry[0])]
    for number, (name, across, pixel) in enumerate(passes):
        description = None
        if runner.window.depth > 1:
            description = acquisition_channels(count, acquisition, target_spacing, pixel)
        size, done = thick.shape[across], 0
        # The middle first: the runner chooses the precision on its first plane, which should show the body.
        bands = slabs(count, size, thick.shape[3 - across])
        for band in sorted(bands, key=lambda b: abs(b.start + b.stop - size)):
            region = (slice(None),) * across + (band,)
            thick_planes = np.moveaxis(thick[region], across, 0).astype(np.float32)  # (planes, M, pixels)
            base = interpolate(torch.from_numpy(thick_planes))
            if number == 0:
                thin[region] = np.moveaxis(base.numpy(), 0, across)
            for index in middle_first(list(range(len(thick_planes)))):
                monitor.check()
                correction = _predict(base[index], description, thick_planes[index], runner)
                correction *= 1.0 - interpolation_share(thick_planes[index], spread)
                thin[(slice(None),) * across + (band.start + index,)] += correction / len(passes)
                done += 1
                monitor.step(f"{name} planes", done, size)
    return thin


def _predict(
    base: torch.Tensor, description: torch.Tensor | None, thick_plane: np.ndarray, runner: Runner
) -> np.ndarray:
    """The network's correction of an interpolated plane (N, pixels), in HU; 0 in the air around the body."""
    correction = np.zeros(base.shape, np.float32)
    body = np.flatnonzero(thick_plane.max(axis=0) > _AIR_HU)
    if not len(body):
        return correction
    first = max(0, int(body[0]) - _AIR_PIXELS)
    width = -(-(int(body[-1]) + _AIR_PIXELS - first) // _AIR_PIXELS) * _AIR_PIXELS
    columns = slice(first, first + width)
    block = plane_input(base[None, :, columns], description)[0].numpy()
    whole = WindowPlacement(0, len(block), slice(0, 1), 0, np.ones(1, np.float32))
    predicted = predict_block(block, whole, runner.window, "seamless", runner, lambda *_: None)
    correction[:, columns] = predicted[0] / RESIDUAL_SCALE
    return correction


def _save(network: torch.nn.Module, volume: Volume, request: Request, facts: dict) -> None:
    """Write the adapted weights to the file in the settings."""
    pixels, acquisition, initial = pixels_of(volume, request.axis), request.acquisition, request.weights
    card = {
        "title": f"SR4ZCT, {network.name} adapted to one scan",
        "version": "1",
        "licence": "as the scan's and that of the weights it started from",
        "origin": initial.card["title"] if initial else "untrained weights",
        "adapted": facts,
        "trained": {
            "spacing": [acquisition.spacing] * 2,
            "thickness": [acquisition.thickness] * 2,
            "target spacing": [request.target_spacing] * 2,
            "pixel": [0.8 * min(pixels), 1.25 * max(pixels)],
        },
        "limits": "for scans of the same protocol; not a medical device",
    }
    arguments = initial.arguments if initial else {"channels": network.window.depth}
    state = network.state_dict()
    save_network(request.settings.save_weights, state, network.name, arguments, network.window, card)
