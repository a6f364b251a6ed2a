"""Where a NIfTI file lies: as nibabel has it, or refused where its header contradicts itself."""

from __future__ import annotations

import json
from collections import Counter

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from Testing.nifti_files import AFFINE, HALF_TURN, SHAPE, SPACING, write_nifti
from Testing.volumes import some_hu
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.volume import Volume

# NumPy warns of numbers that the library should have refused or handled before.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
LPS = np.array([-1.0, -1.0, 1.0])


def corners(affine, shape=SHAPE) -> np.ndarray:
    """LPS positions of the corners of a volume placed by an affine (RAS, mm)."""
    index = np.array(np.meshgrid(*((0, n - 1) for n in shape))).reshape(3, -1)
    return LPS[:, None] * (affine[:3, :3] @ index + affine[:3, 3:4])


def corners_read(volume: Volume) -> np.ndarray:
    index = np.array(np.meshgrid(*((0, n - 1) for n in volume.voxels.shape[::-1]))).reshape(3, -1)
    return np.stack([volume.position(*each) for each in index.T], -1)


def moved(by=(0.0, 0.0, 0.0), stretched=(1.0, 1.0, 1.0), affine=AFFINE) -> np.ndarray:
    """The affine of the good file, displaced and stretched."""
    return np.column_stack([affine[:, :3] * stretched, affine[:, 3] + by])


def flat(affine) -> tuple:
    return tuple(np.ravel(affine))


def refusal(path, **options) -> UserError:
    with pytest.raises(UserError) as caught:
        read_volume(path, **options)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def warnings_of(volume: Volume) -> str:
    return " ".join(volume.source["warnings"])


# ---- two hundred headers against nibabel ---------------------------------------------------------


def random_header(rng) -> dict:
    """Fields of a header such as files have, right and wrong, and what was done to them."""
    shape = np.array(SHAPE)
    turned = Rotation.from_rotvec(rng.normal(size=3) * rng.choice([0.0, 1e-4, 0.1, 2.0]))
    base = turned * Rotation.from_rotvec([0, 0, np.pi]) if rng.random() < 0.5 else turned
    handed = rng.choice([1.0, -1.0])
    spacing = rng.uniform(0.4, 6.0, 3).astype(np.float32)
    origin = rng.uniform(-300, 300, 3)
    matrix = base.as_matrix() * spacing * (1, 1, handed)
    wrong = rng.choice(["", "", "", "sheared", "moved", "stretched", "mirrored", "swapped", "pixdim"])
    b, c, d, a = base.as_quat()
    pixdim = np.array([handed, *spacing])
    if wrong == "sheared":
        matrix[:, 1] += rng.choice([1e-4, 1e-3, 0.05]) * matrix[:, 2]
    elif wrong == "moved":
        origin = origin + 37.0 * (rng.random(3) < 0.5)
    elif wrong == "stretched":
        matrix[:, 2] *= 1.5
    elif wrong == "mirrored":
        matrix[:, 0] *= -1
    elif wrong == "swapped":
        matrix = matrix[:, [1, 0, 2]]
    elif wrong == "pixdim":
        pixdim[rng.integers(1, 4)] *= rng.choice([-1.0, 0.6])
    if rng.random() < 0.1:
        pixdim[0] = 0
    unit, scale = [(0, 1.0), (1, 1e-3), (2, 1.0), (3, 1e3), (10, 1.0), (9, 1e-3)][rng.integers(6)]
    qoffset = origin if wrong != "moved" else origin - (37.0, 0, 0)
    pixdim[1:] *= scale
    return {
        "codes": (int(rng.integers(0, 5)) * int(rng.random() < 0.7), int(rng.integers(0, 5))),
        "units": unit,
        "pixdim": (*(float(value) for value in pixdim), 1, 1, 1, 1),
        "quaternion": tuple(np.sign(a or 1) * np.array((b, c, d))),
        "qoffset": tuple(qoffset * scale),
        "sform": flat(np.column_stack([matrix, origin]) * scale),
        "dim": (3, *map(int, shape), 1, 1, 1, 1),
    }


