"""Comparison pictures: the same place of the patient in every row, at the right scale, for any input."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.evaluation import comparison as figures
from ThickToThinSRLib.evaluation.comparison import compare
from ThickToThinSRLib.intensity import to_unit
from ThickToThinSRLib.volume import Volume

RADIUS = 30.0


def ball(spacing=(2.0, 2.0, 2.0), centre=(0.0, 0.0, 0.0), direction=None) -> Volume:
    """A dense ball in 200 x 160 x 120 mm (LPS) of air around the world's origin."""
    direction = np.eye(3) if direction is None else direction
    extent = np.abs(direction.T) @ (200.0, 160.0, 120.0)
    size = np.round(extent / spacing).astype(int)
    origin = direction @ (-(size - 1) / 2 * spacing)
    index = np.indices(size[::-1])[::-1] * np.reshape(spacing, (3, 1, 1, 1))
    points = np.tensordot(direction, index, axes=1) + origin.reshape(3, 1, 1, 1)
    inside = np.square(points - np.reshape(centre, (3, 1, 1, 1))).sum(axis=0) <= RADIUS**2
    return Volume(np.where(inside, 1500, -1000).astype(np.int16), spacing, tuple(origin), direction)


def picture(path, *volumes: Volume, position=None) -> np.ndarray:
    from matplotlib.image import imread

    compare([("name", volume) for volume in volumes], path, position)
    return imread(path)[..., :3]


def planes(*volumes: Volume, position=(0.0, 0.0, 0.0)) -> list[dict[str, np.ndarray]]:
    """Grey values of the planes as the picture shows them in the bone window, a dict a volume."""
    extent = np.array([100.0, 80.0, 60.0])
    views = figures._views(-extent, extent, np.array(position))
    return [
        {
            plane: figures._windowed(figures._Entry("", volume, False).sample(view), "Bone")
            for plane, view in views.items()
        }
        for volume in volumes
    ]


def disc(grey: np.ndarray) -> tuple[float, float, float, float]:
    """Middle row and column, height and width of what is white."""
    rows, columns = (np.flatnonzero((grey > 0.5).any(axis=axis)) for axis in (1, 0))
    return (
        (rows[0] + rows[-1]) / 2,
        (columns[0] + columns[-1]) / 2,
        rows[-1] - rows[0] + 1,
        columns[-1] - columns[0] + 1,
    )


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.0, 1.0, 5.0), (5.0, 1.0, 1.0)])
def test_a_ball_is_round_in_every_plane(spacing):
    for grey in planes(ball(spacing))[0].values():
        _, _, height, width = disc(grey)
        # planes 200 + 200 + 160 mm wide fill 1400 pixels: 0.4 mm a pixel
        assert height * 0.4 == pytest.approx(2 * RADIUS, abs=max(spacing) + 1)
        assert width * 0.4 == pytest.approx(2 * RADIUS, abs=max(spacing) + 1)


def test_the_same_patient_in_other_index_axes_gives_the_same_picture(tmp_path):
    plain = ball(centre=(20.0, -10.0, 8.0))
    for number, (axes, signs) in enumerate([((2, 0, 1), (1, 1, 1)), ((0, 1, 2), (-1, 1, -1))]):
        direction = np.eye(3)[:, list(axes)] * signs
        turned = ball(centre=(20.0, -10.0, 8.0), direction=direction)
        first = picture(tmp_path / "a.png", plain, position=(20, -10, 8))
        second = picture(tmp_path / f"{number}.png", turned, position=(20, -10, 8))
        assert first.shape == second.shape
        assert np.abs(first - second).mean() < 1e-3


def test_an_oblique_volume_is_shown_in_anatomical_planes(tmp_path):
    angle = np.deg2rad(25)
    direction = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    centre = (15.0, -5.0, 4.0)
    straight, oblique = ball((1.0, 1.0, 2.0), centre), ball((1.0, 1.0, 2.0), centre, direction)
    first, second = planes(straight, oblique, position=centre)
    for plane in first:
        assert disc(first[plane]) == pytest.approx(disc(second[plane]), abs=4)


def test_every_volume_is_shown_at_the_same_place():
    """The second ball lies 20 mm to the patient's left, on a grid of its own."""
    first, second = planes(ball(), ball((1.0, 2.0, 3.0), (20.0, 0.0, 0.0)))
    for plane in ("axial", "coronal"):
        assert (disc(second[plane])[1] - disc(first[plane])[1]) * 0.4 == pytest.approx(20, abs=2)
        assert disc(second[plane])[0] == pytest.approx(disc(first[plane])[0], abs=4)


def test_thick_slices_are_shown_as_they_are():
    """No interpolation: along z the coronal plane has one step a slice of 8 mm, 20 pixels of 0.4 mm."""
    coronal = planes(ball((1.0, 1.0, 8.0)))[0]["coronal"]
    widths = (coronal > 0.5).sum(axis=1)
    changes = np.flatnonzero(np.diff(widths))
    assert np.diff(changes).min() >= 19


