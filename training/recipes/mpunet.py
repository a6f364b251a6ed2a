"""MPU-Net (Liu et al., MICCAI 2020), single stream: L1, otherwise as TVSRN.

Adam with 1e-4 is from the RPLHR-CT paper. Its other settings are in a supplement that we do not have.
"""

from .base import Recipe, TrainingSettings

RECIPE = Recipe(
    "mpunet",
    "MPU-Net",
    "mpunet",
    "mpunet",
    settings=TrainingSettings(optimizer="adam", learning_rate=1e-4, weight_decay=0.0),
)
