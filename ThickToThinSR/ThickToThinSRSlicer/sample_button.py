"""A first click that teaches: the sample is loaded, enhanced and compared with its result."""

from . import node_volumes, sample_data
from .dependencies import torchInstalled

# The method for those who have not installed PyTorch: nobody is asked anything at the first click.
_WITHOUT_TORCH = "consistent"


class SampleButton:
    """The button Load the sample; it is there while the scene holds no volume.

    :param ui: the panel's widgets by name.
    :param parameters: parameters() returns the parameter node, or None.
    :param enhance: enhance() starts a run with the choices of the panel.
    """

    def __init__(self, ui, parameters, enhance):
        self._button, self._parameters, self._enhance = ui.sampleButton, parameters, enhance
        self._sample = None
        self._button.connect("clicked(bool)", self._onClicked)

    def update(self, running):
        """Show the button where it is of use."""
        self._button.visible = not running and node_volumes.firstVolume() is None

    def isToBeCompared(self, inputNode):
        """Whether a result of `inputNode` ends the tour that the button began; asked once."""
        found, self._sample = inputNode is not None and inputNode is self._sample, None
        return found

    def _onClicked(self, checked=False):
        self._sample = sample_data.loadSample()
        parameters = self._parameters()
        parameters.inputVolume, parameters.outputVolume = self._sample, None
        if not torchInstalled():
            parameters.method = _WITHOUT_TORCH
        self._enhance()
