"""ResVox (Ge et al., MICCAI 2019) without its adversarial part: L1, on TVSRN's footing.

What the RPLHR-CT paper used besides stands in a supplement that we do not have; Adam with 1e-4 is that
paper's.
"""

from .base import Recipe, Settings

RECIPE = Recipe(
    "resvox",
    "ResVox",
    "resvox",
    "resvox",
    settings=Settings(optimizer="adam", learning_rate=1e-4, weight_decay=0.0),
)
