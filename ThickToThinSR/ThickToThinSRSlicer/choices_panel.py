"""The upper half of the panel: says what was understood, what will result, and why a click cannot work."""

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.settings import DEFAULT_METHOD, OPTIONS
from ThickToThinSRLib.volume import through_plane_axis

from . import descriptions, timings, weights
from .dependencies import cpuOnlyHint
from .node_volumes import volumeFromNode
from .sequences import browserOf

# Widgets of the options that only some methods take; saving adapted weights is left to the command line.
_ADAPTATION_WIDGETS = {
    name: (f"{name}Label", f"{name}Widget")
    for name, option in OPTIONS.items()
    if option.group == "adaptation" and name != "save_weights"
}


class ChoicesPanel:
    """Labels and visibility that follow the choices.

    :param ui: the panel's widgets by name.
    """

    def __init__(self, ui):
        self._ui = ui

    def update(self, choices, allFrames, reason, running):
        """Show what `choices` (arguments of the Logic) mean; `reason` is why they cannot work, or empty."""
        ui = self._ui
        self._showMethod(choices["method"], choices["checkpoint"])
        described, result = self._describe(choices)
        _say(ui.inputInfoLabel, described)
        _say(ui.resultInfoLabel, result)
        sequence = choices["inputNode"] is not None and browserOf(choices["inputNode"]) is not None
        ui.allFramesCheckBox.visible = sequence
        ui.outputSelector.enabled = not (sequence and allFrames)
        ui.enhanceButton.enabled = not reason and not running
        running = "An enhancement is running; cancel it or wait for it." if running else ""
        ui.enhanceButton.toolTip = running or reason or "Make the thin-slice volume"

    def _showMethod(self, method, checkpoint):
        ui, entry = self._ui, METHODS[method or DEFAULT_METHOD]
        _say(ui.methodInfoLabel, f"{entry.description} ({weights.state(entry.name, checkpoint)})")
        ui.methodInfoLabel.toolTip = weights.descriptionFor(entry.name, checkpoint)
        hint = cpuOnlyHint() if weights.needsNetwork(entry.name, checkpoint) else ""
        ui.deviceInfoLabel.text = hint
        ui.deviceInfoLabel.visible = bool(hint)
        network = weights.needsNetwork(entry.name, checkpoint)
        for name in ("checkpoint", "precision", "tiling", "consistency"):
            getattr(ui, f"{name}Widget").enabled = network
        ui.addWeightsButton.enabled = True
        for name, widgets in _ADAPTATION_WIDGETS.items():
            for widget in widgets:
                getattr(ui, widget).visible = name in entry.options

    @staticmethod
    def _describe(choices):
        """What was understood of the input, and what will result and when; empty where nothing can."""
        if choices["inputNode"] is None:
            return "", ""
        try:
            volume = volumeFromNode(choices["inputNode"])
        except UserError as error:
            return str(error), ""
        axis = through_plane_axis(volume)
        described = descriptions.ofInput(volume, axis, choices["thickness"])
        if choices["spacing"] > volume.spacing[axis]:
            return described, ""
        result = descriptions.ofResult(volume, axis, choices["spacing"])
        _, size = descriptions.resultSize(volume, axis, choices["spacing"])
        voxels = size // volume.voxels.dtype.itemsize
        seconds = timings.expected(choices["method"], choices["device"], voxels)
        if choices.get("minutes"):
            seconds = None  # the budget decides, not the size
        if seconds is not None:
            result += f"; about {descriptions.ofSeconds(seconds)}, as in the last run"
        return described, result


def _say(label, text):
    """Show a text of several lines; Qt's forms leave no room for them in a low panel by themselves."""
    label.text = text
    label.setMinimumHeight(0)  # what was asked for before would count as needed
    label.setMinimumHeight(label.heightForWidth(max(label.width, 150)))
