"""The sampling matrix: weights, normalisation, own thickness of thin slices; simulation."""

from __future__ import annotations

import numpy as np
import pytest

from ThickToThinSRLib.acquisition import LARGEST_ROUNDING, Acquisition, sampling_matrix, simulate
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.volume import Volume


def width_at_half_maximum(weights, step):
    above = weights >= weights.max() / 2
    return above.sum() * step


def test_contiguous_thick_slices_are_means_of_the_thin_ones_around_their_centres():
    weights = sampling_matrix(Acquisition(5.0, 5.0), 3, 11, 1.0)
    expected = np.zeros(11)
    expected[3:8] = 0.2
    assert np.allclose(weights[1], expected)
    assert np.allclose(weights[0], [1 / 3] * 3 + [0] * 8), "renormalised where the profile leaves the volume"


def test_a_profile_that_ends_within_a_thin_slice_takes_its_share_of_it():
    weights = sampling_matrix(Acquisition(4.0, 4.0), 3, 9, 1.0)
    assert np.allclose(weights[1], [0, 0, 0.125, 0.25, 0.25, 0.25, 0.125, 0, 0])


@pytest.mark.parametrize("profile", ["box", "gaussian", "trapezoid"])
@pytest.mark.parametrize(("thickness", "spacing"), [(5, 5), (6.25, 2.5), (2, 5), (3.7, 2.2)])
def test_rows_sum_to_one_and_have_the_asked_width(profile, thickness, spacing):
    step = 0.02
    count = round(10 * spacing / step) + 1
    weights = sampling_matrix(Acquisition(thickness, spacing, profile), 11, count, step)
    assert np.allclose(weights.sum(axis=1), 1)
    assert abs(width_at_half_maximum(weights[5], step) - thickness) < 3 * step
    centre = weights[5] @ (np.arange(count) * step)
    assert abs(centre - 5 * spacing) < 1e-6


def test_the_three_profiles_have_the_variance_that_theory_gives_them():
    step, thickness = 0.01, 4.0
    place = (np.arange(4001) - 2000) * step
    variances = {"box": thickness**2 / 12, "trapezoid": (thickness**2 + (thickness / 2) ** 2) / 12}
    for profile, variance in variances.items():
        row = sampling_matrix(Acquisition(thickness, 20.0, profile), 3, 4001, step)[1]
        assert np.isclose(row @ place**2, variance, rtol=1e-3)


@pytest.mark.parametrize("rounding", [0.05, 0.15, 0.25, 0.35, LARGEST_ROUNDING])
def test_a_box_that_is_rounded_off_keeps_its_width_and_lies_between_box_and_gaussian(rounding):
    step, thickness = 0.01, 4.0
    place = (np.arange(4001) - 2000) * step
    row = sampling_matrix(Acquisition(thickness, 20.0, rounding=rounding), 3, 4001, step)[1]
    assert row.sum() == pytest.approx(1)
    assert abs(width_at_half_maximum(row, step) - thickness) < 3 * step
    ends = {
        profile: sampling_matrix(Acquisition(thickness, 20.0, profile), 3, 4001, step)[1] @ place**2
        for profile in ("box", "gaussian")
    }
    assert ends["box"] < row @ place**2 <= ends["gaussian"] * (1 + 1e-3)
    outside = np.abs(place) > Acquisition(thickness, 20.0, rounding=rounding).half_support * thickness + step
    assert row[outside].max() < 1e-12


def test_the_most_rounding_makes_a_gaussian():
    matrices = [
        sampling_matrix(acquisition, 3, 41, 0.5)
        for acquisition in (Acquisition(4, 10, "gaussian"), Acquisition(4, 10, rounding=LARGEST_ROUNDING))
    ]
    assert np.allclose(*matrices, atol=1e-3)


def test_thin_slices_of_their_own_thickness_give_thick_ones_of_the_asked_variance():
    # 2 mm slices every 1 mm, themselves boxes, averaged to 5 mm: variances of the profiles must add up.
    row = sampling_matrix(Acquisition(5.0, 10.0), 3, 21, 1.0, thin_thickness=2.0)[1]
    place = np.arange(21) - 10.0
    wanted = 5.0**2 / 12 - 2.0**2 / 12
    ignoring = sampling_matrix(Acquisition(5.0, 10.0), 3, 21, 1.0)[1] @ place**2
    assert abs(row @ place**2 - wanted) < 0.07 * wanted, "but for the steps of the grid"
    assert abs(ignoring - wanted) > 0.14 * wanted
    contiguous = sampling_matrix(Acquisition(5.0, 10.0), 3, 21, 1.0, thin_thickness=1.0)
    assert np.array_equal(contiguous, sampling_matrix(Acquisition(5.0, 10.0), 3, 21, 1.0))


def test_slices_thinner_than_the_thin_ones_are_refused():
    with pytest.raises(UserError, match="cannot be made"):
        sampling_matrix(Acquisition(1.5, 5.0), 3, 11, 1.0, thin_thickness=2.0)


@pytest.mark.parametrize(
    ("thickness", "spacing", "profile"),
    [(0, 5, "box"), (5, -1, "box"), (float("nan"), 5, "box"), (5, 5, "sinc")],
)
def test_impossible_acquisitions_are_refused(thickness, spacing, profile):
    with pytest.raises(UserError):
        Acquisition(thickness, spacing, profile)


def test_overlap_follows_from_thickness_and_spacing():
    assert Acquisition(5, 2.5).overlap == 2.5
    assert Acquisition(3, 5).overlap == -2


def test_inside_leaves_out_slices_whose_profile_reaches_beyond_the_ends():
    assert Acquisition(5, 5).inside(5, 21, 1.0).tolist() == [False, True, True, True, False]
    assert Acquisition(1, 5).inside(3, 11, 1.0).tolist() == [True, True, True]


def test_simulation_averages_along_the_through_plane_axis_wherever_that_lies():
    rng = np.random.default_rng(0)
    slices = rng.integers(-1000, 1000, (21, 4, 6)).astype(np.int16)
    expected = np.rint(slices[3:8].astype(float).mean(axis=0))
    for axis in range(3):
        spacing = [0.5, 0.5, 0.5]
        spacing[axis] = 1.0
        thin = Volume(np.moveaxis(slices, 0, 2 - axis), tuple(spacing), (1.0, 2.0, 3.0))
        thick = simulate(thin, Acquisition(5.0, 5.0))
        assert thick.slices_first(axis).shape == (5, 4, 6)
        assert np.array_equal(thick.slices_first(axis)[1], expected)
        assert thick.spacing[axis] == 5.0
        assert thick.origin == thin.origin
        assert thick.thickness == 5.0
        assert thick.voxels.dtype == np.int16


def test_simulation_refuses_slices_denser_than_the_thin_ones():
    with pytest.raises(UserError, match="larger spacing"):
        simulate(Volume(np.zeros((9, 4, 4)), (0.5, 0.5, 2.0)), Acquisition(5.0, 1.0))
