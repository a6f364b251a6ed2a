"""Reads and checks the header of a safetensors file, without torch and without reading the weights.

The metadata of the file (text entries, as in all safetensors files) are: ``thicktothin``, the version of this
layout; ``network``, the name of the architecture in the registry; and, as JSON, ``arguments`` of its
constructor, ``window`` (the fields of ``WindowSpec``), ``intensity`` (the HU that correspond to 0 and 1), and
``card``, the model card.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..intensity import HU_WINDOW

LAYOUT_VERSION = "1"
CARD_TEXTS = ("title", "version", "licence", "origin")
_MAX_HEADER = 16 << 20  # bytes
# Upper limits of constructor arguments, well above those of any network. The smaller one is for numbers of
# blocks, which cost time to build, and for window sizes, which cost memory.
_MAX_ARGUMENT = 4096
_MAX_SMALL_ARGUMENT = 64
_SMALL_ARGUMENTS = ("blocks", "groups", "window")


def read_header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file, which consists of 8 bytes of length, the header, and the values.

    Raises
    ------
    UserError
        If the file is missing, unreadable, truncated, or not a safetensors file.
    """
    if not path.is_file():
        raise UserError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            text = file.read(length) if 2 <= length <= _MAX_HEADER else b""
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not text.startswith(b"{"):
        # Checked only now, because the length of a valid header may begin with the same bytes.
        if start[:2] == b"PK" or start[:1] == b"\x80":
            raise UserError(
                f"{path}: a pickled torch file, which could execute code and is never opened; if it is a "
                "checkpoint of the TVSRN, CTH-Net or SAINT authors, convert it with 'import-checkpoint' first"
            )
        raise UserError(f"{path}: not a safetensors file")
    try:
        header = json.loads(text)
        entries = [entry for key, entry in header.items() if key != "__metadata__"]
        end = 8 + length + max((entry["data_offsets"][1] for entry in entries), default=0)
        if not all(isinstance(number, int) for entry in entries for number in [end, *entry["shape"]]):
            raise TypeError("shape")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a safetensors file, or cut off; copy it again") from error
    if size < end:
        raise UserError(f"{path}: cut off, {size} bytes of {end}; copy it again")
    return header


@dataclass(frozen=True)
class Metadata:
    """The metadata of a checkpoint: the architecture's name, and dicts as JSON holds them."""

    network: str
    arguments: dict[str, Any]
    window: dict[str, Any]
    card: dict[str, Any]


def metadata_of(header: dict[str, Any], path: Path) -> Metadata:
    """The metadata from a header, checked.

    Raises
    ------
    UserError
        If the metadata are missing, damaged or of another layout version, or a value is out of range.
    """
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or "thicktothin" not in metadata:
        raise UserError(
            f"{path}: a safetensors file without this project's metadata, so its network is unknown"
        )
    if metadata["thicktothin"] != LAYOUT_VERSION:
        raise UserError(
            f"{path}: written in layout {metadata['thicktothin']}, but this version reads layout "
            f"{LAYOUT_VERSION}"
        )
    try:
        if not isinstance(metadata["network"], str):
            raise TypeError("network")
        parts = {key: json.loads(metadata[key]) for key in ("arguments", "window", "card")}
        intensity = json.loads(metadata["intensity"])
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: its metadata are damaged ({error})") from error
    if not all(isinstance(part, dict) for part in parts.values()):
        raise UserError(f"{path}: its metadata are damaged")
    if intensity != list(HU_WINDOW):
        raise UserError(
            f"{path}: made for an intensity range of {intensity} HU; only {list(HU_WINDOW)} HU is supported"
        )
    missing = [key for key in CARD_TEXTS if not isinstance(parts["card"].get(key), str)]
    if missing:
        raise UserError(f"{path}: its model card lacks {', '.join(missing)}")
    if any(
        _largest(value) > (_MAX_SMALL_ARGUMENT if key.endswith(_SMALL_ARGUMENTS) else _MAX_ARGUMENT)
        for key, value in parts["arguments"].items()
    ):
        raise UserError(f"{path}: its arguments {parts['arguments']} are larger than those of any network")
    return Metadata(metadata["network"], parts["arguments"], parts["window"], parts["card"])


def _largest(value: Any) -> float:
    """Largest absolute value, or length of a list, in nested JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return max([len(value), *map(_largest, value)])
    if isinstance(value, (int, float)):
        return abs(value) if math.isfinite(value) else math.inf
    return 0
