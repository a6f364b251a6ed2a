"""A stand-in for ``slicer.app.layoutManager()`` with the real layout and slice logics, without OpenGL."""

from __future__ import annotations

import types

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SIZE = (300, 240)


class LayoutManager:
    """Makes a slice logic for every slice view of the layout, where Slicer makes a widget."""

    def __init__(self, scene):
        import slicer

        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self._scene, self._views, self._logics = scene, {}, vtk.vtkCollection()
        self._application = slicer.vtkSlicerApplicationLogic()
        self._application.SetMRMLScene(scene)
        self._application.SetSliceLogics(self._logics)
        self._layout = slicer.vtkMRMLLayoutLogic()
        self._layout.SetMRMLScene(scene)
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def dismantle(self):
        """Release the logics before their scene: otherwise they crash."""
        self._application.SetSliceLogics(None)
        self._logics.RemoveAllItems()
        for logic in (*self._views.values(), self._layout, self._application):
            logic.SetMRMLScene(None)
        self._views.clear()

    def layoutLogic(self):
        return self._layout

    @property
    def layout(self):
        return self._layout.GetLayoutNode().GetViewArrangement()

    def setLayout(self, number):
        self._layout.GetLayoutNode().SetViewArrangement(number)
        shown = self._layout.GetViewNodes()
        nodes = [shown.GetItemAsObject(index) for index in range(shown.GetNumberOfItems())]
        nodes = [node for node in nodes if node.IsA("vtkMRMLSliceNode")]
        for node in nodes:
            if node.GetLayoutName() not in self._views:
                self._views[node.GetLayoutName()] = self._logic(node)
        for logic in self._views.values():
            logic.GetSliceNode().SetMappedInLayout(logic.GetSliceNode() in nodes)

    def _logic(self, node):
        import slicer

        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._application)
        logic.SetMRMLScene(self._scene)
        logic.SetSliceNode(node)
        logic.ResizeSliceNode(*SIZE)
        self._logics.AddItem(logic)
        return logic

    def sliceViewNames(self):
        return tuple(self._views)

    def sliceWidget(self, name):
        return types.SimpleNamespace(sliceLogic=lambda: self._views[name])


def scroll(logic, offset: float) -> None:
    """Scroll as by the mouse wheel."""
    logic.StartSliceOffsetInteraction()
    logic.SetSliceOffset(offset)
    logic.EndSliceOffsetInteraction()


def picture(logic) -> np.ndarray:
    """The image in a view: (rows, columns, 3), uint8; black outside the volume."""
    # The real pipeline: reslice, map to colours, blend. Slicer's view adds only texts and edges.
    logic.UpdatePipeline()
    connection = logic.GetImageDataConnection()
    if connection is None:
        return np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    columns, rows, _ = image.GetDimensions()
    rgba = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1]
    return (rgba[..., :3] * (rgba[..., 3:4] / 255.0)).astype(np.uint8)
