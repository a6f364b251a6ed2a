"""SAINT (Peng et al., CVPR 2020): L1 and Adam with 1e-4, in two stages.

First the sagittal and the coronal network are trained, then the fusion of their outputs, while both stay
fixed. The paper trains the stages separately; here the first half of the steps is the first stage. The other
settings are those of TVSRN's recipe, because the RPLHR-CT paper compares the systems under equal conditions.
Only the crop is smaller: a step at 256 x 256 takes some 20 TFLOP.
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
    settings=TrainingSettings(
        optimizer="adam",
        learning_rate=1e-4,
        weight_decay=0.0,
        crop=64,
        stage_one=0.5,
        gradient_checkpointing=True,
    ),
    objective=TwoStages,
    parameters="3.159 M (code)",
)
