"""Consistent interpolation and projection: agreement with the input, sharpness, no ringing, no steps."""

from __future__ import annotations

import numpy as np
import pytest

from ThickToThinSRLib.acquisition import Acquisition, sampling_matrix
from ThickToThinSRLib.consistency import ConsistencyProjection, ConsistentInterpolation, measure
from ThickToThinSRLib.interpolation import interpolation_matrix
from ThickToThinSRLib.volume import slice_count

PROTOCOLS = [(5.0, 5.0), (6.25, 2.5), (5.0, 2.5), (3.0, 2.0), (2.0, 5.0)]


def smooth_columns(thin_slices, columns=40, seed=0):
    """Columns that look like anatomy through-plane: edges of all heights, blurred by a millimetre."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 150, (thin_slices + 20, columns)) * (rng.random((thin_slices + 20, columns)) < 0.08)
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / 1.2) ** 2)
    smoothed = [np.convolve(np.cumsum(column), kernel / kernel.sum(), "same") for column in steps.T]
    return np.stack(smoothed, 1)[10:-10].astype(np.float32)


def acquired(thickness, spacing, thin_slices=121, target=1.0, profile="box", seed=0):
    truth = smooth_columns(thin_slices, seed=seed)
    count = slice_count(thin_slices, target, spacing)
    weights = sampling_matrix(Acquisition(thickness, spacing, profile), count, thin_slices, target)
    return truth, (weights @ truth).astype(np.float32)


def rms(error):
    return float(np.sqrt(np.mean(error[8:-8] ** 2)))


@pytest.mark.parametrize(("thickness", "spacing"), PROTOCOLS)
def test_the_projection_makes_the_inconsistency_of_any_result_vanish(thickness, spacing):
    truth, thick = acquired(thickness, spacing)
    acquisition = Acquisition(thickness, spacing)
    start = truth + 50 + np.random.default_rng(1).normal(0, 30, truth.shape).astype(np.float32)
    projected = ConsistencyProjection(acquisition, len(thick), len(truth), 1.0)(start, thick)
    measured = measure(projected[:, None], thick[:, None], acquisition, 1.0)
    assert measured.worst_slice < 0.02
    assert measured.percentile_99_9 < 0.1


@pytest.mark.parametrize(("thickness", "spacing"), PROTOCOLS)
def test_the_projection_corrects_a_constant_shift_without_steps(thickness, spacing):
    truth, thick = acquired(thickness, spacing)
    project = ConsistencyProjection(Acquisition(thickness, spacing), len(thick), len(truth), 1.0)
    correction = project(truth + 40, thick) - (truth + 40)
    inner = correction[12:-12]
    assert np.allclose(inner, -40, atol=2)
    assert np.abs(np.diff(correction, axis=0)).max() < 10, "fades beyond the last slices, without a step"


@pytest.mark.parametrize(("thickness", "spacing"), PROTOCOLS)
def test_consistent_interpolation_agrees_with_its_input(thickness, spacing):
    truth, thick = acquired(thickness, spacing)
    acquisition = Acquisition(thickness, spacing)
    result = ConsistentInterpolation(acquisition, len(thick), len(truth), 1.0)(thick)
    assert result.shape == truth.shape
    assert measure(result[:, None], thick[:, None], acquisition, 1.0).mean < 1.0


@pytest.mark.parametrize("profile", ["box", "trapezoid", "gaussian"])
@pytest.mark.parametrize(
    ("thickness", "spacing", "gain"), [(5.0, 5.0, 1.02), (6.25, 2.5, 1.3), (5.0, 2.5, 1.2)]
)
def test_consistent_interpolation_beats_cubic_whatever_the_true_profile(thickness, spacing, gain, profile):
    truth, thick = acquired(thickness, spacing, profile=profile)
    result = ConsistentInterpolation(Acquisition(thickness, spacing), len(thick), len(truth), 1.0)(thick)
    cubic = interpolation_matrix(len(thick), spacing, len(truth), 1.0) @ thick
    assert rms(cubic - truth) > gain * rms(result - truth)


@pytest.mark.parametrize("edge", [60, 61, 62, 63, 64])
def test_without_overlap_a_step_does_not_ring(edge):
    truth = np.repeat([-850.0, 300.0], [edge, 121 - edge]).astype(np.float32)[:, None]
    thick = (sampling_matrix(Acquisition(5.0, 5.0), 25, 121, 1.0) @ truth).astype(np.float32)
    result = ConsistentInterpolation(Acquisition(5, 5), 25, 121, 1.0)(thick)
    assert np.abs(result[20:52] + 850).max() < 12, "two slices from the edge nothing is left of it"
    assert (-850 - result[:edge]).max() < 90, "cubic interpolation undershoots by up to 124 HU"


def test_independent_noise_of_the_input_is_not_blown_up():
    noise = np.random.default_rng(0).normal(0, 10, (49, 400)).astype(np.float32)
    for thickness, spacing, amplification in ((5.0, 5.0, 1.3), (3.0, 2.0, 1.8), (5.0, 2.5, 3.0)):
        count = slice_count(49, spacing, 1.0)
        result = ConsistentInterpolation(Acquisition(thickness, spacing), 49, count, 1.0)(noise)
        assert result.std() < amplification * 10


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_volumes_of_very_few_slices_are_interpolated_too(slices):
    thick = np.arange(slices, dtype=np.float32)[:, None] * 100 + 7
    count = slice_count(slices, 5.0, 1.0)
    result = ConsistentInterpolation(Acquisition(5, 5), slices, count, 1.0)(thick)
    assert result.shape == (count, 1)
    assert np.all(np.isfinite(result))
    assert abs(result.mean() - thick.mean()) < 20
    projected = ConsistencyProjection(Acquisition(5, 5), slices, count, 1.0)(result, thick)
    assert np.allclose(projected[count // 2], result[count // 2], atol=1.0)


def test_measure_reports_mean_tail_and_worst_slice_of_known_errors():
    thick = np.zeros((5, 10, 100), np.float32)
    thin = np.zeros((21, 10, 100), np.float32)
    thin[8:13, 0, 0] = 500.0  # the whole profile of slice 2, one voxel in a thousand
    thin[13:18] = 2.0  # slice 3
    measured = measure(thin, thick, Acquisition(5, 5), 1.0)
    assert measured.slices == 3, "the end slices reach beyond the volume"
    assert np.isclose(measured.worst_slice, 2.0, atol=1e-3)
    assert np.isclose(measured.mean, (0.5 + 2.0) / 3, atol=1e-3)
    assert 1.99 <= measured.percentile_99_9 <= 2.02


def test_measure_has_nothing_to_say_where_no_profile_lies_inside():
    assert measure(np.zeros((6, 2, 2)), np.zeros((2, 2, 2)), Acquisition(5, 5), 1.0) is None


def test_interpolation_is_the_cubic_b_spline_of_other_libraries():
    import SimpleITK as sitk

    thick = np.random.default_rng(0).normal(0, 300, (30, 6, 6))
    image = sitk.GetImageFromArray(thick)
    image.SetSpacing((1, 1, 5.0))
    reference = sitk.Image(6, 6, 146, sitk.sitkFloat64)
    resampled = sitk.GetArrayFromImage(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkBSpline))
    ours = np.einsum("nm,mij->nij", interpolation_matrix(30, 5.0, 146, 1.0), thick)
    assert np.abs(ours - resampled)[40:-40].max() < 0.5, "the ends differ: ITK mirrors the slices there"
    assert np.allclose(ours[::5], thick, atol=1e-6), "passes through the input"


@pytest.mark.parametrize("thickness", [2.0, 5.0])
def test_a_patient_upside_down_gives_the_interpolation_upside_down(thickness):
    thick = np.random.default_rng(0).normal(0, 100, (9, 50)).astype(np.float32)
    solve = ConsistentInterpolation(Acquisition(thickness, 5.0), 9, 41, 1.0)
    np.testing.assert_allclose(solve(thick[::-1]), solve(thick)[::-1], atol=0.01)
