"""Clicks in the panel: real buttons, a real worker; after an error nothing is left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
import types

import pytest

from Testing.shared_data import shared
from Testing.volumes import ct_voxels
from ThickToThinSRLib.methods.registry import METHODS

from .scenes import (
    add_volume,
    background,
    click,
    contents,
    enter,
    is_clean,
    leave,
    load_as_slicer_does,
    put_python_slicer,
    wait_until,
)
from .test_logic import process_exists

QtCore = pytest.importorskip("PySide6.QtCore", reason="PySide6-Essentials is not installed")
QtWidgets = pytest.importorskip("PySide6.QtWidgets", reason="PySide6-Essentials is not installed")
# From before the worker's first line to its last slices.
_MOMENTS = [0.0, 0.3, 0.7, 1.1, 1.6, 2.2]


@pytest.fixture
def chest(slicer, panel):
    """A large volume, chosen in the panel, that a worker needs some seconds for."""
    node = add_volume(slicer, ct_voxels((40, 150, 150)))
    panel._parameterNode.inputVolume = node
    panel._parameterNode.method = "consistent"
    panel._parameterNode.spacing = 0.5
    return node


@pytest.fixture
def small(slicer, panel):
    """A small volume, chosen in the panel, that is enhanced at once."""
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels())
    panel._parameterNode.method = "consistent"
    return panel._parameterNode.inputVolume


def test_the_panel_says_what_it_understood_and_what_will_result(slicer, panel):
    node = add_volume(slicer, ct_voxels((64, 52, 51)), spacing=(0.84, 0.84, 5.0))
    panel._parameterNode.inputVolume = node
    assert panel.ui.inputInfoLabel.text == (
        "51 x 52 x 64, 0.84 x 0.84 x 5.00 mm, axial; slice thickness 5.0 mm (assumed)"
    )
    assert panel.ui.resultInfoLabel.text.startswith("316 slices every 1.00 mm, 1 MB")


def assert_no_label_is_cut(slicer, panel):
    """No visible label with word wrap is lower than its text, or wider than the panel."""
    for _ in range(5):
        slicer.app.processEvents()
    for child in panel.parent.widget.findChildren(QtWidgets.QLabel):
        if child.wordWrap() and child.isVisible() and child.text():
            rectangle = QtCore.QRect(0, 0, child.width(), 10_000)
            needed = child.fontMetrics().boundingRect(rectangle, QtCore.Qt.TextWordWrap, child.text())
            assert child.height() >= needed.height(), (child.objectName(), child.text())
            assert child.mapTo(panel.parent.widget, QtCore.QPoint(child.width(), 0)).x() <= (
                panel.parent.widget.width()
            )


@pytest.mark.parametrize("width", [460, 380])
def test_no_label_is_cut_after_a_change_of_method_width_or_status(slicer, panel, width):
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels())
    for name in ("advanced", "compare"):
        getattr(panel.ui, f"{name}CollapsibleButton").collapsed = False
    slicer.app.processEvents()
    panel.parent.widget.resize(width, 900)
    slicer.app.processEvents()
    assert panel.parent.widget.width() == width
    heights = {}
    for method in METHODS:
        panel._parameterNode.method = method
        assert_no_label_is_cut(slicer, panel)
        heights[method] = panel.ui.methodInfoLabel.height
    panel._parameterNode.method = "interpolation"
    assert_no_label_is_cut(slicer, panel)
    assert panel.ui.methodInfoLabel.minimumHeight < max(heights.values())  # the room is given back
    panel.ui.statusLabel.text = "Failed: " + "a long reason, " * 20
    assert_no_label_is_cut(slicer, panel)


def test_the_button_is_off_with_the_reason_until_it_can_work(slicer, panel, no_bundled_weights):
    assert not panel.ui.enhanceButton.enabled
    assert panel.ui.enhanceButton.toolTip == "Choose an input volume"
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels())
    panel._parameterNode.method = "cthnet"
    assert not panel.ui.enhanceButton.enabled
    assert "needs weights" in panel.ui.enhanceButton.toolTip
    assert "needs a weights file" in panel.ui.methodInfoLabel.text
    panel._parameterNode.method = "consistent"
    assert panel.ui.enhanceButton.enabled


def test_a_click_enhances_and_shows_the_quality_and_the_time_of_the_next_run(slicer, panel, small):
    click(panel.ui.enhanceButton)
    assert not panel.ui.enhanceButton.enabled
    assert "is running" in panel.ui.enhanceButton.toolTip
    wait_until(slicer, lambda: background() is None)
    assert panel.ui.statusLabel.text == "Done: chest 1.0 mm"
    table = panel.ui.qualityTable
    values = {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}
    assert values["Method"] == "consistent"
    assert values["Difference to the input, mean"].endswith(" HU")
    assert "as in the last run" in panel.ui.resultInfoLabel.text
    assert panel.ui.compareResultSelector.currentNode().GetName() == "chest 1.0 mm"
    assert not panel.ui.compareCollapsibleButton.collapsed
    assert is_clean(slicer)


def test_what_makes_the_result_doubtful_is_said_beneath_the_table(slicer, panel, monkeypatch):
    voxels = ct_voxels((6, 20, 21))
    voxels[2, 5:9] = 3000  # metal
    node = add_volume(slicer, voxels, spacing=(0.8, 0.7, 10.0))
    known = {"0018,0050": "10", "0008,0060": "MR"}
    database = types.SimpleNamespace(isOpen=True, instanceValue=lambda uid, tag: known[tag])
    monkeypatch.setattr(slicer, "dicomDatabase", database)
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    panel._parameterNode.inputVolume, panel._parameterNode.spacing = node, 5.0
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    lines = panel.ui.warningsLabel.text.splitlines()
    words = (
        "modality is MR",
        "slice spacing of",
        "slice thickness of",
        "voxels lie outside -1024 to 2048 HU",
    )
    for word, line in zip(words, lines[: len(words)], strict=True):
        assert word in line
    assert panel.ui.warningsLabel.visible


@pytest.mark.parametrize("moment", _MOMENTS, ids="{:.2f} s".format)
def test_cancel_at_any_moment_leaves_no_node_file_or_process(slicer, panel, moment):
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels((40, 300, 300)))
    panel._parameterNode.method, panel._parameterNode.spacing = "consistent", 0.2
    before = contents(slicer)
    click(panel.ui.enhanceButton)
    pid = background().process.processId()
    end = time.monotonic() + moment
    wait_until(slicer, lambda: time.monotonic() > end)
    click(panel.ui.cancelButton)
    wait_until(slicer, lambda: background() is None)
    assert panel.ui.statusLabel.text == "Cancelled; nothing was changed"
    assert contents(slicer) == before
    assert is_clean(slicer)
    assert not process_exists(pid)


def test_a_killed_worker_is_explained(slicer, panel, chest):
    before = contents(slicer)
    click(panel.ui.enhanceButton)
    os.kill(background().process.processId(), signal.SIGKILL)
    wait_until(slicer, lambda: background() is None)
    assert "lack of memory" in slicer.util.errors[0][0]
    assert panel.ui.statusLabel.text.startswith("Failed")
    assert contents(slicer) == before
    assert is_clean(slicer)


def test_closing_the_scene_ends_the_run(slicer, panel, chest):
    click(panel.ui.enhanceButton)
    pid = background().process.processId()
    slicer.mrmlScene.Clear(0)
    assert background() is None
    assert not process_exists(pid)
    assert is_clean(slicer)
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode") is None


def test_the_input_may_go_while_the_worker_runs(slicer, panel, small):
    click(panel.ui.enhanceButton)
    slicer.mrmlScene.RemoveNode(small)
    wait_until(slicer, lambda: background() is None)
    assert panel.ui.statusLabel.text == "Done: chest 1.0 mm"
    assert slicer.util.getNode("chest 1.0 mm").GetImageData() is not None


def test_leaving_the_module_while_it_runs_does_no_harm(slicer, panel, small):
    click(panel.ui.enhanceButton)
    leave(panel)
    wait_until(slicer, lambda: background() is None)
    enter(panel)
    assert panel.ui.statusLabel.text == "Done: chest 1.0 mm"
    assert panel.ui.enhanceButton.enabled


def test_while_one_runs_nothing_else_can_be_started(slicer, panel, chest, tmp_path):
    panel._compare.setPair(chest, add_volume(slicer, ct_voxels(), name="thin"))
    panel.ui.batchInputWidget.currentPath = panel.ui.batchOutputWidget.currentPath = str(tmp_path)
    click(panel.ui.enhanceButton)
    for name in ("enhance", "batch", "difference"):
        button = getattr(panel.ui, f"{name}Button")
        assert not button.enabled, name
        assert "is running" in button.toolTip
    panel._run.onEnhance()  # as if a click had come through
    assert "An enhancement is running" in slicer.util.errors[0][0]
    assert background() is not None
    click(panel.ui.cancelButton)
    wait_until(slicer, lambda: background() is None)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by ulimit")
def test_a_worker_without_memory_says_so(slicer, panel, chest, monkeypatch, tmp_path):
    limited = f'ulimit -v 900000\nexec "{sys.executable}" "$@"\n'
    put_python_slicer(monkeypatch, tmp_path / "bin", limited)
    panel._parameterNode.spacing = 0.1
    before = contents(slicer)
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    text, _ = slicer.util.errors[0]
    assert "memory" in text
    assert "choose a larger target spacing" in text
    assert contents(slicer) == before
    assert is_clean(slicer)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files by ulimit")
def test_a_full_disk_is_named_and_leaves_nothing(slicer, panel, chest, monkeypatch, tmp_path):
    limited = f'ulimit -f 1000\nexec "{sys.executable}" "$@"\n'
    put_python_slicer(monkeypatch, tmp_path / "bin", limited)
    before = contents(slicer)
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    text, _ = slicer.util.errors[0]
    assert "disk" in text or "could not be written" in text
    assert contents(slicer) == before
    assert is_clean(slicer)


def test_the_real_chest_goes_from_click_to_result(slicer, panel):
    node = load_as_slicer_does(slicer, shared("data/chest_lungdx0001_5mm_sharp.nii.gz"), "chest")
    panel._parameterNode.inputVolume = node
    panel._parameterNode.method = "interpolation"
    panel._parameterNode.spacing = 4.0
    assert panel.ui.inputInfoLabel.text.startswith("512 x 512 x 64, 0.84 x 0.84 x 5.00 mm, axial")
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    output = panel.ui.compareResultSelector.currentNode()
    assert slicer.util.arrayFromVolume(output).shape == (79, 512, 512)
