"""Reading DICOM series: right voxels and geometry, and refusal of what is no regular stack."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from Testing.make_dicom import (
    OBLIQUE,
    compress_by_itk,
    ct_series,
    enhanced_ct,
    set_pixels,
    write_series,
)
from Testing.shared_data import shared
from Testing.volumes import dicom_hu
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.dicom.series import read_series

SAGITTAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])
FEET_FIRST = np.diag([-1.0, 1, -1])


def refusal(folder, series_uid=None) -> str:
    with pytest.raises(UserError) as caught:
        read_series(folder, series_uid)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE, SAGITTAL, FEET_FIRST], ids=str)
def test_voxels_and_geometry_come_back_in_every_orientation(tmp_path, direction):
    voxels = dicom_hu()
    write_series(ct_series(voxels, direction=direction), tmp_path)
    volume = read_series(tmp_path)
    if np.linalg.det(direction) < 0:
        # k runs along row x column, hence from the other end.
        voxels = voxels[::-1]
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.spacing, (0.7, 0.8, 5.0), atol=1e-6)
    assert np.linalg.det(volume.direction) == pytest.approx(1)
    np.testing.assert_allclose(volume.direction[:, :2], direction[:, :2], atol=1e-6)
    first = 0 if np.linalg.det(direction) > 0 else len(voxels) - 1
    expected = np.array((-20.0, 30.0, -100.0)) + direction[:, 2] * 5.0 * first
    np.testing.assert_allclose(volume.origin, expected, atol=1e-6)
    assert (volume.slice_axis, volume.thickness) == (2, 5.0)


def test_geometry_agrees_with_itk_for_an_oblique_stack(tmp_path):
    write_series(ct_series(dicom_hu(), direction=OBLIQUE), tmp_path)
    check_against_itk(tmp_path)


def test_the_real_series_agrees_with_itk_voxel_for_voxel():
    folder = shared("data/dicom_lungdx0002_8mm_soft")
    volume = check_against_itk(folder)
    assert volume.voxels.shape == (30, 512, 512)
    assert (volume.spacing[2], volume.thickness) == (8.0, 8.0)
    assert volume.source["modality"] == "CT"
    assert volume.source["kernel"] == "B40f"


def check_against_itk(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    volume = read_series(folder)
    assert np.array_equal(volume.voxels, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.spacing, image.GetSpacing(), atol=1e-3)
    np.testing.assert_allclose(volume.origin, image.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(volume.direction.ravel(), image.GetDirection(), atol=1e-5)
    return volume


def test_the_source_keeps_identifiers_and_acquisition_but_no_patient(tmp_path):
    datasets = ct_series(dicom_hu())
    for dataset in datasets:
        dataset.PatientName, dataset.PatientID = "Doe^Jane", "J-4711"
    write_series(datasets, tmp_path)
    source = read_series(tmp_path).source
    assert source["series_uid"] == datasets[0].SeriesInstanceUID
    assert source["study_uid"] == datasets[0].StudyInstanceUID
    assert source["frame_of_reference_uid"] == datasets[0].FrameOfReferenceUID
    assert source["instance_uids"] == [dataset.SOPInstanceUID for dataset in datasets]
    assert (source["modality"], source["kernel"], source["patient_position"]) == ("CT", "B31f", "HFS")
    assert "Doe" not in str(source)
    assert "J-4711" not in str(source)  # a UID holds no letters


# ---- values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian], ids=str)
def test_uncompressed_transfer_syntaxes_are_read(tmp_path, syntax):
    write_series(ct_series(dicom_hu()), tmp_path, syntax)
    assert np.array_equal(read_series(tmp_path).voxels, dicom_hu())


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000", "RLE"])
@pytest.mark.parametrize("enhanced", [False, True])
def test_compressed_transfer_syntaxes_are_read(tmp_path, compressor, enhanced):
    voxels = dicom_hu((4, 32, 48))
    write_series([enhanced_ct(voxels)] if enhanced else ct_series(voxels), tmp_path)
    for path in list(tmp_path.iterdir()):
        if compressor == "RLE":
            dataset = dcmread(path)
            dataset.compress(RLELossless, generate_instance_uid=False)
            dataset.save_as(path)
        else:
            compress_by_itk(path, compressor)
    assert np.array_equal(read_series(tmp_path).voxels, voxels)


def test_compressed_slices_of_an_mr_keep_their_rescaling(tmp_path):
    datasets = ct_series(dicom_hu((4, 32, 48)))
    for dataset in datasets:
        dataset.Modality, dataset.SOPClassUID = "MR", "1.2.840.10008.5.1.4.1.1.4"
    write_series(datasets, tmp_path)
    for path in list(tmp_path.iterdir()):
        compress_by_itk(path, "JPEG2000")
    volume = read_series(tmp_path)
    assert np.array_equal(volume.voxels, dicom_hu((4, 32, 48)))
    assert volume.source["modality"] == "MR"


def test_each_slice_is_rescaled_by_its_own_slope_and_intercept(tmp_path):
    datasets = ct_series(dicom_hu())
    voxels = 2 * (dicom_hu() // 2)
    for k, dataset in enumerate(datasets):
        set_pixels(dataset, voxels[k], slope=1 + k % 2, intercept=-1024 - 2 * k)
    write_series(datasets, tmp_path)
    volume = read_series(tmp_path)
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(volume.voxels, voxels)


def test_a_fractional_slope_gives_float_values(tmp_path):
    datasets = ct_series(dicom_hu())
    voxels = dicom_hu().astype(np.float32)
    voxels[2] = np.random.default_rng(1).integers(0, 4000, voxels[2].shape) * 0.25 - 500.5
    set_pixels(datasets[2], voxels[2], slope=0.25, intercept=-500.5)
    write_series(datasets, tmp_path)
    volume = read_series(tmp_path)
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.voxels, voxels)


def test_values_beyond_16_bit_are_kept_as_32_bit_integers(tmp_path):
    datasets = ct_series(dicom_hu())
    voxels = dicom_hu().astype(np.int32)
    voxels[1] *= 20
    set_pixels(datasets[1], voxels[1], slope=20, intercept=-1024 * 20)
    write_series(datasets, tmp_path)
    volume = read_series(tmp_path)
    assert volume.voxels.dtype == np.int32
    assert np.array_equal(volume.voxels, voxels)


def test_signed_pixels_and_padding_values_stay_as_they_are(tmp_path):
    voxels = dicom_hu()
    voxels[:, :2] = -3024
    datasets = ct_series(np.maximum(voxels, -1024))
    for k, dataset in enumerate(datasets):
        dataset.PixelRepresentation, dataset.RescaleIntercept, dataset.PixelPaddingValue = 1, 0, -3024
        dataset.PixelData = voxels[k].tobytes()
    write_series(datasets, tmp_path)
    assert np.array_equal(read_series(tmp_path).voxels, voxels)


def test_an_enhanced_object_is_read_by_its_frames_positions_and_slopes(tmp_path):
    voxels = 2 * (dicom_hu((5, 8, 10)) // 2)
    write_series([enhanced_ct(voxels, order=[3, 0, 4, 1, 2], slopes=[1, 2, 1, 1, 2])], tmp_path)
    volume = read_series(tmp_path)
    assert np.array_equal(volume.voxels, voxels)
    assert volume.spacing == (0.7, 0.8, 5.0)
    assert volume.origin == (-20.0, 30.0, -100.0)
    assert volume.thickness == 5.0


def test_localizer_frames_of_an_enhanced_object_are_left_out(tmp_path):
    voxels = dicom_hu((5, 8, 10))
    dataset = enhanced_ct(voxels)
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        kind = Dataset()
        kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER" if number == 0 else "VOLUME", "NONE"]
        frame.CTImageFrameTypeSequence = [kind]
    write_series([dataset], tmp_path)
    volume = read_series(tmp_path)
    assert np.array_equal(volume.voxels, voxels[1:])
    assert volume.origin == (-20.0, 30.0, -95.0)


def test_a_multi_frame_object_without_positions_is_refused(tmp_path):
    dataset = enhanced_ct(dicom_hu())
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1, 1]
    write_series([dataset], tmp_path)
    assert "positions of its frames" in refusal(tmp_path)


# ---- which files belong together ---------------------------------------------------------------------------


def test_several_series_are_listed_and_one_can_be_chosen(tmp_path):
    soft, sharp = ct_series(dicom_hu(seed=1)), ct_series(dicom_hu((4, 8, 10), seed=2))
    for dataset in sharp:
        dataset.SeriesDescription = "Thorax sharp"
    write_series(soft, tmp_path / "one")
    write_series(sharp, tmp_path / "two" / "deeper")
    message = refusal(tmp_path)
    for expected in (
        soft[0].SeriesInstanceUID,
        "6 images",
        "Thorax sharp",
        "4 images",
        "choose one with series UID",
    ):
        assert expected in message
    volume = read_series(tmp_path, sharp[0].SeriesInstanceUID)
    assert np.array_equal(volume.voxels, dicom_hu((4, 8, 10), seed=2))
    unknown = refusal(tmp_path, "1.2.3")
    assert "no series 1.2.3" in unknown
    assert soft[0].SeriesInstanceUID in unknown


@pytest.mark.parametrize("same_series", [True, False])
def test_localizers_screenshots_reports_and_other_files_are_left_out(tmp_path, same_series):
    datasets = ct_series(dicom_hu())
    localizer, screenshot, dose = ct_series(dicom_hu((3, 64, 64)), direction=SAGITTAL)
    dose.Modality, dose.SeriesInstanceUID = "RTDOSE", generate_uid()
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    localizer.SeriesInstanceUID = datasets[0].SeriesInstanceUID if same_series else generate_uid()
    screenshot.SOPClassUID = SecondaryCaptureImageStorage
    screenshot.SeriesInstanceUID = generate_uid()
    del screenshot.ImagePositionPatient, screenshot.ImageOrientationPatient
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.67", generate_uid()
    report.SeriesInstanceUID, report.Modality = generate_uid(), "SR"
    write_series(datasets, tmp_path)
    write_series([localizer, screenshot, dose, report], tmp_path, prefix="other")
    (tmp_path / "readme.txt").write_text("notes")
    (tmp_path / "picture.dcm").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "empty.dcm").write_bytes(b"")
    assert np.array_equal(read_series(tmp_path).voxels, dicom_hu())


def test_files_without_the_preamble_are_read(tmp_path):
    write_series(ct_series(dicom_hu()), tmp_path, ImplicitVRLittleEndian)
    for path in tmp_path.iterdir():
        dataset = dcmread(path)
        dataset.save_as(path, enforce_file_format=False, implicit_vr=True, little_endian=True)
        raw = path.read_bytes()
        start = raw.index(b"\x08\x00\x08\x00") if raw[128:132] == b"DICM" else 0
        path.write_bytes(raw[start:])
        assert path.read_bytes()[:4] == b"\x08\x00\x08\x00"
    assert np.array_equal(read_series(tmp_path).voxels, dicom_hu())


# ---- what is refused -------------------------------------------------------------------------------------


def moved(datasets, index, by):
    place = np.array([float(value) for value in datasets[index].ImagePositionPatient]) + by
    datasets[index].ImagePositionPatient = [f"{value:.6f}" for value in place]


@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE], ids=["axial", "oblique"])
def test_missing_slices_are_refused_with_their_place(tmp_path, direction):
    datasets = ct_series(dicom_hu((9, 8, 10)), direction=direction)
    write_series([d for k, d in enumerate(datasets) if k not in (3, 6, 7)], tmp_path)
    message = refusal(tmp_path)
    assert "3 missing slices" in message
    assert "5.000 mm" in message
    assert "15.000 mm between" in message


def test_uneven_spacing_is_refused_with_the_measured_gaps(tmp_path):
    datasets = ct_series(dicom_hu())
    moved(datasets, 3, (0, 0, 0.5))
    write_series(datasets, tmp_path)
    message = refusal(tmp_path)
    assert "uneven" in message
    assert "4.500 to 5.500 mm" in message


def test_spacing_that_drifts_slowly_is_refused(tmp_path):
    datasets = ct_series(dicom_hu((21, 4, 4)))
    for k in range(21):
        moved(datasets, k, (0, 0, 0.002 * k * k))
    write_series(datasets, tmp_path)
    assert "uneven" in refusal(tmp_path)


def test_positions_rounded_to_hundredths_are_accepted(tmp_path):
    datasets = ct_series(dicom_hu(), spacing=(0.7, 0.8, 1.25), direction=OBLIQUE)
    for dataset in datasets:
        dataset.ImagePositionPatient = [f"{float(value):.2f}" for value in dataset.ImagePositionPatient]
    write_series(datasets, tmp_path)
    assert read_series(tmp_path).spacing[2] == pytest.approx(1.25, abs=0.005)


def test_slices_at_one_position_are_refused(tmp_path):
    datasets = ct_series(dicom_hu())
    moved(datasets, 3, (0, 0, -5))
    write_series(datasets, tmp_path)
    assert "1 slice at the same position as another" in refusal(tmp_path)


def test_gantry_tilt_is_refused_with_its_angle(tmp_path):
    angle = np.radians(12)
    tilted = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    datasets = ct_series(dicom_hu(), direction=tilted)
    for k, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = [-20, 30, -100 + 5 * k]
    write_series(datasets, tmp_path)
    message = refusal(tmp_path)
    assert "gantry tilt of 12.00 degrees" in message


def test_a_slice_shifted_sideways_is_refused(tmp_path):
    datasets = ct_series(dicom_hu())
    moved(datasets, 2, (0.6, -0.8, 0))
    write_series(datasets, tmp_path)
    assert "shifted in-plane by up to 1.00 mm" in refusal(tmp_path)


def test_mixed_orientations_are_refused_with_the_angle(tmp_path):
    datasets = ct_series(dicom_hu())
    angle = np.radians(3)
    datasets[4].ImageOrientationPatient = [1, 0, 0, 0, f"{np.cos(angle):.8f}", f"{np.sin(angle):.8f}"]
    write_series(datasets, tmp_path)
    message = refusal(tmp_path)
    assert "orientation" in message
    assert "3.0 degrees" in message


def test_a_flipped_slice_is_refused(tmp_path):
    datasets = ct_series(dicom_hu())
    datasets[4].ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
    write_series(datasets, tmp_path)
    assert "orientation" in refusal(tmp_path)


def test_mixed_sizes_pixel_spacings_and_frames_of_reference_are_refused(tmp_path):
    datasets = ct_series(dicom_hu())
    set_pixels(datasets[1], dicom_hu((1, 8, 12))[0])
    assert "12 x 8" in refusal(write_series(datasets, tmp_path / "size"))
    datasets = ct_series(dicom_hu())
    datasets[1].PixelSpacing = [0.8, 0.71]
    assert "pixel spacing" in refusal(write_series(datasets, tmp_path / "spacing"))
    datasets = ct_series(dicom_hu())
    datasets[1].FrameOfReferenceUID = generate_uid()
    assert "frames of reference" in refusal(write_series(datasets, tmp_path / "frame"))


@pytest.mark.parametrize(
    ("thicknesses", "expected"),
    [((5.0,) * 6, 5.0), ((5.0,) * 5 + (2.5,), None), ((0,) * 6, None), (("",) * 6, None)],
)
def test_slice_thickness_is_kept_only_where_it_is_told_and_agrees(tmp_path, thicknesses, expected):
    datasets = ct_series(dicom_hu())
    for dataset, thickness in zip(datasets, thicknesses, strict=True):
        dataset.SliceThickness = thickness
    write_series(datasets, tmp_path)
    assert read_series(tmp_path).thickness == expected


def test_spacing_is_measured_and_not_taken_from_the_header(tmp_path):
    datasets = ct_series(dicom_hu(), thickness=7.5)
    for dataset in datasets:
        dataset.SpacingBetweenSlices = 2.0
    write_series(datasets, tmp_path)
    volume = read_series(tmp_path)
    assert (volume.spacing[2], volume.thickness) == (5.0, 7.5)


def test_a_single_slice_is_refused(tmp_path):
    datasets = ct_series(dicom_hu((1, 8, 10)), thickness=6.0)
    assert "two slices are the least" in refusal(write_series(datasets, tmp_path))


def test_truncated_and_damaged_files_are_refused(tmp_path):
    folder = write_series(ct_series(dicom_hu((4, 32, 48))), tmp_path / "whole")
    whole = sorted(folder.iterdir())[1].read_bytes()
    for number, length in enumerate((140, 300, 500, 700, len(whole) - 500, len(whole) - 2)):
        damaged = shutil.copytree(folder, tmp_path / str(number))
        path = sorted(damaged.iterdir())[1]
        path.write_bytes(whole[:length])
        assert str(path) in refusal(damaged), length


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000", "RLE"])
def test_truncated_compressed_pixels_are_refused(tmp_path, compressor):
    folder = write_series(ct_series(dicom_hu((4, 32, 48))), tmp_path)
    for path in list(folder.iterdir()):
        if compressor == "RLE":
            dataset = dcmread(path)
            dataset.compress(RLELossless, generate_instance_uid=False)
            dataset.save_as(path)
        else:
            compress_by_itk(path, compressor)
    path = sorted(folder.iterdir())[2]
    path.write_bytes(path.read_bytes()[:-1200])
    assert str(path) in refusal(folder)


@pytest.mark.parametrize(
    "keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows"]
)
def test_a_slice_that_lacks_its_geometry_is_refused_and_not_left_out(tmp_path, keyword):
    datasets = ct_series(dicom_hu())
    del datasets[-1][keyword]
    assert "damaged" in refusal(write_series(datasets, tmp_path))


def test_colour_images_are_refused(tmp_path):
    datasets = ct_series(dicom_hu())
    for dataset in datasets:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.PixelData = bytes(6 * 80)
    assert "colour" in refusal(write_series(datasets, tmp_path))


def test_folders_without_a_series_are_refused(tmp_path):
    assert "no such folder" in refusal(tmp_path / "absent")
    assert "empty" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("no DICOM here")
    assert "no DICOM images" in refusal(tmp_path)
    assert "not a folder" in refusal(tmp_path / "notes.txt")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_an_unreadable_subfolder_is_refused_and_not_left_out(tmp_path):
    datasets = ct_series(dicom_hu())
    write_series(datasets[:3], tmp_path)
    write_series(datasets[3:], tmp_path / "closed").chmod(0)
    assert "cannot be read" in refusal(tmp_path)
