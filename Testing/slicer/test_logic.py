"""A run adds the output node to the scene on success, and changes nothing otherwise."""

from __future__ import annotations

import os
import signal
import sys
import types

import numpy as np
import pytest

from Testing.volumes import ct_voxels
from ThickToThinSRLib import __version__
from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.worker.process import WorkerFailed

from .scenes import add_volume, contents, is_clean, put_python_slicer, wait_until


@pytest.fixture
def node(slicer):
    return add_volume(slicer, ct_voxels())


class Background:
    """A background run that records the arguments of its callbacks."""

    def __init__(self, logic, node, **options):
        self.events, self.ended, self.logic = [], [], logic
        logic.enhance(
            node,
            method="consistent",
            waitForCompletion=False,
            onProgress=self.events.append,
            onFinished=lambda output, error: self.ended.append((output, error)),
            **options,
        )

    def finish(self, slicer):
        wait_until(slicer, lambda: self.ended)
        assert len(self.ended) == 1
        assert not self.logic.isRunning()
        return self.ended[0]

    @property
    def pid(self):
        return sys.modules["ThickToThinSRSlicer.background"].BackgroundRun.current.process.processId()


def process_exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_output_looks_like_the_input_and_says_where_it_comes_from(slicer, logic, node):
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(1500, -500)
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    node.SetAttribute("DICOM.instanceNumbers", "1 2")
    node.SetAttribute("hospital", "south")
    output = logic.enhance(node, method="consistent", thickness=6.0)
    assert output.GetName() == "chest 1.0 mm"
    assert output.GetDisplayNode() is not display
    assert (output.GetDisplayNode().GetWindow(), output.GetDisplayNode().GetLevel()) == (1500, -500)
    assert not output.GetDisplayNode().GetAutoWindowLevel()
    attributes = {name: output.GetAttribute(name) for name in output.GetAttributeNames()}
    assert not any(name.startswith("DICOM.") for name in attributes)
    expected = {
        "hospital": "south",
        "ThickToThinSR.sourceInstanceUIDs": "1.2.3 1.2.4",
        "ThickToThinSR.sourceVolume": "chest",
        "ThickToThinSR.method": "consistent",
        "ThickToThinSR.target_spacing_mm": "1.0",
        "ThickToThinSR.thickness_mm": "6.0",
        "ThickToThinSR.thickness_from": "option",
        "ThickToThinSR.program": f"thicktothin {__version__}",
        "ThickToThinSR.warnings": "[]",
    }
    assert {name: attributes.get(name) for name in expected} == expected
    assert node.GetAttribute("DICOM.instanceUIDs") == "1.2.3 1.2.4"
    assert is_clean(slicer)


def test_an_automatic_window_is_copied_as_it_stands(slicer, logic, no_process, node):
    node.GetDisplayNode().SetAutoWindowLevel(True)
    output = logic.enhance(node, method="consistent")
    window = node.GetDisplayNode().GetWindow()
    assert window > 100
    assert output.GetDisplayNode().GetWindow() == window
    assert not output.GetDisplayNode().GetAutoWindowLevel()


def test_a_second_result_gets_a_name_of_its_own(slicer, logic, no_process, node):
    first, second = (
        logic.enhance(node, method="consistent", spacing=1.25),
        logic.enhance(node, method="consistent", spacing=1.25),
    )
    assert first.GetName() == "chest 1.25 mm"
    assert second.GetName() != first.GetName()


def test_the_output_lies_beside_its_input_in_the_subject_hierarchy(slicer, logic, no_process, node):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, node)
    output = logic.enhance(node, method="consistent")
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(output)) == study


def test_an_existing_output_node_gets_the_new_content_and_keeps_its_name(slicer, logic, no_process, node):
    output = add_volume(slicer, ct_voxels((2, 3, 4)), name="mine", origin=(0, 0, 0))
    output.SetAttribute("DICOM.instanceUIDs", "9.9")
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(400, 40)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetAndObserveTransformNodeID(transform.GetID())
    fresh = logic.enhance(node, method="consistent")
    assert logic.enhance(node, output, method="consistent") is output
    assert output.GetName() == "mine"
    assert output.GetTransformNodeID() == transform.GetID()
    assert output.GetAttribute("DICOM.instanceUIDs") is None
    assert output.GetDisplayNode().GetWindow() == 400
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(output), slicer.util.arrayFromVolume(fresh))
    np.testing.assert_allclose(output.GetOrigin(), node.GetOrigin())


