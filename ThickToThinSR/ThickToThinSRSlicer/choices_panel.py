"""The upper part of the panel: shows input, method and expected result, and why the button is disabled."""

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.settings import DEFAULT_METHOD, OPTIONS
from ThickToThinSRLib.volume import through_plane_axis

from . import descriptions, timings, weights
from .dependencies import cpuOnlyHint
from .node_volumes import volumeFromNode
from .sequences import browserOf

# Widgets of the options that only some methods have; adapted weights are saved by the command line only.
_ADAPTATION_WIDGETS = {
    name: (f"{name}Label", f"{name}Widget")
    for name, option in OPTIONS.items()
    if option.methods is not None and name != "save_weights"
}


class ChoicesPanel:
    """Updates labels, visibility and the button when the user's choices change.

    :param ui: the panel's widgets by name.
    """

    def __init__(self, ui):
        self._ui = ui

    def update(self, choices, allFrames, reason, running):
        """Show the effect of the choices.

        :param choices: arguments of the Logic.
        :param allFrames: whether all frames of a sequence are to be enhanced.
        :param reason: why the choices cannot work; empty if they can.
        :param running: whether a worker is running.
        """
        ui = self._ui
        self._showMethod(choices["method"], choices["checkpoint"])
        ui.inputInfoLabel.text, ui.resultInfoLabel.text = self._describe(choices)
        sequence = choices["inputNode"] is not None and browserOf(choices["inputNode"]) is not None
        ui.allFramesCheckBox.visible = sequence
        ui.outputSelector.enabled = not (sequence and allFrames)
        ui.enhanceButton.enabled = not reason and not running
        wait = "An enhancement is running; cancel it or wait for it." if running else ""
        ui.enhanceButton.toolTip = wait or reason or "Make the thin-slice volume"

    def _showMethod(self, method, checkpoint):
        ui, entry = self._ui, METHODS[method or DEFAULT_METHOD]
        ui.methodInfoLabel.text = f"{entry.description} ({weights.readiness(entry.name, checkpoint)})"
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
        """Texts about the input and about the expected result; empty if unknown."""
        if choices["inputNode"] is None:
            return "", ""
        try:
            volume = volumeFromNode(choices["inputNode"])
        except UserError as error:
            return str(error), ""
        axis = through_plane_axis(volume)
        description = descriptions.ofInput(volume, axis, choices["thickness"])
        if choices["spacing"] > volume.spacing[axis]:
            return description, ""
        result = descriptions.ofResult(volume, axis, choices["spacing"])
        _, size = descriptions.resultSize(volume, axis, choices["spacing"])
        voxels = size // volume.voxels.dtype.itemsize
        seconds = timings.expected(choices["method"], choices["device"], voxels)
        if choices.get("minutes"):
            seconds = None  # the duration depends on these minutes, not on the size
        if seconds is not None:
            result += f"; about {descriptions.ofSeconds(seconds)}, as in the last run"
        return description, result
