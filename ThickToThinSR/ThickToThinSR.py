"""Slicer module: makes a thin-slice volume node from a thick-slice CT, in a worker process.

This file has the four classes that Slicer expects. Their parts are in ThickToThinSRSlicer; everything about
CT is in ThickToThinSRLib.
"""

import importlib.util
import pathlib
import sys

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if importlib.util.find_spec("ThickToThinSRLib") is None:  # in a checkout the library lies beside this folder
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from ThickToThinSRSlicer import (
    batch_panel,
    choices_panel,
    compare_layout,
    compare_panel,
    node_volumes,
    observed_input,
    run_panel,
    sample_button,
    sample_data,
    segmentation_panel,
    self_test,
    weights,
    weights_panel,
    wrapped_labels,
)
from ThickToThinSRSlicer.logic import ThickToThinSRLogic
from ThickToThinSRSlicer.parameter_node import choices

DOCUMENTS = "https://github.com/ThickToThinSR/SlicerThickToThinSR/blob/main/"
TUTORIAL = DOCUMENTS + "docs/slicer/tutorial.md"
METHODS = DOCUMENTS + "docs/methods.md"
HOW_TO_CITE = DOCUMENTS + "README.md" + "#how-to-cite"
# Before Slicer's own widgets see the event, which has priority 0.
_BEFORE_THE_WIDGETS = 1.0


def _link(address, text):
    return f'<a href="{address}">{text}</a>'