@pytest.mark.parametrize(("stored", "used", "origin"), [("6.25", "6.25", "DICOM"), ("", "5.0", "assumed")])
def test_the_slice_thickness_comes_from_the_dicom_database(
    slicer, logic, no_process, node, monkeypatch, stored, used, origin
):
    values = {("1.2.3", "0018,0050"): stored, ("1.2.3", "0008,0060"): "CT"}
    database = types.SimpleNamespace(isOpen=True, instanceValue=lambda uid, tag: values[uid, tag])
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    output = logic.enhance(node, method="consistent")
    assert output.GetAttribute("ThickToThinSR.thickness_mm") == used
    assert output.GetAttribute("ThickToThinSR.thickness_from").startswith(origin)


def test_a_run_in_the_background_reports_progress_and_gives_the_same_result(slicer, logic, no_process, node):
    output, error = (background := Background(logic, node)).finish(slicer)
    assert error is None
    assert [event["done"] for event in background.events][-1] == background.events[-1]["total"]
    np.testing.assert_array_equal(
        slicer.util.arrayFromVolume(output),
        slicer.util.arrayFromVolume(logic.enhance(node, method="consistent")),
    )
    assert is_clean(slicer)


def test_a_second_run_is_refused_while_one_is_running(slicer, logic, module, node):
    background = Background(logic, node)
    for other in (logic, module.ThickToThinSRLogic()):
        with pytest.raises(UserError, match="is running"):
            other.enhance(node, method="consistent")
    assert background.finish(slicer)[1] is None


def test_the_input_may_be_deleted_while_its_copy_is_enhanced(slicer, logic, node):
    background = Background(logic, node)
    slicer.mrmlScene.RemoveNode(node)
    del node
    output, error = background.finish(slicer)
    assert error is None
    assert output.GetName() == "chest 1.0 mm"
    assert output.GetDisplayNode() is not None
    assert slicer.util.arrayFromVolume(output).shape == (31, 10, 11)


def test_an_output_node_deleted_meanwhile_is_replaced_by_a_new_one(slicer, logic, node):
    output = add_volume(slicer, ct_voxels((2, 3, 4)), name="mine")
    background = Background(logic, node, outputNode=output)
    slicer.mrmlScene.RemoveNode(output)
    result, error = background.finish(slicer)
    assert error is None
    assert result is not output
    assert slicer.mrmlScene.IsNodePresent(result)


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("moment", ["start", "work"])
def test_cancel_leaves_no_node_no_file_and_no_process(slicer, logic, moment, wait):
    node = add_volume(slicer, ct_voxels((40, 150, 150)))
    before = contents(slicer)
    background = Background(logic, node, spacing=0.5)
    pid = background.pid
    if moment == "work":
        wait_until(slicer, lambda: background.events)
    logic.cancel(wait=wait)
    if wait:
        assert background.ended
    output, error = background.finish(slicer)
    assert output is None
    assert isinstance(error, Cancelled)
    assert contents(slicer) == before
    assert is_clean(slicer)
    assert not process_exists(pid)


def test_closing_the_scene_ends_a_run_that_no_panel_watches(slicer, logic, node):
    background = Background(logic, node, spacing=0.1)
    pid = background.pid
    slicer.mrmlScene.Clear(0)
    assert isinstance(background.ended[0][1], Cancelled)
    assert not process_exists(pid)
    assert is_clean(slicer)


def test_cancel_without_a_run_does_nothing(logic):
    logic.cancel(wait=True)


@pytest.mark.parametrize("background", [False, True])
def test_what_the_worker_refuses_arrives_as_its_one_line(slicer, logic, node, background):
    output = add_volume(slicer, ct_voxels((2, 3, 4)), name="mine")
    before = contents(slicer)
    if background:
        _, error = Background(logic, node, outputNode=output, spacing=1e-9).finish(slicer)
    else:
        with pytest.raises(UserError) as caught:
            logic.enhance(node, output, method="consistent", spacing=1e-9)
        error = caught.value
    assert isinstance(error, UserError)
    from ThickToThinSRSlicer.descriptions import inPanelWords

    assert inPanelWords(error).endswith("choose a larger target spacing")
    assert "\n" not in str(error)
    assert contents(slicer) == before
    assert is_clean(slicer)


