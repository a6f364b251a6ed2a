"""The choices stay the user's, whatever happens to the scene: nodes come, change, go; scenes are loaded."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.volumes import ct_voxels

from .scenes import (
    add_volume,
    background,
    choose_method,
    click,
    enter,
    import_scene,
    leave,
    save_scene,
    wait_until,
)


@pytest.fixture
def three(slicer, choices):
    """Volumes A, B and C; B is the input and C, an earlier result, the output."""
    nodes = [add_volume(slicer, ct_voxels(seed=number), name=name) for number, name in enumerate("ABC")]
    nodes[2].SetAttribute("ThickToThinSR.method", "consistent")
    choices.inputVolume, choices.outputVolume = nodes[1:]
    return nodes


def test_a_volume_gets_its_voxels_after_it_is_chosen(slicer, panel):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "loading")
    assert panel._parameterNode.inputVolume is node
    assert "no voxels" in panel.ui.inputInfoLabel.text
    slicer.util.updateVolumeFromArray(node, ct_voxels((7, 10, 11)))
    node.SetSpacing(0.8, 0.7, 5.0)
    assert panel.ui.inputInfoLabel.text.startswith("11 x 10 x 7, 0.80 x 0.70 x 5.00 mm")
    slicer.util.updateVolumeFromArray(node, ct_voxels((9, 10, 11)))
    assert panel.ui.inputInfoLabel.text.startswith("11 x 10 x 9")


def test_a_label_map_is_not_taken_for_a_volume(slicer, panel):
    leave(panel)
    slicer.mrmlScene.Clear(0)
    label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "mask")
    slicer.util.updateVolumeFromArray(label, np.ones((3, 4, 5), np.uint8))
    enter(panel)
    assert panel._parameterNode.inputVolume is None
    assert panel.ui.enhanceButton.toolTip == "Choose an input volume"


@pytest.mark.parametrize("present", [True, False], ids=["panel open", "another module open"])
def test_a_removed_output_is_not_replaced_by_another_volume(slicer, panel, choices, three, present):
    if not present:
        leave(panel)
    slicer.mrmlScene.RemoveNode(three[2])
    add_volume(slicer, ct_voxels(), name="D")
    enter(panel)
    assert choices.outputVolume is None
    assert panel.ui.outputSelector.currentNode() is None
    assert choices.inputVolume is three[1]


@pytest.mark.parametrize("answer", [True, False], ids=["yes", "no"])
def test_a_volume_of_another_origin_is_replaced_only_after_a_question(slicer, panel, choices, three, answer):
    choices.outputVolume, slicer.util.answer = three[0], answer
    before = slicer.util.arrayFromVolume(three[0]).copy()
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    assert len(slicer.util.questions) == 1
    assert "A" in slicer.util.questions[0]
    after = slicer.util.arrayFromVolume(three[0])
    assert (after.shape == before.shape and (after == before).all()) is not answer


def test_an_earlier_result_is_replaced_without_a_question(slicer, panel, choices, three):
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    assert slicer.util.questions == []
    assert slicer.util.arrayFromVolume(three[2]).shape == (31, 10, 11)


@pytest.mark.parametrize("into", ["an empty scene", "a scene with other volumes"])
def test_a_scene_loaded_with_the_panel_open_keeps_its_choices(slicer, panel, choices, three, tmp_path, into):
    path = save_scene(slicer, tmp_path)
    slicer.mrmlScene.Clear(0)
    if into != "an empty scene":
        add_volume(slicer, ct_voxels(), name="other")
    import_scene(slicer, path)
    choices = panel._parameterNode
    assert (choices.inputVolume.GetName(), choices.outputVolume.GetName()) == ("B", "C")
    assert choices.method == "consistent"
    assert panel.ui.inputSelector.currentNode().GetName() == "B"
    assert panel.ui.outputSelector.currentNode().GetName() == "C"
    assert panel.ui.methodComboBox.currentData == "consistent"


def test_a_visit_to_another_module_keeps_the_choices(slicer, panel, choices, three):
    for _ in range(3):
        leave(panel)
        enter(panel)
    assert (choices.method, panel._parameterNode.method) == ("consistent", "consistent")
    assert panel.ui.methodComboBox.currentData == "consistent"
    assert (choices.inputVolume, choices.outputVolume) == tuple(three[1:])


def test_a_hundred_visits_cost_nothing(slicer, panel, choices, three):
    def updates_of_a_change():
        count = [0]
        label = panel.ui.spacingSpinBox.qt
        original = type(panel._parameterNode).spacing

        def read(parameters):
            count[0] += 1
            return original.fget(parameters)

        type(panel._parameterNode).spacing = property(read, original.fset)
        panel._parameterNode.parameterNode.Modified()
        type(panel._parameterNode).spacing = original
        return count[0], label.value()

    wrapper = panel._parameterNode
    before = updates_of_a_change()
    for _ in range(100):
        leave(panel)
        enter(panel)
    assert panel._parameterNode is wrapper
    assert updates_of_a_change() == before


def test_a_closed_scene_leaves_defaults_and_working_widgets(slicer, panel, choices, three):
    slicer.mrmlScene.Clear(0)
    choices = panel._parameterNode
    assert (choices.inputVolume, choices.outputVolume) == (None, None)
    choices.inputVolume = add_volume(slicer, ct_voxels())
    choose_method(panel, "interpolation")
    assert choices.method == "interpolation"
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    assert panel.ui.statusLabel.text == "Done: chest 1.0 mm"


def test_slicer_may_quit_when_its_views_are_gone_already(slicer, panel, three):
    panel._compare.setPair(three[0], three[1])
    panel.ui.sideBySideButton.click()
    there = slicer.app.layoutManager
    slicer.app.layoutManager = lambda: None
    try:
        panel.cleanup()
    finally:
        slicer.app.layoutManager = there
