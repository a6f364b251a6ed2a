"""Helpers of the tests: volume nodes, contents of the scene, waiting, clicking."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

TILT = np.deg2rad(20)
OBLIQUE = np.array(
    [[np.cos(TILT), -np.sin(TILT), 0], [np.sin(TILT), np.cos(TILT), 0], [0, 0, 1.0]]
) @ np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
# Name: (RAS directions of i, j, k as columns, spacing of i, j, k, through-plane axis).
GEOMETRIES = {
    "axial": (np.eye(3), (0.8, 0.7, 5.0), 2),
    "oblique": (OBLIQUE, (0.8, 0.7, 5.0), 2),
    "acquired sagittally": (np.array([[0, 0, -1.0], [1, 0, 0], [0, 1, 0]]), (0.8, 0.7, 3.75), 2),
    "thick along i": (np.eye(3), (5.0, 0.7, 0.8), 0),
    "thick along j, oblique": (OBLIQUE, (0.8, 5.0, 0.7), 1),
    "flipped": (np.diag([-1.0, -1.0, 1.0]), (0.8, 0.7, 5.0), 2),
    "left-handed": (np.diag([1.0, 1.0, -1.0]), (0.8, 0.7, 5.0), 2),
}
ORIGIN = (11.0, -22.5, 33.25)


def add_volume(slicer, voxels, directions=None, spacing=(0.8, 0.7, 5.0), name="chest", origin=ORIGIN):
    """A scalar volume node with display; `directions` (RAS) in columns."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, voxels)
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if directions is None else directions) * spacing
    matrix[:3, 3] = origin
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    node.CreateDefaultDisplayNodes()
    return node


def ijk_to_world(slicer, node) -> np.ndarray:
    """4 x 4, with the parent transform."""
    import vtk

    matrix, parent = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetMatrixTransformToWorld(parent)
    return slicer.util.arrayFromVTKMatrix(parent) @ slicer.util.arrayFromVTKMatrix(matrix)


def save_as_slicer_does(slicer, node, path: Path) -> Path:
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    return path


def load_as_slicer_does(slicer, path: Path, name="loaded"):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    node.SetAndObserveStorageNodeID(slicer.mrmlScene.AddNode(storage).GetID())
    node.CreateDefaultDisplayNodes()
    return node


def save_scene(slicer, folder: Path) -> Path:
    """Save the scene as Slicer does: every volume in a file, then the scene's own file."""
    folder.mkdir(exist_ok=True)
    scene = slicer.mrmlScene
    scene.StartState(scene.SaveState)
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(str(folder / f"{node.GetID()}.nrrd"))
        assert storage.WriteData(node)
        node.SetAndObserveStorageNodeID(storage.GetID())
    path = folder / "scene.mrml"
    scene.SetRootDirectory(str(folder))
    scene.SetURL(str(path))
    assert scene.Commit()
    scene.EndState(scene.SaveState)
    return path


def import_scene(slicer, path: Path) -> None:
    """Add a scene's file to the scene, as File > Add Data does."""
    slicer.mrmlScene.SetRootDirectory(str(path.parent))
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Import()


def write_nifti(path: Path, voxels, spacing, directions) -> Path:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetDirection(directions.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def contents(slicer) -> list[str]:
    """All nodes of the scene with names and modification times, to detect any change."""
    nodes = [slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes())]
    return [f"{node.GetID()} {node.GetName()} {node.GetMTime()}" for node in nodes]


def is_clean(slicer) -> bool:
    """Whether no temporary file is left."""
    return not any(Path(slicer.app.temporaryPath).iterdir())


def wait_until(slicer, condition, seconds=300.0) -> None:
    """Run the event loop until `condition()` is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"the condition was not true within {seconds} s"
        slicer.app.processEvents()
        time.sleep(0.01)


def put_python_slicer(monkeypatch, folder: Path, script: str) -> None:
    """Put a program named PythonSlicer on the path, like Slicer's."""
    import os

    folder.mkdir()
    program = folder / "PythonSlicer"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def leave(panel) -> None:
    """Turn to another module."""
    panel.parent.isEntered = False
    panel.exit()


def enter(panel) -> None:
    """Open the module again."""
    panel.parent.isEntered = True
    panel.enter()


def choose_method(panel, name: str) -> None:
    """Choose a method in the list."""
    panel.ui.methodComboBox.setCurrentIndex(panel.ui.methodComboBox.findData(name))


def click(button) -> None:
    """Click a button; fail if it is disabled."""
    assert button.enabled, button.toolTip
    button.click()


def background():
    """The module's background run, or None."""
    return sys.modules["ThickToThinSRSlicer.background"].BackgroundRun.current


def run_batch(slicer, panel, source: Path, target: Path) -> None:
    """Enhance the volumes of a folder on the panel's second page, to the end."""
    panel.ui.batchInputWidget.currentPath = str(source)
    panel.ui.batchOutputWidget.currentPath = str(target)
    panel.ui.tabWidget.setCurrentIndex(1)
    click(panel.ui.batchButton)
    wait_until(slicer, lambda: background() is None)
