"""Importing the authors' checkpoints: dimensions and crop from their configuration, or a clear refusal."""

from __future__ import annotations

import inspect
import lzma
import re
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from Testing.authors_file import authors_network, rewritten  # noqa: F401
from Testing.shared_data import shared
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.networks import tvsrn
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.weights.authors_config import AUTHORS_NETWORKS, constructor_arguments, crop_side
from ThickToThinSRLib.weights.checkpoint import Weights, checksum
from ThickToThinSRLib.weights.importing import import_authors

RELEASED = {
    "ratio": 5,
    "c_z": 4,
    "TE_c": 8,
    "TE_d": 4,
    "TE_n": 8,
    "TE_w": 8,
    "T_mlp": 4,
    "TD_n": 8,
    "TD_Tw": 4,
}
RELEASED |= {"TD_Tl": 1, "TD_Td": 4, "TD_Iw": 8, "TD_Il": 2, "TD_Id": 4, "TE_l": 1, "T_pos": True, "lr": 3e-4}


def test_the_authors_configuration_becomes_constructor_arguments():
    arguments = constructor_arguments(AUTHORS_NETWORKS["TVSRN"], RELEASED | {"ratio": 4, "TD_Tl": 3}, "file")
    defaults = {name: value.default for name, value in inspect.signature(tvsrn.TVSRN).parameters.items()}
    assert arguments.keys() <= defaults.keys()
    assert {k: v for k, v in arguments.items() if v != defaults[k]} == {
        "factor": 4,
        "through_plane_groups": 3,
    }
    cubic = {"ratio": 5, "c_z": 8, "T3dE_w": [2.0, 2.0, 2.0], "T_mask": True}
    arguments = constructor_arguments(AUTHORS_NETWORKS["TVSRN3d_v1"], cubic, "file")
    assert arguments == {"factor": 5, "depth": 8, "encoder_window": 2, "mask_shifted_windows": True}
    assert type(arguments["encoder_window"]) is int


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"TE_l": 2}, "TE_l = 2"),
        ({"T_pos": False}, "T_pos"),
        ({"TD_Id": 6}, "TD_Id = 6 differs"),
        ({"TE_w": [8, 8, 4]}, "TE_w"),
        ({"ratio": "5"}, "ratio"),
        ({"ratio": 2.5}, "whole number"),
        ({"ratio": float("nan")}, "ratio"),
        ({"ratio": 10**9}, "ratio"),
        ({"c_z": True}, "c_z"),
        ({"c_z": None}, "c_z"),
    ],
)
def test_options_that_are_not_built_here_are_refused(change, expected):
    with pytest.raises(UserError, match=expected):
        constructor_arguments(AUTHORS_NETWORKS["TVSRN"], RELEASED | change, "file")


def test_a_configuration_without_factor_depth_or_square_crop_is_refused():
    for key in ("ratio", "c_z"):
        config = {name: value for name, value in RELEASED.items() if name != key}
        with pytest.raises(UserError, match=key):
            constructor_arguments(AUTHORS_NETWORKS["TVSRN"], config, "file")
    assert crop_side({"c_y": 192, "c_x": 192}, "file") == 192
    for crop in ({}, {"c_y": 64}, {"c_y": 64, "c_x": 96}, {"c_y": 60, "c_x": 60}, {"c_y": "64", "c_x": "64"}):
        with pytest.raises(UserError):
            crop_side(crop, "file")


@pytest.fixture(params=["tvsrn", "cthnet"], scope="module")
def authors_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("authors") / f"{request.param}.pkl"
    path.write_bytes(lzma.decompress(shared(f"parity/{request.param}_authors_64.pkl.xz").read_bytes()))
    return path


def test_an_imported_checkpoint_says_what_it_is_and_where_it_comes_from(authors_file, tmp_path):
    target = tmp_path / "net.safetensors"
    imported = import_authors(authors_file, target)
    card = imported.card
    network = Weights.open(target).load()
    assert network.name == imported.network == authors_file.stem
    assert network.window == replace(build(network.name).window, tile=64)
    assert checksum(authors_file) in card["origin"]
    assert card["recipe"]["lr"] == 3e-4
    assert not any("path" in key for key in card["recipe"])


