"""A derived DICOM series, written by the command line, read back by SimpleITK: right place, HU and tags."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian

from Testing.command_line import contents, expect_refusal
from Testing.make_dicom import OBLIQUE, ct_series, enhanced_ct, set_pixels, write_series
from Testing.shared_data import shared
from Testing.volumes import dicom_hu
from ThickToThinSRLib import __version__
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.io.dicom.derived_series import write_series as write_derived
from ThickToThinSRLib.io.dicom.series import read_series
from ThickToThinSRLib.monitor import Monitor

SPACING = (0.7, 0.8, 5.0)
SAGITTAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])
FEET_FIRST = np.diag([-1.0, 1, -1])
LEFT_HANDED = np.diag([1.0, 1, -1])


def smooth_hu(shape=(6, 8, 10)) -> np.ndarray:
    """HU that no interpolation overshoots beyond what the source's bits hold."""
    return np.clip(dicom_hu(shape), -900, 900)


def enhance(source: Path, target: Path, *options, method="interpolation") -> None:
    arguments = [
        "enhance",
        source,
        target,
        "--spacing",
        "1",
        "--method",
        method,
        "--progress",
        "none",
        *options,
    ]
    assert main([str(argument) for argument in arguments]) == 0


def read_by_itk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def slices(folder: Path) -> list:
    """The headers, in the order of their names."""
    return [dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def corners(image: sitk.Image, spacing: float, reach=20.0) -> np.ndarray:
    """Places of the corner voxels of the first slice and of the one `reach` mm on."""
    columns, rows, _ = image.GetSize()
    at = round(reach / spacing)
    indices = [(i, j, k) for i in (0, columns - 1) for j in (0, rows - 1) for k in (0, at)]
    return np.array([image.TransformIndexToPhysicalPoint(index) for index in indices])


@pytest.fixture
def series(tmp_path) -> Path:
    return write_series(ct_series(smooth_hu()), tmp_path / "thick")


@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE, SAGITTAL, FEET_FIRST, LEFT_HANDED], ids=str)
def test_every_voxel_lies_where_it_lay_in_every_orientation(tmp_path, direction):
    write_series(ct_series(smooth_hu(), SPACING, direction=direction), tmp_path / "thick")
    enhance(tmp_path / "thick", tmp_path / "thin")
    thick, thin = read_by_itk(tmp_path / "thick"), read_by_itk(tmp_path / "thin")
    assert thin.GetSize() == (10, 8, 26)
    np.testing.assert_allclose(thin.GetSpacing(), (0.7, 0.8, 1.0), atol=1e-6)
    np.testing.assert_allclose(corners(thin, 1.0), corners(thick, 5.0), atol=1e-3)
    # Cubic interpolation passes through the measured slices.
    np.testing.assert_array_equal(sitk.GetArrayFromImage(thin)[::5], sitk.GetArrayFromImage(thick))


@pytest.mark.parametrize("method", ["consistent", "universal"])
def test_the_series_holds_the_hu_that_the_file_does(series, tmp_path, one_thread, method):
    enhance(series, tmp_path / "thin", method=method)
    enhance(series, tmp_path / "thin.nrrd", method=method)
    file, thin = sitk.ReadImage(str(tmp_path / "thin.nrrd")), read_by_itk(tmp_path / "thin")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(thin), sitk.GetArrayFromImage(file))
    np.testing.assert_allclose(corners(thin, 1.0), corners(file, 1.0), atol=1e-3)


@pytest.mark.parametrize(("slope", "result_slope"), [(1, 1), (0.5, 0.5), (2, 1)])
@pytest.mark.parametrize("intercept", [-1024, -8192])
def test_the_sources_rescaling_is_kept_where_it_loses_nothing(tmp_path, slope, result_slope, intercept):
    datasets = ct_series(smooth_hu())
    for dataset, hu in zip(datasets, smooth_hu(), strict=True):
        set_pixels(dataset, 2 * (hu // 2), slope, intercept)
    write_series(datasets, tmp_path / "thick")
    enhance(tmp_path / "thick", tmp_path / "thin")
    enhance(tmp_path / "thick", tmp_path / "thin.nrrd")
    for result in slices(tmp_path / "thin"):
        assert (result.RescaleSlope, result.RescaleIntercept) == (result_slope, intercept)
    thick, thin = read_by_itk(tmp_path / "thick"), read_by_itk(tmp_path / "thin")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(thin)[::5], sitk.GetArrayFromImage(thick))
    file = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "thin.nrrd")))
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(thin), file, atol=result_slope / 2 if result_slope < 1 else 0
    )


