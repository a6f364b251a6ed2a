"""Several optimizers as one, with one relative learning rate: Muon for inner matrices, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from ThickToThinSRLib.errors import UserError


class Optimizers:
    """Several optimizers that step and are saved together.

    Parameters
    ----------
    optimizers : iterable of Optimizer
        Their parameter groups hold the full learning rates.
    """

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer]):
        self._optimizers = list(optimizers)
        self._full_rates = [[group["lr"] for group in one.param_groups] for one in self._optimizers]

    def set_relative_rate(self, share: float) -> None:
        """Set every group to this share of its full learning rate."""
        for one, rates in zip(self._optimizers, self._full_rates, strict=True):
            for group, rate in zip(one.param_groups, rates, strict=True):
                group["lr"] = rate * share

    def step(self) -> None:
        for one in self._optimizers:
            one.step()

    def state_dict(self) -> list[dict]:
        return [one.state_dict() for one in self._optimizers]

    def load_state_dict(self, states: list[dict]) -> None:
        for one, state in zip(self._optimizers, states, strict=True):
            one.load_state_dict(state)


def adamw(network: torch.nn.Module, rate: float) -> Optimizers:
    """AdamW for all parameters."""
    return Optimizers([torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-4)])


def muon(
    network: torch.nn.Module,
    rate: float,
    inner: Callable[[str, torch.nn.Parameter], bool],
    shares: dict[str, float],
) -> Optimizers:
    """Muon (Jordan et al., 2024) at ten times `rate` for inner matrices, AdamW at `rate` for the rest.

    Parameters
    ----------
    network : Module
        The network to train.
    rate : float
        Full learning rate of AdamW.
    inner : callable
        (name, parameter) to whether it is a matrix or a kernel that Muon should orthogonalize.
    shares : dict
        Share of `rate` for the parameters whose names begin with a key; AdamW trains these.

    Raises
    ------
    UserError
        If this PyTorch has no Muon (2.9 was the first to have it).
    """
    if not hasattr(torch.optim, "Muon"):
        raise UserError(f"this recipe needs PyTorch 2.9 or later (it uses Muon), not {torch.__version__}")
    slow = {prefix: [] for prefix in shares}
    matrices, rest = [], []
    for name, parameter in network.named_parameters():
        prefix = next((key for key in shares if name.startswith(key)), None)
        if prefix is not None:
            slow[prefix].append(parameter)
        elif inner(name, parameter):
            matrices.append(parameter)
        else:
            rest.append(parameter)
    groups = [{"params": rest, "lr": rate}]
    groups += [{"params": slow[prefix], "lr": rate * share} for prefix, share in shares.items()]
    return Optimizers(
        [
            _kernel_muon(matrices, lr=10 * rate, weight_decay=1e-4, momentum=0.95),
            torch.optim.AdamW(groups, lr=rate, weight_decay=1e-4, betas=(0.9, 0.99)),
        ]
    )


def muon_for_kernels(*ends: str) -> Callable[[torch.nn.Module, float], Optimizers]:
    """Of a convolutional network: Muon for kernels, AdamW for biases and for the layers named `ends`."""

    def optimizers(network: torch.nn.Module, rate: float) -> Optimizers:
        return muon(network, rate, lambda name, parameter: parameter.ndim > 1, dict.fromkeys(ends, 1.0))

    return optimizers


def _kernel_muon(parameters: list[torch.nn.Parameter], **options) -> torch.optim.Optimizer:
    """Muon for matrices and for kernels, which it sees as matrices (outputs, inputs x kernel).

    PyTorch's Muon refuses kernels. It is given matrices that share their memory.
    """
    matrices = [torch.nn.Parameter(one.data.view(len(one), -1)) for one in parameters]
    optimizer = torch.optim.Muon(matrices, **options)

    def hand_over_gradients(*_) -> None:
        for matrix, parameter in zip(matrices, parameters, strict=True):
            matrix.grad = None if parameter.grad is None else parameter.grad.reshape(matrix.shape)

    optimizer.register_step_pre_hook(hand_over_gradients)
    return optimizer
