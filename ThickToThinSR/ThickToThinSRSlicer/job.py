"""One enhancement of one node: checked, its input written for the worker, its result read."""

import dataclasses
import pathlib
import shutil
import sys
import tempfile

import slicer

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.inspection.warnings import modality_warning
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.methods.registry import METHODS, acquisition_of
from ThickToThinSRLib.volume import check_target_spacing, through_plane_axis
from ThickToThinSRLib.worker.process import WorkerProcess

from . import node_volumes, weights
from .dependencies import whyNoTorch


@dataclasses.dataclass
class Job:
    """One enhancement: its worker, its files, and what the output node is made from."""

    folder: tempfile.TemporaryDirectory
    worker: WorkerProcess
    target: pathlib.Path
    inputNode: object
    outputNode: object
    inputName: str
    outputName: str
    thicknessFrom: str
    modality: str | None

    def result(self):
        """The Volume that the worker left."""
        return read_volume(self.target)

    def createOutput(self, report):
        """The output node of the finished job; the scene is touched only once the voxels are there."""
        thin = self.result()
        node = self.outputNode
        if node is None or node.GetScene() is None:
            node = node_volumes.newOutputNode(self.inputNode, self.outputName)
        self.fill(node, thin, report)
        return node

    def fill(self, node, thin, report):
        """Give `node` the result and all that goes along with it."""
        wasModified = node.StartModify()
        node_volumes.setVolume(node, thin)
        if node.GetScene() is not None:
            node.SetAndObserveTransformNodeID(self.inputNode.GetTransformNodeID())
            node_volumes.copyDisplay(self.inputNode, node)
        doubt = modality_warning(self.modality)  # the worker's file does not tell it
        report = {**report, "warnings": [*filter(None, [doubt]), *report["warnings"]]}
        node_volumes.setProvenance(node, self.inputNode, self.inputName, report, self.thicknessFrom)
        node.EndModify(wasModified)


def check(inputNode, outputNode, method, checkpoint, spacing):
    """The input's Volume and through-plane axis; UserError if the choices cannot work."""
    if inputNode is None:
        raise UserError("Choose an input volume")
    volume = node_volumes.volumeFromNode(inputNode)
    if outputNode is not None:
        if outputNode is inputNode:
            raise UserError("The output must be another volume than the input")
        if outputNode.GetClassName() != "vtkMRMLScalarVolumeNode":
            raise UserError(f"The output must be a scalar volume, not a {outputNode.GetNodeTagName()}")
    if method is not None and method not in METHODS:
        raise UserError(f"method {method!r} is not one of {', '.join(METHODS)}")
    weights.check(method, checkpoint)
    axis = through_plane_axis(volume)
    check_target_spacing(spacing, volume.spacing[axis])
    reason = whyNoTorch() if weights.needsNetwork(method, checkpoint) else ""
    if reason:
        raise UserError(reason)
    return volume, axis


def prepare(inputNode, outputNode, method, checkpoint, spacing, thickness, **options):
    """Check the choices and write the input for the worker; returns the Job.

    :param options: further options of the command line's `enhance`.
    """
    volume, axis = check(inputNode, outputNode, method, checkpoint, spacing)
    acquisition, thicknessFrom = acquisition_of(volume, axis, thickness)
    name = inputNode.GetName()
    folder = temporaryFolder()
    source, target = (pathlib.Path(folder.name, file) for file in ("input.nrrd", "output.nrrd"))
    try:
        write_volume(volume, source, compress=False)
    except UserError as error:
        folder.cleanup()
        raise UserError(str(error).replace(str(source), name)) from error
    worker = WorkerProcess(
        pythonProgram(),
        source,
        target,
        folder.name,
        source_name=name,
        method=method,
        checkpoint=checkpoint and pathlib.Path(checkpoint).absolute(),
        spacing=spacing,
        thickness=acquisition.thickness,
        axis=axis,
        **options,
    )
    made, kind = outputName(name, spacing), node_volumes.modality(inputNode)
    return Job(folder, worker, target, inputNode, outputNode, name, made, thicknessFrom, kind)


def outputName(name, spacing):
    """What a result is called: "chest 1.0 mm"."""
    return f"{name} {spacing:.1f} mm" if round(spacing, 1) == spacing else f"{name} {spacing:g} mm"


def temporaryFolder():
    """A folder for the files of one run."""
    return tempfile.TemporaryDirectory(
        prefix="ThickToThinSR-", dir=slicer.app.temporaryPath, ignore_cleanup_errors=True
    )


def pythonProgram():
    """The Python that has Slicer's packages."""
    return shutil.which("PythonSlicer") or sys.executable
