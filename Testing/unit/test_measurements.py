"""The benchmark of measurements reads known sizes from thin slices without noise."""

from __future__ import annotations

import time

import numpy as np
import pytest

from Testing.benchmarks.made_thin import NOISE, THICK
from Testing.benchmarks.measured_nodules import KINDS, measured_nodule, nodule_scans, voxels
from Testing.benchmarks.measurements import QUICK, SLOW
from Testing.benchmarks.work_left import COST, WorkLeft
from Testing.nodules import Planted, free_places, plant
from ThickToThinSRLib.methods.registry import METHODS
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


def test_places_are_clear_of_what_is_dense_and_of_the_ends():
    hu = LUNG.voxels.copy()
    hu[:, :, 30:32] = 40
    blocked = Volume(hu, LUNG.spacing, slice_axis=2)
    places = np.array(free_places(blocked, hu < -500, 3.0, (12, 10, 10), number=50, seed=0))
    assert (np.abs(places[:, 2] - 30.5) * 0.7 > 2.5).all()
    assert (places > (11, 9, 9)).all() and (places < (28.5, 50.5, 50.5)).all()
    assert len(np.unique(np.rint(places[:, 0] % 1 * 4))) == 5  # at every position between the slices


def test_every_nodule_lies_in_the_middle_of_its_part_of_the_lung():
    scans = nodule_scans(30, seed=3, size_mm=(300.0, 190.0), z_range=(-60.0, -5.0))
    for volume, planted in scans:
        assert [kind for kind, _ in planted] == ["solid", "ground glass"] * 5
        for kind, nodule in planted:
            found, core, _ = measured_nodule(volume, nodule)
            assert found == pytest.approx(np.pi / 6 * nodule.diameter**3, rel=0.5), (kind, nodule)
            assert core < KINDS[kind]


def test_the_time_left_follows_the_speed_of_this_machine(capsys, monkeypatch):
    left = WorkLeft()
    left.plan(["thick", "universal", "saint"], 2_000_000)
    quick = left.seconds()
    assert quick == pytest.approx(2 * (COST["universal"] + COST["saint"]))
    monkeypatch.setattr(time, "monotonic", lambda: 100.0 + 3 * 2 * COST["universal"])
    left.done("tubes", "universal", 2_000_000, since=100.0)  # three times slower than expected
    assert left.seconds() == pytest.approx(3 * 2 * COST["saint"])
    assert capsys.readouterr().err == "tubes: universal 23 s, about 6 min left\n"


def test_the_work_of_nodules_is_what_their_scans_hold():
    scans = nodule_scans(9, seed=3, size_mm=(300.0, 190.0), z_range=(-60.0, -5.0))
    assert sum(volume.voxels.size for volume, _ in scans) == voxels(9)


def test_every_network_is_measured_and_has_a_cost():
    assert set(COST) <= set(METHODS)
    assert {*QUICK, *SLOW} - {THICK, f"universal{NOISE}"} == set(COST)
    assert {name for name, entry in METHODS.items() if entry.network} <= {*QUICK, *SLOW}
