"""Real Qt (PySide6) with the names and conventions of PythonQt, which Slicer's modules use.

PythonQt reads and sets properties without parentheses (``label.text = "..."``), connects by signature
(``button.connect("clicked(bool)", slot)``), calls ``objectName`` ``name``, and passes to a slot as many
arguments as its signature names.
"""

from __future__ import annotations

import ctypes
import os
import sys
import types

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtUiTools, QtWidgets

if sys.version_info < (3, 12):
    # PySide6 expects None, True and False to be immortal, as in Python 3.12 and later. In older versions each
    # of its calls removes a reference to them, and Python would abort when none is left.
    for constant in (None, True, False):
        ctypes.c_ssize_t.from_address(id(constant)).value += 1 << 40


def application() -> QtWidgets.QApplication:
    """The application of this process."""
    application = QtWidgets.QApplication.instance()
    if application is None:
        # The .ui file connects signals of Slicer's widgets that the stand-ins lack: hide Qt's warnings.
        QtCore.qInstallMessageHandler(lambda *_: None)
        application = QtWidgets.QApplication(["slicer"])
        application.setOrganizationName("ThickToThinSR tests")
    return application


class Wrapped:
    """A QObject, or another Qt value, with PythonQt's conventions."""

    def __init__(self, qt):
        object.__setattr__(self, "qt", qt)

    def __getattr__(self, name):
        qt = object.__getattribute__(self, "qt")
        if isinstance(qt, QtCore.QObject):
            if name == "name":
                return qt.objectName()
            if qt.metaObject().indexOfProperty(name) >= 0:
                return wrap(qt.property(name))
        value = getattr(qt, name)
        if callable(value):
            return lambda *arguments: wrap(value(*map(unwrap, arguments)))
        return wrap(value)

    def __setattr__(self, name, value):
        qt = self.qt
        if isinstance(qt, QtCore.QObject) and qt.metaObject().indexOfProperty(name) >= 0:
            assert qt.setProperty(name, unwrap(value)), (name, value)
        else:
            raise AttributeError(f"{type(qt).__name__} has no property {name}")

    def __eq__(self, other):
        return self.qt is unwrap(other)

    def __hash__(self):
        return hash(self.qt)

    def connect(self, signature, slot):
        """``connect("clicked(bool)", slot)``."""
        name, arguments = signature.rstrip(")").split("(")
        count = len(arguments.split(",")) if arguments else 0
        getattr(self.qt, name).connect(lambda *given: slot(*map(wrap, given[:count])))


class WrappedClass:
    """A class of Qt: calling it makes a wrapped object; enumerators and static functions are passed on."""

    def __init__(self, kind):
        self.kind = kind

    def __call__(self, *arguments):
        return Wrapped(self.kind(*map(unwrap, arguments)))

    def __getattr__(self, name):
        value = getattr(self.kind, name)
        return (lambda *arguments: wrap(value(*map(unwrap, arguments)))) if callable(value) else value


def wrap(value):
    if isinstance(value, (QtCore.QObject, QtWidgets.QTableWidgetItem, QtWidgets.QLayoutItem)):
        return Wrapped(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(wrap, value))
    return value


def unwrap(value):
    return value.qt if isinstance(value, Wrapped) else value


class _FileDialog:
    """A file dialog whose answer is set by the tests."""

    answer = ""
    getOpenFileName = getExistingDirectory = staticmethod(lambda *_: _FileDialog.answer)


class _UiLoader(QtUiTools.QUiLoader):
    def __init__(self):
        super().__init__()
        from . import widgets

        for kind in widgets.STAND_INS:
            self.registerCustomWidget(kind)


def module() -> types.ModuleType:
    """The module that ``import qt`` imports."""
    qt = types.ModuleType("qt")
    for name in ("QProcess", "QProcessEnvironment", "QTimer", "QFile", "QSettings"):
        setattr(qt, name, WrappedClass(getattr(QtCore, name)))
    for name in ("QApplication", "QTableWidgetItem", "QWidget", "QVBoxLayout"):
        setattr(qt, name, WrappedClass(getattr(QtWidgets, name)))
    qt.QUiLoader, qt.QFileDialog, qt.Qt = WrappedClass(_UiLoader), _FileDialog, QtCore.Qt
    qt.QObject, qt.QEvent = QtCore.QObject, QtCore.QEvent  # the real ones: the module derives a class
    return qt
