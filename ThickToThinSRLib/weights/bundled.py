"""The weights that come with the program."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import UserError
from .checkpoint import Weights


def resources_folder() -> Path:
    """The folder with bundled weights and samples.

    In a wheel it lies inside the package; in a checkout and in Slicer's install tree, beside the package.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / "Resources"
    return inside if inside.is_dir() else package.parent / "Resources"


def bundled_weights() -> list[Weights]:
    """All bundled weights, verified by their checksums.

    ``Resources/Models/index.json`` maps file names to SHA-256.

    Raises
    ------
    UserError
        If a file is missing or its checksum is wrong.
    """
    return [_verified(Weights.open(path), sha256) for path, sha256 in _index().items()]


def bundled_for(network: str) -> Weights | None:
    """The bundled weights of an architecture, verified (the first in the index); None if there are none.

    Only the checksum of this file is computed.

    Raises
    ------
    UserError
        See :func:`bundled_weights`.
    """
    for path, sha256 in _index().items():
        weights = Weights.open(path)
        if weights.network == network:
            return _verified(weights, sha256)
    return None


def is_bundled(weights: Weights) -> bool:
    """Whether the weights are a file that comes with the program."""
    return weights.path in _index()


def _index() -> dict[Path, str]:
    folder = resources_folder() / "Models"
    try:
        text = (folder / "index.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    files = {folder / name: sha256 for name, sha256 in (json.loads(text) if text.strip() else {}).items()}
    for path in files:
        if not path.is_file():
            raise UserError(f"{path}: missing; install the program again")
    return files


def _verified(weights: Weights, sha256: str) -> Weights:
    if weights.sha256 != sha256:
        raise UserError(
            f"{weights.path}: has a wrong checksum (changed or damaged); install the program again"
        )
    return weights
