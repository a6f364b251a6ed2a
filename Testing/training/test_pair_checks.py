"""Pairs that do not match are refused with what was measured: offsets, order, sizes, spacings, values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.volume import Volume
from training.data.alignment import measure_alignment
from training.data.cases import cases_of
from training.data.checks import check_pair
from training.data.pseudo import pseudo_pair
from training.prepare import main as prepare

from .runs import write_pair


@pytest.fixture(scope="module")
def pair(prepared):
    """A longer pair in memory, from the thin slices of a case: 7 thick ones of 3 mm."""
    scan = cases_of(prepared, "train")[0].read().thin
    return pseudo_pair(Volume(np.array(scan.voxels), (10.0, 10.0, 1.0), slice_axis=2), factor=3)


@pytest.mark.parametrize("offset", [-2, -1, 1, 2])
def test_a_displaced_pair_is_refused_with_its_offset(pair, offset, tmp_path, capfd):
    # The thick scan shows what lies `offset` thin slices further: both keep the right number of slices.
    thin = np.asarray(pair.thin.voxels)
    moved = np.roll(thin, -offset, axis=0)
    moved[slice(-offset, None) if offset > 0 else slice(None, -offset)] = thin[-1 if offset > 0 else 0]
    shifted = pseudo_like(moved, pair)
    write_pair(tmp_path / "data", shifted, pair.thin)
    command = ["folder", str(tmp_path / "data"), str(tmp_path / "out"), "--factor", "3", "--workers", "1"]
    assert prepare(command) == 2
    error = capfd.readouterr().err
    assert f"CT1: the thick slices are displaced by {offset:+d} thin slices" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "index.json").exists()
    check_pair("as it was", pair, 3)


def pseudo_like(thin, pair):
    """Thick slices of the pair's geometry, means of three of `thin` around each third."""
    padded = np.concatenate([thin[:1], thin, thin[-1:]]).astype(np.float64)
    means = (padded[:-2] + padded[1:-1] + padded[2:])[::3] / 3
    return Volume(np.rint(means).astype(np.int16), pair.thick.spacing, slice_axis=2)


def test_a_far_displaced_pair_is_said_to_be_so(pair):
    thin = np.asarray(pair.thin.voxels)
    away = pseudo_like(np.roll(thin, -7, axis=0), pair)
    fault = measure_alignment(away.voxels, thin, 3)
    assert fault.fault().endswith(f"{fault.offset:+d} or more thin slices") == (
        abs(fault.offset) == fault.reach
    )


@pytest.mark.parametrize(("rows", "columns"), [(0, 2), (-3, 0), (5, -4)])
def test_a_pair_displaced_within_its_slices_is_refused_with_the_shift(rows, columns):
    rng = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(rng.normal(0, 1, (40, 80, 80)), (2, 3, 3))
    scene = (2000 * scene / np.abs(scene).max()).astype(np.float32)
    thin = scene[:31, 10:-10, 10:-10]
    moved = scene[:31, 10 - rows : 70 - rows, 10 - columns : 70 - columns]
    thick = np.stack([moved[max(0, i - 2) : i + 3].mean(axis=0) for i in range(0, 31, 5)])
    found = measure_alignment(thick, thin, 5)
    assert found.shift == (rows, columns)
    assert f"displaced by {rows:+d} rows and {columns:+d} columns" in found.fault()


def test_other_padding_in_one_of_the_scans_is_no_fault(pair):
    outside = np.hypot(*np.mgrid[-15.5:16, -15.5:16]) > 16
    thick = np.where(outside, -2000, np.asarray(pair.thick.voxels))
    thin = np.where(outside, 0, np.asarray(pair.thin.voxels))
    found = measure_alignment(thick, thin, 3)
    assert (found.fault(), found.offset) == (None, 0)


@pytest.mark.filterwarnings("error")
def test_scans_that_do_not_change_along_the_slices_hide_their_offset():
    plane = np.random.default_rng(0).normal(-300, 300, (32, 32))
    for thick, thin in (
        (np.tile(plane, (7, 1, 1)), np.tile(plane, (31, 1, 1))),
        (np.zeros((7, 8, 8)), np.zeros((31, 8, 8))),
    ):
        found = measure_alignment(thick, thin, 5)
        assert (found.offset, found.fault()) == (None, None)


def test_a_single_thick_slice_is_refused(pair):
    one = [Volume(np.asarray(v.voxels)[:1], v.spacing, slice_axis=2) for v in (pair.thick, pair.thin)]
    with pytest.raises(UserError, match="case x: a single thick slice"):
        check_pair("x", type(pair)(*one), 3)


def test_values_that_are_no_hu_are_refused(pair):
    stored = Volume(np.asarray(pair.thick.voxels) + 1024, pair.thick.spacing, slice_axis=2)
    overshooting = Volume(np.asarray(pair.thin.voxels) / 3000.0, pair.thin.spacing, slice_axis=2)
    with pytest.raises(
        UserError, match=r"case x: the thick scan's values, .* are neither HU nor on \[0, 1\]"
    ):
        check_pair("x", type(pair)(stored, pair.thin), 3)
    with pytest.raises(UserError, match="case x: the thin scan's values"):
        check_pair("x", type(pair)(pair.thick, overshooting), 3)


@pytest.mark.parametrize(
    ("thick", "thin", "words"),
    [
        ((10.0, 10.0, 3.0), (10.2, 10.3, 1.0), "pixels of 10 x 10 mm .thick. and 10.2 x 10.3 mm .thin."),
        (
            (10.0, 10.0, 5.0),
            (10.0, 10.0, 1.0),
            "slices every 5 mm .thick. and 1 mm .thin. do not have the factor 3",
        ),
    ],
)
def test_spacings_that_contradict_the_pair_are_refused(pair, thick, thin, words):
    volumes = [Volume(v.voxels, s, slice_axis=2) for v, s in ((pair.thick, thick), (pair.thin, thin))]
    with pytest.raises(UserError, match=words):
        check_pair("x", type(pair)(*volumes), 3)


def test_files_without_spacing_are_accepted(pair):
    bare = [Volume(v.voxels, (1.0, 1.0, 1.0), slice_axis=2) for v in (pair.thick, pair.thin)]
    check_pair("x", type(pair)(*bare), 3)
    check_pair("x", type(pair)(pair.thick, bare[1]), 3)


def test_reversed_other_and_short_scans_are_refused(pair, prepared):
    thick, thin = pair.thick, pair.thin
    turned = Volume(np.asarray(thick.voxels)[::-1], thick.spacing, slice_axis=2)
    stranger = np.random.default_rng(0).permutation(np.asarray(thin.voxels).ravel())
    stranger = Volume(stranger.reshape(thin.voxels.shape), thin.spacing, slice_axis=2)
    short = Volume(np.asarray(thin.voxels)[:-1], thin.spacing, slice_axis=2)
    narrow = Volume(np.asarray(thin.voxels)[:, :, :-4], thin.spacing, slice_axis=2)
    for one, other, words in (
        (turned, thin, "reversed order"),
        (thick, stranger, "do not show the same anatomy"),
        (thick, short, f"{len(thick.voxels)} thick slices need {len(thin.voxels)} thin ones"),
        (thick, narrow, "in-plane sizes differ, thick 32 x 32 against thin 28 x 32 pixels"),
    ):
        with pytest.raises(UserError, match=words):
            check_pair("x", type(pair)(one, other), 3)
