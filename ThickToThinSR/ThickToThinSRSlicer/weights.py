"""The weights that methods use: availability and description."""

import pathlib

from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.choices import choose_method
from ThickToThinSRLib.methods.registry import METHODS, methods_of
from ThickToThinSRLib.settings import DEFAULT_METHOD
from ThickToThinSRLib.weights.checkpoint import Weights

from . import descriptions
from .dependencies import torchInstalled


def needsNetwork(method, checkpoint=None):
    """Whether the method runs a network, and so needs PyTorch."""
    return checkpoint is not None or METHODS[method or DEFAULT_METHOD].learns


def readiness(method, checkpoint):
    """What a method still needs, in a few words for the panel."""
    if checkpoint is not None and not pathlib.Path(checkpoint).is_file():
        return _("the weights file does not exist")
    try:
        entry = choose_method(method, checkpoint)[1]
    except UserError as error:
        if "add_weights" in error.options:
            return _("needs a weights file: Add weights...")
        return descriptions.inPanelWords(error)
    if needsNetwork(method, checkpoint) and not torchInstalled():
        return _("needs PyTorch; the first run offers to install it")
    return _("weights ready") if entry is not None else _("ready")


def description(path):
    """Title, version and licence of a weights file, in one line."""
    card = Weights.open(path).card
    text = _("{title} {version}, licence {licence}")
    return text.format(title=card["title"], version=card["version"], licence=card["licence"])


def descriptionFor(method, checkpoint):
    """Title, version and licence of the weights that a method would use; empty if it needs none."""
    try:
        entry = choose_method(method, checkpoint)[1]
    except UserError as error:
        return descriptions.inPanelWords(error)
    return "" if entry is None else description(entry.path)


def fits(method, checkpoint):
    """Whether a chosen weights file may stay when the user turns to `method`: also if it needs none."""
    if not METHODS[method].learns or checkpoint == pathlib.Path():
        return True
    try:
        return method in methods_of(Weights.open(checkpoint).network)
    except UserError:
        return False


def methodOf(path):
    """The method that uses a weights file."""
    return methods_of(Weights.open(path).network)[0]
