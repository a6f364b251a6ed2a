"""`thicktothin info` and `enhance-many --dry-run` say what would be done, by one code, and write nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.command_line import contents, run, write
from Testing.make_dicom import OBLIQUE, ct_series, write_series
from Testing.volumes import dicom_hu, some_hu
from ThickToThinSRLib.cli.looking import facts_of, inputs_of, lines_of, orientation
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.io.dicom.series import read_series
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.settings import Settings


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "in"
    write_series(ct_series(dicom_hu(), thickness=6.0), folder / "ct")
    write_series(ct_series(dicom_hu((1, 8, 10))), folder / "one")
    write(folder / "thin.nrrd", some_hu(), spacing=(0.7, 0.8, 1.0))
    write(folder / "a.nrrd", some_hu())
    return folder


def info_of(capfd, *arguments) -> dict:
    code = main(["info", *map(str, arguments), "--json"])
    out, _ = capfd.readouterr()
    return {**json.loads(out), "code": code}


def test_a_folder_is_told_input_by_input(scans, capfd):
    told = info_of(capfd, scans)
    found = {one["name"]: one for one in told["inputs"]}
    assert set(found) == {"a.nrrd", "ct", "one", "thin.nrrd"}
    assert told["code"] == 2
    assert "two slices are the least" in found["one"]["error"]
    assert found["thin.nrrd"]["already_thin"]
    ct = found["ct"]
    assert (ct["size"], ct["spacing_mm"], ct["thickness_mm"]) == ([10, 8, 6], 5.0, 6.0)
    assert (ct["thickness_from"], ct["orientation"], ct["modality"]) == ("DICOM", "axial", "CT")
    assert (ct["error"], ct["method"]) == (None, "universal")
    methods = {one["method"]: one for one in ct["methods"]}
    assert list(methods) == list(METHODS)
    assert methods["interpolation"]["slices"] == 26
    assert not any(one["error"] for one in methods.values()), "every method works as it comes"
    assert found["a.nrrd"]["thickness_from"] == "assumed equal to the spacing"


def test_options_are_heeded(scans, capfd):
    told = info_of(capfd, scans / "a.nrrd", "--spacing", "2.5", "--thickness", "7", "--method", "consistent")
    (one,) = told["inputs"]
    assert (told["code"], one["method"], one["thickness_from"]) == (0, "consistent", "option")
    assert one["methods"][0]["slices"] == 11


def test_one_file_of_a_series_is_told_as_its_series(scans, capfd):
    (one,) = info_of(capfd, scans / "ct" / "00-0.dcm")["inputs"]
    assert one["size"] == [10, 8, 6]
    assert "one file of a series" in one["notes"][-1]


@pytest.mark.parametrize("name", ["no such folder", "ct/none.dcm"])
def test_what_is_not_there_is_refused(scans, name):
    done = run("info", scans / name)
    assert done.returncode == 2
    assert done.stderr.endswith(f"{name}: no such file or folder\n")


def test_a_dry_run_says_the_same_and_writes_nothing(scans, tmp_path):
    target = tmp_path / "out"
    before = contents(tmp_path)
    done = run("enhance-many", scans, target, "--dry-run")
    assert contents(tmp_path) == before
    assert done.returncode == 2
    assert done.stderr.endswith("1 of 4 cannot be enhanced: one\n")
    monitor = Monitor()
    for entry in inputs_of(scans, monitor):
        for line in lines_of(facts_of(entry, Settings())):
            assert line in done.stdout
    events = run("enhance-many", scans, target, "--dry-run", "--progress", "json").stdout.splitlines()
    assert len(json.loads(events[0])["inputs"]) == 4


def test_a_dry_run_knows_what_is_there_already(scans, tmp_path):
    for name in ("ct", "one"):
        for path in (scans / name).iterdir():
            path.unlink()
    options = (scans, tmp_path / "out", "--method", "interpolation")
    assert run("enhance-many", *options).returncode == 0
    done = run("enhance-many", *options, "--dry-run")
    assert done.returncode == 0
    assert done.stdout.count("the result is there already") == 1


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        (np.eye(3), "axial"),
        (np.diag([-1.0, 1, -1]), "axial"),
        (np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]), "sagittal"),
        (np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), "coronal"),
        (OBLIQUE, "axial, "),
    ],
    ids=str,
)
def test_the_orientation_is_named(tmp_path, direction, expected):
    volume = read_series(write_series(ct_series(dicom_hu(), direction=direction), tmp_path))
    assert orientation(volume, 2).startswith(expected)
    assert ("oblique" in orientation(volume, 2)) == (direction is OBLIQUE)
