"""Tilted and uneven series made straight and even, against a phantom of known geometry."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.command_line import run
from Testing.make_dicom import OBLIQUE, ct_series, set_pixels, write_series
from Testing.volumes import dicom_hu
from ThickToThinSRLib.enhance import enhance_file
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.dicom.regularity import Repairs
from ThickToThinSRLib.io.dicom.series import read_series
from ThickToThinSRLib.io.dicom.straighten import even_heights, even_matrix, evened, unsheared
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.settings import Settings, flag
from ThickToThinSRLib.volume import Volume

BOTH = Repairs(untilt=True, resample_uneven=True)
TABLE = np.array([0.0, 0.0, 1.0])
FIRST = np.array([-18.0, -8.0, 100.0])
# The blob is wide enough to be sampled every 5 mm.
WIDTH, HEIGHT = 6.5, 900.0


def rotation(degrees: float, axis: str) -> np.ndarray:
    angle = np.radians(degrees)
    c, s = np.cos(angle), np.sin(angle)
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def linear(places: np.ndarray) -> np.ndarray:
    return -700 + places @ (3.0, 2.0, 5.0)


def blob(centre: np.ndarray):
    """The field of a soft ball in air."""
    return lambda places: -1000 + HEIGHT * np.exp(-(((places - centre) / WIDTH) ** 2).sum(axis=-1) / 2)


def middle(direction: np.ndarray, along: np.ndarray = TABLE) -> np.ndarray:
    """A place near the middle of the series' slices."""
    return FIRST + 28.7 * along + direction @ (25.3, 21.9, 0)


def series_of(field, folder, heights, direction, along=TABLE, slope=0.05):
    """A series whose slices lie at `heights` (mm) along `along` and hold `field` at their true places."""
    shape, spacing = (48, 64), (0.9, 0.8)
    origins = FIRST + np.outer(heights, along)
    grid = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), -1) * spacing
    places = [origin + grid @ direction[:, :2].T for origin in origins]
    datasets = ct_series([np.zeros(shape)] * len(heights))
    for dataset, origin, place in zip(datasets, origins, places, strict=True):
        set_pixels(dataset, np.clip(field(place), -1024, 2200), slope)
        dataset.ImagePositionPatient = [f"{value:.8f}" for value in origin]
        dataset.ImageOrientationPatient = [f"{value:.8f}" for value in direction.T[:2].ravel()]
        dataset.PixelSpacing = [spacing[1], spacing[0]]
    return write_series(datasets, folder)


def places_of(volume: Volume) -> np.ndarray:
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in volume.voxels.shape), indexing="ij"), -1)[
        ..., ::-1
    ]
    return np.asarray(volume.origin) + (indices * volume.spacing) @ volume.direction.T


def check_linear(volume: Volume, ends: int, fill: float = -1024) -> None:
    """The linear field to 1 HU where slices were measured all along the stack, but for the ends."""
    inner = slice(ends, len(volume.voxels) - ends)
    error = np.abs(volume.voxels - linear(places_of(volume)))[inner]
    measured = np.broadcast_to((volume.voxels > fill + 100).all(axis=0), error.shape)
    assert measured.mean() > 0.3
    assert error[measured].max() <= 1


def check_blob(volume: Volume, place: np.ndarray) -> None:
    """The blob lies where it lies in the patient, to 0.1 mm."""
    weights = np.maximum(volume.voxels.astype(float) + 1000 - 20, 0)
    centre = np.tensordot(weights, places_of(volume), axes=3) / weights.sum()
    np.testing.assert_allclose(centre, place, atol=0.1)


TILTS = {
    "12 degrees about x": (rotation(12, "x"), TABLE),
    "-20 degrees about x": (rotation(-20, "x"), TABLE),
    "1 degree about x": (rotation(1, "x"), TABLE),
    "7 degrees about y": (rotation(7, "y"), TABLE),
    "about both": (rotation(8, "x") @ rotation(-5, "y"), TABLE),
    "an oblique patient": (OBLIQUE @ rotation(10, "x"), OBLIQUE[:, 2]),
}
HEIGHTS = np.arange(12) * 5.0
UNEVEN = {
    "one slice moved": HEIGHTS + 1.5 * (np.arange(12) == 5),
    "every slice moved": HEIGHTS + np.random.default_rng(0).uniform(-0.8, 0.8, 12),
    "one slice missing": np.delete(HEIGHTS, 6),
    "two slices missing": np.delete(np.arange(14) * 4.0, [4, 9]),
    "a drift": np.arange(12) * 4.6 + 0.06 * np.arange(12) ** 2,
    "pairs": np.arange(12) * 5.0 + 0.7 * (np.arange(12) % 2),
}


