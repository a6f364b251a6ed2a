"""Data sets: their layouts, intensity scales, damaged files, arrays mapped into memory."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from Testing.make_dicom import ct_series, write_series
from Testing.training.runs import quiet_prepare, write_pair
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.intensity import to_hu
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.volume import Volume
from training.data.cases import cases_of, find_cases
from training.data.pseudo import pseudo_pair
from training.prepare import main as prepare


def test_the_layout_of_rplhr_ct_is_indexed(published):
    layout, cases = find_cases(published)
    assert layout == "rplhr"
    assert [(case.split, case.name) for case in cases] == [
        ("train", "CT1"), ("train", "CT2"), ("val", "CT1"), ("test", "CT1"), ("test", "CT2"),
    ]  # fmt: skip
    pair = cases[0].read()
    assert pair.scales == ("unit", "unit")
    assert pair.thin.voxels.shape == (21, 32, 32)
    assert pair.thin.voxels.dtype == np.int16
    assert -1024 <= pair.thin.voxels.min() < -900


def test_the_paired_layout_in_hu_gives_the_same_arrays(published, prepared, tmp_path, capfd):
    split = {}
    for case in find_cases(published)[1]:
        name = f"{case.split}_{case.name}"
        split.setdefault(case.split, []).append(f"{name}.nii.gz")
        for folder, path in (("HD_5mm", case.thick), ("HD_1mm", case.thin)):
            (tmp_path / "paired" / folder).mkdir(parents=True, exist_ok=True)
            unit = read_volume(path)
            hu = np.rint(to_hu(unit.voxels)).astype(np.int16)
            volume = Volume(hu, unit.spacing, unit.origin, unit.direction)
            write_volume(volume, tmp_path / "paired" / folder / f"{name}.nii.gz")
    (tmp_path / "paired" / "split.json").write_text(json.dumps(split))
    assert find_cases(tmp_path / "paired")[0] == "paired"
    quiet_prepare(tmp_path / "paired", tmp_path / "out")
    assert "(intensity HU)" in capfd.readouterr().out
    for one, other in zip(find_cases(prepared)[1], find_cases(tmp_path / "out")[1], strict=True):
        assert f"{one.split}_{one.name}" == other.name
        for kind in ("thick", "thin"):
            a, b = (getattr(case.read(), kind) for case in (one, other))
            np.testing.assert_array_equal(a.voxels, b.voxels)
            assert a.spacing == pytest.approx(b.spacing)


def test_each_scale_is_found_for_itself_and_said(published, tmp_path, capfd):
    case = find_cases(published)[1][0]
    thick, thin = read_volume(case.thick), read_volume(case.thin)
    hu = Volume(np.rint(to_hu(thick.voxels)).astype(np.int16), thick.spacing, thick.origin, thick.direction)
    write_pair(tmp_path / "mixed", hu, thin)
    quiet_prepare(tmp_path / "mixed", tmp_path / "out")
    assert "(intensity thick HU, thin [0, 1])" in capfd.readouterr().out


def test_a_case_may_be_a_folder_of_dicom_files(published, prepared, tmp_path):
    case = find_cases(published)[1][0]
    for kind, path, thickness in (("5mm", case.thick, 5.0), ("1mm", case.thin, 1.0)):
        scan = read_volume(path)
        hu = np.rint(to_hu(scan.voxels)).astype(np.int16)
        series = ct_series(hu, scan.spacing, scan.origin, scan.direction, thickness)
        write_series(series, tmp_path / "dicom" / "train" / kind / "CT1")
    quiet_prepare(tmp_path / "dicom", tmp_path / "out")
    one, other = cases_of(prepared, "train")[0].read(), cases_of(tmp_path / "out", "train")[0].read()
    np.testing.assert_array_equal(one.thin.voxels, other.thin.voxels)
    np.testing.assert_array_equal(one.thick.voxels, other.thick.voxels)


def test_slices_along_another_axis_of_the_files_are_put_first(published, tmp_path):
    case = find_cases(published)[1][0]
    whole = case.read()
    for kind, path in (("5mm", case.thick), ("1mm", case.thin)):
        scan = read_volume(path)
        turned = Volume(
            np.ascontiguousarray(scan.voxels.transpose(1, 2, 0)),  # (z, y, x) -> (y, x, z): slices along i
            (scan.spacing[2], scan.spacing[0], scan.spacing[1]),
            scan.origin,
            scan.direction[:, [2, 0, 1]],
        )
        (tmp_path / "train" / kind).mkdir(parents=True)
        write_volume(turned, tmp_path / "train" / kind / "CT1.nii.gz")
    read = cases_of(tmp_path, "train")[0].read()
    for kind in ("thick", "thin"):
        a, b = getattr(whole, kind), getattr(read, kind)
        np.testing.assert_array_equal(a.voxels, b.voxels)
        assert a.spacing == pytest.approx(b.spacing)
        np.testing.assert_allclose(a.direction, b.direction, atol=1e-6)


def test_bad_cases_are_named_or_left_out(published, tmp_path, capfd):
    data = tmp_path / "data"
    shutil.copytree(published, data)
    damaged = data / "train" / "5mm" / "CT2.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    command = ["folder", str(data), str(tmp_path / "out"), "--workers", "1"]
    assert prepare(command) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "case CT2" in error
    assert "CT2.nii.gz" in error
    assert not (tmp_path / "out" / "index.json").exists()
    assert prepare([*command, "--skip-bad"]) == 0
    assert [case.name for case in cases_of(tmp_path / "out", "train")] == ["CT1"]


def test_missing_partners_and_unknown_layouts_are_refused(published, tmp_path):
    shutil.copytree(published, tmp_path / "data")
    (tmp_path / "data" / "val" / "1mm" / "CT1.nii.gz").unlink()
    with pytest.raises(UserError, match="CT1 is missing in 1mm"):
        find_cases(tmp_path / "data")
    with pytest.raises(UserError, match="no known layout"):
        find_cases(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        find_cases(tmp_path / "absent")
    for folder in ("HD_1mm", "HD_5mm"):
        (tmp_path / folder).mkdir()
    with pytest.raises(UserError, match="needs a JSON file with the lists train, val and test"):
        find_cases(tmp_path)
    (tmp_path / "split.json").write_text('{"train": ["a"], "val": [], "test": []}')
    with pytest.raises(UserError, match="case a of split 'train' is missing in HD_5mm"):
        find_cases(tmp_path)


def test_a_case_in_two_splits_is_refused(tmp_path):
    for folder in ("HD_1mm", "HD_5mm"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.nii.gz").touch()
    (tmp_path / "split.json").write_text('{"train": ["a"], "val": [], "test": ["a.nii.gz"]}')
    with pytest.raises(UserError, match=r"case a is listed 2 times \(train, test\)"):
        find_cases(tmp_path)


def test_prepared_arrays_are_mapped_and_damage_to_them_is_named(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "data")
    case = cases_of(tmp_path / "data", "train")[0]
    assert isinstance(case.read().thin.voxels.base, np.memmap) or isinstance(
        case.read().thin.voxels, np.memmap
    )
    case.thin.write_bytes(case.thin.read_bytes()[:500])
    with pytest.raises(UserError, match=r"case CT1: .*missing or damaged array"):
        case.read()
    (tmp_path / "data" / "index.json").write_text("{")
    with pytest.raises(UserError, match="damaged index"):
        find_cases(tmp_path / "data")


def test_pseudo_pairs_of_thin_scans_make_a_data_set(published, tmp_path):
    thin = sorted((published / "train" / "1mm").iterdir())
    command = ["pseudo", str(tmp_path / "out"), *map(str, thin), "--val", "CT2"]
    for path in thin:  # a thin scan in HU, as hospitals have it
        scan = read_volume(path)
        hu = np.rint(to_hu(scan.voxels)).astype(np.int16)
        write_volume(Volume(hu, scan.spacing, scan.origin, scan.direction), tmp_path / path.name)
    command[2:4] = [str(tmp_path / path.name) for path in thin]
    assert prepare(command) == 0
    assert prepare(command) == 2, "what is there is not replaced"
    pair = cases_of(tmp_path / "out", "val")[0].read()
    thick, fine = np.asarray(pair.thick.voxels), np.asarray(pair.thin.voxels)
    assert len(fine) == 5 * (len(thick) - 1) + 1
    assert np.abs(fine[3:8].mean(axis=0) - thick[1]).max() <= 0.5 + 1e-6


def test_a_pseudo_pair_lies_where_its_scan_lay():
    rng = np.random.default_rng(0)
    turn = np.array([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, -0.6]])  # slices along the first index axis
    scan = Volume(
        rng.integers(-1000, 1000, (9, 8, 23)).astype(np.int16), (1.0, 0.7, 0.8), (5.0, -3.0, 9.0),
        turn[:, [2, 0, 1]], slice_axis=0,
    )  # fmt: skip
    pair = pseudo_pair(scan, 5)
    assert pair.thick.spacing == (0.7, 0.8, 5.0)
    for volume in (pair.thick, pair.thin):
        np.testing.assert_allclose(volume.direction, turn)
        np.testing.assert_allclose(volume.origin, np.array(scan.origin) + 2.0 * turn[:, 2])
    # The voxel of the thin one at its origin is the scan's at that place: the third along the first axis.
    np.testing.assert_array_equal(pair.thin.voxels[0], scan.voxels[:, :, 2])


def test_thin_scans_on_0_to_1_make_pseudo_pairs_in_hu(published, tmp_path):
    thin = next((published / "train" / "1mm").glob("*.nii.gz"))
    assert prepare(["pseudo", str(tmp_path / "pairs"), str(thin)]) == 0
    case = cases_of(tmp_path / "pairs", "train")[0].read()
    assert np.ptp(np.asarray(case.thick.voxels)) > 500


def test_a_thin_scan_both_to_validate_and_to_test_on_is_refused(published, tmp_path, capfd):
    thin = next((published / "train" / "1mm").glob("CT1.nii.gz"))
    command = ["pseudo", str(tmp_path / "pairs"), str(thin), "--val", "CT1", "--test", "CT1"]
    assert prepare(command) == 2
    assert "CT1: given both to --val and to --test" in capfd.readouterr().err
    assert not (tmp_path / "pairs").exists()


def test_a_data_set_is_not_prepared_into_itself(published, capfd):
    before = sorted(published.rglob("*"))
    assert prepare(["folder", str(published), str(published), "--workers", "1"]) == 2
    assert "holds the data set itself" in capfd.readouterr().err
    assert sorted(published.rglob("*")) == before


@pytest.mark.parametrize("options", [["--side", "0"], ["--cases", "0", "0", "0"], ["--thick-slices", "1"]])
def test_a_look_alike_of_nothing_is_refused(tmp_path, capfd, options):
    assert prepare(["lookalike", str(tmp_path / "out"), *options]) == 2
    assert "give at least one case" in capfd.readouterr().err


def test_two_thin_scans_of_one_name_are_refused(published, tmp_path, capfd):
    thin = next((published / "train" / "1mm").glob("*.nii.gz"))
    assert prepare(["pseudo", str(tmp_path / "pairs"), str(thin), str(thin)]) == 2
    assert "more than one scan has this name" in capfd.readouterr().err
