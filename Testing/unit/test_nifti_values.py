"""The values of a NIfTI file: scaled as the standard says, and illegal headers refused."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest

from Testing.nifti_files import field, write_nifti
from Testing.volumes import some_hu
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import read_volume

# NumPy warns of numbers that the library should have refused or handled before.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("slope", [0.0, -0.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("intercept", [0.0, -1024.0, 5.5, np.nan, np.inf])
def test_a_slope_that_is_none_means_not_scaled_whatever_the_intercept(tmp_path, slope, intercept):
    volume = read_volume(write_nifti(tmp_path / "a.nii.gz", scaling=(slope, intercept)))
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(volume.voxels, field())


@pytest.mark.parametrize("slope", [1.0, -1.0, 0.5, -2.25, 0.1, 1e-3])
@pytest.mark.parametrize("intercept", [0.0, -1024.0, 0.5])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_other_slopes_scale_as_nibabel_does(tmp_path, dtype, slope, intercept):
    voxels = some_hu().astype(dtype)
    path = write_nifti(tmp_path / "a.nii", voxels, scaling=(slope, intercept))
    expected = nibabel.load(path).get_fdata().transpose(2, 1, 0)
    np.testing.assert_allclose(read_volume(path).voxels, expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("intercept", [np.nan, np.inf])
def test_a_slope_without_an_intercept_is_refused(tmp_path, intercept):
    assert "scl_inter" in refusal(write_nifti(tmp_path / "a.nii", scaling=(2.0, intercept)))


@pytest.mark.parametrize(
    "fields",
    [
        {"dim": (3, 16, -12, 12, 1, 1, 1, 1)},
        {"dim": (3, -16, -12, 12, 1, 1, 1, 1)},
        {"dim": (3, 16, 12, 0, 1, 1, 1, 1)},
        {"dim": (4, 16, 12, 12, -1, 1, 1, 1)},
        {"dim": (4, 16, 12, 12, 0, 1, 1, 1)},
        {"dim": (0, 16, 12, 12, 1, 1, 1, 1)},
        {"dim": (-3, 16, 12, 12, 1, 1, 1, 1)},
        {"dim": (8, 16, 12, 12, 1, 1, 1, 1)},
        {"vox_offset": 0.0},
        {"vox_offset": 100.0},
        {"vox_offset": 348.0},
        {"vox_offset": -352.0},
        {"vox_offset": 352.5},
        {"vox_offset": np.nan},
        {"vox_offset": 1e30},
        {"datatype": 0},
        {"datatype": 1},
        {"datatype": 1536},
        {"datatype": -4},
        {"magic": b"\0\0\0\0"},
        {"magic": b"ni1\0"},
        {"magic": b"n+2\0"},
        {"sizeof": 540},
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_illegal_values_are_refused_not_interpreted(tmp_path, suffix, fields):
    refusal(write_nifti(tmp_path / f"a{suffix}", **fields))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr", ".hdr.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_type_and_byte_order_is_read(tmp_path, suffix, dtype, order, version):
    voxels = some_hu().astype(dtype)
    back = read_volume(write_nifti(tmp_path / f"a{suffix}", voxels, order, version)).voxels
    assert back.dtype == np.dtype(dtype)
    assert back.dtype.isnative
    assert np.array_equal(back, voxels)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"vox_offset": 540}, "vox_offset"),
        ({"vox_offset": -544}, "vox_offset"),
        ({"dim": (3, 16, -12, 12, 1, 1, 1, 1)}, "-12"),
        ({"dim": (3, 2**40, 2**40, 12, 1, 1, 1, 1)}, "incomplete"),
        ({"magic": b"n+2\0\n\n\x1a\n"}, "not a NIfTI file"),  # sent as text
        ({"codes": (1, 70000)}, "sform_code"),
        ({"units": 5}, "unit of length"),
    ],
    ids=str,
)
def test_illegal_values_of_version_2_are_refused(tmp_path, fields, word):
    assert word in refusal(write_nifti(tmp_path / "a.nii", version=2, **fields))


@pytest.mark.parametrize("value", [1e300, -1e200, 4e38, np.inf, np.nan])
@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (1, 1)])
def test_a_place_that_no_geometry_has_is_refused(tmp_path, codes, value):
    fields = {"quaternion": (0.0, value, 1.0), "sform": (value, *[0.0] * 4, 1, 0, 0, 0, 0, value, 0)}
    fields["pixdim"] = (1.0, value, 0.9, 5.0, 1, 1, 1, 1)
    assert "export the volume again" in refusal(
        write_nifti(tmp_path / "a.nii", version=2, codes=codes, **fields)
    )


def test_version_2_keeps_what_single_precision_would_lose(tmp_path):
    spacing = (0.712345678912, 0.712345678912, 4.987654321098)
    path = write_nifti(tmp_path / "a.nii.gz", version=2, pixdim=(1.0, *spacing, 1, 1, 1, 1), codes=(1, 0))
    assert read_volume(path).spacing == spacing


def test_a_header_that_is_cut_off_is_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii", version=2)
    path.write_bytes(path.read_bytes()[:400])
    assert "cut off" in refusal(path)


@pytest.mark.parametrize("version", [1, 2])
def test_whether_it_is_compressed_its_bytes_say_and_not_its_name(tmp_path, version):
    packed = write_nifti(tmp_path / "a.nii.gz", version=version).rename(tmp_path / "packed.nii")
    plain = write_nifti(tmp_path / "a.nii", version=version).rename(tmp_path / "plain.nii.gz")
    write_nifti(tmp_path / "a.hdr.gz", version=version)
    mixed = write_nifti(tmp_path / "mixed.hdr", version=version)
    mixed.with_suffix(".img").unlink()
    (tmp_path / "a.img.gz").rename(tmp_path / "mixed.img.gz")
    for path in (packed, plain, mixed):
        assert np.array_equal(read_volume(path).voxels, field())


@pytest.mark.parametrize("extra", [(4, 1), (5, 1, 1), (7, 1, 1, 1, 1)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr"])
def test_further_dimensions_of_one_are_no_dimensions(tmp_path, suffix, extra):
    dim = (extra[0], 16, 12, 12, *(1,) * 4)
    assert np.array_equal(read_volume(write_nifti(tmp_path / f"a{suffix}", dim=dim)).voxels, field())


@pytest.mark.parametrize(
    ("dim", "what"),
    [
        ((4, 16, 12, 6, 2, 1, 1, 1), "4-dimensional"),
        ((5, 16, 12, 4, 1, 3, 1, 1), "3 values a voxel"),
        ((2, 16, 144, 1, 1, 1, 1, 1), "2-dimensional"),
        ((1, 2304, 1, 1, 1, 1, 1, 1), "1-dimensional"),
    ],
)
def test_other_images_are_refused_by_what_they_are(tmp_path, dim, what):
    assert what in refusal(write_nifti(tmp_path / "a.nii", dim=dim))


def test_extensions_lie_between_header_and_voxels(tmp_path):
    path = write_nifti(tmp_path / "a.nii", vox_offset=384.0)
    raw = path.read_bytes()
    path.write_bytes(raw[:352] + bytes(32) + raw[352:])
    assert np.array_equal(read_volume(path).voxels, field())


@pytest.mark.parametrize("missing", [1, 2, 100, 4000])
def test_what_a_whole_gzip_file_lacks_is_not_zero(tmp_path, missing):
    path = write_nifti(tmp_path / "a.nii")
    short = path.read_bytes()[:-missing]
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(short))
    assert f"{len(short)} bytes of {len(short) + missing}" in refusal(tmp_path / "a.nii.gz")


def test_a_pair_whose_other_half_is_missing_or_short_is_refused_by_its_name(tmp_path):
    path = write_nifti(tmp_path / "a.hdr")
    image = tmp_path / "a.img"
    whole = image.read_bytes()
    image.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"a\.img: incomplete"):
        read_volume(path)
    image.unlink()
    assert "a.img, is missing" in refusal(path)
    assert "single file" in refusal(write_nifti(tmp_path / "b.hdr", magic=b"n+1\0"))


def test_a_scaled_value_beyond_single_precision_is_refused_without_a_warning(tmp_path, recwarn):
    voxels = some_hu(dtype=np.float64) * 1e20
    assert "is " in refusal(write_nifti(tmp_path / "a.nii", voxels, scaling=(1e30, 0.0)))
    assert not recwarn.list
