"""The method `davsr`: DA-VSR, whose network learns from the scan's own axial slices before it predicts.

These are sharp in both directions. They are degraded along one of them as slices are thickened, and the axial
head learns to undo that; with it the feature extractor comes to know the scan, and through it the sagittal
and coronal heads, which stay as they are (Peng et al., MICCAI 2021).
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
    """Adapt the network to the scan, then run it as any other of a fixed factor."""
    network = request.weights.load()
    adapt(network, volume.slices_first(request.axis), request.settings, monitor)
    return fixed_factor.enhance_with(network, volume, request, monitor)


def adapt(network: DAVSR, thick: np.ndarray, settings: Settings, monitor: Monitor) -> None:
    """Adapt the network in place to thick slices (L, H, W) in HU, which are taken in turn.

    Parameters
    ----------
    settings : Settings
        ``minutes``, or ``epochs``: passes over the slices, 2 by default; 0: no adaptation.
    """
    network.to(resolve_device(settings.device))
    learning = [*network.extractor.parameters(), *network.heads["axial"].parameters()]
    rng = np.random.default_rng(0)

    def loss(step: int) -> torch.Tensor:
        crop = _crop(thick, step, rng).to(learning[0].device)
        low, truth = in_plane_pair(crop, network.factor)
        return (in_plane_prediction(network, low) - truth).abs().mean()

    if settings.minutes is not None:
        budget = Budget(seconds=60.0 * settings.minutes)
    else:
        epochs = DEFAULT_EPOCHS if settings.epochs is None else settings.epochs
        budget = Budget(steps=epochs * len(thick))
    Adaptation(network, loss, torch.optim.Adam(learning, lr=_LEARNING_RATE), budget).run(monitor)


def _crop(thick: np.ndarray, step: int, rng: np.random.Generator) -> torch.Tensor:
    """(1, 1, h, w) on [0, 1]: a random crop of one slice, along rows or along columns in turn."""
    plane = thick[step % len(thick)]
    h, w = (min(_CROP, size) for size in plane.shape)
    y, x = (int(rng.integers(0, size - n + 1)) for size, n in zip(plane.shape, (h, w), strict=True))
    crop = np.clip(to_unit(plane[y : y + h, x : x + w].astype(np.float32)), 0, 1)
    if step // len(thick) % 2:
        crop = crop.T
    return torch.from_numpy(np.ascontiguousarray(crop))[None, None]