def test_padding_is_marked_as_padding_again(tmp_path):
    voxels = smooth_hu()
    voxels[:, :2] = -2000
    datasets = ct_series(voxels)
    for dataset, hu in zip(datasets, voxels, strict=True):
        set_pixels(dataset, hu, intercept=-3000)
        dataset.add_new("PixelPaddingValue", "US", 1000)
    write_series(datasets, tmp_path / "thick")
    enhance(tmp_path / "thick", tmp_path / "thin")
    for result in slices(tmp_path / "thin"):
        assert result.PixelPaddingValue == 1000
        assert np.all(result.pixel_array[:2] == 1000)
    assert np.all(sitk.GetArrayFromImage(read_by_itk(tmp_path / "thin"))[:, :2] == -2000)


def test_values_beyond_the_sources_bits_are_stored_without_loss(tmp_path):
    voxels = np.zeros((6, 8, 10), np.int16)
    voxels[:3] = -1024  # cubic interpolation goes below, where unsigned values with -1024 end
    write_series(ct_series(voxels), tmp_path / "thick")
    enhance(tmp_path / "thick", tmp_path / "thin")
    enhance(tmp_path / "thick", tmp_path / "thin.nrrd")
    file = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "thin.nrrd")))
    assert file.min() < -1024
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_by_itk(tmp_path / "thin")), file)


def test_patient_study_and_frame_of_reference_stay_and_series_and_instances_are_new(tmp_path):
    datasets = ct_series(smooth_hu())
    for dataset in datasets:
        dataset.PatientName, dataset.PatientID, dataset.StudyDate = "Doe^Jane", "J1", "20200102"
        dataset.SpecificCharacterSet = "ISO_IR 100"
    write_series(datasets, tmp_path / "thick")
    enhance(tmp_path / "thick", tmp_path / "thin")
    source, results = datasets[0], slices(tmp_path / "thin")
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID"):
        assert {getattr(one, keyword) for one in results} == {getattr(source, keyword)}
    assert len({one.SeriesInstanceUID for one in results}) == 1
    assert results[0].SeriesInstanceUID != source.SeriesInstanceUID
    assert len({one.SOPInstanceUID for one in results}) == len(results) == 26
    assert not {one.SOPInstanceUID for one in results} & {one.SOPInstanceUID for one in datasets}
    assert [one.InstanceNumber for one in results] == list(range(1, 27))
    assert all(one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID for one in results)


def test_the_tags_say_what_was_made_of_what_and_by_what(series, tmp_path, one_thread):
    enhance(series, tmp_path / "thin", method="universal")
    results = slices(tmp_path / "thin")
    for one in results:
        assert list(one.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
        assert (one.Modality, one.SliceThickness, one.ConvolutionKernel) == ("CT", 1.0, "B31f")
        assert one.SeriesDescription.startswith("AI-enhanced 1 mm, not for primary diagnosis: Thorax")
        assert len(one.SeriesDescription) <= 64
        for words in (f"thicktothin {__version__}", "method universal", "weights Universal 1.", "sha256"):
            assert words in one.DerivationDescription
        assert "not for primary diagnosis" in one.DerivationDescription
    sources = [dcmread(path) for path in series.iterdir()]
    by_height = sorted(sources, key=lambda one: one.ImagePositionPatient[2])
    referred = [[item.ReferencedSOPInstanceUID for item in one.SourceImageSequence] for one in results]
    assert referred[5] == [by_height[1].SOPInstanceUID]
    assert referred[7] == [by_height[1].SOPInstanceUID, by_height[2].SOPInstanceUID]


def test_what_no_network_made_is_not_called_ai(series, tmp_path):
    enhance(series, tmp_path / "thin")
    result = slices(tmp_path / "thin")[0]
    assert "AI" not in result.SeriesDescription.replace("without AI", "")
    assert "no weights" in result.DerivationDescription


@pytest.mark.parametrize("lossy", ["01", "00", None])
def test_whether_the_source_was_once_compressed_with_loss_is_kept(tmp_path, lossy):
    datasets = ct_series(smooth_hu())
    for dataset in datasets:
        if lossy:
            dataset.LossyImageCompression = lossy
        if lossy == "01":
            dataset.LossyImageCompressionRatio, dataset.LossyImageCompressionMethod = 10, "ISO_10918_1"
    write_series(datasets, tmp_path / "thick", syntax=ImplicitVRLittleEndian)
    enhance(tmp_path / "thick", tmp_path / "thin")
    for result in slices(tmp_path / "thin"):
        assert result.get("LossyImageCompression") == lossy
        assert result.get("LossyImageCompressionRatio") == (10 if lossy == "01" else None)
        assert not result.file_meta.TransferSyntaxUID.is_compressed


def test_a_multi_frame_object_gives_a_series_of_single_slices_at_its_place(tmp_path):
    (tmp_path / "thick").mkdir()
    write_series([enhanced_ct(smooth_hu(), order=[3, 0, 5, 1, 4, 2])], tmp_path / "thick")
    enhance(tmp_path / "thick", tmp_path / "thin")
    thin = read_by_itk(tmp_path / "thin")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(thin)[::5], smooth_hu())
    np.testing.assert_allclose(thin.GetOrigin(), (-20, 30, -100), atol=1e-3)


