"""Weights that a user added to those that come with the program, kept in a folder of the user's own.

The command line and the Slicer module share it.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import sys
from pathlib import Path

from ..errors import UserError
from ..io.volume_files import replacing
from ..methods.registry import methods_of
from .checkpoints import read_card


def user_folder() -> Path:
    """Where added weights are kept: ``THICKTOTHIN_WEIGHTS``, or the platform's place for a program's data."""
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
    network, path = read_card(path)["network"], Path(path)
    if not methods_of(network):
        raise UserError(f"{path}: holds weights of {network!r}, which no method here uses")
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: could not be made ({error.strerror})") from error
    kept = folder / (path.name if path.name.startswith(network) else f"{network}-{path.name}")
    if kept.is_file() and filecmp.cmp(path, kept, shallow=False):
        return kept
    if kept.exists() and not overwrite:
        raise UserError(
            f"{kept}: other weights of this name were added before; rename {path.name} (or --overwrite)"
        )
    with replacing(kept, ".safetensors") as temporary:
        shutil.copyfile(path, temporary)
    return kept


def added_weights() -> list[tuple[Path, dict | UserError]]:
    """Files that were added, each with its card or with what is wrong with it."""
    found: list[tuple[Path, dict | UserError]] = []
    for path in sorted(user_folder().glob("[!.]*.safetensors")):  # not half-written ones
        try:
            found.append((path, read_card(path)))
        except UserError as error:
            found.append((path, error))
    return found


def added_for(network: str) -> Path | None:
    """The file that was added for an architecture; None if there is none.

    Raises
    ------
    UserError
        If there are several: which one makes a patient's images is not to be guessed.
    """
    cards = added_weights()
    found = [path for path, card in cards if isinstance(card, dict) and card["network"] == network]
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise UserError(
            f"{len(found)} weights files of {network} were added: choose one (--checkpoint), or delete the "
            f"others: {names}"
        )
    return found[0] if found else None
