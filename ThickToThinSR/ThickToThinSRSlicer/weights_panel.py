"""Adds weights: a .safetensors file of this project, or a published file, which is converted."""

import pathlib

import qt

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.weights.added import add_weights


class WeightsPanel:
    """The button Add weights.

    :param ui: the panel's widgets by name.
    :param startImport: startImport(source, onFinished) converts and adds an authors' file.
    :param onAdded: called with (path, None) or (None, error).
    """

    def __init__(self, ui, startImport, onAdded):
        self._startImport, self._onAdded = startImport, onAdded
        ui.addWeightsButton.connect("clicked(bool)", self._onAdd)

    def _onAdd(self, checked=False):
        kinds = "Weights (*.safetensors *.pkl *.pth *.pt)"
        path = qt.QFileDialog.getOpenFileName(None, "Add weights", "", kinds)
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
