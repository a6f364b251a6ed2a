"""More clicks in the panel: sequences, a folder of inputs, added weights, DICOM export."""

from __future__ import annotations

import lzma
import pathlib
import shutil
import types

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from Testing.command_line import write
from Testing.make_dicom import ct_series, write_series
from Testing.shared_data import CHECKOUT
from Testing.volumes import ct_voxels
from ThickToThinSRLib.io.dicom.series import read_series

from .scenes import add_volume, background, click, contents, is_clean, wait_until


@pytest.fixture
def sequence(slicer, choices):
    """The proxy node of a sequence of three volumes, chosen in the panel; its browser."""
    scene = slicer.mrmlScene
    frames = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "perfusion")
    frames.SetIndexName("time")
    for number in range(3):
        frame = add_volume(slicer, ct_voxels(seed=number), name="frame")
        frames.SetDataNodeAtValue(frame, f"{10 * number}")
        scene.RemoveNode(frame)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(frames.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(frames)
    proxy.CreateDefaultDisplayNodes()
    choices.inputVolume = proxy
    return proxy, browser


def results(slicer) -> list:
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in nodes if node.GetName().endswith("1.0 mm")]


def names_of_frames(frames) -> list[str]:
    return [frames.GetNthDataNode(number).GetName() for number in range(frames.GetNumberOfDataNodes())]


def test_one_frame_of_a_sequence_is_enhanced_as_a_volume(slicer, panel, sequence):
    assert panel.ui.allFramesCheckBox.visible
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    [result] = results(slicer)
    assert slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(result) is None
    assert slicer.util.arrayFromVolume(result).shape == (31, 10, 11)


def test_all_frames_become_a_sequence_that_the_same_browser_plays(slicer, panel, sequence):
    proxy, browser = sequence
    names = names_of_frames(browser.GetSequenceNode(proxy))
    panel.ui.allFramesCheckBox.click()
    assert not panel.ui.outputSelector.enabled
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None and results(slicer))
    [result] = results(slicer)
    results_sequence = browser.GetSequenceNode(result)
    assert results_sequence.GetNumberOfDataNodes() == 3
    assert [results_sequence.GetNthIndexValue(number) for number in range(3)] == ["0", "10", "20"]
    for number in range(3):
        browser.SetSelectedItemNumber(number)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        thick, thin = (slicer.util.arrayFromVolume(node) for node in (proxy, result))
        np.testing.assert_array_equal(thick, ct_voxels(seed=number))
        assert thin.shape == (31, 10, 11)
        assert np.corrcoef(thin[::5].ravel(), thick.ravel())[0, 1] > 0.9
    assert names_of_frames(browser.GetSequenceNode(proxy)) == names
    assert panel.ui.statusLabel.text == f"Done: {result.GetName()}"
    assert is_clean(slicer)


def test_a_sequence_cancelled_at_its_second_frame_leaves_nothing(slicer, panel, sequence):
    panel.ui.allFramesCheckBox.click()
    before = [name.rsplit(" ", 1)[0] for name in contents(slicer)]
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: panel.ui.statusLabel.text.startswith("frame 2 of 3"))
    click(panel.ui.cancelButton)
    wait_until(slicer, lambda: background() is None)
    assert panel.ui.statusLabel.text == "Cancelled; nothing was changed"
    assert [name.rsplit(" ", 1)[0] for name in contents(slicer)] == before
    assert is_clean(slicer)


def batch_states(panel) -> dict[str, str]:
    table = panel.ui.batchTable
    return {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}


