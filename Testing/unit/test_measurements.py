"""The benchmark of measurements reads known sizes from thin slices without noise."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.benchmarks.measured_nodules import measured_nodule
from Testing.nodules import Planted, free_places, plant
from ThickToThinSRLib.volume import Volume

LUNG = Volume(np.full((40, 60, 60), -860, np.int16), (0.7, 0.7, 1.0), slice_axis=2, thickness=1.0)


@pytest.mark.parametrize(("diameter", "hu"), [(6.0, 30.0), (9.0, -600.0)])
def test_a_nodule_has_its_volume_wherever_it_lies_between_the_slices(diameter, hu):
    for shift in (0.0, 0.3, 0.5):
        nodule = Planted((20.0 + shift, 30.2, 29.7), diameter, hu)
        found, core, contrast = measured_nodule(plant(LUNG, [nodule], kernel=0.5), nodule)
        assert found == pytest.approx(np.pi / 6 * diameter**3, rel=0.12)
        assert -860 < core < hu and contrast > 5


def test_a_nodule_that_is_not_there_is_missed():
    found, _, contrast = measured_nodule(LUNG, Planted((20.0, 30.0, 30.0), 6.0, 30.0))
    assert found is None and contrast == 0


def test_places_are_apart_and_clear_of_what_is_dense():
    voxels = LUNG.voxels.copy()
    voxels[:, :, 30:32] = 40
    blocked = Volume(voxels, LUNG.spacing, slice_axis=2)
    places = free_places(blocked, voxels < -500, 3.0, 8.0, seed=0)
    assert len(places) > 3
    for number, place in enumerate(places):
        assert abs(place[2] - 30.5) * 0.7 > 3
        assert all(np.linalg.norm((place - other) * (1, 0.7, 0.7)) >= 8 for other in places[:number])
