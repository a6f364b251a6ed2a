"""Comparison in the real slice logics: linked and aligned views, same window; the layout is restored."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.shared_data import CHECKOUT
from Testing.volumes import ct_voxels

from .scenes import (
    GEOMETRIES,
    OBLIQUE,
    add_volume,
    background,
    click,
    import_scene,
    leave,
    save_scene,
    wait_until,
)
from .views import picture, scroll

pytestmark = pytest.mark.usefixtures("no_process")
PLANES = ("Axial", "Coronal", "Sagittal")
APPROVED = CHECKOUT / "Testing" / "slicer" / "pictures" / "six_views_of_the_sample.png"


@pytest.fixture
def pair(request, slicer, panel):
    """A thick volume and its thin result, chosen to be compared."""
    directions = getattr(request, "param", np.eye(3))
    voxels = ct_voxels((9, 40, 41))
    thick = add_volume(slicer, voxels, directions, (0.8, 0.8, 5.0))
    thin = add_volume(slicer, np.repeat(voxels, 5, 0)[2:-2], directions, (0.8, 0.8, 1.0), name="thin")
    panel._compare.setPair(thick, thin)
    return thick, thin


def view(slicer, row, plane):
    return slicer.app.layoutManager().sliceWidget(f"ThickToThinSR{row}{plane}").sliceLogic()


def test_six_views_show_input_above_and_result_below(slicer, panel, pair):
    panel.ui.sideBySideButton.click()
    for row, node in zip(("Input", "Result"), pair, strict=True):
        for plane in PLANES:
            composite = view(slicer, row, plane).GetSliceCompositeNode()
            assert composite.GetBackgroundVolumeID() == node.GetID()
            assert composite.GetLinkedControl()
            assert composite.GetHotLinkedControl()
            assert picture(view(slicer, row, plane)).max() > 0


@pytest.mark.parametrize("pair", [np.eye(3), OBLIQUE, GEOMETRIES["left-handed"][0]], indirect=True)
def test_scrolling_above_moves_below_and_nothing_else(slicer, panel, pair):
    panel.ui.sideBySideButton.click()
    for plane in PLANES:
        before = {(r, p): view(slicer, r, p).GetSliceOffset() for r in ("Input", "Result") for p in PLANES}
        scroll(view(slicer, "Input", plane), before["Input", plane] + 4)
        after = {key: view(slicer, *key).GetSliceOffset() for key in before}
        moved = {key for key in before if abs(after[key] - before[key]) > 1e-6}
        assert moved == {("Input", plane), ("Result", plane)}
        assert after["Result", plane] == pytest.approx(after["Input", plane])


@pytest.mark.parametrize("pair", [np.eye(3), OBLIQUE], indirect=True)
def test_upper_and_lower_view_are_the_same_plane_at_the_same_scale(slicer, panel, pair):
    panel.ui.sideBySideButton.click()
    for plane in PLANES:
        upper, lower = (view(slicer, row, plane).GetSliceNode() for row in ("Input", "Result"))
        planes = [slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()) for node in (upper, lower)]
        np.testing.assert_allclose(*planes, atol=1e-6)
        np.testing.assert_allclose(upper.GetFieldOfView()[:2], lower.GetFieldOfView()[:2])


@pytest.mark.parametrize("pair", [OBLIQUE], indirect=True)
def test_oblique_volumes_are_shown_in_their_own_planes(slicer, panel, pair):
    panel.ui.sideBySideButton.click()
    for plane in PLANES:
        normal = slicer.util.arrayFromVTKMatrix(view(slicer, "Result", plane).GetSliceNode().GetSliceToRAS())
        assert np.abs(OBLIQUE.T @ normal[:3, 2]).max() == pytest.approx(1.0)


def test_window_and_level_are_the_same_whichever_is_changed(panel, pair):
    panel.ui.sideBySideButton.click()
    first, second = (node.GetDisplayNode() for node in pair)
    first.SetWindowLevel(1500, -600)
    assert (second.GetWindow(), second.GetLevel()) == (1500, -600)
    second.SetWindowLevel(400, 40)
    assert (first.GetWindow(), first.GetLevel()) == (400, 40)
    panel.ui.sideBySideButton.click()
    second.SetWindowLevel(80, 30)
    assert first.GetWindow() == 400


def test_thick_slices_are_shown_as_they_are_or_smoothed(panel, pair):
    display = pair[0].GetDisplayNode()
    panel.ui.sideBySideButton.click()
    assert not display.GetInterpolate()
    panel.ui.asTheyAreCheckBox.click()
    assert display.GetInterpolate()
    panel.ui.asTheyAreCheckBox.click()
    panel.ui.sideBySideButton.click()
    assert display.GetInterpolate()


@pytest.mark.parametrize("way", ["button", "module", "scene"])
def test_the_users_layout_and_crosshair_come_back_on_leaving(slicer, panel, pair, way):
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    before = slicer.app.layoutManager().layout
    panel.ui.sideBySideButton.click()
    assert slicer.app.layoutManager().layout != before
    assert crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.ShowBasic
    if way == "button":
        panel.ui.sideBySideButton.click()
    elif way == "module":
        leave(panel)
    else:
        panel.onSceneStartClose(None, None)
    assert slicer.app.layoutManager().layout == before
    assert crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.NoCrosshair


def backgrounds(slicer) -> dict[str, str]:
    """Volume by view."""
    return {
        name: slicer.mrmlScene.GetNodeByID(logic.GetSliceCompositeNode().GetBackgroundVolumeID() or "")
        for name in slicer.app.layoutManager().sliceViewNames()
        for logic in [slicer.app.layoutManager().sliceWidget(name).sliceLogic()]
    }


@pytest.mark.parametrize("button", ["sideBySideButton", "fadeButton"])
def test_a_second_run_is_compared_with_its_input_not_with_itself(slicer, panel, button):
    thick = add_volume(slicer, ct_voxels((9, 20, 21)), spacing=(0.8, 0.8, 5.0))
    panel._parameterNode.inputVolume, panel._parameterNode.method = thick, "consistent"
    first = panel.logic.enhance(thick, method="consistent", spacing=2.5)
    panel._compare.setPair(thick, first)
    getattr(panel.ui, button).click()
    panel._parameterNode.outputVolume = first  # the same pair again
    for spacing in (2.0, 1.0):
        panel._parameterNode.spacing = spacing
        click(panel.ui.enhanceButton)
        wait_until(slicer, lambda: background() is None)
        result = panel.ui.compareResultSelector.currentNode()
        shown = backgrounds(slicer)
        own = {name: node for name, node in shown.items() if name.startswith("ThickToThinSR")}
        assert len(own) == (6 if button == "sideBySideButton" else 1)
        for name, node in own.items():
            assert node is (result if "Result" in name else thick), name
        assert shown["Red"] is result  # the user's own views show what was made
        foreground = view_named(slicer, next(iter(own))).GetSliceCompositeNode().GetForegroundVolumeID()
        assert foreground == (None if button == "sideBySideButton" else result.GetID())


def view_named(slicer, name):
    return slicer.app.layoutManager().sliceWidget(name).sliceLogic()


def test_the_two_selectors_do_not_choose_the_same_volume(slicer, panel):
    add_volume(slicer, ct_voxels((9, 20, 21)))
    add_volume(slicer, ct_voxels((9, 20, 21)), name="thin")
    assert panel.ui.compareInputSelector.currentNode() is None
    assert panel.ui.compareResultSelector.currentNode() is None
    assert panel.ui.sideBySideButton.toolTip == "Choose an input and a result"


def test_the_last_result_of_a_loaded_scene_and_its_input_are_chosen(slicer, panel, tmp_path):
    add_volume(slicer, ct_voxels(), name="another")
    thick = add_volume(slicer, ct_voxels(), name="thick")
    panel.logic.enhance(thick, method="consistent")
    path = save_scene(slicer, tmp_path / "scene")
    slicer.mrmlScene.Clear(0)
    import_scene(slicer, path)
    assert panel.ui.compareInputSelector.currentNode().GetName() == "thick"
    assert panel.ui.compareResultSelector.currentNode().GetName() == "thick 1.0 mm"


def test_a_compared_volume_that_goes_is_not_replaced_by_another(slicer, panel, pair):
    add_volume(slicer, ct_voxels((9, 20, 21)), name="another")
    panel.ui.sideBySideButton.click()
    panel.ui.sideBySideButton.click()
    before = slicer.app.layoutManager().layout
    panel.ui.sideBySideButton.click()
    slicer.mrmlScene.RemoveNode(pair[1])
    assert panel.ui.compareResultSelector.currentNode() is None
    assert not panel.ui.sideBySideButton.checked
    assert slicer.app.layoutManager().layout == before


def test_a_scene_saved_while_comparing_opens_with_its_views(slicer, panel, pair, tmp_path):
    before = slicer.app.layoutManager().layout
    panel.ui.sideBySideButton.click()
    path = save_scene(slicer, tmp_path / "scene")
    assert panel.ui.sideBySideButton.checked  # the user goes on
    assert slicer.app.layoutManager().layout != before
    slicer.mrmlScene.Clear(0)
    import_scene(slicer, path)
    assert slicer.app.layoutManager().layout == before


def test_a_new_session_knows_the_layouts_of_an_older_scene(slicer, module):
    layouts = sys.modules["ThickToThinSRSlicer.compare_layout"]
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    assert not node.IsLayoutDescription(layouts.SIDE_BY_SIDE)
    module.ThickToThinSR(types.SimpleNamespace())
    slicer.app.startupCompleted()
    assert node.IsLayoutDescription(layouts.SIDE_BY_SIDE)
    assert node.IsLayoutDescription(layouts.FADE)


def test_a_compare_layout_is_never_what_the_user_had_before(slicer, panel, pair):
    layouts = sys.modules["ThickToThinSRSlicer.compare_layout"]
    panel.ui.sideBySideButton.click()
    panel.ui.sideBySideButton.click()
    slicer.app.layoutManager().setLayout(layouts.SIDE_BY_SIDE)  # as a scene of an older version brings it
    panel.ui.sideBySideButton.click()
    panel.ui.sideBySideButton.click()
    assert slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def test_a_layout_that_the_user_chose_meanwhile_stays(slicer, panel, pair):
    panel.ui.sideBySideButton.click()
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    panel.ui.sideBySideButton.click()
    assert slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


def test_fading_goes_from_the_input_to_the_result_and_flickers(slicer, panel, pair):
    panel.ui.fadeButton.click()
    composite = (
        slicer.app.layoutManager().sliceWidget("ThickToThinSRFade").sliceLogic().GetSliceCompositeNode()
    )
    assert [composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()] == [n.GetID() for n in pair]
    panel.ui.fadeSlider.setValue(100)
    assert composite.GetForegroundOpacity() == 1
    panel.ui.flickerCheckBox.click()
    wait_until(slicer, lambda: composite.GetForegroundOpacity() == 0)
    wait_until(slicer, lambda: composite.GetForegroundOpacity() == 1)


def test_the_difference_is_result_minus_interpolation(slicer, panel):
    thick = add_volume(slicer, ct_voxels((9, 20, 21)), spacing=(0.8, 0.8, 5.0))
    thin = panel.logic.enhance(thick, method="consistent")
    panel._compare.setPair(thick, thin)
    panel.ui.differenceButton.click()
    wait_until(slicer, lambda: not panel.logic.isRunning())
    shown = panel.ui.compareResultSelector.currentNode()
    assert shown.GetName() == "chest 1.0 mm minus interpolation"
    plain = panel.logic.enhance(thick, method="interpolation")
    values = [slicer.util.arrayFromVolume(node).astype(int) for node in (thin, plain, shown)]
    np.testing.assert_array_equal(values[2], values[0] - values[1])


def test_views_of_the_users_own_layout_do_not_follow(slicer, panel, pair):
    red = slicer.app.layoutManager().sliceWidget("Red").sliceLogic()
    red.GetSliceCompositeNode().SetLinkedControl(True)
    red.GetSliceCompositeNode().SetBackgroundVolumeID(pair[0].GetID())
    red.GetSliceNode().SetOrientation("Axial")
    before = red.GetSliceOffset()
    panel.ui.sideBySideButton.click()
    scroll(view(slicer, "Input", "Axial"), 60.0)
    assert view(slicer, "Result", "Axial").GetSliceOffset() == 60.0
    assert red.GetSliceOffset() == before


def montage(slicer) -> np.ndarray:
    """The six views, a third of their size: (rows, columns), bytes."""
    rows = [
        np.hstack([picture(view(slicer, row, plane))[..., 0] for plane in PLANES])
        for row in ("Input", "Result")
    ]
    return sitk.GetArrayFromImage(sitk.BinShrink(sitk.GetImageFromArray(np.vstack(rows)), [3, 3]))


def test_the_six_views_of_the_sample_look_as_they_were_approved(slicer, module, panel):
    """A person has checked the stored picture; it lacks the texts and edges of Slicer's views."""
    thick = sys.modules["ThickToThinSRSlicer.sample_data"].loadSample()
    thick.GetDisplayNode().SetAutoWindowLevel(False)
    thick.GetDisplayNode().SetWindowLevel(1400, -400)
    panel._compare.setPair(thick, panel.logic.enhance(thick, method="interpolation"))
    panel.ui.sideBySideButton.click()
    picture_now = montage(slicer)
    if not APPROVED.exists():
        sitk.WriteImage(sitk.GetImageFromArray(picture_now), str(APPROVED))
        pytest.fail(f"{APPROVED} was missing and has been written: look at it")
    approved = sitk.GetArrayFromImage(sitk.ReadImage(str(APPROVED)))
    assert picture_now.shape == approved.shape
    assert np.abs(picture_now.astype(int) - approved).mean() < 1
