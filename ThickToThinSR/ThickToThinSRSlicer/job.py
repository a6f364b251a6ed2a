"""One enhancement of one node: checks the choices, writes the worker's input, reads its result."""

import dataclasses
import pathlib
import shutil
import sys
import tempfile

import slicer
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.inspection.warnings import modality_warning
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.methods.choices import acquisition_of, choose_method
from ThickToThinSRLib.volume import check_target_spacing, through_plane_axis
from ThickToThinSRLib.worker.process import WorkerProcess

from . import expected_error, node_volumes, source_file, weights
from .dependencies import torchObstacle


@dataclasses.dataclass
class Job:
    """One enhancement: its worker, its files, and the data for the output node."""

    folder: tempfile.TemporaryDirectory
    worker: WorkerProcess
    target: pathlib.Path
    errorTarget: pathlib.Path | None
    inputNode: object
    outputNode: object
    inputName: str
    outputName: str
    thicknessFrom: str
    modality: str | None

    def result(self):
        """Read the worker's result; returns a Volume."""
        return read_volume(self.target)

    def createOutput(self, report):
        """Make or fill the output node of the finished job."""
        # Read all first: the scene must not change if this fails.
        thin = self.result()
        error = None if self.errorTarget is None else read_volume(self.errorTarget)
        node = self.outputNode
        if node is None or node.GetScene() is None:
            node = node_volumes.newOutputNode(self.inputNode, self.outputName)
        self.fill(node, thin, report)
        expected_error.attach(node, error)
        return node

    def fill(self, node, thin, report):
        """Copy the result to `node`, with transform, display and provenance."""
        wasModified = node.StartModify()
        node_volumes.setVolume(node, thin)
        if node.GetScene() is not None:
            node.SetAndObserveTransformNodeID(self.inputNode.GetTransformNodeID())
            node_volumes.copyDisplay(self.inputNode, node)
        warning = modality_warning(self.modality)  # the worker's input file has no modality
        report = {**report, "warnings": [*filter(None, [warning]), *report["warnings"]]}
        node_volumes.setProvenance(node, self.inputNode, self.inputName, report, self.thicknessFrom)
        node.EndModify(wasModified)


def check(inputNode, outputNode, settings):
    """Check the choices.

    :param settings: ThickToThinSRLib.settings.Settings with a spacing.
    :return: the input's Volume and through-plane axis.
    :raises UserError: if the choices cannot work.
    """
    if inputNode is None:
        raise UserError(_("Choose an input volume"))
    volume = node_volumes.volumeFromNode(inputNode)
    if outputNode is not None:
        if outputNode is inputNode:
            raise UserError(_("The output is the input volume: choose another output volume"))
        if outputNode.GetClassName() != "vtkMRMLScalarVolumeNode":
            raise UserError(
                _("The output must be a scalar volume, not a {kind}").format(kind=outputNode.GetNodeTagName())
            )
    choose_method(settings.method, settings.checkpoint, settings.network)
    axis = through_plane_axis(volume)
    check_target_spacing(settings.spacing, volume.spacing[axis])
    obstacle = torchObstacle() if weights.needsNetwork(settings.method, settings.checkpoint) else ""
    if obstacle:
        raise UserError(obstacle)
    return volume, axis


def prepare(inputNode, outputNode, settings, uncertainty=False):
    """Check the choices and write the input for the worker; returns the Job.

    :param uncertainty: whether the expected error is asked for, too.
    """
    volume, axis = check(inputNode, outputNode, settings)
    source_file.check(inputNode, volume)
    acquisition, thicknessFrom = acquisition_of(volume, axis, settings.thickness)
    name = inputNode.GetName()
    folder = temporaryFolder()
    source, target = (pathlib.Path(folder.name, file) for file in ("input.nrrd", "output.nrrd"))
    errorTarget = pathlib.Path(folder.name, "error.nrrd") if uncertainty else None
    try:
        write_volume(volume, source, compress=False)
    except UserError as error:
        folder.cleanup()
        raise UserError(str(error).replace(str(source), name)) from error
    # The worker's input file does not contain the thickness and the axis.
    settings = dataclasses.replace(
        settings, thickness=acquisition.thickness, axis=axis, uncertainty=errorTarget
    )
    arguments = ["enhance", str(source), str(target), *settings.as_arguments()]
    worker = WorkerProcess(pythonProgram(), arguments, folder.name, source=str(source), source_name=name)
    resultName, modality = outputName(name, settings.spacing), node_volumes.modality(inputNode)
    return Job(
        folder, worker, target, errorTarget, inputNode, outputNode, name, resultName, thicknessFrom, modality
    )


def outputName(name, spacing):
    """Name of a result, such as "chest 1.0 mm"."""
    return f"{name} {spacing:.1f} mm" if round(spacing, 1) == spacing else f"{name} {spacing:g} mm"


def temporaryFolder():
    """A temporary folder for the files of one run."""
    return tempfile.TemporaryDirectory(
        prefix="ThickToThinSR-", dir=slicer.app.temporaryPath, ignore_cleanup_errors=True
    )


def pythonProgram():
    """Path of the Python that has Slicer's packages."""
    return shutil.which("PythonSlicer") or sys.executable
