"""Volumes: the through-plane axis, the number of thin slices, their place in the patient."""

from __future__ import annotations

import numpy as np
import pytest

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.volume import (
    Volume,
    cast,
    cast_in_place,
    check_target_spacing,
    refined,
    slice_count,
    through_plane_axis,
)


def volume(spacing, slice_axis=None):
    return Volume(np.zeros((3, 4, 5), np.int16), spacing, slice_axis=slice_axis)


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [
        ((0.7, 0.7, 5.0), 2),
        ((5.0, 0.7, 0.7), 0),
        ((0.7, 5.0, 0.7), 1),
        ((0.8, 0.8, 0.5), 2),
        ((0.70, 0.75, 3.0), 2),
        ((0.781, 0.781, 1.0), 2),
    ],
)
def test_the_slices_lie_across_the_axis_whose_spacing_stands_apart(spacing, axis):
    assert through_plane_axis(volume(spacing)) == axis


def test_where_spacing_does_not_decide_the_source_does_and_else_k():
    assert through_plane_axis(volume((1.0, 1.0, 1.0))) == 2
    assert through_plane_axis(volume((1.0, 1.0, 1.0), slice_axis=0)) == 0
    assert through_plane_axis(volume((1.0, 1.0, 5.0), slice_axis=0)) == 2, "spacing decides first"


def test_an_option_overrides_the_axis_and_must_name_one():
    assert through_plane_axis(volume((0.7, 0.7, 5.0)), 1) == 1
    with pytest.raises(UserError, match="0, 1 or 2"):
        through_plane_axis(volume((0.7, 0.7, 5.0)), 3)


@pytest.mark.parametrize(
    ("slices", "spacing", "target", "count"),
    [(64, 5.0, 1.0, 316), (30, 8.0, 1.0, 233), (10, 2.5, 1.0, 23), (301, 3.3, 1.1, 901), (1, 5.0, 1.0, 1)],
)
def test_thin_slices_reach_from_the_first_centre_to_the_last(slices, spacing, target, count):
    assert slice_count(slices, spacing, target) == count


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), 5.1])
def test_a_spacing_that_refines_nothing_is_refused_with_its_value(bad):
    with pytest.raises(UserError, match=f"{bad:g}"):
        check_target_spacing(bad, 5.0)


def test_refined_slices_keep_their_place_in_the_patient_along_every_axis():
    rng = np.random.default_rng(1)
    direction = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for axis in range(3):
        spacing = [0.7, 0.8, 0.9]
        spacing[axis] = 5.0
        thick = Volume(np.zeros((4, 5, 6), np.int16), tuple(spacing), (10.0, -20.0, 30.0), direction)
        count = slice_count(thick.voxels.shape[2 - axis], 5.0, 1.25)
        shape = (count, *thick.slices_first(axis).shape[1:])
        thin = refined(thick, axis, 1.25, np.zeros(shape, np.int16))
        index = [1, 2, 3]
        thin_index = list(index)
        thin_index[axis] *= 4
        assert np.allclose(thin.position(*thin_index), thick.position(*index), atol=1e-9)
        assert thin.voxels.shape[2 - axis] == count


def test_a_sheared_direction_is_refused():
    sheared = np.eye(3)
    sheared[1, 2] = 0.2
    with pytest.raises(UserError, match="not perpendicular"):
        Volume(np.zeros((2, 2, 2)), (1, 1, 1), direction=sheared)


@pytest.mark.parametrize(("spacing"), [(1, 1, 0), (1, -1, 1), (1, float("nan"), 1), (1, 1, 1e308)])
def test_impossible_spacings_are_refused(spacing):
    with pytest.raises(UserError, match="spacing"):
        Volume(np.zeros((2, 2, 2)), spacing)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spacing", None),
        ("spacing", ("a", 1, 1)),
        ("spacing", (1, 1)),
        ("origin", (0, 0)),
        ("origin", ("x", 0, 0)),
        ("direction", (1, 0, 0)),
        ("direction", "identity"),
        ("direction", np.full((3, 3), np.nan)),
    ],
)
def test_a_malformed_geometry_is_refused_in_a_line_that_names_it(name, value):
    with pytest.raises(UserError, match=f"the {name} must be") as caught:
        Volume(np.zeros((4, 5, 6), np.int16), **{"spacing": (1, 1, 5), name: value})
    assert "\n" not in str(caught.value)


def test_whole_number_types_are_rounded_and_saturated():
    values = np.array([[[-40000.0, -1.6, 0.4, 2.5, 40000.0]]], np.float32)
    assert cast(values, np.int16).tolist() == [[[-32768, -2, 0, 2, 32767]]]
    assert cast(np.array([3e9]), np.int32).tolist() == [2**31 - 1]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_casting_in_place_equals_casting(dtype):
    values = np.random.default_rng(0).normal(0, 90, (7, 5, 3)).astype(np.float32)
    expected = cast(values, dtype)
    assert np.array_equal(cast_in_place(values.copy(), dtype), expected)


def test_eight_byte_whole_numbers_saturate_too():
    assert cast(np.array([1e19, -1e19]), np.int64).tolist() == [2**63 - 1024, -(2**63)]
    assert cast(np.array([1e20, -5.0]), np.uint64).tolist() == [2**64 - 2048, 0]
