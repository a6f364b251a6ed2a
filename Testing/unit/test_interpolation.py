"""Cubic interpolation along the slices: linear fields exactly, up to the first and the last slice."""

from __future__ import annotations

import numpy as np
import pytest

from ThickToThinSRLib.interpolation import interpolation_matrix
from ThickToThinSRLib.volume import slice_count

GRIDS = [
    (slices, spacing, target)
    for slices in (1, 2, 3, 4, 5, 12, 61)
    for spacing, target in ((5.0, 1.0), (2.5, 0.8), (3.0, 2.0), (1.25, 1.25), (7.5, 0.7))
]


def matrix_for(slices, spacing, target):
    return interpolation_matrix(slices, spacing, slice_count(slices, spacing, target), target)


@pytest.mark.parametrize(("slices", "spacing", "target"), GRIDS)
def test_a_linear_field_is_reproduced_up_to_both_ends(slices, spacing, target):
    matrix = matrix_for(slices, spacing, target)
    assert matrix.shape == (slice_count(slices, spacing, target), slices)
    for hu_per_mm in (-6.0, 0.5, 40.0):
        thick = -800.0 + hu_per_mm * spacing * np.arange(slices)
        thin = -800.0 + hu_per_mm * target * np.arange(len(matrix))
        np.testing.assert_allclose(matrix @ thick, thin, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("slices", "spacing", "target"), GRIDS)
def test_rows_sum_to_one(slices, spacing, target):
    np.testing.assert_allclose(matrix_for(slices, spacing, target).sum(axis=1), 1.0, rtol=0, atol=1e-13)


@pytest.mark.parametrize("slices", [1, 2, 3, 7, 20])
def test_a_volume_upside_down_gives_the_interpolation_upside_down(slices):
    matrix = matrix_for(slices, 5.0, 1.0)
    np.testing.assert_allclose(matrix[::-1, ::-1], matrix, rtol=0, atol=1e-13)


def test_the_spline_passes_through_the_thick_slices():
    np.testing.assert_allclose(matrix_for(9, 5.0, 1.0)[::5], np.eye(9), rtol=0, atol=1e-13)


def test_two_slices_are_interpolated_linearly():
    share = np.arange(6) / 5
    np.testing.assert_allclose(matrix_for(2, 5.0, 1.0), np.stack([1 - share, share], axis=1), atol=1e-13)


def test_the_ends_are_those_of_slices_continued_by_point_reflection():
    hu = np.random.default_rng(0).normal(0, 300, 8)
    below, above = 2 * hu[0] - hu[:0:-1], 2 * hu[-1] - hu[-2::-1]
    # The far ends of the continuation are 7 slices away: their influence is 0.27^7, a ten-thousandth.
    continued = matrix_for(22, 5.0, 1.0) @ np.concatenate([below, hu, above])
    np.testing.assert_allclose(matrix_for(8, 5.0, 1.0) @ hu, continued[35:71], atol=0.2)


def test_far_from_the_ends_it_is_the_b_spline_of_other_libraries():
    from scipy.ndimage import map_coordinates

    hu = np.random.default_rng(1).normal(0, 300, 40)
    reference = map_coordinates(hu, [np.arange(196) / 5], order=3, mode="mirror")
    assert np.abs(matrix_for(40, 5.0, 1.0) @ hu - reference)[50:-50].max() < 1e-3
