"""Reading the authors' pickled checkpoints: what is in them comes out, damage is an error."""

from __future__ import annotations

import copy
import io
import lzma
import random

import pytest
import torch
from torch import nn

from Testing.authors_file import CONFIG, authors_network, expect_error, rewritten, save, torch_zip  # noqa: F401
from Testing.shared_data import shared
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.weights.authors_file import read_authors

# Before 1.6, torch.save stored each class's source text, and warns that these classes have none.
pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


@pytest.mark.parametrize(
    "options",
    [{}, {"pickle_protocol": 4}, {"_use_new_zipfile_serialization": False}],
    ids=["zip", "zip-protocol-4", "before-torch-1.6"],
)
def test_weights_buffers_configuration_and_class_come_back(authors_network, tmp_path, options):  # noqa: F811
    state, config, name = read_authors(save(authors_network, tmp_path / "net.pkl", **options))
    expected = authors_network.state_dict()
    assert name == "TVSRN"
    assert set(state) == set(expected)
    for key, value in expected.items():
        assert state[key].dtype == value.dtype
        assert state[key].is_contiguous()
        assert torch.equal(state[key], value), key
    assert config == {**CONFIG, "T3dE_w": [2.0, 2.0, 2.0]}


def test_an_open_file_is_read_like_a_path(authors_network, tmp_path):  # noqa: F811
    path = save(authors_network, tmp_path / "net.pkl")
    state, _, _ = read_authors(io.BytesIO(path.read_bytes()))
    assert torch.equal(state["conv.weight"], authors_network.conv.weight)


def test_the_wrapper_for_several_gpus_is_taken_off(authors_network, tmp_path):  # noqa: F811
    state, _, name = read_authors(save(nn.DataParallel(authors_network), tmp_path / "net.pkl"))
    assert name == "TVSRN"
    assert set(state) == set(authors_network.state_dict())


def test_weights_saved_on_a_gpu_come_back_on_the_cpu(authors_network, tmp_path):  # noqa: F811
    def on_gpu(name, content):
        located = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
        assert not name.endswith("data.pkl") or located != content
        return located

    path = rewritten(save(authors_network, tmp_path / "cpu.pkl"), tmp_path / "gpu.pkl", on_gpu)
    state, _, _ = read_authors(path)
    assert state["conv.weight"].device.type == "cpu"
    assert torch.equal(state["conv.weight"], authors_network.conv.weight)


@pytest.mark.parametrize(
    ("name", "kind", "crop"), [("tvsrn", "TVSRN", (4, 64, 64)), ("cthnet", "TVSRN3d_v1", (8, 64, 64))]
)
def test_the_authors_own_files_are_read(name, kind, crop):
    packed = shared(f"parity/{name}_authors_64.pkl.xz")
    state, config, class_name = read_authors(io.BytesIO(lzma.decompress(packed.read_bytes())))
    assert class_name == kind
    assert tuple(config[key] for key in ("c_z", "c_y", "c_x")) == crop
    assert config["ratio"] == 5
    weights = sum(v.numel() for k, v in state.items() if not k.endswith(("attn_mask", "position_index")))
    assert weights == {"tvsrn": 2_387_489, "cthnet": 10_606_217}[name]


def test_files_that_are_something_else_say_so(authors_network, tmp_path):  # noqa: F811
    path = tmp_path / "net.pkl"
    torch.save(authors_network.state_dict(), path)
    assert "lacks net and config_dict" in expect_error(path)
    torch.save({"net": authors_network.state_dict(), "config_dict": CONFIG}, path)
    assert "not a network" in expect_error(path)
    torch.save({"net": authors_network}, path)
    assert "lacks config_dict" in expect_error(path)
    torch.save([1, 2], path)
    assert "does not hold" in expect_error(path)
    path.write_bytes(b"")
    assert "empty" in expect_error(path)
    path.write_bytes(lzma.compress(b"checkpoint"))
    assert "unpack it first" in expect_error(path)
    path.write_text("just some text\n")
    expect_error(path)
    assert "no such file" in expect_error(tmp_path / "absent.pkl")
    assert "not a file" in expect_error(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_off_anywhere_is_refused(authors_network, tmp_path, zipped):  # noqa: F811
    whole = save(authors_network, tmp_path / "net.pkl", _use_new_zipfile_serialization=zipped).read_bytes()
    for length in range(1, len(whole), len(whole) // 60):
        (tmp_path / "cut.pkl").write_bytes(whole[:length])
        expect_error(tmp_path / "cut.pkl")


def test_a_last_storage_cut_off_is_refused_even_if_no_weight_needs_it(authors_network, tmp_path):  # noqa: F811
    # Which storage comes last in the old format is chance: it goes by the tensors' addresses.
    copies = [copy.deepcopy(authors_network) for _ in range(60)]
    for network in copies:
        path = save(network, tmp_path / "net.pkl", _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes()[:-1])
        assert "cut off" in expect_error(path) or "damaged" in expect_error(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_random_damage_gives_weights_or_an_error_and_nothing_else(authors_network, tmp_path, zipped):  # noqa: F811
    path = save(authors_network, tmp_path / "net.pkl", _use_new_zipfile_serialization=zipped)
    whole, chance, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            read_authors(io.BytesIO(damaged))
        except UserError:
            refused += 1
    assert refused > 20
