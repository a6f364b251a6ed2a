"""Recipe of `tvsrn_warm`: the released TVSRN architecture, begun as an interpolation, taught by `universal`.

This is this project's own training. The published recipe is :mod:`training.recipes.tvsrn`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ThickToThinSRLib.interpolation import interpolation_matrix
from ThickToThinSRLib.networks.tvsrn import TVSRN, window_for

from ..distilled import as_batch, draw_crop, open_scans
from ..optimizers import Optimizers, muon
from ..rates import cosine_fall
from ..recipe import Batch, BundledRecipe, Objective
from ..tvsrn_start import add_features, start_as_interpolation

FACTOR = 5
# Side of the crops in pixels: from a step on, and in the settling steps.
_SIDES = ((0, 32), (8000, 48))
_SETTLING_SIDE = 64
# A phantom has no tissue texture; the head scan has little noise and is soft in-plane.
_WEIGHTS = {"phantom": 0.3, "head": 0.3}
_CROPS_FOR_START = 200


class Crops:
    """Crops of distilled scans: of the teacher's slices first, of the true ones in the settling steps."""

    def __init__(self, data: Path, leave_out: list[str]):
        self.scans = open_scans(data, _WEIGHTS, leave_out)
        self.names = [scan.name for scan in self.scans]
        self.window = window_for(FACTOR)

    def batch(self, generator: np.random.Generator, step: int, settling: bool) -> Batch:
        side = _SETTLING_SIDE if settling else [side for first, side in _SIDES if step >= first][-1]
        return as_batch([draw_crop(self.scans, self.window, side, generator, not settling)])

    def best_matrix(self) -> torch.Tensor:
        """The map (16, 4) of thick to thin slices with which training starts.

        It is cubic interpolation, but for the slices that the network predicts: these have the least-squares
        map of random crops.
        """
        generator = np.random.default_rng(0)
        thick, thin = zip(
            *(draw_crop(self.scans, self.window, 32, generator, False) for _ in range(_CROPS_FOR_START)),
            strict=True,
        )
        thick, thin = (
            np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1).clip(-1024, 2048) + 1024.0
            for arrays in (thick, thin)
        )
        matrix = interpolation_matrix(self.window.depth, FACTOR, 16, 1.0)
        first = self.window.first_output
        matrix[first : first + self.window.outputs] = np.linalg.lstsq(thick.T, thin.T, rcond=None)[0].T
        return torch.tensor(matrix, dtype=torch.float32)


def _start(network: TVSRN, source: Crops) -> None:
    start_as_interpolation(network, source.best_matrix())
    add_features(network)


def _optimizers(network: TVSRN, rate: float) -> Optimizers:
    def is_inner_matrix(name: str, parameter: torch.nn.Parameter) -> bool:
        return parameter.ndim == 2 and "position_bias" not in name

    # The patch projection learns slowly: its noise shows as a grid of 8 pixels.
    return muon(network, rate, is_inner_matrix, {"patch_projection": 0.01, "head": 0.2})


_CUBIC = torch.tensor(interpolation_matrix(4, 5, 16, 1.0), dtype=torch.float32)


def _objective(network: TVSRN, batch: Batch, settling: bool, precision: str) -> Objective:
    thick, thin = batch["thick"], batch["thin"]
    with torch.autocast(thick.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        estimate = network(thick)
    error = estimate.float() - thin
    first = network.window.first_output
    cubic = torch.einsum("td,bcdhw->bcthw", _CUBIC[first : first + network.window.outputs], thick)
    return Objective(error.abs().mean(), (cubic - thin).square().mean(), error.detach().square().mean())


RECIPE = BundledRecipe(
    name="tvsrn_warm",
    network="tvsrn",
    arguments={},
    in_training={"drop_path": 0.0},
    source=Crops,
    start=_start,
    optimizers=_optimizers,
    objective=_objective,
    relative_rate=cosine_fall,
    steps=20_000,
    settling=3_000,
    rate=1e-3,
    card={
        "title": "TVSRN, a warm-started training of this project",
        "version": "1.0",
        "licence": "CC BY 4.0",
        "limits": "research weights trained on few scans, not the published results; not a medical device",
        "trained": {"spacing": [4.0, 5.0], "thickness": [4.0, 5.0]},
    },
)
