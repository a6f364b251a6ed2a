"""Malicious checkpoints, made to run code or to exhaust memory: nothing in them runs."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import sys
import tarfile
import types
import zipfile

import pytest
import torch

from Testing.authors_file import CONFIG, authors_network, expect_error, rewritten, save, torch_zip  # noqa: F401
from ThickToThinSRLib.weights.authors_file import read_authors


class Evil:
    """An object that creates a file when it is unpickled normally."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return open, (str(self.canary), "w")


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "something in the file was run"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def protocol_2(module: str, name: str, arguments: bytes) -> bytes:
    return b"\x80\x02" + f"c{module}\n{name}\n".encode() + arguments + b"R."


def protocol_4(module: str, name: str, arguments: bytes) -> bytes:
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + arguments + b"R."


def hostile_pickles(canary) -> dict[str, bytes]:
    command = text(f"touch {canary}") + b"\x85"
    code = text(f"open({str(canary)!r}, 'w')") + b"\x85"
    file = text(str(canary)) + text("w") + b"\x86"
    return {
        "os.system": protocol_2("os", "system", command),
        "posix.system": protocol_2("posix", "system", command),
        "stack global": protocol_4("os", "system", command),
        "eval": protocol_2("builtins", "eval", code),
        "exec of python 2": protocol_2("__builtin__", "execfile", code),
        "exec": protocol_4("builtins", "exec", code),
        "open": protocol_2("io", "open", file),
        "getattr": protocol_4("builtins", "getattr", b"cos\nsystem\n\x85"),
        "dotted under torch.nn.modules": protocol_4("torch.nn.modules.module", "torch.os.system", command),
        "dotted under an allowed name": protocol_4("torch._utils", "_rebuild_tensor_v2.__globals__", b")"),
        "dotted under collections": protocol_4("collections", "OrderedDict.__class__", command),
        "sibling of an allowed name": protocol_2("torch._utils", "_import_dotted_name", command),
        "package that only begins alike": protocol_2("network.model", "TVSRN", command),
        "torch.load": protocol_2("torch", "load", file),
        "hub": protocol_2("torch.hub", "load", file),
        "inst": b"\x80\x02(" + text(f"touch {canary}") + b"ios\nsystem\n.",
        "obj": b"\x80\x02(cos\nsystem\n" + text(f"touch {canary}") + b"o.",
        "extension code": b"\x80\x02\x82\x01" + command + b"R.",
        "newobj": b"\x80\x02csubprocess\nPopen\n" + command + b"\x81.",
        "build of a function": b"\x80\x02cos\nsystem\n}" + text("x") + text("y") + b"sb.",
        "call of a result": b"\x80\x02cnet.model\nTVSRN\n)R" + command + b"R.",
        "call inside a set": protocol_2("__builtin__", "set", b"]cos\nsystem\n" + command + b"Ra\x85"),
        "state setter": b"\x80\x02cnet.model\nTVSRN\n)R}" + text("__setstate__") + b"cos\nsystem\nsb"
        + text(f"touch {canary}") + b"b.",
    }  # fmt: skip


@pytest.mark.parametrize("name", list(hostile_pickles("x")))
@pytest.mark.parametrize("place", ["plain", "zip", "legacy", "config", "network"])
def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path, canary, name, place):
    pickled = hostile_pickles(canary)[name]
    inner = pickled[2:-1]
    path = tmp_path / "evil.pkl"
    if place == "plain":
        path.write_bytes(pickled)
    elif place == "zip":
        torch_zip(path, pickled)
    elif place == "legacy":
        head = [pickle.dumps(n, 2) for n in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
        path.write_bytes(b"".join(head) + pickled + pickle.dumps([], 2))
    else:
        network = b"cnet.model_TransSR\nTVSRN\n)\x81}(" + b"".join(
            text(key) + b"}" for key in ("_parameters", "_buffers", "_modules")
        )
        network += (text("forward") + inner if place == "network" else b"") + b"ub"
        config = b"}" + ((text("c_y") + inner + b"s") if place == "config" else b"")
        torch_zip(path, b"\x80\x04}" + text("net") + network + b"s" + text("config_dict") + config + b"s.")
    expect_error(path)


def test_the_hostile_pickles_would_run_if_unpickled(tmp_path):
    ran = set()
    for name, pickled in hostile_pickles(tmp_path / "canary").items():
        with contextlib.suppress(Exception):
            pickle.loads(pickled)
        if (tmp_path / "canary").exists():
            ran.add(name)
            (tmp_path / "canary").unlink()
    assert ran >= {"os.system", "posix.system", "stack global", "eval", "exec", "open", "inst", "obj"}
    assert ran >= {"dotted under torch.nn.modules", "call inside a set"}


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".pth", ".safetensors", ".nii.gz", ""])
@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_is_refused_under_every_name_and_protocol(tmp_path, canary, suffix, protocol):
    path = tmp_path / f"evil{suffix}"
    path.write_bytes(pickle.dumps({"net": Evil(canary), "config_dict": {}}, protocol))
    expect_error(path)


def test_the_message_names_what_was_refused(tmp_path, canary):
    path = tmp_path / "evil.pkl"
    torch.save({"net": Evil(canary), "config_dict": {}}, path)
    message = expect_error(path)
    assert "io.open" in message
    assert str(path) in message
    assert "no code from the file was executed" in message


def test_a_class_under_an_authors_name_is_not_called(tmp_path, canary, monkeypatch):
    module = types.ModuleType("net.trap")
    module.Trap = lambda *_: canary.touch()
    monkeypatch.setitem(sys.modules, "net.trap", module)
    path = torch_zip(tmp_path / "evil.pkl", b"\x80\x02cnet.trap\nTrap\n)R.")
    expect_error(path)


