"""The method `davsr`: DA-VSR, whose network adapts to the axial slices of the scan before it predicts.

Axial slices are sharp in both directions. They are downsampled along one of them, and the axial head is
trained to undo that, together with the feature extractor that all heads share. The sagittal and coronal
heads, which make the result, are not trained (Peng et al., MICCAI 2021).
"""

from __future__ import annotations

import numpy as np
import torch

from ..inference.devices import resolve_device
from ..intensity import to_unit
from ..monitor import Monitor
from ..networks.davsr import DAVSR, in_plane_pair, in_plane_prediction
from ..settings import Settings
from ..volume import Volume
from . import fixed_factor
from .adaptation import Adaptation, Budget
from .request import Request

DEFAULT_EPOCHS = 2
_CROP = 128  # pixels
_LEARNING_RATE = 1e-4


def enhance(volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Adapt the network to the scan, then run it like all networks with a fixed factor."""
    network = request.weights.load()
    adapt(network, volume.slices_first(request.axis), request.settings, monitor)
    return fixed_factor.enhance_with(network, volume, request, monitor)


def adapt(network: DAVSR, thick: np.ndarray, settings: Settings, monitor: Monitor) -> None:
    """Adapt the network in place to the scan.

    Parameters
    ----------
    thick : ndarray, shape (L, H, W)
        Thick slices in HU; each step uses the next one.
    settings : Settings
        ``minutes``, or ``epochs``: passes over the slices, 2 by default; 0: no adaptation.
    """
    network.to(resolve_device(settings.device))
    trained = [*network.extractor.parameters(), *network.heads["axial"].parameters()]
    rng = np.random.default_rng(0)

    def loss(step: int) -> torch.Tensor:
        crop = _crop(thick, step, rng).to(trained[0].device)
        low, truth = in_plane_pair(crop, network.factor)
        return (in_plane_prediction(network, low) - truth).abs().mean()

    if settings.minutes is not None:
        budget = Budget(seconds=60.0 * settings.minutes)
    else:
        epochs = DEFAULT_EPOCHS if settings.epochs is None else settings.epochs
        budget = Budget(steps=epochs * len(thick))
    Adaptation(network, loss, torch.optim.Adam(trained, lr=_LEARNING_RATE), budget).run(monitor)


def _crop(thick: np.ndarray, step: int, rng: np.random.Generator) -> torch.Tensor:
    """A random crop (1, 1, h, w) of one slice, on [0, 1]; transposed in every second pass over the slices."""
    plane = thick[step % len(thick)]
    h, w = (min(_CROP, size) for size in plane.shape)
    y, x = (int(rng.integers(0, size - n + 1)) for size, n in zip(plane.shape, (h, w), strict=True))
    crop = np.clip(to_unit(plane[y : y + h, x : x + w].astype(np.float32)), 0, 1)
    if step // len(thick) % 2:
        crop = crop.T
    return torch.from_numpy(np.ascontiguousarray(crop))[None, None]
