"""The lung mask on a drawn thorax of known volume, on what is no lung, and on real CT; densitometry."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from Testing.shared_data import shared
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.evaluation.lung import densitometry, lung_mask
from ThickToThinSRLib.evaluation.metrics import report
from ThickToThinSRLib.intensity import to_unit
from ThickToThinSRLib.io.volume_files import read_volume
from ThickToThinSRLib.volume import Volume

# Centre and semi-axes (x, y, z) in mm of the ellipsoids below; x to the left, y to the back, z upwards.
RIGHT_LUNG = (-75, 0, 0), (50, 75, 95)
LEFT_LUNG = (75, 0, 0), (45, 70, 90)
GAS = (60, -20, -130), (35, 30, 20)


@functools.cache
def thorax(spacing=(2.0, 2.0, 3.0), lungs=(RIGHT_LUNG, LEFT_LUNG), trachea=True):
    """Body, table, lungs, trachea with main bronchi, stomach bubble, in a field of 360 x 300 x 320 mm."""
    size = [round(extent / s) for extent, s in zip((360, 300, 320), spacing, strict=True)]
    z, y, x = (
        ((np.arange(n) - (n - 1) / 2) * s).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, s) in enumerate(zip(size[::-1], spacing[::-1], strict=True))
    )

    def ellipsoid(centre, axes):
        parts = zip((x, y, z), centre, axes, strict=True)
        return sum(((v - c) / a) ** 2 for v, c, a in parts) <= 1

    hu = np.full((size[2], size[1], size[0]), -1000, np.int16)
    hu[:, (y[0, :, 0] > 128) & (y[0, :, 0] < 146)] = -300  # table top, foam and bottom
    hu[:, (y[0, :, 0] > 132) & (y[0, :, 0] < 142)] = -900
    hu[np.broadcast_to((x / 155) ** 2 + (y / 120) ** 2 <= 1, hu.shape)] = 40
    for lung in lungs:
        hu[ellipsoid(*lung)] = -850
    hu[ellipsoid(*GAS)] = -1000
    if trachea:
        hu[(x**2 + (y - 10) ** 2 <= 9**2) & (z > 30)] = -1000
        for side in (-1, 1):
            hu[
                ((z - 32 + 0.6 * side * x) ** 2 + (y - 10) ** 2 <= 7**2) & (side * x > 0) & (side * x < 34)
            ] = -1000
    return Volume(hu, spacing, (-180.0, -150.0, -160.0))


def litres(volume: Volume, mask: np.ndarray) -> float:
    return mask.sum() * float(np.prod(volume.spacing)) / 1e6


def expected(*lungs) -> float:
    return sum(4 / 3 * np.pi * np.prod(axes) for _, axes in lungs) / 1e6


def test_the_volume_of_both_lungs_is_found_to_two_percent():
    volume = thorax()
    mask = lung_mask(volume)
    assert litres(volume, mask) == pytest.approx(expected(RIGHT_LUNG, LEFT_LUNG), rel=0.02)
    assert (mask & (volume.voxels == -850)).sum() > 0.98 * (volume.voxels == -850).sum()


def test_air_gas_table_and_trachea_stay_out():
    volume = thorax()
    mask = lung_mask(volume)
    assert not mask[volume.voxels == -1000].any()
    assert not mask[volume.voxels == -900].any()


@pytest.mark.parametrize("spacing", [(1.2, 1.2, 1.0), (1.2, 1.2, 8.0), (2.5, 2.5, 3.0)])
def test_thin_and_thick_slices_give_the_same_volume(spacing):
    volume = thorax(spacing)
    assert litres(volume, lung_mask(volume)) == pytest.approx(expected(RIGHT_LUNG, LEFT_LUNG), rel=0.04)


def test_noise_of_a_sharp_kernel_does_not_tear_holes():
    clean = thorax((1.0, 1.0, 3.0))
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, clean.voxels.shape), (0, 0.5, 0.5))
    noisy = replace(clean, voxels=(clean.voxels + noise * (150 / noise.std())).astype(np.int16))
    first, second = lung_mask(clean), lung_mask(noisy)
    assert 2 * (first & second).sum() / (first.sum() + second.sum()) > 0.97


@pytest.mark.parametrize("padding", [-1024, -2000, -3024])
def test_padding_counts_as_air(padding):
    volume = thorax()
    plain = lung_mask(volume)
    _, y, x = np.indices(volume.voxels.shape)
    circle = (x - 89.5) ** 2 + (y - 74.5) ** 2 > 71**2
    padded = replace(volume, voxels=np.where(circle, padding, volume.voxels).astype(np.int16))
    assert (lung_mask(padded) ^ plain)[~circle].mean() < 1e-3


def test_a_field_of_view_that_cuts_the_lungs_keeps_what_is_left_of_them():
    volume = thorax()
    cut = replace(volume, voxels=volume.voxels[:, :, 33:-33])  # 66 mm off either side: through both lungs
    inside = cut.voxels == -850
    mask = lung_mask(cut)
    assert (mask & inside).sum() > 0.9 * inside.sum()
    assert not mask[cut.voxels == -1000].any()


def test_a_scan_of_a_part_of_the_lungs_is_measured():
    volume = thorax()
    part = replace(volume, voxels=volume.voxels[42:58])
    inside = part.voxels == -850
    assert (lung_mask(part) & inside).sum() > 0.98 * inside.sum()


def test_one_lung_alone_is_found():
    volume = thorax(lungs=(LEFT_LUNG,))
    assert litres(volume, lung_mask(volume)) == pytest.approx(expected(LEFT_LUNG), rel=0.03)


@pytest.mark.parametrize("trachea", [True, False])
def test_without_lungs_the_mask_is_empty(trachea):
    assert not lung_mask(thorax(lungs=(), trachea=trachea)).any()


@pytest.mark.parametrize("value", [-1000, 0])
def test_an_empty_image_has_no_lungs(value):
    assert not lung_mask(Volume(np.full((3, 20, 20), value, np.int16), (1.0, 1.0, 5.0))).any()


@pytest.mark.parametrize(
    ("order", "flips"), [((0, 1, 2), (0,)), ((2, 1, 0), ()), ((1, 2, 0), (0, 1, 2)), ((0, 2, 1), (1,))]
)
def test_the_order_and_direction_of_the_index_axes_do_not_matter(order, flips):
    volume = thorax()
    plain = lung_mask(volume)
    axes = [2 - a for a in reversed(order)]  # index axis that becomes i, j, k
    direction = np.eye(3)[:, axes]
    for flip in flips:
        direction[:, 2 - flip] *= -1
    turned = Volume(
        np.flip(volume.voxels.transpose(order), flips),
        tuple(volume.spacing[a] for a in axes),
        direction=direction,
    )
    assert (lung_mask(turned) ^ np.flip(plain.transpose(order), flips)).sum() < 0.02 * plain.sum()


def test_a_hollow_of_the_skin_is_no_lung_in_a_noisy_image_either():
    """As above the collarbone: air with tissue on three sides."""
    volume = thorax()
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in volume.voxels.shape)
    hollow = np.ix_(z * 3 > 100, (y * 2 > -125) & (y * 2 < -75), np.abs(x * 2) < 25)
    voxels = volume.voxels.astype(np.float32)
    voxels[hollow] = -1000
    voxels += np.random.default_rng(0).normal(0, 120, voxels.shape)
    mask = lung_mask(replace(volume, voxels=voxels))
    assert mask.any()
    assert not mask[hollow].any()


def test_vessels_from_the_hilum_and_nodules_inside_the_lung_belong_to_it():
    volume = thorax()
    z, y, x = np.indices(volume.voxels.shape)
    lung = volume.voxels == -850
    vessel = lung & ((3 * (z - 53)) ** 2 + (2 * (y - 75)) ** 2 <= 4**2) & (np.abs(2 * (x - 89.5)) < 85)
    nodule = (3 * (z - 45)) ** 2 + (2 * (y - 75)) ** 2 + (2 * (x - 52)) ** 2 <= 9**2
    filled = replace(volume, voxels=np.where(vessel | nodule, 60, volume.voxels).astype(np.int16))
    mask = lung_mask(filled)
    assert vessel.sum() > 500  # the drawing is not empty
    assert mask[vessel].mean() > 0.9
    assert mask[nodule].mean() > 0.95


def test_densitometry_counts_what_is_below_the_threshold():
    hu = np.array([[[-960, -951, -950, -900, 300]], [[-1000, -800, -700, -600, -500]]], np.int16)
    mask = np.array([[[1, 1, 1, 1, 0]], [[0, 1, 1, 1, 1]]], bool)
    found = densitometry(hu, mask)
    assert found["laa950_percent"] == pytest.approx(100 * 2 / 8)
    assert found["perc15_hu"] == pytest.approx(np.percentile(hu[mask], 15))


def test_densitometry_of_nothing_is_refused():
    with pytest.raises(UserError, match="at least one voxel"):
        densitometry(np.zeros((1, 2, 2)), np.zeros((1, 2, 2), bool))


def test_the_report_measures_both_volumes_in_the_lungs_of_the_reference():
    volume = thorax()
    inside = volume.voxels == -850
    emptier = replace(volume, voxels=np.where(inside, -960, volume.voxels).astype(np.int16))
    for reference in (volume, replace(volume, voxels=to_unit(volume.voxels.astype(np.float32)))):
        lung = report(reference, emptier)["lung"]
        assert lung["litres"] == pytest.approx(expected(RIGHT_LUNG, LEFT_LUNG), rel=0.02)
        assert lung["bias_hu"] == pytest.approx(-110, abs=2)
        assert lung["reference"]["laa950_percent"] == 0
        assert lung["estimate"]["laa950_percent"] > 98
        assert (lung["reference"]["perc15_hu"], lung["estimate"]["perc15_hu"]) == (-850, -960)


def test_a_voxel_of_exactly_minus_950_counts_alike_in_hu_and_unit_files():
    volume = thorax()
    voxels = np.where(volume.voxels == -850, np.where(np.indices(volume.voxels.shape)[2] % 2, -950, -900), 40)
    edge = replace(volume, voxels=np.where(volume.voxels <= -900, volume.voxels, voxels).astype(np.int16))
    unit = replace(edge, voxels=to_unit(edge.voxels.astype(np.float32)))
    indices = [report(v, v)["lung"]["reference"]["laa950_percent"] for v in (edge, unit)]
    assert indices[0] == indices[1] < 1


# Looked at as overlays: both lungs, without trachea, table and bowel; litres of the mask.
REAL = {
    "chest_lungdx0001_5mm_sharp": 5.50,
    "chest_lungdx0002_8mm_sharp": 2.68,
    "chest_cmb1068_2p5mm": 4.45,
    "chest_lidc0002_1p25mm": 5.26,
}


@pytest.mark.parametrize("name", REAL)
def test_lungs_of_real_patients_are_those_that_were_looked_at(name):
    volume = read_volume(shared(f"data/{name}.nii.gz"))
    mask = lung_mask(volume)
    assert litres(volume, mask) == pytest.approx(REAL[name], rel=0.03)
    assert -870 < volume.voxels[mask].mean() < -750
