"""SAINT (Peng et al., CVPR 2020): L1 and Adam with 1e-4, in two stages.

First the sagittal and the coronal network are trained, then the fusion of their outputs, while both stay
fixed. The paper trains the stages separately; here the first half of the steps is the first stage. The other
settings are those of TVSRN's recipe, because the RPLHR-CT paper compares the systems under equal conditions.
Only the crop is smaller: a step at 256 x 256 takes some 20 TFLOP.

The network works on HU + 1024 as released, but the loss is taken on [0, 1], so that its values compare with
those of the other systems; Adam's steps do not depend on the scale of a loss. Crops do not carry their pixel
spacing, so every crop is told the same spacings. They stand in the arguments, and therefore in the weights.
"""

import torch
from torch import nn

from .base import Recipe, TrainingSettings


class TwoStages(nn.Module):
    """Stage 1: both views against the truth. Stage 2: the fused volume, with fixed views."""

    def __init__(self, network: nn.Module, loss: nn.Module):
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, thick: torch.Tensor, thin: torch.Tensor, stage: int):
        """Loss and prediction."""
        if stage == 1:
            views = self.network.views(thick)
            return self.loss(views.float(), thin.expand_as(views)), views.mean(1, keepdim=True)
        with torch.no_grad():
            views = self.network.views(thick)
        prediction = self.network.fuse(views)
        return self.loss(prediction.float(), thin), prediction


RECIPE = Recipe(
    "saint",
    "SAINT",
    "saint",
    "saint",
    # RPLHR-CT's factor and thin slices, and a common pixel of chest CT.
    arguments={
        "factor": 5,
        "depth": 8,
        "thin_spacing": 1.0,
        "row_spacing": 0.75,
        "column_spacing": 0.75,
    },
    settings=TrainingSettings(
        optimizer="adam",
        learning_rate=1e-4,
        weight_decay=0.0,
        crop=64,
        stage_one=0.5,
        gradient_checkpointing=True,
    ),
    objective=TwoStages,
)
