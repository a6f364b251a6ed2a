"""What bundled weights are trained on: scans, distilled crops, random acquisitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from Testing.make_dicom import ct_series, write_series
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.networks.tvsrn import window_for
from ThickToThinSRLib.volume import Volume
from training.bundled.distilled import DistilledScan, as_batch, distil, draw_crop, open_scans, thick_slices
from training.bundled.recipes import RECIPES
from training.bundled.scans import Scan, choose_scan, read_scan, scan_paths, weight_of
from training.bundled.sr4zct_planes import PLANES, SIDE, draw_batch
from training.bundled.sr4zct_planes import draw_acquisition as sr4zct_acquisition
from training.bundled.universal_pairs import CROP, draw_acquisition, with_fine_slices

from .bundled_data import FACTOR, noise_and_blocks, write_distilled_scan, write_thin_scan

pytestmark = pytest.mark.usefixtures("one_thread")
WINDOW = window_for(FACTOR)


# ---- scans -------------------------------------------------------------------------------------------------


def test_scans_of_a_folder_are_listed_by_name_without_those_left_out(tmp_path):
    for name in ("b.nii.gz", "a.nii.gz", "left_out.nii.gz", "other.txt", ".hidden.nii.gz"):
        (tmp_path / name).touch()
    (tmp_path / "c_dicom").mkdir()
    (tmp_path / ".cache").mkdir()
    assert [path.name for path in scan_paths(tmp_path, ["left"])] == ["a.nii.gz", "b.nii.gz"]
    both = scan_paths(tmp_path, ["left"], dicom=True)
    assert [path.name for path in both] == ["a.nii.gz", "b.nii.gz", "c_dicom"]
    with pytest.raises(UserError, match=r"no \.nii\.gz file to learn from"):
        scan_paths(tmp_path / "c_dicom")
    with pytest.raises(UserError, match=r"no \.nii\.gz file or DICOM folder to learn from"):
        scan_paths(tmp_path / "c_dicom", dicom=True)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_put_first_whatever_their_axis_in_the_file(tmp_path, axis):
    rng = np.random.default_rng(0)
    slices = rng.integers(-1000, 1000, (6, 8, 10)).astype(np.int16)  # along z, with pixels of 0.7 x 0.6 mm
    spacing = {"z": 2.0, "y": 0.6, "x": 0.7}
    order = {2: "zyx", 1: "yzx", 0: "yxz"}[axis]  # of the array's axes
    voxels = slices.transpose(["zyx".index(name) for name in order])
    volume = Volume(voxels, tuple(spacing[name] for name in reversed(order)))
    write_volume(volume, tmp_path / "scan.nii.gz")
    scan = read_scan(tmp_path / "scan.nii.gz", 0.3)
    np.testing.assert_array_equal(scan.voxels, slices)
    assert scan.spacing == pytest.approx((2.0, 0.6, 0.7))
    assert (scan.name, scan.weight, scan.in_plane_only) == ("scan", 0.3, False)


def test_a_folder_of_dicom_files_is_read_as_the_volume_file_is(tmp_path):
    voxels = noise_and_blocks((2, 3, 3))
    series = ct_series(voxels, (0.7, 0.7, 2.0), (0, 0, 0), np.eye(3), 2.0)
    write_series(series, tmp_path / "dicom")
    scan = read_scan(tmp_path / "dicom")
    np.testing.assert_array_equal(scan.voxels, voxels)
    assert scan.spacing == pytest.approx((2.0, 0.7, 0.7))


def test_a_volume_of_one_slice_is_refused(tmp_path):
    write_volume(Volume(np.zeros((1, 8, 8), np.int16), (0.7, 0.7, 2.0)), tmp_path / "one.nii.gz")
    with pytest.raises(UserError, match=r"a volume of \(1, 8, 8\) voxels is too small to learn from"):
        read_scan(tmp_path / "one.nii.gz")


def test_a_scan_is_drawn_as_often_as_its_weight_says():
    weights = {"phantom": 0.3}
    assert (weight_of("a_phantom.nii.gz", weights), weight_of("chest", weights)) == (0.3, 1.0)
    scans = [
        Scan(name, np.zeros((2, 2, 2)), (1, 1, 1), weight_of(name, weights)) for name in ("x", "phantom")
    ]
    generator = np.random.default_rng(0)
    drawn = [choose_scan(scans, generator).name for _ in range(2000)]
    assert drawn.count("phantom") / 2000 == pytest.approx(0.3 / 1.3, abs=0.03)


def test_thick_slices_are_interpolated_for_in_plane_use_and_thin_ones_stay(tmp_path):
    thin = Scan("thin", noise_and_blocks((2, 2, 2)), (1.5, 0.7, 0.7), 0.4)
    assert with_fine_slices(thin) is thin
    thick = replace(thin, spacing=(2.5, 0.7, 0.7))
    fine = with_fine_slices(thick)
    assert fine.spacing == pytest.approx((2.5 / 3, 0.7, 0.7))
    assert fine.voxels.shape == (28, 16, 16)
    assert fine.in_plane_only
    assert fine.weight == 0.4
    # Contiguous slices of 2.5 mm: each is the mean of the three fine ones around it.
    inner = fine.voxels.astype(np.float64)
    means = (inner[2:-3:3] + inner[3:-2:3] + inner[4:-1:3]) / 3
    assert np.abs(means - thick.voxels[1:-1]).max() < 2


def test_universal_uses_overlapping_slices_in_plane_only(tmp_path):
    write_thin_scan(tmp_path / "chest_2mm_every_1mm.nii.gz", (2, 2, 2))
    write_thin_scan(tmp_path / "chest_1mm.nii.gz", (2, 2, 2))
    source = RECIPES["universal_first"].source(tmp_path, [])
    assert source.names == ["chest_1mm", "chest_2mm_every_1mm"]
    assert [scan.in_plane_only for scan in source.scans] == [False, True]
    assert [scan.weight for scan in source.scans] == [1.0, 0.4]


# ---- random acquisitions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("settling", [False, True])
def test_acquisitions_of_universal_lie_in_the_ranges_of_its_card(settling):
    generator = np.random.default_rng(0)
    drawn = [draw_acquisition(generator, 0.8, settling) for _ in range(3000)]
    thickness, spacing = (np.array([getattr(a, key) for a in drawn]) for key in ("thickness", "spacing"))
    assert thickness.min() >= 1.5
    assert thickness.max() <= 8
    assert spacing.min() >= 0.8
    assert spacing.max() <= 8
    contiguous, gapped = np.isclose(thickness, spacing), thickness < spacing - 1e-6
    assert 0.35 < contiguous.mean() < 0.65
    assert 0.3 * gapped.mean() > 0 and gapped.mean() < 0.25
    shares = [np.mean([a.profile == name for a in drawn]) for name in ("box", "gaussian", "trapezoid")]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.04)


def test_acquisitions_of_sr4zct_lie_in_the_ranges_of_its_card():
    generator = np.random.default_rng(0)
    trained = RECIPES["sr4zct_unet"].card["trained"]
    drawn = [sr4zct_acquisition(generator) for _ in range(3000)]
    for key in ("thickness", "spacing"):
        values = [getattr(acquisition, key) for acquisition, _, _ in drawn]
        low, high = trained[key]
        assert low <= min(values) < low + 0.3
        assert high - 0.3 < max(values) <= high
    targets = [target for _, _, target in drawn]
    assert 0.6 <= min(targets) < max(targets) <= 1.6
    told = [known / acquisition.thickness for acquisition, known, _ in drawn]
    assert 0.9 <= min(told) < max(told) <= 1.1
    assert np.mean([ratio == 1 for ratio in told]) == pytest.approx(0.75, abs=0.04)


def test_a_batch_of_universal_has_the_layout_that_the_network_reads(tmp_path):
    write_thin_scan(tmp_path / "chest.nii.gz")
    source = RECIPES["universal_first"].source(tmp_path, [])
    batch = source.batch(np.random.default_rng(0), 0, False)
    assert batch["channels"].shape == (4, 2, 10, CROP, CROP)
    assert batch["correction"].shape[2:] == (CROP, CROP)
    assert all(bool(torch.isfinite(value).all()) for value in batch.values())


def test_what_sr4zct_should_predict_leads_from_the_interpolation_to_the_truth():
    """Planes of a scan that does not change along its rows are restored by the interpolation alone."""
    columns = np.random.default_rng(0).integers(-600, 600, 230).astype(np.int16)
    # Constant along z and y, so that coronal planes, and axial ones degraded along y, have constant rows.
    voxels = np.broadcast_to(columns, (230, 230, 230))
    generator = np.random.default_rng(3)
    constant = 0
    for _ in range(8):
        batch = draw_batch([Scan("x", voxels, (0.8, 0.8, 0.8))], generator)
        assert batch["planes"].shape == (PLANES, 6, SIDE, SIDE)
        assert batch["difference"].shape == (PLANES, 1, SIDE, SIDE)
        size = batch["difference"].abs().amax(dim=(1, 2, 3))
        flat = batch["planes"][:, 0].diff(dim=1).abs().amax(dim=(1, 2)) < 1e-5
        assert (size[flat] < 1e-3).all()
        constant += int(flat.sum())
        assert (size[~flat] > 0.1).all()
    assert 0 < constant < 8 * PLANES


# ---- distilled crops ---------------------------------------------------------------------------------------


@pytest.fixture
def scan(tmp_path):
    """A scan whose teacher knows the truth."""
    write_distilled_scan(tmp_path / "exact")
    (opened,) = open_scans(tmp_path, {}, [])
    return opened


def drawn(scan, seed, from_teacher=False, side=24):
    return draw_crop([scan], WINDOW, side, np.random.default_rng(seed), from_teacher)


@pytest.mark.parametrize("seed", range(12))
def test_a_thick_slice_is_the_mean_of_the_five_thin_ones_around_it(scan, seed):
    thick, thin = drawn(scan, seed)
    assert thick.shape == (4, 24, 24)
    assert thin.shape == (10, 24, 24)
    # The predicted thin slices are those around the two thick slices in the middle.
    for slice_, around in ((thick[1], thin[:5]), (thick[2], thin[5:])):
        np.testing.assert_array_equal(slice_, np.rint(around.astype(np.float32).mean(axis=0)))


@pytest.mark.parametrize("seed", range(12))
def test_teacher_and_truth_are_the_same_place(scan, seed):
    (thick, truth), (thick_again, taught) = (
        drawn(scan, seed, from_teacher) for from_teacher in (False, True)
    )
    np.testing.assert_array_equal(thick, thick_again)
    np.testing.assert_array_equal(truth, taught)
    biased = replace(scan, teacher={phase: values + 7 for phase, values in scan.teacher.items()})
    np.testing.assert_array_equal(drawn(biased, seed, True)[1], truth + 7)
    np.testing.assert_array_equal(drawn(biased, seed, False)[1], truth)


def test_crops_come_from_all_phases_and_orientations_and_from_the_scan(scan):
    voxels = np.arange(45 * 24 * 24, dtype=np.int32).reshape(45, 24, 24)
    numbered = DistilledScan(
        "numbered", voxels, {phase: voxels[phase : phase + 36] for phase in range(2, 7)}, FACTOR
    )
    firsts, orientations = set(), set()
    for seed in range(400):
        thin = draw_crop([numbered], WINDOW, 24, np.random.default_rng(seed), False)[1]
        z, y, x = np.unravel_index(thin, voxels.shape)
        corners = [(int(y[0, 0, column]), int(x[0, 0, column])) for column in (0, -1)]
        orientations.add((bool(z[0, 0, 0] < z[-1, 0, 0]), *corners))
        firsts.add(int(z.min()))
    # Phases 2 to 6 and several thick slices to begin at; the first predicted slice is three further.
    assert firsts == set(range(2 + 3, 45 - 10 - 4 - 1))
    assert len(orientations) == 16, "flips along three axes, and transposition"


def test_a_batch_is_clipped_to_the_networks_window():
    thick, thin = np.full((4, 8, 8), -3000, np.int16), np.full((10, 8, 8), 3000, np.int16)
    batch = as_batch([(thick, thin)])
    assert batch["thick"].shape == (1, 1, 4, 8, 8)
    assert batch["thin"].shape == (1, 1, 10, 8, 8)
    assert set(batch["thick"].unique().tolist()) == {0.0}
    assert set(batch["thin"].unique().tolist()) == {1.0}


def test_the_teacher_is_replaced_by_the_truth_in_the_settling_steps(tmp_path):
    write_distilled_scan(tmp_path / "off", error=50)
    source = RECIPES["tvsrn_warm"].source(tmp_path, [])
    (level,), (settling,) = (
        [as_batch([draw_crop(source.scans, WINDOW, side, np.random.default_rng(0), taught)])["thin"]]
        for side, taught in ((32, True), (64, False))
    )
    assert torch.equal(source.batch(np.random.default_rng(0), 0, False)["thin"], level)
    assert torch.equal(source.batch(np.random.default_rng(0), 17_500, True)["thin"], settling)
    assert source.batch(np.random.default_rng(0), 8000, False)["thin"].shape[-1] == 48


def test_a_scan_that_is_too_short_is_named(scan):
    short = replace(scan, teacher={2: scan.teacher[2][:11]})
    with pytest.raises(UserError, match="exact: 3 thick slices; the network reads 4"):
        drawn(short, 0)


def test_distilled_scans_are_found_by_name(tmp_path):
    for name in ("a", "phantom", "rider"):
        write_distilled_scan(tmp_path / name)
    scans = open_scans(tmp_path, {"phantom": 0.3}, ["rider"])
    assert [(scan.name, scan.weight) for scan in scans] == [("a", 1.0), ("phantom", 0.3)]
    with pytest.raises(UserError, match="no distilled scans"):
        open_scans(tmp_path / "a", {}, [])


def test_distilling_writes_the_truth_and_what_the_teacher_makes_of_each_phase(tmp_path, monkeypatch):
    asked = []

    def enhanced(thick, teacher, spacing):
        """The teacher repeats the nearest thick slice."""
        asked.append((np.array(thick.voxels), thick.spacing, teacher, spacing))
        thin = FACTOR * (len(thick.voxels) - 1) + 1
        return thick.voxels[(np.arange(thin) + 2) // FACTOR]

    monkeypatch.setattr("training.bundled.distilled._enhanced", enhanced)
    write_thin_scan(tmp_path / "chest.nii.gz", (5, 2, 2))
    distil(tmp_path / "chest.nii.gz", tmp_path / "teacher", tmp_path / "out", FACTOR)
    (scan,) = open_scans(tmp_path / "out", {}, [])
    truth = read_scan(tmp_path / "chest.nii.gz").voxels
    np.testing.assert_array_equal(scan.truth, truth)
    assert (scan.name, scan.factor, list(scan.teacher)) == ("chest", 5, [2, 3, 4, 5, 6])
    for phase, (thick, spacing, _, thin_spacing) in zip(scan.teacher, asked, strict=True):
        assert (spacing, thin_spacing) == ((pytest.approx(0.7), pytest.approx(0.7), 5.0), 1.0)
        np.testing.assert_array_equal(thick, thick_slices(truth, FACTOR, phase))
        expected = np.rint(truth[phase - 2 : phase + 3].astype(np.float64).mean(axis=0))
        np.testing.assert_array_equal(scan.teacher[phase][0], expected)
