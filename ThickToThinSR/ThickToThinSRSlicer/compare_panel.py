"""The section Compare of the panel: side by side, fade and flicker, difference, DICOM export."""

import qt
import slicer
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError

from . import compare_views, dicom_export, difference, expected_error
from .compare_layout import FADE, PLANES, SIDE_BY_SIDE, CompareLayout
from .node_volumes import inputOf, lastResult

_FLICKER_MILLISECONDS = 500


class ComparePanel:
    """The section Compare of the panel.

    :param ui: the panel's widgets by name.
    :param startDifference: startDifference(inputNode, resultNode, onFinished) makes the difference volume.
    """

    def __init__(self, ui, startDifference):
        self._ui, self._startDifference = ui, startDifference
        self._layout, self._crosshair = CompareLayout(), compare_views.Crosshair()
        self._link = self._interpolatedBefore = self._paused = None
        self._choosing = self._running = False
        self._flicker = qt.QTimer()
        self._flicker.connect("timeout()", self._onFlicker)
        for name in ("Input", "Result"):
            selector = getattr(ui, f"compare{name}Selector")
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self._onVolumeChanged)
        ui.sideBySideButton.connect("toggled(bool)", self._onSideBySide)
        ui.fadeButton.connect("toggled(bool)", self._onFade)
        ui.fadeSlider.connect("valueChanged(int)", self._onFadeChanged)
        ui.fadePlaneComboBox.connect("currentIndexChanged(int)", self._onVolumeChanged)
        ui.flickerCheckBox.connect("toggled(bool)", self._onFlickerToggled)
        ui.asTheyAreCheckBox.connect("toggled(bool)", self._onAsTheyAre)
        ui.errorCheckBox.connect("toggled(bool)", self._showMap)
        ui.differenceButton.connect("clicked(bool)", self._onDifference)
        ui.exportDicomButton.connect("clicked(bool)", self._onExportDicom)
        self.update(self._running)

    def setPair(self, inputNode, resultNode):
        """Choose the volumes to compare; a running comparison is built anew, though they may be the same."""
        self._choosing = True
        self._ui.compareInputSelector.setCurrentNode(inputNode)
        self._ui.compareResultSelector.setCurrentNode(resultNode)
        self._choosing = False
        self._onVolumeChanged()

    def suggest(self):
        """Choose the last result of the scene and its input, if nothing is chosen."""
        if self._input() is None and self._result() is None:
            result = lastResult()
            if result is not None and inputOf(result) is not None:
                self.setPair(inputOf(result), result)

    def forget(self, node):
        """`node` will be removed from the scene: its selector must not go on to another volume."""
        for selector in (self._ui.compareInputSelector, self._ui.compareResultSelector):
            if selector.currentNode() is node:
                selector.setCurrentNode(None)

    def showInUsersViews(self, node):
        """Show a new result in the views of the user's own layouts."""
        compare_views.showInUsersViews(node)
        self._showMap()

    def pause(self, *_):
        """Return to the user's layout while a scene is saved: it would open in the compare layout."""
        self._paused = next((button for button in self._buttons() if button.checked), None)
        self.leave()

    def resume(self, *_):
        """Go on with the comparison that :meth:`pause` ended."""
        if self._paused is not None and not self._compareObstacle():
            self._paused.setChecked(True)
        self._paused = None

    def update(self, running):
        """Enable the buttons that can work; the tooltips of the others say why they cannot."""
        ui, result, self._running = self._ui, self._result(), running
        reason = self._compareObstacle()
        for button, toolTip in (
            (ui.sideBySideButton, _("Three views of the input above three views of the result, linked")),
            (ui.fadeButton, _("Input and result in one view")),
        ):
            button.enabled = not reason
            button.toolTip = reason or toolTip
        there = expected_error.ofResult(result) is not None
        ui.errorCheckBox.enabled = there
        ui.errorCheckBox.toolTip = (
            _("In colors where it is more than twice the usual, in all views of the result")
            if there
            else _("This result has none: tick Expected error before you enhance")
        )
        fading = ui.fadeButton.checked
        for widget in (ui.fadeSlider, ui.flickerCheckBox, ui.fadePlaneComboBox):
            widget.enabled = fading
        reason = _("An enhancement is running") if running else difference.obstacle(self._input(), result)
        ui.differenceButton.enabled = not reason
        ui.differenceButton.toolTip = reason or _(
            "Make a new volume: the result minus the cubic interpolation of the input"
        )
        reason = dicom_export.obstacle(result)
        ui.exportDicomButton.enabled = not reason
        ui.exportDicomButton.toolTip = reason or _("Write the result as a derived CT series")

    def leave(self):
        """End the comparison: restore the user's layout, crosshair and interpolation."""
        for button in self._buttons():
            if button.checked:
                button.setChecked(False)
        self._end()

    def _buttons(self):
        return self._ui.sideBySideButton, self._ui.fadeButton

    def _input(self):
        return self._ui.compareInputSelector.currentNode()

    def _result(self):
        return self._ui.compareResultSelector.currentNode()

    def _compareObstacle(self):
        if self._input() is None or self._result() is None:
            return _("Choose an input and a result")
        if self._input() is self._result():
            return _("Choose two different volumes")
        return ""

    def _onVolumeChanged(self, *_):
        if self._choosing:
            return
        if self._compareObstacle():
            self.leave()
        elif self._ui.sideBySideButton.checked or self._ui.fadeButton.checked:
            self._show()
        self.update(self._running)

    def _onSideBySide(self, checked):
        if checked:
            self._ui.fadeButton.setChecked(False)
            self._show()
        elif not self._ui.fadeButton.checked:
            self._end()
        self.update(self._running)

    def _onFade(self, checked):
        if checked:
            self._ui.sideBySideButton.setChecked(False)
            self._show()
        else:
            self._ui.flickerCheckBox.setChecked(False)
            if not self._ui.sideBySideButton.checked:
                self._end()
        self.update(self._running)

    def _show(self):
        """Show the chosen volumes in the chosen layout."""
        self._unlink()
        inputNode, resultNode = self._input(), self._result()
        if not difference.isDifference(resultNode):
            self._link = compare_views.WindowLevelLink(inputNode, resultNode)
        if self._ui.fadeButton.checked:
            self._layout.show(FADE)
            compare_views.showFade(inputNode, resultNode, PLANES[self._ui.fadePlaneComboBox.currentIndex])
            self._onFadeChanged(self._ui.fadeSlider.value)
        else:
            self._layout.show(SIDE_BY_SIDE)
            compare_views.showSideBySide(inputNode, resultNode)
        self._showMap()
        self._crosshair.show()
        self._onAsTheyAre(self._ui.asTheyAreCheckBox.checked)

    def _showMap(self, *_):
        """Show or hide the map of the chosen result's expected error."""
        result = self._result()
        compare_views.showMap(
            result, expected_error.ofResult(result) if self._ui.errorCheckBox.checked else None
        )

    def _end(self):
        self._flicker.stop()
        self._unlink()
        self._layout.leave()
        self._crosshair.leave()

    def _unlink(self):
        if self._link is not None:
            self._link.end()
            self._link = None
        if self._interpolatedBefore is not None:
            display, interpolated = self._interpolatedBefore
            display.SetInterpolate(interpolated)
            self._interpolatedBefore = None

    def _onAsTheyAre(self, checked):
        """Show the thick slices of the input as blocks, or interpolated, as is Slicer's default."""
        display = self._input().GetDisplayNode() if self._input() is not None else None
        if display is None or not (self._ui.sideBySideButton.checked or self._ui.fadeButton.checked):
            return
        if self._interpolatedBefore is None:
            self._interpolatedBefore = (display, display.GetInterpolate())
        display.SetInterpolate(not checked)

    def _onFadeChanged(self, percent):
        if self._ui.fadeButton.checked:
            compare_views.setFade(percent / 100)

    def _onFlickerToggled(self, checked):
        if checked and self._ui.fadeButton.checked:
            self._flicker.start(_FLICKER_MILLISECONDS)
        else:
            self._flicker.stop()

    def _onFlicker(self):
        self._ui.fadeSlider.setValue(0 if self._ui.fadeSlider.value > 50 else 100)

    def _onDifference(self, checked=False):
        result = self._result()
        source = inputOf(result) or self._input()
        self._startDifference(source, result, self._onDifferenceMade)

    def _onDifferenceMade(self, node, error):
        if error is None:
            self._ui.compareResultSelector.setCurrentNode(node)

    def _onExportDicom(self, checked=False):
        folder = qt.QFileDialog.getExistingDirectory(None, _("Folder for the derived series"))
        if not folder:
            return
        try:
            with slicer.util.WaitCursor():
                target = dicom_export.export(self._result(), folder)
            self._ui.statusLabel.text = _("Written: {folder}").format(folder=target)
        except UserError as error:
            slicer.util.errorDisplay(str(error))
