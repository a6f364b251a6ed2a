"""The views of a comparison: volume, plane, linking, window and level."""

import slicer
import vtk
from slicer.util import VTKObservationMixin

from . import expected_error
from .compare_layout import FADE_VIEW, PLANES, ROWS, isOwn, viewName


def sliceLogic(name):
    """The slice logic of a view."""
    return slicer.app.layoutManager().sliceWidget(name).sliceLogic()


def showSideBySide(inputNode, resultNode):
    """Input in the top row, result below: same planes (those of the volume), position and scale, linked."""
    logics = {(row, plane): sliceLogic(viewName(row, plane)) for row in ROWS for plane in PLANES}
    # Unlinked while the views are set up: linked views would pass the settings on to each other.
    _link(logics.values(), False)
    for (row, _), logic in logics.items():
        composite = logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID((inputNode if row == ROWS[0] else resultNode).GetID())
        composite.SetForegroundVolumeID(None)
        composite.SetLabelVolumeID(None)
    for plane in PLANES:
        upper, lower = (logics[row, plane] for row in ROWS)
        _place(upper, plane, inputNode)
        _place(lower, plane, inputNode)
        _sameView(upper.GetSliceNode(), lower.GetSliceNode())
    _link(logics.values(), True)


def showFade(inputNode, resultNode, plane="Axial"):
    """Show both volumes in one view, the result over the input."""
    logic = sliceLogic(FADE_VIEW)
    _link([logic], False)
    composite = logic.GetSliceCompositeNode()
    composite.SetBackgroundVolumeID(inputNode.GetID())
    composite.SetForegroundVolumeID(resultNode.GetID())
    composite.SetLabelVolumeID(None)
    _place(logic, plane, inputNode)


def setFade(share):
    """Set the opacity of the result: 0 shows the input, 1 the result."""
    sliceLogic(FADE_VIEW).GetSliceCompositeNode().SetForegroundOpacity(share)


def showInUsersViews(node):
    """Show a volume in all slice views but those of the comparison."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        if not isOwn(composite.GetLayoutName()):
            composite.SetBackgroundVolumeID(node.GetID())


def showMap(resultNode, mapNode):
    """Show the map of a result's expected error in all views of the result, over it.

    :param mapNode: None to show the result alone; a map is shown in no other view, nor over another volume.
    """
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        over = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        if over is not None and not expected_error.isMap(over):
            continue
        if mapNode is not None and composite.GetBackgroundVolumeID() == resultNode.GetID():
            composite.SetForegroundVolumeID(mapNode.GetID())
            composite.SetForegroundOpacity(expected_error.OPACITY)
        else:
            composite.SetForegroundVolumeID(None)


def _place(logic, plane, volumeNode):
    """Show the middle slice of the volume in one of its own planes, at a scale that fits."""
    node = logic.GetSliceNode()
    node.SetOrientation(plane)
    node.RotateToVolumePlane(volumeNode)
    logic.FitSliceToBackground()
    bounds = [0.0] * 6
    volumeNode.GetSliceBounds(bounds, _rasToSlice(node))
    node.SetSliceOffset(_offsetOf(node, bounds))


def _rasToSlice(node):
    matrix = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(node.GetSliceToRAS(), matrix)
    return matrix


def _offsetOf(node, bounds):
    """Slice offset of the middle of `bounds`, which are relative to the current slice."""
    return node.GetSliceOffset() + 0.5 * (bounds[4] + bounds[5])


def _sameView(source, target):
    """Copy plane, position and scale to another view; each keeps the step between its own slices."""
    target.GetSliceToRAS().DeepCopy(source.GetSliceToRAS())
    width, height, _ = source.GetFieldOfView()
    target.SetFieldOfView(width, height, target.GetFieldOfView()[2])
    target.SetXYZOrigin(source.GetXYZOrigin())
    target.UpdateMatrices()


def _link(logics, linked):
    for logic in logics:
        composite = logic.GetSliceCompositeNode()
        composite.SetLinkedControl(linked)
        composite.SetHotLinkedControl(linked)


class WindowLevelLink(VTKObservationMixin):
    """Keeps window and level of two volumes equal when the user changes one of them."""

    def __init__(self, first, second):
        VTKObservationMixin.__init__(self)
        self._displays = [node.GetDisplayNode() for node in (first, second)]
        self._busy = False
        if None in self._displays or self._displays[0] is self._displays[1]:
            self._displays = []
        for display in self._displays:
            display.SetAutoWindowLevel(False)
        if self._displays:
            self._copy(self._displays[0])
        for display in self._displays:
            self.addObserver(display, vtk.vtkCommand.ModifiedEvent, self._onModified)

    def end(self):
        self.removeObservers()

    def _onModified(self, caller, event):
        self._copy(caller)

    def _copy(self, source):
        if self._busy:
            return
        self._busy = True
        for display in self._displays:
            if display is not source:
                display.SetAutoWindowLevel(False)
                display.SetWindowLevel(source.GetWindow(), source.GetLevel())
        self._busy = False


class Crosshair:
    """Shows a crosshair at the same point in all views; :meth:`leave` restores the user's setting."""

    def __init__(self):
        self._before = None

    @staticmethod
    def _node():
        return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")

    def show(self):
        node = self._node()
        if node is not None and self._before is None:
            self._before = (node.GetCrosshairMode(), node.GetCrosshairBehavior())
            node.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowBasic)
            node.SetCrosshairBehavior(slicer.vtkMRMLCrosshairNode.OffsetJumpSlice)

    def leave(self):
        node = self._node()
        if node is not None and self._before is not None:
            node.SetCrosshairMode(self._before[0])
            node.SetCrosshairBehavior(self._before[1])
        self._before = None
