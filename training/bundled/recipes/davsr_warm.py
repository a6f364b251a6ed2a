"""Recipe of `davsr_warm`: DA-VSR begins as linear interpolation and is taught by `universal`.

This is this project's own training. The recipe after the paper is :mod:`training.recipes.davsr`. As there,
the axial head learns from axial slices that were averaged along their rows or columns.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ThickToThinSRLib.networks.davsr import DAVSR, PLANES, in_plane_pair, in_plane_prediction, window_for

from ..fixed_factor import FACTOR, absolute_error, crops, warm_recipe
from ..optimizers import muon_for_kernels
from ..recipe import Batch, Objective
from ..zero_start import zero_layers

# The adaptation trains the axial head further, so a few of the slices are enough.
_AXIAL_SLICES = 2


def _objective(network: DAVSR, batch: Batch, settling: bool, precision: str) -> Objective:
    objective = absolute_error(network, batch, settling, precision)
    axial = batch["thick"][:, :, :_AXIAL_SLICES].flatten(0, 2)[:, None]  # (B slices, 1, H, W)
    low, truth = in_plane_pair(torch.cat([axial, axial.transpose(2, 3)]), network.factor)
    with torch.autocast(low.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        error = in_plane_prediction(network, low).float() - truth
    return replace(objective, loss=objective.loss + error.abs().mean())


RECIPE = warm_recipe(
    "davsr",
    "DA-VSR",
    source=crops(window_for(FACTOR), sides=((0, 32),), settling_side=32),
    start=zero_layers(*(f"heads.{plane}.2" for plane in PLANES)),
    optimizers=muon_for_kernels("extractor.shallow", *(f"heads.{plane}.2" for plane in PLANES)),
    objective=_objective,
    steps=6_000,
    settling=1_500,
)
