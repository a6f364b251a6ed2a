"""An input unlike what the weights were trained on is said to be so, in the report too."""

from __future__ import annotations

import numpy as np
import pytest

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.inspection.warnings import find_warnings, share_outside
from ThickToThinSRLib.volume import Volume

TRAINED = {"spacing": [1.5, 8.0], "thickness": [2.0, 8.0]}


def chest(**changes) -> Volume:
    voxels = np.random.default_rng(0).integers(-1000, 1500, (6, 20, 20)).astype(np.int16)
    for low, high, value in changes.pop("set", ()):
        voxels.reshape(-1)[low:high] = value
    return Volume(voxels, (0.8, 0.8, 5.0), **changes)


def warnings(volume, thickness=5.0, spacing=5.0, trained=TRAINED) -> list[str]:
    return list(find_warnings(volume, "hu", Acquisition(thickness, spacing), trained))


def test_a_chest_ct_as_trained_on_gives_no_warning():
    assert warnings(chest(source={"modality": "CT"})) == []
    assert warnings(chest()) == []


@pytest.mark.parametrize(
    ("thickness", "spacing", "words"),
    [
        (5.0, 10.0, "slice spacing of 1.5 to 8 mm, not 10 mm"),
        (1.0, 5.0, "slice thickness of 2 to 8 mm, not 1 mm"),
    ],
)
def test_other_slices_than_trained_on_are_named(thickness, spacing, words):
    [line] = warnings(chest(), thickness, spacing)
    assert words in line
    assert warnings(chest(), thickness, spacing, trained=None) == []


def test_another_modality_and_values_that_are_no_hu_are_named():
    assert "modality is MR" in warnings(chest(source={"modality": "MR"}))[0]
    positive = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), (1, 1, 5))
    assert "does not look like CT" in warnings(positive)[0]


@pytest.mark.parametrize("value", [-1024, 0, 40])
def test_a_volume_of_one_value_is_named(value):
    assert f"all voxels are {value}" in warnings(Volume(np.full((3, 4, 5), value, np.int16), (1, 1, 5)))[0]


def test_metal_beyond_the_trained_range_is_named_with_its_share():
    [line] = warnings(chest(set=[(0, 24, 3000)]))
    assert line.startswith("1.0 % of the voxels lie outside -1024 to 2048 HU")
    assert warnings(chest(set=[(0, 1, 3000)])) == []  # a few voxels of it are in every scan
    assert warnings(chest(set=[(0, 24, 3000)]), trained=None) == []


def test_padding_is_no_intensity_to_warn_of():
    assert share_outside(chest(set=[(0, 1200, -2000)]).voxels, -1024, 2048) == 0
    assert share_outside(chest(set=[(0, 1200, -2000), (1200, 1224, -1500)]).voxels, -1024, 2048) == 0.01
