"""Renames the parameters in the state dicts of the TVSRN and CTH-Net authors."""

from __future__ import annotations

import re

import torch

from ..errors import UserError

# Buffers in the authors' checkpoints that are not weights: they follow from the architecture and the crop
# size.
_DERIVED = re.compile(r"(^|\.)(attn_mask|relative_position_index|x_patch_mask|positions_z)$")

Names = list[tuple[str, str]]


def swin_block_names(theirs: str, ours: str) -> Names:
    """Patterns for the Swin blocks ``theirs.<i>``, renamed to ``ours.blocks.<i>``.

    Parameters
    ----------
    theirs : str
        Regular expression for the authors' module.
    ours : str
        Replacement; may refer to named groups of `theirs`.
    """
    parts = {
        "norm1": "attention_norm",
        r"attn\.qkv": "attention.qkv",
        r"attn\.proj": "attention.projection",
        "norm2": "mlp_norm",
        r"mlp\.fc1": "mlp_in",
        r"mlp\.fc2": "mlp_out",
    }
    ours = f"{ours}.blocks"
    names = [
        (rf"{theirs}\.(?P<block>\d+)\.{part}\.(?P<kind>weight|bias)", rf"{ours}.\g<block>.{name}.\g<kind>")
        for part, name in parts.items()
    ]
    table = (
        rf"{theirs}\.(?P<block>\d+)\.attn\.relative_position_bias_table",
        rf"{ours}.\g<block>.attention.position_bias",
    )
    return [*names, table]


def swin_stack_names(theirs: str, ours: str) -> Names:
    """Patterns for a two-dimensional transformer with its norms, groups and convolutions; as above."""
    group = rf"{theirs}\.layers\.(?P<group>\d+)"
    return [
        (rf"{theirs}\.patch_embed\.norm\.(weight|bias)", rf"{ours}.norm_in.\1"),
        (rf"{theirs}\.norm\.(weight|bias)", rf"{ours}.norm_out.\1"),
        (rf"{group}\.conv\.(?P<kind>weight|bias)", rf"{ours}.groups.\g<group>.conv.\g<kind>"),
        *swin_block_names(rf"{group}\.residual_group\.blocks", rf"{ours}.groups.\g<group>"),
    ]


def renamed(state: dict[str, torch.Tensor], names: Names, linear: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """The state dict under this project's names, without derived buffers.

    Parameters
    ----------
    state : dict
        The authors' state dict.
    names : list of (pattern, replacement)
        Regular expression for a whole name of the authors, and its replacement.
    linear : tuple of str
        New names of weights that are 1 x 1 convolutions in the authors' code and linear layers here.

    Raises
    ------
    UserError
        If a name does not belong to the network.
    """
    result = {}
    for theirs, tensor in state.items():
        if _DERIVED.search(theirs):
            continue
        for pattern, replacement in names:
            if match := re.fullmatch(pattern, theirs):
                ours = match.expand(replacement)
                result[ours] = tensor.flatten(1) if ours in linear else tensor
                break
        else:
            raise UserError(f"the checkpoint contains {theirs!r}, which does not belong to this network")
    return result
