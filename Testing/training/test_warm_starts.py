"""The starts of bundled trainings, with which an untrained network interpolates; the optimizer of kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ThickToThinSRLib.networks.cthnet import CTHNet
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.networks.saint import SAINT, distance_maps
from ThickToThinSRLib.networks.through_plane_interpolation import interpolated
from training.bundled.cthnet_start import add_what_lacks, pass_image_on
from training.bundled.fixed_factor import cubic
from training.bundled.optimizers import muon_for_kernels
from training.bundled.recipes import RECIPES
from training.bundled.saint_start import lagrange_weights, start_as_interpolation

pytestmark = pytest.mark.usefixtures("one_thread")


def smooth_crop(seed, depth, side=16, factor=5):
    """Thick slices and the true thin slices between them of a sum of smooth waves, (1, 1, slices, H, W)."""
    generator = np.random.default_rng(seed)
    z, y, x = np.ogrid[0 : factor * (depth - 1) + 1, 0:side, 0:side]
    volume = 0.5 + sum(
        0.08 * np.cos(a * z + b * y + c * x + d)
        for a, b, c, d in generator.uniform(0, (0.25, 0.5, 0.5, 6.3), (5, 4))
    )
    return (torch.tensor(v, dtype=torch.float32)[None, None] for v in (volume[::factor], volume))


@pytest.mark.parametrize("name", ["resvox", "mpunet", "davsr"])
def test_convolutional_networks_begin_as_linear_interpolation(name):
    network = build(name).eval()
    RECIPES[f"{name}_warm"].start(network, None)
    thick, _ = smooth_crop(0, network.window.depth)
    with torch.no_grad():
        torch.testing.assert_close(network(thick), interpolated(thick, network.window))


def test_lagranges_weights_are_exact_for_parabolas():
    weights = lagrange_weights(5)
    for power in (0, 1, 2):
        values = torch.tensor([-5.0, 0.0, 5.0]) ** power
        torch.testing.assert_close(weights @ values, torch.arange(5.0) ** power)


@pytest.mark.parametrize(("factor", "pixel", "thin"), [(5, 0.7, 1.0), (4, 0.9, 1.25), (2, 0.5, 1.25)])
def test_saint_begins_as_quadratic_interpolation_at_any_factor_and_spacing(factor, pixel, thin):
    torch.manual_seed(0)
    network = SAINT(
        factor=factor, depth=6, blocks=2, layers=2, growth=8, fusion_blocks=1, fusion_layers=1,
        thin_spacing=thin, row_spacing=pixel, column_spacing=pixel,
    ).eval()  # fmt: skip
    start_as_interpolation(network)
    thick, truth = smooth_crop(1, 6, factor=factor)
    window = network.window
    first = window.first_output
    inside = np.s_[:, :, factor:, 1:-1, 1:-1]  # before the first slice and beyond the border there is air
    truth = truth[:, :, first : first + window.outputs]
    repeated = thick[:, :, (torch.arange(window.outputs) + first) // factor]
    with torch.no_grad():
        error = (network(thick) - truth)[inside]
        filters = network.filters(distance_maps(factor, pixel, thin))
        features = network.extractor(torch.rand(1, 3, 8, 6) * 4000)
    assert error.square().mean() < 0.03 * (repeated - truth)[inside].square().mean()
    assert torch.all(filters[:, 1:32] == 0), "differences are for the layers that follow"
    assert torch.all(features[:, 32:] == 0), "nothing is added at the start"
    assert torch.linalg.matrix_rank(filters[:, 32:].sum((2, 3)), rtol=0.01) == factor, "each slice can change"


def test_cthnet_begins_near_an_interpolation():
    torch.manual_seed(0)
    network = CTHNet(
        depth=4, features=16, encoder_blocks=1, in_plane_groups=1, decoder_blocks=1, drop_path=0.0
    ).eval()
    window = network.window

    def draw(seed):
        thick, truth = smooth_crop(seed, 4)
        return thick, truth[:, :, window.first_output :][:, :, : window.outputs]

    pass_image_on(network)
    thick, truth = draw(100)
    source = (torch.arange(window.outputs) + window.first_output) * 4 // network.thin
    with torch.no_grad():
        repeated = thick[:, :, source]
        assert (network(thick) - repeated).abs().max() < 0.1 * (truth - repeated).abs().max() + 0.01
        seeds = iter(range(20))
        add_what_lacks(network, lambda: draw(next(seeds)), 20)
        error = (network(thick) - truth).square().mean()
    assert error < 0.1 * (repeated - truth).square().mean()
    assert error < 5 * (cubic(thick, window) - truth).square().mean() + 1e-5


def test_muon_moves_kernels_along_orthogonal_matrices_and_leaves_the_ends_to_adamw():
    torch.manual_seed(0)
    network = build("resvox", features=8, thin_features=4, blocks=1)
    optimizers = muon_for_kernels("conv_in", "conv_out")(network, 1e-3)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    thick, _ = smooth_crop(0, 4)
    network(thick).square().mean().backward()
    optimizers.step()
    moved = {name: value.detach() - before[name] for name, value in network.named_parameters()}
    kernel = moved["blocks.0.small.weight"].flatten(1)
    singular = torch.linalg.svdvals(kernel)
    assert singular.max() < 2 * singular.min(), "all directions move by a similar amount"
    # The first step of AdamW is the learning rate in each weight.
    torch.testing.assert_close(
        moved["conv_out.weight"].abs(), torch.full_like(moved["conv_out.weight"], 1e-3), rtol=0.02, atol=1e-6
    )
    assert all(change.abs().max() > 0 for change in moved.values())
