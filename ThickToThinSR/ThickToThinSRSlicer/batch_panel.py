"""The tab for many volumes: folder of inputs, folder of results, table of states."""

import pathlib

import qt
import slicer

from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.worker.protocol import DONE, FAILED, RUNNING, SKIPPED, THERE, WAITING

from . import descriptions

_WORDS = {
    WAITING: "waiting",
    RUNNING: "running",
    THERE: "already there",
    DONE: "done",
    FAILED: "failed",
    SKIPPED: "skipped",
}


class BatchPanel:
    """The tab for many volumes.

    :param ui: the panel's widgets by name.
    :param start: start(inputFolder, outputFolder, onEvent, onFinished) starts the batch; may raise UserError.
    :param cancel: cancel() stops the batch.
    :param changed: changed() is called when the panel's buttons must be updated.
    """

    def __init__(self, ui, start, cancel, changed):
        self._ui, self._start, self._changed = ui, start, changed
        self._rows, self._active = {}, False
        ui.batchButton.connect("clicked(bool)", self._onStart)
        ui.batchCancelButton.connect("clicked(bool)", lambda checked=False: cancel())
        for edit in (ui.batchInputWidget, ui.batchOutputWidget):
            edit.connect("currentPathChanged(QString)", lambda path: changed())
        ui.batchTable.setColumnCount(3)
        ui.batchTable.setHorizontalHeaderLabels(["Volume or series", "State", "Seconds, or why it failed"])
        ui.batchTable.horizontalHeader().setStretchLastSection(True)

    def update(self, running, reason):
        """Enable the buttons that can work.

        :param running: whether a worker is running.
        :param reason: why the choices in the first tab cannot work for a batch; empty if they can.
        """
        why = (
            "An enhancement is running; cancel it or wait for it." if running else reason or self._obstacle()
        )
        self._ui.batchButton.enabled = not why
        self._ui.batchButton.toolTip = why or "Enhance all inputs; existing results are kept"
        self._ui.batchCancelButton.enabled = running and self._active

    def _folders(self):
        return [
            pathlib.Path(edit.currentPath) for edit in (self._ui.batchInputWidget, self._ui.batchOutputWidget)
        ]

    def _obstacle(self):
        source, target = self._folders()
        if not self._ui.batchInputWidget.currentPath or not source.is_dir():
            return "Choose a folder with thick-slice volumes or DICOM series"
        if not self._ui.batchOutputWidget.currentPath:
            return "Choose a folder for the results"
        if source.resolve() == target.resolve():
            return "Choose a folder for the results that is not the folder of the inputs"
        return ""

    def _onStart(self, checked=False):
        self._ui.batchTable.setRowCount(0)
        self._rows.clear()
        self._ui.batchStatusLabel.text = "Looking for volumes"
        self._active = True
        try:
            self._start(*self._folders(), self._onEvent, self._onFinished)
        except UserError as error:
            self._onFinished(None, error)
        self._changed()

    def _onEvent(self, event):
        if event["event"] == "progress":
            self._ui.batchStatusLabel.text = descriptions.ofProgress(event)
        elif event["event"] == "case":
            self._showCase(event)

    def _showCase(self, event):
        table = self._ui.batchTable
        row = self._rows.setdefault(event["name"], len(self._rows))
        table.setRowCount(len(self._rows))
        seconds = "" if event["seconds"] is None else f"{event['seconds']:.1f}"
        reason = event["reason"]
        if "text" in event:
            reason = descriptions.inPanelWords(UserError(event["text"], *event["options"]))
        for column, text in enumerate((event["name"], _WORDS[event["state"]], reason or seconds)):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            table.setItem(row, column, item)

    def _onFinished(self, report, error):
        self._active = False
        if error is None:
            text = f"Finished: {report['done']} done, {report['already there']} already there"
        elif isinstance(error, Cancelled):
            text = "Cancelled; finished results are kept, Start continues with the rest"
        else:
            text = descriptions.inPanelWords(error)
            if not self._rows:  # otherwise the table shows what failed
                slicer.util.errorDisplay(text)
        self._ui.batchStatusLabel.text = text
        self._changed()
