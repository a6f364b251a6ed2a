"""The module's Logic: starts workers for volume nodes and makes nodes of their results."""

import pathlib

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.choices import choose_method
from ThickToThinSRLib.settings import DEFAULT_SPACING, Settings
from ThickToThinSRLib.weights.added import add_weights
from ThickToThinSRLib.worker.process import WorkerProcess, run

from . import dependencies, descriptions, difference, job, node_volumes, sequences, timings, weights
from .background import BackgroundRun
from .parameter_node import ThickToThinSRParameterNode


def _ignore(*_):
    pass


class ThickToThinSRLogic(ScriptedLoadableModuleLogic):
    """Enhances volume nodes; can be used in Slicer's Python console without the panel.

    >>> thin = ThickToThinSRLogic().enhance(slicer.util.getNode("CT"), spacing=1.0)
    """

    volumeFromNode = staticmethod(node_volumes.volumeFromNode)
    dicomSliceThickness = staticmethod(node_volumes.dicomSliceThickness)
    provenance = staticmethod(node_volumes.provenance)
    needsNetwork = staticmethod(weights.needsNetwork)
    installDependencies = staticmethod(dependencies.installDependencies)

    def __init__(self, parent=None):
        ScriptedLoadableModuleLogic.__init__(self, parent)
        self._parameters = None

    def getParameterNode(self):
        """The user's choices; always the same wrapper, since each leaves observers on the node."""
        node = super().getParameterNode()
        if self._parameters is None or self._parameters.parameterNode is not node:
            self._parameters = ThickToThinSRParameterNode(node)
        return self._parameters

    @staticmethod
    def isRunning():
        """Whether a worker runs in the background."""
        return BackgroundRun.current is not None

    def cancel(self, wait=False):
        """Cancel the background run; its onFinished is called with Cancelled.

        :param wait: wait until the worker has ended (at most 2 s).
        """
        if BackgroundRun.current is not None:
            BackgroundRun.current.cancel(wait)

    def obstacle(self, inputNode, outputNode=None, **options):
        """Why :meth:`enhance` cannot work with these choices; empty if it can."""
        try:
            options.pop("uncertainty", None)
            job.check(inputNode, outputNode, _settings(options))
        except UserError as error:
            return descriptions.inPanelWords(error)
        return ""

    def methodObstacle(self, method, checkpoint):
        """Why this method cannot work, whatever the input is; empty if it can."""
        try:
            choose_method(method, checkpoint)
        except UserError as error:
            return descriptions.inPanelWords(error)
        return dependencies.torchObstacle() if weights.needsNetwork(method, checkpoint) else ""

    def enhance(
        self, inputNode, outputNode=None, waitForCompletion=True, onProgress=None, onFinished=None, **options
    ):
        """Enhance a volume node in a worker process.

        With ``uncertainty=True`` the expected error of each voxel becomes a second volume, see
        :func:`expected_error.ofResult`.

        :param outputNode: volume node whose content is replaced on success; by default a new node.
        :param waitForCompletion: if False, return None at once while the worker runs in the background.
        :param onProgress: called with each progress event of the worker (a dict).
        :param onFinished: called with (outputNode, None) or (None, error) at the end of a background run.
        :param options: the fields of ThickToThinSRLib.settings.Settings: method, checkpoint, spacing (1 mm by
            default), thickness, device, precision, tiling, consistency, minutes, epochs, planes, network,
            noise, noise_seed, profile.
        :return: the output node.
        :raises UserError, Cancelled, WorkerFailed: the scene is not changed.
        """
        uncertainty = options.pop("uncertainty", False)
        prepared = self._prepare(inputNode, outputNode, _settings(options), uncertainty)
        if waitForCompletion:
            with prepared.folder:
                return self._created(prepared, run(prepared.worker, onProgress or _ignore))
        self._start(
            prepared,
            onProgress or _ignore,
            lambda report: self._created(prepared, report),
            onFinished or _ignore,
        )
        return None

    def enhanceSequence(self, inputNode, onProgress=None, onFinished=None, **options):
        """Enhance every frame of a sequence, in the background.

        :param inputNode: proxy node of the sequence.
        :param options: as for :meth:`enhance`; uncertainty is ignored.
        :param onFinished: called with (proxy node of the results, None) or (None, error).
        """
        options.pop("uncertainty", None)
        settings = _settings(options)

        def startFrame(frame, frameProgress, frameFinished):
            prepared = self._prepare(frame, None, settings)
            self._launch(
                prepared.worker,
                prepared.folder,
                _onlyProgress(frameProgress),
                lambda report: (report, prepared.result()),
                lambda result, error: frameFinished(prepared, result, error),
            )

        sequences.SequenceRun(inputNode, startFrame, onProgress or _ignore, onFinished or _ignore).start()

    def enhanceMany(self, inputFolder, outputFolder, onEvent=None, onFinished=None, **options):
        """Enhance all volumes and DICOM series in a folder, in the background (`thicktothin enhance-many`).

        :param onEvent: called with each event of the worker, such as the state of an input.
        :param onFinished: called with (report, None) or (None, error).
        :param options: as for :meth:`enhance`.
        """
        BackgroundRun.refuseSecond()
        settings = Settings(**options)
        if self.needsNetwork(settings.method, settings.checkpoint):
            self.installDependencies()
        folder = job.temporaryFolder()
        arguments = ["enhance-many", str(inputFolder), str(outputFolder), *settings.as_arguments()]
        worker = WorkerProcess(job.pythonProgram(), arguments, folder.name)
        self._launch(worker, folder, onEvent or _ignore, lambda report: report, onFinished or _ignore)

    def makeDifference(self, inputNode, resultNode, onProgress=None, onFinished=None):
        """Make a new node, the result minus the cubic interpolation of its input, in the background."""
        prepared = self._prepare(inputNode, None, difference.settings(resultNode))
        self._start(
            prepared,
            onProgress or _ignore,
            lambda report: difference.create(resultNode, prepared.result()),
            onFinished or _ignore,
        )

    def importWeights(self, source, onFinished):
        """Convert and add weights of the TVSRN or CTH-Net authors, in the background; no code in them is run.

        :param source: path of the authors' file.
        :param onFinished: called with (path of the added weights, None) or (None, error).
        """
        BackgroundRun.refuseSecond()
        self.installDependencies()
        folder = job.temporaryFolder()
        target = pathlib.Path(folder.name) / f"{source.stem}.safetensors"
        arguments = ["import-checkpoint", str(source), str(target)]
        worker = WorkerProcess(job.pythonProgram(), arguments, folder.name)
        self._launch(worker, folder, _ignore, lambda report: add_weights(target), onFinished)

    def _prepare(self, inputNode, outputNode, settings, uncertainty=False):
        BackgroundRun.refuseSecond()
        # Check before the user is asked to install anything.
        job.check(inputNode, outputNode, settings)
        if self.needsNetwork(settings.method, settings.checkpoint):
            self.installDependencies()
        return job.prepare(inputNode, outputNode, settings, uncertainty)

    def _created(self, prepared, report):
        node = prepared.createOutput(report)
        voxels = node.GetImageData().GetNumberOfPoints()
        timings.remember(report["method"], report["device"], report["seconds"], voxels)
        return node

    def _start(self, prepared, onProgress, create, onFinished):
        """Run a job in the background; onFinished is called with (create(report), None) or (None, error)."""
        self._launch(prepared.worker, prepared.folder, _onlyProgress(onProgress), create, onFinished)

    @staticmethod
    def _launch(worker, folder, onEvent, create, onFinished):
        def onEnd(outcome):
            result = error = None
            try:
                result = create(outcome())
            except Exception as caught:  # any error is passed to the caller
                error = caught
            folder.cleanup()
            onFinished(result, error)

        BackgroundRun(worker, folder, onEvent, onEnd).start()


def _onlyProgress(onProgress):
    return lambda event: onProgress(event) if event["event"] == "progress" else None


def _settings(options):
    """Settings from options; the default spacing is that of the panel."""
    return Settings(**{"spacing": DEFAULT_SPACING, **options})
