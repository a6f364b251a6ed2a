"""A stand-in for ``slicer.parameterNodeWrapper`` on the real parameter node, with connected widgets."""

from __future__ import annotations

import pathlib
import typing

import vtk


class Choice:
    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


class WithinRange:
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


def parameterNodeWrapper(cls):
    """Add typed properties for a vtkMRMLScriptedModuleNode: numbers, strings, paths, node references."""
    hints = typing.get_type_hints(cls, include_extras=True)
    cls.allParameters = {
        name: _Parameter(name, hint, getattr(cls, name, None)) for name, hint in hints.items()
    }
    for name, parameter in cls.allParameters.items():
        setattr(cls, name, property(parameter.read, parameter.write))

    def initialise(self, parameterNode):
        self.parameterNode = parameterNode
        for parameter in self.allParameters.values():
            if not parameterNode.HasParameter(parameter.name):
                parameter.write(self, parameter.default)

    cls.__init__ = initialise
    cls.AddObserver = lambda self, event, slot, *rest: self.parameterNode.AddObserver(event, slot, *rest)
    cls.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    cls.connectGui, cls.disconnectGui = _connectGui, _disconnectGui
    return cls


class _Parameter:
    def __init__(self, name, hint, default):
        import slicer

        self.name = name
        self.type = getattr(hint, "__origin__", hint)
        self.validators = getattr(hint, "__metadata__", ())
        self.is_node = issubclass(self.type, slicer.vtkMRMLNode)
        self.default = default if default is not None or self.is_node else self.type()

    def read(self, wrapper):
        node = wrapper.parameterNode
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        return text == "True" if self.type is bool else self.type(text)

    def write(self, wrapper, value):
        for validator in self.validators:
            validator.validate(value)
        wrapper.parameterNode.SetParameter(self.name, "" if self.is_node else str(value))
        if self.is_node:
            wrapper.parameterNode.SetNodeReferenceID(self.name, value.GetID() if value else None)


# Widget class: (signal, how to read the widget, how to set it), as Slicer's connectors do.
_CONNECTORS = {
    "qMRMLNodeComboBox": ("currentNodeChanged", lambda w: w.currentNode(), lambda w, v: w.setCurrentNode(v)),
    "QComboBox": ("currentIndexChanged", lambda w: w.currentText(), lambda w, v: w.setCurrentText(v)),
    "QDoubleSpinBox": ("valueChanged", lambda w: w.value(), lambda w, v: w.setValue(v)),
    "QSpinBox": ("valueChanged", lambda w: w.value(), lambda w, v: w.setValue(v)),
    "QCheckBox": ("toggled", lambda w: w.isChecked(), lambda w, v: w.setChecked(v)),
    "ctkPathLineEdit": (
        "currentPathChanged",
        lambda w: pathlib.Path(w.currentPath),
        lambda w, v: w.setText("" if v == pathlib.Path() else str(v)),
    ),
}


def _connectGui(self, ui):
    """Connect widgets that have a SlicerParameterName with the parameters, both ways; returns a tag."""
    connections = []
    for widget in vars(ui).values():
        name = widget.qt.property("SlicerParameterName")
        if not name:
            continue
        qt, parameter = widget.qt, self.allParameters[name]
        signal, read, write = _CONNECTORS[type(qt).__name__]
        if type(qt).__name__ == "QComboBox":
            qt.blockSignals(True)
            qt.clear()
            qt.addItems(parameter.validators[0].choices)
            qt.blockSignals(False)
        write(qt, parameter.read(self))

        def changed(*_, qt=qt, parameter=parameter, read=read):
            value = read(qt)
            if value != parameter.read(self):
                parameter.write(self, value)

        getattr(qt, signal).connect(changed)
        connections.append((qt, signal, changed, parameter, write))

    def update(*_):
        for qt, _, _, parameter, write in connections:
            write(qt, parameter.read(self))

    self._gui = (connections, self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, update))
    return len(connections)


def _disconnectGui(self, tag):
    connections, observer = self._gui
    self.parameterNode.RemoveObserver(observer)
    for qt, signal, changed, _, _ in connections:
        getattr(qt, signal).disconnect(changed)