def test_the_derived_series_can_be_read_by_the_program_itself(series, tmp_path):
    enhance(series, tmp_path / "thin")
    again = read_series(tmp_path / "thin")
    assert (again.thickness, again.voxels.shape) == (1.0, (26, 8, 10))


def test_a_folder_that_holds_something_else_is_refused_untouched(series, tmp_path, capfd):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    line = expect_refusal(capfd, tmp_path, "enhance", series, tmp_path / "mine", "--overwrite")
    assert "not empty" in line


def test_a_result_is_replaced_only_when_asked(series, tmp_path, capfd):
    enhance(series, tmp_path / "thin")
    expect_refusal(capfd, tmp_path, "enhance", series, tmp_path / "thin", "--method", "interpolation")
    first = slices(tmp_path / "thin")[0].SeriesInstanceUID
    enhance(series, tmp_path / "thin", "--overwrite")
    assert slices(tmp_path / "thin")[0].SeriesInstanceUID != first
    assert len(slices(tmp_path / "thin")) == 26


def derived(series: Path, tmp_path: Path):
    """A thin volume of the series and its report."""
    enhance(series, tmp_path / "first")
    report = json.loads((tmp_path / "first.provenance.json").read_text())
    thin = read_series(tmp_path / "first")
    thin.source["files"] = sorted(str(path) for path in series.iterdir())
    return thin, report


def test_cancelled_half_way_nothing_is_left(series, tmp_path):
    thin, report = derived(series, tmp_path)
    before, polls = contents(tmp_path), iter([False] * 5)
    with pytest.raises(Cancelled):
        write_derived(thin, tmp_path / "thin", report, Monitor(cancelled=lambda: next(polls, True)))
    assert contents(tmp_path) == before


def test_a_full_disk_leaves_nothing_and_says_so(series, tmp_path, monkeypatch):
    thin, report = derived(series, tmp_path)
    before, write, written = contents(tmp_path), pydicom.dcmwrite, []

    def full(path, *rest, **options):
        if len(written) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write(path, *rest, **options)

    monkeypatch.setattr(pydicom, "dcmwrite", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_derived(thin, tmp_path / "thin", report, Monitor())
    assert len(written) == 5
    assert contents(tmp_path) == before


def test_only_ct_becomes_a_derived_series(series, tmp_path):
    thin, report = derived(series, tmp_path)
    for path in series.iterdir():
        dataset = dcmread(path)
        dataset.Modality = "MR"
        dataset.save_as(path)
    with pytest.raises(UserError, match=r"modality is MR, but .* CT only"):
        write_derived(thin, tmp_path / "thin", report, Monitor())
    assert not (tmp_path / "thin").exists()


def test_a_real_series_keeps_its_place_its_hu_and_its_patient(tmp_path):
    source = shared("data/dicom_lungdx0002_8mm_soft")
    enhance(source, tmp_path / "thin", "--spacing", "4")
    thick, thin = read_by_itk(source), read_by_itk(tmp_path / "thin")
    np.testing.assert_allclose(corners(thin, 4.0, 232), corners(thick, 8.0, 232), atol=1e-3)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(thin)[::2], sitk.GetArrayFromImage(thick))
    result, first = slices(tmp_path / "thin")[0], dcmread(sorted(source.glob("*.dcm"))[0])
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "KVP", "WindowCenter"):
        assert result[keyword].value == first[keyword].value
