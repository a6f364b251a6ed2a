"""From the ``config_dict`` of the authors' checkpoints to the arguments of our networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from .saint_state import SAINT_CLASS

_MAX_ARGUMENT = 4096


@dataclass(frozen=True)
class AuthorsNetwork:
    """How one of the authors' classes is called and configured here.

    name: architecture in the registry. title: for the model card.
    arguments: their option to our constructor argument; options that give the same argument must agree.
    fixed: options that change the architecture, with the only value that is built here.
    limits: for the model card.
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
    """Arguments of our constructor; what ``config_dict`` does not mention is left to its released default.

    Raises
    ------
    UserError
        If factor or depth are missing, or an option has a value that is not built here.
    """
    for key in ("ratio", "c_z"):
        if key not in config:
            raise UserError(f"{label}: its config_dict lacks {key!r}, without which it cannot be used")
    for key, only in network.fixed.items():
        if config.get(key, only) != only:
            raise UserError(f"{label}: its option {key} = {config[key]!r} is not supported (only {only!r})")
    arguments: dict[str, Any] = {}
    for key, argument in network.arguments.items():
        if key in config:
            value = _sound(config[key], key, label)
            if arguments.setdefault(argument, value) != value:
                raise UserError(
                    f"{label}: its option {key} = {value} differs from {arguments[argument]} of "
                    "another part, which is not supported"
                )
    return arguments


def crop_side(config: dict[str, Any], label: str) -> int:
    """In-plane side of the training crop in pixels; the released test loop has tiles of this size."""
    sides = [_sound(config.get(key), key, label) for key in ("c_y", "c_x")]
    if sides[0] != sides[1]:
        raise UserError(
            f"{label}: trained on crops of {sides[0]} x {sides[1]}; only square ones are supported"
        )
    if sides[0] % 8:
        raise UserError(f"{label}: trained on crops of {sides[0]} pixels, which is no multiple of 8")
    return sides[0]


def _sound(value: Any, key: str, label: str) -> int | bool:
    """The whole number or the switch that an option holds; equal numbers for three axes count as one."""
    if isinstance(value, list) and value and all(part == value[0] for part in value):
        value = value[0]
    if isinstance(value, bool) and key == "T_mask":
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= _MAX_ARGUMENT:
        raise UserError(f"{label}: its option {key} = {value!r} is missing or impossible")
    if value != int(value):
        raise UserError(f"{label}: its option {key} = {value!r} is not a whole number")
    return int(value)
