"""Formats of the field besides the four that are written: headers with their voxels apart, bzip2, units."""

from __future__ import annotations

import bz2
import gzip
import json
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.command_line import expect_refusal, write
from Testing.nifti_files import write_nifti
from Testing.volumes import some_hu
from ThickToThinSRLib.batch.inputs import find_inputs
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import SUFFIXES, WRITABLE, data_files, read_volume, write_volume
from ThickToThinSRLib.volume import Volume

# NumPy warns of numbers that the library should have refused or handled before.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
DIRECTIONS = "space directions: (0.7,0,0) (0,0.8,0) (0,0,5)\nspace origin: (1,2,3)\n"
PACKED = {
    "raw": bytes,
    "gzip": gzip.compress,
    "gz": gzip.compress,
    "bzip2": bz2.compress,
    "bz2": bz2.compress,
}


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def nrrd(path, encoding="raw", data=None, dimension="3", sizes="9 8 6", more=DIRECTIONS, space="LPS"):
    """A NRRD file as other programs write it; `data` names a file of its own for the voxels."""
    lines = [f"NRRD0004\ntype: short\ndimension: {dimension}\n", f"space: {space}\n" if space else ""]
    lines += [f"sizes: {sizes}\nendian: little\nencoding: {encoding}\n", more]
    packed = PACKED[encoding](some_hu().tobytes())
    if data is not None:
        (path.parent / data).write_bytes(packed)
        lines.append(f"data file: {data}\n")
    path.write_bytes("".join([*lines, "\n"]).encode() + (packed if data is None else b""))
    return path


def metaimage(path, data="LOCAL", compressed=False, dimension=3, more=""):
    ones = " 1" * (dimension - 3)
    packed = zlib.compress(some_hu().tobytes()) if compressed else some_hu().tobytes()
    header = f"ObjectType = Image\nNDims = {dimension}\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    header += f"CompressedData = {compressed}\n" + (f"CompressedDataSize = {len(packed)}\n" * compressed)
    header += f"Offset = 1 2 3{ones}\nElementSpacing = 0.7 0.8 5{ones}\nDimSize = 9 8 6{ones}\n{more}"
    header += f"ElementType = MET_SHORT\nElementDataFile = {data}\n"
    path.write_bytes(header.encode() + (packed if data == "LOCAL" else b""))
    if data != "LOCAL":
        (path.parent / data).write_bytes(packed)
    return path


def assert_is_the_volume(path, origin=(1, 2, 3)):
    volume = read_volume(path)
    assert np.array_equal(volume.voxels, some_hu())
    assert volume.spacing == pytest.approx((0.7, 0.8, 5.0), rel=1e-9)
    assert np.allclose(volume.origin, origin)
    assert np.allclose(volume.direction, np.eye(3))


# ---- MetaImage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [3, 4, 5])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("data", ["LOCAL", "a.raw", "1.3.6.1.4.1.14519.5 ü.zraw"])
def test_metaimage_with_its_voxels_within_or_beside(tmp_path, data, compressed, dimension):
    assert_is_the_volume(metaimage(tmp_path / "a.mhd", data, compressed, dimension))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_what_itk_writes_apart_is_read(tmp_path, suffix, compress):
    path = write(tmp_path / f"scan{suffix}", compress=compress)
    assert np.array_equal(read_volume(path).voxels, some_hu())
    assert len(data_files(path)) == 1
    assert data_files(path)[0].is_file()
    path = path.rename(path.with_name(path.name.upper()))
    assert np.array_equal(read_volume(path).voxels, some_hu())


def test_metaimage_in_a_file_a_slice(tmp_path):
    names = [f"slice{k:02}.raw" for k in range(6)]
    for name, plane in zip(names, some_hu(), strict=True):
        (tmp_path / name).write_bytes(plane.tobytes())
    path = metaimage(tmp_path / "a.mhd", "a.raw")
    text = path.read_text()
    for listed in ("slice%02d.raw 0 5 1", "LIST\n" + "\n".join(names)):
        path.write_text(text.replace("a.raw", listed))
        assert_is_the_volume(path)
        assert [file.name for file in data_files(path)] == names
        (tmp_path / names[3]).rename(tmp_path / "away")
        assert "slice03.raw, is missing" in refusal(path)
        (tmp_path / "away").rename(tmp_path / names[3])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".mhd", ".mha"])
