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

from .acquisition import Acquisition
from .checkpoints import load_network, save_network
from .consistency import ConsistencyProjection
from .devices import resolve_device
from .errors import Cancelled, UserError
from .intensity import outside_window
from .linear import linear_matrix, slab_columns, slabs
from .networks import build
from .planes import CONDITIONS, RESIDUAL_SCALE, PlaneInterpolation, arithmetic, describe, network_input
from .selfsupervised import Budget, Pairs, adapt
from .volume import Volume, cast_in_place, refined, slice_count

# Minutes of adaptation unless told otherwise: of weights trained beforehand, of untrained ones.
_MINUTES, _MINUTES_UNTRAINED = 1.0, 10.0
_PIXELS = {"cpu": 1 << 19, "cuda": 1 << 23, "mps": 1 << 21}  # that go through the network at once
_AIR_HU = -900.0


def enhance(
    volume: Volume, target_spacing: float, acquisition: Acquisition, options, progress, cancelled
) -> Volume:
    """The consistent interpolation, corrected on coronal and sagittal planes by a network."""
    thick = volume.slices_first(options.axis)
    rows_axis, columns_axis = (axis for axis in (2, 1, 0) if axis != options.axis)
    pixels = volume.spacing[rows_axis], volume.spacing[columns_axis]
    device = resolve_device(options.device)
    network, trained = _network(options)
    network.to(device, memory_format=torch.channels_last)
    precision = _precision(options.precision, device)
    budget = _budget(options, network, trained)
    facts = {"network": network.name, "planes": options.planes or "both"}
    if not budget.nothing:
        pairs = Pairs(thick, pixels, acquisition, target_spacing, device, _described(network))
        started = time.monotonic()
        found = adapt(network, pairs, budget, precision, progress, cancelled, options.say)
        facts.update(found, seconds=round(time.monotonic() - started, 1))
    count = slice_count(len(thick), acquisition.spacing, target_spacing)
    thin = _correct(
        thick, count, pixels, acquisition, target_spacing, network, precision, options, progress, cancelled
    )
    if options.consistency:
        _project(thin, thick, acquisition, target_spacing, progress, cancelled)
    options.record({"device": str(device), "precision": precision, "adaptation": facts})
    if options.save_weights is not None:
        _save(options.save_weights, network, acquisition, target_spacing, pixels, facts)
    return refined(volume, options.axis, target_spacing, cast_in_place(thin, volume.voxels.dtype))


def _network(options) -> tuple[torch.nn.Module, str | None]:
    """The network to adapt, and what its weights are: None (untrained), "beforehand" or "adapted"."""
    if options.checkpoint is None:
        torch.manual_seed(0)
        name = options.network or "unet"
        network = build(name, channels=1 + CONDITIONS if name == "unet" else 1)
        network.name, network.card = name, {}
        return network, None
    network = load_network(options.checkpoint)
    return network, "adapted" if "adapted" in network.card else "beforehand"


def _described(network: torch.nn.Module) -> bool:
    """Whether the network reads the description of the acquisition besides the plane."""
    return network.window.depth == 1 + CONDITIONS


def _budget(options, network: torch.nn.Module, trained: str | None) -> Budget:
    if options.epochs is not None:
        return Budget(epochs=options.epochs, fine=trained is not None)
    minutes = options.minutes
    if minutes is None:
        minutes = {None: _MINUTES_UNTRAINED, "beforehand": _MINUTES, "adapted": 0.0}[trained]
        if minutes:
            options.say(f"adapting for {minutes:g} min; --minutes sets how long")
    if trained is None and minutes == 0:
        raise UserError(f"network {network.name} has no weights: give --minutes or --checkpoint")
    return Budget(seconds=60.0 * minutes, fine=trained is not None)


def _precision(asked: str, device: torch.device) -> str:
    """What `auto` means: bfloat16 where the device computes in it, which costs hundredths of a dB."""
    if asked != "auto":
        return asked
    if device.type == "cpu":
        return "bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _correct(
    thick, count, pixels, acquisition, target_spacing, network, precision, options, progress, cancelled
) -> np.ndarray:
    """Interpolated and corrected slices, (count, rows, columns) float32 in HU."""
    device = next(network.parameters()).device
    interpolate = PlaneInterpolation(acquisition, len(thick), count, target_spacing, device)
    fade = linear_matrix(len(thick), acquisition.spacing, count, target_spacing).astype(np.float32)
    thin = np.empty((count, *thick.shape[1:]), np.float32)
    wanted = options.planes or "both"
    # Coronal planes hold the columns' axis, sagittal ones the rows'; the first pass also interpolates.
    passes = [("coronal", 1, pixels[1]), ("sagittal", 2, pixels[0])]
    if wanted != "both":
        passes = [entry for entry in passes if entry[0] == wanted]
    network.eval()
    for number, (name, across, pixel) in enumerate(passes):
        described = describe(count, acquisition, target_spacing, pixel) if _described(network) else None
        size, other = thick.shape[across], thick.shape[3 - across]
        together = max(1, _PIXELS[device.type] // (count * other))
        for first in range(0, size, together):
            if cancelled():
                raise Cancelled
            band = (slice(None),) * across + (slice(first, first + together),)
            measured = np.moveaxis(thick[band], across, 0).astype(np.float32)  # (planes, M, pixels)
            base = interpolate(torch.from_numpy(measured).to(device))
            correction = _predict(network, base, described, measured, precision)
            correction *= 1.0 - np.clip(fade @ outside_window(measured), 0.0, 1.0)
            if number == 0:
                thin[band] = np.moveaxis(base.cpu().numpy(), 0, across)
            thin[band] += np.moveaxis(correction / len(passes), 0, across)
            progress(f"{name} planes", min(first + together, size), size)
    return thin


def _predict(network, base: torch.Tensor, described, measured: np.ndarray, precision: str) -> np.ndarray:
    """The network's correction in HU of interpolated planes (B, N, pixels); none where all is air."""
    correction = np.zeros(base.shape, np.float32)
    body = np.flatnonzero(measured.max(axis=(1, 2)) > _AIR_HU)
    if not len(body):
        return correction
    x = network_input(base[torch.from_numpy(body).to(base.device)], described)
    with torch.inference_mode(), arithmetic(base.device, precision):
        predicted = network(x.contiguous(memory_format=torch.channels_last))
    correction[body] = predicted[:, 0].float().cpu().numpy() / RESIDUAL_SCALE
    return correction


def _project(thin, thick, acquisition, target_spacing, progress, cancelled) -> None:
    """Make `thin` consistent with the input, in place."""
    count, rows, columns = thin.shape
    project = ConsistencyProjection(acquisition, len(thick), count, target_spacing)
    for band in slabs(count, rows, columns):
        if cancelled():
            raise Cancelled
        solved = project(thin[:, band].reshape(count, -1), slab_columns(thick, band))
        thin[:, band] = solved.reshape(count, -1, columns)
        progress("consistency", band.stop, rows)


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
