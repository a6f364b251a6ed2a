"""Enhances every frame of a sequence of volumes; the results are a new sequence."""

import slicer
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import Cancelled, UserError

from . import node_volumes


def browserOf(node):
    """The sequence browser of which `node` is a proxy node, or None."""
    module = getattr(slicer.modules, "sequences", None)
    return None if module is None else module.logic().GetFirstBrowserNodeForProxyNode(node)


class SequenceRun:
    """Enhances the frames of a sequence one after the other; if one fails, there is no result.

    :param node: proxy node of the sequence.
    :param startFrame: startFrame(frameNode, onProgress, onFinished) enhances one frame in the background;
        onFinished is called with (job, (report, thin Volume), None) or (job, None, error).
    :param onProgress: called with each progress event (a dict).
    :param onFinished: called with (proxy node of the results, None) or (None, error).
    """

    def __init__(self, node, startFrame, onProgress, onFinished):
        self._browser = browserOf(node)
        if self._browser is None:
            raise UserError(
                _("{volume} is not a frame of a sequence: choose one").format(volume=node.GetName())
            )
        self._proxy, self._name = node, node.GetName()
        self._sequence = self._browser.GetSequenceNode(node)
        self._startFrame, self._onProgress, self._onFinished = startFrame, onProgress, onFinished
        self._results = []

    @property
    def count(self):
        return self._sequence.GetNumberOfDataNodes()

    def start(self):
        """Start the next frame."""
        number = len(self._results)
        frame = self._sequence.GetNthDataNode(number)
        name = frame.GetName()
        frame.SetName(f"{self._name} (frame {number + 1})")  # for messages about it
        try:
            self._startFrame(frame, self._progress, self._frameFinished)
        finally:
            frame.SetName(name)

    def _progress(self, event):
        stage = _("frame {number} of {count}: {stage}").format(
            number=len(self._results) + 1, count=self.count, stage=event["stage"]
        )
        self._onProgress({**event, "stage": stage})

    def _frameFinished(self, job, result, error):
        if error is None and not slicer.mrmlScene.IsNodePresent(self._sequence):
            error = Cancelled(_("the sequence was removed; there is no result"))
        if error is not None:
            self._results.clear()
            self._onFinished(None, error)
            return
        report, thin = result
        node = slicer.vtkMRMLScalarVolumeNode()
        job.fill(node, thin, report)
        self._results.append((node, self._sequence.GetNthIndexValue(len(self._results))))
        if len(self._results) < self.count:
            self.start()
        else:
            self._onFinished(self._createSequence(job.outputName.replace(job.inputName, self._name)), None)

    def _createSequence(self, name):
        """Add the results as a sequence to the browser of the input; returns its proxy node."""
        scene = slicer.mrmlScene
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(name))
        sequence.SetIndexName(self._sequence.GetIndexName())
        sequence.SetIndexUnit(self._sequence.GetIndexUnit())
        sequence.SetIndexType(self._sequence.GetIndexType())
        for node, value in self._results:
            sequence.SetDataNodeAtValue(node, value)
        self._browser.AddSynchronizedSequenceNode(sequence)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self._browser)
        proxy = self._browser.GetProxyNode(sequence)
        if slicer.mrmlScene.IsNodePresent(self._proxy):
            node_volumes.copyDisplay(self._proxy, proxy)
            proxy.SetNodeReferenceID(node_volumes.ATTRIBUTES + "input", self._proxy.GetID())
        return proxy
