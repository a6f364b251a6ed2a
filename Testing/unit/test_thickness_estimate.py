"""The slice thickness estimated from the scan: right within what it says on scans of known thickness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from Testing.command_line import expect_refusal, run, write
from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.inspection.thickness_estimate import _ANISOTROPY, estimate_thickness
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume


@pytest.fixture(scope="module")
def isotropic():
    """Structure of all sizes, alike in every direction: 0.8 mm voxels."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(150, 128, 128)).astype(np.float32)
    voxels = sum(gaussian_filter(noise, size) * size**1.5 for size in (0.7, 1.5, 3.0, 6.0))
    return Volume(voxels * (200 / voxels.std()) - 300, (0.8, 0.8, 0.8), slice_axis=2)


@pytest.mark.parametrize(
    ("thickness", "spacing"), [(5, 5), (5, 2.5), (3, 3), (3, 2), (6.4, 3.2), (3, 5), (8, 4)]
)
def test_a_known_thickness_is_found_within_the_uncertainty(isotropic, thickness, spacing):
    thick = simulate(isotropic, Acquisition(thickness, spacing), axis=2)
    estimate = estimate_thickness(thick, 2)
    # Anatomy is not alike in all directions, which the estimate allows for; this volume is.
    assert estimate.thickness * _ANISOTROPY == pytest.approx(thickness, rel=0.2)
    assert 0.1 < estimate.uncertainty / estimate.thickness < 0.5


def test_slices_along_another_axis_are_estimated_alike(isotropic):
    thick = simulate(isotropic, Acquisition(5, 2.5), axis=2)
    turned = replace(thick, voxels=np.moveaxis(thick.voxels, 0, 2), spacing=(2.5, 0.8, 0.8))
    expected, estimate = estimate_thickness(thick, 2), estimate_thickness(turned, 0)
    assert estimate.thickness == pytest.approx(expected.thickness, rel=0.02)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("shape", [(20, 64, 14), (20, 14, 64), (20, 8, 8)])
def test_scans_of_few_pixels_tell_nothing(shape):
    random = np.random.default_rng(0).normal(0, 300, shape)
    assert estimate_thickness(Volume(random, (5.0, 5.0, 0.5)), 2) is None


@pytest.mark.parametrize("shape", [(7, 64, 64), (20, 20, 64), (20, 64, 64)])
def test_too_small_or_empty_scans_tell_nothing(shape):
    assert estimate_thickness(Volume(np.full(shape, -1024, np.int16), (0.7, 0.7, 5.0)), 2) is None


def test_it_is_offered_where_the_thickness_is_assumed_and_used_where_asked(isotropic):
    thick = replace(simulate(isotropic, Acquisition(5, 2.5), axis=2), thickness=None)
    lines = []
    _, report = enhance_volume(thick, Settings(method="interpolation"), Monitor(say=lines.append))
    assert report["thickness_mm"] == 2.5
    assert any("estimated from the scan, the slice thickness is" in line for line in lines)
    with_thickness = replace(thick, thickness=5.0)
    assert enhance_volume(with_thickness, Settings(method="interpolation"))[1]["notes"] == []
    _, report = enhance_volume(with_thickness, Settings(method="interpolation", thickness="estimate"))
    assert report["thickness_mm"] == round(estimate_thickness(thick, 2).thickness, 1)
    assert report["thickness_from"].startswith("estimated, ")


def test_the_command_line_takes_estimate_and_refuses_where_nothing_can_be_told(tmp_path, capfd):
    thick = write(tmp_path / "thick.nii.gz")
    arguments = ("enhance", thick, tmp_path / "thin.nii.gz", "--progress", "none", "--thickness")
    assert "give --thickness in mm" in expect_refusal(capfd, tmp_path, *arguments, "estimate")
    assert "neither a number of mm nor `estimate`" in expect_refusal(capfd, tmp_path, *arguments, "thick")
    assert run(*arguments, "5").returncode == 0