@pytest.mark.parametrize(
    ("centre", "plane", "row", "column"),
    [
        ((30, 0, 0), "axial", 0, 1),  # the patient's left is on the right
        ((0, 30, 0), "axial", 1, 0),  # the back is below
        ((0, 0, 20), "coronal", -1, 0),  # the head is on top
        ((0, 30, 0), "sagittal", 0, 1),  # the back is on the right
        ((0, 0, 20), "sagittal", -1, 0),
    ],
)
def test_directions_are_those_a_radiologist_expects(centre, plane, row, column):
    middle, moved = (disc(part[plane]) for part in planes(ball(), ball(centre=centre)))
    assert np.sign(np.round((moved[0] - middle[0]) / 20)) == row
    assert np.sign(np.round((moved[1] - middle[1]) / 20)) == column


def test_outside_a_volume_the_picture_is_black():
    grey = planes(replace(ball(), voxels=np.full((60, 80, 100), 3000, np.int16), origin=(0.0, -79.0, -59.0)))
    axial = grey[0]["axial"]
    assert axial[:, : axial.shape[1] // 2 - 4].max() == 0
    assert axial[10:-10, axial.shape[1] // 2 + 4 : -10].min() == 1


def test_the_default_position_in_a_chest_is_in_the_larger_lung(thorax):
    place = figures._default_position(thorax)
    index = np.round((place - thorax.origin) / thorax.spacing).astype(int)
    assert thorax.voxels[tuple(index[::-1])] == -850
    assert place[0] < 0
    assert place[1] > 10


@pytest.fixture
def thorax() -> Volume:
    """A body with two lungs, the right one larger."""
    z, y, x = np.meshgrid(*(np.arange(-n, n + 1, 4.0) for n in (120, 120, 160)), indexing="ij")
    hu = np.where((x / 150) ** 2 + (y / 110) ** 2 <= 1, 40, -1000)
    for side, scale in ((-70, 1.0), (70, 0.8)):
        hu[((x - side) / 45) ** 2 + (y / 70) ** 2 + (z / 90) ** 2 <= scale] = -850
    return Volume(hu.astype(np.int16), (4.0, 4.0, 4.0), (-160.0, -120.0, -120.0))


def test_unit_and_hu_volumes_look_the_same(tmp_path):
    volume = ball()
    unit = replace(volume, voxels=to_unit(volume.voxels.astype(np.float32)))
    pages = [picture(tmp_path / "a.png", v) for v in (volume, unit)]
    assert np.abs(pages[0] - pages[1]).max() < 0.02


ODD = {
    "one voxel": Volume(np.zeros((1, 1, 1), np.int16), (1.0, 1.0, 1.0)),
    "one slice": Volume(np.zeros((1, 64, 64), np.int16), (0.7, 0.7, 5.0)),
    "one column": Volume(np.zeros((64, 1, 1), np.float32), (0.7, 0.7, 5.0)),
    "air alone": Volume(np.full((8, 32, 32), -1000, np.int16), (1.0, 1.0, 3.0)),
    "very long": Volume(np.zeros((900, 8, 8), np.int16), (1.0, 1.0, 3.0)),
    "far away": Volume(np.zeros((8, 32, 32), np.int16), (1.0, 1.0, 3.0), (1e6, -1e6, 1e6)),
    "tiny voxels": Volume(np.zeros((8, 32, 32), np.int16), (0.01, 0.01, 0.02)),
    "bytes": Volume(np.zeros((8, 32, 32), np.uint8), (1.0, 1.0, 3.0)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_volumes_make_a_picture_too(tmp_path, name):
    # What does not overlap is not compared.
    beside = [] if name == "far away" else [ball()]
    page = picture(tmp_path / "a.png", ODD[name], *beside)
    assert page.shape[0] > 100
    assert max(page.shape) < 8000


def test_any_file_name_can_be_a_label(tmp_path):
    compare([(r"$\frac{x_{1$ ü" + "n" * 200, ball())], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("count", "position", "told"),
    [
        (0, None, "1 to 12 volumes, not 0"),
        (13, None, "1 to 12 volumes, not 13"),
        (1, (0, 0, 500), "outside the first volume"),
        (1, (0, 0), "three numbers"),
        (1, (0, 0, float("nan")), "three numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, count, position, told):
    with pytest.raises(UserError, match=told):
        compare([("a", ball())] * count, tmp_path / "a.png", position)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot write into the folder"):
        compare([("a", ball())], tmp_path / "none" / "a.png")


def test_a_program_that_uses_pyplot_is_not_disturbed(tmp_path):
    code = (
        "import sys, numpy, ThickToThinSRLib.evaluation.comparison as f, ThickToThinSRLib.volume as v\n"
        "assert 'matplotlib' not in sys.modules\n"
        "f.compare([('a', v.Volume(numpy.zeros((2, 9, 9)), (1, 1, 1)))], sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], check=True)


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match="pip install"):
        compare([("a", ball())], tmp_path / "a.png")
