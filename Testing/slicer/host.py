"""Stand-ins for the parts of Slicer that `slicer-core` lacks, as far as the module uses them.

`slicer-core` has the real MRML: scene, nodes, logics, ``slicer.util``. Added here, with the names and the
behaviour of Slicer: ``slicer.app``, ``slicer.modules``, the base classes of scripted modules;
``parameterNodeWrapper`` (:mod:`parameters`), ``qt`` by real Qt (:mod:`pythonqt`) with stand-ins for Slicer's
own widgets (:mod:`widgets`), and views (:mod:`views`).
"""

from __future__ import annotations

import pathlib
import sys
import types
import unittest

from . import parameters, pythonqt
from .views import LayoutManager


def install(temporary_path: pathlib.Path) -> None:
    """Add the missing parts to ``slicer``, and make a new scene."""
    import slicer
    import slicer.util

    slicer.mrmlScene = slicer.vtkMRMLScene()
    colours = slicer.vtkMRMLColorLogic()
    colours.SetMRMLScene(slicer.mrmlScene)
    volumes_logic = slicer.vtkSlicerVolumesLogic()
    volumes_logic.SetMRMLScene(slicer.mrmlScene)
    sequences_logic = slicer.vtkSlicerSequencesLogic()
    sequences_logic.SetMRMLScene(slicer.mrmlScene)
    segmentations_logic = slicer.vtkSlicerSegmentationsModuleLogic()
    segmentations_logic.SetMRMLScene(slicer.mrmlScene)
    slicer.mrmlScene.AddNode(slicer.vtkMRMLCrosshairNode())
    slicer.modules = types.SimpleNamespace(
        volumes=types.SimpleNamespace(logic=lambda: volumes_logic),
        sequences=types.SimpleNamespace(logic=lambda: sequences_logic),
        segmentations=types.SimpleNamespace(logic=lambda: segmentations_logic),
    )
    layout_manager = LayoutManager(slicer.mrmlScene)
    layout_manager.application.SetModuleLogic("Colors", colours)
    volumes_logic.SetMRMLApplicationLogic(layout_manager.application)
    slicer.app = _Application(temporary_path, layout_manager)
    slicer.app.colours = colours
    slicer.dicomDatabase = types.SimpleNamespace(isOpen=False)
    slicer.util.loadVolume = _load_volume
    slicer.util.errors = []
    slicer.util.questions, slicer.util.answer = [], True
    slicer.util.confirmOkCancelDisplay = _confirm
    slicer.util.errorDisplay = lambda text, **details: slicer.util.errors.append((text, details))
    pythonqt.CONNECTIONS.clear()
    _add_module("slicer.ScriptedLoadableModule", _BASE_CLASSES)
    _add_module("slicer.i18n", (tr, translate))
    _add_module(
        "slicer.parameterNodeWrapper",
        (parameters.Choice, parameters.WithinRange, parameters.parameterNodeWrapper),
    )
    sys.modules["qt"] = pythonqt.module()


def _load_volume(path, properties):
    """Load a volume with MRML's storage node, as Slicer's reader does."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", properties["name"])
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(path)
    assert storage.ReadData(node)
    node.CreateDefaultDisplayNodes()
    return node


def tr(text):
    """``slicer.i18n.tr`` where no translation is installed."""
    return text


def translate(context, text):
    """``slicer.i18n.translate`` where no translation is installed."""
    return text


def _confirm(text, *_, **__):
    """Nobody is there to answer; tests say what would be chosen."""
    import slicer

    slicer.util.questions.append(text)
    return slicer.util.answer


def _add_module(name: str, contents) -> None:
    module = types.ModuleType(name)
    module.__dict__.update({content.__name__: content for content in contents})
    sys.modules[name] = module


class _Application:
    """``slicer.app``."""

    def __init__(self, temporary_path: pathlib.Path, layout_manager: LayoutManager):
        qt = pythonqt.application()
        self.temporaryPath = str(temporary_path)
        self.slicerUserSettingsFilePath = str(temporary_path.parent / "settings" / "Slicer.ini")
        self.processEvents = qt.processEvents
        self._layout_manager = layout_manager
        self._settings = pythonqt.module().QSettings(
            self.slicerUserSettingsFilePath, pythonqt.QtCore.QSettings.IniFormat
        )

    def testingEnabled(self):
        return True

    def layoutManager(self):
        return self._layout_manager

    def userSettings(self):
        return self._settings

    def connect(self, signature, slot):
        assert signature == "startupCompleted()"
        self.startupCompleted = slot


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.parent = parent
        self.layout = parent.layout()
        self.moduleName = type(self).__name__.removesuffix("Widget")

    def setup(self):
        pass

    def resourcePath(self, name):
        folder = pathlib.Path(sys.modules[self.moduleName].__file__).parent
        return str(folder / "Resources" / name)


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


class ModulePanel:
    """The `parent` of a module's widget: has a Qt widget with a layout, and ``isEntered``."""

    def __init__(self):
        self.isEntered = False
        self.widget = pythonqt.QtWidgets.QWidget()
        self._layout = pythonqt.wrap(pythonqt.QtWidgets.QVBoxLayout(self.widget))

    def layout(self):
        return self._layout