def test_a_folder_is_enhanced_with_one_broken_file_and_gone_on_with(slicer, panel, choices, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write(source / "a.nrrd")
    (source / "b.nrrd").write_text("no volume")
    assert not panel.ui.batchButton.enabled
    panel.ui.batchInputWidget.currentPath = str(source)
    panel.ui.batchOutputWidget.currentPath = str(target)
    for state in ("done", "already there"):
        click(panel.ui.batchButton)
        wait_until(slicer, lambda: background() is None)
        assert batch_states(panel) == {"a.nrrd": state, "b.nrrd": "failed"}
    assert "b.nrrd" in panel.ui.batchStatusLabel.text
    assert panel.ui.batchTable.item(1, 2).text()  # why
    assert sorted(path.name for path in target.iterdir()) == ["a.nrrd", "a.nrrd.provenance.json"]


def test_a_batch_is_cancelled_by_its_own_button_and_keeps_what_is_done(slicer, panel, choices, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write(source / "a.nrrd")
    write(source / "b.nrrd", ct_voxels((40, 150, 150)))
    choices.spacing = 0.2
    panel.ui.batchInputWidget.currentPath = str(source)
    panel.ui.batchOutputWidget.currentPath = str(target)
    click(panel.ui.batchButton)
    wait_until(slicer, lambda: batch_states(panel).get("b.nrrd") == "running")
    click(panel.ui.batchCancelButton)
    wait_until(slicer, lambda: background() is None)
    assert panel.ui.batchStatusLabel.text.startswith("Cancelled")
    assert sorted(path.name for path in target.iterdir()) == ["a.nrrd", "a.nrrd.provenance.json"]


def add_weights(slicer, panel, path) -> None:
    import qt

    qt.QFileDialog.answer = str(path)
    click(panel.ui.addWeightsButton)
    wait_until(slicer, lambda: background() is None)


def test_added_weights_are_kept_and_their_method_chosen(slicer, panel, tmp_path):
    name = "mine.safetensors"
    shutil.copyfile(CHECKOUT / "Resources" / "Models" / "universal.safetensors", tmp_path / name)
    panel._parameterNode.method = "interpolation"
    add_weights(slicer, panel, tmp_path / name)
    copy = tmp_path / "weights" / f"universal-{name}"
    assert panel._parameterNode.method == "universal"
    assert copy.read_bytes() == (tmp_path / name).read_bytes()
    assert panel.ui.statusLabel.text.startswith("Weights added: Universal")
    assert not slicer.util.errors


def test_the_authors_weights_are_converted_without_running_them_and_found_from_then_on(
    slicer, panel, tmp_path
):
    packed = CHECKOUT / "Testing" / "parity" / "arrays" / "tvsrn_authors_64.pkl.xz"
    (tmp_path / "authors.pkl").write_bytes(lzma.decompress(packed.read_bytes()))
    add_weights(slicer, panel, tmp_path / "authors.pkl")
    assert not slicer.util.errors
    added = tmp_path / "weights" / "tvsrn-authors.safetensors"
    assert added.is_file()
    assert panel._parameterNode.method == "tvsrn"
    assert panel._parameterNode.checkpoint == pathlib.Path()  # as in another session
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels((4, 64, 64)))
    assert "weights ready" in panel.ui.methodInfoLabel.text
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    assert not slicer.util.errors
    assert panel.ui.statusLabel.text == "Done: chest 1.0 mm"
    # If there are two, the user must choose.
    shutil.copyfile(added, added.with_name("tvsrn-b.safetensors"))
    panel.updateButtons()
    assert not panel.ui.enhanceButton.enabled
    assert panel.ui.enhanceButton.toolTip.startswith("2 weights files of tvsrn were added: choose one")
    assert "2 weights files" in panel.ui.methodInfoLabel.text


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pkl"])
def test_broken_weights_are_refused_with_a_reason_and_not_kept(slicer, panel, tmp_path, name):
    (tmp_path / name).write_bytes(b"no weights")
    before = panel._parameterNode.checkpoint
    add_weights(slicer, panel, tmp_path / name)
    assert name in slicer.util.errors[0][0]
    assert panel._parameterNode.checkpoint == before
    assert not (tmp_path / "weights").exists()


@pytest.fixture
def dicom_volume(slicer, choices, tmp_path):
    """A volume as Slicer's DICOM module leaves it, chosen in the panel; its folder."""
    write_series(ct_series(np.clip(ct_voxels(), -900, 900)), tmp_path / "thick")
    volume = read_series(tmp_path / "thick")
    headers = {dcmread(path).SOPInstanceUID: path for path in (tmp_path / "thick").iterdir()}
    by_height = sorted(headers, key=lambda uid: dcmread(headers[uid]).ImagePositionPatient[2])
    node = add_volume(
        slicer,
        volume.voxels,
        np.diag([-1.0, -1, 1]),
        volume.spacing,
        origin=np.multiply(volume.origin, (-1, -1, 1)),
    )
    slicer.dicomDatabase = types.SimpleNamespace(
        isOpen=True,
        instanceValue=lambda uid, tag: str(dcmread(headers[uid])[tag.replace(",", "")].value),
        fileForInstance=lambda uid: str(headers.get(uid, "")),
    )
    node.SetAttribute("DICOM.instanceUIDs", " ".join(by_height))
    choices.inputVolume = node
    return tmp_path / "thick"


def test_a_result_is_exported_as_a_derived_series(slicer, panel, dicom_volume, tmp_path):
    import qt

    assert "slice thickness 5.0 mm (DICOM)" in panel.ui.inputInfoLabel.text
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    (tmp_path / "export").mkdir()
    qt.QFileDialog.answer = str(tmp_path / "export")
    click(panel.ui.exportDicomButton)
    click(panel.ui.exportDicomButton)
    assert not slicer.util.errors
    folders = sorted(path.name for path in (tmp_path / "export").iterdir())
    assert folders == ["chest 1.0 mm", "chest 1.0 mm 2"]
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "export" / "chest 1.0 mm")))
    image, node = reader.Execute(), panel.ui.compareResultSelector.currentNode()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), slicer.util.arrayFromVolume(node))
    thick = read_series(dicom_volume)
    np.testing.assert_allclose(image.GetOrigin(), thick.origin, atol=1e-3)
    np.testing.assert_allclose(image.GetSpacing(), (*thick.spacing[:2], 1.0), atol=1e-5)


def test_a_volume_that_is_no_result_of_a_dicom_series_has_no_export(slicer, panel, choices):
    choices.inputVolume = add_volume(slicer, ct_voxels())
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    assert not panel.ui.exportDicomButton.enabled
    assert "save it as a file" in panel.ui.exportDicomButton.toolTip
