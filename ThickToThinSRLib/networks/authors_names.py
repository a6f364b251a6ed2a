"""From the names in the authors' state dicts to ours."""

from __future__ import annotations

import re

import torch

from ..errors import UserError

# Parts of their checkpoints that are no weights: they follow from the architecture and the crop.
_DERIVED = re.compile(r"(^|\.)(attn_mask|relative_position_index|x_patch_mask|positions_z)$")

Names = list[tuple[str, str]]


def swin_block_names(theirs: str, ours: str) -> Names:
    """Patterns for the blocks ``theirs.<i>``; `ours` may name groups of the expression `theirs`."""
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
    """Patterns for a two-dimensional transformer with its norms, groups and convolutions."""
    group = rf"{theirs}\.layers\.(?P<group>\d+)"
    return [
        (rf"{theirs}\.patch_embed\.norm\.(weight|bias)", rf"{ours}.norm_in.\1"),
        (rf"{theirs}\.norm\.(weight|bias)", rf"{ours}.norm_out.\1"),
        (rf"{group}\.conv\.(?P<kind>weight|bias)", rf"{ours}.groups.\g<group>.conv.\g<kind>"),
        *swin_block_names(rf"{group}\.residual_group\.blocks", rf"{ours}.groups.\g<group>"),
    ]


def renamed(state: dict[str, torch.Tensor], names: Names, linear: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """`state` under our names, derived buffers left out.

    Parameters
    ----------
    names
        Pairs of a regular expression for their whole name and its replacement.
    linear
        Our names of weights that are 1 x 1 convolutions there and matrices here.

    Raises
    ------
    UserError
        For a name that belongs to no part of the network.
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
            raise UserError(f"the checkpoint has a part {theirs!r} that this network does not know")
    return result
