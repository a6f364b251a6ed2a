"""DA-VSR (Peng et al., MICCAI 2021): all three heads are trained together, by L1 and Adam with 1e-4.

The sagittal and coronal heads are trained on the pairs. The axial head, which the adaptation needs, is
trained on axial slices whose rows or columns were averaged as slices are: it restores them.
"""

import torch
from torch import nn

from ThickToThinSRLib.networks.davsr import in_plane_pair, in_plane_prediction

from .base import Recipe, TrainingSettings


class ThreePlanes(nn.Module):
    """The network's output against the truth, and the axial head's output on degraded axial slices."""

    def __init__(self, network: nn.Module, loss: nn.Module):
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, thick: torch.Tensor, thin: torch.Tensor, stage: int):
        """Loss and prediction."""
        prediction = self.network(thick)
        axial = thick.transpose(1, 2).flatten(0, 1)  # (B D, 1, H, W)
        both = torch.cat([axial, axial.transpose(2, 3)])
        low, truth = in_plane_pair(both, self.network.factor)
        in_plane = in_plane_prediction(self.network, low)
        return self.loss(prediction.float(), thin) + self.loss(in_plane.float(), truth), prediction


RECIPE = Recipe(
    "davsr",
    "DA-VSR",
    "davsr",
    "davsr",
    settings=TrainingSettings(optimizer="adam", learning_rate=1e-4, weight_decay=0.0, validate_below=0.024),
    objective=ThreePlanes,
)
