"""The networks of SR4ZCT against plain formulations, and their behaviour as modules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ThickToThinSRLib.networks.registry import NETWORKS, build

pytestmark = pytest.mark.usefixtures("one_thread")


def network(name: str, **arguments) -> torch.nn.Module:
    """A network whose last layer is not zero, so that all layers influence the output."""
    torch.manual_seed(0)
    module = build(name, **arguments)
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            if key.startswith("head") or "bias" in key:
                parameter.normal_(std=0.1)
    return module.eval()


def plain_msd(module, planes):
    x = torch.cat([(planes[:, :1] - module.mean) / module.deviation, planes[:, 1:]], 1)
    for layer, weight in enumerate(module.weights):
        reach = 1 + layer % 10
        bias = module.biases[layer : layer + 1]
        x = torch.cat([x, F.relu(F.conv2d(x, weight, bias, padding=reach, dilation=reach))], 1)
    return F.conv2d(x, module.head.weight, module.head.bias)


@pytest.mark.parametrize(("channels", "layers"), [(1, 100), (6, 23)])
def test_the_dense_network_and_its_gradients_are_those_of_the_plain_formulation(channels, layers):
    module = network("msd", channels=channels, layers=layers).train()
    planes = torch.rand(2, channels, 12, 21, requires_grad=True)
    outcomes = []
    for forward in (module, lambda x: plain_msd(module, x)):
        module.zero_grad()
        planes.grad = None
        result = forward(planes)
        result.square().mean().backward()
        gradients = [parameter.grad.flatten() for parameter in module.parameters()]
        outcomes.append((result.detach(), torch.cat([planes.grad.flatten(), *gradients])))
    (result, gradients), (expected, expected_gradients) = outcomes
    assert expected.std() > 0.1
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        gradients, expected_gradients, rtol=1e-3, atol=1e-5 * float(expected_gradients.abs().max())
    )


def test_the_dense_network_keeps_one_buffer_for_all_its_layers():
    module, saved = network("msd").train(), []
    planes = torch.rand(1, 1, 16, 16)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        module(planes)
    distinct = {tensor.data_ptr(): tensor.numel() for tensor in saved if tensor.dim() == 4}
    weights = sum(parameter.numel() for parameter in module.parameters())
    assert sum(distinct.values()) <= 101 * 16 * 16 + weights


@pytest.mark.parametrize(("name", "count"), [("msd", 45_652), ("unet", 481_889)])
def test_weights_number_as_said(name, count):
    assert sum(parameter.numel() for parameter in build(name).parameters()) == count


@pytest.mark.parametrize("name", ["msd", "unet"])
def test_an_untrained_network_corrects_nothing(name):
    assert not build(name)(torch.rand(1, 1, 16, 24)).any()


@pytest.mark.parametrize("name", ["msd", "unet"])
@pytest.mark.parametrize("size", [(9, 17), (1, 5), (40, 24)])
def test_planes_may_have_any_size(name, size):
    assert network(name)(torch.rand(2, 1, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize(
    ("name", "arguments"), [("msd", {"layers": 12}), ("unet", {"levels": 2, "width": 4})]
)
def test_what_lies_beyond_the_margin_has_no_influence(name, arguments):
    module = network(name, **arguments)
    reach = module.window.margin
    planes = torch.rand(1, 1, 8, 2 * reach + 16)
    changed = planes.clone()
    changed[..., -8:] = 0
    with torch.inference_mode():
        difference = (module(planes) - module(changed)).abs().amax(dim=(0, 1, 2))
    assert difference[: reach + 8].max() < 1e-5
    assert difference[-8:].max() > 1e-3


@pytest.mark.parametrize("name", ["msd", "unet"])
def test_every_weight_is_trained(name):
    module = network(name, channels=3).train()
    module(torch.rand(1, 3, 32, 32)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in module.parameters())


@pytest.mark.parametrize("name", ["msd", "unet"])
def test_half_precision_stays_close_and_trains(name):
    module = network(name)
    planes = torch.rand(1, 1, 24, 24)
    with torch.inference_mode():
        exact = module(planes)
    with torch.autocast("cpu", torch.bfloat16):
        output = module.train()(planes).float()
        output.square().mean().backward()
    assert (output - exact).abs().max() < 0.1 * exact.abs().max()
    assert all(torch.isfinite(weight.grad).all() for weight in module.parameters())


def test_the_dense_network_keeps_full_precision_on_the_cpu():
    # In bfloat16 oneDNN's backward pass reads beyond the memory of large planes and kills the process.
    module, planes = network("msd", layers=12), torch.rand(1, 1, 24, 24)
    with torch.autocast("cpu", torch.bfloat16):
        output = module(planes)
    assert torch.equal(output, module(planes))


def test_they_are_in_the_registry_for_any_target_spacing():
    for name in ("msd", "unet"):
        assert NETWORKS[name].window(channels=6).factor is None
        assert build(name, channels=6).window == NETWORKS[name].window(channels=6)
