"""The method `sr4zct`: a network adapted to the scan corrects its coronal and sagittal planes.

After "SR4ZCT: Self-supervised Through-plane Resolution Enhancement for CT Images with Arbitrary Resolution
and Overlap" (Shi, Pelt, Batenburg, MLMI 2023). Unlike the paper's, planes are interpolated consistently with
the slice profile instead of linearly, the network predicts what they lack, and the result agrees with the
input.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from ...acquisition import Acquisition
from ...consistency import project_in_place
from ...errors import Cancelled, UserError
from ...inference.runner import Runner, native_bfloat16, resolve_device
from ...inference.sliding_window import Part, predict_block
from ...intensity import outside_window
from ...interpolation import linear_matrix, slabs
from ...networks import NETWORKS, build
from ...volume import Volume, cast_in_place, refined, slice_count
from ...weights.checkpoints import load_network, save_network
from .pairs import Budget, Pairs, adapt
from .planes import CONDITIONS, RESIDUAL_SCALE, PlaneInterpolation, describe, network_input

# Minutes of adaptation of untrained weights unless told otherwise. Trained ones stay as they are: in-plane
# detail taught them nothing better about through-plane detail on the scans that were measured (README).
_MINUTES_UNTRAINED = 10.0
# Air around the body, where nothing is corrected; so many pixels of it are shown to the network, and widths
# are rounded up to as many, so that few different ones occur.
_AIR_HU, _AIR_PIXELS = -900.0, 32


def enhance(
    volume: Volume, target_spacing: float, acquisition: Acquisition, options, progress, cancelled
) -> Volume:
    """The consistent interpolation, corrected on coronal and sagittal planes by a network."""
    thick = volume.slices_first(options.axis)
    rows_axis, columns_axis = (axis for axis in (2, 1, 0) if axis != options.axis)
    pixels = volume.spacing[rows_axis], volume.spacing[columns_axis]
    network, trained = _network(options)
    budget = _budget(options, network, trained)
    facts = {"network": network.name, "planes": options.planes or "both"}
    if not budget.nothing:
        scan = thick, pixels, acquisition, target_spacing
        facts |= _adapt(network, scan, budget, options, progress, cancelled)
    runner = _runner(network, options)
    count = slice_count(len(thick), acquisition.spacing, target_spacing)
    thin = _correct(
        thick, count, pixels, acquisition, target_spacing, runner, options.planes, progress, cancelled
    )
    if options.consistency:
        project_in_place(thin, thick, acquisition, target_spacing, progress, cancelled)
    options.record({"device": str(runner.device), "precision": runner.precision, "adaptation": facts})
    if options.save_weights is not None:
        _save(options.save_weights, network, acquisition, target_spacing, pixels, facts)
    return refined(volume, options.axis, target_spacing, cast_in_place(thin, volume.voxels.dtype))


def _network(options) -> tuple[torch.nn.Module, bool]:
    """The network to adapt, and whether its weights are trained already."""
    if options.checkpoint is None:
        torch.manual_seed(0)
        name = options.network or "unet"
        network = build(name, channels=1 + CONDITIONS if name == "unet" else 1)
        network.name, network.card = name, {}
        return network, False
    return load_network(options.checkpoint), True


def _budget(options, network: torch.nn.Module, trained: bool) -> Budget:
    if options.epochs is not None:
        return _checked(Budget(epochs=options.epochs, fine=trained), network, trained, options)
    minutes = options.minutes
    if minutes is None:
        minutes = 0.0 if trained else _MINUTES_UNTRAINED
        if minutes:
            options.say(f"adapting for {minutes:g} min; --minutes sets how long")
    return _checked(Budget(seconds=60.0 * minutes, fine=trained), network, trained, options)


def _checked(budget: Budget, network: torch.nn.Module, trained: bool, options) -> Budget:
    """Raise UserError where a budget of nothing leaves nothing to use or to keep."""
    if budget.nothing and not trained:
        raise UserError(f"network {network.name} has no weights: give --minutes, --epochs or --checkpoint")
    if budget.nothing and options.save_weights is not None:
        raise UserError("nothing is adapted, so there are no weights to save: give --minutes or --epochs")
    return budget


def _adapt(network, scan: tuple, budget: Budget, options, progress, cancelled) -> dict:
    """Adapt `network` in place to a scan, the first arguments of :class:`Pairs`; facts for the provenance."""
    device = resolve_device(options.device)
    network.to(device, memory_format=torch.channels_last)
    half = _halves_on_cpu(network) and native_bfloat16() if device.type == "cpu" else device.type == "cuda"
    precision = "bfloat16" if half and options.precision in ("auto", "bfloat16") else "float32"
    pairs = Pairs(*scan, device, described=network.window.depth > 1, whole=network.name == "msd")
    started = time.monotonic()
    found = adapt(network, pairs, budget, precision, progress, cancelled, options.say)
    return {**found, "precision": precision, "seconds": round(time.monotonic() - started, 1)}


def _runner(network: torch.nn.Module, options) -> Runner:
    """The network as :func:`predict_block` calls it."""

    class OfPlanes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network.eval().to(memory_format=torch.channels_last)

        def forward(self, tile):  # (1, 1, channels, h, w) to (1, 1, 1, h, w)
            return self.network(tile[0].contiguous(memory_format=torch.channels_last))[None]

    return Runner(
        OfPlanes(), network.window, NETWORKS[network.name].bytes_per_pixel, options.device,
        options.precision, options.say, unit_hu=1 / RESIDUAL_SCALE, halve_on_cpu=_halves_on_cpu(network),
    )  # fmt: skip


def _halves_on_cpu(network: torch.nn.Module) -> bool:
    """The mixed-scale dense network computes in full precision there, see its module."""
    return network.name != "msd"


def _correct(
    thick, count, pixels, acquisition, target_spacing, runner, planes, progress, cancelled
) -> np.ndarray:
    """Interpolated and corrected slices, (count, rows, columns) float32 in HU."""
    interpolate = PlaneInterpolation(acquisition, len(thick), count, target_spacing)
    fade = linear_matrix(len(thick), acquisition.spacing, count, target_spacing).astype(np.float32)
    thin = np.empty((count, *thick.shape[1:]), np.float32)
    # Coronal planes hold the columns' axis, sagittal ones the rows'; the first pass also interpolates.
    passes = [("coronal", 1, pixels[1]), ("sagittal", 2, pixels[0])]
    passes = [entry for entry in passes if planes in (None, "both", entry[0])]
    for number, (name, across, pixel) in enumerate(passes):
        described = describe(count, acquisition, target_spacing, pixel) if runner.window.depth > 1 else None
        size, done = thick.shape[across], 0
        # The middle first: what a runner decides by its first plane, it decides by the body, not by air.
        bands = slabs(count, size, thick.shape[3 - across])
        for band in sorted(bands, key=lambda b: abs(b.start + b.stop - size)):
            where = (slice(None),) * across + (band,)
            measured = np.moveaxis(thick[where], across, 0).astype(np.float32)  # (planes, M, pixels)
            base = interpolate(torch.from_numpy(measured))
            if number == 0:
                thin[where] = np.moveaxis(base.numpy(), 0, across)
            for index in sorted(range(len(measured)), key=lambda i: abs(2 * i - len(measured))):
                correction = _predict(base[index], described, measured[index], runner, cancelled)
                correction *= 1.0 - np.clip(fade @ outside_window(measured[index]), 0.0, 1.0)
                thin[(slice(None),) * across + (band.start + index,)] += correction / len(passes)
                done += 1
                progress(f"{name} planes", done, size)
    return thin


def _predict(base: torch.Tensor, described, measured: np.ndarray, runner: Runner, cancelled) -> np.ndarray:
    """The network's correction in HU of an interpolated plane (N, pixels); none in the air around."""
    if cancelled():
        raise Cancelled
    correction = np.zeros(base.shape, np.float32)
    body = np.flatnonzero(measured.max(axis=0) > _AIR_HU)
    if not len(body):
        return correction
    first = max(0, int(body[0]) - _AIR_PIXELS)
    width = -(-(int(body[-1]) + _AIR_PIXELS - first) // _AIR_PIXELS) * _AIR_PIXELS
    seen = slice(first, first + width)
    block = network_input(base[None, :, seen], described)[0].numpy()
    part = Part(0, len(block), slice(0, 1), 0, np.ones(1, np.float32))
    predicted = predict_block(block, part, runner.window, "seamless", runner, cancelled=cancelled)
    correction[:, seen] = predicted[0] / RESIDUAL_SCALE
    return correction


def _save(path: Path, network, acquisition: Acquisition, target_spacing: float, pixels, facts: dict) -> None:
    card = {
        "title": f"SR4ZCT, {network.name} adapted to one scan",
        "version": "1",
        "licence": "as the scan's and that of the weights it started from",
        "origin": network.card.get("title", "untrained weights"),
        "adapted": facts,
        "trained": {
            "spacing": [acquisition.spacing] * 2,
            "thickness": [acquisition.thickness] * 2,
            "target spacing": [target_spacing] * 2,
            "pixel": [0.8 * min(pixels), 1.25 * max(pixels)],
        },
        "limits": "for scans of the same protocol; not a medical device",
    }
    arguments = network.card.get("arguments") or {"channels": network.window.depth}
    save_network(path, network.state_dict(), network.name, arguments, network.window, card)
