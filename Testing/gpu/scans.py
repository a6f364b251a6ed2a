"""A scan and requests to methods, without reading a file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.methods import fixed_factor
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.methods.request import Request
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.bundled import bundled_for

ACQUISITION = Acquisition(5.0, 5.0)
# Methods whose weights come with the program, and networks that are built with random ones.
WITH_WEIGHTS = {"universal": "universal", "sr4zct": "unet"}
FIXED = ("tvsrn", "cthnet", "saint", "resvox", "mpunet", "davsr")


def body(slices: int, side: int) -> Volume:
    """Thick slices with a textured body in air, slices x side x side."""
    generator = np.random.default_rng(0)
    z, y, x = np.ogrid[:slices, :side, :side]
    place = ((y / side - 0.5) / 0.32) ** 2 + ((x / side - 0.5 - 0.002 * z) / 0.44) ** 2
    lungs = ((y / side - 0.5) / 0.2) ** 2 + ((abs(x / side - 0.5) - 0.2) / 0.13) ** 2 < 1
    voxels = generator.normal(0, 30, (slices, side, side)).astype(np.float32)
    waves = 80 * np.sin(0.9 * z + y / 5) * np.cos(x / 7)
    voxels += np.where(place < 1, np.where(lungs, -850, 40) + waves, -1000)
    return Volume(np.rint(voxels).clip(-1024, 3071).astype(np.int16), (0.8, 0.8, 5.0), thickness=5.0)


def network_of(name: str) -> torch.nn.Module:
    """A network: with the bundled weights if there are any, else with random ones."""
    weights = bundled_for(name)
    if weights is not None:
        return weights.load()
    torch.manual_seed(0)
    network = build(name)
    network.name = name
    return network.eval()


def run(
    name: str,
    volume: Volume,
    device: str,
    precision: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> np.ndarray:
    """The thin voxels of a method, or of a network of a fixed factor, to slices every 1 mm."""
    settings = Settings(device=device, precision=precision)
    request = Request(axis=2, target_spacing=1.0, acquisition=ACQUISITION, settings=settings)
    monitor = Monitor(progress)
    if name in FIXED:
        return fixed_factor.enhance_with(network_of(name), volume, request, monitor).voxels
    if name in WITH_WEIGHTS:
        weights = bundled_for(WITH_WEIGHTS[name])
        request = Request(
            axis=2, target_spacing=1.0, acquisition=ACQUISITION, settings=settings, weights=weights
        )
    return METHODS[name].enhance(volume, request, monitor).voxels
