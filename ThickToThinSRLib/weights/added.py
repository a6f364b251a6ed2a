"""Weights that the user added to those that come with the program; copies are kept in the user's folder.

The command line and the Slicer module use the same folder.
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
    """The folder of added weights: ``THICKTOTHIN_WEIGHTS``, else in the folder for application data."""
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
    """Check a weights file and add a copy of it to :func:`user_folder`.

    The name of the copy begins with the architecture, because every training calls its weights
    ``best.safetensors``.

    Parameters
    ----------
    path : Path
        A checkpoint of this project.
    overwrite : bool
        Whether to replace other weights with the same name.

    Returns
    -------
    Path
        The copy.

    Raises
    ------
    UserError
        If the file is damaged, no method uses it, or other weights have the same name.
    """
    network, path = Weights.open(path).network, Path(path)
    if network not in NETWORKS:
        raise UserError(f"{path}: holds weights of {network!r}, which no method uses")
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: could not be created ({error.strerror})") from error
    copy = folder / (path.name if path.name.startswith(network) else f"{network}-{path.name}")
    if copy.is_file() and filecmp.cmp(path, copy, shallow=False):
        return copy
    if copy.exists() and not overwrite:
        raise UserError(
            f"{copy}: other weights with this name were added before; rename {path.name} or give "
            "{overwrite}",
            "overwrite",
        )
    with replacing(copy, ".safetensors") as temporary:
        shutil.copyfile(path, temporary)
    return copy


def added_weights() -> list[Weights | UserError]:
    """The added weights, sorted by file name; for a damaged file, the error."""
    entries: list[Weights | UserError] = []
    for path in sorted(user_folder().glob("[!.]*.safetensors")):  # temporary files begin with a dot
        try:
            entries.append(Weights.open(path))
        except UserError as error:
            entries.append(error)
    return entries


def added_for(network: str) -> Weights | None:
    """The added weights of an architecture; None if there are none.

    Raises
    ------
    UserError
        If there are several: the user must choose the weights that are used for a patient.
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
