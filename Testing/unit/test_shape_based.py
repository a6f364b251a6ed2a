"""Labels carried to thin slices keep their volume, their surface, their neighbours and their place."""

from __future__ import annotations

import numpy as np
import pytest

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.segmentation.shape_based import carried
from ThickToThinSRLib.volume import Volume

IN_PLANE, THICK, THIN = 0.7, 5.0, 1.0
TILT = np.deg2rad(20)
OBLIQUE = np.array([[np.cos(TILT), -np.sin(TILT), 0], [np.sin(TILT), np.cos(TILT), 0], [0, 0, 1.0]])


def distances(centre, spacing, shape) -> np.ndarray:
    """Distance of every voxel from `centre` (x, y, z in mm); shape and spacing in z, y, x."""
    axes = [
        np.arange(count) * step - middle
        for count, step, middle in zip(shape, spacing, centre[::-1], strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2)


def sphere(radius: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """A sphere on thick slices (where it fills half of a voxel or more) and its distances on thin ones."""
    slices, pixels = 13, int(2 * (radius + 6) / IN_PLANE)
    centre = (0.5 * pixels * IN_PLANE, 0.5 * pixels * IN_PLANE + 0.2, 30.0 + shift)
    parts = 25
    fine = distances(
        (*centre[:2], centre[2] + 0.5 * (parts - 1) * THICK / parts),
        (THICK / parts, IN_PLANE, IN_PLANE),
        (slices * parts, pixels, pixels),
    )
    share = (fine < radius).reshape(slices, parts, pixels, pixels).mean(axis=1)
    thin = distances(centre, (THIN, IN_PLANE, IN_PLANE), (5 * (slices - 1) + 1, pixels, pixels))
    return share >= 0.5, thin


@pytest.mark.parametrize("shift", [0.0, 1.3, -2.4])
@pytest.mark.parametrize("radius", [16.0, 20.0])
def test_a_sphere_keeps_its_volume_and_its_surface(radius, shift):
    thick, distance = sphere(radius, shift)
    labels = Volume(thick.astype(np.uint8), (IN_PLANE, IN_PLANE, THICK))
    inside = carried(labels, 2, THIN).voxels == 1
    volume = inside.sum() * THIN * IN_PLANE**2
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
    # Volume between the surfaces by the area of the true one: their mean distance.
    between = np.logical_xor(inside, distance < radius).sum() * THIN * IN_PLANE**2
    assert between / (4 * np.pi * radius**2) < 0.5 * THIN
    copied = np.repeat(thick, 5, axis=0)[2:-2]
    of_copied = np.logical_xor(copied, distance < radius).sum() * THIN * IN_PLANE**2
    assert between < 0.5 * of_copied


def test_a_small_sphere_is_as_large_as_its_thick_slices_tell():
    """By how the slices fall, these are up to 6 % off for 20 mm; on average they are right."""
    volumes, told = [], []
    for shift in np.arange(-2.0, 2.5):
        thick, _ = sphere(10.0, shift)
        thin = carried(Volume(thick.astype(np.uint8), (IN_PLANE, IN_PLANE, THICK)), 2, THIN)
        volumes.append(thin.voxels.sum() * THIN * IN_PLANE**2)
        told.append(thick.sum() * THICK * IN_PLANE**2)
    np.testing.assert_allclose(volumes, told, rtol=0.005)
    assert np.mean(volumes) == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.02)


def test_labels_that_touch_touch_in_the_result_and_keep_their_numbers():
    voxels = np.zeros((8, 40, 40), np.uint16)
    for number in range(1, 7):
        voxels[number, 8:32, 8 : 18 + number], voxels[number, 8:32, 18 + number : 34] = 3, 700
    thin = carried(Volume(voxels, (IN_PLANE, IN_PLANE, THICK)), 2, THIN).voxels
    assert thin.dtype == np.uint16
    assert set(np.unique(thin)) == {0, 3, 700}
    assert (thin[6:29, 12:28, 12:30] > 0).all()
    border = (thin[6:29, 20] == 3).sum(axis=1) + 8  # where label 700 begins
    np.testing.assert_allclose(border, 18 + np.arange(6, 29) / 5, atol=1.01)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_grid_is_that_of_a_result(axis):
    spacing = np.full(3, IN_PLANE)
    spacing[axis] = THICK
    voxels = np.moveaxis(np.pad(np.ones((4, 9, 8), np.int16), 1), 0, 2 - axis)
    labels = Volume(voxels, tuple(spacing), (3.0, -4.0, 5.0), OBLIQUE)
    thin = carried(labels, axis, THIN)
    assert thin.slices_first(axis).shape == (26, 11, 10)
    assert thin.spacing[axis] == THIN
    np.testing.assert_array_equal(thin.direction, labels.direction)
    assert thin.origin == labels.origin
    heights = np.flatnonzero(thin.slices_first(axis).any(axis=(1, 2)))
    assert (heights.min() + heights.max()) / 2 == 12.5


def test_a_label_that_fills_the_volume_still_does():
    labels = Volume(np.full((4, 5, 6), 2, np.uint8), (1, 1, THICK))
    assert (carried(labels, 2, THIN).voxels == 2).all()


def test_a_label_at_the_edge_ends_there():
    voxels = np.zeros((6, 30, 30), np.uint8)
    voxels[:3, 5:25, 5:25] = 1
    thin = carried(Volume(voxels, (1, 1, THICK)), 2, THIN).voxels
    assert (thin[:11, 7:23, 7:23] == 1).all()
    assert not thin[14:].any()
    # 3 slices of 5 mm, of which half of the first lies before its centre.
    assert (thin.sum() - 0.5 * thin[0].sum()) * THIN == pytest.approx(12.5 * 400, rel=0.02)


@pytest.mark.parametrize("spacing", [1.3, 5.0])
def test_spacings_that_do_not_divide_and_the_inputs_own(spacing):
    thick, _ = sphere(15.0, 1.0)
    labels = Volume(thick.astype(np.uint8), (IN_PLANE, IN_PLANE, THICK))
    thin = carried(labels, 2, spacing)
    volume = thin.voxels.sum() * spacing * IN_PLANE**2
    assert volume == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.02)
    if spacing == THICK:
        assert (thin.voxels == labels.voxels).mean() > 0.999


@pytest.mark.parametrize("voxels", [np.full((3, 4, 5), 0.5), np.full((3, 4, 5), -1)])
def test_what_is_no_label_map_is_refused(voxels):
    with pytest.raises(UserError, match="choose a label map"):
        carried(Volume(voxels, (1, 1, 5)), 2, 1.0)


def test_every_label_is_announced_and_the_work_can_be_ended():
    voxels = np.zeros((4, 9, 9), np.uint8)
    voxels[1, 2:4, 2:4], voxels[2, 5:8, 5:8] = 2, 5
    told = []
    carried(Volume(voxels, (1, 1, 5)), 2, 1.0, told.append)
    assert told == [2, 5]
