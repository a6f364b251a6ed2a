"""Blocks of thick slices with the mean of several networks' results, and training on them."""

from __future__ import annotations

import numpy as np
import pytest

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.consistency import measure
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.weights.bundled import bundled_for
from training.bundled import taught_blocks
from training.bundled.recipes import RECIPES
from training.bundled.recipes.universal import draw_pair
from training.bundled.scans import Scan
from training.bundled.shapes import draw_shapes
from training.bundled.taught import TaughtBlock, in_hu, read_block
from training.bundled.trainer import begin

from .bundled_data import noise_and_blocks, write_thin_scan

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def scan():
    return Scan("lidc_thin", noise_and_blocks((30, 25, 25)), (1.0, 0.7, 0.7))


@pytest.fixture
def box(monkeypatch):
    """The acquisition that is drawn: 5 mm slices every 3 mm with a box profile, as stated."""
    acquisition = Acquisition(5.0, 3.0)
    monkeypatch.setattr(taught_blocks, "draw_acquisition", lambda *_, **__: acquisition)
    monkeypatch.setattr(taught_blocks, "assumed_thickness", lambda acquisition, *_: acquisition.thickness)
    monkeypatch.setattr(taught_blocks, "as_other_scanners", lambda voxels, _: voxels)
    monkeypatch.setattr(taught_blocks, "chosen_axis", lambda *_: 0)
    monkeypatch.setattr(taught_blocks, "_SIDE", 144)
    return acquisition


def drawn(scan):
    return taught_blocks.draw_taught([scan], np.random.default_rng(0), bundled_for("universal").path)


def test_a_block_is_consistent_and_its_teachers_are_nearer_to_the_truth_than_each_alone(scan, box):
    block = drawn(scan)
    assert block.thick.shape == (13, 144, 144)
    assert block.truth.shape == block.taught.shape == (37, 144, 144)
    whole = measure(block.truth, block.thick, box, block.step)
    assert whole.mean < 0.5, "the thick slices are those of the truth, but for rounding"
    assert measure(block.taught, block.thick, box, block.step).mean < 0.01
    inner = np.s_[8:-8, 16:-16, 16:-16]
    error = np.square(block.taught - block.truth)[inner].mean()
    linear = np.stack([np.interp(np.arange(37), 3 * np.arange(13), np.eye(13)[k]) for k in range(13)], 1)
    interpolated = np.tensordot(linear.astype(np.float32), block.thick, axes=1)
    assert error < 0.7 * np.square(interpolated - block.truth)[inner].mean()


def test_a_block_comes_back_from_its_file(scan, box, tmp_path):
    block = drawn(scan)
    block.save(tmp_path / "block_0000.npz")
    again = read_block(tmp_path / "block_0000.npz")
    assert (again.assumed, again.step, again.pixel) == (block.assumed, block.step, block.pixel)
    for name in ("thick", "truth", "taught"):
        assert np.abs(in_hu(getattr(again, name)) - getattr(block, name)).max() <= 1 / 16 + 1e-3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shapes_are_smooth_bodies_with_edges_as_thick_slices_see_them(seed):
    block = draw_shapes(np.random.default_rng(seed), 60.0, 96)
    count = len(block.voxels)
    assert block.voxels.shape == (count, 96, 96)
    assert block.first == pytest.approx(-block.step * (count - 1) / 2)
    assert 60 <= (count - 1) * block.step < 62
    assert -1100 < block.voxels.min() < block.voxels.max() < 1100
    steps = np.abs(np.diff(block.voxels, axis=0))
    assert np.median(steps) < 8, "inside bodies there is hardly any noise"
    assert steps.max() > 60, "and there are edges"
    made = taught_blocks.draw_shaped(np.random.default_rng(seed))
    assert made.truth is made.taught
    if made.assumed.spacing >= 3:
        places = np.rint(np.arange(12) * made.assumed.spacing / made.step).astype(int)
        apart = np.abs(made.truth[places] - made.thick[:12]).mean()
        assert apart < 60, "thick and thin slices lie at the same place"


