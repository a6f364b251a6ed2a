"""Checkpoints of the TVSRN and CTH-Net authors, converted without executing any code from them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..errors import UserError
from ..networks.registry import NETWORKS
from .authors_config import AUTHORS_NETWORKS, constructor_arguments, crop_side
from .authors_file import read_authors
from .checkpoint import Weights, check_finite_weights, check_fit, checksum, save_network


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
    arguments, tile = constructor_arguments(entry, config, str(source)), crop_side(config, str(source))
    if entry.name == "cthnet" and "conv_after_E.weight" in state:
        # The only size that is missing in the authors' configuration.
        arguments["channels"] = len(state["conv_after_E.weight"])
    try:
        weights = NETWORKS[entry.name].from_authors_state(state)
    except UserError as error:
        raise error.about(str(source)) from error
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    check_fit(shapes, entry.name, arguments, str(source))
    check_finite_weights(weights, str(source))
    card = {
        "title": entry.title,
        "version": "as published",
        "licence": "as stated by its authors; not known to this file",
        "origin": f"converted from {source.name}, sha256 {checksum(source)}",
        "data": "not known to this file",
        # Without paths of the computer on which it was trained.
        "recipe": {
            key: value for key, value in config.items() if value is not None and "path" not in str(key)
        },
        "limits": "not a medical device",
    }
    window = replace(NETWORKS[entry.name].window(**arguments), tile=tile)
    save_network(target, weights, entry.name, arguments, window, card)
    return Weights.open(target)
