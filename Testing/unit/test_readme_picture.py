"""The README's picture shows the same place in every column, head upwards, voxels as they are."""

from __future__ import annotations

import re

import numpy as np

from Testing.benchmarks import readme_picture
from Testing.benchmarks.readme_picture import COMMANDS, View, crop, nearest_slices
from ThickToThinSRLib.volume import Volume


def ramp(axis: int, spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> Volume:
    """A volume whose values are the positions in mm along a patient axis."""
    positions = np.moveaxis(np.zeros(shape), 2 - axis, 2) + np.arange(shape[2 - axis]) * spacing[axis]
    return Volume(np.moveaxis(positions, 2, 2 - axis), spacing)


def test_a_coronal_crop_has_the_head_above_and_the_patients_left_on_the_right():
    view = View("coronal", (60.0, 30.0, 60.0), (2000, -200), "")
    height = crop(ramp(2, (1.0, 1.0, 1.0), (121, 61, 121)), view)
    assert height[0].max() > height[-1].max()
    assert np.ptp(height, axis=1).max() == 0
    across = crop(ramp(0, (1.0, 1.0, 1.0), (121, 61, 121)), view)
    assert across[0, 0] < across[0, -1]


def test_thick_slices_are_shown_as_thick_as_they_are():
    thick = ramp(2, (1.0, 1.0, 5.0), (25, 121, 121))
    heights = crop(thick, View("sagittal", (60.0, 60.0, 60.0), (2000, -200), ""))[:, 0]
    steps = np.flatnonzero(np.diff(heights))
    assert set(np.diff(steps)) == {round(5 / readme_picture.PIXEL_MM)}


def test_each_true_slice_is_compared_with_the_nearest_thick_one():
    truth, thick = ramp(2, (1.0, 1.0, 1.0), (11, 4, 4)), ramp(2, (1.0, 1.0, 5.0), (3, 4, 4))
    assert nearest_slices(thick, truth)[:, 0, 0].tolist() == [0, 0, 0, 5, 5, 5, 5, 5, 10, 10, 10]


def test_its_description_tells_the_commands_that_it_runs():
    told = re.findall(r"^    thicktothin (.+)$", readme_picture.__doc__, re.MULTILINE)
    assert len(told) == len(COMMANDS)
    for line, (name, command) in zip(told, COMMANDS.items(), strict=True):
        words = [name if word == "{out}" else word.strip("{}") for word in command]
        assert line.split() == words
