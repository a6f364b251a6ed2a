"""SAINT: where new slices lie, what the spacings change, and the method at any factor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.saint import factor_for, network_for
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.networks.saint import distance_maps
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.checkpoint import Weights, save_network

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = {"features": 8, "blocks": 2, "layers": 2, "growth": 4}
SIZES |= {"fusion_blocks": 1, "fusion_layers": 2, "fusion_growth": 4}
CARD = {"title": "untrained", "version": "0", "licence": "Apache-2.0", "origin": "a test"}
FACTORS = [2, 3, 4, 5, 7]


def small(**arguments):
    """A small network with random weights, in eval mode."""
    torch.manual_seed(0)
    return build("saint", **{"depth": 4, **SIZES, **arguments}).eval()


class Linear(torch.nn.Module):
    """In place of the filters that the distances make: linear interpolation between the slices."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """(r, 3, 3) in mm -> (r, channels, 3, 3)."""
        filters = torch.zeros(len(distances), self.channels, 3, 3)
        own, following = distances[:, 1, 1], distances[:, 2, 1]
        # Rows are pixels, columns slices, as in the images.
        filters[:, 0, 1, 1] = following / (own + following)
        filters[:, 0, 1, 2] = own / (own + following)
        return filters


def interpolating(**arguments):
    """A network that passes planes on, interpolates linearly, and fuses by the mean."""
    network = small(**arguments)
    for parameter in network.parameters():
        parameter.data.zero_()
    network.extractor.shallow.weight.data[0, 1, 1, 1] = 1  # the plane itself, without its neighbours
    network.filters = Linear(SIZES["features"])
    return network


def test_saint_has_the_released_number_of_weights_at_every_factor():
    for factor in FACTORS:
        with torch.device("meta"):
            network = build("saint", factor=factor, depth=5, thin_spacing=0.5)
        assert sum(weight.numel() for weight in network.parameters()) == 3_158_817
        assert sum(weight.numel() for weight in network.fusion.parameters()) == 371_105


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("size", [(6, 9), (7, 5)])
def test_a_linear_field_is_continued_between_the_thick_slices(factor, size):
    network = interpolating(factor=factor, depth=5, thin_spacing=0.7)
    window = network.window
    rows, columns = (torch.arange(float(n)) for n in size)
    inside = 0.01 * rows[:, None] + 0.02 * columns
    thick = 0.1 + 0.1 * torch.arange(5.0)[:, None, None] + inside
    with torch.no_grad():
        views = network.views(thick[None, None])
        thin = network.fuse(views)
    place = (window.first_output + torch.arange(float(window.outputs))) / factor
    expected = 0.1 + 0.1 * place[:, None, None] + inside
    assert thin.shape == (1, 1, window.outputs, *size)
    torch.testing.assert_close(views, expected.expand_as(views), rtol=1e-4, atol=1e-5)
    # The fusion reads whole HU.
    torch.testing.assert_close(thin[0, 0], expected, rtol=0, atol=0.51 / 3072)


@pytest.mark.parametrize("factor", FACTORS)
def test_distances_are_those_from_the_new_slice_to_the_pixels_around_it(factor):
    maps = distance_maps(factor, 0.7, 1.3)
    assert maps.shape == (factor, 3, 3)
    for k in range(factor):
        for row, slice_ in enumerate((-1, 0, 1)):
            for column, pixel in enumerate((-1, 0, 1)):
                expected = math.hypot((k - factor * slice_) * 1.3, pixel * 0.7)
                assert maps[k, row, column] == pytest.approx(expected)


def test_saint_gives_what_its_plain_formulation_gives():
    """Plane by plane, slice by slice, by unfolding, as the released code does it."""
    network, factor = small(factor=5, row_spacing=0.6, column_spacing=0.9), 5
    x = torch.rand(1, 1, 4, 6, 7)
    volume = 3072 * x[0, 0].permute(2, 1, 0)  # columns, rows, slices
    with torch.no_grad():
        views = []
        for planes, pixel in ((volume, 0.6), (volume.transpose(0, 1), 0.9)):
            filters = network.filters(distance_maps(factor, pixel, 1.0)).reshape(factor, -1)
            air = torch.zeros_like(planes[:1])
            padded = torch.cat([air, planes, air])
            done = []
            for i in range(len(planes)):
                unfolded = F.unfold(network.extractor(padded[None, i : i + 3]), 3, padding=1)[0]
                made = [(filters[k] @ unfolded).reshape(planes.shape[1:]) for k in range(factor)]
                done.append(torch.stack(made, 2).flatten(1))  # (length, D factor)
            views.append(torch.stack(done))
        both = torch.stack([views[0], views[1].transpose(0, 1)]).clamp(0, 4000).round()
        first, count = network.window.first_output, network.window.outputs
        expected = []
        for k in range(first, first + count):
            axial = both[None, ..., k]  # (1, 2, columns, rows)
            expected.append((network.fusion(axial) + axial.mean(1, keepdim=True))[0, 0].T)
        torch.testing.assert_close(3072 * network(x)[0, 0], torch.stack(expected), rtol=1e-4, atol=0.05)


def test_stage_two_reads_whole_numbers_from_0_to_4000():
    network = small()
    views = torch.tensor([-5.0, 0.4, 1.6, 3999.8, 5000.0]).view(1, 1, 1, 1, 5).expand(1, 2, 1, 3, 5)
    whole = torch.tensor([0.0, 0.0, 2.0, 4000.0, 4000.0]).view(1, 1, 1, 1, 5).expand(1, 2, 1, 3, 5)
    with torch.no_grad():
        torch.testing.assert_close(network.fuse(views / 3072), network.fuse(whole / 3072))


@pytest.mark.parametrize("name", ["thin_spacing", "row_spacing", "column_spacing"])
def test_each_spacing_changes_what_the_views_that_need_it_predict(name):
    x = torch.rand(1, 1, 4, 6, 7)
    with torch.no_grad():
        one, other = small().views(x), small(**{name: 0.4}).views(x)
    changed = [not torch.equal(one[:, view], other[:, view]) for view in range(2)]
    assert changed == [name != "column_spacing", name != "row_spacing"]


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_spacing_is_refused(value):
    with pytest.raises(UserError, match="spacing"):
        small(thin_spacing=value)


# ---- the method --------------------------------------------------------------------------------------------


def saved(path, network, **arguments):
    """A checkpoint of a network that was built with these arguments."""
    arguments = {"depth": 4, **SIZES, **arguments}
    save_network(path, network.state_dict(), "saint", arguments, network.window, CARD)
    return path


def scan(spacing=(0.7, 0.8, 5.0)):
    """Seven thick slices of a soft object, in HU."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in (7, 21, 26)), indexing="ij")
    voxels = 400 * np.sin(0.4 * i + 0.5 * k) * np.cos(0.3 * j) - 100
    return Volume(voxels.round().astype(np.int16), spacing, (-10.0, 20.0, 30.0))