def test_metaimage_whose_voxels_are_missing_or_cut_is_refused_by_their_name(tmp_path, suffix, compressed):
    path = metaimage(tmp_path / f"a{suffix}", "b.raw", compressed)
    raw = tmp_path / "b.raw"
    whole = raw.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        raw.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"b\.raw"):
            read_volume(path)
    raw.unlink()
    assert f"{raw}, is missing" in refusal(path)


@pytest.mark.parametrize(("unit", "millimetres"), [("mm", 1), ("um", 1e-3), ("cm", 10), ("?", 1), ("", 1)])
def test_metaimage_in_other_units_is_millimetres(tmp_path, unit, millimetres):
    path = metaimage(tmp_path / "a.mha", more=f"DistanceUnits = {unit}\n" if unit else "")
    volume = read_volume(path)
    assert volume.spacing == pytest.approx(np.multiply(millimetres, (0.7, 0.8, 5)))
    assert volume.origin == pytest.approx(np.multiply(millimetres, (1, 2, 3)))


# ---- NRRD ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("data", [None, "a.raw", "voxels 1.bin"])
@pytest.mark.parametrize("suffix", [".nhdr", ".nrrd"])
def test_nrrd_in_every_encoding_within_or_beside(tmp_path, suffix, data, encoding):
    assert_is_the_volume(nrrd(tmp_path / f"a{suffix}", encoding, data))


def axis_last(kinds: str) -> dict:
    return {"dimension": "4", "sizes": "9 8 6 1", "more": DIRECTIONS.replace("5)", "5) none") + kinds}


def axis_first(kinds: str) -> dict:
    more = DIRECTIONS.replace("directions: ", "directions: none ") + kinds
    return {"dimension": "4", "sizes": "1 9 8 6", "more": more}


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize(
    "fields",
    [
        axis_last(""),
        axis_last("kinds: domain domain domain list\n"),
        axis_last("kinds: domain domain domain domain\n"),
        axis_last('labels: "" "" "" "time"\n'),
        axis_first(""),
        axis_first("kinds: list domain domain domain\n"),
    ],
    ids=str,
)
def test_nrrd_with_a_further_axis_of_one_voxel(tmp_path, fields, encoding):
    assert_is_the_volume(nrrd(tmp_path / "a.nrrd", encoding, **fields))
    assert_is_the_volume(nrrd(tmp_path / "a.nhdr", encoding, "b.raw", **fields))


def test_nrrd_without_a_space_and_with_a_further_axis(tmp_path):
    more = "spacings: 0.7 0.8 5 1\naxis mins: 1 2 3 0\n"
    path = nrrd(tmp_path / "a.nrrd", dimension="4", sizes="9 8 6 1", more=more, space="")
    assert np.array_equal(read_volume(path).voxels, some_hu())
    assert read_volume(path).spacing == (0.7, 0.8, 5.0)
    path = nrrd(tmp_path / "b.nrrd", dimension="4", sizes="9 8 3 2", more=more, space="")
    assert "4-dimensional" in refusal(path)


@pytest.mark.parametrize("spacings", [None, "0.7 0.8 nan", "NaN NaN NaN", "0.7 0.8 5"])
def test_nrrd_that_does_not_state_its_spacing_is_doubted(tmp_path, spacings):
    more = "" if spacings is None else f"spacings: {spacings}\n"
    volume = read_volume(nrrd(tmp_path / "a.nrrd", more=more, space=""))
    assert volume.spacing[2] == (5 if spacings == "0.7 0.8 5" else 1)
    assert ("1 mm is taken" in str(volume.source.get("warnings"))) == (spacings != "0.7 0.8 5")


