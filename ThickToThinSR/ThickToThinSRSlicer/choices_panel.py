"""The upper part of the panel: shows input, method and expected result, and why the button is disabled."""

from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.settings import DEFAULT_METHOD, NOISES, OPTIONS
from ThickToThinSRLib.volume import through_plane_axis

from . import descriptions, method_texts, timings, weights
from .dependencies import cpuOnlyHint
from .method_list import MethodList
from .node_volumes import volumeFromNode
from .sequences import browserOf

# Widgets of the options that only some methods have; adapted weights are saved by the command line only.
_ADAPTATION_WIDGETS = {
    name: (f"{name}Label", f"{name}Widget")
    for name, option in OPTIONS.items()
    if option.group == "adaptation" and name != "save_weights"
}


def parameterWidgets(ui):
    """Widgets by the name of the parameter that Slicer connects to them."""
    named = ((widget.property("SlicerParameterName"), widget) for widget in vars(ui).values())
    return {name: widget for name, widget in named if name}


class ChoicesPanel:
    """Updates labels, visibility and the button when the user's choices change.

    :param ui: the panel's widgets by name.
    :param parameters: parameters() returns the parameter node, or None.
    """

    def __init__(self, ui, parameters):
        self._ui, self._parameters = ui, parameters
        self._methods = MethodList(ui.methodComboBox, self._onMethodChosen)

    def update(self, choices, allFrames, reason, running):
        """Show the effect of the choices.

        :param choices: arguments of the Logic.
        :param allFrames: whether all frames of a sequence are to be enhanced.
        :param reason: why the choices cannot work; empty if they can.
        :param running: whether a worker is running.
        """
        ui = self._ui
        self._methods.update(choices["method"])
        self._showMethod(choices["method"], choices["checkpoint"])
        ui.inputInfoLabel.text, ui.resultInfoLabel.text = self._describe(choices)
        for name in ("inputInfo", "resultInfo"):
            for part in ("Label", "Title"):
                getattr(ui, name + part).visible = bool(getattr(ui, f"{name}Label").text)
        sequence = choices["inputNode"] is not None and browserOf(choices["inputNode"]) is not None
        ui.allFramesCheckBox.visible = sequence
        ui.noiseSeedWidget.enabled = choices["noise"] != NOISES[0]
        ui.outputSelector.enabled = not (sequence and allFrames)
        ui.enhanceButton.enabled = not reason and not running
        wait = _("An enhancement is running; cancel it or wait for it.") if running else ""
        ui.enhanceButton.toolTip = wait or reason or _("Make the thin-slice volume")

    def _onMethodChosen(self, name):
        if self._parameters() is not None:
            self._parameters().method = name

    def _showMethod(self, method, checkpoint):
        ui, entry = self._ui, METHODS[method or DEFAULT_METHOD]
        line, state = method_texts.description(entry.name), weights.readiness(entry.name, checkpoint)
        ui.methodInfoLabel.text = f"{line} ({state})"
        ui.methodInfoLabel.toolTip = weights.descriptionFor(entry.name, checkpoint)
        network = weights.needsNetwork(entry.name, checkpoint)
        hint = cpuOnlyHint() if network else ""
        ui.deviceInfoLabel.text = hint
        for widget in (ui.deviceInfoLabel, ui.deviceInfoTitle):
            widget.visible = bool(hint)
        for name in ("checkpoint", "precision", "tiling", "consistency"):
            getattr(ui, f"{name}Widget").enabled = network
        ui.uncertaintyCheckBox.visible = "uncertainty" in entry.options
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
        size = descriptions.resultSize(volume, axis, choices["spacing"])[1]
        voxels = size // volume.voxels.dtype.itemsize
        duration = ""
        if not choices.get("minutes"):  # otherwise the duration depends on these minutes, not on the size
            duration = timings.expectation(choices["method"], choices["device"], voxels)
        return description, "; ".join(filter(None, [result, duration]))
