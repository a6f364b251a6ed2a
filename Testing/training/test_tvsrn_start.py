"""A TVSRN that begins as an interpolation: the released architecture returns a linear map of its slices."""

import torch

from ThickToThinSRLib.interpolation import interpolation_matrix
from ThickToThinSRLib.networks.registry import build
from training.bundled.tvsrn_start import add_features, start_as_interpolation


def _matrix() -> torch.Tensor:
    return torch.tensor(interpolation_matrix(4, 5, 16, 1.0), dtype=torch.float32)


def _predicted_and_expected(features: bool, small: float) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    network = build("tvsrn").eval()
    start_as_interpolation(network, _matrix(), small)
    if features:
        add_features(network)
    thick = torch.rand(1, 1, 4, 32, 24)
    with torch.no_grad():
        predicted = network(thick)
    return predicted[0, 0], torch.einsum("td,dhw->thw", _matrix()[3:13], thick[0, 0])


def test_the_network_returns_the_interpolation_before_the_first_step():
    for features in (False, True):
        predicted, expected = _predicted_and_expected(features, small=0.0)
        assert (predicted - expected).abs().max() < 1e-5


def test_a_small_random_rest_of_the_head_changes_little():
    predicted, expected = _predicted_and_expected(True, small=1e-3)
    assert 0 < (predicted - expected).abs().max() < 0.05


def test_what_the_start_hides_can_be_learned():
    """Branches whose gain is zero still receive gradients."""
    torch.manual_seed(0)
    network = build("tvsrn", drop_path=0.0).train()
    start_as_interpolation(network, _matrix())
    add_features(network)
    (network(torch.rand(1, 1, 4, 16, 16)) - 0.5).abs().mean().backward()
    assert network.in_plane.norm_out.weight.grad.abs().max() > 0
    assert network.through_plane.stack.norm_out.weight.grad.abs().max() > 0
