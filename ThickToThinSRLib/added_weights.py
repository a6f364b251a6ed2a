"""Weights that a user added to those that come with the program, kept in a folder of the user's own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from .checkpoints import read_card
from .errors import UserError
from .files import check_free, replacing
from .methods import METHODS


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

    Raises
    ------
    UserError
        If the file is damaged, belongs to no method, or another one of its name was added before.
    """
    card, path = read_card(path), Path(path)
    known = {n for entry in METHODS.values() for n in (entry.network, *entry.untrained)}
    if card["network"] not in known:
        raise UserError(f"{path}: holds weights of {card['network']!r}, which no method here uses")
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: could not be made ({error.strerror})") from error
    kept = folder / path.name
    check_free(kept, overwrite, path)
    with replacing(kept, ".safetensors") as temporary:
        shutil.copyfile(path, temporary)
    return kept


def added_weights() -> list[tuple[Path, dict | UserError]]:
    """Files that were added, each with its card or with what is wrong with it."""
    found: list[tuple[Path, dict | UserError]] = []
    for path in sorted(user_folder().glob("*.safetensors")):
        try:
            found.append((path, read_card(path)))
        except UserError as error:
            found.append((path, error))
    return found
