"""Weights in files: safetensors whose metadata alone say what the network is and where it comes from.

:mod:`checkpoint_header` describes the metadata.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..intensity import HU_WINDOW
from ..io.volume_files import replacing
from .header import CARD_TEXTS, LAYOUT_VERSION, card_of, read_header

if TYPE_CHECKING:
    import torch

    from ..networks import WindowSpec


@dataclass(frozen=True)
class BundledModel:
    """Weights that ship with the project, their file verified against the index."""

    path: Path
    card: dict[str, Any]
    sha256: str


def checksum(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal."""
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
    """Write weights with all that is needed to use them; whole or not at all.

    Parameters
    ----------
    state
        ``module.state_dict()``; stored in its own precision, such as float16.
    name, arguments
        Architecture in the registry and the arguments of its constructor.
    window
        What windows of this network need; ``tile`` is the in-plane size of the training crop.
    card
        The model card: ``title``, ``version``, ``licence`` and ``origin``, and whatever else is known
        (data, recipe, results, limits).

    Raises
    ------
    UserError
        If the file cannot be written.
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
        except SafetensorError as error:  # it reports a full disk by an error of its own
            raise UserError(f"{path}: could not be written ({error})") from error


def read_card(path: str | os.PathLike) -> dict[str, Any]:
    """The model card of a file, from its header alone: neither torch nor the weights are loaded.

    Returns
    -------
    dict
        The card, together with ``network`` (name), ``arguments``, ``window`` and ``intensity``.

    Raises
    ------
    UserError
        If this is no safetensors file of this project, or one cut off.
    """
    return card_of(read_header(Path(path)), Path(path))


def load_network(path: str | os.PathLike) -> torch.nn.Module:
    """The network of a file, in eval mode, float32, on the CPU.

    Returns
    -------
    torch.nn.Module
        See its class for what it reads; its attributes ``name``, ``window`` and ``card`` are the
        architecture's name, its WindowSpec and what :func:`read_card` gives.

    Raises
    ------
    UserError
        If the file is not what it should be, or its weights do not fit the architecture.
    """
    from safetensors.torch import load_file

    from ..networks import build

    path = Path(path)
    header = read_header(path)
    card = card_of(header, path)
    shapes = {key: tuple(entry["shape"]) for key, entry in header.items() if key != "__metadata__"}
    _check_fit(shapes, card["network"], card["arguments"], str(path))
    window = _window(card["window"], str(path))
    try:
        state = load_file(path)
    except Exception as error:
        raise UserError(f"{path}: damaged safetensors file ({error})") from error
    check_finite_weights(state, str(path))
    network = build(card["network"], **card["arguments"])
    network.load_state_dict(state)
    if replace(network.window, tile=window.tile, margin=window.margin) != window:
        raise UserError(f"{path}: its description of windows does not fit its network: {card['window']}")
    network.name, network.window, network.card = card["network"], window, card
    return network.eval()


def _window(fields: dict[str, Any], label: str) -> WindowSpec:
    from ..networks import WindowSpec

    names = WindowSpec.__dataclass_fields__.keys()
    sound = all(
        (type(value) is int and (value > 0 or key in ("margin", "first_output")))
        or (key == "factor" and value is None)
        for key, value in fields.items()
    )
    if fields.keys() != names or not sound or min(fields["margin"], fields["first_output"]) < 0:
        raise UserError(f"{label}: its description of windows is damaged: {fields}")
    return WindowSpec(**fields)


def import_authors(
    source: str | os.PathLike, target: str | os.PathLike, overwrite: bool = False
) -> dict[str, Any]:
    """Convert a checkpoint of the TVSRN or CTH-Net authors; nothing in it is executed.

    Architecture, depth, factor and crop come from its ``config_dict``.

    Returns
    -------
    dict
        The card of the file written.

    Raises
    ------
    UserError
        If `source` is no such checkpoint or is damaged, or if `target` exists and may not be replaced.
    """
    from ..networks import NETWORKS
    from .authors_config import AUTHORS_NETWORKS, constructor_arguments, crop_side
    from .authors_file import read_authors

    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors":
        raise UserError(f"{target}: the name of a weights file must end in .safetensors")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; choose another name or give --overwrite")
    state, config, class_name = read_authors(source)
    if class_name not in AUTHORS_NETWORKS:
        raise UserError(
            f"{source}: a network of class {class_name!r}; known are {', '.join(AUTHORS_NETWORKS)}"
        )
    entry = AUTHORS_NETWORKS[class_name]
    arguments, tile = constructor_arguments(entry, config, str(source)), crop_side(config, str(source))
    if entry.name == "cthnet" and "conv_after_E.weight" in state:
        # The one size that their configuration does not hold.
        arguments["channels"] = len(state["conv_after_E.weight"])
    try:
        weights = NETWORKS[entry.name].from_authors_state(state)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    _check_fit(
        {key: tuple(value.shape) for key, value in weights.items()}, entry.name, arguments, str(source)
    )
    check_finite_weights(weights, str(source))
    card = {
        "title": entry.title,
        "version": "as published",
        "licence": "as stated by its authors; not known to this file",
        "origin": f"converted from {source.name}, sha256 {checksum(source)}",
        "data": "not known to this file",
        # Without the folders of the machine it was trained on.
        "recipe": {
            key: value for key, value in config.items() if value is not None and "path" not in str(key)
        },
        "limits": "not a medical device",
    }
    window = replace(NETWORKS[entry.name].window(**arguments), tile=tile)
    save_network(target, weights, entry.name, arguments, window, card)
    return read_card(target)


def check_finite_weights(state: Mapping[str, torch.Tensor], label: str) -> None:
    """Raise UserError if a weight is NaN or infinite."""
    for key, value in state.items():
        if not value.isfinite().all():
            raise UserError(f"{label}: the weights {key} hold NaN or infinite values; the file is damaged")


def _check_fit(shapes: Mapping[str, tuple], name: str, arguments: dict[str, Any], label: str) -> None:
    """Compare shapes with those of the architecture, built without memory so that no size can harm."""
    import torch

    from ..networks import build

    try:
        with torch.device("meta"):
            expected = {
                key: tuple(value.shape) for key, value in build(name, **arguments).state_dict().items()
            }
    except Exception as error:
        raise UserError(
            f"{label}: {name} cannot be built from its arguments {arguments} ({error})"
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


def resources_folder() -> Path:
    """The folder with bundled weights and samples.

    In a wheel it lies inside the package; in a checkout, and in Slicer's install tree where the package lies
    beside the module, next to the package.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / "Resources"
    return inside if inside.is_dir() else package.parent / "Resources"


def bundled_models() -> list[BundledModel]:
    """The weights that ship with the project, each verified by its checksum.

    ``Resources/Models/index.json`` maps file names to SHA-256.

    Raises
    ------
    UserError
        If a file is missing or is not the one that was shipped.
    """
    folder = resources_folder() / "Models"
    try:
        text = (folder / "index.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    found = []
    for name, expected in (json.loads(text) if text.strip() else {}).items():
        path = folder / name
        if not path.is_file() or checksum(path) != expected:
            raise UserError(f"{path}: missing, or not the file that was shipped; install the project again")
        found.append(BundledModel(path, read_card(path), expected))
    return found


def bundled_checkpoint(network: str) -> Path | None:
    """The weights of an architecture that ship with the project, the first in the index; None if none do."""
    return next((model.path for model in bundled_models() if model.card["network"] == network), None)
