"""Weights of the methods: which are there."""

import pathlib

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.choices import choose_method
from ThickToThinSRLib.methods.registry import METHODS, methods_of
from ThickToThinSRLib.settings import DEFAULT_METHOD
from ThickToThinSRLib.weights.checkpoint import Weights

from . import descriptions
from .dependencies import torchInstalled


def needsNetwork(method, checkpoint=None):
    """Whether a network will run, which takes PyTorch."""
    return checkpoint is not None or METHODS[method or DEFAULT_METHOD].learns


def state(method, checkpoint):
    """What a method still needs, for the panel: a few words."""
    if checkpoint is not None and not pathlib.Path(checkpoint).is_file():
        return "the weights file is not there"
    try:
        _, chosen = choose_method(method if checkpoint is None else None, checkpoint)
    except UserError as error:
        if "add_weights" in error.options:
            return "needs a weights file: Add weights..."
        return descriptions.inPanelWords(error)
    if needsNetwork(method, checkpoint) and not torchInstalled():
        return "needs PyTorch, which is offered for installation at the first run"
    return "weights ready" if chosen is not None else "ready, needs no weights"


def description(path):
    """Title, version and licence of a weights file, in a line."""
    card = Weights.open(path).card
    return f"{card['title']} {card['version']}, licence {card['licence']}"


def descriptionFor(method, checkpoint):
    """The same for the weights that a method would use; empty if it needs none."""
    try:
        _, chosen = choose_method(method if checkpoint is None else None, checkpoint)
    except UserError as error:
        return descriptions.inPanelWords(error)
    return "" if chosen is None else description(chosen.path)


def methodOf(path):
    """The method that uses a weights file."""
    return methods_of(Weights.open(path).network)[0]
