"""CTH-Net as its released code trains it.

AdamW with 3e-4 and weight decay 1e-4, batch 1, up to 3000 epochs, crops of 8 x 256 x 256, flips from left to
right with p = 0.2, L1. The training loss is checked after epochs 1, 6, 11, ...: after 6 checks without a
lower loss (by 1e-6 at least, relative) the learning rate drops to a tenth, and after 4 drops the training
ends. Validation begins when the training loss is below 0.01. The paper reports 44.08 dB and 0.99, on another
data set.

Not as released: on a GPU we compute in bfloat16, the released code in float32 (``--set precision=float32``).
Gradient checkpointing, which changes no result, is our addition: without it a crop does not fit into 16 GB.
"""

from .base import Recipe, TrainingSettings

RECIPE = Recipe(
    "cthnet",
    "CTH-Net",
    "cthnet",
    "cthnet",
    settings=TrainingSettings(
        epochs=3000,
        flip=0.2,
        plateau_on="training",
        patience=6,
        most_idle_epochs=3000,
        validate_below=0.01,
        gradient_checkpointing=True,
    ),
)
