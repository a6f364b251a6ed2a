"""Checkpoints of the TVSRN, CTH-Net and SAINT authors, converted without executing any code from them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..networks.registry import NETWORKS, WindowSpec
from .authors_config import AUTHORS_NETWORKS, AuthorsNetwork, constructor_arguments, crop_side
from .authors_file import read_authors
from .checkpoint import Weights, check_finite_weights, check_fit, checksum, save_network
from .saint_state import saint_arguments

if TYPE_CHECKING:
    import torch

AS_PUBLISHED = "as published"  # version in the card of imported weights


def import_authors(source: str | os.PathLike, target: str | os.PathLike, overwrite: bool = False) -> Weights:
    """Convert an authors' checkpoint; its ``config_dict`` gives architecture, depth, factor and crop.

    Parameters
    ----------
    source : path
        The authors' file, ``.pkl``.
    target : path
        The checkpoint to write, ``.safetensors``.
    overwrite : bool
        Whether an existing target is replaced.

    Returns
    -------
    Weights
        The new checkpoint.

    A state dict of SAINT has none. Its sizes come from the shapes; factor and depth, which its weights do not
    depend on, are the constructor's defaults.

    Raises
    ------
    UserError
        If `source` is not such a checkpoint or is damaged, or if `target` exists and `overwrite` is False.
    """
    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors":
        raise UserError(f"{target}: the name of a weights file must end in .safetensors")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: already exists; choose another name or give {{overwrite}}", "overwrite")
    state, config, class_name = read_authors(source)
    if class_name not in AUTHORS_NETWORKS:
        raise UserError(
            f"{source}: the network's class is {class_name!r}; supported: {', '.join(AUTHORS_NETWORKS)}"
        )
    entry = AUTHORS_NETWORKS[class_name]
    weights, arguments, window = _converted(entry, state, config, str(source))
    card = {
        "title": entry.title,
        "version": AS_PUBLISHED,
        "licence": "as stated by its authors; not known to this file",
        "origin": f"converted from {source.name}, sha256 {checksum(source)}",
        "data": "not known to this file",
        # Without paths of the computer on which it was trained.
        "recipe": {
            key: value for key, value in config.items() if value is not None and "path" not in str(key)
        },
        "limits": entry.limits,
    }
    save_network(target, weights, entry.name, arguments, window, card)
    return Weights.open(target)


def _converted(
    entry: AuthorsNetwork, state: dict[str, torch.Tensor], config: dict[str, Any], label: str
) -> tuple[dict[str, torch.Tensor], dict[str, Any], WindowSpec]:
    """Weights under our names, arguments of the constructor, and windows; checked."""
    network = NETWORKS[entry.name]
    configured = entry.name != "saint"
    arguments = constructor_arguments(entry, config, label) if configured else {}
    tile = {"tile": crop_side(config, label)} if configured else {}
    if entry.name == "cthnet" and "conv_after_E.weight" in state:
        # The one size that their configuration does not hold.
        arguments["channels"] = len(state["conv_after_E.weight"])
    try:
        weights = network.from_authors_state(state)
    except UserError as error:
        raise error.about(label) from error
    if not configured:
        arguments = saint_arguments(weights)
    check_fit({key: tuple(value.shape) for key, value in weights.items()}, entry.name, arguments, label)
    check_finite_weights(weights, label)
    return weights, arguments, replace(network.window(**arguments), **tile)
