"""The middle of the panel: starts and cancels a run, shows its progress, its result and its errors."""

import slicer
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.trust.uncertainty import in_words

from . import dependencies, descriptions, node_volumes, quality_table, sequences


class RunPanel:
    """Buttons Enhance Resolution and Cancel, progress, status, table of the result.

    :param ui: the panel's widgets by name.
    :param logic: ThickToThinSRLogic.
    :param choices: choices() returns the user's choices as arguments of the Logic.
    :param onResult: onResult(inputNode, outputNode) is called when a result is there.
    :param changed: changed() is called when the panel's buttons must be updated.
    """

    def __init__(self, ui, logic, choices, onResult, changed):
        self._ui, self._logic, self._choices = ui, logic, choices
        self._onResult, self._changed = onResult, changed
        ui.enhanceButton.connect("clicked(bool)", self.onEnhance)
        ui.cancelButton.connect("clicked(bool)", self.onCancel)
        for name in ("progressBar", "warningsLabel", "notesLabel", "qualityTable", "expectedErrorLabel"):
            getattr(ui, name).visible = False

    def update(self, running):
        """Show progress and Cancel while a worker runs."""
        self._ui.cancelButton.enabled = running
        self._ui.progressBar.visible = running

    def onEnhance(self, checked=False):
        """The button Enhance Resolution was clicked."""
        chosen = self._choices()
        sequence = self._ui.allFramesCheckBox.checked and sequences.browserOf(chosen["inputNode"])
        if not sequence and not _mayReplace(chosen["outputNode"]):
            return
        chosen |= {"onProgress": self.onProgress, "onFinished": self.onFinished}
        self._begin()
        try:
            if sequence:
                del chosen["outputNode"]
                self._logic.enhanceSequence(**chosen)
            else:
                self._logic.enhance(**chosen, waitForCompletion=False)
        except UserError as error:
            self.onFinished(None, error)
        self._changed()

    def onCancel(self, checked=False):
        """The button Cancel was clicked."""
        self._ui.statusLabel.text = _("Cancelling")
        self._ui.cancelButton.enabled = False
        self._logic.cancel()

    def onProgress(self, event):
        """Show stage, percent and time left."""
        self._ui.progressBar.setRange(0, event["total"])
        self._ui.progressBar.setValue(event["done"])
        self._ui.statusLabel.text = descriptions.ofProgress(event)

    def onFinished(self, outputNode, error):
        """A run has ended: show the result or the error."""
        if error is not None:
            self.showError(error)
            return
        report, ui = node_volumes.provenance(outputNode), self._ui
        quality_table.show(ui.qualityTable, ui.warningsLabel, ui.notesLabel, report)
        ui.qualityTable.visible = True
        means = report.get("expected_error_hu")
        ui.expectedErrorLabel.text = in_words(means) if means else ""
        ui.expectedErrorLabel.visible = bool(means)
        self._done(outputNode)
        self._onResult(node_volumes.inputOf(outputNode), outputNode)
        self._changed()

    def makeDifference(self, inputNode, resultNode, onFinished):
        """Make the difference volume; `onFinished` is called with (node, None) or (None, error)."""

        def finished(node, error):
            onFinished(node, error)
            if error is None:
                self._done(node)
                self._changed()
            else:
                self.showError(error)

        self._begin()
        try:
            self._logic.makeDifference(inputNode, resultNode, self.onProgress, finished)
        except UserError as error:
            finished(None, error)
        self._changed()

    def showError(self, error):
        """Say what went wrong, once the panel is ready for the next click."""
        if isinstance(error, Cancelled):
            self._ui.statusLabel.text = _("Cancelled; nothing was changed")
            self._changed()
            return
        text, details = descriptions.inPanelWords(error), getattr(error, "last_words", None)
        self._ui.statusLabel.text = _("Failed: {reason}").format(reason=text)
        self._changed()
        text = "\n\n".join(filter(None, [text, dependencies.advice(error)]))
        slicer.util.errorDisplay(text, detailedText="\n".join(details or []))

    def _begin(self):
        self._ui.progressBar.setRange(0, 0)
        self._ui.statusLabel.text = _("Starting")

    def _done(self, node):
        self._ui.statusLabel.text = _("Done: {volume}").format(volume=node.GetName())


def _mayReplace(outputNode):
    """Whether the content of the chosen output may be replaced; asks unless this module made it."""
    if outputNode is None or node_volumes.provenance(outputNode):
        return True
    question = _("{volume} was not made by this module. Replace its content by the result?")
    return slicer.util.confirmOkCancelDisplay(question.format(volume=outputNode.GetName()))
