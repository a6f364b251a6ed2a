"""SAINT, ResVox, MPU-Net, DA-VSR and TVSRN's ablations: sizes, where slices come to lie, adaptation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.errors import Cancelled
from ThickToThinSRLib.methods.davsr import adapt
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.davsr import in_plane_pair, in_plane_prediction
from ThickToThinSRLib.networks.mpunet import resized
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.networks.through_plane_interpolation import interpolated
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.checkpoint import save_network
from training.recipes import find_recipe

pytestmark = pytest.mark.usefixtures("one_thread")
DENSE = {"depth": 4, "features": 8, "blocks": 2, "layers": 2, "growth": 4}
SMALL = {
    "saint": {**DENSE, "factor": 5, "fusion_blocks": 1, "fusion_layers": 2, "fusion_growth": 4},
    "resvox": {"features": 6, "thin_features": 3, "blocks": 2},
    "mpunet": {"features": 4},
    "davsr": DENSE,
}
CARD = {"title": "untrained", "version": "0", "licence": "Apache-2.0", "origin": "a test"}


def small(name, **arguments):
    """A small network with random weights, in eval mode."""
    torch.manual_seed(0)
    return build(name, **{**SMALL[name], **arguments}).eval()


def zeroed(name, **arguments):
    """One that adds nothing to what it begins with."""
    network = small(name, **arguments)
    for parameter in network.parameters():
        parameter.data.zero_()
    return network


@pytest.mark.parametrize(
    ("recipe", "count"),
    [
        ("tvsrn_mask_tokens", 2_387_585), ("tvsrn_without_tab", 2_185_729), ("tvsrn_encoder_only", 3_723_105),
        ("tvsrn_vit", 17_611_520), ("saint", 3_158_817), ("resvox", 546_433), ("mpunet", 353_697),
        ("davsr", 269_615),
    ],
)  # fmt: skip
def test_weights_number_as_the_readme_says(recipe, count):
    recipe = find_recipe(recipe)
    with torch.device("meta"):
        network = build(recipe.network, **recipe.arguments)
    assert sum(weight.numel() for weight in network.parameters()) == count


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["resvox", "mpunet", "davsr"])
def test_a_network_adds_to_the_slices_between_the_thick_ones_where_they_lie(name, factor):
    network = zeroed(name, factor=factor)
    window = network.window
    ramp = torch.arange(window.depth, dtype=torch.float32)[None, None, :, None, None].expand(1, 1, -1, 8, 8)
    with torch.no_grad():
        thin = network(ramp)[0, 0, :, 0, 0]
    place = (window.first_output + torch.arange(window.outputs)) / factor  # in thick slices
    torch.testing.assert_close(thin, place)


@pytest.mark.parametrize("factor", [4, 5])
def test_resvox_puts_the_middle_of_a_thick_slices_parts_at_its_place(factor):
    network = zeroed("resvox", factor=factor)
    with torch.no_grad():
        for part in range(factor):
            network.conv_up.bias.view(-1, factor)[:, part] = part
        network.conv_out.weight[0, 0, 1, 1, 1] = 1
        thin = network(torch.zeros(1, 1, network.window.depth, 8, 8))[0, 0, :, 4, 4]
    for index, value in enumerate(thin.tolist()):
        assert value == (network.window.first_output + index + factor // 2) % factor


@pytest.mark.parametrize("slices", [4, 7, 16])
def test_mpunets_resizing_keeps_the_end_slices_in_place(slices):
    x = torch.arange(4.0)[None, None, :, None, None].expand(1, 1, 4, 2, 3)
    result = resized(x, (slices, 4, 6))
    assert result.shape == (1, 1, slices, 4, 6)
    torch.testing.assert_close(result[0, 0, :, 3, 5], torch.linspace(0, 3, slices))


@pytest.mark.parametrize("name", ["saint", "davsr"])
def test_many_planes_at_once_or_few_give_the_same(name, monkeypatch):
    network = small(name)
    x = torch.rand(1, 1, 4, 12, 9)
    with torch.no_grad():
        whole = network(x)
        network.held = (1 << 23) // (4 * 12 * 2)  # two planes at a time
        torch.testing.assert_close(network(x), whole)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_is_trained(name):
    network = small(name).train()
    x = torch.rand(1, 1, network.window.depth, 8, 8)
    loss = network(x).square().mean()
    if name == "saint":  # rounding between its stages stops the gradient, so they are trained apart
        loss = loss + network.views(x).square().mean()
    loss.backward()
    lost = {key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()}
    # DA-VSR's axial head learns from axial slices alone.
    assert lost == {key for key in lost if key.startswith("heads.axial")}
    assert bool(lost) == (name == "davsr")


@pytest.mark.parametrize("name", SMALL)
def test_a_network_enhances_an_oblique_scan_of_odd_size_in_its_place(name, tmp_path):
    network = small(name)
    path = tmp_path / "weights.safetensors"
    save_network(path, network.state_dict(), name, SMALL[name], network.window, CARD)
    rng = np.random.default_rng(0)
    coarse = rng.normal(-300, 300, (6, 6, 7))
    voxels = np.kron(coarse, np.ones((1, 7, 7)))[:, :37, :41].clip(-1000, 1500).astype(np.int16)
    turn = np.array([[0.8, 0.0, 0.6], [0.6, 0.0, -0.8], [0.0, 1.0, 0.0]])
    thick = Volume(voxels, (0.7, 0.8, 5.0), (-10.0, 20.0, 30.0), turn)
    thin, report = enhance_volume(
        thick, Settings(checkpoint=path, device="cpu", epochs=0 if name == "davsr" else None)
    )
    assert report["method"] == name
    assert thin.voxels.shape == (26, 37, 41)
    assert thin.voxels.dtype == np.int16
    assert (thin.spacing, thin.origin) == ((0.7, 0.8, 1.0), thick.origin)
    np.testing.assert_array_equal(thin.direction, turn)
    assert report["consistency_hu"]["mean"] < 0.5


# ---- DA-VSR's adaptation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_degraded_rows_lie_over_the_rows_they_come_from(factor):
    rows = torch.arange(40.0)[None, None, :, None].expand(1, 1, 40, 3)
    low, truth = in_plane_pair(rows, factor)
    assert truth.shape[2] == factor * (low.shape[2] - 1) + 1
    torch.testing.assert_close(low, truth[:, :, ::factor])


def test_the_axial_head_adds_to_rows_where_they_lie():
    network = zeroed("davsr")
    rows = torch.arange(40.0)[None, None, :, None].expand(1, 1, 40, 3)
    low, truth = in_plane_pair(rows, 5)
    with torch.no_grad():
        torch.testing.assert_close(in_plane_prediction(network, low), truth)


def scan():
    """Thick slices full of edges, in HU."""
    rng = np.random.default_rng(1)
    return np.kron(rng.uniform(-900, 500, (3, 16, 16)), np.ones((1, 3, 3))).astype(np.int16)


def axial_error(network, thick):
    """Of the axial head on the scan's own slices."""
    images = torch.from_numpy((thick[:, None].astype(np.float32) + 1024) / 3072)
    with torch.no_grad():
        low, truth = in_plane_pair(images, network.factor)
        return float((in_plane_prediction(network, low) - truth).abs().mean())


