"""The universal method: a network corrects the consistent interpolation, slice by slice.

Around each thick slice the network (:mod:`~ThickToThinSRLib.networks.universal`) gives a correction that is
continuous along z; neighbouring slices' corrections fade into each other half way between them. The result
is then made consistent with the input.
"""

from __future__ import annotations

import numpy as np

from ...acquisition import Acquisition
from ...consistency import ConsistentInterpolation, project_in_place
from ...errors import Cancelled
from ...inference.sliding_window import Part, predict_block
from ...intensity import outside_window
from ...interpolation import slab_columns, slabs
from ...volume import Volume, cast_in_place, refined, slice_count
from .network_input import DIFFERENCE_UNIT, REACH, network_input

# Samples of the interpolation a thick spacing: those that the network reads lie on this grid.
_SAMPLES_PER_SPACING = 4


def enhance_universally(volume, target_spacing, acquisition, options, progress, cancelled) -> Volume:
    """The consistent interpolation, corrected by the universal network; any spacing and overlap."""
    from ...weights.checkpoints import load_network

    thick = volume.slices_first(options.axis)
    pixel = pixel_size(volume, options.axis)
    network = load_network(options.checkpoint)
    if options.minutes:
        _adapt(network, volume, thick, acquisition, options, progress, cancelled)
    runner = _runner(network, acquisition, pixel, options)
    count = slice_count(len(thick), acquisition.spacing, target_spacing)
    thin, samples = _interpolate(thick, acquisition, count, target_spacing, progress, cancelled)
    _correct(thin, samples, thick, acquisition.spacing, target_spacing, runner, progress, cancelled)
    del samples
    options.record({"device": str(runner.device), "precision": runner.precision})
    if options.consistency:
        project_in_place(thin, thick, acquisition, target_spacing, progress, cancelled)
    return refined(volume, options.axis, target_spacing, cast_in_place(thin, volume.voxels.dtype))


def _adapt(network, volume, thick, acquisition, options, progress, cancelled) -> None:
    """Let the network learn from the scan itself for a while, and say what came of it."""
    from ...inference.runner import resolve_device
    from .adaptation import adapt

    # Array axes run against index axes: rows come before columns.
    pixels = [volume.spacing[index] for index in (2, 1, 0) if index != options.axis]
    network.to(resolve_device(options.device))
    found = adapt(network, thick, tuple(pixels), acquisition, options.minutes, progress, cancelled)
    outcome = "kept" if found["kept"] else "not better: the weights stay as they were"
    options.say(
        f"adaptation: {found['steps']} steps; gain over the interpolation on held-out pairs "
        f"{found['before_db']:.2f} dB before, {found['after_db']:.2f} dB after; {outcome}"
    )
    options.record({"adaptation": {"minutes": options.minutes, **found}})


def pixel_size(volume: Volume, axis: int) -> float:
    """Mean in-plane spacing in mm."""
    return float(np.mean([spacing for index, spacing in enumerate(volume.spacing) if index != axis]))


def shares(slices: int, count: int, spacing: float, target_spacing: float) -> np.ndarray:
    """Share of each thick slice's correction in each thin slice: (count, slices), rows sum to 1."""
    distance = np.abs(np.arange(count)[:, None] * (target_spacing / spacing) - np.arange(slices))
    fade = 2 * (REACH - 0.5)
    weights = np.clip((REACH - distance) / fade, 0.0, 1.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _runner(network, acquisition: Acquisition, pixel: float, options):
    """The network as :func:`predict_block` calls it, told of the acquisition."""
    import torch

    from ...inference.runner import Runner
    from ...networks import NETWORKS
    from ...networks.universal import describe_acquisition

    described = describe_acquisition(acquisition.thickness, acquisition.spacing, pixel)

    class OfThisAcquisition(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network.to(memory_format=torch.channels_last)
            self.register_buffer("described", torch.tensor([described]))

        def forward(self, tile):  # (1, 1, 10, h, w) to (1, 1, K, h, w)
            channels = tile[0].contiguous(memory_format=torch.channels_last)
            return self.network(channels, self.described)[None]

    return Runner(
        OfThisAcquisition(), network.window, NETWORKS["universal"].bytes_per_pixel, options.device,
        options.precision, options.say, unit_hu=DIFFERENCE_UNIT, halve_on_cpu=True,
    )  # fmt: skip


def _interpolate(thick, acquisition, count, target_spacing, progress, cancelled):
    """The consistent interpolation at the target's slices and at the samples that the network reads."""
    slices, rows, columns = thick.shape
    fine = acquisition.spacing / _SAMPLES_PER_SPACING
    sampled = (slices - 1) * _SAMPLES_PER_SPACING + 1
    to_target = ConsistentInterpolation(acquisition, slices, count, target_spacing)
    to_samples = ConsistentInterpolation(acquisition, slices, sampled, fine)
    thin = np.empty((count, rows, columns), np.float32)
    samples = np.empty((sampled, rows, columns), np.float32)
    for band in slabs(max(count, sampled), rows, columns):
        if cancelled():
            raise Cancelled
        measured = slab_columns(thick, band)
        thin[:, band] = to_target(measured).reshape(count, -1, columns)
        samples[:, band] = to_samples(measured).reshape(sampled, -1, columns)
        progress("interpolation", band.stop, rows)
    return thin, samples


def _correct(thin, samples, thick, spacing, target_spacing, runner, progress, cancelled) -> None:
    """Add the network's correction to `thin`, in place."""
    import torch

    from ...networks.universal import NEIGHBOURS, SAMPLES, cosine_series

    window = runner.window
    part = Part(0, window.depth, slice(0, window.outputs), 0, np.ones(window.outputs, np.float32))
    share = shares(len(thick), len(thin), spacing, target_spacing).astype(np.float32)
    offsets = np.rint(np.array(SAMPLES) * _SAMPLES_PER_SPACING).astype(int)
    # The middle first: what a runner decides by its first tile, it decides by the body, not by air.
    for done, index in enumerate(sorted(range(len(thick)), key=lambda i: abs(i - len(thick) // 2))):
        near = np.clip(index + np.array(NEIGHBOURS), 0, len(thick) - 1)
        around = np.clip(_SAMPLES_PER_SPACING * index + offsets, 0, len(samples) - 1)
        channels = network_input(thick[near].astype(np.float32), samples[around])
        coefficients = predict_block(channels, part, window, "seamless", runner, cancelled=cancelled)
        reached = np.flatnonzero(share[:, index])
        position = torch.tensor(reached * (target_spacing / spacing) - index, dtype=torch.float32)
        terms = cosine_series(position, window.outputs).numpy() * DIFFERENCE_UNIT
        weights = terms * share[reached, index, None]
        correction = (weights @ coefficients.reshape(window.outputs, -1)).reshape(-1, *channels.shape[1:])
        correction *= _within_window(thick, near[1:4])
        thin[reached] += correction
        progress("network", done + 1, len(thick))


def _within_window(thick: np.ndarray, near: np.ndarray) -> np.ndarray:
    """1 where the slices `near` lie inside the networks' window, fading to 0 over a band outside: (H, W).

    There (metal, dense contrast, padding values) the network saw clipped values; the interpolation stands.
    """
    return 1.0 - outside_window(thick[near].astype(np.float32)).max(axis=0)
