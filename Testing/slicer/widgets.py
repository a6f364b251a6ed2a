"""Stand-ins for the Slicer and CTK widgets of the panel, as far as the panel uses them."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets


class qMRMLWidget(QtWidgets.QWidget):
    def setMRMLScene(self, scene):
        for child in self.findChildren(qMRMLNodeComboBox):
            child.setMRMLScene(scene)


class qMRMLNodeComboBox(QtWidgets.QComboBox):
    """Lists the scene's nodes of its types; the first item is "none"."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._types, self._children, self._none, self._scene, self._tags = [], True, "None", None, []
        self._nodes = [None]
        self._shown = None
        self.addItem("")
        self.currentIndexChanged.connect(self._changed)

    def _property(name):
        def read(self):
            return getattr(self, name)

        def write(self, value):
            setattr(self, name, value)

        return read, write

    nodeTypes = QtCore.Property("QStringList", *_property("_types"))
    showChildNodeTypes = QtCore.Property(bool, *_property("_children"))
    addEnabled = removeEnabled = noneEnabled = QtCore.Property(
        bool, lambda self: True, lambda self, value: None
    )
    noneDisplay = QtCore.Property(str, *_property("_none"))

    def setMRMLScene(self, scene):
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent)
        self._tags = [scene.AddObserver(event, lambda *_: self._fill()) for event in events]
        self._fill()

    def _fill(self):
        current = self.currentNode()
        kinds = [self._scene.GetNodesByClass(kind) for kind in self._types]
        nodes = [kind.GetItemAsObject(i) for kind in kinds for i in range(kind.GetNumberOfItems())]
        self._nodes = [None, *(n for n in nodes if self._children or n.GetClassName() in self._types)]
        self.blockSignals(True)
        self.clear()
        self.addItem(self._none)
        self.addItems([node.GetName() for node in self._nodes[1:]])
        self.setCurrentIndex(self._nodes.index(current) if current in self._nodes else 0)
        self.blockSignals(False)
        self._changed()

    def _changed(self, *_):
        if self.currentNode() is not self._shown:
            self._shown = self.currentNode()
            self.currentNodeChanged.emit(self._shown)

    def currentNode(self):
        return self._nodes[max(0, self.currentIndex())]

    def setCurrentNode(self, node):
        self.setCurrentIndex(self._nodes.index(node) if node in self._nodes else 0)


class ctkPathLineEdit(QtWidgets.QLineEdit):
    currentPathChanged = QtCore.Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.textChanged.connect(self.currentPathChanged)

    currentPath = QtCore.Property(str, QtWidgets.QLineEdit.text, QtWidgets.QLineEdit.setText)
    nameFilters = QtCore.Property("QStringList", lambda self: [], lambda self, value: None)


class ctkCollapsibleButton(QtWidgets.QGroupBox):
    """A title with widgets below it; when collapsed, only the title is visible."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._collapsed = False

    def _collapse(self, collapsed):
        self._collapsed = collapsed
        self.setMaximumHeight(22 if collapsed else 16777215)

    text = QtCore.Property(str, QtWidgets.QGroupBox.title, QtWidgets.QGroupBox.setTitle)
    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _collapse)


STAND_INS = (qMRMLWidget, qMRMLNodeComboBox, ctkPathLineEdit, ctkCollapsibleButton)