def test_the_adaptation_learns_the_scan_and_leaves_the_other_heads_alone():
    network, thick = small("davsr"), scan()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    error = axial_error(network, thick)
    adapt(network, thick, Settings(device="cpu", epochs=20), Monitor())
    assert axial_error(network, thick) < 0.9 * error
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.split(".")[0] for key in changed} == {"extractor", "heads"}
    assert not any(key.startswith(("heads.sagittal", "heads.coronal")) for key in changed)
    assert not network.training


def test_the_adaptation_can_be_left_out_repeated_and_cancelled():
    networks = [small("davsr") for _ in range(3)]
    before = networks[0].state_dict()["extractor.shallow.weight"].clone()
    adapt(networks[0], scan(), Settings(epochs=0), Monitor())
    assert torch.equal(networks[0].state_dict()["extractor.shallow.weight"], before)
    for network in networks[1:]:
        adapt(network, scan(), Settings(epochs=1), Monitor())
    one, other = (network.state_dict() for network in networks[1:])
    assert all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(Cancelled):
        adapt(networks[0], scan(), Settings(epochs=1), Monitor(cancelled=lambda: True))


def test_the_linear_interpolation_of_a_window_goes_through_its_thick_slices():
    network = zeroed("davsr")
    x = torch.rand(1, 1, 4, 3, 3)
    thin, first = interpolated(x, network.window), network.window.first_output
    torch.testing.assert_close(thin[0, 0, 5 - first], x[0, 0, 1])
    torch.testing.assert_close(thin[0, 0, 7 - first], 0.6 * x[0, 0, 1] + 0.4 * x[0, 0, 2])
