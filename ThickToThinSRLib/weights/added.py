"""Weights that a user added to those that come with the program, copy in a folder of the user's own.

The command line and the Slicer module share it.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import sys
from pathlib import Path

from ..errors import UserError
from ..io.replacing import replacing
from ..networks.registry import NETWORKS
from .checkpoint import Weights


def user_folder() -> Path:
    """Where added weights are copy: ``THICKTOTHIN_WEIGHTS``, or the platform's place for a program's data."""
    if "THICKTOTHIN_WEIGHTS" in os.environ:
        return Path(os.environ["THICKTOTHIN_WEIGHTS"])
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA", Path.home()))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "ThickToThinSR"


def add_weights(path: Path, overwrite: bool = False) -> Path:
    """Check a weights file and keep a copy of it; returns the copy.

    The copy's name begins with the architecture: every training calls its weights ``best.safetensors``.

    Raises
    ------
    UserError
        If the file is damaged, belongs to no method, or another one of its name was added before.
    """
    network, path = Weights.open(path).network, Path(path)
    if network not in NETWORKS:
        raise UserError(f"{path}: holds weights of {network!r}, which no method here uses")
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: could not be made ({error.strerror})") from error
    copy = folder / (path.name if path.name.startswith(network) else f"{network}-{path.name}")
    if copy.is_file() and filecmp.cmp(path, copy, shallow=False):
        return copy
    if copy.exists() and not overwrite:
        raise UserError(
            f"{copy}: other weights of this name were added before; rename {path.name} or add {{overwrite}}",
            "overwrite",
        )
    with replacing(copy, ".safetensors") as temporary:
        shutil.copyfile(path, temporary)
    return copy


def added_weights() -> list[Weights | UserError]:
    """The files that were added, in the order of their names; for a damaged one, what is wrong with it."""
    entries: list[Weights | UserError] = []
    for path in sorted(user_folder().glob("[!.]*.safetensors")):  # not half-written ones
        try:
            entries.append(Weights.open(path))
        except UserError as error:
            entries.append(error)
    return entries


def added_for(network: str) -> Weights | None:
    """The weights that were added for an architecture; None if there are none.

    Raises
    ------
    UserError
        If there are several: which one makes a patient's images is not to be guessed.
    """
    matching = [w for w in added_weights() if isinstance(w, Weights) and w.network == network]
    if len(matching) > 1:
        names = ", ".join(str(weights.path) for weights in matching)
        raise UserError(
            f"{len(matching)} weights files of {network} were added: choose one ({{checkpoint}}), or delete "
            f"the others: {names}",
            "checkpoint",
        )
    return matching[0] if matching else None
