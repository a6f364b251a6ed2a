"""Volume files: reading and writing, damaged files, and results that are complete or missing."""

from __future__ import annotations

import errno
import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.command_line import SUFFIXES, write
from Testing.volumes import some_hu
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io import volume_files as files
from ThickToThinSRLib.io.replacing import check_free, folder_replacing, replacing
from ThickToThinSRLib.io.temporary import remove_temporaries
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.volume import Volume

TYPES = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64]


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        read_volume(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", TYPES)
def test_voxels_keep_their_values_and_type_through_every_format(tmp_path, suffix, dtype):
    voxels = some_hu().astype(dtype)
    write_volume(Volume(voxels, (0.7, 0.8, 5.0)), tmp_path / f"a{suffix}")
    back = read_volume(tmp_path / f"a{suffix}")
    assert back.voxels.dtype == dtype
    assert np.array_equal(back.voxels, voxels)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_geometry_goes_through_every_format(tmp_path, suffix):
    turn = np.linalg.qr(np.array([[0.9, 0.2, 0.1], [-0.3, 0.9, 0.3], [0.1, -0.2, 0.95]]))[0]
    left_handed = turn * np.array([1, 1, -np.linalg.det(turn)])
    volume = Volume(some_hu(), (0.703125, 0.7, 1.25), (-170.5, 12.25, -300.0), left_handed)
    write_volume(volume, tmp_path / f"a{suffix}")
    back = read_volume(tmp_path / f"a{suffix}")
    # NIfTI keeps 0.7 in single precision; read as it stands, it would cost the last thin slice.
    assert back.spacing == pytest.approx(volume.spacing, rel=1e-12)
    corner = (8, 7, 5)
    np.testing.assert_allclose(back.position(*corner), volume.position(*corner), atol=1e-3)
    np.testing.assert_allclose(back.direction, left_handed, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 8, 9), (6, 8, 1), (6, 1, 9), (1, 1, 1)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_slice_and_one_pixel_are_volumes_too(tmp_path, suffix, shape):
    write_volume(Volume(some_hu(shape), (1, 1, 5)), tmp_path / f"a{suffix}")
    assert read_volume(tmp_path / f"a{suffix}").voxels.shape == shape


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_suffix_counts_in_capitals_too(tmp_path, suffix):
    path = tmp_path / f"SCAN{suffix.upper()}"
    write_volume(Volume(some_hu(), (1, 1, 5)), path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert np.array_equal(read_volume(path).voxels, some_hu())


@pytest.mark.parametrize(
    "name", ["with  two spaces", "ünïcödé 胸部", "new\nline", "-dash", "semi;colon 'quote'"]
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_file_name_will_do(tmp_path, suffix, name):
    path = tmp_path / f"{name}{suffix}"
    write_volume(Volume(some_hu(), (1, 1, 5)), path)
    assert np.array_equal(read_volume(path).voxels, some_hu())


# ---- damaged and foreign files -----------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_off_anywhere_is_refused(tmp_path, suffix, compress):
    whole = write(tmp_path / f"whole{suffix}", some_hu((12, 20, 20)), compress=compress).read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in (0, 1, 100, 351, 352, len(whole) // 2, len(whole) - 100, len(whole) - 9, len(whole) - 1):
        path.write_bytes(whole[:length])
        refusal(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_flipped_bit_in_compressed_voxels_is_refused(tmp_path, suffix):
    ramp = np.add.outer(np.add.outer(np.arange(12), np.arange(20)), np.arange(20)).astype(np.int16)
    whole = write(tmp_path / f"whole{suffix}", ramp).read_bytes()
    path = tmp_path / f"flipped{suffix}"
    for share in (0.7, 0.8, 0.9):
        damaged = bytearray(whole)
        damaged[int(share * len(whole))] ^= 0x10
        path.write_bytes(damaged)
        refusal(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", ["nothing", "text", "zeros", "noise"])
def test_a_file_of_another_kind_is_refused(tmp_path, suffix, content):
    content = {
        "nothing": b"",
        "text": b"a text\n" * 200,
        "zeros": bytes(2000),
        "noise": np.random.default_rng(0).bytes(2000),
    }[content]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refusal(path)
    if suffix == ".nii.gz":
        path.write_bytes(gzip.compress(content))
        assert "not a NIfTI file" in refusal(path)


def changed_header(path, *changes):
    """Overwrite fields of a .nii file, each an offset, a struct format and values."""
    raw = bytearray(path.read_bytes())
    for offset, form, *values in changes:
        struct.pack_into(form, raw, offset, *values)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_voxels_that_are_no_numbers_are_refused_with_their_place(tmp_path, suffix, dtype, bad):
    voxels = some_hu(dtype=dtype)
    voxels[5, 7, 8] = bad
    assert f"(i, j, k) = (8, 7, 5) is {bad:g};" in refusal(write(tmp_path / f"a{suffix}", voxels))


def test_voxels_that_are_no_numbers_are_found_in_the_other_byte_order(tmp_path):
    voxels = some_hu(dtype=np.float32)
    voxels[0, 0, 1] = np.nan
    path = write(tmp_path / "a.nii", voxels)
    raw = path.read_bytes()
    header = bytearray(raw[:352])
    fields = [(0, "i"), (40, "8h"), (68, "4h"), (76, "8f"), (108, "3f"), (252, "2h"), (256, "18f")]
    for offset, form in fields:
        struct.pack_into(">" + form, header, offset, *struct.unpack_from("<" + form, raw, offset))
    path.write_bytes(bytes(header) + np.frombuffer(raw[352:], "<f4").byteswap().tobytes())
    assert "(i, j, k) = (1, 0, 0) is nan" in refusal(path)
    clean = np.nan_to_num(np.frombuffer(path.read_bytes()[352:], ">f4"))
    path.write_bytes(bytes(header) + clean.astype(">f4").tobytes())
    assert np.array_equal(read_volume(path).voxels, np.nan_to_num(voxels))


def test_absurd_numbers_that_single_precision_cannot_hold_are_refused(tmp_path):
    voxels = some_hu(dtype=np.float64)
    voxels[1, 2, 3] = -1e39
    assert "(3, 2, 1) is -1e+39" in refusal(write(tmp_path / "a.nrrd", voxels))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_nifti_spacing_that_is_none_is_refused_not_taken_for_a_millimetre(tmp_path, value):
    path = changed_header(write(tmp_path / "a.nii"), (88, "<f", value))
    assert "spacing" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        (108, "<f", np.nan),
        (108, "<f", 1e30),
        (40, "<h", 0),
        (40, "<h", 9),
        (42, "<h", -1),
        (42, "<3h", 32767, 32767, 32767),
        (70, "<h", 0),
        (70, "<2h", 16, 0),
        (112, "<2f", 1e38, 0.0),
        (268, "<f", np.nan),
        (280, "<12f", *[np.nan] * 12),
        (280, "<12f", *[0.0] * 12),
    ],
    ids=str,
)
def test_an_impossible_nifti_header_is_refused(tmp_path, change):
    matrix = change[0] == 280
    refusal(changed_header(write(tmp_path / "a.nii"), (252, "<2h", not matrix, matrix), change))


def test_nifti_values_are_scaled_as_the_header_says(tmp_path):
    voxels = some_hu()
    path = changed_header(write(tmp_path / "a.nii", voxels), (112, "<2f", 0.5, -1024.0))
    back = read_volume(path)
    assert back.voxels.dtype.kind == "f"
    np.testing.assert_allclose(back.voxels, 0.5 * voxels - 1024)


def test_a_sheared_matrix_is_refused_and_said_so(tmp_path):
    matrix = (0.7, 0.3, 0, 0, 0, 0.7, 0, 0, 0, 0, 5, 0)
    path = changed_header(write(tmp_path / "a.nii"), (252, "<2h", 0, 1), (280, "<12f", *matrix))
    assert "not perpendicular" in refusal(path)
    header = "NRRD0004\ntype: short\ndimension: 3\nspace: LPS\nsizes: 2 2 2\nencoding: raw\nendian: little\n"
    header += "space directions: (1,0,0) (0.5,1,0) (0,0,5)\nspace origin: (0,0,0)\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(16))
    assert "not perpendicular" in refusal(tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    ("voxels", "what"),
    [
        (some_hu()[0], "2-dimensional"),
        (sitk.JoinSeries([sitk.GetImageFromArray(some_hu())] * 2), "4-dimensional"),
        (sitk.GetImageFromArray(np.stack([some_hu()] * 3, -1), isVector=True), "3 values a voxel"),
        (sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True), "3 values a voxel"),
        (some_hu().astype(np.complex64), "2 values a voxel"),
    ],
    ids=["2D", "4D", "vectors", "RGB", "complex"],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_images_that_are_no_single_volume_are_refused(tmp_path, suffix, voxels, what):
    image = sitk.GetImageFromArray(voxels) if isinstance(voxels, np.ndarray) else voxels
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    assert what in refusal(tmp_path / f"a{suffix}")


def test_itk_says_nothing_on_the_standard_streams(tmp_path, capfd):
    (tmp_path / "a.mha").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 2 2\nElementDataFile = none.raw\n"
    )
    refusal(tmp_path / "a.mha")
    refusal(write(tmp_path / "b.nii", some_hu()[0]))
    assert capfd.readouterr() == ("", "")


# ---- writing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_volume(Volume(some_hu(), (1, 1, 5)), path)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_replacement_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path, ".json") as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        raise ZeroDivisionError
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


def test_temporary_files_can_be_removed_in_a_hurry(tmp_path):
    with pytest.raises(UserError), replacing(tmp_path / "a.json", ".json") as temporary:
        remove_temporaries()
        assert not temporary.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_holds_nan_is_never_written(tmp_path):
    voxels = some_hu(dtype=np.float32)
    voxels[1, 1, 1] = np.nan
    for suffix in SUFFIXES:
        with pytest.raises(UserError, match="is nan"):
            write_volume(Volume(voxels, (1, 1, 5)), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "taken.nii").touch()
    (tmp_path / "dangling.nii").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle.nii").symlink_to(tmp_path / "circle.nii")
    for name, overwrite, reason in (
        ("folder.nii", True, "is a folder"),
        ("missing/a.nii", True, "does not exist"),
        ("taken.nii/a.nii", True, "does not exist"),
        ("a" * 300, True, "too long"),
        ("taken.nii", False, "already exists"),
        ("dangling.nii", False, "already exists"),
        ("circle.nii", False, "already exists"),
    ):
        with pytest.raises(UserError, match=reason):
            check_free(tmp_path / name, overwrite)
    check_free(tmp_path / "taken.nii", True)
    check_free(tmp_path / "new.nii", False)


def test_the_input_is_no_place_for_the_output_under_whatever_name(tmp_path):
    source = tmp_path / "a.nii"
    source.touch()
    (tmp_path / "link.nii").symlink_to(source)
    for name in ("a.nii", "link.nii"):
        with pytest.raises(UserError, match="is the input;"):
            check_free(tmp_path / name, True, source)


def test_a_folder_whose_replacement_cannot_be_put_in_place_stays(tmp_path, monkeypatch):
    path = tmp_path / "series"
    path.mkdir()
    (path / "0001.dcm").write_text("old")
    replace = os.replace

    def refuse(source, target):
        if Path(target) == path and (Path(source) / "0001.dcm").read_text() == "new":
            raise OSError(errno.EACCES, "in use")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(UserError, match="could not be written"), folder_replacing(path) as temporary:
        (temporary / "0001.dcm").write_text("new")
    assert (path / "0001.dcm").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["series"]
