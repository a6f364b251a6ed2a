"""Input that no enhancement can make sense of, and input that is likely a slip: said before the work."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.command_line import SUFFIXES, expect_refusal, write
from Testing.volumes import some_hu
from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.enhance import enhance_volume, plan_for
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.evaluation.comparison import compare
from ThickToThinSRLib.evaluation.metrics import check_input
from ThickToThinSRLib.inspection.warnings import find_warnings
from ThickToThinSRLib.interpolation import interpolation_matrix, linear_matrix
from ThickToThinSRLib.io.volume_files import read_volume
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume, slice_count

# NumPy warns of numbers that the library should have refused or handled before.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
CONSISTENT = Settings(method="consistent", spacing=1.0)

# ---- one slice -----------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_is_refused_along_every_axis(axis):
    shape = [8, 8, 8]
    shape[2 - axis] = 1
    spacing = [0.7, 0.7, 0.7]
    spacing[axis] = 5.0
    with pytest.raises(UserError, match=f"one slice along {'ijk'[axis]}.*two are the least"):
        plan_for(Volume(some_hu(shape), tuple(spacing)), CONSISTENT)
    shape[2 - axis] = 2
    assert plan_for(Volume(some_hu(shape), tuple(spacing)), CONSISTENT).request.axis == axis


@pytest.mark.parametrize("method", ["interpolation", "consistent", "universal"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_one_slice_is_refused_by_its_name(tmp_path, capfd, suffix, method):
    source = write(tmp_path / f"a{suffix}", some_hu((1, 8, 9)))
    line = expect_refusal(capfd, tmp_path, "enhance", source, tmp_path / "b.nii", "--method", method)
    assert f"{source}: has one slice along k" in line


# ---- lengths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spacing", "words"),
    [
        ((700.0, 700.0, 5000.0), "slices every 5000 mm"),
        ((0.0007, 0.0007, 0.005), "slices every 0.005 mm"),
        ((0.0007, 0.0007, 5.0), "voxels of 0.0007 x 0.0007 x 5 mm"),
        ((0.7, 0.7, 101.0), "slices every 101 mm"),
        ((1e30, 1.0, 1.0), "slices every 1e[+]30 mm"),
        ((700.0, 700.0, 5.0), "voxels of 700 x 700 x 5 mm|slices every"),
    ],
)
def test_an_absurd_spacing_is_refused_by_its_number(spacing, words):
    with pytest.raises(UserError, match=words):
        plan_for(Volume(some_hu(), spacing), CONSISTENT)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_with_an_absurd_spacing_is_refused_by_its_name_not_for_its_memory(tmp_path, capfd, suffix):
    source = write(tmp_path / f"a{suffix}", spacing=(700.0, 700.0, 5000.0))
    line = expect_refusal(capfd, tmp_path, "enhance", source, tmp_path / "b.nii")
    assert f"{source}: slices every 5000 mm" in line
    assert "GiB" not in line


@pytest.mark.parametrize("axis", [-1, 3, 7, 1.5])
def test_a_slice_axis_that_is_none_is_one_clear_error(axis):
    with pytest.raises(UserError, match="slice axis must be 0, 1 or 2"):
        Volume(some_hu(), (1, 1, 5), slice_axis=axis)


# ---- the last slice ------------------------------------------------------------------------------


@pytest.mark.parametrize("slices", [2, 12, 64, 301, 999])
@pytest.mark.parametrize("factor", [2, 3, 5, 7])
@pytest.mark.parametrize("spacing", [0.3, 0.7, 1.25, 10 / 3, 3.3, 5.0, 7.5, 10.0])
def test_the_last_slice_is_not_lost_to_rounding(spacing, factor, slices):
    """Spacings in single precision, in metres, in micrometres, with six digits, along a turned axis."""
    turned = np.float32(0.6) * np.float32(spacing), np.float32(0.8) * np.float32(spacing)
    for stored in (
        float(np.float32(spacing)),
        1e3 * float(np.float32(spacing / 1e3)),
        1e-3 * float(np.float32(spacing * 1e3)),
        float(f"{spacing:.6g}"),
        spacing * np.cos(np.deg2rad(0.05)),
        float(np.hypot(*turned)),
    ):
        for target in (spacing / factor, float(np.float32(spacing / factor))):
            assert slice_count(slices, stored, target) == (slices - 1) * factor + 1, (stored, target)


@pytest.mark.parametrize(
    ("slices", "spacing", "target", "count"), [(12, 4.999, 1, 55), (100, 4.9999, 1, 495)]
)
def test_a_spacing_that_is_truly_shorter_has_one_slice_less(slices, spacing, target, count):
    assert slice_count(slices, spacing, target) == count


@pytest.mark.parametrize("method", ["interpolation", "consistent", "universal"])
def test_a_last_slice_behind_the_end_by_rounding_has_the_right_values(method):
    ramp = np.linspace(-500, 600, 12)[:, None, None] * np.ones((1, 8, 8))
    volume = Volume(ramp.astype(np.float32), (0.7, 0.7, 4.99999))
    thin, _ = enhance_volume(volume, Settings(method=method, spacing=1.0))
    assert thin.voxels.shape[0] == 56
    exact, _ = enhance_volume(Volume(volume.voxels, (0.7, 0.7, 5.0)), Settings(method=method, spacing=1.0))
    assert np.abs(thin.voxels - exact.voxels).max() < 0.1
    for matrix in (interpolation_matrix, linear_matrix):
        assert np.allclose(matrix(12, 4.99999, 56, 1.0).sum(axis=1), 1)


# ---- warnings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thickness", "warned"),
    [(0.5, True), (0.05, True), (0.75, True), (1.0, False), (5.0, False), (50.0, False)],
)
def test_a_thickness_of_a_tenth_of_the_spacing_is_doubted(thickness, warned):
    volume = Volume(some_hu(), (0.7, 0.7, 5.0))
    lines = list(find_warnings(volume, "hu", Acquisition(thickness, 5.0), None))
    assert any("centimetres" in line for line in lines) == warned


def test_the_doubt_reaches_the_user_and_the_provenance(tmp_path, capfd):
    source = write(tmp_path / "a.nii")
    arguments = [
        "enhance",
        str(source),
        str(tmp_path / "b.nii"),
        "--method",
        "consistent",
        "--thickness",
        "0.5",
    ]
    assert main(arguments) == 0
    assert "is the thickness in centimetres?" in capfd.readouterr().err
    assert "centimetres" in (tmp_path / "b.nii.provenance.json").read_text()


def test_notes_and_warnings_of_a_source_reach_the_monitor():
    monitor = Monitor()
    source = {"notes": ["a note"], "warnings": ["a warning"]}
    _, report = enhance_volume(Volume(some_hu(), (0.7, 0.7, 5.0), source=source), CONSISTENT, monitor)
    assert "a note" in report["notes"]
    assert "a warning" in report["warnings"]


@pytest.mark.parametrize("value", [1e39, -1e300, np.inf, np.nan, 9e29])
def test_numpy_says_nothing_before_an_error(tmp_path, capfd, value):
    voxels = some_hu(dtype=np.float64)
    voxels[2, 3, 4] = value
    source = write(tmp_path / "a.nrrd", voxels, spacing=(0.7, 0.8, 5.0))
    main(["enhance", str(source), str(tmp_path / "b.nii"), "--method", "interpolation"])
    assert "RuntimeWarning" not in capfd.readouterr().err


# ---- the other commands --------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [(100, 0, 0), (0, -100, 0), (0, 0, 1000)])
def test_volumes_that_do_not_overlap_are_not_compared(tmp_path, shift):
    here = Volume(some_hu((12, 12, 12)), (3.0, 3.0, 3.0))
    there = Volume(here.voxels, here.spacing, shift)
    with pytest.raises(UserError, match="second and first do not overlap"):
        compare([("first", here), ("second", there)], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
    beside = Volume(here.voxels, here.spacing, tuple(np.multiply(0.02, shift)))
    compare([("first", here), ("second", beside)], tmp_path / "a.png")


@pytest.mark.parametrize(
    ("slices", "spacing"),
    [(11, 0.5), (12, 0.5), (51, 0.1), (7, 1.0)],
)
def test_a_thick_file_that_is_finer_than_the_estimate_is_refused(slices, spacing):
    thick, estimate = (
        Volume(some_hu((n, 8, 9)), (0.7, 0.7, s), slice_axis=2) for n, s in ((slices, spacing), (6, 1.0))
    )
    with pytest.raises(UserError, match="not the estimate's input: it has"):
        check_input(thick, estimate, 2)
    check_input(Volume(some_hu((2, 8, 9)), (0.7, 0.7, 5.0)), estimate, 2)


def test_metrics_refuses_reference_and_thick_the_wrong_way_round(tmp_path, capfd):
    thick = write(tmp_path / "thick.nii", some_hu((12, 24, 24)))
    thin = tmp_path / "thin.nii"
    assert main(["enhance", str(thick), str(thin), "--method", "interpolation", "--progress", "none"]) == 0
    line = expect_refusal(capfd, tmp_path, "metrics", thick, thick, "--thick", thin)
    assert "it has 56 slices every 1 mm" in line
    assert main(["metrics", str(thin), str(thin), "--thick", str(thick)]) == 0


def test_geometry_is_kept_where_nothing_is_wrong(tmp_path):
    """Straight axes are not touched, not even in the last digit."""
    volume = read_volume(write(tmp_path / "a.nrrd"))
    assert np.array_equal(volume.direction, np.eye(3))
    assert volume.spacing == (0.7, 0.8, 5.0)
