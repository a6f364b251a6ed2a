"""Training crops: thin over thick, drawn from every place and case, shared by the processes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from ThickToThinSRLib.networks.registry import NETWORKS, WindowSpec
from training.data.cases import Case
from training.data.crops import CropPlan, Crops, StepSampler
from training.ranks import Ranks

FACTOR, SLICES, ROWS, COLUMNS, SIDE = 5, 10, 12, 10, 8
TVSRN = NETWORKS["tvsrn"].window()
# Predicts all thin slices from its first thick one to its last.
UNTRIMMED = WindowSpec(FACTOR, 3, 2, first_output=0, outputs=11, multiple=1, tile=SIDE, margin=0)
PLAN = CropPlan(SIDE, flip=0.0, per_case=1, seed=0)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Three cases whose voxels tell their place; thick slice i shows thin slice 5 i."""
    folder = tmp_path_factory.mktemp("numbered")
    thin = numbered()
    thick = thin[::FACTOR]
    paths = {"thick": folder / "thick.npy", "thin": folder / "thin.npy"}
    geometry = {}
    for kind, voxels in (("thick", thick), ("thin", thin)):
        np.save(paths[kind], voxels)
        spacing = (0.7, 0.7, 5.0 if kind == "thick" else 1.0)
        geometry[kind] = {"shape": list(voxels.shape), "spacing": spacing, "origin": (0, 0, 0)}
        geometry[kind]["direction"] = np.eye(3).tolist()
    return [Case(f"CT{n}", "train", paths["thick"], paths["thin"], geometry) for n in (1, 2, 3)]


def numbered():
    """Thin voxels in HU, counted from -1000 in steps of a half, by slice, row and column."""
    count = FACTOR * (SLICES - 1) + 1
    numbers = np.arange(count * ROWS * COLUMNS, dtype=np.float32).reshape(count, ROWS, COLUMNS)
    return -1000 + numbers / 2


def hu(crop):
    """A crop's tensor as an array in HU, exact in the halves of :func:`numbered`."""
    return np.rint((crop[0].numpy().astype(np.float64) * 3072 - 1024) * 2) / 2


def place_of(thick):
    """Thick slice, row and column at which a crop that is not flipped begins."""
    z, y, x = np.unravel_index(round((thick[0, 0, 0] + 1000) * 2), numbered().shape)
    return z // FACTOR, y, x


def drawn(crops, count):
    """Thick slice, row and column of each of the first `count` crops."""
    return [place_of(hu(crops[number][0])) for number in range(count)]


@pytest.mark.parametrize(
    "window", [TVSRN, NETWORKS["saint"].window(factor=5, depth=8), UNTRIMMED], ids=["tvsrn", "saint", "all"]
)
@pytest.mark.parametrize("flip", [0.0, 1.0], ids=["as it is", "flipped"])
def test_thick_and_thin_crop_are_the_same_place_of_both_scans(cases, window, flip):
    crops, truth = Crops(cases, window, replace(PLAN, flip=flip)), numbered()
    places = set()
    for number in range(12):
        thick, thin, where = crops[number]
        assert thick.shape == (1, window.depth, SIDE, SIDE)
        assert thin.shape == (1, window.outputs, SIDE, SIDE)
        assert thin.min() >= 0
        assert thin.max() <= 1
        step = -1 if flip else 1
        thick, thin = hu(thick)[..., ::step], hu(thin)[..., ::step]
        z, y, x = place_of(thick)
        plane = (slice(y, y + SIDE), slice(x, x + SIDE))
        np.testing.assert_array_equal(thick, truth[::FACTOR][(slice(z, z + window.depth), *plane)])
        first = FACTOR * z + window.first_output
        np.testing.assert_array_equal(thin, truth[(slice(first, first + window.outputs), *plane)])
        # What both hold is the same: thick slice i lies at thin slice 5 i.
        for i in range(window.depth):
            at = FACTOR * i - window.first_output
            if 0 <= at < window.outputs:
                np.testing.assert_array_equal(thick[i], thin[at])
        assert re.fullmatch(rf"CT[123] at slice {z}, row {y}, column {x}", where)
        places.add((z, y, x))
    assert len(places) > 3


