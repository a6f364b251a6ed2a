"""Enhancement in memory and from file to file: geometry, types, choices, warnings, provenance."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.shared_data import shared
from ThickToThinSRLib.enhance import enhance_file, enhance_volume
from ThickToThinSRLib.errors import AlreadyThin, Cancelled, UserError
from ThickToThinSRLib.inference import memory
from ThickToThinSRLib.intensity import to_unit
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.methods.choices import choose_method, choose_spacing
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import NETWORKS, build
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.checkpoint import save_network

CARD = {"title": "untrained", "version": "0", "licence": "Apache-2.0", "origin": "a test"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small TVSRN with random weights, whose effect on the result is large."""
    import torch

    torch.manual_seed(0)
    small = {"channels": 2, "heads": 2, "encoder_blocks": 1, "decoder_blocks": 2, "in_plane_groups": 1}
    network = build("tvsrn", **small)
    path = tmp_path_factory.mktemp("weights") / "tvsrn.safetensors"
    card = {**CARD, "trained": {"spacing": [5.0, 5.0], "thickness": [5.0, 5.0]}}
    save_network(path, network.state_dict(), "tvsrn", small, network.window, card)
    return path


def chest(slices=6, dtype=np.int16, spacing=(0.7, 0.7, 5.0), side=24):
    """Smooth anatomy-like HU between air and bone."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(-300, 400, (slices, 4, 4))
    voxels = np.kron(coarse, np.ones((1, side // 4, side // 4))).clip(-1024, 1500)
    return Volume(voxels.astype(dtype), spacing, (-100.0, 50.0, 20.0))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("method", ["interpolation", "consistent", "network"])
def test_the_result_has_the_inputs_type_place_and_the_asked_spacing(method, dtype, checkpoint):
    thick = chest(dtype=dtype)
    settings = Settings(method=method) if method != "network" else Settings(checkpoint=checkpoint)
    thin, report = enhance_volume(thick, settings)
    assert thin.voxels.dtype == dtype
    assert thin.voxels.shape == (26, 24, 24)
    assert thin.spacing == (0.7, 0.7, 1.0)
    assert thin.origin == thick.origin
    assert np.array_equal(thin.direction, thick.direction)
    assert report["target_spacing_mm"] == 1.0


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_along_another_axis_give_the_same_result_there(axis, checkpoint):
    thick = chest()
    spacing = [0.7, 0.7, 0.7]
    spacing[axis] = 5.0
    turned = Volume(np.moveaxis(thick.voxels, 0, 2 - axis), tuple(spacing))
    for settings in (Settings(), Settings(checkpoint=checkpoint)):
        expected, _ = enhance_volume(thick, settings)
        thin, report = enhance_volume(turned, settings)
        assert report["through_plane_axis"] == axis
        assert np.array_equal(thin.slices_first(axis), expected.voxels)


@pytest.mark.parametrize("slices", [2, 3])
def test_a_network_enhances_volumes_of_very_few_slices(slices, checkpoint):
    thin, _ = enhance_volume(chest(slices), Settings(checkpoint=checkpoint))
    assert len(thin.voxels) == 5 * (slices - 1) + 1


def test_one_slice_is_refused():
    with pytest.raises(UserError, match=r"has one slice along k, .* two are the least"):
        enhance_volume(chest(1), Settings())


def test_a_networks_result_agrees_with_its_input_unless_told_otherwise(checkpoint):
    thick = chest(9)
    _, on = enhance_volume(thick, Settings(checkpoint=checkpoint))
    _, off = enhance_volume(thick, Settings(checkpoint=checkpoint, consistency=False))
    assert on["consistency_hu"]["mean"] < 0.2, "rounding to whole HU remains"
    assert off["consistency_hu"]["mean"] > 100, "the weights are random"


@pytest.mark.parametrize("consistency", [True, False])
def test_metal_and_padding_outside_the_networks_window_stand_as_interpolated(checkpoint, consistency):
    thick = chest(9, np.float32, side=48)
    thick.voxels[:, :8, :8] = -3024.0
    thick.voxels[3:7, 20:28, 20:28] = 5000.0
    settings = Settings(checkpoint=checkpoint, consistency=consistency)
    thin, _ = enhance_volume(thick, settings)
    interpolated, _ = enhance_volume(thick, Settings(method="interpolation"))
    assert np.abs(thin.voxels - interpolated.voxels)[:, :8, :8].max() < 0.5
    assert np.abs(thin.voxels - interpolated.voxels)[15:31, 20:28, 20:28].max() < 0.5
    assert np.abs(thin.voxels - interpolated.voxels)[:, 10:18, 10:18].mean() > 20, (
        "elsewhere the network speaks"
    )


def test_another_target_spacing_than_the_networks_own_is_reached_from_it(checkpoint):
    thick = chest(9, np.float32)
    own, _ = enhance_volume(thick, Settings(checkpoint=checkpoint, consistency=False))
    other, _ = enhance_volume(thick, Settings(checkpoint=checkpoint, consistency=False, spacing=2.0))
    assert other.spacing[2] == 2.0
    assert np.allclose(other.voxels, own.voxels[::2], atol=0.5)
    thick_8 = Volume(thick.voxels, (0.7, 0.7, 8.0))
    native, report = enhance_volume(thick_8, Settings(checkpoint=checkpoint))
    assert native.spacing[2] == 1.6
    assert report["warnings"] == [
        "the weights were trained for a slice spacing of 5 mm, not 8 mm",
        "the weights were trained for a slice thickness of 5 mm, not 8 mm",
    ]


def test_unit_scale_data_are_recognised_and_come_back_on_their_scale(checkpoint):
    thick = chest(6, np.float32)
    unit = Volume(to_unit(thick.voxels), thick.spacing, thick.origin)
    for settings in (Settings(), Settings(checkpoint=checkpoint)):
        in_hu, _ = enhance_volume(thick, settings)
        in_unit, report = enhance_volume(unit, settings)
        assert report["intensity"] == "unit"
        assert in_unit.voxels.dtype == np.float32
        assert np.abs(in_unit.voxels - to_unit(in_hu.voxels)).max() < 1e-5


def test_a_checkpoint_alone_implies_its_method_and_a_mismatch_is_an_error(checkpoint):
    assert choose_method(None, checkpoint)[0] == "tvsrn"
    name, weights = choose_method(None, None)
    assert (name, weights.network) == ("universal", "universal"), "the bundled weights are the default"
    assert choose_method("consistent", None) == ("consistent", None)
    for method in ("cthnet", "interpolation"):
        with pytest.raises(UserError, match="holds weights of tvsrn, not of"):
            choose_method(method, checkpoint)
    with pytest.raises(UserError, match="is not one of"):
        choose_method("magic", None)


def test_a_method_whose_weights_are_missing_says_how_to_get_them(no_bundled_weights):
    for method in ("universal", "cthnet"):
        with pytest.raises(UserError, match="needs weights"):
            choose_method(method, None)
    assert choose_method("consistent", None) == ("consistent", None)


def test_every_network_of_the_registry_is_a_method():
    pretrained = {method.network for method in METHODS.values()} - {None}
    untrained = set().union(*(method.untrained for method in METHODS.values()))
    assert pretrained | untrained == set(NETWORKS)


def test_the_target_spacing_comes_from_spacing_factor_network_or_one_millimetre():
    assert choose_spacing(Settings(), 5.0, None) == 1.0
    assert choose_spacing(Settings(), 8.0, 5) == 1.6
    assert choose_spacing(Settings(spacing=2.0), 8.0, 5) == 2.0
    assert choose_spacing(Settings(factor=4), 5.0, None) == 1.25
    for settings in (Settings(factor=0.5), Settings(factor=float("nan"))):
        with pytest.raises(UserError):
            choose_spacing(settings, 5.0, None)
    with pytest.raises(UserError, match="already"):
        choose_spacing(Settings(), 0.8, None)


@pytest.mark.parametrize("choice", [{"spacing": 5.0}, {"factor": 1.0}])
@pytest.mark.parametrize("thickness", [5.0, 7.0])
def test_the_inputs_own_spacing_is_allowed_if_asked_for_and_a_coarser_one_is_not(choice, thickness):
    thick = chest(dtype=np.float32)
    settings = Settings(method="consistent", thickness=thickness, **choice)
    thin, _ = enhance_volume(thick, settings)
    assert thin.spacing == thick.spacing and thin.voxels.shape == thick.voxels.shape
    if thickness == 5.0:
        with pytest.raises(AlreadyThin, match="already has slices every 5 mm"):
            enhance_volume(thick, settings, refuse_thin=True)
    else:  # overlapping slices become thinner at the same spacing
        thin, _ = enhance_volume(thick, settings, refuse_thin=True)
        assert np.abs(thin.voxels - thick.voxels).mean() > 10
    with pytest.raises(AlreadyThin, match="coarser"):
        enhance_volume(thick, Settings(method="consistent", spacing=5.1, thickness=thickness))


def test_thickness_comes_from_the_option_the_source_or_the_spacing():
    thick = chest()
    with_thickness = Volume(thick.voxels, thick.spacing, slice_axis=2, thickness=6.5)
    cases = (
        (with_thickness, Settings(thickness=7), 7.0, "option"),
        (with_thickness, Settings(), 6.5, "DICOM"),
        (thick, Settings(), 5.0, "assumed equal to the spacing"),
    )
    for volume, settings, thickness, origin in cases:
        _, report = enhance_volume(volume, settings)
        assert (report["thickness_mm"], report["thickness_from"]) == (thickness, origin)


def test_what_does_not_look_like_ct_is_warned_of():
    positive = Volume(np.abs(chest().voxels), (0.7, 0.7, 5.0))
    _, report = enhance_volume(positive, Settings())
    assert "does not look like CT" in report["warnings"][0]
    magnetic = Volume(chest().voxels, (0.7, 0.7, 5.0), source={"modality": "MR"})
    _, report = enhance_volume(magnetic, Settings())
    assert "modality is MR" in report["warnings"][0]


def test_a_result_that_cannot_fit_into_memory_is_refused_before_the_work(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    with pytest.raises(UserError, match="choose a larger spacing"):
        enhance_volume(chest(), Settings())


def test_provenance_tells_how_the_result_was_made(tmp_path, checkpoint):
    write_volume(chest(), tmp_path / "thick.nrrd")
    enhance_file(tmp_path / "thick.nrrd", tmp_path / "thin.nii.gz", Settings(checkpoint=checkpoint))
    provenance = json.loads((tmp_path / "thin.nii.gz.provenance.json").read_text())
    assert provenance["method"] == "tvsrn"
    assert len(provenance["checkpoint"]["sha256"]) == 64
    assert provenance["checkpoint"]["title"] == "untrained"
    assert provenance["spacing_mm"] == provenance["thickness_mm"] == 5.0
    assert provenance["consistency_hu"]["slices"] == 4
    assert (provenance["device"], provenance["precision"], provenance["made_consistent"]) == (
        "cpu",
        "float32",
        True,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "thick.nrrd",
        "thin.nii.gz",
        "thin.nii.gz.provenance.json",
    ]


def test_cancelled_work_leaves_nothing_behind(tmp_path, checkpoint):
    write_volume(chest(), tmp_path / "thick.nrrd")
    for settings in (Settings(), Settings(method="interpolation"), Settings(checkpoint=checkpoint)):
        with pytest.raises(Cancelled):
            enhance_file(
                tmp_path / "thick.nrrd", tmp_path / "thin.nrrd", settings, Monitor(cancelled=lambda: True)
            )
    assert [path.name for path in tmp_path.iterdir()] == ["thick.nrrd"]


def test_a_real_five_millimetre_chest_becomes_a_one_millimetre_one():
    thick = read_volume(shared("data/chest_lungdx0001_5mm_sharp.nii.gz"))
    part = Volume(thick.voxels[:, 200:300, 100:260], thick.spacing, thick.origin, thick.direction)
    thin, report = enhance_volume(part, Settings())
    assert thin.voxels.shape == (316, 100, 160)
    assert thin.voxels.dtype == np.int16
    assert report["consistency_hu"]["mean"] < 0.3
    _, measured = enhance_volume(part, Settings(method="interpolation"))
    assert measured["consistency_hu"]["mean"] > 5
    assert np.abs(thin.voxels[::5].mean() - thick.voxels[:, 200:300, 100:260].mean()) < 2