@pytest.mark.parametrize(
    ("target", "factor"),
    [(1.25, 4), (1.0, 5), (0.9, 6), (2.5, 2), (4.0, 2), (5.0, 2), (0.1, 12)],
)
def test_the_factor_is_the_nearest_whole_number_from_2_to_12(target, factor):
    assert factor_for(5.0, target) == factor


@pytest.mark.parametrize(
    ("target", "slices"), [(None, 25), (1.25, 25), (1.0, 31), (0.9, 34), (2.5, 13), (4.0, 8)]
)
def test_a_scan_is_enhanced_to_any_spacing(tmp_path, target, slices):
    path = saved(tmp_path / "saint.safetensors", small())
    thin, report = enhance_volume(scan(), Settings(checkpoint=path, spacing=target, device="cpu"))
    assert report["method"] == "saint"
    assert thin.voxels.shape == (slices, 21, 26)
    assert thin.spacing == (0.7, 0.8, target or 1.25)
    assert thin.origin == (-10.0, 20.0, 30.0)
    assert report["consistency_hu"]["mean"] < 0.5


def test_new_slices_follow_each_thick_slice_and_the_first_stays_first(tmp_path, monkeypatch):
    """The interpolating network instead of a trained one, without the consistency projection."""
    monkeypatch.setattr(
        "ThickToThinSRLib.methods.saint.network_for",
        lambda weights, factor, spacings: named(interpolating(factor=factor, **spacings)),
    )
    path = saved(tmp_path / "saint.safetensors", small())
    thick = scan()
    for target, factor in ((1.25, 4), (1.0, 5), (5 / 7, 7)):
        settings = Settings(checkpoint=path, spacing=target, consistency=False, device="cpu")
        thin = enhance_volume(thick, settings)[0].voxels.astype(float)
        assert np.abs(thin[::factor] - thick.voxels).max() <= 1
        for k in range(1, factor):
            between = (1 - k / factor) * thick.voxels[:-1] + k / factor * thick.voxels[1:]
            assert np.abs(thin[k::factor] - between).max() <= 1.5


def named(network):
    """As `Weights.load` leaves it."""
    network.name = "saint"
    return network


def test_the_network_is_told_the_scans_own_spacings(tmp_path):
    weights = Weights.open(saved(tmp_path / "saint.safetensors", small()))
    told = network_for(weights, 3, {"thin_spacing": 5 / 3, "row_spacing": 0.8, "column_spacing": 0.7})
    assert (told.factor, told.window.factor, told.window.tile) == (3, 3, 256)
    assert (told.thin_spacing, told.row_spacing, told.column_spacing) == (5 / 3, 0.8, 0.7)
    assert all(
        torch.equal(one, other) for one, other in zip(told.parameters(), small().parameters(), strict=True)
    )


@pytest.mark.parametrize(("axis", "expected"), [(0, (0.9, 0.8)), (1, (0.9, 0.7)), (2, (0.8, 0.7))])
def test_rows_and_columns_are_those_of_the_slices(tmp_path, monkeypatch, axis, expected):
    found = []

    def seen(weights, factor, spacings):
        found.append((spacings["row_spacing"], spacings["column_spacing"]))
        return named(small(factor=factor, **spacings))

    monkeypatch.setattr("ThickToThinSRLib.methods.saint.network_for", seen)
    path = saved(tmp_path / "saint.safetensors", small())
    volume = Volume(np.zeros((16, 17, 18), np.int16), (0.7, 0.8, 0.9))
    enhance_volume(volume, Settings(checkpoint=path, axis=axis, spacing=0.35, device="cpu"))
    assert found == [expected]


def test_weights_trained_with_one_spacing_are_told_it(tmp_path):
    path = saved(tmp_path / "saint.safetensors", small(row_spacing=0.5), row_spacing=0.5)
    told = network_for(
        Weights.open(path), 4, {"thin_spacing": 1.25, "row_spacing": 0.8, "column_spacing": 0.7}
    )
    assert (told.row_spacing, told.column_spacing) == (0.5, 0.7)