@pytest.mark.parametrize("name", TILTS)
def test_a_tilted_phantom_keeps_its_place(tmp_path, name):
    direction, along = TILTS[name]
    monitor = Monitor()
    straight = read_series(
        series_of(linear, tmp_path / "a", HEIGHTS, direction, along), monitor=monitor, repairs=BOTH
    )
    check_linear(straight, 0)
    np.testing.assert_allclose(straight.direction, direction, atol=1e-6)
    assert straight.spacing[2] == pytest.approx(5 * abs(along @ direction[:, 2]), abs=1e-4)
    (note,) = monitor.notes
    assert note.startswith("gantry tilt of ")
    moved = straight.source["straightening"]["untilt"]["shifted_mm"]
    assert len(moved) == 12
    assert f"the last by {moved[-1]:.2f} mm" in note
    place = middle(direction, along)
    folder = series_of(blob(place), tmp_path / "b", HEIGHTS, direction, along)
    check_blob(read_series(folder, repairs=BOTH), place)


@pytest.mark.parametrize("name", UNEVEN)
def test_an_uneven_phantom_keeps_its_place(tmp_path, name):
    heights, monitor = UNEVEN[name], Monitor()
    even = read_series(series_of(linear, tmp_path / "a", heights, np.eye(3)), monitor=monitor, repairs=BOTH)
    check_linear(even, 2)
    assert even.spacing[2] * (len(even.voxels) - 1) == pytest.approx(heights[-1] - heights[0], abs=1e-6)
    (note,) = monitor.notes
    assert note.startswith("uneven slices, ")
    assert f"resampled to {len(even.voxels)} every" in note
    place = middle(np.eye(3))
    check_blob(read_series(series_of(blob(place), tmp_path / "b", heights, np.eye(3)), repairs=BOTH), place)


def test_tilted_and_uneven_slices_are_mended_together(tmp_path):
    direction, heights, monitor = rotation(15, "x"), UNEVEN["every slice moved"], Monitor()
    place = middle(direction)
    folder = series_of(blob(place), tmp_path, heights, direction)
    check_blob(read_series(folder, monitor=monitor, repairs=BOTH), place)
    assert len(monitor.notes) == 2


def test_what_a_shifted_slice_does_not_hold_is_air_or_the_padding(tmp_path):
    folder = series_of(linear, tmp_path, HEIGHTS, rotation(12, "x"), slope=1)
    assert read_series(folder, repairs=BOTH).voxels[-1, 0].max() == -1024
    from pydicom import dcmread

    for path in folder.iterdir():
        dataset = dcmread(path)
        dataset.PixelRepresentation = 1
        dataset.add_new("PixelPaddingValue", "SS", -1000)
        dataset.save_as(path)
    voxels = read_series(folder, repairs=BOTH).voxels
    assert voxels[-1, 0].max() == voxels[-1, 0].min() == -2024
    assert read_series(folder, repairs=BOTH).voxels.dtype == np.int16


def test_a_regular_series_is_left_as_it_is(tmp_path):
    write_series(ct_series(dicom_hu()), tmp_path)
    plain, asked = read_series(tmp_path), read_series(tmp_path, repairs=BOTH)
    assert np.array_equal(plain.voxels, asked.voxels)
    assert "straightening" not in asked.source


# ---- what is refused still -------------------------------------------------------------------------------


def refusal(folder, repairs) -> str:
    with pytest.raises(UserError) as caught:
        read_series(folder, repairs=repairs)
    return caught.value.worded(flag)


@pytest.mark.parametrize(
    ("heights", "reason"),
    [
        (np.delete(np.arange(16) * 5.0, [1, 3, 5, 7, 8, 10, 12]), "missing"),
        (np.delete(np.arange(12) * 5.0, [4, 5, 6]), "a gap of 20.0 mm among slices every 5.0 mm"),
        (np.concatenate([np.arange(12) * 1.0, 11 + np.arange(1, 7) * 5.0]), "a gap of 5.0 mm"),
        (np.delete(np.arange(12) * 2.0, [2, 4, 7, 9]), "too many slices are missing"),
        (np.array([0.0, 5, 10, 10, 15, 20]), "at the same position"),
    ],
)
def test_holes_that_cannot_be_filled_are_refused_with_the_reason(tmp_path, heights, reason):
    folder = series_of(linear, tmp_path, heights, np.eye(3))
    message = refusal(folder, BOTH)
    assert reason in message
    assert "--resample-uneven" not in message
    assert "--resample-uneven" not in refusal(folder, Repairs())  # what cannot help is not offered


def test_slices_of_different_thickness_are_not_resampled(tmp_path):
    datasets = ct_series(dicom_hu((12, 8, 10)))
    datasets[3].SliceThickness = 2.5
    datasets[5].ImagePositionPatient = [-20, 30, -74]
    assert "different thickness" in refusal(write_series(datasets, tmp_path), BOTH)


