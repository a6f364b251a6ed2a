"""Nothing invented: a nodule of the input is in the result, one that is not there does not appear."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from Testing.nodules import Planted, free_places, plant
from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.trust.support import largest_unsupported

THICK = Acquisition(5.0, 5.0)
METHODS = ("consistent", "universal")


@cache
def scan():
    """A thin scan, and a nodule of 8 mm that could be in it."""
    thin = thorax((1.0, 1.0, 1.0), size_mm=(190.0, 110.0), z_range=(-60.0, -15.0), noise=5.0)
    place = free_places(thin, thin.voxels < -500, 3.0, (12, 12, 12), number=1, seed=0)[0]
    return thin, Planted(tuple(place), 8.0, 30.0)


@cache
def enhanced(method: str, with_nodule: bool):
    """Thick slices, and the method's result."""
    thin, nodule = scan()
    thin = plant(thin, [nodule] if with_nodule else [])
    thick = simulate(thin, THICK, axis=2)
    return thick, enhance_volume(thick, Settings(method=method, axis=2))


def unsupported(result: np.ndarray, thick):
    return largest_unsupported(result, thick.voxels, THICK, 1.0, 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_nodule_of_the_input_is_in_the_result_with_its_mean_hu(method):
    thin, nodule = scan()
    box = nodule.box(thin, 1.0)
    core = nodule.cover(thin, box) > 0.99
    with_it, without = (enhanced(method, present)[1][0].voxels for present in (True, False))
    contrast = with_it[box][core].astype(float) - without[box][core]
    truth = plant(thin, [nodule]).voxels[box][core].astype(float) - thin.voxels[box][core]
    assert contrast.mean() == pytest.approx(truth.mean(), rel=0.15)


@pytest.mark.parametrize("method", METHODS)
def test_a_nodule_that_is_not_in_the_input_does_not_appear(method):
    """What the result holds beyond its input is far less than the smallest nodule: 3 mm, 100 HU."""
    for present in (True, False):
        thick, (thin, report) = enhanced(method, present)
        assert abs(unsupported(thin.voxels, thick).hu_mm) < 20
        assert abs(report["largest_unsupported"]["hu_mm"]) < 20


@pytest.mark.parametrize("present", [False, True])
def test_an_invented_or_a_lost_nodule_is_found_and_measured(present):
    """The result of one input, held against the other."""
    nodule = scan()[1]
    result = enhanced("consistent", present)[1][0]
    other, _ = enhanced("consistent", not present)
    found = unsupported(result.voxels, other)
    size = (nodule.hu + 860.0) * nodule.diameter
    assert found.hu_mm == pytest.approx(size if present else -size, rel=0.45)
    z, y, x = nodule.centre
    assert abs(5 * found.slice - z) <= 3 and abs(found.row - y) <= 2 and abs(found.column - x) <= 2


def test_a_small_faint_nodule_is_measured_in_hu_mm():
    thick, (result, _) = enhanced("consistent", False)
    voxels = result.voxels.copy()
    voxels[18:22, 40:44, 60:64] += 100
    found = unsupported(voxels, thick)
    assert found.hu_mm == pytest.approx(400, rel=0.1)
    assert (found.slice, abs(found.row - 42) <= 2, abs(found.column - 62) <= 2) == (4, True, True)


def test_a_result_without_a_whole_thick_slice_says_nothing():
    thick = np.zeros((2, 8, 8), np.float32)
    assert largest_unsupported(np.zeros((2, 8, 8)), thick, Acquisition(5.0, 1.0), 1.0, 1.0) is None


def test_the_volume_may_lie_any_way():
    thick, _ = enhanced("consistent", True)
    turned = replace(thick, voxels=np.moveaxis(thick.voxels, 0, 2), spacing=(5.0, 1.0, 1.0), slice_axis=0)
    report = enhance_volume(turned, Settings(method="consistent"))[1]
    assert abs(report["largest_unsupported"]["hu_mm"]) < 20
