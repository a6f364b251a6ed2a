"""Recognise SAINT's released weights, a plain state dict, by the names of its parts.

Unlike the checkpoints of TVSRN and CTH-Net these files hold no configuration: it follows from the shapes.
"""

from __future__ import annotations

import re
from typing import Any

import torch

from .inert_pickle import TensorNote

SAINT_CLASS = "MSR_RDN"  # of the network in the released code
_MARKS = {"SFENet1.weight", "GW.meta_block.0.weight", "RFN.SFENet1.weight"}
_WRAPPERS = re.compile(r"((module|model)\.)*")  # of DataParallel and of the released code's own class


def find_saint_state(root: Any) -> dict[str, TensorNote] | None:
    """The state dict of SAINT that `root` is, or that it contains under a key such as ``state_dict``.

    Parameters
    ----------
    root
        Plain data of a checkpoint, see :func:`~.inert_pickle.read_pickle`.

    Returns
    -------
    dict or None
        Tensors by their names in the released network; None if there is no such state dict.
    """
    pending, seen = [root], {id(root)}
    for candidate in pending:  # which grows; each dictionary is looked at once, though it may contain itself
        if type(candidate) is not dict:
            continue
        tensors = {
            _WRAPPERS.sub("", key, count=1): value
            for key, value in candidate.items()
            if type(key) is str and type(value) is TensorNote
        }
        if tensors.keys() >= _MARKS:
            return tensors
        for value in candidate.values():
            if type(value) is dict and id(value) not in seen:
                seen.add(id(value))
                pending.append(value)
    return None


def saint_arguments(state: dict[str, torch.Tensor]) -> dict[str, int]:
    """Sizes of the network, as arguments of its constructor, from a state dict under our names."""
    arguments = {"features": _channels(state["extractor.shallow.weight"])}
    for prefix, part in (("", "extractor"), ("fusion_", "fusion.0")):
        convs = [state[key] for key in state if re.fullmatch(rf"{part}\.blocks\.0\.convs\.\d+\.weight", key)]
        blocks = [key for key in state if re.fullmatch(rf"{part}\.blocks\.\d+\.gather\.weight", key)]
        arguments[f"{prefix}blocks"], arguments[f"{prefix}layers"] = len(blocks), len(convs)
        arguments[f"{prefix}growth"] = _channels(convs[0]) if convs else 0
    return arguments


def _channels(weight: torch.Tensor) -> int:
    """Output channels of a convolution; 0, which no network has, for a single number."""
    return weight.shape[0] if weight.dim() else 0