def test_mixed_orientations_and_sideways_slices_are_refused_even_so(tmp_path):
    datasets = ct_series(dicom_hu())
    datasets[4].ImageOrientationPatient = [1, 0, 0, 0, 0.998, 0.0632]
    assert "orientation" in refusal(write_series(datasets, tmp_path / "a"), BOTH)
    datasets = ct_series(dicom_hu())
    datasets[2].ImagePositionPatient = [-15, 30, -90]
    assert "shifted in-plane" in refusal(write_series(datasets, tmp_path / "b"), BOTH)


def test_errors_name_the_option_that_helps(tmp_path):
    tilted = series_of(linear, tmp_path / "a", HEIGHTS, rotation(12, "x"))
    for repairs in (Repairs(), Repairs(resample_uneven=True)):
        message = refusal(tilted, repairs)
        assert message.endswith("or give --untilt")
        assert "gantry tilt of 12.00 degrees" in message
    for number, name in enumerate(("one slice missing", "one slice moved")):
        uneven = series_of(linear, tmp_path / f"b{number}", UNEVEN[name], np.eye(3))
        for repairs in (Repairs(), Repairs(untilt=True)):
            assert refusal(uneven, repairs).endswith("or give --resample-uneven")


# ---- the whole way, and the parts ------------------------------------------------------------------------


def test_the_command_line_mends_and_says_so_in_file_and_series(tmp_path):
    source = series_of(linear, tmp_path / "in" / "ct", UNEVEN["one slice moved"], rotation(10, "x"))
    options = ("--method", "interpolation", "--untilt", "--resample-uneven")
    one = run("enhance", source, tmp_path / "thin", *options)
    many = run("enhance-many", tmp_path / "in", tmp_path / "out", *options)
    assert (one.returncode, many.returncode) == (0, 0), one.stderr + many.stderr
    assert "gantry tilt of 10.00 degrees undone" in one.stdout
    report = json.loads((tmp_path / "thin.provenance.json").read_text())
    assert report["asked"] == {"method": "interpolation", "untilt": True, "resample_uneven": True}
    assert set(report["straightening"]) == {"untilt", "resample_uneven"}
    assert any("uneven slices" in note for note in report["notes"])
    for folder in (tmp_path / "thin", tmp_path / "out" / "ct"):
        check_linear(read_series(folder), 12)
    bare = run("enhance", source, tmp_path / "bare.nrrd")
    assert bare.returncode == 2
    assert bare.stderr.count("\n") == 1


def test_a_derived_series_of_a_tilted_one_says_so_and_names_no_tilt(tmp_path):
    from pydicom import dcmread

    source = series_of(linear, tmp_path / "in", HEIGHTS, rotation(10, "x"))
    for path in source.iterdir():
        dataset = dcmread(path)
        dataset.GantryDetectorTilt = 10
        dataset.save_as(path)
    enhance_file(source, tmp_path / "thin", Settings(method="interpolation", untilt=True))
    made = dcmread(tmp_path / "thin" / "0001.dcm")
    assert "GantryDetectorTilt" not in made
    assert "Gantry tilt undone before." in made.DerivationDescription


def test_whole_pixels_are_moved_unchanged():
    voxels = dicom_hu((3, 6, 7))
    moved, start = unsheared(voxels, np.array([[0, 0], [1, -2], [2, -4]]), -1024)
    assert (moved.shape, start) == ((3, 8, 11), (0, -4))
    for k in range(3):
        assert np.array_equal(moved[k, k : 6 + k, 4 - 2 * k : 11 - 2 * k], voxels[k])
    assert np.all(moved[0, 6:] == -1024)


def test_even_slices_map_onto_themselves():
    heights = np.arange(9) * 3.0
    np.testing.assert_allclose(even_heights(heights), heights)
    np.testing.assert_allclose(even_matrix(heights, heights, 4.0) @ np.ones(9), 1, atol=1e-4)
    voxels = dicom_hu((9, 4, 5))
    assert np.abs(evened(voxels, heights, 3.0).astype(int) - voxels).max() <= 30


@pytest.mark.parametrize("thickness", [1.0, 5.0, 8.0])
def test_the_true_positions_and_the_thickness_count(thickness):
    """Thick slices of a curved profile: resampled ones are what would have been measured there."""
    heights = UNEVEN["every slice moved"]
    targets = even_heights(heights)
    fine = np.arange(-20, 80, 0.01)

    def measured(centres):
        inside = np.abs(fine[None] - np.asarray(centres)[:, None]) <= thickness / 2
        return inside @ (300 * np.sin(fine / 8)) / inside.sum(axis=1)

    result = even_matrix(heights, targets, thickness) @ measured(heights)
    linear_error = np.abs(np.interp(targets, heights, measured(heights)) - measured(targets))[2:-2]
    error = np.abs(result - measured(targets))[2:-2]
    assert error.max() < 3
    assert error.mean() < 0.3 * linear_error.mean()
