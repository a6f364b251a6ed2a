"""Files that Slicer's reader takes otherwise than they say: the Logic refuses what it shows, and says why."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.nifti_files import write_nifti
from Testing.shared_data import shared
from Testing.volumes import ct_voxels
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import read_volume

from .scenes import add_volume, contents, ijk_to_world, is_clean, load_as_slicer_does, wait_until

REFUSED = {
    "sform_lies_qform_true": "contradicts itself",
    "sform_and_qform_37mm_apart": "contradicts itself by 37 mm",
    "pixdim_lies_sform_only": "says voxels of 0.8 x 0.9 x 5 mm, Slicer shows 0.8 x 0.9 x 3 mm",
    "pixdim_negative_sform_only": "or elsewhere",
    "off0_unzip_first": "vox_offset",
    "dim_negative": "-48",
    "units_metre_wrong": "slices every 5000 mm",
}
RIGHT = ("slope0_intercept", "units_metre")


def load(slicer, name):
    return load_as_slicer_does(slicer, shared(f"cases/{name}.nii.gz"), name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_slicer_shows_otherwise_than_its_file_says_is_refused(slicer, logic, name):
    node = load(slicer, name)
    before = contents(slicer)
    with pytest.raises(UserError, match=REFUSED[name]) as refusal:
        logic.enhance(node, method="consistent")
    assert str(refusal.value).startswith(f"{name}: ")
    assert "\n" not in str(refusal.value)
    assert contents(slicer) == before
    assert is_clean(slicer)


@pytest.mark.parametrize("name", RIGHT)
def test_what_slicer_shows_as_its_file_says_is_enhanced_or_refused(slicer, logic, name):
    node = load(slicer, name)
    stated = read_volume(shared(f"cases/{name}.nii.gz"))
    if not np.array_equal(slicer.util.arrayFromVolume(node), stated.voxels):
        with pytest.raises(UserError, match=r"says values from .* Slicer shows"):
            logic.enhance(node, method="consistent")
        return
    thin = logic.enhance(node, method="consistent")
    assert slicer.util.arrayFromVolume(thin).shape == (56, 48, 64)
    np.testing.assert_allclose(thin.GetOrigin(), (-1, -1, 1) * np.array(stated.origin), atol=0.1)


def test_a_node_whose_axes_are_sheared_by_1e_4_is_straightened(slicer, logic):
    # Slicer's own reader refuses the file.
    sheared = np.eye(3)
    sheared[1, 2] = 1e-4
    thin = logic.enhance(add_volume(slicer, ct_voxels(), sheared), method="consistent")
    directions = ijk_to_world(slicer, thin)[:3, :3] / thin.GetSpacing()
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-7)
    np.testing.assert_allclose(directions, sheared, atol=1e-4)


def test_one_slice_is_refused(slicer, logic, tmp_path):
    path = write_nifti(tmp_path / "one.nii.gz", np.zeros((1, 12, 16), np.int16))
    with pytest.raises(UserError, match="two are the least"):
        logic.enhance(load_as_slicer_does(slicer, path), method="consistent")


def test_a_node_that_was_changed_is_what_the_user_made_of_it(slicer, logic):
    node = load(slicer, "sform_and_qform_37mm_apart")
    node.SetOrigin(30, 20, 100)
    assert slicer.util.arrayFromVolume(logic.enhance(node, method="consistent")).shape == (56, 48, 64)


def test_a_folder_of_the_shared_cases_has_the_outcome_of_each(slicer, logic, tmp_path):
    ended = []
    logic.enhanceMany(
        shared("cases"), tmp_path / "out", onFinished=lambda *end: ended.append(end), method="consistent"
    )
    wait_until(slicer, lambda: ended, seconds=900)
    made = list((tmp_path / "out").rglob("*.provenance.json"))
    done = {path.name.partition(".")[0] for path in made}
    files = {*RIGHT, "sform_shear_1e-4", "pixdim_lies_sform_only", "pixdim_negative_sform_only"}
    assert files <= done
    assert not done & {*REFUSED} - files
    assert len(made) == len(files) + 5  # the folders but for `one_slice`
