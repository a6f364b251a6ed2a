"""The first click: in an empty scene the panel offers its sample, enhances it and shows the comparison."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from Testing.volumes import ct_voxels

from . import pythonqt
from .scenes import add_volume, background, choose_method, click, leave, wait_until


@pytest.fixture
def without_torch(module, monkeypatch):
    """As on a Slicer without PyTorch: a method that needs none is done soon."""
    monkeypatch.setattr(sys.modules["ThickToThinSRSlicer.sample_button"], "torchInstalled", lambda: False)


def test_one_click_loads_enhances_and_compares_the_sample(slicer, without_torch, panel):
    assert panel.ui.sampleButton.visible
    click(panel.ui.sampleButton)
    assert not panel.ui.sampleButton.visible
    wait_until(slicer, lambda: background() is None)
    assert not slicer.util.errors
    assert panel.ui.statusLabel.text == "Done: Thorax phantom 5 mm 1.0 mm"
    assert panel._parameterNode.method == "consistent"
    assert panel.ui.sideBySideButton.checked
    views = {
        row: slicer.app.layoutManager().sliceWidget(f"ThickToThinSR{row}Axial").sliceLogic()
        for row in ("Input", "Result")
    }
    shown = {
        row: slicer.mrmlScene.GetNodeByID(view.GetSliceCompositeNode().GetBackgroundVolumeID()).GetName()
        for row, view in views.items()
    }
    assert shown == {"Input": "Thorax phantom 5 mm", "Result": "Thorax phantom 5 mm 1.0 mm"}
    # The tour is over: later runs do not open the comparison by themselves.
    leave(panel)
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels())
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    assert not panel.ui.sideBySideButton.checked


def test_the_offer_goes_with_the_first_volume_and_comes_back_with_an_empty_scene(slicer, panel):
    add_volume(slicer, ct_voxels())
    assert not panel.ui.sampleButton.visible
    slicer.mrmlScene.Clear(0)
    assert panel.ui.sampleButton.visible


def test_the_default_method_is_taken_where_pytorch_is_there(slicer, panel, monkeypatch):
    started = []
    monkeypatch.setattr(panel.logic, "enhance", lambda **chosen: started.append(chosen["method"]))
    click(panel.ui.sampleButton)
    assert started == ["universal"]


def test_methods_are_grouped_and_say_what_they_are_for(panel):
    combo = panel.ui.methodComboBox
    names = [combo.itemData(row) for row in range(combo.count)]
    assert names[:2] == ["universal", "consistent"]
    assert names[-1] == "interpolation"
    assert [row for row, name in enumerate(names) if name is None] == [2, len(names) - 2]  # separators
    methods = sys.modules["ThickToThinSRLib.methods.registry"].METHODS
    assert sorted(filter(None, names)) == sorted(methods)
    tips = [combo.itemData(row, pythonqt.QtCore.Qt.ToolTipRole) for row in range(combo.count)]
    assert all(tip for tip, name in zip(tips, names, strict=True) if name)
    assert tips[0].startswith("recommended")
    choose_method(panel, "tvsrn")
    assert panel._parameterNode.method == "tvsrn"


def test_the_time_with_and_without_a_gpu_is_told_before_the_run(slicer, panel):
    timings = sys.modules["ThickToThinSRSlicer.timings"]
    panel._parameterNode.inputVolume = add_volume(slicer, np.zeros((64, 128, 128), np.int16))
    assert panel.ui.resultInfoLabel.text.endswith("about 3 s on a CPU with two cores, faster on a GPU")
    timings.remember("universal", "cuda:0", 1.0, 316 * 128 * 128)
    timings.remember("universal", "cpu", 10.0, 316 * 128 * 128)
    panel.updateButtons()
    assert panel.ui.resultInfoLabel.text.endswith(
        "about 10 s on the CPU, as in the last run, about 1 s on the GPU, as in the last run"
    )
    panel._parameterNode.device = "cpu"
    assert "GPU" not in panel.ui.resultInfoLabel.text
    panel._parameterNode.method, panel._parameterNode.device = "interpolation", "auto"
    assert "GPU" not in panel.ui.resultInfoLabel.text
