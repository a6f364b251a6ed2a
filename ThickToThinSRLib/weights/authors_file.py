"""Read the checkpoints of the TVSRN, CTH-Net and SAINT authors without executing anything from them.

The TVSRN and CTH-Net authors' files were written by ``torch.save({"net": module, "config_dict": {...}})``:
pickles of whole Python objects, which may run any code when unpickled. SAINT's are
``torch.save(module.state_dict())``: tensors alone, but a pickle as well. Therefore neither ``pickle`` nor
``torch.load`` is used. ``inert_pickle`` reads the structure as plain data, and the values of the tensors are
then copied to the CPU, whatever device they were saved from.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import UserError
from .inert_pickle import InertObject, Malformed, Refused, StorageNote, TensorNote, read_pickle
from .saint_state import SAINT_CLASS, find_saint_state

_MAX_FILE = 2 << 30  # bytes; the released networks take 20 and 45 MB
_MAX_PICKLE = 64 << 20  # bytes of structure, without tensor values; the released ones have 0.1 MB
_MAX_PARTS = 100_000  # modules and tensors; stops at trees that contain themselves
_MAX_DEPTH = 50
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch.save before version 1.6: five pickles, then the storages
_LEGACY_PROTOCOL = 1001

_ReadStorage = Callable[[StorageNote], bytes]


def read_authors(source: str | os.PathLike | BinaryIO) -> tuple[dict[str, torch.Tensor], dict[str, Any], str]:
    """Weights, configuration and class name of a checkpoint ``{"net": module, "config_dict": {...}}``.

    A state dict of SAINT, alone or in an entry of a dictionary, is read too: with an empty configuration.

    Parameters
    ----------
    source : path or binary file
        A file that the authors' ``torch.save`` wrote, in the zip format or the format before torch 1.6.

    Returns
    -------
    state : dict
        Parameters and persistent buffers by their dotted names, on the CPU in their stored type, without the
        prefix of a ``DataParallel`` wrapper.
    config : dict
        The plain data in ``config_dict``.
    class_name : str
        Name of the network's class, such as ``"TVSRN"``.

    Raises
    ------
    UserError
        If the file is missing or damaged, is not such a checkpoint, or names anything but parts of a network.
    """
    label = getattr(source, "name", "checkpoint") if hasattr(source, "read") else os.fspath(source)
    try:
        content = _content(source)
        is_zip = content.getvalue()[:4] == b"PK\x03\x04"
        root, read_storage = _read_zip(content) if is_zip else _read_legacy(content)
        saint = find_saint_state(root)
        if saint is not None:
            return _tensors(saint, read_storage), {}, SAINT_CLASS
        net, config = _network_and_configuration(root)
        return _tensors(_collected(net), read_storage), _plain(config), net.kind.name
    except Refused as error:
        raise UserError(
            f"{label}: rejected, it contains {error}, which no network needs and which may be harmful; "
            "no code from the file was executed"
        ) from error
    except Malformed as error:
        raise UserError(
            f"{label}: not a checkpoint of the TVSRN, CTH-Net or SAINT authors: {error}"
        ) from error


def _content(source: str | os.PathLike | BinaryIO) -> io.BytesIO:
    if hasattr(source, "read"):
        content = source.read(_MAX_FILE + 1)
    else:
        path = Path(source)
        if not path.is_file():
            raise UserError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_FILE + 1)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > _MAX_FILE:
        raise Malformed(f"it is larger than {_MAX_FILE >> 30} GiB")
    if not content:
        raise Malformed("it is empty")
    if content.startswith((b"\xfd7zXZ", b"\x1f\x8b", b"BZh")):
        raise Malformed("it is compressed; unpack it first")
    return io.BytesIO(content)


def _read_zip(content: io.BytesIO) -> tuple[Any, _ReadStorage]:
    """Structure and storages of the zip format (torch 1.6 and later)."""
    try:
        archive = zipfile.ZipFile(content)
    # zipfile raises many types of errors for damaged archives.
    except Exception as error:
        raise Malformed("a damaged zip archive") from error
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Malformed("a zip archive that does not contain exactly one data.pkl, as torch.save writes")
    folder = pickles[0].removesuffix("data.pkl")
    if any(name.startswith((f"{folder}code/", f"{folder}constants.pkl")) for name in entries):
        raise Malformed("a TorchScript archive, which contains program code")

    def entry_bytes(name: str, limit: int) -> bytes:
        entry = entries.get(name)
        # torch.save never compresses. A compressed entry could expand to any size.
        if entry is None or entry.compress_type != zipfile.ZIP_STORED or entry.file_size > limit:
            raise Malformed(f"its part {name!r} is missing or has a wrong size")
        try:
            return archive.read(entry)
        except Exception as error:
            raise Malformed(f"its part {name!r} is damaged") from error

    order = entry_bytes(f"{folder}byteorder", 16) if f"{folder}byteorder" in entries else b"little"
    if order != b"little":
        raise Malformed("it was written on a big-endian machine")
    root = read_pickle(io.BytesIO(entry_bytes(pickles[0], _MAX_PICKLE)))
    return root, lambda note: entry_bytes(f"{folder}data/{note.key}", _size(note))


def _read_legacy(content: io.BytesIO) -> tuple[Any, _ReadStorage]:
    """Structure and storages of the format before torch 1.6."""
    if read_pickle(content) != _LEGACY_MAGIC or read_pickle(content) != _LEGACY_PROTOCOL:
        raise Malformed("a pickle that was not written by torch.save")
    system = read_pickle(content)
    if type(system) is not dict or system.get("little_endian") is not True:
        raise Malformed("it was written on a big-endian machine")
    notes: dict[str, StorageNote] = {}
    root, keys = read_pickle(content, notes), read_pickle(content)
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise Malformed("its list of storages is damaged")
    stored: dict[str, bytes] = {}
    for key in keys:
        length = int.from_bytes(content.read(8), "little")
        if key not in notes or notes[key].length != length:
            raise Malformed("its storages are damaged or cut off")
        stored[key] = content.read(_size(notes[key]))
        if len(stored[key]) < _size(notes[key]):  # applies also to storages that no weight needs
            raise Malformed("its storages are damaged or cut off")

    def read_storage(note: StorageNote) -> bytes:
        if note.key not in stored:
            raise Malformed("one of its storages is missing")
        return stored[note.key]

    return root, read_storage


def _size(note: StorageNote) -> int:
    """Size of a storage in bytes."""
    return note.length * note.dtype.itemsize


def _network_and_configuration(root: Any) -> tuple[InertObject, dict]:
    """The network, without a ``DataParallel`` wrapper, and the configuration of a checkpoint."""
    if type(root) is not dict:
        raise Malformed('it does not hold {"net": ..., "config_dict": ...}')
    missing = [key for key in ("net", "config_dict") if key not in root]
    if missing:
        keys = ", ".join(ascii(key)[:40] for key in list(root)[:6])
        raise Malformed(f"it lacks {' and '.join(missing)} (it contains: {keys or 'nothing'})")
    net, config = root["net"], root["config_dict"]
    while type(net) is InertObject and net.kind.name == "DataParallel":
        net = _attribute(net, "_modules").get("module")
    if type(net) is not InertObject:
        raise Malformed(
            "its 'net' is not a network (a state dict alone does not state which network it belongs to)"
        )
    if type(config) is not dict:
        raise Malformed("its 'config_dict' is not a dictionary")
    return net, config


def _attribute(module: InertObject, name: str) -> dict:
    """A dictionary among the attributes of a torch module."""
    value = module.attributes.get(name)
    if type(value) is not dict:
        raise Malformed(f"its {module.kind.name!r} is not a torch module")
    return value


def _collected(net: InertObject) -> dict[str, TensorNote]:
    """Parameters and persistent buffers by dotted name, as in ``net.state_dict()``."""
    notes: dict[str, TensorNote] = {}
    pending = [(net, "", 0)]
    for _ in range(_MAX_PARTS):
        if not pending:
            return notes
        module, prefix, depth = pending.pop()
        if type(module) is not InertObject or depth > _MAX_DEPTH:
            raise Malformed("its tree of modules is damaged")
        transient = module.attributes.get("_non_persistent_buffers_set", [])
        for name, value in (_attribute(module, "_parameters") | _attribute(module, "_buffers")).items():
            if type(value) is TensorNote and name not in transient:
                notes[f"{prefix}{name}"] = value
        children = _attribute(module, "_modules").items()
        pending += [(child, f"{prefix}{name}.", depth + 1) for name, child in children if child is not None]
    raise Malformed(f"its tree of modules is cyclic or has more than {_MAX_PARTS} parts")


def _tensors(notes: dict[str, TensorNote], read_storage: _ReadStorage) -> dict[str, torch.Tensor]:
    stored: dict[StorageNote, torch.Tensor] = {}
    tensors = {}
    if sum(math.prod(note.size) * note.storage.dtype.itemsize for note in notes.values()) > _MAX_FILE:
        raise Malformed(f"its tensors exceed {_MAX_FILE >> 30} GiB")
    for name, note in sorted(notes.items()):
        storage = note.storage
        if storage not in stored:
            content = read_storage(storage)
            if len(content) != _size(storage):
                raise Malformed(f"the values of {name!r} are cut off")
            # A bytearray, because torch needs writable memory.
            stored[storage] = torch.frombuffer(bytearray(content) or bytearray(8), dtype=storage.dtype)
        view = torch.as_strided(stored[storage], note.size, note.stride, note.offset)
        tensors[name] = view.clone(memory_format=torch.contiguous_format)
    return tensors


def _plain(config: dict) -> dict[str, Any]:
    """The text, numbers, lists and dictionaries in `config`; other values become None."""
    left = _MAX_PARTS

    def plain(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > 8 or left < 0:
            raise Malformed("its 'config_dict' is cyclic or nested too deeply")
        if type(value) is dict:
            return {key: plain(item, depth + 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return [plain(item, depth + 1) for item in value]
        return value if type(value) in (str, int, float, bool) else None

    return plain(config, 0)