def test_an_imported_checkpoint_computes_what_the_authors_code_computes(tmp_path):
    source = tmp_path / "tvsrn.pkl"
    source.write_bytes(lzma.decompress(shared("parity/tvsrn_authors_64.pkl.xz").read_bytes()))
    import_authors(source, tmp_path / "net.safetensors")
    arrays = np.load(shared("parity/tvsrn_authors_64_io.npz"))
    with torch.inference_mode():
        y = Weights.open(tmp_path / "net.safetensors").load()(torch.from_numpy(arrays["x"])).numpy()
    assert np.abs(y - arrays["y"]).max() < 1e-4


def with_option(source, target, key: str, value: int):
    """The checkpoint with another small number in its ``config_dict``."""

    # The key with its length, a note of it in the memo, and the number in one byte.
    pattern = re.escape(b"X" + struct.pack("<I", len(key)) + key.encode()) + rb"(q.|r....)K."

    def change(name, content):
        if not name.endswith("data.pkl"):
            return content
        # The last one: the module before it may have an attribute of the same name.
        end = list(re.finditer(pattern, content, re.DOTALL))[-1].end()
        return content[: end - 1] + bytes([value]) + content[end:]

    return rewritten(source, target, change)


def test_the_tile_follows_the_crop_of_the_checkpoint(authors_file, tmp_path):
    wider = with_option(authors_file, tmp_path / "half.pkl", "c_y", 128)
    with pytest.raises(UserError, match="128 x 64"):
        import_authors(wider, tmp_path / "net.safetensors")
    wider = with_option(wider, tmp_path / "wide.pkl", "c_x", 128)
    import_authors(wider, tmp_path / "net.safetensors")
    assert Weights.open(tmp_path / "net.safetensors").load().window.tile == 128


@pytest.mark.parametrize(
    ("key", "value"), [("ratio", 3), ("c_z", 6), ("TD_Il", 3), ("TD_Iw", 4), ("TD_n", 2)]
)
def test_a_configuration_that_does_not_fit_the_weights_is_refused(authors_file, tmp_path, key, value):
    other = with_option(authors_file, tmp_path / "other.pkl", key, value)
    with pytest.raises(UserError):
        import_authors(other, tmp_path / "net.safetensors")
    assert not (tmp_path / "net.safetensors").exists()


def test_an_import_never_replaces_a_file_unasked_and_leaves_nothing_behind(authors_file, tmp_path):
    target = tmp_path / "net.safetensors"
    with pytest.raises(UserError, match=r"\.safetensors"):
        import_authors(authors_file, tmp_path / "net.pt")
    target.write_bytes(b"mine")
    with pytest.raises(UserError, match="overwrite"):
        import_authors(authors_file, target)
    assert target.read_bytes() == b"mine"
    nan = rewritten(authors_file, tmp_path / "nan.pkl", lambda n, c: b"\xff" * len(c) if "/data/" in n else c)
    with pytest.raises(UserError, match="NaN"):
        import_authors(nan, target, overwrite=True)
    assert target.read_bytes() == b"mine"
    import_authors(authors_file, target, overwrite=True)
    assert Weights.open(target).load().name == authors_file.stem
    assert {path.name for path in tmp_path.iterdir()} == {"nan.pkl", "net.safetensors"}


def test_a_network_of_another_class_is_refused(authors_network, tmp_path):  # noqa: F811
    type(authors_network).__name__ = type(authors_network).__qualname__ = "ResVox"
    sys.modules["net.model_TransSR"].ResVox = type(authors_network)
    torch.save({"net": authors_network, "config_dict": RELEASED}, tmp_path / "other.pkl")
    with pytest.raises(UserError, match="ResVox"):
        import_authors(tmp_path / "other.pkl", tmp_path / "net.safetensors")
