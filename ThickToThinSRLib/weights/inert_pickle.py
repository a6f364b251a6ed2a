"""Read the pickle inside a torch checkpoint without executing anything from it.

Unpickling a file imports and calls the functions that the file names, so a harmful file can run any program.
Here the opcodes of the pickle are read one by one (``pickletools``), and only those that build plain data are
interpreted. A name of a class becomes a label, an object becomes its label and attributes, and a tensor
becomes a record of the position of its values. Nothing that the file names is imported or called.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import torch

_INERT_PACKAGES = ("net.", "timm.", "torch.nn.modules.")
_INERT_NAMES = {("torch.nn.parallel.data_parallel", "DataParallel")}
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_PLAIN_KEYS = (str, int, float, bool, type(None))
# Opcodes whose decoded argument is the value itself. The text opcodes of protocols 0 and 1 are not supported,
# because torch.save writes protocol 2 or higher.
_CONSTANTS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class Malformed(Exception):
    """The file is damaged, or is not a pickle written by torch.save."""


class Refused(Exception):
    """The file names a class, function or operation that a checkpoint does not need."""


@dataclass(frozen=True)
class Global:
    """Name of a class or function in the file; it is never imported."""

    module: str
    name: str


@dataclass(eq=False)
class InertObject:
    """An instance of a class in the file: the class's name and the instance's attributes, without methods."""

    kind: Global
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StorageNote:
    """A storage: values of one type that the file keeps outside the pickle."""

    key: str
    dtype: torch.dtype
    length: int  # elements


@dataclass(frozen=True, eq=False)
class TensorNote:
    """A tensor: its storage and the layout of its values there, in elements."""

    storage: StorageNote
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild_tensor(storage: StorageNote, offset: int, size: tuple, stride: tuple, *_: Any) -> TensorNote:
    layout = (offset, *size, *stride)
    if type(storage) is not StorageNote or len(size) != len(stride):
        raise Malformed("a tensor without a storage")
    if len(size) > 16 or any(type(n) is not int or n < 0 for n in layout):
        raise Malformed("a tensor with an impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size)
    # This also rejects tensors that repeat few values to an enormous size (stride 0).
    if count > storage.length or (count and last >= storage.length):
        raise Malformed("a tensor that extends beyond its storage")
    return TensorNote(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(data: TensorNote, *_: Any) -> TensorNote:
    if type(data) is not TensorNote:
        raise Malformed("a parameter without a tensor")
    return data


def _ordered_dict(pairs: list | tuple = ()) -> dict:
    return {key: value for key, value in pairs if type(key) in _PLAIN_KEYS}


# The functions of this module that stand for names in the file. Nothing else is ever called.
_CONSTRUCTORS = {
    Global("collections", "OrderedDict"): _ordered_dict,
    Global("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    Global("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    Global("torch", "Size"): lambda size=(): tuple(size),
    Global("torch", "device"): lambda *parts: parts,
    Global("__builtin__", "set"): lambda items=(): list(items),  # a list, because items may not be hashable
    Global("builtins", "set"): lambda items=(): list(items),
}


def _is_inert(name: Global) -> bool:
    # A dotted name refers to attributes of other modules, such as "torch.os.system" in
    # torch.nn.modules.module.
    if "." in name.name:
        return False
    return name.module.startswith(_INERT_PACKAGES) or (name.module, name.name) in _INERT_NAMES


def _checked_global(module: Any, name: Any) -> Global:
    if type(module) is not str or type(name) is not str:
        raise Malformed("a name that is not text")
    label = Global(module, name)
    if _is_inert(label) or label in _CONSTRUCTORS or (module == "torch" and name in _STORAGES):
        return label
    raise Refused(ascii(f"{module}.{name}")[:80])


def _instance(kind: Any, arguments: Any) -> Any:
    """Result of the opcodes REDUCE and NEWOBJ, which call a name with arguments."""
    if type(kind) is not Global or type(arguments) is not tuple:
        raise Malformed("a call of something that is not a name")
    if kind in _CONSTRUCTORS:
        return _CONSTRUCTORS[kind](*arguments)
    if _is_inert(kind):
        return InertObject(kind)
    raise Refused(f"a call of {kind.module}.{kind.name}")


def _set_attributes(target: Any, state: Any) -> None:
    """The opcode BUILD: set attributes of an object. Attributes of a dict (torch's _metadata) are dropped."""
    if type(target) is dict:
        return
    if type(target) is not InertObject or type(state) is not dict:
        raise Malformed("attributes of something that is not an object")
    target.attributes.update((key, value) for key, value in state.items() if type(key) is str)


def _persistent(identity: Any) -> Any:
    """A reference to data outside the pickle: a storage or, before torch 1.6, a class with source code."""
    if type(identity) is not tuple or len(identity) < 2:
        raise Malformed("an unknown reference")
    if identity[0] == "module" and type(identity[1]) is Global:
        return identity[1]
    if identity[0] != "storage" or len(identity) not in (5, 6):
        raise Malformed("an unknown reference")
    _, kind, key, _location, length = identity[:5]
    if type(kind) is not Global or kind.name not in _STORAGES or type(key) is not str:
        raise Malformed("a storage with an unknown type")
    if type(length) is not int or length < 0 or (len(identity) == 6 and identity[5] is not None):
        raise Malformed("a storage with an unknown layout")
    return StorageNote(key, _STORAGES[kind.name], length)


def read_pickle(file: BinaryIO, storages: dict[str, StorageNote] | None = None) -> Any:
    """Read one pickle as plain data; `file` is then positioned after its last byte.

    Parameters
    ----------
    file : binary file
        In memory, so that a wrong length in it cannot allocate more memory than the file has.
    storages : dict, optional
        Receives all storages that the pickle refers to, by key.

    Returns
    -------
    object
        Numbers, text, lists, tuples and dictionaries; ``InertObject`` for instances of classes,
        ``TensorNote`` for tensors, and ``Global`` for a class itself.

    Raises
    ------
    Refused
        If the pickle names anything but parts of a network.
    Malformed
        If it is damaged or was not written by torch.save.
    """
    try:
        return _Machine({} if storages is None else storages).run(file)
    except (Malformed, Refused):
        raise
    # Damaged bytes raise many types of errors, all with the same meaning.
    except Exception as error:
        raise Malformed(f"a damaged pickle ({type(error).__name__})") from error


class _Machine:
    """Interprets those opcodes of a pickle that build data, and rejects all others."""

    def __init__(self, storages: dict[str, StorageNote]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        for opcode, argument, _ in pickletools.genops(file):
            name = opcode.name
            if name in _CONSTANTS:
                self.stack.append(argument)
            elif name in _LITERALS:
                self.stack.append(_LITERALS[name])
            elif name == "STOP":
                return self.stack.pop()
            elif name not in ("PROTO", "FRAME"):
                step = getattr(self, f"op_{name.lower()}", None)
                if step is None:
                    raise Refused(f"the pickle operation {name}")
                step(argument)
        raise Malformed("a pickle that is cut off")

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def op_mark(self, _: Any) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def op_binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    op_long_binput = op_binput

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_binget(self, index: int) -> None:
        self.stack.append(self.memo[index])

    op_long_binget = op_binget

    def op_empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def op_empty_list(self, _: Any) -> None:
        self.stack.append([])

    op_empty_set = op_empty_list

    def op_empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def op_tuple(self, _: Any) -> None:
        items = tuple(self.since_mark())
        self.stack.append(items)

    def op_tuple1(self, _: Any) -> None:
        self.stack[-1:] = [(self.stack[-1],)]

    def op_tuple2(self, _: Any) -> None:
        self.stack[-2:] = [(self.stack[-2], self.stack[-1])]

    def op_tuple3(self, _: Any) -> None:
        self.stack[-3:] = [(self.stack[-3], self.stack[-2], self.stack[-1])]

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise Malformed("items for something that is not a list")
        self.stack[-1].extend(items)

    def op_append(self, _: Any) -> None:
        self.append([self.stack.pop()])

    def op_appends(self, _: Any) -> None:
        items = self.since_mark()
        self.append(items)

    op_additems = op_appends

    def set_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise Malformed("entries for something that is not a dictionary")
        # Other keys, such as tuples, are not needed, and a harmful file could make hashing them take for
        # ever.
        self.stack[-1].update(_ordered_dict(list(zip(items[::2], items[1::2], strict=True))))

    def op_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def op_setitems(self, _: Any) -> None:
        self.set_items(self.since_mark())

    def op_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(_checked_global(module, name))

    def op_stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_checked_global(module, name))

    def op_reduce(self, _: Any) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        self.stack.append(_instance(kind, arguments))

    op_newobj = op_reduce

    def op_build(self, _: Any) -> None:
        state = self.stack.pop()
        _set_attributes(self.stack[-1], state)

    def op_binpersid(self, _: Any) -> None:
        reference = _persistent(self.stack.pop())
        if type(reference) is StorageNote:
            self.storages[reference.key] = reference
        self.stack.append(reference)
