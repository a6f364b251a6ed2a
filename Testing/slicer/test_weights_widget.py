"""Weights of one's own in the panel: chosen, emptied, added; never those of another network."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from Testing.shared_data import CHECKOUT
from Testing.volumes import ct_voxels

from .scenes import add_volume, choose_method, click

MODELS = CHECKOUT / "Resources" / "Models"


@pytest.fixture
def choices(slicer, panel):
    """The panel's choices, with an input."""
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels())
    return panel._parameterNode


def file_of(method: str, folder: pathlib.Path) -> pathlib.Path:
    """A copy of the weights that ship for a method."""
    folder.mkdir(exist_ok=True)
    [source] = MODELS.glob(f"{method}*.safetensors")
    return pathlib.Path(shutil.copyfile(source, folder / f"my {method}.safetensors"))


def test_no_weights_file_is_an_empty_field(panel, choices):
    assert panel.ui.checkpointWidget.currentPath == ""
    choices.spacing = 2.0
    assert panel.ui.checkpointWidget.currentPath == ""


def test_a_chosen_file_can_be_taken_back(panel, choices, tmp_path):
    path = file_of("universal", tmp_path / "mine")
    panel.ui.checkpointWidget.currentPath = str(path)
    assert choices.checkpoint == path
    assert panel.choices()["checkpoint"] == path
    panel.ui.checkpointWidget.currentPath = ""
    assert choices.checkpoint == pathlib.Path()
    assert panel.choices()["checkpoint"] is None
    assert panel.ui.enhanceButton.enabled


def test_weights_of_another_network_are_told_and_block_the_button(panel, choices, tmp_path):
    panel.ui.checkpointWidget.currentPath = str(file_of("tvsrn", tmp_path / "mine"))
    assert "holds weights of tvsrn, not of universal" in panel.ui.methodInfoLabel.text
    assert "holds weights of tvsrn, not of universal" in panel.ui.enhanceButton.toolTip
    assert not panel.ui.enhanceButton.enabled


def test_weights_of_another_network_are_dropped_when_the_method_changes(panel, choices, tmp_path):
    choices.method = "tvsrn"
    panel.ui.checkpointWidget.currentPath = str(file_of("tvsrn", tmp_path / "mine"))
    assert panel.ui.enhanceButton.enabled
    choose_method(panel, "universal")
    assert choices.checkpoint == pathlib.Path()
    assert panel.ui.checkpointWidget.currentPath == ""
    assert panel.ui.enhanceButton.enabled


def test_weights_stay_when_the_method_uses_none_meanwhile(panel, choices, tmp_path):
    path = file_of("universal", tmp_path / "mine")
    panel.ui.checkpointWidget.currentPath = str(path)
    for method in ("interpolation", "universal"):
        choose_method(panel, method)
    assert choices.checkpoint == path


def test_added_weights_leave_every_other_method_as_it_was(slicer, panel, choices, tmp_path):
    import qt

    qt.QFileDialog.answer = str(file_of("sr4zct", tmp_path / "mine"))
    click(panel.ui.addWeightsButton)
    assert choices.method == "sr4zct"
    assert choices.checkpoint == pathlib.Path()
    assert "weights ready" in panel.ui.methodInfoLabel.text
    assert panel.ui.enhanceButton.enabled
    choose_method(panel, "universal")
    assert "weights ready" in panel.ui.methodInfoLabel.text
    assert panel.ui.enhanceButton.enabled
    assert not slicer.util.errors
