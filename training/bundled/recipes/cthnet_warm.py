"""Recipe of `cthnet_warm`: the released CTH-Net, begun close to an interpolation, taught by `universal`.

This is this project's own training. The published recipe is :mod:`training.recipes.cthnet`. The weights 1.1
were begun otherwise: 793 steps at a rate of 1e-3, which was too high, then on from their running mean; a
first fall of the rate ended at step 2,263 (weights 1.0), another began at step 3,463.
"""

from __future__ import annotations

import numpy as np
import torch

from ThickToThinSRLib.networks.cthnet import CTHNet, window_for

from ..cthnet_start import add_what_lacks, pass_image_on
from ..fixed_factor import FACTOR, Crops, crops, warm_recipe
from ..optimizers import Optimizers, muon

_CROPS_FOR_START = 60


def _start(network: CTHNet, source: Crops) -> None:
    generator = np.random.default_rng(0)

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        batch = source.batch(generator, 0, False)
        return batch["thick"], batch["thin"]

    pass_image_on(network)
    add_what_lacks(network, draw, _CROPS_FOR_START)


# The layers that the image passes through learn slowly, and so do those that decide how much the residual
# branches add to it: one step of theirs changes sums of up to 2,592 values.
_SHARES = {
    "encoder.conv_in": 0.1,
    "encoder.conv_out": 0.1,
    "reduction": 0.1,
    "through_plane.stack.groups.0.conv": 0.1,
    "through_plane.stack.norm": 0.1,
    "in_plane.groups.0.conv": 0.03,
    "in_plane.groups.1.conv": 0.03,
    "in_plane.norm": 0.1,
    "fusion": 0.02,
    "head": 0.2,
}


def _optimizers(network: CTHNet, rate: float) -> Optimizers:
    def is_inner(name: str, parameter: torch.nn.Parameter) -> bool:
        # In the wide in-plane blocks Muon would take as long as the rest of a step.
        return parameter.ndim > 1 and "position_bias" not in name and not name.startswith("in_plane")

    return muon(network, rate, is_inner, _SHARES)


RECIPE = warm_recipe(
    "cthnet",
    "CTH-Net",
    version="1.1",
    in_training={"drop_path": 0.0},
    source=crops(window_for(FACTOR), sides=((0, 32),), settling_side=32),
    start=_start,
    optimizers=_optimizers,
    steps=20_000,
    settling=3_000,
    rate=3e-4,
)
