"""Recipe of `resvox_warm`: ResVox begins as linear interpolation and is taught by `universal`.

This is this project's own training. The recipe after its paper is :mod:`training.recipes.resvox`.
"""

from __future__ import annotations

from ThickToThinSRLib.networks.resvox import window_for

from ..fixed_factor import FACTOR, crops, warm_recipe
from ..optimizers import muon_for_kernels
from ..zero_start import zero_layers

RECIPE = warm_recipe(
    "resvox",
    "ResVox",
    source=crops(window_for(FACTOR), sides=((0, 32),), settling_side=48, count=2),
    start=zero_layers("conv_out"),
    optimizers=muon_for_kernels("conv_in", "conv_out"),
    steps=10_000,
    settling=2_500,
)
