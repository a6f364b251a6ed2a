"""What `slicer-core` lacks of Slicer, as small as the module's Logic needs it.

`slicer-core` is the real MRML: scene, nodes, logics, ``slicer.util``. Supplied here, with the names and the
behaviour of Slicer: ``slicer.app``, ``slicer.modules``, the base classes of scripted modules,
``parameterNodeWrapper`` over the real parameter node, and of ``qt`` QProcess and QTimer, whose signals are
delivered by ``slicer.app.processEvents()`` as Qt's event loop would.
"""

from __future__ import annotations

import os
import pathlib
import queue
import subprocess
import sys
import threading
import time
import types
import typing
import unittest


def install(temporary_path: pathlib.Path) -> None:
    """Complete the imported ``slicer`` and give it a fresh scene."""
    import slicer
    import slicer.util

    slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.app = types.SimpleNamespace(
        temporaryPath=str(temporary_path), processEvents=_process_events, testingEnabled=lambda: True
    )
    volumes_logic = slicer.vtkSlicerVolumesLogic()
    volumes_logic.SetMRMLScene(slicer.mrmlScene)
    slicer.modules = types.SimpleNamespace(volumes=types.SimpleNamespace(logic=lambda: volumes_logic))
    _add_module("slicer.ScriptedLoadableModule", _BASE_CLASSES)
    _add_module("slicer.parameterNodeWrapper", (Choice, WithinRange, parameterNodeWrapper))
    _add_module("qt", (QProcess, QProcessEnvironment, QTimer))


def _add_module(name: str, contents) -> None:
    module = types.ModuleType(name)
    module.__dict__.update({content.__name__: content for content in contents})
    sys.modules[name] = module


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.parent = parent


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self):
        import slicer

        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def runTest(self):
        pass


_BASE_CLASSES = (
    ScriptedLoadableModule,
    ScriptedLoadableModuleWidget,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)


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
        self.parameterNode = parameterNode
        for parameter in self.allParameters.values():
            if not parameterNode.HasParameter(parameter.name):
                parameter.write(self, parameter.default)

    cls.__init__ = initialise
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
        return node.GetNodeReference(self.name) if self.is_node else self.type(node.GetParameter(self.name))

    def write(self, wrapper, value):
        for validator in self.validators:
            validator.validate(value)
        wrapper.parameterNode.SetParameter(self.name, "" if self.is_node else str(value))
        if self.is_node:
            wrapper.parameterNode.SetNodeReferenceID(self.name, value.GetID() if value else None)


_active: list = []


def _process_events() -> None:
    for source in list(_active):
        source.deliver()


class _Signals:
    """PythonQt's ``object.connect("signature", callable)``."""

    def __init__(self):
        self._slots = {}

    def connect(self, signature, slot):
        self._slots[signature] = slot

    def _emit(self, signature, *arguments):
        if signature in self._slots:
            self._slots[signature](*arguments)


class QTimer(_Signals):
    def start(self, milliseconds):
        self._interval, self._due = milliseconds / 1000, time.monotonic() + milliseconds / 1000
        if self not in _active:
            _active.append(self)

    def stop(self):
        if self in _active:
            _active.remove(self)

    def deliver(self):
        if time.monotonic() >= self._due:
            self._due += self._interval
            self._emit("timeout()")


class QProcessEnvironment(dict):
    @staticmethod
    def systemEnvironment():
        return QProcessEnvironment(os.environ)

    def insert(self, name, value):
        self[name] = value


class QProcess(_Signals):
    NotRunning, Starting, Running = range(3)
    NormalExit, CrashExit = range(2)
    FailedToStart = 0

    def __init__(self):
        super().__init__()
        self._process = self._environment = self._folder = None
        self._arrived: queue.SimpleQueue = queue.SimpleQueue()
        self._read = {"Output": b"", "Error": b""}

    def setProcessEnvironment(self, environment):
        self._environment = environment

    def setWorkingDirectory(self, folder):
        self._folder = folder

    def start(self, program, arguments):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        try:
            self._process = subprocess.Popen(
                [program, *arguments], env=self._environment, cwd=self._folder, **pipes
            )
        except OSError:
            self._emit("errorOccurred(QProcess::ProcessError)", self.FailedToStart)
            return
        self._open = {"Output": self._process.stdout, "Error": self._process.stderr}
        for name, stream in self._open.items():
            threading.Thread(target=self._pump, args=(name, stream), daemon=True).start()
        _active.append(self)

    def _pump(self, name, stream):
        while data := stream.read1(1 << 16):
            self._arrived.put((name, data))
        self._arrived.put((name, b""))

    def deliver(self):
        while not self._arrived.empty():
            name, data = self._arrived.get()
            if data:
                self._read[name] += data
                self._emit(f"readyReadStandard{name}()")
            else:
                self._open.pop(name).close()
        if not self._open and self._process.poll() is not None and self in _active:
            _active.remove(self)
            self._process.stdin.close()
            code = self._process.returncode
            status = self.CrashExit if code < 0 else self.NormalExit
            self._emit("finished(int,QProcess::ExitStatus)", abs(code), status)

    def _take(self, name):
        data, self._read[name] = self._read[name], b""
        return types.SimpleNamespace(data=lambda: data)

    def readAllStandardOutput(self):
        return self._take("Output")

    def readAllStandardError(self):
        return self._take("Error")

    def state(self):
        return self.Running if self in _active else self.NotRunning

    def processId(self):
        return self._process.pid

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()

    def waitForFinished(self, milliseconds=30000):
        until = time.monotonic() + milliseconds / 1000
        while self in _active and time.monotonic() < until:
            self.deliver()
            time.sleep(0.01)
        return self not in _active
