"""Slicer module: makes a thin-slice volume node from a thick-slice CT, in a worker process.

This file has the four classes that Slicer expects. Their parts are in ThickToThinSRSlicer; everything about
CT is in ThickToThinSRLib.
"""

import importlib.util
import pathlib
import sys

import slicer
import vtk
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
    compare_panel,
    dependencies,
    descriptions,
    node_volumes,
    quality_table,
    sample_data,
    self_test,
    sequences,
    weights,
    weights_panel,
    wrapped_labels,
)
from ThickToThinSRSlicer.logic import ThickToThinSRLogic
from ThickToThinSRSlicer.parameter_node import choices

from ThickToThinSRLib.errors import Cancelled, UserError

# Labels with word wrap.
_WRAPPED_LABELS = (
    "inputInfoLabel",
    "methodInfoLabel",
    "resultInfoLabel",
    "deviceInfoLabel",
    "statusLabel",
    "warningsLabel",
    "notesLabel",
    "batchInfoLabel",
    "batchStatusLabel",
)
TUTORIAL = "https://github.com/ThickToThinSR/SlicerThickToThinSR/blob/main/docs/slicer/tutorial.md"


class ThickToThinSR(ScriptedLoadableModule):
    """Title, category and help of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "Thick To Thin SR"
        self.parent.categories = ["Filtering"]
        self.parent.dependencies = ["Volumes"]
        self.parent.contributors = ["The ThickToThinSR contributors"]
        self.parent.helpText = (
            "Makes a thin-slice volume from a thick-slice CT by super-resolution along the through-plane "
            "axis. For research; not a medical device. "
            f'<a href="{TUTORIAL}">Tutorial</a>'
        )
        self.parent.acknowledgementText = (
            "The networks are those of TVSRN (Yu et al., MICCAI 2022) and CTH-Net; see the project's README."
        )
        slicer.app.connect("startupCompleted()", self._registerSample)

    @staticmethod
    def _registerSample():
        sample_data.register(pathlib.Path(__file__).parent / "Resources" / "Icons")


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
        self._labels = wrapped_labels.WrappedLabels([getattr(self.ui, name) for name in _WRAPPED_LABELS])
        self._choices = choices_panel.ChoicesPanel(self.ui)
        self._compare = compare_panel.ComparePanel(self.ui, self._startDifference)
        self._batch = batch_panel.BatchPanel(self.ui, self._startBatch, self.logic.cancel, self.updateButtons)
        self._weights = weights_panel.WeightsPanel(self.ui, self._startImport, self._onWeightsAdded)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.enhanceButton.connect("clicked(bool)", self.onEnhance)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancel)
        for name in ("progressBar", "warningsLabel", "notesLabel", "qualityTable"):
            getattr(self.ui, name).visible = False
        self.initializeParameterNode()

    def cleanup(self):
        """Called when the module is unloaded or Slicer closes: stop the worker, too."""
        self.logic.cancel(wait=True)
        self._compare.leave()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self._compare.leave()
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self.logic.cancel(wait=True)
        self._compare.leave()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            self._parameterNode.inputVolume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")

    def setParameterNode(self, parameterNode):
        """Connect the panel to `parameterNode`; None disconnects it."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateButtons)
        self._parameterNode = parameterNode
        if self._parameterNode is not None:
            self._guiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateButtons)
            self.updateButtons()

    def updateButtons(self, caller=None, event=None):
        """Enable the buttons that can work; the tooltips of the others say why they cannot."""
        running = self.logic.isRunning()
        self.ui.cancelButton.enabled = running
        self.ui.progressBar.visible = running
        if self._parameterNode is None:
            return
        chosen = self.choices()
        reason = "" if running else self.logic.obstacle(**chosen)
        self._choices.update(chosen, self._parameterNode.allFrames, reason, running)
        self._compare.update(running)
        self._batch.update(running, self.logic.methodObstacle(chosen["method"], chosen["checkpoint"]))

    def choices(self):
        """The user's choices as arguments of the Logic."""
        return choices(self._parameterNode, self.logic.needsNetwork)

    def onEnhance(self, checked=False):
        """The button Enhance Resolution was clicked."""
        self._begin()
        chosen = self.choices()
        start = self.logic.enhance
        if self._parameterNode.allFrames and sequences.browserOf(chosen["inputNode"]) is not None:
            start = self.logic.enhanceSequence
        try:
            start(**chosen, waitForCompletion=False, onProgress=self.onProgress, onFinished=self.onFinished)
        except UserError as error:
            self.onFinished(None, error)
        self.updateButtons()

    def _begin(self):
        self.ui.progressBar.setRange(0, 0)
        self.ui.statusLabel.text = "Starting"

    def onCancel(self, checked=False):
        self.ui.statusLabel.text = "Cancelling"
        self.ui.cancelButton.enabled = False
        self.logic.cancel()

    def onProgress(self, event):
        """Show stage, percent and time left."""
        self.ui.progressBar.setRange(0, event["total"])
        self.ui.progressBar.setValue(event["done"])
        self.ui.statusLabel.text = descriptions.ofProgress(event)

    def onFinished(self, outputNode, error):
        """A run has ended: show the result or the error."""
        if error is None:
            report = node_volumes.provenance(outputNode)
            quality_table.show(self.ui.qualityTable, self.ui.warningsLabel, self.ui.notesLabel, report)
            self.ui.qualityTable.visible = True
            self.ui.statusLabel.text = f"Done: {outputNode.GetName()}"
            self._compare.setPair(node_volumes.inputOf(outputNode), outputNode)
            self.ui.compareCollapsibleButton.collapsed = False
            if self._parameterNode is not None:  # the module is still open
                slicer.util.setSliceViewerLayers(background=outputNode)
        else:
            self._showError(error)
        self.updateButtons()

    def _showError(self, error):
        if isinstance(error, Cancelled):
            self.ui.statusLabel.text = "Cancelled; nothing was changed"
            return
        text, details = descriptions.inPanelWords(error), getattr(error, "last_words", None)
        self.ui.statusLabel.text = f"Failed: {text}"
        text = "\n\n".join(filter(None, [text, dependencies.advice(error)]))
        slicer.util.errorDisplay(text, detailedText="\n".join(details or []))

    def _startDifference(self, inputNode, resultNode, onFinished):
        def finished(node, error):
            if error is None:
                self.ui.statusLabel.text = f"Done: {node.GetName()}"
            else:
                self._showError(error)
            onFinished(node, error)
            self.updateButtons()

        self._begin()
        try:
            self.logic.makeDifference(inputNode, resultNode, self.onProgress, finished)
        except UserError as error:
            finished(None, error)
        self.updateButtons()

    def _startBatch(self, inputFolder, outputFolder, onEvent, onFinished):
        chosen = self.choices()
        for name in ("inputNode", "outputNode"):
            del chosen[name]
        self.logic.enhanceMany(inputFolder, outputFolder, onEvent, onFinished, **chosen)

    def _startImport(self, source, onFinished):
        self.logic.importWeights(source, onFinished)
        self.updateButtons()

    def _onWeightsAdded(self, path, error):
        if error is None:
            if self._parameterNode is not None:  # the module is still open
                self._parameterNode.method = weights.methodOf(path)
                self._parameterNode.checkpoint = pathlib.Path(path)
            self.ui.statusLabel.text = f"Weights added: {weights.description(path)}"
        else:
            self._showError(error)
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
