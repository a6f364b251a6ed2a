"""The method `sr4zct`: a network, which can adapt to the scan, corrects its coronal and sagittal planes.

After "SR4ZCT: Self-supervised Through-plane Resolution Enhancement for CT Images with Arbitrary Resolution
and Overlap" (Shi, Pelt, Batenburg, MLMI 2023). Unlike in the paper, planes are interpolated consistently with
the slice profile instead of linearly, the network predicts the difference to the truth, and the result is
made consistent with the input.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...arrays import as_float, beside
from ...consistency import ConsistentInterpolation
from ...errors import UserError
from ...inference.conditioned import ConditionedNetwork
from ...inference.devices import arithmetic, multiplies_bfloat16, resolve_device
from ...inference.place import Place
from ...inference.runner import Runner
from ...inference.sliding_window import middle_first, predict_blocks
from ...interpolation import SliceMap, linear_matrix
from ...monitor import Monitor
from ...networks.registry import NETWORKS, build
from ...volume import Volume, refined, slice_count
from ...weights.checkpoint import save_network
from ..adaptation import Budget
from ..body import Body, with_margin
from ..outside_window import interpolation_share
from ..project import project
from ..request import Request
from .adaptation import adapt
from .pairs import PlanePairs
from .planes import CONDITIONS, RESIDUAL_SCALE, acquisition_channels, plane_input

# Default minutes of adaptation for untrained weights. Adaptation is off by default for trained ones: on the
# scans that were measured, it improved nothing.
_MINUTES_UNTRAINED = 10.0
# What the trained networks see beyond this many pixels changes nothing: at most 0.02 HU of their corrections.
_SEEN_AROUND = 32


def enhance(volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Interpolate consistently and correct the coronal and sagittal planes; for any spacing and overlap."""
    thick, settings = volume.slices_first(request.axis), request.settings
    network = _network(request)
    facts = {"network": network.name, "planes": settings.planes or "both"}
    minutes = _minutes(request, network, monitor)
    if minutes or settings.epochs:
        facts |= _adapt(network, volume, request, minutes, monitor)
    runner = _runner(network, request, monitor)
    place = _corrected(thick, pixels_of(volume, request.axis), request, runner, monitor)
    if settings.consistency:
        project(place, request, monitor)
    monitor.record(device=str(runner.device), precision=runner.precision, adaptation=facts)
    if settings.save_weights is not None:
        _save(network, volume, request, facts)
    return refined(volume, request.axis, request.target_spacing, place.result("thin", volume.voxels.dtype))


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
    half = multiplies_bfloat16(device) and (device.type == "cuda" or NETWORKS[network.name].halve_on_cpu)
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
    """The network as :func:`predict_blocks` calls it."""
    entry, settings = NETWORKS[network.name], request.settings
    window = network.window
    if network.name == "unet":
        window = replace(window, margin=min(window.margin, _SEEN_AROUND))
    conditioned = ConditionedNetwork(network)
    return Runner(conditioned, window, entry, settings.device, settings.precision, monitor)


def _corrected(
    thick: np.ndarray, pixels: tuple[float, float], request: Request, runner: Runner, monitor: Monitor
) -> Place:
    """The volumes "thick" and "thin": the consistent interpolation, corrected."""
    acquisition, target_spacing = request.acquisition, request.target_spacing
    count, body = slice_count(len(thick), acquisition.spacing, target_spacing), Body(thick)
    interpolate = ConsistentInterpolation(acquisition, len(thick), count, target_spacing)
    spread = SliceMap(linear_matrix(len(thick), acquisition.spacing, count, target_spacing))
    place = Place(runner.device, (len(thick) + count) * thick[0].size, monitor)
    place.volumes["thick"] = place.put(thick)
    place.volumes["thin"] = place.zeros((count, *thick.shape[1:]))
    # Coronal planes hold the columns' axis, sagittal ones the rows'; the first pass also interpolates.
    passes = [("coronal", 1, pixels[1]), ("sagittal", 2, pixels[0])]
    passes = [entry for entry in passes if request.settings.planes in (None, "both", entry[0])]
    for number, (name, across, pixel) in enumerate(passes):
        description = None
        if runner.window.depth > 1:
            description = acquisition_channels(count, acquisition, target_spacing, pixel)
        size, step = thick.shape[across], runner.at_once(count * thick.shape[3 - across])
        groups = [slice(first, min(first + step, size)) for first in range(0, size, step)]
        done = 0
        # The middle first: the runner chooses the precision on its first plane, which should show the body.
        for planes in middle_first(groups):
            monitor.check()
            where = (slice(None),) * across + (planes,)
            thin = place.volumes["thin"][where].swapaxes(1, across)  # (N, planes, columns)
            measured = as_float(place.volumes["thick"][where].swapaxes(1, across))
            base = _interpolated(interpolate, measured)
            if number == 0:
                thin[:] = base
            span = body.span(across, planes)
            if span is not None:
                correction = _correction(base, description, span, runner)
                share = interpolation_share(measured[..., span].reshape(len(thick), -1), spread)
                correction = beside(correction, thin) * (1.0 - share.reshape(count, -1, correction.shape[2]))
                thin[..., span] += correction / len(passes)
            done += planes.stop - planes.start
            monitor.step(f"{name} planes", done, size)
    return place


def _interpolated(interpolate: ConsistentInterpolation, measured: Any) -> Any:
    """Planes (M, planes, columns) in HU, interpolated to (N, planes, columns)."""
    columns = measured.reshape(len(measured), -1)
    if isinstance(columns, np.ndarray):
        solved = interpolate(columns)
    else:
        with torch.inference_mode(), arithmetic(columns.device, "float32"):
            solved = interpolate(columns)
    return solved.reshape(-1, *measured.shape[1:])


def _correction(base: Any, description: torch.Tensor | None, span: slice, runner: Runner) -> Any:
    """The network's correction in HU of interpolated planes (N, planes, columns), within some columns."""
    count, _, columns = base.shape
    box, margin = (slice(0, count), span), runner.window.margin
    seen, inner = with_margin(box, (count, columns), margin)
    shown = base[..., seen[1]].swapaxes(0, 1)  # (planes, N, columns)
    blocks = plane_input(torch.as_tensor(shown), description)
    predicted = predict_blocks(blocks, runner.window, "seamless", runner, lambda *_: None, inner)
    return predicted[:, 0].swapaxes(0, 1) / RESIDUAL_SCALE


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
