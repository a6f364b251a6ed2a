"""DA-VSR's adaptation: before it predicts, the network learns from the scan's own axial slices.

These are sharp in both directions. They are degraded along one of them as slices are thickened, and the axial
head learns to undo that; with it the feature extractor comes to know the scan, and through it the sagittal
and coronal heads, which stay as they are (Peng et al., MICCAI 2021).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from ..errors import Cancelled
from ..inference.runner import resolve_device
from ..intensity import to_unit
from ..networks.davsr import DAVSR, in_plane_pair, in_plane_prediction

DEFAULT_EPOCHS = 2
_CROP = 128  # pixels
_LEARNING_RATE = 1e-4


def adapt(
    network: DAVSR,
    thick: np.ndarray,
    device: str = "auto",
    epochs: int | None = None,
    minutes: float | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Adapt the network in place to thick slices (L, H, W) in HU, which are taken in turn.

    Parameters
    ----------
    epochs : int, optional
        Passes over the slices, 2 by default; 0: no adaptation.
    minutes : float, optional
        Instead of epochs: how long to adapt.
    """
    network.to(resolve_device(device)).train()
    learning = [*network.extractor.parameters(), *network.heads["axial"].parameters()]
    optimizer = torch.optim.Adam(learning, lr=_LEARNING_RATE)
    rng = np.random.default_rng(0)
    steps = (DEFAULT_EPOCHS if epochs is None else epochs) * len(thick)
    end = None if minutes is None else time.monotonic() + 60 * minutes
    started, step = time.monotonic(), 0
    while time.monotonic() < end if end else step < steps:
        if cancelled():
            raise Cancelled
        low, truth = in_plane_pair(_crop(thick, step, rng).to(learning[0].device), network.factor)
        loss = (in_plane_prediction(network, low) - truth).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        if end:
            progress("adaptation", round(time.monotonic() - started), max(1, round(60 * minutes)))
        else:
            progress("adaptation", step, steps)
    network.eval()


def _crop(thick: np.ndarray, step: int, rng: np.random.Generator) -> torch.Tensor:
    """(1, 1, h, w) on [0, 1]: a random crop of one slice, along rows or along columns in turn."""
    plane = thick[step % len(thick)]
    h, w = (min(_CROP, size) for size in plane.shape)
    y, x = (int(rng.integers(0, size - n + 1)) for size, n in zip(plane.shape, (h, w), strict=True))
    crop = np.clip(to_unit(plane[y : y + h, x : x + w].astype(np.float32)), 0, 1)
    if step // len(thick) % 2:
        crop = crop.T
    return torch.from_numpy(np.ascontiguousarray(crop))[None, None]
