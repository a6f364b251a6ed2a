"""Recipe of `mpunet_warm`: MPU-Net begins as linear interpolation and is taught by `universal`.

This is this project's own training. The recipe after its paper is :mod:`training.recipes.mpunet`.
"""

from __future__ import annotations

from ThickToThinSRLib.networks.mpunet import window_for

from ..fixed_factor import FACTOR, absolute_error, card, crops
from ..optimizers import muon_for_kernels
from ..rates import cosine_fall
from ..recipe import BundledRecipe
from ..zero_start import zero_layers

RECIPE = BundledRecipe(
    name="mpunet_warm",
    network="mpunet",
    arguments={},
    source=crops(window_for(FACTOR), sides=((0, 32),), settling_side=48, count=2),
    start=zero_layers("conv_out"),
    optimizers=muon_for_kernels("encoder.0.0", "conv_out"),
    objective=absolute_error,
    relative_rate=cosine_fall,
    steps=10_000,
    settling=2_500,
    rate=1e-3,
    card=card("MPU-Net"),
)
