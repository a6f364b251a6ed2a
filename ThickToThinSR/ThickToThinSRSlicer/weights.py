"""Weights of the methods: which are there, and adding a file of one's own."""

import functools
import pathlib
import shutil

import slicer

from ThickToThinSRLib.checkpoints import bundled_checkpoint, read_card
from ThickToThinSRLib.enhance import DEFAULT_METHOD
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods import METHODS

from .dependencies import torchInstalled


def needsNetwork(method, checkpoint=None):
    """Whether a network will run, which takes PyTorch."""
    if checkpoint is not None:
        return True
    entry = METHODS[method or DEFAULT_METHOD]
    return entry.network is not None or bool(entry.options)


@functools.cache  # the files' checksums are verified, once is enough
def bundled(method):
    """The weights of a method that come with the extension, or None."""
    network = METHODS[method or DEFAULT_METHOD].network
    return bundled_checkpoint(network) if network else None


def check(method, checkpoint):
    """UserError if the weights that a method needs are not there."""
    if checkpoint is not None:
        if not pathlib.Path(checkpoint).is_file():
            raise UserError(f"{checkpoint}: no such file")
    elif METHODS[method or DEFAULT_METHOD].network is not None and bundled(method) is None:
        raise UserError(f"Method {method} needs weights: choose a file (.safetensors)")


def state(method, checkpoint):
    """What a method still needs, for the panel: a few words."""
    entry = METHODS[method]
    if checkpoint is not None and not pathlib.Path(checkpoint).is_file():
        return "the weights file is not there"
    if checkpoint is None and entry.network is not None and bundled(method) is None:
        return "needs a weights file: Add weights..."
    if needsNetwork(method, checkpoint) and not torchInstalled():
        return "needs PyTorch, which is offered for installation at the first run"
    return "weights ready" if entry.network is not None or checkpoint else "ready, needs no weights"


def description(path):
    """Title, version and licence of a weights file, in a line."""
    card = read_card(path)
    return f"{card['title']} {card['version']}, licence {card['licence']}"


def userFolder():
    """Where added weights are kept: beside Slicer's user settings."""
    return pathlib.Path(slicer.app.slicerUserSettingsFilePath).parent / "ThickToThinSR"


def methodOf(path):
    """The method that a weights file belongs to; UserError if it is none of ours."""
    network = read_card(path)["network"]
    for name, entry in METHODS.items():
        if network in {entry.network, *entry.untrained}:
            return name
    raise UserError(f"{path}: holds weights of {network!r}, which no method here uses")


def keep(path):
    """Copy a checked weights file to where it survives; returns the copy."""
    path = pathlib.Path(path)
    methodOf(path)
    kept = userFolder() / path.name
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        if not (kept.exists() and kept.samefile(path)):
            shutil.copyfile(path, kept)
    except OSError as error:
        raise UserError(f"{kept}: could not be written ({error.strerror})") from error
    return kept
