"""The convolution for small images gives what PyTorch's own gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ThickToThinSRLib.networks.convolution import Conv3d


@pytest.mark.parametrize("shape", [(1, 8, 4, 40, 64), (1, 8, 4, 24, 33), (1, 8, 1, 7, 1), (1, 8, 4, 700, 6)])
@pytest.mark.parametrize("batch", [1, 2])
def test_result_and_gradients_are_those_of_pytorch(shape, batch):
    torch.manual_seed(0)
    ours, theirs = Conv3d(8, 6), nn.Conv3d(8, 6, 3, padding=1)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(batch, *shape[1:], requires_grad=True)
    same = x.detach().clone().requires_grad_()
    found, expected = ours(x), theirs(same)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn_like(found)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(x.grad, same.grad, rtol=1e-5, atol=1e-5)
    scale = float(theirs.weight.grad.abs().max())
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-5, atol=1e-5 * scale)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, rtol=1e-5, atol=1e-5 * scale)