@pytest.mark.parametrize("field", ["", "ElementSize = 0.7 0.8 5\n", "ElementSpacing = 0.7 0.8 5\n"])
def test_metaimage_that_does_not_state_its_spacing_is_doubted(tmp_path, field):
    (tmp_path / "a.raw").write_bytes(some_hu().tobytes())
    (tmp_path / "a.mhd").write_text(
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n{field}"
        "DimSize = 9 8 6\nElementType = MET_SHORT\nElementDataFile = a.raw\n"
    )
    volume = read_volume(tmp_path / "a.mhd")
    assert volume.spacing == ((0.7, 0.8, 5.0) if field else (1.0, 1.0, 1.0))
    assert ("1 mm is taken" in str(volume.source.get("warnings"))) == (not field)


@pytest.mark.parametrize("value", ["1e308", "-1e300", "nan", "inf"])
def test_absurd_directions_of_metaimage_are_refused_before_itk_reads_them(tmp_path, value):
    path = metaimage(tmp_path / "a.mha", more=f"TransformMatrix = 1 0 0 {value} 1 0 0 0 1\n")
    assert f"transformmatrix holds {value}" in refusal(path)


@pytest.mark.parametrize("name", ["a.img", "a.IMG.gz", "a.raw", "a.zraw"])
def test_a_file_of_voxels_alone_is_refused_with_what_to_give(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(100))
    assert "give the header beside it" in refusal(tmp_path / name)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("data", [None, "b.raw"])
def test_nrrd_that_is_cut_off_or_whose_voxels_are_missing_is_refused(tmp_path, data, encoding):
    path = nrrd(tmp_path / "a.nhdr", encoding, data)
    file = path if data is None else tmp_path / data
    whole = file.read_bytes()
    for length in (len(whole) - 1, len(whole) - 40):
        file.write_bytes(whole[:length])
        with pytest.raises(UserError, match=rf"a\.nhdr|{file.name}"):
            read_volume(path)
    if data is not None:
        file.unlink()
        assert f"{file}, is missing" in refusal(path)


