"""The universal network and method: geometry, consistency, and voxels that it must not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.methods.universal import enhance
from ThickToThinSRLib.methods.universal.enhance import shares
from ThickToThinSRLib.methods.universal.network_input import DIFFERENCE_UNIT, universal_input
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.networks.universal import CHANNELS, cosine_series, describe_acquisition
from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.checkpoint import Weights, save_network

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"features": 8, "blocks": 2, "coefficients": 5}
CARD = {"title": "Test", "version": "1", "licence": "none", "origin": "random numbers"}


def random_network(scale: float = 0.05):
    """A small network with random weights, in which all weights influence the result."""
    torch.manual_seed(0)
    network = build("universal", **SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network.eval()


@pytest.fixture
def checkpoint(tmp_path):
    network = random_network()
    path = tmp_path / "universal.safetensors"
    save_network(path, network.state_dict(), "universal", SMALL, network.window, CARD)
    return path


def chest_like(shape=(9, 24, 30), spacing=(0.7, 0.7, 5.0), seed=0) -> Volume:
    generator = np.random.default_rng(seed)
    voxels = generator.normal(0, 150, shape).astype(np.float32).cumsum(axis=0) / 3
    return Volume(np.rint(voxels).astype(np.int16), spacing, (3.0, -2.0, 7.0), np.eye(3), thickness=5.0)


def enhanced(volume, checkpoint, spacing=1.0, **settings):
    settings = Settings(checkpoint=checkpoint, spacing=spacing, axis=2, **settings)
    return enhance_volume(volume, settings)


def test_without_a_correction_the_result_is_the_consistent_interpolation(tmp_path):
    network = build("universal", **SMALL)
    torch.nn.init.zeros_(network.tail.weight)
    torch.nn.init.zeros_(network.tail.bias)
    path = tmp_path / "zero.safetensors"
    save_network(path, network.state_dict(), "universal", SMALL, network.window, CARD)
    volume = replace(chest_like(), voxels=chest_like().voxels.astype(np.float32))
    thin, _ = enhanced(volume, path, consistency=False)
    expected, _ = enhance_volume(volume, Settings(method="consistent", spacing=1.0, axis=2))
    np.testing.assert_allclose(thin.voxels, expected.voxels, atol=1e-3)


def test_the_result_agrees_with_the_input_where_the_network_does_not(checkpoint):
    volume = chest_like()
    _, free = enhanced(volume, checkpoint, consistency=False)
    _, bound = enhanced(volume, checkpoint)
    assert free["consistency_hu"]["mean"] > 2.0
    assert bound["consistency_hu"]["mean"] < 0.3
    assert bound["consistency_hu"]["worst_slice"] < 0.5


@pytest.mark.parametrize("spacing", [1.0, 1.25, 1.7, 5.0])
def test_any_spacing_is_kept_exactly(checkpoint, spacing):
    thin, report = enhanced(chest_like(), checkpoint, spacing)
    assert len(thin.voxels) == int(np.floor(8 * 5.0 / spacing + 1e-6)) + 1
    assert thin.spacing == (0.7, 0.7, spacing)
    assert thin.origin == (3.0, -2.0, 7.0)
    assert report["method"] == "universal"


def test_the_axis_order_of_the_volume_does_not_matter(checkpoint):
    volume = chest_like()
    turned = replace(
        volume, voxels=np.moveaxis(volume.voxels, 0, 2).copy(), spacing=(5.0, 0.7, 0.7), slice_axis=0
    )
    thin, _ = enhanced(volume, checkpoint)
    other, _ = enhance_volume(turned, Settings(checkpoint=checkpoint, spacing=1.0, axis=0, thickness=5.0))
    np.testing.assert_array_equal(np.moveaxis(other.voxels, 2, 0), thin.voxels)


@pytest.mark.parametrize("slices", [2, 3])
def test_very_few_slices_are_enough(checkpoint, slices):
    thin, _ = enhanced(chest_like((slices, 24, 30)), checkpoint)
    assert len(thin.voxels) == 5 * (slices - 1) + 1


def test_tiles_change_nothing(checkpoint, monkeypatch):
    volume = chest_like((4, 150, 201))
    whole, _ = enhanced(volume, checkpoint)
    monkeypatch.setattr("ThickToThinSRLib.inference.runner._CPU_BUDGET", 100 * 100 * 1000)
    tiled, _ = enhanced(volume, checkpoint)
    assert np.abs(whole.voxels.astype(int) - tiled.voxels).max() <= 1


def test_a_smaller_margin_changes_hardly_anything(monkeypatch):
    thick = thorax((2.0, 2.0, 5.0), z_range=(-40.0, 0.0))
    found = [enhance_volume(thick, Settings(method="universal", spacing=1.0))[0].voxels.astype(float)]
    monkeypatch.setattr(enhance, "_SEEN_SHARE", 1.0)
    found.append(enhance_volume(thick, Settings(method="universal", spacing=1.0))[0].voxels.astype(float))
    difference = np.abs(found[0] - found[1])
    assert 0 < difference.max() <= 6
    assert difference.mean() < 0.02


def test_metal_and_padding_stay_as_interpolated(checkpoint):
    volume = chest_like()
    volume.voxels[:, 3:6, 3:6] = 3071
    volume.voxels[:, 15:20, 15:20] = -2000
    thin, _ = enhanced(volume, checkpoint)
    assert np.all(thin.voxels[:, 3:6, 3:6] == 3071)
    assert np.all(thin.voxels[:, 15:20, 15:20] == -2000)


def test_neighbouring_slices_share_the_thin_ones_between_them_by_distance():
    all_shares = shares(4, 31, 5.0, 0.5)
    np.testing.assert_allclose(all_shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(all_shares[3, :3], [0.7, 0.3, 0.0])  # 1.5 mm from slice 0
    np.testing.assert_allclose(all_shares[[0, 10, 20, 30]], np.eye(4), atol=1e-12)  # at the thick slices


def test_the_network_reads_the_slice_and_differences_from_it():
    slices = np.stack([np.full((2, 3), value, np.float32) for value in (-900, -800, -1024, 0, 5000)])
    samples = np.full((5, 2, 3), -1024 + DIFFERENCE_UNIT, np.float32)
    channels = universal_input(slices, samples)
    assert channels.shape == (CHANNELS, 2, 3)
    assert np.all(channels[0] == 0)
    np.testing.assert_allclose(channels[1:3, 0, 0], [124 / DIFFERENCE_UNIT, 224 / DIFFERENCE_UNIT])
    assert np.all(channels[4] == 6.0)  # clipped
    np.testing.assert_allclose(channels[5:], 1.0, rtol=1e-6)


def test_the_margin_covers_the_receptive_field():
    network = random_network().double()
    described = torch.tensor([describe_acquisition(5.0, 5.0, 0.7)], dtype=torch.float64)
    torch.manual_seed(1)
    channels = torch.randn(1, CHANNELS, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        before = network(channels, described)
        channels[..., 20] += 1.0
        changed = (network(channels, described) - before).abs().amax(dim=(0, 1, 2)) > 1e-12
    reach = np.flatnonzero(changed.numpy())
    margin = network.window.margin
    assert reach.min() >= 20 - margin and reach.max() <= 20 + margin
    assert reach.max() > 20 + margin - 4  # and it is not wasteful


def test_the_series_can_take_any_shape_between_slices():
    positions = torch.linspace(-0.6, 0.6, 9, dtype=torch.float64)
    terms = cosine_series(positions, 8)
    for wanted in (positions, positions**2, (positions > 0).double()):
        fitted = terms @ torch.linalg.lstsq(terms, wanted[:, None], rcond=None, driver="gelsd").solution
        assert (fitted[:, 0] - wanted).abs().max() < 0.25


def test_a_checkpoint_keeps_any_spacing(checkpoint):
    assert Weights.open(checkpoint).load().window.factor is None


def test_the_acquisition_matters_to_the_network():
    network = random_network()
    channels = torch.randn(1, CHANNELS, 16, 16)
    described = [describe_acquisition(5.0, 5.0, 0.7), describe_acquisition(6.25, 2.5, 0.7)]
    with torch.no_grad():
        one, other = (network(channels, torch.tensor([values])) for values in described)
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("thickness", "spacing", "pixel"),
    [(5, 5, 3.0), (20, 20, 0.8), (1, 10, 0.8), (8, 1.5, 0.8), (10, 1.2, 0.8)],
)
def test_acquisitions_beyond_the_training_of_the_bundled_weights_do_no_harm(thickness, spacing, pixel):
    """Slabs, gaps, coarse pixels: better than cubic interpolation still, on the phantom."""
    height, side = max(30.0, 4 * spacing), 48 * pixel
    truth = thorax(
        (pixel, pixel, 1.0), seed=3, size_mm=(side, side), z_range=(-60.0, height - 60.0), noise=8.0
    )
    thick = simulate(truth, Acquisition(thickness, spacing))
    first = round(thick.origin[2] - truth.origin[2])
    errors = {}
    for method in ("interpolation", "universal"):
        thin, _ = enhance_volume(
            thick, Settings(method=method, spacing=1.0, thickness=thickness, device="cpu")
        )
        there = truth.voxels[first : first + len(thin.voxels)].astype(float)
        errors[method] = np.sqrt(np.mean(np.square(thin.voxels[: len(there)] - there)))
        assert np.abs(thin.voxels).max() < 2048
    assert errors["universal"] < errors["interpolation"]


@pytest.mark.parametrize(("thickness", "warned"), [(5.0, True), (8.0, False)])
def test_adapted_weights_are_used_with_a_warning_where_slices_do_not_overlap(
    checkpoint, monkeypatch, thickness, warned
):
    kept = {"steps": 1, "before_db": 0.0, "after_db": 0.1, "kept": True}
    monkeypatch.setattr(enhance, "adapt", lambda *_: kept)
    _, report = enhanced(chest_like(), checkpoint, thickness=thickness, minutes=1.0)
    assert any("do not overlap" in note for note in report["notes"]) == warned