def test_a_hostile_pickle_beside_an_honest_network_is_not_read(authors_network, tmp_path, canary):  # noqa: F811
    honest = save(authors_network, tmp_path / "net.pkl")
    with zipfile.ZipFile(honest, "a") as archive:
        archive.writestr("net/extra.pkl", pickle.dumps(Evil(canary)))
        archive.writestr("net/data/999", pickle.dumps(Evil(canary)))
        archive.writestr("net/.data/serialization_id2", pickle.dumps(Evil(canary)))
    assert "conv.weight" in read_authors(honest)[0]
    with zipfile.ZipFile(honest, "a") as archive:
        archive.writestr("other/data.pkl", pickle.dumps(Evil(canary)))
    expect_error(honest)


def test_a_tar_file_of_the_first_torch_versions_is_refused(tmp_path, canary):
    path = tmp_path / "old.pth"
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Evil(canary))
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    expect_error(path)


def test_a_torchscript_archive_is_refused(tmp_path):
    path = tmp_path / "script.pt"
    code = b"def forward(self, x):\n  return x\n"
    torch_zip(
        path, pickle.dumps({}, 2), {"archive/code/__torch__.py": code, "archive/constants.pkl": b"\x80\x02)."}
    )
    assert "TorchScript" in expect_error(path)


def network_with_tensor(tensor: bytes) -> bytes:
    network = b"cnet.model_TransSR\nTVSRN\n)\x81}(" + text("_parameters") + b"}" + text("w") + tensor + b"s"
    network += text("_buffers") + b"}" + text("_modules") + b"}ub"
    return b"\x80\x02}" + text("net") + network + b"s" + text("config_dict") + b"}s."


def tensor(length: int, offset: int, size: tuple, stride: tuple, key: str = "0") -> bytes:
    def number(value):
        return b"\x8a\x08" + struct.pack("<q", value)

    storage = (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(length) + b"tQ"
    )
    shape = [b"(" + b"".join(number(n) for n in numbers) + b"t" for numbers in (size, stride)]
    arguments = b"(" + storage + number(offset) + b"".join(shape) + b"\x89}t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def test_the_crafted_tensor_is_read_when_it_is_honest(tmp_path):
    numbers = torch.arange(8, dtype=torch.float32)
    pickled = network_with_tensor(tensor(8, 1, (2, 3), (1, 2)))
    path = torch_zip(tmp_path / "net.pkl", pickled, {"archive/data/0": numbers.numpy().tobytes()})
    assert read_authors(path)[0]["w"].tolist() == [[1, 3, 5], [2, 4, 6]]


@pytest.mark.parametrize(
    "bad",
    [
        (8, 3, (2, 3), (1, 2)),
        (8, -1, (2, 3), (1, 2)),
        (8, 7, (2,), (-7,)),
        (8, 0, (1 << 40,), (0,)),
        (8, 0, (-8,), (1,)),
        (1 << 50, 0, (1 << 50,), (1,)),
        (8, 0, (8,), (1,), "../../secret"),
        (8, 0, (8,), (1,), "absent"),
        (2, 0, (2,), (1,)),
        (8, 0, (2, 2), (1,)),
    ],
    ids=str,
)
def test_a_tensor_beyond_its_numbers_is_refused(tmp_path, bad):
    content = {"archive/data/0": bytes(32), "secret": bytes(32)}
    expect_error(torch_zip(tmp_path / "net.pkl", network_with_tensor(tensor(*bad)), content))


def test_a_compressed_part_is_not_unfolded(tmp_path):
    path = tmp_path / "bomb.pkl"
    length = 1 << 24
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            zipfile.ZipInfo("archive/data.pkl"), network_with_tensor(tensor(length, 0, (length,), (1,)))
        )
        archive.writestr("archive/data/0", bytes(4 * length))
    assert path.stat().st_size < 200_000
    assert "archive/data/0" in expect_error(path)


def test_structures_that_contain_themselves_are_refused(tmp_path):
    loop = b"cnet.a\nA\n)\x81q\x01}(" + text("_parameters") + b"}" + text("_buffers") + b"}"
    loop += text("_modules") + b"}" + text("m") + b"h\x01sub"
    config = b"}" + text("a") + b"]q\x02h\x02as"
    empty = (
        b"cnet.a\nA\n)\x81}("
        + b"".join(text(k) + b"}" for k in ("_parameters", "_buffers", "_modules"))
        + b"ub"
    )
    for net, configuration, reason in ((loop, b"}", "tree of modules"), (empty, config, "nested")):
        pickled = b"\x80\x02}" + text("net") + net + b"s" + text("config_dict") + configuration + b"s."
        assert reason in expect_error(torch_zip(tmp_path / "loop.pkl", pickled))
    doubling = text("x") + b"q\x01h\x01\x86" * 60
    wide = b"(" * 6 + text("x") + (b"q\x01" + b"h\x01" * 199 + b"t") * 6
    for nested in (doubling, wide):
        config = b"}" + text("a") + nested + b"s"
        pickled = b"\x80\x02}" + text("net") + empty + b"s" + text("config_dict") + config + b"s."
        assert "nested" in expect_error(torch_zip(tmp_path / "loop.pkl", pickled))
    as_key = text("x") + b"".join(b"q\x01h\x01\x86" for _ in range(60))
    expect_error(torch_zip(tmp_path / "loop.pkl", b"\x80\x02}" + as_key + b"Ns."))
