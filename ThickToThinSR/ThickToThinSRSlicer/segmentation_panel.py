"""The section Segmentation of the panel: a segmentation of the thick volume is carried to the result."""

import qt
import slicer
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError

from . import segmentations


class SegmentationPanel:
    """Selector, button and table of volumes.

    :param ui: the panel's widgets by name.
    :param result: result() returns the result that is chosen in the section Compare, or None.
    """

    def __init__(self, ui, result):
        self._ui, self._result = ui, result
        for selector in (ui.segmentationSelector, ui.compareResultSelector):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self.update)
        ui.carryButton.connect("clicked(bool)", self._onCarry)
        ui.segmentTable.setColumnCount(3)
        ui.segmentTable.setHorizontalHeaderLabels([_("Segment"), _("Thick, ml"), _("Thin, ml")])
        ui.segmentTable.visible = False

    def update(self, *ignored):
        """Enable the button if it can work; its tooltip says why not otherwise."""
        reason = segmentations.obstacle(self._ui.segmentationSelector.currentNode(), self._result())
        self._ui.carryButton.enabled = not reason
        self._ui.carryButton.toolTip = reason or _(
            "Make a new segmentation on the thin slices; outlines move from slice to slice"
        )

    def forget(self, node):
        """`node` will be removed from the scene: the selector must not go on to another one."""
        if self._ui.segmentationSelector.currentNode() is node:
            self._ui.segmentationSelector.setCurrentNode(None)

    def _onCarry(self, checked=False):
        node = self._ui.segmentationSelector.currentNode()
        try:
            with slicer.util.WaitCursor():
                made, rows = segmentations.carry(node, self._result(), self._say)
        except UserError as error:
            self._ui.statusLabel.text = _("Failed: {reason}").format(reason=error)
            slicer.util.errorDisplay(str(error))
            return
        self._show(rows)
        self._ui.statusLabel.text = _("Done: {volume}").format(volume=made.GetName())

    def _say(self, name):
        self._ui.statusLabel.text = _("Carrying {segment}").format(segment=name)
        self._ui.statusLabel.visible = True
        slicer.app.processEvents()

    def _show(self, rows):
        table = self._ui.segmentTable
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            texts = (row.name, f"{row.before:.2f}", f"{row.after:.2f}")
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                table.setItem(number, column, item)
        table.resizeColumnsToContents()
        table.visible = True
