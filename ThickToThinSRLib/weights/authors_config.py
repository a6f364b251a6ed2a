"""Translates the ``config_dict`` of the authors' checkpoints to constructor arguments of the networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from .saint_state import SAINT_CLASS

_MAX_ARGUMENT = 4096


@dataclass(frozen=True)
class AuthorsNetwork:
    """Translation of one of the authors' network classes.

    Attributes
    ----------
    name : str
        Name of the architecture in the registry.
    title : str
        Title in the model card.
    arguments : dict
        The authors' option to the constructor argument here. Options for the same argument must agree.
    fixed : dict
        Options that would change the architecture, with the only supported value.
    limits : str
        For the model card.
    """

    name: str
    title: str
    arguments: dict[str, str]
    fixed: dict[str, Any]
    limits: str = "not a medical device"


_DECODERS = {
    "TD_n": "heads",
    "TD_Tw": "through_plane_window",
    "TD_Tl": "through_plane_groups",
    "TD_Td": "decoder_blocks",
    "TD_Iw": "window",
    "TD_Il": "in_plane_groups",
    "TD_Id": "decoder_blocks",
}
AUTHORS_NETWORKS = {
    "TVSRN": AuthorsNetwork(
        "tvsrn",
        "TVSRN",
        {"ratio": "factor", "c_z": "depth", "TE_c": "channels", "TE_d": "encoder_blocks"}
        | {"TE_n": "heads", "TE_w": "window", "T_mlp": "mlp_ratio"}
        | _DECODERS,
        {"TE_l": 1, "TE_p": 8, "TD_p": 8, "TD_s": 1, "T_pos": True},
    ),
    "TVSRN3d_v1": AuthorsNetwork(
        "cthnet",
        "CTH-Net",
        {"ratio": "factor", "c_z": "depth", "T3dE_c": "features", "T3dE_d": "encoder_blocks"}
        | {"T3dE_n": "heads", "T3dE_w": "encoder_window", "T3d_mlp": "mlp_ratio"}
        | {"T_mask": "mask_shifted_windows"}
        | _DECODERS,
        {"T3dE_l": 1, "TD_p": 8, "TD_s": 1, "T_pos": True, "T_rc": "1conv"},
    ),
    # A plain state dict without options: the sizes follow from the shapes.
    SAINT_CLASS: AuthorsNetwork(
        "saint",
        "SAINT",
        {},
        {},
        "the released code trains factors 4 and 6, on slices that were left out, not averaged; "
        "not a medical device",
    ),
}


def constructor_arguments(network: AuthorsNetwork, config: dict[str, Any], label: str) -> dict[str, Any]:
    """Constructor arguments for a ``config_dict``; options it does not mention keep their released default.

    Parameters
    ----------
    label : str
        Name of the checkpoint in error messages.

    Raises
    ------
    UserError
        If the factor or the depth is missing, or an option has an unsupported value.
    """
    for key in ("ratio", "c_z"):
        if key not in config:
            raise UserError(f"{label}: its config_dict lacks {key!r}, which is required")
    for key, only in network.fixed.items():
        if config.get(key, only) != only:
            raise UserError(f"{label}: its option {key} = {config[key]!r} is not supported (only {only!r})")
    arguments: dict[str, Any] = {}
    for key, argument in network.arguments.items():
        if key in config:
            value = _checked_option(config[key], key, label)
            if arguments.setdefault(argument, value) != value:
                raise UserError(
                    f"{label}: its option {key} = {value} differs from {arguments[argument]} in "
                    "another part of the network, which is not supported"
                )
    return arguments


def crop_side(config: dict[str, Any], label: str) -> int:
    """In-plane side of the training crops in pixels; the released test loop uses tiles of this size.

    Raises
    ------
    UserError
        If the crops are not square, or not a multiple of 8 pixels.
    """
    sides = [_checked_option(config.get(key), key, label) for key in ("c_y", "c_x")]
    if sides[0] != sides[1]:
        raise UserError(
            f"{label}: trained on crops of {sides[0]} x {sides[1]}; only square ones are supported"
        )
    if sides[0] % 8:
        raise UserError(f"{label}: trained on crops of {sides[0]} pixels, which is not a multiple of 8")
    return sides[0]


def _checked_option(value: Any, key: str, label: str) -> int | bool:
    """Integer or switch of an option, checked; a list of equal numbers (one for each axis) counts as one."""
    if isinstance(value, list) and value and all(part == value[0] for part in value):
        value = value[0]
    if isinstance(value, bool) and key == "T_mask":
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= _MAX_ARGUMENT:
        raise UserError(f"{label}: its option {key} = {value!r} is missing or out of range")
    if value != int(value):
        raise UserError(f"{label}: its option {key} = {value!r} is not a whole number")
    return int(value)
