"""Chest or not: real chests, a real head, the phantom; the note that weights were trained on chests."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from Testing.shared_data import shared
from ThickToThinSRLib.enhance import NOT_A_CHEST, enhance_volume
from ThickToThinSRLib.inspection.body_part import is_chest, lung_share
from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume, through_plane_axis
from ThickToThinSRLib.weights.bundled import bundled_for


@pytest.mark.parametrize(
    ("name", "chest"),
    [
        ("head_visible_human_1mm.nii.gz", False),
        ("chest_lungdx0001_5mm_sharp.nii.gz", True),
        ("chest_lungdx0002_8mm_sharp.nii.gz", True),
        ("chest_cmb1068_2p5mm.nii.gz", True),
        ("chest_lungfcp0001_2mm_every_1mm.nii.gz", True),
        ("chest_rider0117_0p8mm.nii.gz", True),
    ],
)
def test_real_scans(name, chest):
    volume = read_input(shared(f"data/{name}"))
    assert is_chest(volume, through_plane_axis(volume)) == chest


def test_lung_counts_whatever_the_axis_and_air_around_does_not():
    chest = thorax((2.5, 2.5, 10.0))
    turned = Volume(np.moveaxis(chest.voxels, 0, 2), (10.0, 2.5, 2.5), slice_axis=0)
    assert lung_share(turned, 0) == lung_share(chest, 2) > 0.1
    arm = np.full((10, 100, 100), -1000, np.int16)
    arm[:, 30:70, 30:70] = 40
    arm[:, 45:50, 45:50] = 900
    assert lung_share(Volume(arm, (1.0, 1.0, 5.0)), 2) == 0
    assert lung_share(Volume(np.full((4, 40, 40), -1000, np.int16), (1.0, 1.0, 5.0)), 2) == 0


def test_the_note_is_for_the_programs_own_weights_only(tmp_path):
    water = Volume(np.full((5, 64, 64), 40, np.int16), (0.7, 0.7, 5.0))
    assert NOT_A_CHEST in enhance_volume(water, Settings(method="universal"))[1]["notes"]
    assert NOT_A_CHEST not in enhance_volume(water, Settings(method="consistent"))[1]["notes"]
    own = shutil.copy(bundled_for("universal").path, tmp_path / "of_heads.safetensors")
    assert NOT_A_CHEST not in enhance_volume(water, Settings(checkpoint=own))[1]["notes"]
    chest = thorax((2.0, 2.0, 5.0), z_range=(-60.0, -40.0))
    assert NOT_A_CHEST not in enhance_volume(chest, Settings(method="universal"))[1]["notes"]
