"""A scene saved and loaded in every state: the choices are as they were, nothing is overwritten."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from Testing.shared_data import CHECKOUT
from Testing.volumes import ct_voxels

from .scenes import add_volume, background, click, import_scene, save_scene, wait_until


def running(slicer, panel, tmp_path):
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels((40, 150, 150)), name="large")
    panel._parameterNode.spacing = 0.2
    click(panel.ui.enhanceButton)


def comparing(slicer, panel, tmp_path):
    thick = panel._parameterNode.inputVolume
    panel._parameterNode.outputVolume = panel.logic.enhance(thick, method="consistent", spacing=2.0)
    panel._compare.setPair(thick, panel._parameterNode.outputVolume)
    panel.ui.sideBySideButton.click()


def after_a_run(slicer, panel, tmp_path):
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    panel._parameterNode.outputVolume = panel.ui.compareResultSelector.currentNode()


def with_weights(slicer, panel, tmp_path):
    panel._parameterNode.method = "universal"
    source = CHECKOUT / "Resources" / "Models" / "universal.safetensors"
    panel.ui.checkpointWidget.currentPath = str(shutil.copyfile(source, tmp_path / "mine.safetensors"))


def of_a_sequence(slicer, panel, tmp_path):
    scene = slicer.mrmlScene
    frames = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "perfusion")
    frame = add_volume(slicer, ct_voxels(), name="frame")
    for moment in ("0", "10"):
        frames.SetDataNodeAtValue(frame, moment)
    scene.RemoveNode(frame)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(frames.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    panel._parameterNode.inputVolume = browser.GetProxyNode(frames)
    click(panel.ui.allFramesCheckBox)


def choices(panel) -> dict:
    """The choices, nodes by name."""
    parameters = panel._parameterNode
    values = {name: getattr(parameters, name) for name in parameters.allParameters}
    return {name: value.GetName() if hasattr(value, "GetName") else value for name, value in values.items()}


def voxels(slicer) -> dict:
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return {node.GetName(): slicer.util.arrayFromVolume(node).copy() for node in nodes}


@pytest.mark.parametrize("state", [running, comparing, after_a_run, with_weights, of_a_sequence])
@pytest.mark.parametrize("into", ["a closed scene", "a scene with volumes"])
def test_a_scene_comes_back_as_it_was(slicer, no_process, panel, tmp_path, state, into):
    add_volume(slicer, ct_voxels(seed=1), name="first")
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels(seed=2), name="second")
    panel._parameterNode.method = "consistent"
    panel._parameterNode.spacing, panel._parameterNode.precision = 2.0, "float32"
    state(slicer, panel, tmp_path)
    chosen, content = choices(panel), voxels(slicer)
    layout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    path = save_scene(slicer, tmp_path / "scene")
    assert (background() is not None) == (state is running)
    slicer.mrmlScene.Clear(0)
    assert background() is None
    assert panel.ui.checkpointWidget.currentPath == ""
    if into != "a closed scene":
        add_volume(slicer, ct_voxels(seed=9), name="other")
    import_scene(slicer, path)
    assert choices(panel) == chosen
    assert panel.ui.methodComboBox.currentData == chosen["method"]
    assert panel.ui.inputSelector.currentNode().GetName() == chosen["inputVolume"]
    output = panel.ui.outputSelector.currentNode()
    assert (None if output is None else output.GetName()) == chosen["outputVolume"]
    assert panel.ui.allFramesCheckBox.checked == chosen["allFrames"] == (state is of_a_sequence)
    expected = chosen["checkpoint"]
    assert panel.ui.checkpointWidget.currentPath == ("" if str(expected) == "." else str(expected))
    assert slicer.app.layoutManager().layout == layout
    assert not panel.ui.sideBySideButton.checked
    after = voxels(slicer)
    for name, array in content.items():
        np.testing.assert_array_equal(after[name], array)
    assert not slicer.util.errors
    assert not slicer.util.questions
