"""The command line with valid input: results, messages, exit codes."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from Testing.command_line import SUFFIXES, contents, run, write
from Testing.make_dicom import ct_series, write_series
from Testing.shared_data import shared
from Testing.volumes import dicom_hu, some_hu
from ThickToThinSRLib import phantom
from ThickToThinSRLib.cli.arguments import build_parser
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.io.volume_files import read_volume
from ThickToThinSRLib.volume import Volume

COMMANDS = ("enhance", "import-checkpoint", "models", "simulate", "metrics", "compare", "phantom")


@pytest.fixture
def output_of(capfd):
    """Run with these arguments, expect exit code 0 and no errors; returns the standard output."""

    def run_well(*arguments) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        out, err = capfd.readouterr()
        assert err == ""
        return out

    return run_well


def enhanced(source, target, *options) -> sitk.Image:
    """The result as ITK reads it."""
    assert main(["enhance", str(source), str(target), "--progress", "none", *map(str, options)]) == 0
    return sitk.ReadImage(str(target))


# ---- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_every_command_explains_itself(capsys, command):
    assert main([*filter(None, [command]), "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 100
    if command is None:
        assert all(name in out for name in COMMANDS)
        assert "not a medical device" in out


def test_every_option_and_method_is_explained():
    actions = build_parser()._subparsers._group_actions[0].choices
    for name, parser in actions.items():
        for action in parser._actions:
            assert action.help, (name, action.option_strings)
    text = actions["enhance"].format_help()
    for method in ("interpolation", "consistent", "tvsrn", "cthnet"):
        assert f"\n  {method}" in text


def test_the_version_is_told(output_of):
    assert output_of("--version").startswith("thicktothin ")


# ---- enhance -------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_every_format_turns_into_every_other(tmp_path, source, target):
    thick = write(tmp_path / f"thick{source}")
    thin = enhanced(thick, tmp_path / f"thin{target}")
    assert thin.GetSize() == (9, 8, 26)
    np.testing.assert_allclose(thin.GetSpacing(), (0.7, 0.8, 1.0), rtol=1e-6)
    assert thin.GetPixelID() == sitk.sitkInt16


def test_it_says_what_it_understood_and_did_in_a_few_lines(output_of, tmp_path):
    source, target = write(tmp_path / "thick.nii.gz"), tmp_path / "thin.nrrd"
    lines = output_of("enhance", source, target).splitlines()
    assert "9 x 8 x 6 voxels of 0.700 x 0.800 x 5.000 mm" in lines[0]
    assert "slice thickness 5 mm (assumed equal to the spacing), intensity HU" in lines[0]
    assert lines[1].startswith("method: universal")
    assert lines[1].endswith("to slices every 1 mm")
    assert lines[-1] == f"written: {target}"
    assert "thickness 7.5 mm (option)" in output_of(
        "enhance", source, target, "--overwrite", "--thickness", "7.5"
    )


def test_nothing_is_said_where_nothing_shall_be(output_of, tmp_path):
    assert output_of("enhance", write(tmp_path / "a.nii"), tmp_path / "b.nii", "--progress", "none") == ""


def test_a_process_does_the_same_and_leaves_the_result_and_its_provenance(tmp_path):
    source = write(tmp_path / "thick.nii.gz")
    ended = run("enhance", source, tmp_path / "out.nii.gz", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert {entry.name for entry in tmp_path.iterdir()} == {
        "thick.nii.gz",
        "out.nii.gz",
        "out.nii.gz.provenance.json",
    }
    here = enhanced(source, tmp_path / "here.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "out.nii.gz").voxels, sitk.GetArrayFromImage(here))


def test_results_in_several_formats_keep_their_own_provenance(tmp_path):
    source = write(tmp_path / "thick.nii.gz")
    enhanced(source, tmp_path / "thin.nii.gz", "--spacing", 2.5)
    enhanced(source, tmp_path / "thin.nrrd", "--spacing", 1.25)
    for suffix, spacing in ((".nii.gz", 2.5), (".nrrd", 1.25)):
        provenance = json.loads((tmp_path / f"thin{suffix}.provenance.json").read_text())
        assert provenance["target_spacing_mm"] == spacing
        assert provenance["output"] == str(tmp_path / f"thin{suffix}")


def test_overwriting_replaces_result_and_provenance(output_of, tmp_path):
    source, target = write(tmp_path / "thick.nii.gz"), tmp_path / "thin.nii.gz"
    enhanced(source, target)
    before = contents(tmp_path)
    enhanced(source, target, "--spacing", "2.5", "--overwrite")
    after = contents(tmp_path)
    assert before.keys() == after.keys()
    assert {name for name in after if after[name] != before[name]} == {
        str(target),
        f"{target}.provenance.json",
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_the_type_of_the_voxels_is_kept(tmp_path, suffix, dtype):
    voxels = some_hu().clip(0 if np.dtype(dtype).kind == "u" else -1000, 255).astype(dtype)
    thin = enhanced(write(tmp_path / f"a{suffix}", voxels), tmp_path / f"b{suffix}")
    back = sitk.GetArrayFromImage(thin)
    assert back.dtype == dtype
    if np.dtype(dtype).kind == "f":
        assert not np.array_equal(back, np.rint(back))


def test_values_at_the_end_of_their_type_are_saturated_not_wrapped(tmp_path):
    voxels = np.full((6, 8, 9), -32768, np.int16)
    voxels[2:4] = 32767
    back = sitk.GetArrayFromImage(enhanced(write(tmp_path / "a.nii", voxels), tmp_path / "b.nii"))
    assert (back[:6] < -20000).all()
    assert (back[10:16] > 20000).all()
    assert (back[20:] < -20000).all()


def test_scaled_nifti_values_are_taken_as_the_header_means_them(tmp_path):
    path = write(tmp_path / "a.nii", some_hu() + 1024)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<2f", raw, 112, 1.0, -1024.0)
    path.write_bytes(raw)
    plain = write(tmp_path / "b.nii", some_hu().astype(np.float32))
    scaled, unscaled = (enhanced(source, tmp_path / "out.nii", "--overwrite") for source in (path, plain))
    assert np.array_equal(sitk.GetArrayFromImage(scaled), sitk.GetArrayFromImage(unscaled))


@pytest.mark.parametrize("shape", [(2, 8, 9), (3, 8, 9), (6, 8, 1), (6, 1, 9), (6, 1, 1)])
@pytest.mark.parametrize("method", ["interpolation", "consistent"])
def test_the_smallest_volumes_are_enhanced_too(tmp_path, method, shape):
    thin = enhanced(write(tmp_path / "a.nii", some_hu(shape)), tmp_path / "b.nii", "--method", method)
    assert thin.GetSize() == (shape[2], shape[1], 5 * (shape[0] - 1) + 1)


def test_an_mr_volume_is_warned_of_and_enhanced(capfd, tmp_path):
    path = write(tmp_path / "mr.nii.gz", some_hu().clip(0, 1500))
    assert main(["enhance", str(path), str(tmp_path / "thin.nii.gz")]) == 0
    err = capfd.readouterr().err
    assert err.startswith("warning: ")
    assert err.count("\n") == 1
    assert (tmp_path / "thin.nii.gz").exists()
    folder = write_series([mr_of(dataset) for dataset in ct_series(dicom_hu())], tmp_path / "mr")
    assert main(["enhance", str(folder), str(tmp_path / "mr.nrrd"), "--progress", "json"]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert "MR" in result["warnings"][0]


def mr_of(dataset):
    dataset.Modality, dataset.SOPClassUID = "MR", "1.2.840.10008.5.1.4.1.1.4"
    return dataset


def test_any_name_and_any_folder_will_do(output_of, tmp_path):
    folder = tmp_path / "two  spaces\nü"
    folder.mkdir()
    source = write(folder / "-scan 胸部.nii.gz")
    output_of("enhance", source, folder / "thin  \n.nii.gz")
    assert read_volume(folder / "thin  \n.nii.gz").spacing[2] == 1


def test_a_dicom_series_gives_the_same_as_the_file_of_it(tmp_path):
    voxels = dicom_hu()
    folder = write_series(ct_series(voxels, thickness=7.5), tmp_path / "series")
    write_series(ct_series(dicom_hu((4, 8, 10), seed=1)), folder / "another")
    uid = next(str(dcmread(path).SeriesInstanceUID) for path in folder.glob("*.dcm"))
    series = enhanced(folder, tmp_path / "series.nii.gz", "--series", uid)
    file = write(tmp_path / "file.nii.gz", voxels)
    same = enhanced(file, tmp_path / "file_thin.nii.gz", "--thickness", 7.5)
    assert np.array_equal(sitk.GetArrayFromImage(series), sitk.GetArrayFromImage(same))
    provenance = json.loads((tmp_path / "series.nii.gz.provenance.json").read_text())
    assert (provenance["thickness_mm"], provenance["thickness_from"]) == (7.5, "DICOM")


def test_a_real_series_becomes_slices_every_four_millimetres(output_of, tmp_path):
    folder = shared("data/dicom_lungdx0002_8mm_soft")
    text = output_of(
        "enhance", folder, tmp_path / "thin.nii.gz", "--spacing", "4", "--method", "interpolation"
    )
    assert "slice thickness 8 mm (DICOM)" in text
    thin = read_volume(tmp_path / "thin.nii.gz")
    assert (thin.spacing[2], thin.voxels.shape) == (4.0, (59, 512, 512))


# ---- the other commands --------------------------------------------------------------------------


def test_the_commands_work_hand_in_hand(output_of, tmp_path):
    thin, thick, back = (tmp_path / f"{name}.nii.gz" for name in ("thin", "thick", "back"))
    write(thin, some_hu((31, 24, 24)), spacing=(0.7, 0.7, 1.0))
    output_of("simulate", thin, thick, "--thickness", "5", "--spacing", "5")
    assert read_volume(thick).voxels.shape == (7, 24, 24)
    output_of("enhance", thick, back)
    measured = json.loads(output_of("metrics", thin, back, "--thick", thick, "--json"))
    assert 0 < measured["mae_hu"] < 1000
    assert "PSNR" in output_of("metrics", thin, back)
    picture = tmp_path / "picture.png"
    output_of("compare", thin, back, "--output", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_phantom_is_made_as_asked(output_of, tmp_path, monkeypatch):
    calls = []

    def drawn(**options):
        calls.append(options)
        return Volume(some_hu(), options["spacing"])

    # Drawing a real one takes half a minute.
    monkeypatch.setattr(phantom, "thorax", drawn)
    output_of("phantom", tmp_path / "a.nii", "--spacing", "4", "--thickness", "5", "--seed", "3")
    assert calls == [{"spacing": (0.7, 0.7, 4.0), "thickness": 5.0, "seed": 3}]
    assert read_volume(tmp_path / "a.nii").spacing == (0.7, 0.7, 4.0)


def test_models_are_listed_or_said_to_be_missing(output_of):
    assert output_of("models").strip()


# ---- how it ends ---------------------------------------------------------------------------------


def test_a_fault_of_the_program_shows_its_traceback_and_is_told_apart(capfd, monkeypatch, tmp_path):
    def fail(*_, **options):
        raise ZeroDivisionError("a fault\nof two lines")

    monkeypatch.setattr("ThickToThinSRLib.enhance.enhance_file", fail)
    assert main(["enhance", "a.nii", "b.nii"]) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1] == "thicktothin: unexpected ZeroDivisionError: a fault of two lines"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "out of memory"),
        (PermissionError(13, "Permission denied", "/secret"), "/secret: Permission denied"),
    ],
)
def test_full_memory_and_the_systems_refusals_are_no_faults_of_the_program(capfd, monkeypatch, error, line):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("ThickToThinSRLib.io.reading.read_input", fail)
    assert main(["metrics", "a.nii", "b.nii"]) == 2
    err = capfd.readouterr().err
    assert line in err
    assert err.count("\n") == 1
