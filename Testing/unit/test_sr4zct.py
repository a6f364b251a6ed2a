"""The method `sr4zct`: geometry, consistency, budgets, and saved weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from Testing.command_line import contents
from Testing.volumes import blocks
from ThickToThinSRLib import interpolation as linear
from ThickToThinSRLib.enhance import enhance_file, enhance_volume
from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.bundled import bundled_for
from ThickToThinSRLib.weights.checkpoint import Weights, save_network

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"channels": 6, "width": 4, "levels": 2}
CARD = {"title": "Test", "version": "1", "licence": "none", "origin": "random numbers"}


def saved(folder, name: str, strength: float, **arguments):
    """A checkpoint with random weights."""
    torch.manual_seed(0)
    network = build(name, **arguments)
    torch.nn.init.normal_(network.head.weight, std=strength)
    path = folder / f"{name}.safetensors"
    save_network(path, network.state_dict(), name, arguments, network.window, CARD)
    return path


@pytest.fixture
def checkpoint(tmp_path):
    return saved(tmp_path, "unet", 0.3, **SMALL)


def scan(shape=(9, 40, 48), spacing=(0.7, 0.7, 5.0)) -> Volume:
    """Blobs over all directions, in whole HU."""
    voxels = np.rint(blocks(shape, 4, 250)).astype(np.int16)
    return Volume(voxels, spacing, (3.0, -2.0, 7.0), np.eye(3), thickness=5.0, slice_axis=2)


def enhanced(volume: Volume, checkpoint=None, **settings):
    settings = {"method": "sr4zct", "minutes": 0.0, "spacing": 1.0, "precision": "float32", **settings}
    if settings.get("epochs") is not None:
        settings["minutes"] = None
    return enhance_volume(volume, Settings(checkpoint=checkpoint, **settings))


def test_the_first_click_needs_no_time_and_no_file():
    thin, report = enhanced(scan((6, 24, 24)))
    assert report["checkpoint"]["path"] == str(bundled_for("unet").path)
    assert "before_db" not in report["adaptation"]
    assert len(thin.voxels) == 26


def test_the_bundled_weights_state_where_they_come_from_and_what_they_are_for():
    card = Weights.open(bundled_for("unet").path).card
    assert card["licence"] and card["data"] and card["recipe"]["command"] and card["limits"]
    assert card["trained"]["thickness"][0] <= 2.5 and card["trained"]["thickness"][1] >= 8.0


def test_a_network_that_corrects_nothing_leaves_the_consistent_interpolation(tmp_path):
    path = saved(tmp_path, "unet", 0.0, **SMALL)
    volume = replace(scan(), voxels=scan().voxels.astype(np.float32))
    thin, _ = enhanced(volume, path, consistency=False)
    expected, _ = enhance_volume(volume, Settings(method="consistent", spacing=1.0))
    np.testing.assert_allclose(thin.voxels, expected.voxels, atol=1e-2)


def test_the_result_agrees_with_the_input_where_the_network_does_not(checkpoint):
    _, free = enhanced(scan(), checkpoint, consistency=False)
    _, bound = enhanced(scan(), checkpoint)
    assert free["consistency_hu"]["mean"] > 2.0
    assert bound["consistency_hu"]["mean"] < 0.3 and bound["consistency_hu"]["worst_slice"] < 0.5


@pytest.mark.parametrize("spacing", [0.8, 1.0, 1.7, 5.0])
@pytest.mark.parametrize("thickness", [5.0, 8.0])
def test_any_spacing_is_kept_exactly(checkpoint, spacing, thickness):
    thin, _ = enhanced(scan(), checkpoint, spacing=spacing, thickness=thickness)
    assert len(thin.voxels) == int(np.floor(8 * 5.0 / spacing + 1e-6)) + 1
    assert thin.spacing == (0.7, 0.7, spacing)
    assert thin.origin == (3.0, -2.0, 7.0) and thin.voxels.dtype == np.int16


def test_the_axis_order_of_the_volume_does_not_matter(checkpoint):
    volume = replace(scan(), spacing=(0.7, 0.8, 5.0))
    turned = replace(
        volume, voxels=np.moveaxis(volume.voxels, 0, 2).copy(), spacing=(5.0, 0.7, 0.8), slice_axis=0
    )
    crossed = replace(
        volume, voxels=np.ascontiguousarray(volume.voxels.swapaxes(1, 2)), spacing=(0.8, 0.7, 5.0)
    )
    thin, _ = enhanced(volume, checkpoint, epochs=1)
    other, _ = enhanced(turned, checkpoint, epochs=1)
    np.testing.assert_array_equal(np.moveaxis(other.voxels, 2, 0), thin.voxels)
    assert other.spacing == (1.0, 0.7, 0.8)
    assert other.origin == volume.origin
    # Rows for columns: what was coronal is sagittal now, the mean of both the same.
    one, _ = enhanced(volume, checkpoint)
    same, _ = enhanced(crossed, checkpoint)
    assert np.abs(same.voxels.swapaxes(1, 2).astype(int) - one.voxels).max() <= 1


def test_both_planes_are_the_mean_of_coronal_and_sagittal(checkpoint):
    volume = replace(scan(), voxels=scan().voxels.astype(np.float32))
    coronal, sagittal, both = (
        enhanced(volume, checkpoint, planes=planes)[0].voxels for planes in ("coronal", "sagittal", "both")
    )
    assert np.abs(coronal - sagittal).max() > 5
    np.testing.assert_allclose((coronal + sagittal) / 2, both, atol=0.02)


def test_slabs_and_tiles_change_nothing(checkpoint, monkeypatch):
    volume = replace(scan((4, 16, 240)), spacing=(0.7, 0.7, 3.0), thickness=3.0)
    whole, _ = enhanced(volume, checkpoint)
    monkeypatch.setattr(linear, "_SLAB_BYTES", 4 * 10 * 240 * 7)
    monkeypatch.setattr("ThickToThinSRLib.inference.runner._CPU_BUDGET", 100 * 100 * 600)
    parts, _ = enhanced(volume, checkpoint)
    assert np.abs(whole.voxels.astype(int) - parts.voxels).max() <= 1


def test_running_out_of_memory_makes_smaller_tiles(checkpoint, monkeypatch):
    volume = replace(scan((4, 8, 256)), spacing=(0.7, 0.7, 3.0), thickness=3.0)
    whole, _ = enhanced(volume, checkpoint)
    forward = torch.nn.Conv2d.forward
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda *given: _no_memory(forward, *given))
    parts, report = enhanced(volume, checkpoint)
    assert any("out of memory" in note for note in report["notes"])
    assert np.abs(whole.voxels.astype(int) - parts.voxels).max() <= 1


def _no_memory(forward, layer, x):
    if x.shape[-1] > 200:
        raise RuntimeError("not enough memory: you tried to allocate 17 bytes")
    return forward(layer, x)


def test_metal_and_padding_stay_as_interpolated(checkpoint):
    volume = scan()
    volume.voxels[:, 8:16, 8:16] = 3071
    volume.voxels[:, 24:32, 24:32] = -2000
    thin, _ = enhanced(volume, checkpoint)
    assert np.all(thin.voxels[:, 8:16, 8:16] == 3071)
    assert np.all(thin.voxels[:, 24:32, 24:32] == -2000)


def test_air_around_the_body_is_left_alone(checkpoint):
    volume = scan((5, 40, 160))
    volume.voxels[:, :, :100] = -1000
    thin, _ = enhanced(volume, checkpoint, planes="coronal")
    assert np.all(thin.voxels[:, :, :60] == -1000)


@pytest.mark.parametrize("network", ["unet", "msd"])
def test_adaptation_by_epochs_is_reproducible(network, tmp_path):
    path = saved(tmp_path, network, 0.3, **{"unet": SMALL, "msd": {"layers": 6}}[network])
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # of no influence
        results.append(enhanced(scan(), path, epochs=2))
    (first, report), (second, _) = results
    np.testing.assert_array_equal(first.voxels, second.voxels)
    assert report["adaptation"]["steps"] >= 2
    unadapted, _ = enhanced(scan(), path)
    assert (first.voxels != unadapted.voxels).any()


@pytest.mark.parametrize("budget", [{"minutes": 1e-6}, {"minutes": 0.02}, {"epochs": 1}])
@pytest.mark.parametrize("shape", [(2, 16, 16), (2, 8, 8), (9, 40, 48)])
def test_every_budget_gives_a_valid_result_of_every_scan(checkpoint, budget, shape):
    thin, report = enhanced(scan(shape), checkpoint, **budget)
    assert len(thin.voxels) == 5 * (shape[0] - 1) + 1
    assert report["adaptation"]["after_db"] >= report["adaptation"]["before_db"]


def test_adapted_weights_give_the_same_result_again(checkpoint, tmp_path):
    adapted = tmp_path / "kept.safetensors"
    thin, _ = enhanced(scan(), checkpoint, epochs=2, save_weights=adapted)
    again, report = enhanced(scan(), adapted, minutes=None)
    np.testing.assert_array_equal(again.voxels, thin.voxels)
    assert "steps" not in report["adaptation"]
    card = Weights.open(adapted).card
    assert card["trained"]["spacing"] == [5.0, 5.0] and card["adapted"]["steps"] >= 2


def test_weights_that_nothing_was_adapted_of_are_not_saved(checkpoint, tmp_path):
    with pytest.raises(UserError, match="no adapted weights to save"):
        enhanced(scan(), checkpoint, save_weights=tmp_path / "kept.safetensors")


def test_a_network_without_weights_wants_a_budget():
    with pytest.raises(UserError, match="msd has no weights: give minutes"):
        enhanced(scan(), network="msd")


@pytest.mark.parametrize("polls", [3, 40])
def test_cancelled_while_it_adapts_or_corrects_it_leaves_nothing(checkpoint, tmp_path, polls):
    write_volume(scan(), tmp_path / "thick.nrrd")
    settings = Settings(
        method="sr4zct", checkpoint=checkpoint, epochs=8, save_weights=tmp_path / "kept.safetensors"
    )
    before, remaining = contents(tmp_path), iter(range(polls))
    with pytest.raises(Cancelled):
        enhance_file(
            tmp_path / "thick.nrrd", tmp_path / "thin.nrrd", settings,
            Monitor(cancelled=lambda: next(remaining, None) is None),
        )  # fmt: skip
    assert contents(tmp_path) == before


def test_progress_counts_every_plane(checkpoint):
    progress: dict[str, list] = {}
    volume = scan()
    enhance_volume(
        volume, Settings(method="sr4zct", checkpoint=checkpoint, minutes=0.0, spacing=1.0),
        Monitor(lambda stage, done, total: progress.setdefault(stage, []).append((done, total))),
    )  # fmt: skip
    assert progress["coronal planes"] == [(done, 40) for done in range(1, 41)]
    assert progress["sagittal planes"] == [(done, 48) for done in range(1, 49)]