def flat(thick, truth, taught):
    """A block of 13 slices, 5 mm thick, and 61 thin ones, each of one value."""
    values = ((13, thick), (61, truth), (61, taught))
    arrays = [np.full((count, 144, 144), 8 * value, np.int16) for count, value in values]
    return TaughtBlock(*arrays, assumed=Acquisition(5, 5), step=1.0, pixel=0.7)


def test_a_pairs_target_is_the_taught_slices_with_a_share_of_the_truth():
    pair = draw_pair(flat(100, 200, 300), np.random.default_rng(0))
    # Seven tenths of 300 and three of 200, less the interpolation, 100, in units of 153.6 HU.
    assert pair.correction == pytest.approx(170 / 153.6, abs=1e-4)
    assert pair.channels.shape == (2, 10, 96, 96)
    assert set(np.round(pair.positions, 6)) == {0, 0.2, 0.4, 0.6, 0.8, 1}


def test_targets_and_thick_slices_lie_at_the_same_place():
    # A ramp along z is its own average: the interpolation is right, so nothing is to be corrected.
    ramp = [
        np.broadcast_to((8 * step * np.arange(count))[:, None, None], (count, 144, 144)).astype(np.int16)
        for count, step in ((13, 25), (61, 5), (61, 5))
    ]
    block = TaughtBlock(*ramp, assumed=Acquisition(5, 5), step=1.0, pixel=0.7)
    for seed in range(5):
        assert np.abs(draw_pair(block, np.random.default_rng(seed)).correction).max() < 0.01


def test_an_interrupted_command_goes_on_and_training_begins_with_the_teacher(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(taught_blocks, "_SIDE", 144)
    monkeypatch.setattr(taught_blocks, "_SHAPED_EVERY", 2)
    scans, blocks, teacher = tmp_path / "scans", tmp_path / "blocks", bundled_for("universal")
    scans.mkdir()
    write_thin_scan(scans / "lidc_thin.nii.gz", (30, 25, 25))
    command = ["", str(blocks), "--data", str(scans), "--teacher", str(teacher.path), "--threads", "1"]
    for count in ("1", "2"):
        monkeypatch.setattr("sys.argv", [*command, "--count", count])
        taught_blocks.main()
    assert capsys.readouterr().out.splitlines() == ["block_0000.npz of 1", "block_0001.npz of 2"]
    write_thin_scan(scans / "rider_thin.nii.gz", (4, 4, 4))
    with pytest.raises(UserError, match="of another teacher or of other scans"):
        taught_blocks.main()
    recipe = RECIPES["universal"]
    source = recipe.source(blocks, [])
    assert (source.names, len(source.blocks)) == (["lidc_thin"], 2)
    scan, shapes = source.blocks
    assert not np.array_equal(scan.truth, scan.taught)
    assert np.array_equal(shapes.truth, shapes.taught), "the second block shows shapes and needs no teacher"
    weights = begin(recipe, source, 0).network.state_dict()
    for key, value in teacher.load().state_dict().items():
        assert np.array_equal(weights[key], value)
    learned = {key: value + 1 for key, value in weights.items()}
    for key, value in recipe.finish(learned, source).items():
        np.testing.assert_allclose(value, weights[key] + 0.5, atol=1e-6)
    with pytest.raises(UserError, match="left out when blocks are made"):
        recipe.source(blocks, ["lidc"])
    with pytest.raises(UserError, match="no blocks; make them by"):
        recipe.source(scans, [])


def test_another_teacher_shows_other_places(tmp_path, monkeypatch):
    drawn = []

    def draw(scans, generator, teacher):
        drawn.append(generator.random())
        return flat(0, 0, 0)

    monkeypatch.setattr(taught_blocks, "draw_taught", draw)
    write_thin_scan(tmp_path / "lidc_thin.nii.gz", (30, 25, 25))
    for number in (1, 2):
        teacher = tmp_path / f"teacher{number}"
        teacher.write_bytes(bytes([number]))
        command = [str(tmp_path / f"blocks{number}"), "--data", str(tmp_path), "--teacher", str(teacher)]
        monkeypatch.setattr("sys.argv", ["", *command, "--count", "2"])
        taught_blocks.main()
    assert len(set(drawn)) == 4, "a block that was drawn before"
