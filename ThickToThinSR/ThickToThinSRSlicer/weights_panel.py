"""The weights of the user: a file chosen for one method, and files added for good."""

import pathlib

import qt
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.weights.added import add_weights

from . import weights

_NONE = pathlib.Path()


class WeightsPanel:
    """The field Weights and the button Add weights.

    Slicer's connection of parameters does not go with the field: it shows no file as a dot, and does not see
    that the field was emptied.

    :param ui: the panel's widgets by name.
    :param parameters: parameters() returns the parameter node, or None.
    :param startImport: startImport(source, onFinished) converts and adds an authors' file.
    :param onAdded: called with (path, None) or (None, error).
    """

    def __init__(self, ui, parameters, startImport, onAdded):
        self._field, self._parameters = ui.checkpointWidget, parameters
        self._startImport, self._onAdded = startImport, onAdded
        self._shown, self._method = _NONE, None
        self._field.connect("currentPathChanged(QString)", self._onPathChanged)
        self._field.connect("validInputChanged(bool)", self._onValidChanged)
        ui.addWeightsButton.connect("clicked(bool)", self._onAdd)

    def update(self, parameters):
        """Show the chosen file; drop it when it does not go with another method."""
        method, before = parameters.method, self._method
        self._method = method
        if before not in (None, method) and not weights.fits(method, parameters.checkpoint):
            parameters.checkpoint = _NONE
        if parameters.checkpoint != self._shown:
            self._shown = parameters.checkpoint
            self._field.currentPath = "" if self._shown == _NONE else str(self._shown)

    def _onPathChanged(self, path):
        self._choose(pathlib.Path(path))

    def _onValidChanged(self, valid):
        if not valid:  # emptied, or not a name of a weights file
            self._choose(_NONE)

    def _choose(self, path):
        self._shown = path
        if self._parameters() is not None:
            self._parameters().checkpoint = path

    def _onAdd(self, checked=False):
        kinds = _("Weights") + " (*.safetensors *.pkl *.pth *.pt)"
        path = qt.QFileDialog.getOpenFileName(None, _("Add weights"), "", kinds)
        if path:
            self.add(path)

    def add(self, path):
        """Check, convert if necessary, and add a weights file."""
        path = pathlib.Path(path)
        try:
            if path.suffix == ".safetensors":
                self._onAdded(add_weights(path), None)
            else:
                self._startImport(path, self._onAdded)
        except (UserError, OSError) as error:
            self._onAdded(None, error)