def test_intensities_beyond_the_networks_window_are_clipped(cases, tmp_path):
    wide = np.where(numbered() < 0, -3000.0, 5000.0).astype(np.float32)
    np.save(tmp_path / "thin.npy", wide)
    np.save(tmp_path / "thick.npy", wide[::FACTOR])
    case = replace(cases[0], thick=tmp_path / "thick.npy", thin=tmp_path / "thin.npy")
    thick, thin, _ = Crops([case], TVSRN, PLAN)[0]
    for crop in (thick, thin):
        assert set(np.unique(crop)) <= {0.0, 1.0}


def test_crops_lie_everywhere_but_at_the_last_possible_slice(cases):
    places = np.array(drawn(Crops(cases, TVSRN, PLAN), 300))
    last = SLICES - TVSRN.depth
    assert set(places[:, 0]) == set(range(last)), "the released code never begins at the last"
    assert set(places[:, 1]) == set(range(ROWS - SIDE + 1))
    assert set(places[:, 2]) == set(range(COLUMNS - SIDE + 1))


def test_a_scan_as_long_as_the_window_has_its_one_place(cases):
    window = replace(TVSRN, depth=SLICES, outputs=FACTOR * (SLICES - 1) + 1 - 6)
    assert {z for z, _, _ in drawn(Crops(cases, window, PLAN), 12)} == {0}


def test_every_case_is_drawn_as_often_in_each_epoch(cases):
    for per_case in (1, 2):
        crops = Crops(cases, TVSRN, replace(PLAN, per_case=per_case))
        assert len(crops) == 3 * per_case
        for epoch in range(3):
            names = [crops[epoch * len(crops) + n][2].split()[0] for n in range(len(crops))]
            assert sorted(names) == sorted(["CT1", "CT2", "CT3"] * per_case)


def test_epochs_and_seeds_differ_in_places_and_order_and_the_same_seed_does_not(cases):
    def epoch(number, seed=0):
        crops = Crops(cases * 4, TVSRN, replace(PLAN, seed=seed))
        found = [crops[number * len(crops) + n][2] for n in range(len(crops))]
        return [text.split(" ", 1) for text in found]

    assert epoch(1) == epoch(1)
    for other in (epoch(0), epoch(1, seed=1)):
        for part in (0, 1):  # names, places
            assert [text[part] for text in other] != [text[part] for text in epoch(1)]


def test_about_so_many_crops_are_flipped_as_the_plan_says(cases):
    crops = Crops(cases, TVSRN, replace(PLAN, flip=0.3))
    flipped = [hu(crops[n][0])[0, 0, 0] > hu(crops[n][0])[0, 0, -1] for n in range(200)]
    assert 0.2 < np.mean(flipped) < 0.4


def test_a_fixed_crop_is_always_the_same(cases):
    crops = Crops(cases, TVSRN, replace(PLAN, flip=0.5, fixed=True))
    assert len({crops[number][2] for number in range(9)}) == 1
    assert all(bool((crops[number][0] == crops[0][0]).all()) for number in range(9))


def sampler(first, last, rank, world, batch=1, per_epoch=6):
    """The sampler of one process."""
    return StepSampler(range(first, last), batch, Ranks(rank, world, torch.device("cpu")), per_epoch)


def numbers(*arguments, **options):
    """The crops of each step of one process."""
    return list(sampler(*arguments, **options))


@pytest.mark.parametrize("batch", [1, 3])
def test_two_processes_share_the_crops_of_each_epoch_without_any_twice(batch):
    steps = 6 // (2 * batch)
    parts = [numbers(0, 3 * steps, rank, 2, batch) for rank in (0, 1)]
    for epoch in range(3):
        both = [n for part in parts for step in part[epoch * steps : (epoch + 1) * steps] for n in step]
        assert sorted(both) == list(range(6 * epoch, 6 * epoch + 6))
    # Each step is what one process with the double batch takes at it.
    alone = numbers(0, 3 * steps, 0, 1, 2 * batch)
    assert [a + b for a, b in zip(*parts, strict=True)] == alone


def test_the_last_step_of_an_epoch_is_filled_and_the_next_begins_at_its_start():
    assert numbers(0, 6, 0, 1, batch=2, per_epoch=5) == [[0, 1], [2, 3], [4, 5], [5, 6], [7, 8], [9, 10]]


def test_an_interrupted_run_goes_on_with_the_crops_of_the_next_step():
    whole = numbers(0, 12, 1, 2)
    assert numbers(7, 12, 1, 2) == whole[7:]
    assert len(sampler(7, 12, 0, 1)) == 5
