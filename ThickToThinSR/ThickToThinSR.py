"""Slicer module: a thick-slice CT volume node to a thin-slice one, in a worker process.

The Logic maps nodes to Volumes and back; everything else is done by ThickToThinSRLib.
"""

import dataclasses
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Annotated

import numpy as np
import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if importlib.util.find_spec("ThickToThinSRLib") is None:  # a checkout: the library lies beside this folder
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from ThickToThinSRLib.enhance import DEFAULT_METHOD, DEFAULT_SPACING
from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.files import read_volume, write_volume
from ThickToThinSRLib.methods import METHODS, acquisition_of
from ThickToThinSRLib.volume import Volume, check_target_spacing, through_plane_axis
from ThickToThinSRLib.worker_process import WorkerProcess, run

# MRML counts in RAS, the library in LPS.
LPS_RAS = np.diag([-1.0, -1.0, 1.0])
ATTRIBUTES = "ThickToThinSR."


class ThickToThinSR(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "Thick To Thin SR"
        self.parent.categories = ["Filtering"]
        self.parent.dependencies = ["Volumes"]
        self.parent.contributors = ["The ThickToThinSR contributors"]
        self.parent.helpText = (
            "Makes a thin-slice volume from a thick-slice CT by super-resolution along the through-plane "
            "axis. For research; not a medical device."
        )
        self.parent.acknowledgementText = (
            "The networks are those of TVSRN (Yu et al., MICCAI 2022) and CTH-Net; see the project's README."
        )


@parameterNodeWrapper
class ThickToThinSRParameterNode:
    """What the user chose; saved with the scene.

    outputVolume None means a new volume; thickness 0 means DICOM's, else the slice spacing.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    outputVolume: vtkMRMLScalarVolumeNode
    method: Annotated[str, Choice(list(METHODS))] = DEFAULT_METHOD
    checkpoint: pathlib.Path
    spacing: Annotated[float, WithinRange(0.1, 10.0)] = DEFAULT_SPACING
    thickness: Annotated[float, WithinRange(0.0, 50.0)] = 0.0
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"


class ThickToThinSRWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: what to enhance and how, one button, progress."""

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
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.enhanceButton.connect("clicked(bool)", self.onEnhance)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancel)
        self.initializeParameterNode()

    def cleanup(self):
        """The module is unloaded or Slicer closes: no worker may stay behind."""
        self.logic.cancel(wait=True)
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self.logic.cancel(wait=True)
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            self._parameterNode.inputVolume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")

    def setParameterNode(self, parameterNode):
        """Connect the panel to `parameterNode`, or to nothing."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateButtons)
        self._parameterNode = parameterNode
        if self._parameterNode is not None:
            self._guiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateButtons)
            self.updateButtons()

    def updateButtons(self, caller=None, event=None):
        """Enable what can work; the tooltip says why not otherwise."""
        running, parameters = self.logic.isRunning(), self._parameterNode
        reason = "An enhancement is running; cancel it or wait for it."
        if not running and parameters is not None:
            reason = self.logic.whyNot(**self.choices())
            self.ui.methodComboBox.toolTip = METHODS[parameters.method].description
            self.ui.checkpointLineEdit.enabled = self.logic.needsNetwork(parameters.method, None)
        self.ui.enhanceButton.enabled = not reason
        self.ui.enhanceButton.toolTip = reason or "Make the thin-slice volume"
        self.ui.cancelButton.enabled = running
        self.ui.progressBar.visible = running

    def choices(self):
        """The parameter node as arguments of the Logic."""
        parameters = self._parameterNode
        network = self.logic.needsNetwork(parameters.method, None)
        # An empty path in the panel arrives as the current folder.
        chosen = network and parameters.checkpoint != pathlib.Path()
        return {
            "inputNode": parameters.inputVolume,
            "outputNode": parameters.outputVolume,
            "method": parameters.method,
            "checkpoint": parameters.checkpoint if chosen else None,
            "spacing": parameters.spacing,
            "thickness": parameters.thickness or None,
            "device": parameters.device,
        }

    def onEnhance(self, checked=False):
        self.ui.progressBar.setRange(0, 0)
        self.ui.statusLabel.text = "Starting"
        try:
            self.logic.enhance(
                **self.choices(),
                waitForCompletion=False,
                onProgress=self.onProgress,
                onFinished=self.onFinished,
            )
        except UserError as error:
            self.onFinished(None, error)
        self.updateButtons()

    def onCancel(self, checked=False):
        self.ui.statusLabel.text = "Cancelling"
        self.ui.cancelButton.enabled = False
        self.logic.cancel()

    def onProgress(self, event):
        self.ui.progressBar.setRange(0, event["total"])
        self.ui.progressBar.setValue(event["done"])
        left = event["seconds_left"]
        self.ui.statusLabel.text = event["stage"] + ("" if left is None else f", about {left:.0f} s left")

    def onFinished(self, outputNode, error):
        if error is None:
            warnings = json.loads(outputNode.GetAttribute(ATTRIBUTES + "warnings"))
            self.ui.statusLabel.text = "\n".join([f"Done: {outputNode.GetName()}", *warnings])
            if self._parameterNode is not None:  # the user has not turned to another module
                slicer.util.setSliceViewerLayers(background=outputNode)
        elif isinstance(error, Cancelled):
            self.ui.statusLabel.text = "Cancelled"
        else:
            self.ui.statusLabel.text = "Failed"
            text, details = getattr(error, "summary", str(error)), getattr(error, "last_words", None)
            slicer.util.errorDisplay(text, detailedText="\n".join(details or []))
        self.updateButtons()


@dataclasses.dataclass
class _Job:
    """One enhancement: its worker, its files, and what the output node is made from."""

    folder: tempfile.TemporaryDirectory
    worker: WorkerProcess
    target: pathlib.Path
    inputNode: object
    outputNode: object
    inputName: str
    outputName: str
    thicknessFrom: str


class ThickToThinSRLogic(ScriptedLoadableModuleLogic):
    """Nodes to Volumes, a worker process, Volumes to nodes; usable from scripts.

    Example
    -------
    >>> thin = ThickToThinSRLogic().enhance(slicer.util.getNode("CT"), spacing=1.0)
    """

    # The Logic whose worker runs in the background: one at a time, kept alive until it is done.
    _running = None

    def getParameterNode(self):
        return ThickToThinSRParameterNode(super().getParameterNode())

    @staticmethod
    def isRunning():
        """Whether an enhancement runs in the background."""
        return ThickToThinSRLogic._running is not None

    def volumeFromNode(self, node):
        """The Volume that a scalar volume node holds; its voxels are a view of the node's.

        Raises UserError for nodes that are no plain scalar volumes on a straight grid.
        """
        name = node.GetName()
        if node.GetClassName() != "vtkMRMLScalarVolumeNode":
            kind = node.GetNodeTagName()
            raise UserError(f"{name} is a {kind}, not a scalar volume: choose the CT volume itself")
        image = node.GetImageData()
        if image is None or image.GetNumberOfPoints() == 0:
            raise UserError(f"{name} holds no voxels: load its image first")
        components = image.GetNumberOfScalarComponents()
        if components != 1:
            raise UserError(f"{name} holds {components} values a voxel: choose a CT volume")
        transform = node.GetParentTransformNode()
        if transform is not None and not transform.IsTransformToWorldLinear():
            raise UserError(
                f"{name} is under the non-linear transform {transform.GetName()} (tilt, uneven slices?): "
                "harden it on a copy of the volume, or resample the volume onto a straight grid; enhance that"
            )
        ijkToRas = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(ijkToRas)
        matrix = LPS_RAS @ slicer.util.arrayFromVTKMatrix(ijkToRas)[:3]
        spacing = np.linalg.norm(matrix[:, :3], axis=0)
        try:
            return Volume(
                slicer.util.arrayFromVolume(node),
                tuple(_withoutRoundingNoise(value) for value in spacing),
                tuple(matrix[:, 3]),
                matrix[:, :3] / spacing,
                slice_axis=2,  # Slicer's DICOM readers stack slices along k
                thickness=self.dicomSliceThickness(node),
            )
        except UserError as error:
            raise UserError(f"{name}: {error}") from error

    @staticmethod
    def dicomSliceThickness(node):
        """Slice thickness in mm that the DICOM database knows for the node's first slice, else None."""
        uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
        database = getattr(slicer, "dicomDatabase", None)
        if not uids or database is None or not database.isOpen:
            return None
        try:
            thickness = float(database.instanceValue(uids[0], "0018,0050"))
        except ValueError:
            return None
        return thickness if 0 < thickness < float("inf") else None

    def whyNot(self, inputNode, outputNode, method, checkpoint, spacing, **others):
        """Why these choices cannot work, or an empty string."""
        try:
            self._check(inputNode, outputNode, method, checkpoint, spacing)
        except UserError as error:
            return str(error)
        return ""

    def _check(self, inputNode, outputNode, method, checkpoint, spacing):
        """The input's Volume and through-plane axis; UserError if the choices cannot work."""
        if inputNode is None:
            raise UserError("Choose an input volume")
        volume = self.volumeFromNode(inputNode)
        if outputNode is not None:
            if outputNode is inputNode:
                raise UserError("The output must be another volume than the input")
            if outputNode.GetClassName() != "vtkMRMLScalarVolumeNode":
                raise UserError(f"The output must be a scalar volume, not a {outputNode.GetNodeTagName()}")
        if method is not None and method not in METHODS:
            raise UserError(f"method {method!r} is not one of {', '.join(METHODS)}")
        if checkpoint is None and self.needsNetwork(method, checkpoint):
            raise UserError(f"Method {method} needs weights: choose a file (.safetensors)")
        if checkpoint is not None and not pathlib.Path(checkpoint).is_file():
            raise UserError(f"{checkpoint}: no such file")
        axis = through_plane_axis(volume)
        check_target_spacing(spacing, volume.spacing[axis])
        return volume, axis

    def enhance(
        self,
        inputNode,
        outputNode=None,
        method=None,
        checkpoint=None,
        spacing=DEFAULT_SPACING,
        thickness=None,
        device="auto",
        waitForCompletion=True,
        onProgress=None,
        onFinished=None,
    ):
        """Enhance a volume node in a worker process.

        :param outputNode: volume node whose content is replaced on success; a new node by default.
        :param method: by default what the checkpoint implies, else consistent interpolation.
        :param checkpoint: weights of a network (.safetensors).
        :param spacing: target slice spacing in mm.
        :param thickness: slice thickness of the input in mm; by default DICOM's, else its spacing.
        :param waitForCompletion: if False, return None at once; the worker then runs in the background.
        :param onProgress: called with each progress event of the worker (a dict).
        :param onFinished: called with (outputNode, None) or (None, error) at the end of a background run.
        :return: the output node.
        :raises UserError, Cancelled, WorkerFailed: the scene is then as it was.
        """
        if self.isRunning():
            raise UserError("An enhancement is running; cancel it or wait for it")
        job = self._prepare(inputNode, outputNode, method, checkpoint, spacing, thickness, device)
        onProgress = onProgress or (lambda event: None)
        if not waitForCompletion:
            self._start(job, onProgress, onFinished or (lambda outputNode, error: None))
            return None
        with job.folder:
            return self._createOutput(job, run(job.worker, onProgress))

    def _prepare(self, inputNode, outputNode, method, checkpoint, spacing, thickness, device):
        """Check the choices, write the input for the worker."""
        volume, axis = self._check(inputNode, outputNode, method, checkpoint, spacing)
        if self.needsNetwork(method, checkpoint):
            self.installDependencies()
        acquisition, thicknessFrom = acquisition_of(volume, axis, thickness)
        name = inputNode.GetName()
        folder = tempfile.TemporaryDirectory(
            prefix="ThickToThinSR-", dir=slicer.app.temporaryPath, ignore_cleanup_errors=True
        )
        source, target = (pathlib.Path(folder.name, name) for name in ("input.nrrd", "output.nrrd"))
        try:
            write_volume(volume, source, compress=False)
        except UserError as error:
            folder.cleanup()
            raise UserError(str(error).replace(str(source), name)) from error
        worker = WorkerProcess(
            shutil.which("PythonSlicer") or sys.executable,
            source,
            target,
            folder.name,
            source_name=name,
            method=method,
            checkpoint=checkpoint and pathlib.Path(checkpoint).absolute(),
            spacing=spacing,
            thickness=acquisition.thickness,
            axis=axis,
            device=device,
        )
        outputName = f"{name} {spacing:.1f} mm" if round(spacing, 1) == spacing else f"{name} {spacing:g} mm"
        return _Job(folder, worker, target, inputNode, outputNode, name, outputName, thicknessFrom)

    @staticmethod
    def needsNetwork(method, checkpoint):
        """Whether a network will run, which takes PyTorch and weights."""
        return checkpoint is not None or (method is not None and METHODS[method].network is not None)

    @staticmethod
    def installDependencies():
        """Get what a network needs, with the user's consent."""
        advice = "the methods interpolation and consistent work without it"
        if importlib.util.find_spec("torch") is None:
            try:
                import PyTorchUtils
            except ModuleNotFoundError as error:
                raise UserError(
                    "A network needs PyTorch: install the extension PyTorch in the Extensions Manager and "
                    f"restart Slicer; {advice}"
                ) from error
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=True, torchVersionRequirement=">=2.5"
            )
            if torch is None:
                raise UserError(f"A network needs PyTorch, which was not installed; {advice}")
        requirements = pathlib.Path(__file__).parent / "Resources" / "requirements.txt"
        try:
            _installRequirements(requirements)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            raise UserError(f"A network needs {requirements.read_text().strip()}: {error}") from error

    def cancel(self, wait=False):
        """End a background run; its onFinished gets Cancelled.

        :param wait: return only when the worker is gone (at most 2 s).
        """
        logic = ThickToThinSRLogic._running
        if logic is None:
            return
        worker, process = logic._job.worker, logic._process
        worker.cancel()
        logic._timer.start(100)
        while wait and process.state() != qt.QProcess.NotRunning:
            process.waitForFinished(100)
            worker.escalate(process)

    def _start(self, job, onProgress, onFinished):
        """Launch the worker by QProcess, which leaves Slicer's event loop free."""
        ThickToThinSRLogic._running = self
        self._job, self._onProgress, self._onFinished = job, onProgress, onFinished
        self._process, self._timer = qt.QProcess(), qt.QTimer()
        environment = qt.QProcessEnvironment.systemEnvironment()
        for name, value in job.worker.environment.items():
            environment.insert(name, value)
        self._process.setProcessEnvironment(environment)
        self._process.setWorkingDirectory(job.folder.name)
        self._process.connect("readyReadStandardOutput()", self._readOutput)
        self._process.connect("readyReadStandardError()", self._readErrors)
        self._process.connect("finished(int,QProcess::ExitStatus)", self._onProcessFinished)
        self._process.connect("errorOccurred(QProcess::ProcessError)", self._onProcessError)
        self._timer.connect("timeout()", self._escalate)
        self._process.start(job.worker.command[0], job.worker.command[1:])

    def _readOutput(self):
        for event in self._job.worker.feed_output(bytes(self._process.readAllStandardOutput().data())):
            if event["event"] == "progress":
                self._onProgress(event)

    def _readErrors(self):
        self._job.worker.feed_errors(bytes(self._process.readAllStandardError().data()))

    def _escalate(self):
        self._job.worker.escalate(self._process)

    def _onProcessError(self, error):
        if error == qt.QProcess.FailedToStart:  # after any other error finished() follows
            self._finish(lambda: self._job.worker.not_started())

    def _onProcessFinished(self, exitCode, exitStatus):
        self._readOutput()
        self._readErrors()
        code = exitCode if exitStatus == qt.QProcess.NormalExit else None
        self._finish(lambda: self._job.worker.outcome(code))

    def _finish(self, outcome):
        """End a background run: make the node or find the reason why not, clean up, tell the caller."""
        self._timer.stop()
        outputNode = error = None
        try:
            outputNode = self._createOutput(self._job, outcome())
        except Exception as problem:  # whatever it is, the caller is to see it
            error = problem
        self._job.folder.cleanup()
        ThickToThinSRLogic._running = self._job = None
        self._onFinished(outputNode, error)

    def _createOutput(self, job, report):
        """The output node of a finished job; the scene is touched only once the voxels are there."""
        thin = read_volume(job.target)
        holder = vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(holder, thin.voxels)
        geometry = np.eye(4)
        geometry[:3, :3] = LPS_RAS @ thin.direction * thin.spacing
        geometry[:3, 3] = LPS_RAS @ thin.origin
        node = job.outputNode
        if node is None or node.GetScene() is None:
            volumesLogic = slicer.modules.volumes.logic()
            node = volumesLogic.CloneVolumeWithoutImageData(slicer.mrmlScene, job.inputNode, job.outputName)
        wasModified = node.StartModify()
        node.SetAndObserveImageData(holder.GetImageData())
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry))
        node.SetAndObserveTransformNodeID(job.inputNode.GetTransformNodeID())
        self._copyDisplay(job.inputNode, node)
        self._setAttributes(job, node, report)
        self._placeBeside(job.inputNode, node)
        node.EndModify(wasModified)
        return node

    @staticmethod
    def _copyDisplay(inputNode, node):
        """Same window and level as the input; not automatic, since the values of both are to look alike."""
        node.CreateDefaultDisplayNodes()
        source, target = inputNode.GetDisplayNode(), node.GetDisplayNode()
        if source is not None and target is not None:
            target.SetAutoWindowLevel(False)
            target.SetWindowLevel(source.GetWindow(), source.GetLevel())

    @staticmethod
    def _setAttributes(job, node, report):
        """Provenance under our own names; the DICOM instances are the input's, not the result's."""
        for stale in ("DICOM.instanceUIDs", "DICOM.instanceNumbers"):
            node.RemoveAttribute(stale)
        meaningless = ("version", "event", "input", "output", "input_description")
        facts = {key: value for key, value in report.items() if key not in meaningless}
        facts["thickness_from"] = job.thicknessFrom
        facts["sourceVolume"] = job.inputName
        facts["sourceInstanceUIDs"] = job.inputNode.GetAttribute("DICOM.instanceUIDs")
        for key, value in facts.items():
            text = value if value is None or isinstance(value, str) else json.dumps(value)
            node.SetAttribute(ATTRIBUTES + key, text)

    @staticmethod
    def _placeBeside(inputNode, node):
        """The same parent in the subject hierarchy as the input's."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        item = hierarchy.GetItemByDataNode(inputNode) if hierarchy else 0
        if item:
            parent = hierarchy.GetItemParent(item)
            own = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(parent, node)
            hierarchy.SetItemParent(own, parent)


class ThickToThinSRTest(ScriptedLoadableModuleTest):
    """Self test, needs no data: a small oblique volume through a real worker."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_enhance()

    def test_enhance(self):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "thick")
        slices = np.linspace(-1000, 1000, 6).astype(np.int16)
        slicer.util.updateVolumeFromArray(node, np.broadcast_to(slices[:, None, None], (6, 8, 9)).copy())
        node.SetSpacing(0.8, 0.8, 5.0)
        node.SetOrigin(10, -20, 30)
        output = ThickToThinSRLogic().enhance(node, method="interpolation", spacing=1.0)
        self.assertEqual(slicer.util.arrayFromVolume(output).shape, (26, 8, 9))
        np.testing.assert_allclose(output.GetSpacing(), (0.8, 0.8, 1.0), atol=1e-6)
        np.testing.assert_allclose(output.GetOrigin(), node.GetOrigin(), atol=1e-6)
        self.assertEqual(slicer.util.arrayFromVolume(output).dtype, np.int16)


def _withoutRoundingNoise(spacing):
    """Undo single precision as the file reader does, through the noise that a direction matrix adds.

    A file's 0.7 is 0.699999988 in single precision, which would cost the last thin slice.
    """
    single = np.float32(spacing)
    return float(str(single)) if abs(float(single) - spacing) < 1e-12 * spacing else float(spacing)


def _installRequirements(path):
    """Install the packages listed in a file, after asking; RuntimeError if declined."""
    try:
        import slicer.packaging as packaging
    except ImportError:  # Slicer before 5.12
        names = [line.split(">=")[0] for line in path.read_text().split()]
        if all(importlib.util.find_spec(name) for name in names):
            return
        if not slicer.util.confirmOkCancelDisplay(f"Install the Python packages {', '.join(names)}?"):
            raise RuntimeError("the installation was declined") from None
        slicer.util.pip_install(["-r", str(path)])
    else:
        packaging.pip_ensure(packaging.load_requirements(path), requester="Thick To Thin SR")
