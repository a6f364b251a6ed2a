"""``slicer.parameterNodeWrapper`` over the real parameter node, with its connection to widgets.

Like Slicer's: ``connectGui`` returns no tag, so that only what ``connectParametersToGui`` connected can be
disconnected; the observer of a connection stays for good; a combo box is filled anew at each connection.
"""

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
    """Typed properties over a vtkMRMLScriptedModuleNode: numbers, strings, paths and node references."""
    hints = typing.get_type_hints(cls, include_extras=True)
    cls.allParameters = {
        name: _Parameter(name, hint, getattr(cls, name, None)) for name, hint in hints.items()
    }
    for name, parameter in cls.allParameters.items():
        setattr(cls, name, property(parameter.read, parameter.write))

    def initialise(self, parameterNode):
        self.parameterNode, self._guis, self._updating = parameterNode, {}, False
        for parameter in self.allParameters.values():
            parameter.read(self)

    cls.__init__ = initialise
    cls.AddObserver = lambda self, event, slot, *rest: self.parameterNode.AddObserver(event, slot, *rest)
    cls.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    cls.connectGui, cls.connectParametersToGui = _connectGui, _connectParametersToGui
    cls.disconnectGui = _disconnectGui
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
        if not node.HasParameter(self.name) and not (self.is_node and node.GetNodeReferenceID(self.name)):
            self.write(wrapper, self.default)
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
    "QDoubleSpinBox": ("valueChanged", lambda w: w.value(), lambda w, v: w.setValue(v)),
    "QSpinBox": ("valueChanged", lambda w: w.value(), lambda w, v: w.setValue(v)),
    "QCheckBox": ("toggled", lambda w: w.isChecked(), lambda w, v: w.setChecked(v)),
    "ctkPathLineEdit": (
        "currentPathChanged",
        lambda w: pathlib.Path(w.currentPath),
        lambda w, v: w.setText(str(v)),  # no path is a dot
    ),
}


class _Connector:
    """Ties one widget to one parameter."""

    def __init__(self, qt, parameter):
        self.qt = qt
        if type(qt).__name__ == "QComboBox":
            choices = parameter.validators[0].choices
            self.signal = "currentIndexChanged"
            self.read = lambda w: choices[w.currentIndex()]
            self.write = lambda w, value: w.setCurrentIndex(choices.index(value))
            qt.clear()
            qt.addItems([str(choice) for choice in choices])
        else:
            self.signal, self.read, self.write = _CONNECTORS[type(qt).__name__]

    def connect(self, slot):
        self.slot = lambda *_: slot(self.read(self.qt))
        getattr(self.qt, self.signal).connect(self.slot)

    def disconnect(self):
        getattr(self.qt, self.signal).disconnect(self.slot)


def _connectGui(self, ui):
    """Tie widgets with a SlicerParameterName to the parameters, for good."""
    named = ((widget.qt.property("SlicerParameterName"), widget) for widget in vars(ui).values())
    self.connectParametersToGui({name: widget for name, widget in named if name})


def _connectParametersToGui(self, widgets):
    """Tie widgets to parameters, both ways; returns a tag."""
    connectors = {name: _Connector(widgets[name].qt, self.allParameters[name]) for name in widgets}
    tag = max(self._guis, default=-1) + 1
    self._guis[tag] = connectors
    for name, connector in connectors.items():
        parameter = self.allParameters[name]
        connector.write(connector.qt, parameter.read(self))

        def changed(value, parameter=parameter):
            if not self._updating and value != parameter.read(self):
                parameter.write(self, value)

        connector.connect(changed)
    self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _update(self))
    return tag


def _update(self):
    if self._updating:
        return
    self._updating = True
    for connectors in list(self._guis.values()):
        for name, connector in connectors.items():
            connector.write(connector.qt, self.allParameters[name].read(self))
    self._updating = False


def _disconnectGui(self, tag):
    for connector in self._guis.pop(tag, {}).values():
        connector.disconnect()
