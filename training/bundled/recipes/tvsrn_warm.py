"""Recipe of `tvsrn_warm`: the released TVSRN architecture, begun as an interpolation, taught by `universal`.

This is this project's own training. The published recipe is :mod:`training.recipes.tvsrn`.
"""

from __future__ import annotations

import torch

from ThickToThinSRLib.interpolation import interpolation_matrix
from ThickToThinSRLib.networks.tvsrn import TVSRN, window_for

from ..fixed_factor import FACTOR, Crops, crops, warm_recipe
from ..optimizers import Optimizers, muon
from ..tvsrn_start import add_features, start_as_interpolation


def _start(network: TVSRN, source: Crops) -> None:
    """Cubic interpolation, but for the slices that the network predicts: these have the least-squares map."""
    window = network.window
    matrix = interpolation_matrix(window.depth, FACTOR, network.slices, 1.0)
    matrix[window.first_output : window.first_output + window.outputs] = source.best_matrix()
    start_as_interpolation(network, torch.tensor(matrix, dtype=torch.float32))
    add_features(network)


def _optimizers(network: TVSRN, rate: float) -> Optimizers:
    def is_inner_matrix(name: str, parameter: torch.nn.Parameter) -> bool:
        return parameter.ndim == 2 and "position_bias" not in name

    # The patch projection learns slowly: its noise shows as a grid of 8 pixels.
    return muon(network, rate, is_inner_matrix, {"patch_projection": 0.01, "head": 0.2})


RECIPE = warm_recipe(
    "tvsrn",
    "TVSRN",
    in_training={"drop_path": 0.0},
    source=crops(window_for(FACTOR), sides=((0, 32), (8000, 48)), settling_side=64),
    start=_start,
    optimizers=_optimizers,
    steps=20_000,
    settling=3_000,
)