def test_a_voxel_that_is_no_number_is_reported_with_the_name_of_the_node(slicer, logic):
    voxels = ct_voxels(dtype=np.float32)
    voxels[2, 3, 4] = np.nan
    with pytest.raises(UserError, match=r"^chest: voxel \(i, j, k\) = \(4, 3, 2\) is nan"):
        logic.enhance(add_volume(slicer, voxels), method="consistent")
    assert is_clean(slicer)


def test_a_full_disk_is_reported_and_leaves_nothing(slicer, logic, module, node, monkeypatch):
    def full(volume, path, compress):
        path.write_bytes(b"half")
        raise UserError(f"{path}: could not be written whole; is the disk full?")

    monkeypatch.setattr(sys.modules["ThickToThinSRSlicer.job"], "write_volume", full)
    with pytest.raises(UserError, match="chest: could not be written whole"):
        logic.enhance(node, method="consistent")
    assert is_clean(slicer)


@pytest.mark.parametrize("background", [False, True])
def test_a_killed_worker_gives_its_last_words(slicer, logic, node, monkeypatch, tmp_path, background):
    put_python_slicer(monkeypatch, tmp_path / "bin", "echo allocating 90 GiB >&2; kill -9 $$\n")
    before = contents(slicer)
    if background:
        _, error = Background(logic, node).finish(slicer)
    else:
        with pytest.raises(WorkerFailed) as caught:
            logic.enhance(node, method="consistent")
        error = caught.value
    assert isinstance(error, WorkerFailed)
    assert "lack of memory" in error.summary
    assert error.last_words == ["allocating 90 GiB"]
    assert contents(slicer) == before
    assert is_clean(slicer)


def test_a_worker_killed_at_work_leaves_nothing(slicer, logic):
    node = add_volume(slicer, ct_voxels((40, 150, 150)))
    before = contents(slicer)
    background = Background(logic, node, spacing=0.5)
    wait_until(slicer, lambda: background.events)
    os.kill(background.pid, signal.SIGKILL)
    _, error = background.finish(slicer)
    assert isinstance(error, WorkerFailed)
    assert contents(slicer) == before
    assert is_clean(slicer)


@pytest.mark.parametrize("background", [False, True])
def test_a_python_that_cannot_be_started_is_named(slicer, logic, node, monkeypatch, background):
    monkeypatch.setattr("shutil.which", lambda name: "/nowhere/PythonSlicer")
    if background:
        _, error = Background(logic, node).finish(slicer)
    else:
        with pytest.raises(WorkerFailed) as caught:
            logic.enhance(node, method="consistent")
        error = caught.value
    assert isinstance(error, WorkerFailed)
    assert str(error).startswith("/nowhere/PythonSlicer: could not be started")
    assert is_clean(slicer)


def test_a_method_without_weights_is_explained_before_anything_runs(logic, node, no_bundled_weights):
    why = logic.obstacle(inputNode=node, outputNode=None, method="cthnet", checkpoint=None, spacing=1.0)
    assert "cthnet needs weights" in why


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"inputNode": None}, "Choose an input volume"),
        ({"outputNode": "input"}, "choose another output volume"),
        ({"method": "tvsrn", "checkpoint": "/nowhere/weights.safetensors"}, "no such file"),
        ({"method": "magic"}, "'magic' is not one of"),
        ({"spacing": 6.0}, "6 mm is coarser than the input's 5 mm"),
        ({}, ""),
    ],
)
def test_choices_that_cannot_work_are_explained_before_anything_runs(logic, node, options, reason):
    choices = {
        "inputNode": node,
        "outputNode": None,
        "method": "consistent",
        "checkpoint": None,
        "spacing": 1.0,
    }
    choices |= options
    if choices["outputNode"] == "input":
        choices["outputNode"] = node
    why = logic.obstacle(**choices)
    assert (reason in why) if reason else why == ""
    if reason:
        with pytest.raises(UserError):
            logic.enhance(**choices)


def test_a_label_map_is_refused_as_output(slicer, logic, node):
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    with pytest.raises(UserError, match="The output must be a scalar volume"):
        logic.enhance(node, output)


def test_the_module_tests_itself(module):
    module.ThickToThinSRTest().runTest()
