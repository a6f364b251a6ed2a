"""Weights of the methods: which are there."""

import functools
import pathlib

from ThickToThinSRLib.enhance import DEFAULT_METHOD
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.registry import METHODS, methods_of
from ThickToThinSRLib.weights.added import added_for
from ThickToThinSRLib.weights.checkpoints import bundled_checkpoint, read_card

from .dependencies import torchInstalled


def needsNetwork(method, checkpoint=None):
    """Whether a network will run, which takes PyTorch."""
    if checkpoint is not None:
        return True
    entry = METHODS[method or DEFAULT_METHOD]
    return entry.network is not None or bool(entry.options)


_bundled = functools.cache(bundled_checkpoint)  # the files' checksums are verified, once is enough


def available(method):
    """The weights that a method takes where none were chosen: bundled or added; None if there are none.

    UserError if several were added.
    """
    network = METHODS[method or DEFAULT_METHOD].network
    return (_bundled(network) or added_for(network)) if network else None


def check(method, checkpoint):
    """UserError if the weights that a method needs are not there."""
    if checkpoint is not None:
        if not pathlib.Path(checkpoint).is_file():
            raise UserError(f"{checkpoint}: no such file")
    elif METHODS[method or DEFAULT_METHOD].network is not None and available(method) is None:
        raise UserError(f"Method {method} needs weights: choose a file (.safetensors)")


def state(method, checkpoint):
    """What a method still needs, for the panel: a few words."""
    entry = METHODS[method]
    if checkpoint is not None and not pathlib.Path(checkpoint).is_file():
        return "the weights file is not there"
    try:
        if checkpoint is None and entry.network is not None and available(method) is None:
            return "needs a weights file: Add weights..."
    except UserError as error:
        return str(error)
    if needsNetwork(method, checkpoint) and not torchInstalled():
        return "needs PyTorch, which is offered for installation at the first run"
    return "weights ready" if entry.network is not None or checkpoint else "ready, needs no weights"


def description(path):
    """Title, version and licence of a weights file, in a line."""
    card = read_card(path)
    return f"{card['title']} {card['version']}, licence {card['licence']}"


def methodOf(path):
    """The method that an added weights file belongs to."""
    return methods_of(read_card(path)["network"])[0]
