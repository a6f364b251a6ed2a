"""The map of the expected error: a second volume, in colours over the result's views, told in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.trust.uncertainty import in_words, mean_by_tissue

from .scenes import OBLIQUE, add_volume, background, click, ijk_to_world, is_clean, wait_until
from .test_compare import PLANES, view
from .views import picture

ROLE = "ThickToThinSR.expectedError"


@pytest.fixture(scope="module")
def ribs():
    """Lung, soft tissue and bone of the phantom in slices of 5 mm."""
    return thorax((1.5, 1.5, 5.0), seed=5, size_mm=(190.0, 130.0), z_range=(-60.0, -20.0)).voxels


@pytest.fixture
def chest(slicer, choices, ribs):
    """A volume chosen in the panel whose expected error is asked for."""
    choices.inputVolume = add_volume(slicer, ribs, OBLIQUE, (1.5, 1.5, 5.0))
    choices.uncertainty = True
    return choices.inputVolume


def enhanced(slicer, panel):
    """The result of a click, and its map."""
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    assert not slicer.util.errors
    result = panel.ui.compareResultSelector.currentNode()
    return result, result.GetNodeReference(ROLE)


def test_the_map_lies_on_the_result_and_its_means_are_told_in_one_line(slicer, panel, chest):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    chest.SetAndObserveTransformNodeID(transform.GetID())
    result, error = enhanced(slicer, panel)
    assert error.GetName() == "chest 1.0 mm expected error"
    np.testing.assert_allclose(ijk_to_world(slicer, error), ijk_to_world(slicer, result))
    assert error.GetTransformNodeID() == transform.GetID()
    values, voxels = (slicer.util.arrayFromVolume(node) for node in (error, result))
    assert values.shape == voxels.shape
    assert values.min() >= 0 and values.std() > 1
    means = mean_by_tissue(values, voxels)
    assert set(means) == {"lung", "soft tissue", "bone and contrast"}
    assert json.loads(result.GetAttribute("ThickToThinSR.expected_error_hu")) == means
    assert panel.ui.expectedErrorLabel.visible
    assert panel.ui.expectedErrorLabel.text == in_words(means)
    assert not any(
        name.startswith("ThickToThinSR.") for name in error.GetAttributeNames() if "Of" not in name
    )
    assert is_clean(slicer)


def test_it_is_shown_in_colours_over_the_results_views_and_in_no_other(slicer, panel, chest):
    _, error = enhanced(slicer, panel)
    click(panel.ui.sideBySideButton)
    for row, expected in (("Input", None), ("Result", error.GetID())):
        for plane in PLANES:
            composite = view(slicer, row, plane).GetSliceCompositeNode()
            assert composite.GetForegroundVolumeID() == expected
            coloured = np.ptp(picture(view(slicer, row, plane)).astype(int), axis=2).max() > 60
            assert coloured == (row == "Result"), (row, plane)
    red = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
    assert red.GetForegroundVolumeID() == error.GetID()
    assert 0 < red.GetForegroundOpacity() < 1
    click(panel.ui.errorCheckBox)
    for plane in PLANES:
        assert np.ptp(picture(view(slicer, "Result", plane)).astype(int), axis=2).max() == 0
    assert red.GetForegroundVolumeID() is None


def test_where_little_error_is_expected_the_result_is_seen_as_it_is(slicer, panel, chest):
    _, error = enhanced(slicer, panel)
    slicer.util.arrayFromVolume(error)[:] //= 8
    error.GetImageData().GetPointData().GetScalars().Modified()
    error.Modified()
    click(panel.ui.sideBySideButton)
    assert np.ptp(picture(view(slicer, "Result", "Axial")).astype(int), axis=2).max() == 0


def test_a_result_without_a_map_hides_the_earlier_one(slicer, panel, choices, chest):
    first, error = enhanced(slicer, panel)
    choices.uncertainty = False
    second, none = enhanced(slicer, panel)
    assert none is None and second is not first
    assert not panel.ui.expectedErrorLabel.visible
    assert not panel.ui.errorCheckBox.enabled
    assert "tick Expected error" in panel.ui.errorCheckBox.toolTip
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert composite.GetForegroundVolumeID() is None
    panel.ui.compareResultSelector.setCurrentNode(first)
    click(panel.ui.sideBySideButton)
    assert view(slicer, "Result", "Axial").GetSliceCompositeNode().GetForegroundVolumeID() == error.GetID()


def test_the_map_of_an_output_that_is_made_anew_is_replaced(slicer, panel, choices, chest):
    result, error = enhanced(slicer, panel)
    display = error.GetDisplayNode()
    display.SetThreshold(1.0, 2.0)
    choices.outputVolume, choices.spacing = result, 2.5
    assert enhanced(slicer, panel) == (result, error)
    assert display.GetLowerThreshold() > 2.0, "colours begin at twice the median of the new map"
    assert slicer.util.arrayFromVolume(error).shape == slicer.util.arrayFromVolume(result).shape
    choices.uncertainty = False
    assert enhanced(slicer, panel) == (result, None)


def test_a_result_of_a_result_has_a_map_of_its_own(slicer, panel, choices, chest):
    first, error = enhanced(slicer, panel)
    before = slicer.util.arrayFromVolume(error).copy()
    choices.inputVolume, choices.outputVolume, choices.spacing = first, None, 0.5
    _, other = enhanced(slicer, panel)
    assert other is not error
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(error), before)


@pytest.mark.parametrize("made", [False, True])
def test_a_users_own_overlay_stays_whether_a_map_is_made_or_not(slicer, panel, choices, chest, made):
    other = add_volume(slicer, np.zeros((3, 4, 5), np.int16), name="PET")
    red = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
    red.SetForegroundVolumeID(other.GetID())
    choices.uncertainty = made
    enhanced(slicer, panel)
    assert red.GetForegroundVolumeID() == other.GetID()


def test_only_methods_that_can_tell_their_error_offer_it(slicer, panel, choices, chest):
    choices.method = "interpolation"
    assert not panel.ui.uncertaintyCheckBox.visible
    result, error = enhanced(slicer, panel)
    assert error is None and result is not None
    choices.method = "consistent"
    assert panel.ui.uncertaintyCheckBox.visible


def test_noise_is_restored_by_the_seed_and_the_note_says_so(slicer, panel, choices, chest):
    choices.uncertainty = False
    assert not panel.ui.noiseSeedWidget.enabled
    plain = slicer.util.arrayFromVolume(enhanced(slicer, panel)[0]).copy()
    choices.noise, choices.noiseSeed = "restore", 3
    assert panel.ui.noiseSeedWidget.enabled
    one, other = (slicer.util.arrayFromVolume(enhanced(slicer, panel)[0]).copy() for _ in range(2))
    assert "noise synthesised (seed 3)" in panel.ui.notesLabel.text
    np.testing.assert_array_equal(one, other)
    assert (one.astype(int) - plain).std() > 1