def test_what_is_read_lies_where_nibabel_has_it(tmp_path):
    rng, told, farthest = np.random.default_rng(2026), Counter(), 0.0
    for number in range(200):
        fields = random_header(rng)
        order, version = str(rng.choice(["<", ">"])), int(rng.choice([1, 2]))
        path = write_nifti(tmp_path / f"{number}.nii", None, order, version, **fields)
        try:
            volume = read_volume(path)
        except UserError as error:
            reasons = ("contradicts itself", "not perpendicular")
            told["refused: " + next(reason for reason in reasons if reason in str(error))] += 1
            continue
        told["read"] += 1
        image = nibabel.load(path)
        unit = {1: 1e3, 3: 1e-3}.get(fields["units"] & 7, 1.0)
        apart = np.abs(corners_read(volume) - unit * corners(image.affine)).max()
        farthest = max(farthest, apart)
        # Nearly orthogonal axes are straightened; all others are the same to single precision.
        assert apart < (0.1 if volume.source["notes"] or _sheared(image.affine) else 2e-3), fields
        assert np.array_equal(volume.voxels, np.asarray(image.dataobj).transpose(2, 1, 0))
    print(dict(told), f"farthest {farthest:.4f} mm")
    assert told["read"] > 100
    assert told["refused: contradicts itself"] > 10
    assert told["refused: not perpendicular"] > 0


def _sheared(affine) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-6)


# ---- two forms -----------------------------------------------------------------------------------

CONTRADICTIONS = {
    "another spacing": moved(stretched=(1, 1, 1.6)),
    "37 mm higher": moved((0, 0, 37)),
    "0.02 mm aside": moved((0.02, 0, 0)),
    "left is right": moved(stretched=(-1, 1, 1)),
    "head is feet": moved(stretched=(1, 1, -1)),
    "axes swapped": AFFINE[:, [1, 0, 2, 3]],
    "turned by a degree": np.column_stack(
        [Rotation.from_rotvec([0, 0, 0.0175]).as_matrix() @ AFFINE[:, :3], AFFINE[:, 3]]
    ),
    "other pixels": moved(stretched=(1.01, 1, 1)),
}


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1), (4, 3)])
@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_two_forms_that_contradict_each_other_are_refused_until_one_is_chosen(tmp_path, name, codes):
    sform = CONTRADICTIONS[name]
    path = write_nifti(tmp_path / "a.nii.gz", codes=codes, sform=flat(sform))
    line = str(refusal(path))
    assert "the sform says" in line
    assert "the qform says 0.8 x 0.9 x 5 mm, first voxel at (-30, -20, 100)" in line
    assert refusal(path).worded(lambda option: f"--{option}").endswith("--nifti sform or qform")
    for chosen, affine in (("sform", sform), ("qform", AFFINE)):
        volume = read_volume(path, nifti=chosen)
        assert np.abs(corners_read(volume) - corners(affine)).max() < 1e-3
        assert f"the {chosen} was used" in volume.source["notes"][0]


@pytest.mark.parametrize("shift", [0.0, 0.001, 0.009, -0.009])
def test_forms_that_differ_by_less_than_a_hundredth_are_one(tmp_path, shift):
    volume = read_volume(write_nifti(tmp_path / "a.nii", sform=flat(moved((0, shift, 0)))))
    assert volume.source["notes"] == volume.source["warnings"] == []
    assert volume.origin[1] == pytest.approx(-20 - shift, abs=1e-4)


@pytest.mark.parametrize("turn", [0.0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 0.01])
def test_a_quaternion_near_half_a_turn_is_the_same_to_its_own_precision(tmp_path, turn):
    """ITK writes both forms; single precision loses small turns beyond half a turn in the quaternion."""
    direction = Rotation.from_rotvec([0.3 * turn, turn, 0.5 * turn]).as_matrix()
    volume = Volume(some_hu((6, 300, 300)), (0.7, 0.8, 5), (-100, 30, -200), direction)
    write_volume(volume, tmp_path / "a.nii.gz")
    assert np.abs(corners_read(read_volume(tmp_path / "a.nii.gz")) - corners_read(volume)).max() < 1e-3


def test_one_form_that_says_nothing_is_refused_with_the_other_offered(tmp_path):
    for fields, offered, fault in (
        ({"pixdim": (1.0, 0.8, 0.9, 0.0, 1, 1, 1, 1)}, "sform", "spacing"),
        ({"pixdim": (1.0, 0.8, np.nan, 5.0, 1, 1, 1, 1)}, "sform", "spacing"),
        ({"pixdim": (2.0, *SPACING, 1, 1, 1, 1)}, "sform", "handedness"),
        ({"quaternion": (0.0, 0.0, 1.2)}, "sform", "1.2 long"),
        ({"qoffset": (np.inf, 0.0, 0.0)}, "sform", "qform gives no position"),
        ({"sform": (0.0,) * 12}, "qform", "sform gives no position"),
        ({"sform": (np.nan,) * 12}, "qform", "sform gives no position"),
    ):
        path = write_nifti(tmp_path / "a.nii", **fields)
        error = refusal(path)
        assert fault in str(error)
        assert f"--nifti {offered}" in error.worded(lambda option: f"--{option}")
        assert np.abs(corners_read(read_volume(path, nifti=offered)) - corners(AFFINE)).max() < 1e-3
        refusal(path, nifti={"sform": "qform", "qform": "sform"}[offered])