def test_a_flipped_bit_in_bzip2_or_detached_gzip_is_refused(tmp_path):
    for encoding in ("gzip", "bzip2"):
        path = nrrd(tmp_path / "a.nhdr", encoding, "b.raw")
        raw = bytearray((tmp_path / "b.raw").read_bytes())
        raw[len(raw) // 2] ^= 0x10
        (tmp_path / "b.raw").write_bytes(raw)
        with pytest.raises(UserError):
            read_volume(path)


@pytest.mark.parametrize(
    ("units", "millimetres"),
    [
        ('space units: "mm" "mm" "mm"', 1),
        ('space units: "cm" "cm" "cm"', 10),
        ('space units: "m" "m" "m"', 1e3),
        ('space units: "um" "um" "um"', 1e-3),
        ('space units: "" "" ""', 1),
        ('space units: "Millimeter" "Millimeter" "Millimeter"', 1),
    ],
)
def test_nrrd_in_other_units_is_millimetres(tmp_path, units, millimetres):
    volume = read_volume(nrrd(tmp_path / "a.nrrd", more=f"{DIRECTIONS}{units}\n"))
    assert volume.spacing == pytest.approx(np.multiply(millimetres, (0.7, 0.8, 5)))
    assert volume.origin == pytest.approx(np.multiply(millimetres, (1, 2, 3)))


def test_nrrd_in_strange_or_mixed_units_is_refused(tmp_path):
    for units in ('"furlong" "furlong" "furlong"', '"mm" "mm" "cm"'):
        path = nrrd(tmp_path / "a.nrrd", more=f"{DIRECTIONS}space units: {units}\n")
        assert "in mm" in refusal(path)
    path = nrrd(tmp_path / "b.nrrd", more='spacings: 0.07 0.08 0.5\nunits: "cm" "cm" "cm"\n', space="")
    assert read_volume(path).spacing == pytest.approx((0.7, 0.8, 5))


@pytest.mark.parametrize("shear", [1e-5, 1e-4, 1e-3, 2e-3])
def test_a_slight_shear_is_straightened_in_every_format_alike(tmp_path, shear):
    """As of NIfTI, see test_nifti_place."""
    more = DIRECTIONS.replace("(0,0,5)", f"(0,{5 * shear},5)")
    paths = [nrrd(tmp_path / "a.nrrd", more=more)]
    matrix = f"TransformMatrix = 1 0 0 0 1 0 0 {shear} 1\n"
    paths.append(metaimage(tmp_path / "a.mha", more=matrix))
    sform = (-0.7, 0, 0, -1, 0, -0.8, -5 * shear, -2, 0, 0, 5, 3)
    paths.append(write_nifti(tmp_path / "a.nii", some_hu(), codes=(0, 1), sform=sform))
    found = [read_volume(path) for path in paths]
    for volume in found:
        assert np.allclose(volume.direction, found[0].direction, atol=1e-6)
        assert volume.source.get("notes", []) == found[0].source.get("notes", [])
        assert np.abs(volume.direction.T @ volume.direction - np.eye(3)).max() < 1e-9


def test_a_shear_of_a_large_volume_is_refused_in_every_format_alike(tmp_path):
    """What is nothing over a small volume is half a millimetre over a large one."""
    skewed = np.array([[1.0, 0, 0], [0, 1, 1e-3], [0, 0, 1]])
    image = sitk.GetImageFromArray(np.zeros((100, 2, 2), np.int16))
    image.SetSpacing((0.7, 0.7, 5.0))
    image.SetDirection(skewed.ravel().tolist())
    for suffix in (".nrrd", ".mha"):
        sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
        assert "not perpendicular by 0.25 mm" in refusal(tmp_path / f"a{suffix}")


# ---- the commands --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_readable_format_is_enhanced(tmp_path, suffix):
    source = tmp_path / f"thick{suffix}"
    write_nifti(source, some_hu()) if ".hdr" in suffix else write(source)
    target = tmp_path / "thin.nii.gz"
    assert main(["enhance", str(source), str(target), "--method", "interpolation"]) == 0
    assert read_volume(target).voxels.shape[0] == 26


@pytest.mark.parametrize("suffix", sorted({*SUFFIXES} - {*WRITABLE}))
def test_what_is_only_read_is_not_written(tmp_path, capfd, suffix):
    source, target = write(tmp_path / "thick.nii"), tmp_path / f"thin{suffix}"
    for arguments in (
        ("enhance", source, target),
        ("simulate", source, target, "--thickness", "10", "--spacing", "10"),
        ("phantom", target),
    ):
        assert ".nii.gz, .nii, .nrrd, .mha" in expect_refusal(capfd, tmp_path, *arguments)


def test_a_folder_of_luna16_has_one_result_a_scan(tmp_path):
    folder, results = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("1.3.6", "1.3.7"):
        metaimage(folder / f"{name}.mhd", f"{name}.raw")
    write(folder / "1.3.6.mha")
    write_nifti(folder / "b.hdr", some_hu())
    nrrd(folder / "c.nhdr", "gzip", "c.raw.gz")
    # Voxels that begin as a DICOM file without preamble does.
    raw = bytearray((folder / "1.3.7.raw").read_bytes())
    raw[:2] = b"\x08\x00"
    (folder / "1.3.7.raw").write_bytes(raw)
    names = {entry.target.name for entry in find_inputs(folder, results)}
    assert names == {"1.3.6.mha", "1.3.6.mhd.mha", "1.3.7.mha", "b.nii", "c.nrrd"}
    arguments = ["enhance-many", str(folder), str(results), "--method", "interpolation"]
    assert main([*arguments, "--progress", "none"]) == 0
    assert {path.name for path in results.glob("*[!n]")} >= names
    report = json.loads((results / "1.3.7.mha.provenance.json").read_text())
    assert report["input"].endswith("1.3.7.mhd")


# ---- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("dtype", [">i2", ">f4", ">f8", ">u2", ">i4", "<f2", ">f2"])
def test_other_byte_orders_and_half_precision_are_written(tmp_path, suffix, dtype):
    voxels = some_hu().astype(dtype)
    write_volume(Volume(voxels, (0.7, 0.8, 5)), tmp_path / f"a{suffix}")
    assert np.array_equal(read_volume(tmp_path / f"a{suffix}").voxels, voxels)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_type_that_no_format_has_is_refused_by_name(tmp_path, suffix):
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("long double is double here")
    with pytest.raises(UserError, match=f"{np.dtype(np.longdouble)} cannot be written"):
        write_volume(Volume(some_hu().astype(np.longdouble), (1, 1, 5)), tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())
