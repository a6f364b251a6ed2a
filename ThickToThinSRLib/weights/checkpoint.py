"""Checkpoints: safetensors files whose metadata describe the network and its origin completely.

:mod:`~ThickToThinSRLib.weights.header` describes the metadata.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..intensity import HU_WINDOW
from ..io.replacing import replacing
from ..networks.registry import WindowSpec, build
from .header import CARD_TEXTS, LAYOUT_VERSION, metadata_of, read_header

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Weights:
    """A checkpoint of which only the header is read; :meth:`load` reads the weights.

    Attributes
    ----------
    path : Path
        The file.
    network : str
        Name of the architecture in the registry of networks.
    arguments : dict
        Arguments of the network's constructor.
    window : WindowSpec
        What the network reads and predicts; ``tile`` is the side of the crops in training, pixels.
    card : dict
        The model card: ``title``, ``version``, ``licence``, ``origin``, and more if known.
    shapes : dict
        Shapes of all tensors by name.
    """

    path: Path
    network: str
    arguments: dict[str, Any]
    window: WindowSpec
    card: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def open(cls, path: str | os.PathLike) -> Weights:
        """Read the header of a file, without the weights and without importing PyTorch.

        Raises
        ------
        UserError
            If the file is not a checkpoint of this project, or is damaged or truncated.
        """
        path = Path(path)
        header = read_header(path)
        metadata = metadata_of(header, path)
        shapes = {key: tuple(entry["shape"]) for key, entry in header.items() if key != "__metadata__"}
        window = _window(metadata.window, str(path))
        return cls(path, metadata.network, metadata.arguments, window, metadata.card, shapes)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return checksum(self.path)

    @property
    def factor(self) -> int | None:
        """Upsampling factor of the network; None if it supports any target spacing."""
        return self.window.factor

    @property
    def count(self) -> int:
        """Number of weights."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def load(self) -> torch.nn.Module:
        """Build the network and load its weights.

        Returns
        -------
        torch.nn.Module
            In eval mode, float32, on the CPU; see its class for its input. Its attribute ``name`` is
            ``self.network``, its attribute ``window`` is ``self.window``.

        Raises
        ------
        UserError
            If the weights do not fit the architecture, or contain NaN or infinity.
        """
        from safetensors.torch import load_file

        check_fit(self.shapes, self.network, self.arguments, str(self.path))
        try:
            state = load_file(self.path)
        except Exception as error:
            raise UserError(f"{self.path}: damaged safetensors file ({error})") from error
        check_finite_weights(state, str(self.path))
        network = build(self.network, **self.arguments)
        network.load_state_dict(state)
        window = self.window
        if replace(network.window, tile=window.tile, margin=window.margin) != window:
            raise UserError(f"{self.path}: its window does not fit its network: {asdict(window)}")
        network.name, network.window = self.network, window
        return network.eval()


def _window(fields: dict[str, Any], label: str) -> WindowSpec:
    names = WindowSpec.__dataclass_fields__.keys()
    valid = all(
        (type(value) is int and (value > 0 or key in ("margin", "first_output")))
        or (key == "factor" and value is None)
        for key, value in fields.items()
    )
    if fields.keys() != names or not valid or min(fields["margin"], fields["first_output"]) < 0:
        raise UserError(f"{label}: the description of its window is damaged: {fields}")
    return WindowSpec(**fields)


def checksum(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal; remembered until the file changes."""
    state = os.stat(path)
    return _checksum(os.path.abspath(path), state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=64)
def _checksum(path: str, *_: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def save_network(
    path: str | os.PathLike,
    state: Mapping[str, torch.Tensor],
    name: str,
    arguments: Mapping[str, Any],
    window: WindowSpec,
    card: Mapping[str, Any],
) -> None:
    """Write a checkpoint. If this fails, no incomplete file is left and an existing one is kept.

    Parameters
    ----------
    path : path
        The file, ``.safetensors``.
    state : mapping
        ``module.state_dict()``; stored in its own precision, such as float16.
    name : str
        Name of the architecture in the registry.
    arguments : mapping
        Arguments of the network's constructor.
    window : WindowSpec
        What the network reads and predicts; ``tile`` is the side of the crops in training, pixels.
    card : mapping
        The model card: ``title``, ``version``, ``licence`` and ``origin``, and more if known (data, recipe,
        results, limits).

    Raises
    ------
    UserError
        If the file cannot be written.
    ValueError
        If the model card is incomplete.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    missing = [key for key in CARD_TEXTS if key not in card]
    if missing:
        raise ValueError(f"the model card lacks {', '.join(missing)}")
    metadata = {
        "thicktothin": LAYOUT_VERSION,
        "network": name,
        "arguments": json.dumps(dict(arguments)),
        "window": json.dumps(asdict(window)),
        "intensity": json.dumps(HU_WINDOW),
        "card": json.dumps(dict(card), ensure_ascii=False),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    with replacing(path, ".safetensors") as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # raised instead of OSError if the disk is full
            raise UserError(f"{path}: could not be written ({error})") from error


def check_finite_weights(state: Mapping[str, torch.Tensor], label: str) -> None:
    """Raise UserError if a weight is NaN or infinite."""
    for key, value in state.items():
        if not value.isfinite().all():
            raise UserError(f"{label}: the weights {key} contain NaN or infinity; the file is damaged")


def check_fit(shapes: Mapping[str, tuple], name: str, arguments: dict[str, Any], label: str) -> None:
    """Raise UserError if tensors of these shapes are not the weights of the network built with `arguments`.

    The network is built without allocating memory, because a malicious file may contain huge sizes.
    """
    import torch

    try:
        with torch.device("meta"):
            state = build(name, **arguments).state_dict()
            expected = {key: tuple(value.shape) for key, value in state.items()}
    except Exception as error:
        raise UserError(
            f"{label}: {name} cannot be built with the arguments {arguments} ({error})"
        ) from error
    missing, surplus = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
    if missing or surplus:
        raise UserError(
            f"{label}: these are not the weights of {name} with these arguments: {len(missing)} missing "
            f"{missing[:2]}, {len(surplus)} unknown {surplus[:2]}"
        )
    for key, shape in expected.items():
        if shapes[key] != shape:
            raise UserError(f"{label}: {key} has shape {shapes[key]}, but {name} needs {shape}")