class ThickToThinSR(ScriptedLoadableModule):
    """Title, category and help of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Thick To Thin SR")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Filtering")]
        self.parent.dependencies = ["Segmentations", "Volumes"]
        self.parent.contributors = ["The ThickToThinSR contributors"]
        self.parent.helpText = " ".join(
            (
                _(
                    "Makes a thin-slice volume from a thick-slice CT by super-resolution along the "
                    "through-plane axis. For research; not a medical device."
                ),
                _link(TUTORIAL, _("Tutorial")),
                _link(METHODS, _("Methods")),
            )
        )
        self.parent.acknowledgementText = " ".join(
            (
                _(
                    "The published systems are those of their authors (TVSRN: Yu et al., MICCAI 2022; "
                    "CTH-Net: Yu et al., npj Digital Medicine 2024; SR4ZCT: Shi et al., MLMI 2023; and "
                    "others)."
                ),
                _link(HOW_TO_CITE, _("How to cite")),
            )
        )
        slicer.app.connect("startupCompleted()", self._onStartupCompleted)

    @staticmethod
    def _onStartupCompleted():
        sample_data.register(pathlib.Path(__file__).parent / "Resources" / "Icons")
        compare_layout.register()


class ThickToThinSRWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: one tab to enhance a volume and compare the result, one tab for many volumes."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._guiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/ThickToThinSR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = ThickToThinSRLogic()
        self._labels = wrapped_labels.WrappedLabels(wrapped_labels.of(self.ui))
        self._choices = choices_panel.ChoicesPanel(self.ui, self.parameters)
        self._run = run_panel.RunPanel(self.ui, self.logic, self.choices, self._onResult, self.updateButtons)
        self._sample = sample_button.SampleButton(self.ui, self.parameters, self._run.onEnhance)
        self._compare = compare_panel.ComparePanel(self.ui, self._run.makeDifference)
        self._segmentation = segmentation_panel.SegmentationPanel(
            self.ui, self.ui.compareResultSelector.currentNode
        )
        self._batch = batch_panel.BatchPanel(self.ui, self._startBatch, self.logic.cancel, self.updateButtons)
        self._weights = weights_panel.WeightsPanel(
            self.ui, self.parameters, self._startImport, self._onWeightsAdded
        )
        self._input = observed_input.ObservedInput(self.updateButtons)
        self._observeScene()
        self.initializeParameterNode()

    def _observeScene(self):
        scene = slicer.mrmlScene
        for event, slot in (
            (scene.StartCloseEvent, self.onSceneStartClose),
            (scene.EndCloseEvent, self.onSceneReady),
            (scene.StartImportEvent, self.onSceneStartImport),
            (scene.EndImportEvent, self.onSceneReady),
            (scene.StartSaveEvent, self._compare.pause),
            (scene.EndSaveEvent, self._compare.resume),
        ):
            self.addObserver(scene, event, slot)
        self.addObserver(
            scene,
            scene.NodeAboutToBeRemovedEvent,
            self.onNodeAboutToBeRemoved,
            priority=_BEFORE_THE_WIDGETS,
        )

    def cleanup(self):
        """Called when the module is unloaded or Slicer closes: stop the worker, too."""
        self.logic.cancel(wait=True)
        self._compare.leave()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        # The widgets stay connected: each connection of a parameter node leaves an observer for good.
        self._compare.leave()

    def onSceneStartClose(self, caller, event):
        self.logic.cancel(wait=True)
        self._compare.leave()
        self.setParameterNode(None)

    def onSceneStartImport(self, caller, event):
        """Let go: the selectors choose other volumes while a scene is loaded."""
        self._compare.leave()
        self.setParameterNode(None)

    def onSceneReady(self, caller, event):
        self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller, event, node):
        """Empty the selectors that must not go on to the next volume."""
        self._compare.forget(node)
        self._segmentation.forget(node)
        if self._parameterNode is not None and self._parameterNode.outputVolume is node:
            self._parameterNode.outputVolume = None

    def initializeParameterNode(self):
        if self._parameterNode is None:
            self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            self._parameterNode.inputVolume = node_volumes.firstVolume()
        self._compare.suggest()
        self.updateButtons()

    def setParameterNode(self, parameterNode):
        """Connect the panel to `parameterNode`; None disconnects it."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(
                self._parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateButtons
            )
            self._input.observe(None)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            # Only this way of connecting gives a tag to disconnect by.
            self._guiTag = parameterNode.connectParametersToGui(choices_panel.parameterWidgets(self.ui))
            self.addObserver(parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateButtons)

    def parameters(self):
        """The parameter node; None while a scene is being loaded or closed."""
        return self._parameterNode

    def updateButtons(self, caller=None, event=None):
        """Enable the buttons that can work; the tooltips of the others say why they cannot."""
        running = self.logic.isRunning()
        self._run.update(running)
        self.ui.statusLabel.visible = bool(self.ui.statusLabel.text)
        self._sample.update(running)
        if self._parameterNode is None:
            return
        self._weights.update(self._parameterNode)
        chosen = self.choices()
        self._input.observe(chosen["inputNode"])
        reason = "" if running else self.logic.obstacle(**chosen)
        self._choices.update(chosen, self._parameterNode.allFrames, reason, running)
        self._compare.update(running)
        self._segmentation.update()
        self._batch.update(running, self.logic.methodObstacle(chosen["method"], chosen["checkpoint"]))

    def choices(self):
        """The user's choices as arguments of the Logic."""
        return choices(self._parameterNode, self.logic.needsNetwork)

    def _onResult(self, inputNode, outputNode):
        self._compare.setPair(inputNode, outputNode)
        self.ui.compareCollapsibleButton.collapsed = False
        if self._sample.isToBeCompared(inputNode):
            self.ui.sideBySideButton.setChecked(True)
        if self.parent.isEntered:
            self._compare.showInUsersViews(outputNode)

    def _startBatch(self, inputFolder, outputFolder, onEvent, onFinished):
        chosen = self.choices()
        for name in ("inputNode", "outputNode", "uncertainty"):
            chosen.pop(name, None)
        self.logic.enhanceMany(inputFolder, outputFolder, onEvent, onFinished, **chosen)

    def _startImport(self, source, onFinished):
        self.logic.importWeights(source, onFinished)
        self.updateButtons()

    def _onWeightsAdded(self, path, error):
        if error is not None:
            self._run.showError(error)
            return
        if self._parameterNode is not None:
            # The method finds them; a chosen file would stand in the way of every other method.
            self._parameterNode.method = weights.methodOf(path)
            self._parameterNode.checkpoint = pathlib.Path()
        self.ui.statusLabel.text = _("Weights added: {weights}").format(weights=weights.description(path))
        self.updateButtons()


class ThickToThinSRTest(ScriptedLoadableModuleTest):
    """Self test with the bundled sample, inside Slicer; needs neither weights nor PyTorch."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        logic = ThickToThinSRLogic()
        node, output = self_test.enhanceSample(self, logic)
        self_test.compareSample(self, node, output)
        self_test.cancelSample(self, logic, node)
