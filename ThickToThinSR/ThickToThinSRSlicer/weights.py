"""The weights that methods use: availability and description."""

import pathlib

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
        return "the weights file does not exist"
    try:
        _, entry = choose_method(method if checkpoint is None else None, checkpoint)
    except UserError as error:
        if "add_weights" in error.options:
            return "needs a weights file: Add weights..."
        return descriptions.inPanelWords(error)
    if needsNetwork(method, checkpoint) and not torchInstalled():
        return "needs PyTorch; the first run offers to install it"
    return "weights ready" if entry is not None else "ready"


def description(path):
    """Title, version and licence of a weights file, in one line."""
    card = Weights.open(path).card
    return f"{card['title']} {card['version']}, licence {card['licence']}"


def descriptionFor(method, checkpoint):
    """Title, version and licence of the weights that a method would use; empty if it needs none."""
    try:
        _, entry = choose_method(method if checkpoint is None else None, checkpoint)
    except UserError as error:
        return descriptions.inPanelWords(error)
    return "" if entry is None else description(entry.path)


def methodOf(path):
    """The method that uses a weights file."""
    return methods_of(Weights.open(path).network)[0]
