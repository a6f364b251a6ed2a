"""The expected error: larger where less is known, calibrated on the phantom, written beside the result."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.command_line import expect_refusal, write
from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.trust import uncertainty
from ThickToThinSRLib.trust.uncertainty import expected_error, halved, mean_by_tissue
from training.expected_error import ALIKE, Case, by_tissue, drawn, fit


@pytest.fixture(scope="module")
def thin():
    """Ribs, lung and mediastinum of the phantom."""
    return thorax((1.0, 1.0, 1.0), seed=5, size_mm=(190.0, 130.0), z_range=(-60.0, -20.0), noise=12.0)


def judged(thin, thickness, spacing, method):
    """Expected and true absolute error of the inner slices, and how far these are from thick ones."""
    acquisition = Acquisition(thickness, spacing)
    thick = simulate(thin, acquisition, axis=2)
    found = enhance_volume(thick, Settings(method=method, axis=2))[0].voxels
    expected = expected_error(found, thick.voxels, acquisition, 1.0, method, Monitor())
    inner = slice(5, len(found) - 5)
    true = np.abs(found[inner].astype(float) - thin.voxels[: len(found)][inner])
    places = np.arange(len(found))[inner] / spacing
    return expected[inner].astype(float), true, np.abs(places - np.rint(places))


@pytest.mark.parametrize("method", uncertainty.METHODS)
def test_it_grows_with_the_distance_from_slices_at_edges_and_with_thickness(thin, method):
    expected, _, distance = judged(thin, 5, 5, method)
    at, between = expected[distance == 0].mean(), expected[distance > 0.3].mean()
    assert between > 1.1 * at
    assert judged(thin, 3, 3, method)[0].mean() < 0.9 * expected.mean()
    edges = np.abs(np.diff(thin.voxels.astype(float), axis=0))[4 : 4 + len(expected)] > 150
    assert expected[edges].mean() > 1.6 * expected[~edges].mean()


@pytest.mark.parametrize("method", uncertainty.METHODS)
def test_it_is_the_mean_error_of_voxels_that_look_alike(thin, method):
    """On an anatomy that no fit and no weights have seen; tenths of the voxels by expected error."""
    expected, true, _ = judged(thin, 5, 5, method)
    order = np.argsort(expected, axis=None, kind="stable")
    ratios = [true.ravel()[part].mean() / expected.ravel()[part].mean() for part in np.array_split(order, 10)]
    assert true.mean() / expected.mean() == pytest.approx(1, abs=0.3)
    assert all(0.5 < ratio < 2 for ratio in ratios)
    assert np.corrcoef(expected.ravel(), true.ravel())[0, 1] > 0.4


def test_a_file_beside_the_result_in_the_same_place(thin, tmp_path):
    thick = simulate(thin, Acquisition(5, 5), axis=2)
    thick = replace(thick, origin=(3.0, -7.0, 11.0))
    from ThickToThinSRLib.io.volume_files import write_volume

    write_volume(thick, tmp_path / "thick.nrrd")
    command = ["enhance", tmp_path / "thick.nrrd", tmp_path / "thin.nrrd", "--method", "consistent"]
    command += ["--uncertainty", tmp_path / "error.nrrd", "--progress", "none"]
    assert main([str(part) for part in command]) == 0
    result, error = (sitk.ReadImage(str(tmp_path / name)) for name in ("thin.nrrd", "error.nrrd"))
    for geometry in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(result, geometry)() == getattr(error, geometry)()
    assert sitk.GetArrayFromImage(error).min() >= 0
    report = json.loads((tmp_path / "thin.nrrd.provenance.json").read_text())
    assert report["uncertainty"] == str(tmp_path / "error.nrrd")
    means = report["expected_error_hu"]
    assert means["bone and contrast"] > means["soft tissue"] > 1
    assert "uncertainty" not in report["asked"]


def test_any_axis_and_odd_sizes(thin):
    thick = simulate(thin, Acquisition(5, 5), axis=2)
    thick = replace(thick, voxels=thick.voxels[:, :97, :101])
    straight = enhance_volume(thick, Settings(method="consistent"))[0]
    error = expected_error(straight.voxels, thick.voxels, Acquisition(5, 5), 1.0, "consistent", Monitor())
    assert error.shape == straight.voxels.shape and error.dtype == np.int16
    assert halved(np.arange(15.0).reshape(3, 5)).tolist() == [[3, 5, 6.5], [10.5, 12.5, 14]]
    two = thick.voxels[:2]
    few = expected_error(straight.voxels[:6], two, Acquisition(5, 5), 1.0, "consistent", Monitor())
    assert len(few) == 6 and few.max() > 0


def test_means_by_tissue_leave_out_what_is_not_there():
    error = np.full((2, 4, 4), 7, np.int16)
    hu = np.full((2, 4, 4), 40, np.int16)
    hu[0] = -800
    assert mean_by_tissue(error, hu) == {"lung": 7.0, "soft tissue": 7.0}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--method", "interpolation", "--uncertainty", "e.nrrd"), "has no --uncertainty"),
        (("--method", "consistent", "--uncertainty", "e.png"), "must end in"),
        (("--method", "consistent", "--uncertainty", "thin.nii.gz"), "needs another name than the result"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(options, said, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    thick = write(tmp_path / "thick.nii.gz")
    command = ("enhance", thick, tmp_path / "thin.nii.gz", "--progress", "none", *options)
    assert said in expect_refusal(capfd, tmp_path, *command)


def test_the_option_does_not_make_a_method_a_learned_one():
    assert not METHODS["consistent"].learns
    assert METHODS["universal"].learns


def test_the_fit_finds_the_mean_of_errors_it_is_given():
    """Errors twice the noise, where slices differ, and half the noise where they do not."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 0.3, (2, uncertainty.FEATURES, 40, 40)).astype(np.float32)
    features[:, uncertainty.NOISE] = np.log(10)
    features[:, 0] = np.where(rng.random((2, 40, 40)) < 0.5, 2.0, -1.0)
    mean = np.where(features[:, 0] > 0, 20.0, 5.0)
    error = (mean * rng.exponential(1.0, mean.shape)).astype(np.float32)
    coefficients = fit([Case("scan", (5, 5), "consistent", features, error, error)])
    found = np.stack([uncertainty.predict(part, coefficients) for part in features])
    assert found[mean == 20].mean() == pytest.approx(20, rel=0.2)
    assert found[mean == 5].mean() == pytest.approx(5, rel=0.2)


