"""Errors, errors by distance, and the report of the command `metrics`."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.evaluation.metrics import distance_groups, format_report, report, slice_errors
from ThickToThinSRLib.evaluation.similarity import official_psnr, ssim
from ThickToThinSRLib.intensity import to_unit
from ThickToThinSRLib.volume import Volume


@pytest.fixture
def reference() -> Volume:
    """21 slices every 1 mm: soft tissue with noise."""
    voxels = np.random.default_rng(0).normal(40, 30, (21, 24, 20)).round().astype(np.int16)
    return Volume(voxels, (0.7, 0.7, 1.0), (-10.0, 5.0, 30.0))


def with_error(volume: Volume, error) -> Volume:
    return replace(volume, voxels=(volume.voxels + np.asarray(error)).astype(volume.voxels.dtype))


def thick_of(volume: Volume) -> Volume:
    """Every fifth slice, each the mean of the five around it where they exist."""
    padded = np.pad(volume.voxels.astype(np.float64), ((2, 2), (0, 0), (0, 0)), mode="edge")
    slices = [padded[5 * i : 5 * i + 5].mean(axis=0) for i in range(5)]
    return replace(volume, voxels=np.array(slices, np.float32), spacing=(0.7, 0.7, 5.0))


def test_errors_are_sums_over_all_slices():
    a = np.zeros((2, 1, 2))
    errors = slice_errors(a, np.array([[[1.0, -3.0]], [[0.0, 4.0]]]))
    assert errors.mae == 2.0
    assert errors.bias == 0.5
    assert errors.psnr(10.0) == pytest.approx(10 * math.log10(100 / 6.5))
    assert errors[np.array([1])].mae == 2.0
    assert errors[np.array([1])].bias == 2.0


def test_errors_count_only_voxels_of_the_mask():
    errors = slice_errors(np.zeros((1, 1, 2)), np.array([[[5.0, 1.0]]]), np.array([[[False, True]]]))
    assert (errors.mae, float(errors.count.sum())) == (1.0, 1.0)


def test_integer_voxels_do_not_overflow():
    low, high = np.full((1, 2, 2), -30000, np.int16), np.full((1, 2, 2), 30000, np.int16)
    assert slice_errors(low, high).mae == 60000


def test_psnr_and_ssim_are_those_of_scikit_image_over_a_data_range(reference):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    a = reference.voxels
    b = with_error(reference, np.random.default_rng(1).normal(0, 20, a.shape)).voxels
    expected = peak_signal_noise_ratio(a, b, data_range=500.0)
    assert slice_errors(a, b).psnr(500.0) == pytest.approx(expected, abs=1e-6)
    planes = [
        structural_similarity(
            x, y, data_range=500.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for x, y in zip(a.astype(float), b.astype(float), strict=True)
    ]
    assert ssim(a, b, 500.0) == pytest.approx(np.mean(planes), abs=1e-9)


def test_the_groups_at_factor_five_are_match_near_and_far():
    groups = distance_groups(11, 1.0, 3, 5.0)
    assert [distance for distance, _ in groups] == [0.0, 1.0, 2.0]
    assert [group.tolist() for _, group in groups] == [[0, 5, 10], [1, 4, 6, 9], [2, 3, 7, 8]]


def test_at_another_factor_every_slice_is_in_the_group_of_its_distance():
    groups = distance_groups(13, 0.8, 3, 5.0)
    assert sorted(np.concatenate([group for _, group in groups]).tolist()) == list(range(13))
    for mean_distance, group in groups:
        distances = [min(abs(0.8 * j - 5.0 * i) for i in range(3)) for j in group]
        assert mean_distance == pytest.approx(np.mean(distances), abs=1e-5)
        assert max(distances) - min(distances) < 0.8 + 1e-9


def test_slices_beyond_the_last_thick_one_are_measured_from_it():
    distance, group = distance_groups(9, 1.0, 2, 5.0)[-1]
    assert (distance, group.tolist()) == (3.0, [8])


def test_the_report_tells_bias_and_error_by_distance(reference):
    distance = np.minimum(np.arange(21) % 5, -np.arange(21) % 5)
    measured = report(reference, with_error(reference, 3 * distance[:, None, None]), thick_of(reference))
    assert [group["distance_mm"] for group in measured["by_distance"]] == [0.0, 1.0, 2.0]
    assert [group["bias_hu"] for group in measured["by_distance"]] == [0.0, 3.0, 6.0]
    assert measured["by_distance"][0]["psnr"] is None
    assert measured["bias_hu"] == pytest.approx(3 * distance.mean())


def test_the_report_tells_how_far_the_estimate_is_from_the_thick_input(reference):
    thick = thick_of(reference)
    same = report(reference, reference, thick)["consistency"]
    assert same["mean"] < 1e-3
    assert same["thickness_mm"] == 5.0
    shifted = report(reference, with_error(reference, 7), thick)["consistency"]
    assert shifted["mean"] == pytest.approx(7.0, abs=1e-3)
    assert shifted["slices"] == 3  # the first and the last reach over the ends


def test_equal_volumes_give_valid_json_and_readable_lines(reference):
    measured = report(reference, reference, official=True)
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
    assert measured["official"] == {"psnr": 40.0, "ssim": pytest.approx(1.0)}
    text = format_report(measured)
    assert "PSNR equal" in text
    assert "lung         none found" in text
    assert "PSNR 40.0000 dB" in text


def test_unit_and_hu_files_give_the_same_numbers(reference):
    estimate = with_error(reference, 5)
    unit = [replace(v, voxels=to_unit(v.voxels.astype(np.float32))) for v in (reference, estimate)]
    in_hu, in_unit, mixed = (
        report(*pair, official=True) for pair in ((reference, estimate), unit, (reference, unit[1]))
    )
    assert in_unit["intensity"] == {"reference": "unit", "estimate": "unit"}
    for other in (in_unit, mixed):
        for name in ("psnr", "mae_hu", "bias_hu", "ssim"):
            assert other[name] == pytest.approx(in_hu[name], abs=1e-3)
        assert other["official"]["psnr"] == pytest.approx(in_hu["official"]["psnr"], abs=1e-3)


def test_official_numbers_are_clipped_to_the_window_on_both_sides(reference):
    padded = reference.voxels.copy()
    padded[:, :5] = -3024
    other = padded.copy()
    other[:, :5] = -1024
    measured = report(replace(reference, voxels=padded), replace(reference, voxels=other), official=True)
    assert measured["official"]["psnr"] == 40.0
    assert measured["mae_hu"] == pytest.approx(2000 * 5 / 24)


def test_slices_are_counted_along_the_axis_of_the_thick_input(reference):
    """A sagittal acquisition: slices along the first index axis."""
    turned = replace(reference, voxels=np.moveaxis(reference.voxels, 0, 2), spacing=(1.0, 0.7, 0.7))
    thick = thick_of(reference)
    thick = replace(thick, voxels=np.moveaxis(thick.voxels, 0, 2), spacing=(5.0, 0.7, 0.7))
    error = np.zeros(21)
    error[5] = 8
    measured = report(turned, with_error(turned, error), thick)
    assert measured["slices"] == 21
    assert measured["by_distance"][0]["bias_hu"] == pytest.approx(8 / 5)
    assert measured["by_distance"][1]["mae_hu"] == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"spacing": (0.7, 0.7, 1.25)}, r"spacing: \(0.7, 0.7, 1\) against \(0.7, 0.7, 1.25\) mm"),
        ({"origin": (-10.0, 5.0, 30.5)}, r"origin: \(-10, 5, 30\) against \(-10, 5, 30.5\) mm"),
        ({"direction": np.diag([-1.0, 1.0, 1.0])}, "direction"),
        ({"voxels": np.zeros((20, 24, 20))}, r"size: \(20, 24, 21\) against \(20, 24, 20\) voxels"),
    ],
)
def test_another_grid_is_refused_with_the_numbers(reference, change, told):
    with pytest.raises(UserError, match=told):
        report(reference, replace(reference, **change))


def test_a_thick_volume_of_another_place_is_refused(reference):
    with pytest.raises(UserError, match="not the estimate's input: origin"):
        report(reference, reference, replace(thick_of(reference), origin=(-10.0, 5.0, 33.0)))


def test_rounding_of_the_header_is_no_other_grid(reference):
    report(reference, replace(reference, spacing=(0.70004, 0.7, 1.0)))


def test_too_few_or_too_small_slices_are_refused(reference):
    with pytest.raises(UserError, match="of 10 slices none remains"):
        official_psnr(np.zeros((10, 4, 4)), np.zeros((10, 4, 4)))
    small = replace(reference, voxels=reference.voxels[:, :8])
    with pytest.raises(UserError, match="at least 11 x 11 pixels, not 8 x 20"):
        report(small, small)
