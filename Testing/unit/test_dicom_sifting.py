"""What is no slice of a scan is left out and named; what may be a slice never is; copies count once."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import (
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
    generate_uid,
)

from Testing.command_line import expect_refusal, run
from Testing.make_dicom import ct_series, enhanced_ct, set_pixels, write_series
from Testing.shared_data import shared
from Testing.volumes import dicom_hu
from ThickToThinSRLib.batch.inputs import find_inputs
from ThickToThinSRLib.enhance import enhance_file
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.dicom.series import read_series
from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.io.volume_files import read_volume
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.settings import Settings

# NumPy warns of numbers that the library should have refused or handled before.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
SAGITTAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])


def read(folder, series=None):
    """The voxels of a series and the notes."""
    monitor = Monitor()
    return read_series(folder, series, monitor).voxels, " | ".join(monitor.notes)


def refusal(folder, series=None) -> str:
    with pytest.raises(UserError) as caught:
        read_series(folder, series)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def without_place(dataset):
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if keyword in dataset:
            del dataset[keyword]
    return dataset


def of_series(dataset, other):
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = other.SeriesInstanceUID, other.StudyInstanceUID
    return dataset


# ---- images that are no slices ---------------------------------------------------------------------------


def capture(size=(64, 64), **attributes):
    """A Secondary Capture of the whole screen."""
    dataset = without_place(ct_series(dicom_hu((1, *size)))[0])
    dataset.SOPClassUID, dataset.ImageType = SecondaryCaptureImageStorage, ["DERIVED", "SECONDARY"]
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def placed_capture(**attributes):
    where = {"ImagePositionPatient": [0, -124.8, 916.5], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    return capture(PixelSpacing=[1, 1], **where, **attributes)


def colour_capture():
    dataset = capture(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    dataset.PixelData = bytes(3 * 64 * 64)
    return dataset


def ct_class(image_type, size=(64, 64)):
    dataset = without_place(ct_series(dicom_hu((1, *size)))[0])
    dataset.ImageType = image_type
    return dataset


def picture(photometric, samples):
    """A picture in colour of the place of a slice, in the class of the slices."""
    dataset = ct_series(dicom_hu((1, 8, 10)))[0]
    dataset.ImageType, dataset.SamplesPerPixel = ["DERIVED", "SECONDARY"], samples
    dataset.PhotometricInterpretation = photometric
    return dataset


def scout(direction, image_type=("ORIGINAL", "PRIMARY", "AXIAL"), size=(8, 10)):
    dataset = ct_series(dicom_hu((1, *size)), direction=direction)[0]
    dataset.ImageType = list(image_type)
    return dataset


IMAGES = {
    "capture": (capture, "screen capture"),
    "capture of the slices' size": (lambda: capture((8, 10)), "screen capture"),
    "capture in colour": (colour_capture, "screen capture"),
    "capture with a place": (placed_capture, "screen capture"),
    "survey as a capture": (
        lambda: placed_capture(ImageType=["DERIVED", "SECONDARY", "REF_SURVIEW"]),
        "screen capture",
    ),
    "capture without ImageType": (lambda: capture(ImageType=None), "screen capture"),
    "screen in the CT class": (lambda: ct_class(["DERIVED", "SECONDARY", "SCREEN SAVE"]), "screen capture"),
    "dose page in the CT class": (lambda: ct_class(["DERIVED", "SECONDARY", "DOSE_INFO"]), "screen capture"),
    "protocol page": (lambda: ct_class(["ORIGINAL", "PRIMARY", "OTHER", "CT_SOM5 PROT"]), "protocol page"),
    "page without words": (lambda: ct_class(["DERIVED", "SECONDARY", "OTHER"]), "image without a position"),
    "page that says it is primary": (
        lambda: ct_class(["ORIGINAL", "PRIMARY", "AXIAL"], (512, 512)),
        "image without a position",
    ),
    "page of the slices' size that says it is primary": (
        lambda: ct_class(["ORIGINAL", "PRIMARY", "AXIAL"], (8, 10)),
        "image without a position",
    ),
    "picture in colour": (lambda: picture("RGB", 3), "colour image"),
    "picture in other colours": (lambda: picture("YBR_FULL_422", 3), "colour image"),
    "picture with a palette": (lambda: picture("PALETTE COLOR", 1), "colour image"),
    "marked localizer": (lambda: scout(CORONAL, ("ORIGINAL", "PRIMARY", "LOCALIZER")), "localizer"),
    "localizer by another name": (lambda: scout(np.eye(3), ("ORIGINAL", "PRIMARY", "SCOUT")), "localizer"),
    "unmarked frontal scout": (lambda: scout(CORONAL), "localizer"),
    "unmarked lateral scout": (lambda: scout(SAGITTAL, size=(64, 64)), "localizer"),
}


@pytest.mark.parametrize("same_series", [True, False])
@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_is_no_slice_is_left_out_and_named(tmp_path, name, same_series):
    make, kind = IMAGES[name]
    slices, other = ct_series(dicom_hu()), make()
    other.StudyInstanceUID = slices[0].StudyInstanceUID
    if same_series:
        of_series(other, slices[0])
    write_series(slices, tmp_path / "in" / "ct")
    write_series([other], tmp_path / "in" / "zz")
    voxels, notes = read(tmp_path / "in")
    assert np.array_equal(voxels, dicom_hu())
    assert "zz/00-0.dcm" in notes
    if same_series or "unmarked" not in name:
        expected = "image without a position" if not same_series and "primary" in name else kind
        assert f"1 {expected} (zz/00-0.dcm)" in notes
    monitor = Monitor()
    inputs = find_inputs(tmp_path / "in", tmp_path / "out", monitor)
    assert [entry.series for entry in inputs] == [slices[0].SeriesInstanceUID]
    assert "zz/00-0.dcm" in monitor.notes[0]


def test_scouts_in_two_directions_are_left_out_together(tmp_path):
    slices = ct_series(dicom_hu())
    scouts = [of_series(scout(direction), slices[0]) for direction in (CORONAL, SAGITTAL)]
    write_series([*slices, *scouts], tmp_path)
    voxels, notes = read(tmp_path)
    assert np.array_equal(voxels, dicom_hu())
    assert "2 localizers" in notes


def localizers_of(slices):
    """A series of two scouts across each other that nothing marks as such."""
    front, side = scout(CORONAL), scout(SAGITTAL)
    side.ImagePositionPatient = ["5", "-40", "300"]
    side.SeriesInstanceUID = front.SeriesInstanceUID
    return [front, side]


def enhanced_localizers_of(slices):
    """The same in one object, which has no other word for it than AXIAL."""
    both = enhanced_ct(dicom_hu((2, 8, 10)))
    del both.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    frames = both.PerFrameFunctionalGroupsSequence
    for frame, direction in zip(frames, (CORONAL, SAGITTAL), strict=True):
        plane = Dataset()
        plane.ImageOrientationPatient = [str(value) for value in direction.T[:2].ravel()]
        frame.PlaneOrientationSequence = Sequence([plane])
    return [both]


def turning_mip_of(slices):
    """A projection that turns about the long axis: no two images lie parallel."""
    images = ct_series(dicom_hu((8, 8, 10)))
    for number, image in enumerate(images):
        x, y = np.cos(np.pi * number / 8), np.sin(np.pi * number / 8)
        image.ImageOrientationPatient = [f"{value:.6f}" for value in (x, y, 0, 0, 0, -1)]
        image.ImagePositionPatient = [f"{value:.4f}" for value in (-10 * x, -10 * y, 50)]
        image.ImageType = ["DERIVED", "SECONDARY", "AXIAL", "MIP"]
    return images


def pages_of_frames_of(slices):
    """A capture of many frames that describes each, but not where it lies."""
    pages = capture(NumberOfFrames=3)
    pages.SOPClassUID, pages.PixelData = MultiFrameGrayscaleWordSecondaryCaptureImageStorage, bytes(3 * 8192)
    pages.PerFrameFunctionalGroupsSequence = Sequence([Dataset() for _ in range(3)])
    pages.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    return [pages]


def of_modality(modality):
    def images_of(slices):
        images = ct_series(dicom_hu((6, 8, 10), seed=3))
        for image in images:
            image.Modality = modality
        return images

    return images_of


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (localizers_of, "2 images of a series that is no stack"),
        (enhanced_localizers_of, "1 image of a series that is no stack"),
        (turning_mip_of, "8 images of a series that is no stack"),
        (pages_of_frames_of, "1 screen capture"),
        (of_modality("PT"), "6 images of modality PT"),
        (of_modality("MR"), "6 images of modality MR"),
    ],
)
@pytest.mark.parametrize("enhanced", [False, True])
def test_a_series_that_is_no_stack_of_ct_is_no_choice_beside_one(tmp_path, make, said, enhanced):
    slices = [enhanced_ct(dicom_hu())] if enhanced else ct_series(dicom_hu())
    others = make(slices)
    for dataset in others:
        dataset.StudyInstanceUID = slices[0].StudyInstanceUID
    write_series(slices, tmp_path / "in" / "ct")
    write_series(others, tmp_path / "in" / "zz")
    voxels, notes = read(tmp_path / "in")
    assert np.array_equal(voxels, dicom_hu())
    assert said in notes
    assert "zz/" in notes
    monitor = Monitor()
    inputs = find_inputs(tmp_path / "in", tmp_path / "out", monitor)
    assert [entry.series for entry in inputs] == [slices[0].SeriesInstanceUID]
    assert said in monitor.notes[0]


def test_another_modality_can_still_be_chosen_and_is_taken_where_it_is_alone(tmp_path):
    others = of_modality("PT")([])
    write_series(others, tmp_path / "pt")
    assert np.array_equal(read(tmp_path)[0], dicom_hu((6, 8, 10), seed=3))
    assert len(find_inputs(tmp_path, tmp_path.parent / "out")) == 1
    write_series(ct_series(dicom_hu()), tmp_path / "ct")
    chosen, _ = read(tmp_path, others[0].SeriesInstanceUID)
    assert np.array_equal(chosen, dicom_hu((6, 8, 10), seed=3))
    assert len(find_inputs(tmp_path, tmp_path.parent / "out")) == 2  # of another study


def test_a_scout_in_the_series_of_an_enhanced_object_is_left_out(tmp_path):
    slices = enhanced_ct(dicom_hu())
    write_series([slices], tmp_path / "ct")
    write_series([of_series(scout(CORONAL), slices)], tmp_path / "zz")
    voxels, notes = read(tmp_path)
    assert np.array_equal(voxels, dicom_hu())
    assert "1 localizer (zz/00-0.dcm)" in notes


@pytest.mark.parametrize("uid", [True, False])
def test_objects_of_other_kinds_are_left_out_and_counted_by_kind(tmp_path, uid):
    slices = ct_series(dicom_hu())
    classes = {
        XRayRadiationDoseSRStorage: "1 dose report",
        RTStructureSetStorage: "1 structure set",
        GrayscaleSoftcopyPresentationStateStorage: "1 presentation state",
        EncapsulatedPDFStorage: "1 document",
        KeyObjectSelectionDocumentStorage: "1 key object selection",
        "1.2.840.10008.5.1.4.1.1.66.4": "1 segmentation",
        "1.2.840.10008.5.1.4.1.1.481.2": "1 dose distribution",
        "1.2.840.10008.5.1.4.1.1.481.5": "1 radiotherapy object",
        "1.3.12.2.1107.5.9.1": "1 other object",
    }
    others = []
    for kind in classes:
        other = Dataset()
        other.SOPClassUID, other.SOPInstanceUID = kind, generate_uid()
        if uid:
            of_series(other, slices[0])
        others.append(other)
    write_series(slices, tmp_path / "ct")
    write_series(others, tmp_path / "other")
    voxels, notes = read(tmp_path)
    assert np.array_equal(voxels, dicom_hu())
    for said in classes.values():
        assert said in notes


def test_true_slices_that_a_program_wrote_as_captures_are_read(tmp_path):
    slices = ct_series(dicom_hu())
    for dataset in slices:
        dataset.SOPClassUID = SecondaryCaptureImageStorage
    write_series(slices, tmp_path)
    assert np.array_equal(read(tmp_path)[0], dicom_hu())


def test_a_series_without_extent_is_no_choice_beside_a_scan(tmp_path):
    slices = ct_series(dicom_hu())
    bolus = [of_series(scout(np.eye(3)), slices[0]) for _ in range(4)]
    series = generate_uid()
    for dataset in bolus:
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series, slices[0].FrameOfReferenceUID
    write_series(slices, tmp_path / "in" / "ct")
    write_series(bolus, tmp_path / "in" / "bolus")
    voxels, notes = read(tmp_path / "in")
    assert np.array_equal(voxels, dicom_hu())
    assert "4 images of a series that is no stack" in notes
    assert len(find_inputs(tmp_path / "in", tmp_path / "out")) == 1
    assert "same position" in refusal(tmp_path / "in", series)
    shutil.rmtree(tmp_path / "in" / "ct")
    assert "same position" in refusal(tmp_path / "in")
    assert len(find_inputs(tmp_path / "in", tmp_path / "out")) == 1  # it fails by name


def test_two_stacks_are_a_real_choice_and_a_capture_beside_them_is_none(tmp_path):
    soft, sharp = ct_series(dicom_hu()), ct_series(dicom_hu(seed=1))
    write_series([*soft, *sharp, capture()], tmp_path)
    message = refusal(tmp_path)
    assert "2 series, choose one" in message
    assert np.array_equal(read(tmp_path, sharp[0].SeriesInstanceUID)[0], dicom_hu(seed=1))


def test_a_series_of_captures_alone_is_refused_with_what_it_is(tmp_path):
    one = capture()
    write_series([one], tmp_path)
    assert "only 1 screen capture (00-0.dcm)" in refusal(tmp_path)
    assert "no slices of a scan: 1 screen capture" in refusal(tmp_path, one.SeriesInstanceUID)
    with pytest.raises(
        UserError, match=r"contains neither volume files nor DICOM series; .*1 screen capture"
    ):
        find_inputs(tmp_path, tmp_path.parent / "out")


@pytest.mark.parametrize("count", [3, 10])
def test_a_second_stack_in_another_direction_is_no_scout_and_is_refused_by_name(tmp_path, count):
    slices = ct_series(dicom_hu((12, 8, 10)))
    others = [of_series(one, slices[0]) for one in ct_series(dicom_hu((count, 8, 10)), direction=CORONAL)]
    for dataset in others:
        dataset.FrameOfReferenceUID = slices[0].FrameOfReferenceUID
    write_series(slices, tmp_path / "a")
    write_series(others, tmp_path / "b", prefix="coronal-")
    message = refusal(tmp_path)
    assert "orientation" in message
    assert "coronal-" in message


# ---- copies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 6])
@pytest.mark.parametrize("place", [".", "copy"])
def test_copies_of_files_count_once(tmp_path, place, copies):
    write_series(ct_series(dicom_hu()), tmp_path / "in" / "ct")
    (tmp_path / "in" / "ct" / place).mkdir(exist_ok=True)
    for path in sorted((tmp_path / "in" / "ct").glob("*.dcm"))[:copies]:
        shutil.copy(path, tmp_path / "in" / "ct" / place / f"z{path.name}")
    voxels, notes = read(tmp_path / "in")
    assert np.array_equal(voxels, dicom_hu())
    assert (
        f"{copies} file{'s' if copies > 1 else ''} with the SOP Instance UID of another counted once" in notes
    )


def test_a_study_beside_its_copy_is_one_input(tmp_path):
    write_series(ct_series(dicom_hu()), tmp_path / "in" / "a")
    shutil.copytree(tmp_path / "in" / "a", tmp_path / "in" / "b")
    monitor = Monitor()
    inputs = find_inputs(tmp_path / "in", tmp_path / "out", monitor)
    assert [entry.name for entry in inputs] == ["a"]
    assert "6 files with the SOP Instance UID of another counted once" in monitor.notes[0]


def test_an_enhanced_object_beside_its_copy_counts_once(tmp_path):
    write_series([enhanced_ct(dicom_hu())], tmp_path)
    shutil.copy(tmp_path / "00-0.dcm", tmp_path / "again.dcm")
    assert np.array_equal(read(tmp_path)[0], dicom_hu())


def test_a_copy_in_another_transfer_syntax_is_a_copy(tmp_path):
    from pydicom.uid import RLELossless

    write_series(ct_series(dicom_hu()), tmp_path)
    dataset = dcmread(tmp_path / "00-0.dcm")
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(tmp_path / "rle.dcm")
    voxels, notes = read(tmp_path)
    assert np.array_equal(voxels, dicom_hu())
    assert "rle.dcm" in notes


def test_a_copy_with_other_pixels_is_refused_with_both_names(tmp_path):
    write_series(ct_series(dicom_hu()), tmp_path)
    dataset = dcmread(tmp_path / "00-0.dcm")
    set_pixels(dataset, dicom_hu(seed=5)[0])
    dataset.save_as(tmp_path / "edited.dcm")
    message = refusal(tmp_path)
    assert "00-0.dcm" in message
    assert "edited.dcm" in message


def test_slices_to_which_an_anonymizer_gave_one_uid_are_no_copies(tmp_path):
    slices = ct_series(dicom_hu())
    for dataset in slices:
        dataset.SOPInstanceUID = slices[0].SOPInstanceUID
    write_series(slices, tmp_path)
    assert np.array_equal(read(tmp_path)[0], dicom_hu())


def test_slices_at_one_position_with_other_uids_are_refused_with_their_names(tmp_path):
    slices = ct_series(dicom_hu())
    slices[3].ImagePositionPatient = slices[2].ImagePositionPatient
    write_series(slices, tmp_path)
    message = refusal(tmp_path)
    for number in (2, 3):
        assert f"{number * 7 % 11:02d}-{number}.dcm" in message


# ---- one file, one slice, a small tilt -------------------------------------------------------------------


def test_one_file_of_a_series_stands_for_the_series(tmp_path):
    slices = ct_series(dicom_hu())
    write_series(slices, tmp_path / "in")
    write_series(ct_series(dicom_hu(seed=1)), tmp_path / "in", prefix="other-")
    path = tmp_path / "in" / "00-0.dcm"
    bare = tmp_path / "in" / "without a suffix"
    path.rename(bare)
    for number, source in enumerate((bare, tmp_path / "in" / "07-1.dcm")):
        monitor = Monitor()
        report = enhance_file(source, tmp_path / str(number), Settings(method="interpolation"), monitor)
        assert any("one file of a series" in note and "6 slices" in note for note in report["notes"])
        made = read_series(tmp_path / str(number)).voxels
        assert np.array_equal(made[::5], dicom_hu())
    uid = slices[0].SeriesInstanceUID
    assert np.array_equal(read_input(bare, uid).voxels, dicom_hu())
    with pytest.raises(UserError, match=r"belongs to series .*, not to series 1\.2\.3"):
        read_input(bare, "1.2.3")


def test_one_file_that_is_no_slice_is_refused(tmp_path, capfd):
    write_series(ct_series(dicom_hu()), tmp_path)
    write_series([capture()], tmp_path, prefix="page-")
    said = expect_refusal(capfd, tmp_path, "enhance", tmp_path / "page-00-0.dcm", tmp_path / "x.nrrd")
    assert "is no slice of a scan but a screen capture" in said
    (tmp_path / "text.dcm").write_text("no DICOM")
    expect_refusal(capfd, tmp_path, "enhance", tmp_path / "text.dcm", tmp_path / "x.nrrd")


@pytest.mark.parametrize("degrees", [0.0, 0.01, 0.05, 0.1])
@pytest.mark.parametrize(("spacing", "count"), [(5.0, 12), (2.5, 20), (1.25, 30), (10 / 3, 13)])
def test_a_small_tilt_loses_no_slice(tmp_path, degrees, spacing, count):
    angle = np.radians(degrees)
    direction = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    slices = ct_series(dicom_hu((count, 4, 5)), direction=direction)
    for k, dataset in enumerate(slices):
        dataset.ImagePositionPatient = ["-20", "30", f"{100 + spacing * k:.6f}"]
    write_series(slices, tmp_path)
    volume = read_series(tmp_path)
    whole = (count - 1) * spacing
    assert (count - 1) * volume.spacing[2] == pytest.approx(whole, abs=2e-6)
    report = enhance_file(
        tmp_path, tmp_path.with_suffix(".nrrd"), Settings(method="interpolation", factor=5.0)
    )
    assert len(read_volume(tmp_path.with_suffix(".nrrd")).voxels) == 5 * (count - 1) + 1
    assert report["spacing_mm"] == pytest.approx(spacing, abs=1e-6)


def test_broken_links_beside_slices_are_refused(tmp_path):
    write_series(ct_series(dicom_hu()), tmp_path)
    (tmp_path / "99.dcm").symlink_to(tmp_path / "not there")
    assert "99.dcm: a link to a file that is not there" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["empty.dcm", "00099.IMA"])
def test_an_empty_file_beside_slices_is_named(tmp_path, name):
    folder = write_series(ct_series(dicom_hu()), tmp_path / "in")
    (folder / name).touch()
    voxels, notes = read(folder)
    assert np.array_equal(voxels, dicom_hu())
    assert f"1 empty file ({name})" in notes


@pytest.mark.parametrize("column", [(0.0, 0.999, 0.001), (0.0, 1.001, 0.0), (0.0005, 0.9985, 0.0)])
def test_directions_of_three_digits_are_directions(tmp_path, column):
    slices = ct_series(dicom_hu())
    for dataset in slices:
        dataset.ImageOrientationPatient = [1.0, 0.0, 0.0, *column]
    volume = read_series(write_series(slices, tmp_path / "in"))
    assert np.allclose(volume.direction.T @ volume.direction, np.eye(3), atol=1e-7)
    assert np.allclose(volume.direction, np.eye(3), atol=2e-3)


@pytest.mark.parametrize(
    ("shear", "said"), [(1e-4, ""), (1e-3, "straightening moved voxels by up to 0.026 mm"), (5e-3, "refused")]
)
def test_sheared_directions_are_straight_to_a_tenth_of_a_millimetre(tmp_path, shear, said):
    slices = ct_series(dicom_hu((6, 33, 10)))
    for dataset in slices:
        dataset.ImageOrientationPatient = [1.0, 0.0, 0.0, shear, 1.0, 0.0]
    folder = write_series(slices, tmp_path / "in")
    if said == "refused":
        assert "not perpendicular by 0.13 mm" in refusal(folder)
        return
    notes = read(folder)[1]
    assert said in notes
    assert ("straightening" in notes) == bool(said)


@pytest.mark.parametrize("value", [b"nan", b"inf", b"-inf", b"1e99", b"1e300", b"0.00"])
def test_directions_that_are_none_are_refused_by_name(tmp_path, value):
    folder = write_series(ct_series(dicom_hu()), tmp_path / "in")
    path = next(iter(sorted(folder.iterdir())))
    good = b"1.00000000\\0.00000000"
    bad = value.ljust(10) + good[10:]
    path.write_bytes(path.read_bytes().replace(good, bad, 1))
    assert path.name in refusal(folder)


@pytest.mark.parametrize("value", [1e20, -1e12, "1e300", 3e9])
@pytest.mark.parametrize(
    "keyword", ["RescaleSlope", "RescaleIntercept", "SliceThickness", "PixelSpacing", "ImagePositionPatient"]
)
def test_absurd_numbers_are_refused_by_name(tmp_path, keyword, value):
    slices = ct_series(dicom_hu())
    for dataset in slices:
        count = {"PixelSpacing": 2, "ImagePositionPatient": 3}.get(keyword)
        setattr(dataset, keyword, [str(value)] * count if count else str(value))
    assert keyword in refusal(write_series(slices, tmp_path / "in"))


def test_values_without_a_rescaling_are_doubted(tmp_path):
    slices = ct_series(dicom_hu())
    assert "warnings" not in read_series(write_series(slices, tmp_path / "in")).source
    for dataset in slices:
        del dataset.RescaleIntercept, dataset.RescaleSlope
    volume = read_series(write_series(slices, tmp_path / "in"))
    assert "(RescaleIntercept): they are taken for HU" in volume.source["warnings"][0]


def test_messages_are_plain(tmp_path):
    slices = ct_series(dicom_hu())
    for dataset in slices:
        del dataset.Modality
    folder = write_series(slices, tmp_path / "in")
    with pytest.raises(UserError, match="no modality is given"):
        enhance_file(folder, tmp_path / "out", Settings(method="interpolation"))
    del slices[2].ImagePositionPatient
    assert "it has no ImagePositionPatient" in refusal(write_series(slices, tmp_path / "in"))
    del slices[3].SeriesInstanceUID
    assert "does not name its series" in refusal(write_series(slices, tmp_path / "in"))


# ---- the shared cases ------------------------------------------------------------------------------------

CASES = {
    "one_slice": "two slices are the least",
    "copied_slice": "1 file with the SOP Instance UID of another counted once: copy.dcm",
    "study_with_screenshots": "6 screen captures",
    "capture_in_series": "1 screen capture (sc.dcm)",
    "unmarked_scout": "1 localizer (l/IM0000.dcm)",
    "tilt_0p05_degree": "",
}


def check_field(path) -> None:
    """HU = -700 + 3 x + 2 y + 5 z, but for the ends."""
    volume = read_volume(path) if path.is_file() else read_series(path)
    assert len(volume.voxels) == 56
    axes = np.meshgrid(*(np.arange(n) for n in volume.voxels.shape[::-1]), indexing="ij")
    indices = np.stack(axes, -1).transpose(2, 1, 0, 3)
    places = np.asarray(volume.origin) + (indices * volume.spacing) @ volume.direction.T
    expected = -700 + places @ (3, 2, 5)
    assert np.abs(volume.voxels - expected)[12:-12].max() <= 1


@pytest.mark.parametrize("name", CASES)
def test_the_shared_cases_come_out_right(name, tmp_path):
    source = shared(f"cases/{name}")
    target, said = tmp_path / "thin.nii.gz", CASES[name]
    one = run("enhance", source, target, "--method", "consistent")
    many = run("enhance-many", source, tmp_path / "many", "--method", "consistent")
    if name == "one_slice":
        assert (one.returncode, many.returncode) == (2, 2)
        assert one.stderr.count("\n") == 1
        assert said in one.stderr
        assert said in many.stderr
        assert "IM0000.dcm" in one.stderr
        assert not target.exists()
        return
    assert (one.returncode, many.returncode) == (0, 0), one.stderr + many.stderr
    assert said in one.stdout
    assert said in many.stdout
    check_field(target)
    (beside,) = (tmp_path / "many").glob("*.provenance.json")
    check_field(beside.with_name(beside.name.removesuffix(".provenance.json")))
