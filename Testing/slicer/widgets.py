"""Stand-ins for the Slicer and CTK widgets of the panel, as far as the panel uses them."""

from __future__ import annotations

import fnmatch
import re

import vtk
from PySide6 import QtCore, QtWidgets


class qMRMLWidget(QtWidgets.QWidget):
    def setMRMLScene(self, scene):
        for child in self.findChildren(qMRMLNodeComboBox):
            child.setMRMLScene(scene)


class qMRMLNodeComboBox(QtWidgets.QComboBox):
    """Lists the scene's nodes of its types, after "none" where that is enabled.

    Like Slicer's: it chooses the first node as soon as one is added, before its voxels are set, and the next
    one before its own is removed. While a scene is imported it looks away; then it begins anew.
    """

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._types, self._children, self._none_enabled, self._none = [], True, False, "None"
        self._scene, self._tags, self._nodes = None, [], []
        self.currentIndexChanged.connect(lambda index: self.currentNodeChanged.emit(self.currentNode()))

    def _property(name):
        def read(self):
            return getattr(self, name)

        def write(self, value):
            setattr(self, name, value)

        return read, write

    nodeTypes = QtCore.Property("QStringList", *_property("_types"))
    showChildNodeTypes = QtCore.Property(bool, *_property("_children"))
    noneEnabled = QtCore.Property(bool, *_property("_none_enabled"))
    noneDisplay = QtCore.Property(str, *_property("_none"))
    addEnabled = removeEnabled = QtCore.Property(bool, lambda self: True, lambda self, value: None)

    def setMRMLScene(self, scene):
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene = scene

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(caller, event, node):
            if self._lists(node) and not scene.IsImporting():
                self._insert(node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def removed(caller, event, node):
            if node in self._nodes and not scene.IsClosing():
                row = self._nodes.index(node)
                del self._nodes[row]
                self.removeItem(row)  # Qt goes on to the next row, or the last

        self._tags = [
            scene.AddObserver(scene.NodeAddedEvent, added),
            scene.AddObserver(scene.NodeAboutToBeRemovedEvent, removed),
            scene.AddObserver(scene.EndImportEvent, lambda *_: self._begin()),
            scene.AddObserver(scene.EndCloseEvent, lambda *_: self._begin()),
        ]
        self._begin()

    def _begin(self):
        self.clear()
        self._nodes.clear()
        if self._none_enabled:
            self._nodes.append(None)
            self.addItem(self._none)
        for index in range(self._scene.GetNumberOfNodes()):
            node = self._scene.GetNthNode(index)
            if self._lists(node):
                self._insert(node)

    def _lists(self, node):
        return (
            any(node.IsA(kind) if self._children else node.GetClassName() == kind for kind in self._types)
            and not node.GetHideFromEditors()
        )

    def _insert(self, node):
        self._nodes.append(node)
        self.addItem(node.GetName())

    def currentNode(self):
        return self._nodes[self.currentIndex()] if 0 <= self.currentIndex() < len(self._nodes) else None

    def setCurrentNode(self, node):
        found = node is not None and node in self._nodes
        self.setCurrentIndex(self._nodes.index(node) if found else 0 if self._none_enabled else -1)


class ctkPathLineEdit(QtWidgets.QLineEdit):
    """Like CTK's: tells of paths only where they are acceptable; an empty one is not."""

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._filters, self._valid = [], False
        self.textChanged.connect(self._tell)

    def _tell(self, text):
        patterns = re.findall(r"\*[\w.]*", " ".join(self._filters)) or ["*"]
        before, self._valid = self._valid, any(fnmatch.fnmatch(text, f"?{p}") for p in patterns)
        if self._valid:
            self.currentPathChanged.emit(text)
        if self._valid != before:
            self.validInputChanged.emit(self._valid)

    currentPath = QtCore.Property(str, QtWidgets.QLineEdit.text, QtWidgets.QLineEdit.setText)
    nameFilters = QtCore.Property(
        "QStringList", lambda self: self._filters, lambda self, value: setattr(self, "_filters", value)
    )


class ctkCollapsibleButton(QtWidgets.QGroupBox):
    """A title with widgets below it; when collapsed, only the title is visible."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._collapsed = False

    def _collapse(self, collapsed):
        self._collapsed = collapsed
        self.setMaximumHeight(22 if collapsed else 16777215)

    def minimumSizeHint(self):
        return QtCore.QSize(0, 22) if self._collapsed else super().minimumSizeHint()

    def hasHeightForWidth(self):
        return not self._collapsed and super().hasHeightForWidth()

    text = QtCore.Property(str, QtWidgets.QGroupBox.title, QtWidgets.QGroupBox.setTitle)
    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _collapse)


STAND_INS = (qMRMLWidget, qMRMLNodeComboBox, ctkPathLineEdit, ctkCollapsibleButton)
