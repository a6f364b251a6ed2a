"""What a training minimizes, as modules, so that DistributedDataParallel can wrap them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ThickToThinSRLib.interpolation import interpolation_matrix
from ThickToThinSRLib.networks.rdn import ResidualDenseBlock
from ThickToThinSRLib.networks.registry import WindowSpec
from ThickToThinSRLib.networks.swin import SwinBlock

from .recipes.base import Recipe


class OutputObjective(nn.Module):
    """The network's output against the truth.

    Parameters
    ----------
    network : Module
        The network to train.
    loss : Module
        (prediction, truth) to the loss.
    """

    def __init__(self, network: nn.Module, loss: nn.Module):
        super().__init__()
        self.network, self.loss = network, loss

    def forward(
        self, thick: torch.Tensor, thin: torch.Tensor, stage: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and prediction; `stage` is 1 or, for systems that are trained in two stages, 2."""
        prediction = self.network(thick)
        return self.loss(prediction.float(), thin), prediction


def build_objective(recipe: Recipe, network: nn.Module) -> nn.Module:
    """The recipe's objective for its network."""
    loss = {"l1": nn.L1Loss, "mse": nn.MSELoss}[recipe.settings.loss]()
    return (recipe.objective or OutputObjective)(network, loss)


def enable_gradient_checkpointing(network: nn.Module) -> None:
    """Let the large blocks compute their activations again in the backward pass, instead of storing them."""
    for module in network.modules():
        if isinstance(module, (SwinBlock, ResidualDenseBlock)):
            module.forward = _recomputed(module.forward)


def _recomputed(forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def wrapped(x: torch.Tensor) -> torch.Tensor:
        return checkpoint(forward, x, use_reentrant=False) if torch.is_grad_enabled() else forward(x)

    return wrapped


class CubicWindow:
    """Cubic interpolation of a window's thick slices alone: the baseline that a network must beat."""

    def __init__(self, window: WindowSpec, device: torch.device):
        count = (window.depth - 1) * window.factor + 1
        matrix = interpolation_matrix(window.depth, window.factor, count, 1.0)
        predicted = matrix[window.first_output : window.first_output + window.outputs]
        self.matrix = torch.tensor(predicted, dtype=torch.float32, device=device)

    def __call__(self, thick: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) -> (B, 1, outputs, H, W)."""
        return torch.einsum("od,bcdhw->bcohw", self.matrix, thick.float())


def decibels(prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """PSNR on [0, 1], at most 100 dB for each crop, averaged over the crops of a batch."""
    error = (prediction.detach().float().clamp(0, 1) - truth).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp_min(1e-10)).mean()
