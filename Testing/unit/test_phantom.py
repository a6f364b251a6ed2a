"""The digital thorax phantom: tissue, true pairs of thin and thick slices, positions, seeds."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ThickToThinSRLib.acquisition import Acquisition, sampling_matrix
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import read_volume
from ThickToThinSRLib.phantom import anatomy, thorax
from ThickToThinSRLib.phantom.grid import Grid
from ThickToThinSRLib.phantom.noise import QuantumNoise, Texture
from ThickToThinSRLib.phantom.person import SectionPainter
from ThickToThinSRLib.phantom.sample import SCAN
from ThickToThinSRLib.phantom.trees import grow
from ThickToThinSRLib.phantom.tubes import TubeLayer, Tubes

COARSE = (2.8, 2.8)
SAMPLE = Path(__file__).parents[2] / "Resources" / "SampleData" / "ThoraxPhantom_5mm.nrrd"


def small(slice_spacing, z_range, **options):
    return thorax((*COARSE, slice_spacing), z_range=z_range, **options)


def value(volume, x, y, z, reach=4.0):
    """Median HU of a cube about a point in mm."""
    first = (np.array((x, y, z)) - reach - volume.origin) / volume.spacing
    last = (np.array((x, y, z)) + reach - volume.origin) / volume.spacing
    i, j, k = (slice(max(round(a), 0), round(b) + 1) for a, b in zip(first, last, strict=True))
    return float(np.median(volume.voxels[k, j, i]))


@pytest.mark.parametrize("seed", [0, 3])
def test_tissues_have_the_hu_they_have_in_life(seed):
    person = anatomy(seed)
    scan = small(4.0, (-150.0, 90.0), thickness=1.0, seed=seed, noise=0.0)
    assert value(scan, 0, -168, 0) == -1000  # air before the chest
    assert -1000 <= value(scan, 0, 3, 60) <= -980  # trachea
    assert -910 < value(scan, -75, 30, 20, 8) < -810  # lung
    assert -910 < value(scan, 75, 30, 20, 8) < -810
    assert 30 < value(scan, 25, -25, -80) < 60  # heart
    assert 30 < value(scan, 21, 44, -60) < 55  # descending aorta
    assert 45 < value(scan, -70, -10, -140) < 70  # liver
    x, y = (float(part) for part in person.spine.centre(person.spine.levels[7]))
    assert 90 < value(scan, x, y, person.spine.levels[7], 4) < 350  # cancellous bone
    assert scan.voxels.max() > 450  # cortical bone, blurred by coarse voxels
    fat = (scan.voxels > -125) & (scan.voxels < -80)
    muscle = (scan.voxels > 30) & (scan.voxels < 70)
    assert 0.04 < fat.mean() < 0.4
    assert 0.08 < muscle.mean() < 0.5


def test_lung_gets_denser_towards_the_back():
    scan = small(5.0, (-60.0, 20.0), thickness=1.0, noise=0.0)
    y = scan.origin[1] + np.arange(scan.voxels.shape[1]) * scan.spacing[1]
    lung = (scan.voxels < -780) & (scan.voxels > -920)
    front, back = (scan.voxels[lung & part[None, :, None]].mean() for part in ((y < -20), (y > 40)))
    assert back > front + 8


def test_five_slices_of_1_mm_average_to_the_slice_of_5_mm():
    thin = small(1.0, (-30.0, -20.0), seed=2)
    thick = small(5.0, (-30.0, -20.0), seed=2)
    mean = thin.voxels[3:8].astype(float).mean(axis=0)
    assert np.abs(mean - thick.voxels[1]).max() <= 1.0
    assert thick.voxels[1].std() > 100  # the two are not merely both empty


@pytest.mark.parametrize("thickness", [5.0, 2.5])
def test_thick_slices_average_thin_ones_as_the_acquisition_model_says(thickness):
    thin = small(0.5, (-31.25, -20.75))
    thick = small(4.0, (-26.0, -26.0), thickness=thickness)
    weights = sampling_matrix(Acquisition(thickness, 4.0), 1, 22, 0.5, first_thin=-5.25)[0]
    mean = np.tensordot(weights, thin.voxels.astype(float), axes=1)
    assert np.abs(mean - thick.voxels[0]).max() <= 1.0


def test_a_slice_does_not_depend_on_what_else_was_asked_for():
    long = small(2.0, (-40.0, -20.0))
    short = small(2.0, (-30.0, -26.0))
    np.testing.assert_array_equal(long.voxels[5:8], short.voxels)
    narrow = thorax((*COARSE, 2.0), z_range=(-30.0, -26.0), size_mm=(252.0, 196.0))
    offset = (np.array(narrow.origin) - short.origin) / short.spacing
    assert offset == pytest.approx(np.rint(offset))
    i, j = (round(part) for part in offset[:2])
    inner = narrow.voxels[:, 4:-4, 4:-4].astype(int)
    same = short.voxels[:, j + 4 : j + 4 + inner.shape[1], i + 4 : i + 4 + inner.shape[2]]
    assert np.abs(inner - same).max() <= 3
    assert (inner != same).mean() < 0.03


@pytest.mark.parametrize("spacing", [(0.8, 0.8, 1.0), (1.1, 1.1, 2.0), (0.9, 0.7, 0.6)])
def test_a_nodule_lies_where_the_anatomy_says_at_any_spacing(spacing):
    nodule = max((n for n in anatomy(0).nodules if n.kind == "solid"), key=lambda n: n.diameter)
    x, y, z = nodule.centre
    reach = 0.5 * nodule.diameter + 2.5
    # Start a fraction of a slice off, so that no slice is centred on the nodule by luck.
    scan = thorax(spacing, z_range=(z - reach - 2.3, z + reach + 2.0), noise=0.0)
    k, j, i = np.indices(scan.voxels.shape)
    place = np.stack([i, j, k], axis=-1) * scan.spacing + scan.origin
    near = np.linalg.norm(place - nodule.centre, axis=-1) < reach
    weights = np.clip(scan.voxels[near] + 700.0, 0, None)
    centre = (place[near] * weights[:, None]).sum(axis=0) / weights.sum()
    assert centre == pytest.approx((x, y, z), abs=0.35)
    volume = (weights / (700 + nodule.hu)).sum() * np.prod(spacing)
    assert volume == pytest.approx(np.pi / 6 * nodule.diameter**3, rel=0.3)


@pytest.mark.parametrize("pixel", [0.5, 1.3])
def test_a_nodule_alone_is_symmetric_about_its_centre(pixel):
    person = anatomy(1)
    grid = Grid(np.arange(-140, 140, pixel), np.arange(-110, 110, pixel))
    with_nodules, without = SectionPainter(person, grid), SectionPainter(replace(person, nodules=()), grid)
    nodule = next(n for n in person.nodules if n.kind == "ground glass")
    difference = with_nodules.hu(nodule.centre[2]) - without.hu(nodule.centre[2])
    box = grid.box(*(nodule.centre[0] + np.array((-9, 9))), *(nodule.centre[1] + np.array((-9, 9))))
    x, y = grid.sub(box)
    part = difference[box]
    assert part.max() > 150
    assert (part * x).sum() / part.sum() == pytest.approx(nodule.centre[0], abs=0.4)
    assert (part * y).sum() / part.sum() == pytest.approx(nodule.centre[1], abs=0.4)


def test_nodules_are_solid_and_ground_glass_of_3_to_12_mm():
    for seed in range(3):
        nodules = anatomy(seed).nodules
        assert {nodule.kind for nodule in nodules} == {"solid", "ground glass"}
        assert all(2.7 <= nodule.diameter <= 12.0 for nodule in nodules)
        assert all((nodule.hu > 0) == (nodule.kind == "solid") for nodule in nodules)


def test_the_same_seed_gives_the_same_scan_and_another_seed_another_person():
    first = small(5.0, (-20.0, -10.0), seed=5)
    anatomy.cache_clear()
    np.testing.assert_array_equal(first.voxels, small(5.0, (-20.0, -10.0), seed=5).voxels)
    other = small(5.0, (-20.0, -10.0), seed=6, noise=0.0)
    quiet = small(5.0, (-20.0, -10.0), seed=5, noise=0.0)
    assert (np.abs(other.voxels.astype(int) - quiet.voxels) > 200).mean() > 0.02


def test_geometry_is_world_coordinates_about_the_carina():
    scan = small(3.0, (-33.0, -20.0), thickness=4.0)
    assert scan.voxels.dtype == np.int16
    assert scan.voxels.shape[0] == 5
    assert scan.origin[2] == -33.0
    assert scan.thickness == 4.0
    assert scan.slice_axis == 2
    np.testing.assert_array_equal(scan.direction, np.eye(3))
    middle = scan.position((scan.voxels.shape[2] - 1) / 2, 0, 0)
    assert middle[0] == pytest.approx(0.0)
    # LPS: the heart leans to positive x, the spine lies at positive y.
    level = small(3.0, (-90.0, -90.0), noise=0.0)
    soft = (level.voxels[0] > 0) & (level.voxels[0] < 80)
    x = level.origin[0] + np.arange(soft.shape[1]) * level.spacing[0]
    y = level.origin[1] + np.arange(soft.shape[0]) * level.spacing[1]
    heart = soft & (np.abs(x) < 85)[None] & ((y > -75) & (y < 10))[:, None]
    assert (heart.sum(axis=0) * x).sum() / heart.sum() > 5
    bone = (level.voxels[0] > 250) & (np.abs(x) < 30)[None] & (y > -50)[:, None]
    assert (bone.sum(axis=1) * y).sum() / bone.sum() > 30


def test_noise_has_the_asked_deviation_and_averages_out_in_thick_slices():
    grid = Grid(np.arange(-80, 80, 0.7), np.arange(-70, 90, 0.7))
    noise = QuantumNoise(3, 20.0, 1.1, 0.5, grid)
    cells = [noise.cell(index) for index in range(10)]
    thin = noise.colour((cells[0] + cells[1]) / 2)
    thick = noise.colour(sum(cells) / 10)
    assert thin.std() == pytest.approx(20.0, rel=0.15)
    assert thick.std() == pytest.approx(thin.std() / np.sqrt(5), rel=0.1)
    # Correlated as a kernel makes it: neighbours alike, low frequencies suppressed.
    assert 0.1 < np.corrcoef(thin[:, 1:].ravel(), thin[:, :-1].ravel())[0, 1] < 0.9
    blocks = thin[:220, :220].reshape(11, 20, 11, 20).mean(axis=(1, 3))
    assert blocks.std() < 0.6 * thin.std() / 20 * 3


def test_a_sharper_kernel_shows_steeper_edges():
    steps = []
    for kernel in (0.7, 2.0):
        scan = thorax((0.7, 0.7, 1.0), z_range=(-25.0, -25.0), noise=0.0, kernel=kernel)
        steps.append(np.percentile(np.abs(np.diff(scan.voxels[0].astype(int), axis=1)), 99))
    assert steps[0] > 1.3 * steps[1]


def test_a_texture_has_unit_deviation_and_repeats_beyond_its_period():
    texture = Texture(np.random.default_rng(0), 3.0, 16)
    grid = Grid(np.arange(0, 48, 0.5), np.arange(0, 48, 0.5))
    section = texture.on(grid)
    planes = np.stack([section(z) for z in np.arange(0, 48, 1.0)])
    assert planes.std() == pytest.approx(1.0, rel=0.1)
    np.testing.assert_allclose(section(5.0), section(53.0), atol=1e-4)


def test_a_tree_is_connected_and_reaches_every_point():
    points = np.random.default_rng(1).uniform(-20, 20, (200, 3))
    tree = grow(points, (0, 0, 40), (0, 0, -1), np.random.default_rng(2))
    ends = {tuple(end) for end in tree.end}
    assert all(tuple(start) in ends for start in tree.start[1:])
    assert tree.load[0] == 200
    tips = tree.end[tree.load == 1]
    assert len(tips) == 200
    np.testing.assert_allclose(np.sort(tips[:, 0]), np.sort(points[:, 0]))


def test_memory_does_not_grow_with_the_number_of_slices():
    anatomy(0)

    def peak(slices):
        tracemalloc.start()
        volume = small(1.0, (-40.0, -40.0 + slices - 1))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest - volume.voxels.nbytes

    peak(2)
    assert peak(24) < 1.1 * peak(8)


@pytest.mark.parametrize("thickness", [1.0, 3.0, 7.0])
def test_only_sections_that_some_slice_shows_are_painted_and_each_once(monkeypatch, thickness):
    painted, paint = [], SectionPainter.hu
    monkeypatch.setattr(SectionPainter, "hu", lambda self, z: painted.append(z) or paint(self, z))
    small(5.0, (-60.0, -45.0), thickness=thickness, noise=0.0)
    every = np.arange(-70.25, -30.0, 0.5)
    shown = [z for z in every if np.abs(z - np.array([-60, -55, -50, -45])).min() < thickness / 2]
    assert painted == pytest.approx(shown)


@pytest.mark.parametrize("pixel", [0.7, 2.8])
def test_tubes_are_as_far_as_their_nearest_capsule(pixel):
    random = np.random.default_rng(0)
    ends = random.uniform(-25, 25, (2, 40, 3))
    radii = random.uniform(0.5, 6.0, (2, 40))
    grid = Grid(np.arange(-30, 30, pixel), np.arange(-30, 30, pixel))
    for z in (-20.0, 0.0, 7.3, 33.0):
        x, y = np.meshgrid(grid.x, grid.y)
        pixels = np.stack([x, y, np.full_like(x, z)], -1)[..., None, :] - ends[0]
        axis = ends[1] - ends[0]
        t = np.clip((pixels * axis).sum(-1) / (axis**2).sum(-1), 0, 1)
        expected = (
            np.linalg.norm(pixels - t[..., None] * axis, axis=-1) - radii[0] - t * (radii[1] - radii[0])
        )
        found = TubeLayer(Tubes.of(*ends, *radii), grid, reach=4.0).distance(z)
        np.testing.assert_allclose(found, np.minimum(expected.min(-1), 4.0), atol=1e-3)


def test_the_bundled_sample_is_what_the_code_makes():
    bundled = read_volume(SAMPLE)
    assert SAMPLE.stat().st_size < 3_000_000
    assert bundled.spacing == (1.0, 1.0, 5.0)
    z = bundled.origin[2] + 20 * 5.0
    made = thorax((1.0, 1.0, 5.0), **{**SCAN, "z_range": (z, z)})
    assert made.origin[:2] == pytest.approx(bundled.origin[:2])
    assert np.percentile(np.abs(bundled.voxels[20].astype(int) - made.voxels[0]), 99.9) <= 3


@pytest.mark.parametrize(
    "options",
    [
        {"spacing": (0.0, 1.0, 1.0)},
        {"spacing": (1.0, 1.0, -1.0)},
        {"thickness": float("nan")},
        {"seed": -1},
        {"noise": -2.0},
        {"kernel": 0.0},
        {"z_range": (0.0, 500.0)},
        {"z_range": (10.0, 0.0)},
        {"size_mm": (1.0, 300.0)},
    ],
)
def test_numbers_out_of_range_are_refused_with_one_line(options):
    with pytest.raises(UserError) as refusal:
        thorax(**{"spacing": (2.8, 2.8, 5.0), "z_range": (0.0, 5.0), **options})
    assert "\n" not in str(refusal.value)