def test_bone_is_told_by_its_hu_and_by_what_is_near():
    thick = np.full((4, 64, 64), 40, np.int16)
    thick[1:3, 20:24, 20:24] = 900
    features = uncertainty.ErrorFeatures(thick, Acquisition(5, 5), 16, 1.0)
    hu = uncertainty.LEVEL_UNIT * features.at(6, thick[1])[uncertainty.LEVEL :]
    assert hu[0, 10, 10] > 300 and hu[0, 13, 10] == pytest.approx(40)
    assert hu[1, 13, 10] == pytest.approx(900) and hu[1, 14, 10] == pytest.approx(40)
    # Half way between slice 0, which is soft tissue, and slice 1.
    assert features.at(2, thick[0])[uncertainty.LEVEL + 1, 10, 10] == pytest.approx(900 / 500)


@pytest.mark.parametrize("step", [0.6, 0.7, 0.8])
def test_bone_a_slice_away_does_not_count_and_metal_is_bright(step):
    thick = np.full((7, 32, 32), 40, np.float32)
    thick[[2, 4]] = 40_000
    features = uncertainty.ErrorFeatures(thick, Acquisition(5 * step, 5 * step), 31, step)
    for index in (15, 5, 25):  # at thick slices 3, 1 and 5
        hu = uncertainty.LEVEL_UNIT * features.at(index, thick[index // 5])[uncertainty.LEVEL + 1]
        assert hu == pytest.approx(40)
    near = uncertainty.LEVEL_UNIT * features.at(16, thick[3])[uncertainty.LEVEL + 1]
    assert near == pytest.approx(1200)


def test_every_batch_of_the_fit_holds_rare_bone():
    features = np.zeros((uncertainty.FEATURES, 10_000), np.float32)
    features[uncertainty.LEVEL, :20] = 400 / uncertainty.LEVEL_UNIT
    tissues = by_tissue(features)
    assert [len(voxels) for voxels in tissues] == [9_980, 20]
    chosen = drawn(np.random.default_rng(0), 10_000, tissues, 1000)
    assert len(chosen) == 1000
    assert (chosen < 20).mean() == pytest.approx(0.5 * ALIKE, abs=0.02)