def test_a_form_that_is_not_set_cannot_be_chosen(tmp_path):
    for codes, absent in (((0, 1), "qform"), ((1, 0), "sform"), ((0, 0), "sform")):
        path = write_nifti(tmp_path / "a.nii", codes=codes)
        assert f"has no {absent}" in str(refusal(path, nifti=absent))


# ---- one form, or none ---------------------------------------------------------------------------


@pytest.mark.parametrize("third", [3.0, -3.0, 0.0, np.nan, np.inf, 5.1])
def test_where_pixdim_lies_and_only_the_sform_is_set_the_sform_is_right_with_a_warning(tmp_path, third):
    path = write_nifti(tmp_path / "a.nii", codes=(0, 1), pixdim=(1.0, 0.8, 0.9, third, 1, 1, 1, 1))
    volume = read_volume(path)
    assert volume.spacing == (0.8, 0.9, 5.0)
    assert "the sform was used" in warnings_of(volume)


def test_an_infinite_pixdim_of_an_axis_of_one_voxel_is_told_too(tmp_path):
    pixdim = (1.0, 0.8, 0.9, np.inf, 1, 1, 1, 1)
    path = write_nifti(tmp_path / "a.nii", some_hu((1, 8, 9)), codes=(0, 1), pixdim=pixdim)
    assert "contradicts itself" in read_volume(path).source["warnings"][0]


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (1, 1)])
def test_a_negative_pixdim_is_no_direction(tmp_path, codes, signs):
    path = write_nifti(
        tmp_path / "a.nii", codes=codes, pixdim=(1.0, *np.multiply(signs, SPACING), 1, 1, 1, 1)
    )
    volume = read_volume(path)
    assert np.abs(corners_read(volume) - corners(AFFINE)).max() < 1e-3
    assert ("sign is ignored" in warnings_of(volume)) == (codes == (1, 0))


@pytest.mark.parametrize(("qfac", "handed"), [(1.0, 1), (0.0, 1), (-1.0, -1)])
def test_the_quaternion_alone_with_its_handedness(tmp_path, qfac, handed):
    path = write_nifti(tmp_path / "a.nii", codes=(1, 0), pixdim=(qfac, *SPACING, 1, 1, 1, 1))
    expected = moved(stretched=(1, 1, handed))
    assert np.abs(corners_read(read_volume(path)) - corners(expected)).max() < 1e-3


@pytest.mark.parametrize("qfac", [2.0, -3.0, np.nan, np.inf])
def test_a_handedness_that_is_none_is_refused_unless_nobody_needs_it(tmp_path, qfac):
    pixdim = (qfac, *SPACING, 1, 1, 1, 1)
    assert "handedness" in str(refusal(write_nifti(tmp_path / "a.nii", codes=(1, 0), pixdim=pixdim)))
    assert read_volume(write_nifti(tmp_path / "b.nii", codes=(0, 1), pixdim=pixdim)).spacing == SPACING


@pytest.mark.parametrize("length", [1.0, 1 + 1e-7, 1.000004])
def test_a_quaternion_a_little_too_long_is_rounding_and_a_longer_one_is_damage(tmp_path, length):
    path = write_nifti(tmp_path / "a.nii", codes=(1, 0), quaternion=tuple(length * np.array(HALF_TURN)))
    assert np.abs(corners_read(read_volume(path)) - corners(AFFINE)).max() < 1e-3
    path = write_nifti(tmp_path / "b.nii", codes=(1, 0), quaternion=(0.8, 0.8, 0.0))
    assert "1.131 long" in str(refusal(path))


def test_without_a_form_it_lies_as_nibabel_has_it_and_the_user_is_told(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", codes=(0, 0))
    volume = read_volume(path)
    assert np.abs(corners_read(volume) - corners(nibabel.load(path).affine)).max() < 1e-3
    assert "does not say where" in warnings_of(volume)
    assert "spacing" in str(
        refusal(write_nifti(tmp_path / "b.nii", codes=(0, 0), pixdim=(1, 1, 0, 1, 1, 1, 1, 1)))
    )


@pytest.mark.parametrize("code", [-1, 6, 300])
def test_a_form_code_that_the_standard_does_not_know_is_refused(tmp_path, code):
    assert "qform_code" in str(refusal(write_nifti(tmp_path / "a.nii", codes=(code, 1))))
    assert "sform_code" in str(refusal(write_nifti(tmp_path / "a.nii", codes=(1, code))))


# ---- nearly orthogonal ---------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shear", [1e-6, 1e-5, 1e-4, 3e-4, 1e-3])
def test_a_slight_shear_is_straightened_and_said_from_a_hundredth_of_a_millimetre(tmp_path, axis, shear):
    sform = AFFINE.copy()
    other = (axis + 1) % 3
    sform[:, axis] += shear * SPACING[axis] * sform[:, other] / SPACING[other]
    volume = read_volume(write_nifti(tmp_path / "a.nii", codes=(0, 1), sform=flat(sform)))
    apart = np.linalg.norm(corners_read(volume) - corners(sform), axis=0).max()
    assert apart < 0.1
    assert np.abs(volume.direction.T @ volume.direction - np.eye(3)).max() < 1e-9
    assert any("not quite perpendicular" in note for note in volume.source["notes"]) == (apart > 0.01)


def test_a_shear_beyond_a_tenth_of_a_millimetre_is_refused_with_its_amount(tmp_path):
    sform = AFFINE.copy()
    sform[1, 2] += 5 * 0.01
    assert "not perpendicular by 0.28 mm" in str(
        refusal(write_nifti(tmp_path / "a.nii", codes=(0, 1), sform=flat(sform)))
    )


# ---- units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "scale"), [(0, 1.0), (1, 1e-3), (2, 1.0), (3, 1e3), (1 + 8, 1e-3), (2 + 16, 1)]
)
@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (1, 1), (0, 0)])
def test_lengths_in_metres_and_micrometres_are_millimetres(tmp_path, codes, unit, scale):
    """The pixels' 0.8 mm are not 0.80000001 mm, nor the slices' 5 mm."""
    fields = {
        "pixdim": (1.0, *np.multiply(scale, SPACING), 1, 1, 1, 1),
        "qoffset": tuple(AFFINE[:, 3] * scale),
        "sform": flat(AFFINE * scale),
    }
    volume = read_volume(write_nifti(tmp_path / "a.nii", units=unit, codes=codes, **fields))
    assert volume.spacing == pytest.approx(SPACING, rel=1e-12)
    if codes != (0, 0):
        assert np.abs(corners_read(volume) - corners(AFFINE)).max() < 1e-4


@pytest.mark.parametrize("unit", [4, 5, 6, 7, 7 + 8])
def test_a_unit_that_the_standard_does_not_know_is_refused(tmp_path, unit):
    assert "unit of length" in str(refusal(write_nifti(tmp_path / "a.nii", units=unit)))


# ---- the command line ----------------------------------------------------------------------------


def test_the_choice_reaches_the_result_and_warnings_the_provenance(tmp_path, capfd):
    path = write_nifti(tmp_path / "a.nii", sform=flat(moved((0, 0, 37))))
    target = tmp_path / "b.nii"
    assert main(["enhance", str(path), str(target), "--method", "interpolation", "--nifti", "qform"]) == 0
    assert read_volume(target).origin[2] == pytest.approx(100)
    report = json.loads((tmp_path / "b.nii.provenance.json").read_text())
    assert report["asked"]["nifti"] == "qform"
    assert any("the qform was used" in note for note in report["notes"])
    path = write_nifti(tmp_path / "c.nii", codes=(0, 1), pixdim=(1.0, 0.8, 0.9, 3.0, 1, 1, 1, 1))
    capfd.readouterr()
    assert main(["enhance", str(path), str(target), "--method", "interpolation", "--overwrite"]) == 0
    assert "warning: the NIfTI header contradicts itself" in capfd.readouterr().err
    report = json.loads((tmp_path / "b.nii.provenance.json").read_text())
    assert any("the sform was used" in warning for warning in report["warnings"])


@pytest.mark.parametrize("command", ["metrics", "simulate", "compare"])
def test_every_command_that_reads_volumes_takes_the_choice(tmp_path, capfd, command):
    path = write_nifti(tmp_path / "a.nii", some_hu((24, 12, 16)), sform=flat(moved((0, 0, 37))))
    arguments = {
        "metrics": [path, path],
        "simulate": [path, tmp_path / "b.nii", "--thickness", "10", "--spacing", "10"],
        "compare": [path, "--output", tmp_path / "b.png"],
    }[command]
    assert main([command, *map(str, arguments)]) == 2
    assert "--nifti sform or qform" in capfd.readouterr().err
    assert main([command, *map(str, arguments), "--nifti", "qform"]) == 0
